"""ONNX's own operator tests: after folding, what irkit writes computes what ONNX Runtime computes of the original.

Each model runs as it is, with all its inputs stored in it, and with all but the first, so that folding has work to do.
A case counts where ONNX Runtime runs the original; irkit's result is held against that run.
"""

from __future__ import annotations

import importlib
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from irkit import Context, Inference, Model, TensorType, dumps, loads
from irkit.library import get_pass
from irkit.ops import is_random

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime says what is right")

PASSES = ("fold-constants", "remove-identity", "remove-dead")
VARIANTS = ("as it is", "all inputs stored", "all but one stored")
PARTS = 8
WRONG_IN_OLD_RUNTIMES = frozenset({"test_maxpool_2d_ceil_output_size_reduce_by_one"})
"""ONNX Runtime 1.18 computes an output larger than the specification says."""

OLD = tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 20)

LEAST_RUN = 1100 if OLD else 1503
"""Cases that ONNX Runtime runs, at least."""

LEAST_FOLDED = dict(zip(VARIANTS, (1000, 2000, 1300) if OLD else (6000, 9500, 8000), strict=True))

_TALLY: Counter[str] = Counter()


@cache
def cases() -> list[Any]:
    module = importlib.import_module("onnx.backend.test.case.node")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases overflow on purpose
        return [case for case in module.collect_testcases(None) if case.model is not None]


def session(data: bytes) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(data: bytes, feeds: dict[str, Any]) -> list[Any]:
    made = session(data)
    wanted = {item.name for item in made.get_inputs()}
    return list(made.run(None, {name: value for name, value in feeds.items() if name in wanted}))


def run_original(case: Any, feeds: dict[str, Any]) -> list[Any] | None:
    try:
        return run(case.model.SerializeToString(), feeds)
    except Exception:  # noqa: BLE001  (ONNX Runtime does not know the operator or the type)
        return None


def same(left: Any, right: Any) -> bool:
    """Equal up to the rounding of sums; half floats up to a few of their steps."""
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if left is None or right is None:
        return left is right
    left, right = np.asarray(left), np.asarray(right)
    if (left.dtype, left.shape) != (right.dtype, right.shape):
        return False
    if left.dtype.kind not in "fc":
        return bool((left == right).all())
    tolerance = 2e-3 if left.dtype == np.float16 else 1e-4
    return bool(np.allclose(left, right, rtol=tolerance, atol=tolerance / 10, equal_nan=True))


def baked(case: Any, feeds: dict[str, Any], variant: str) -> bytes:
    """The model with inputs stored in it."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    if variant == VARIANTS[0]:
        return bytes(model.SerializeToString())
    model.ir_version = max(model.ir_version, 4)  # before, stored data may be overridden
    for item in list(model.graph.input)[variant == VARIANTS[2] :]:
        array = feeds[item.name]
        if not isinstance(array, np.ndarray):
            continue  # a sequence or an optional
        tensor = onnx.numpy_helper.from_array(array, item.name)
        if tensor.data_type == item.type.tensor_type.elem_type:
            model.graph.initializer.append(tensor)
            model.graph.input.remove(item)
    return bytes(model.SerializeToString())


def simplify(data: bytes) -> tuple[Model, int]:
    """The model after the passes, and how many nodes were folded."""
    model = loads(data)
    inference = Inference.of(model)
    before = sum(1 for _ in model.graph.walk())
    folded = 0
    for name in PASSES:
        context = Context(pass_name=name, update_types=inference.update)
        context.update_types()
        get_pass(name).run(model, context)
        if name == "fold-constants":
            folded = before - sum(1 for _ in model.graph.walk())
    return model, folded


def feeds_of(case: Any) -> dict[str, Any]:
    arrays = [np.asarray(value) if isinstance(value, np.generic) else value for value in case.data_sets[0][0]]
    return dict(zip([item.name for item in case.model.graph.input], arrays, strict=False))


def failures(case: Any) -> Iterator[str]:
    feeds = feeds_of(case)
    expected = run_original(case, feeds)
    if expected is None:
        return
    _TALLY["run"] += 1
    random = any(is_random(node) for node in loads(case.model.SerializeToString()).graph.walk())
    for variant in VARIANTS:
        model, folded = simplify(baked(case, feeds, variant))
        _TALLY[variant] += folded
        if random:
            _TALLY["random"] += 1
            if not any(is_random(node) for node in model.graph.walk()):
                yield f"{case.name}, {variant}: a random operator was frozen"
            continue
        try:
            found = run(dumps(model), feeds)
        except Exception as error:  # noqa: BLE001  (told as a failure)
            yield f"{case.name}, {variant}: {error}"
            continue
        if not same(expected, found):
            yield f"{case.name}, {variant}: other numbers"


def untrue_types(case: Any) -> Iterator[str]:
    """Inferred types of outputs that the results contradict, and problems seen where there are none."""
    feeds = feeds_of(case)
    expected = run_original(case, feeds)
    if expected is None or (OLD and case.name in WRONG_IN_OLD_RUNTIMES):
        return
    for variant in VARIANTS[:2]:
        model = loads(baked(case, feeds, variant))
        for value in model.graph.outputs:
            value.type = None  # what is declared must not help
        inference = Inference.of(model)
        inference.update()
        yield from (f"{case.name}, {variant}: {problem.message}" for problem in inference.problems)
        for value, result in zip(model.graph.outputs, expected, strict=True):
            kind = inference.type_of(value)
            _TALLY["outputs"] += 1
            _TALLY["typed"] += isinstance(kind, TensorType) and kind.is_static
            if isinstance(kind, TensorType) and isinstance(result, np.ndarray):
                known = [(a, b) for a, b in zip(kind.shape or (), result.shape, strict=False) if isinstance(a, int)]
                rank = kind.shape is None or len(kind.shape) == result.ndim
                if not rank or any(a != b for a, b in known) or kind.dtype.numpy.kind != result.dtype.kind:
                    yield f"{case.name}, {variant}: {kind} inferred, {result.dtype}{list(result.shape)} computed"


@pytest.mark.parametrize("part", range(PARTS))
def test_inferred_types_are_true(part: int) -> None:
    assert [text for case in cases()[part::PARTS] for text in untrue_types(case)] == []


@pytest.mark.parametrize("part", range(PARTS))
def test_operators(part: int) -> None:
    assert [text for case in cases()[part::PARTS] for text in failures(case)] == []
    _TALLY["parts"] += 1


def test_enough_was_run_and_folded() -> None:
    if _TALLY["parts"] < PARTS:
        pytest.skip("counts need all parts of test_operators in one process")
    assert _TALLY["run"] >= LEAST_RUN
    assert _TALLY["random"] >= 3 * 6  # Dropout in training, in each variant
    assert {variant: _TALLY[variant] for variant in VARIANTS if _TALLY[variant] < LEAST_FOLDED[variant]} == {}


def test_the_comparison_sees_differences() -> None:
    one = np.ones(3, np.float32)
    assert same(one, one.copy())
    assert not same(one, one * np.float32(1.001))
    assert not same(one, one[:2])
    assert not same(one, one.astype(np.float64))
    assert not same([one], [one, one])
