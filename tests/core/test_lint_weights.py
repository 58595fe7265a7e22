"""NaN and infinity are found in every float type, wherever they are, without copying large weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irkit import DType, Graph, Model, Node, SparseTensor, Tensor
from irkit.checks import ALL_RULES, weights
from irkit.linter import run_rules
from irkit.target import load_target


def messages(data: Tensor | SparseTensor) -> list[str]:
    graph = Graph("g")
    value = graph.add_initializer("w", data)
    graph.set_outputs([graph.append(Node("Identity", [value], name="n")).output])
    model = Model(graph, opset_imports={"": 17})
    found = run_rules(model, load_target("hailo8"), ALL_RULES).findings
    return [finding.message for finding in found if finding.rule == "non-finite-weights"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    ("odd", "found"),
    [([np.nan], "1 NaN"), ([np.inf, -np.inf], "2 infinite"), ([np.nan, np.inf], "1 NaN and 1 infinite")],
)
def test_numpys_own_types(dtype: type, odd: list[float], found: str) -> None:
    array: np.ndarray[Any, np.dtype[Any]] = np.ones((3, 4), dtype)
    array.flat[5 : 5 + len(odd)] = odd
    kind = np.dtype(dtype).name
    assert messages(Tensor.of(array)) == [f"`w` ({kind}[3,4]) must be finite; found {found}, first at 5"]


@pytest.mark.parametrize(
    ("bits", "found"), [(0x7FC0, "1 NaN"), (0xFFFF, "1 NaN"), (0x7F80, "1 infinite"), (0xFF80, "1 infinite")]
)
def test_bfloat16_goes_by_its_bits(bits: int, found: str) -> None:
    array = np.array([0x3F80, 0x7F7F, bits], np.uint16)
    assert messages(Tensor.of(array, DType.BFLOAT16)) == [
        f"`w` (bfloat16[3]) must be finite; found {found}, first at 2"
    ]
    assert messages(Tensor.of(array[:2], DType.BFLOAT16)) == []


def test_elements_beyond_the_first_piece_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_CHUNK", 4)
    array = np.zeros(11, np.float32)
    array[[6, 10]] = np.nan
    assert messages(Tensor.of(array)) == ["`w` (float32[11]) must be finite; found 2 NaN, first at 6"]


def test_a_sum_that_overflows_is_no_infinity() -> None:
    assert messages(Tensor.of(np.full(64, np.finfo(np.float32).max))) == []


def test_a_repeated_element_counts_as_often_as_it_stands_there() -> None:
    found = messages(Tensor.splat(np.inf, (1000, 1000), DType.FLOAT32))
    assert found == ["`w` (float32[1000,1000]) must be finite; found 1000000 infinite, first at 0"]
    assert messages(Tensor.splat(1.0, (1 << 20, 1 << 20), DType.FLOAT32)) == []


def test_sparse_weights() -> None:
    values, indices = Tensor.of(np.array([1.0, np.nan], np.float32)), Tensor.of(np.array([0, 7], np.int64))
    assert messages(SparseTensor(values, indices, (3, 4))) == [
        "`w` (sparse(float32[3,4])) must be finite; found 1 NaN, first at 1"
    ]


@pytest.mark.parametrize("data", [Tensor.of(np.array([2**31 - 1], np.int32)), Tensor.of(np.zeros((0, 4), np.float32))])
def test_what_cannot_hold_them(data: Tensor) -> None:
    assert messages(data) == []
