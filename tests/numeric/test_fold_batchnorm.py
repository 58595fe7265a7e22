"""The arithmetic of folding: one rounding, pieces that make no difference, and little memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from irkit import Context, DType, Graph, Model, Node, Tensor, TensorType, parse_model, read_arithmetic, source
from irkit.affine import Affine, scaled
from irkit.library import get_pass
from irkit.refusal import Refusal


def fold(model: Model) -> Node:
    get_pass("fold-batchnorm").run(model, Context())
    (node,) = model.graph
    return node


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_folded_weights_are_the_float64_result_rounded_once(dtype: str) -> None:
    model = parse_model(f"""
        graph(%x: {dtype}[1,3,6,6]) -> (%y) {{
          %w: {dtype}[64,3,3,3] = random(seed=1)   %b: {dtype}[64] = random(seed=2)
          %s: {dtype}[64] = random(seed=3)         %t: {dtype}[64] = random(seed=4)
          %m: {dtype}[64] = random(seed=5)         %v: {dtype}[64] = random(seed=6, low=0.1, high=9)
          %c = Conv(%x, %w, %b)
          %y = BatchNormalization(%c, %s, %t, %m, %v) {{epsilon=0.001}}
        }}""")
    data = {
        name: value.constant.numpy().astype(np.float64) for name, value in model.graph.values.items() if value.constant
    }
    scale = data["s"] / np.sqrt(data["v"] + float(np.float32(0.001)))
    weight, bias = (value.constant.numpy() for value in fold(model).inputs[1:] if value is not None and value.constant)
    assert weight.dtype == bias.dtype == np.dtype(dtype)
    assert np.array_equal(weight, (data["w"] * scale[:, None, None, None]).astype(dtype))
    assert np.array_equal(bias, (data["b"] * scale + (data["t"] - data["m"] * scale)).astype(dtype))


def test_pieces_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    tensor, factor = Tensor.of(rng.standard_normal((37, 5, 3)).astype(np.float32)), rng.standard_normal((37, 1, 1))
    whole = scaled(tensor, factor)
    monkeypatch.setattr("irkit.affine._PIECE", 40)
    assert scaled(tensor, factor) == whole
    assert scaled(tensor, factor[:1]) is not None


def test_a_large_weight_is_folded_in_the_scratch_file() -> None:
    size = 4096  # 64 MB of weight
    model = _large(size)
    tracemalloc.start()
    node = fold(model)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert node.op == "Gemm"
    assert peak < 40 << 20


def _large(size: int) -> Model:
    graph = Graph()
    kind = TensorType(DType.FLOAT32, (1, size))
    weight = source.empty((size, size), np.dtype(np.float32))
    weight[...] = 0.5
    weight[0, 0] = 1.0
    operands = [graph.add_input("x", kind), graph.add_initializer("w", Tensor.of(weight))]
    gemm = graph.append(Node("Gemm", operands, types=[kind]))
    ones = [graph.add_initializer(name, Tensor.of(np.linspace(1, 2, size, dtype=np.float32))) for name in "sbmv"]
    graph.set_outputs([graph.append(Node("BatchNormalization", [gemm.output, *ones], types=[kind])).output])
    return Model(graph, opset_imports={"": 17})


def test_a_product_beyond_the_type_is_told() -> None:
    assert scaled(Tensor.of(np.array([60000, 1], np.float16)), np.array([2.0, 1.0])) is None
    assert scaled(Tensor.splat(60000, (4,), DType.FLOAT16), np.array([2.0])) is None


@pytest.mark.parametrize(
    ("shape", "constant", "attrs", "expected"),
    [
        ("[1,2,4,4]", "[2,1,1] = [1, 2]", "", [1, 2]),
        ("[1,2,4,4]", "[1,2,1,1] = [1, 2]", "", [1, 2]),
        ("[1,2,4,4]", "[] = 3.0", "", [3, 3]),
        ("[1,2,4,4]", "[1,1,1,1] = [3]", "", [3, 3]),
        ("[5,2]", "[2] = [1, 2]", "", [1, 2]),
        ("[*]", "[1] = [3]", "", [3, 3]),
        ("[1,2,4,4]", "[2] = [1, 2]", "{axis=1, broadcast=1}", [1, 2]),
        ("[*]", "[2,1,1] = [1, 2]", "", None),  # the rank tells which axis that is
        ("[1,2,4,2]", "[2] = [1, 2]", "", None),  # along the last axis
        ("[1,2,4,4]", "[1,1,2,1,1] = [1, 2]", "", None),  # of a higher rank
        ("[1,1,4,4]", "[2,1,1] = [1, 2]", "", None),  # adds a channel
        ("[1,?,4,4]", "[2,1,1] = [1, 2]", "", None),  # may add one
    ],
)
def test_what_is_one_number_a_channel(shape: str, constant: str, attrs: str, expected: list[float] | None) -> None:
    opset = 6 if attrs else 17
    text = f"opset {opset} graph(%x: float32{shape}) -> (%y) {{ %c: float32{constant} %y = Mul(%x, %c) {attrs} }}"
    node = next(iter(parse_model(text).graph))
    x = node.inputs[0]
    assert x is not None
    found = read_arithmetic(node, x, 2)
    if expected is None:
        assert isinstance(found, Refusal)
    else:
        assert isinstance(found, Affine)
        assert found.scale.tolist() == expected
