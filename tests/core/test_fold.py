"""Folding of one node, and putting constants in the place of nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irkit import Context, DType, Graph, Inference, Model, Node, Tensor, parse_model
from irkit.fold import can_evaluate, evaluate, is_exact
from irkit.kernels import KERNELS
from irkit.library import get_pass
from irkit.verifier import verify


def compute(op: str, *arrays: Any, opset: int = 17, outputs: int = 1, **attrs: Any) -> list[Tensor] | None:
    graph = Graph("g")
    Model(graph, opset_imports={"": opset})
    tensors = [item if isinstance(item, Tensor) or item is None else Tensor.of(np.asarray(item)) for item in arrays]
    values = [
        None if tensor is None else graph.add_initializer(f"c{place}", tensor) for place, tensor in enumerate(tensors)
    ]
    return evaluate(graph.append(Node(op, values, attrs, outputs)), tensors)


def result(op: str, *arrays: Any, **how: Any) -> Any:
    found = compute(op, *arrays, **how)
    assert found is not None
    return found[0].numpy()


F = np.float32


def test_integer_division_rounds_towards_zero() -> None:
    assert result("Div", [7, -7, 7, -7], [2, 2, -2, -2]).tolist() == [3, -3, -3, 3]
    assert compute("Div", [1], [0]) is None
    assert compute("Div", np.asarray([-128], np.int8), np.asarray([-1], np.int8)) is None


def test_mod_has_two_signs() -> None:
    assert result("Mod", [7, -7], [-3, 3]).tolist() == [-2, 2]
    assert result("Mod", [7, -7], [-3, 3], fmod=1).tolist() == [1, -1]


def test_float_arithmetic_is_rounded_once_and_so_the_ieee_result() -> None:
    rng = np.random.default_rng(0)
    scales = F(10) ** rng.integers(-20, 20, (2, 10_000)).astype(F)
    left, right = rng.standard_normal((2, 10_000)).astype(F) * scales
    with np.errstate(all="ignore"):
        assert np.array_equal(result("Add", left, right), left + right)
        assert np.array_equal(result("Mul", left, right), left * right)
        assert np.array_equal(result("Div", left, right), left / right)
        assert np.array_equal(result("Sqrt", np.abs(left)), np.sqrt(np.abs(left)))


def test_casts_that_runtimes_disagree_on_are_left() -> None:
    assert compute("Cast", np.asarray([1e30], F), to=DType.INT32.value) is None
    assert compute("Cast", np.asarray([np.nan], F), to=DType.INT64.value) is None
    assert result("Cast", np.asarray([-1.9, 1.9], F), to=DType.INT64.value).tolist() == [-1, 1]
    assert result("Cast", np.asarray([0.0, -0.0, 0.1, np.nan], F), to=DType.BOOL.value).tolist() == [0, 0, 1, 1]


def test_bfloat16_rounds_to_even_and_widens_exactly() -> None:
    source = np.asarray([1.0, 1.00390625, 1.01171875, -3.1415927], F)
    found = compute("Cast", source, to=DType.BFLOAT16.value)
    assert found is not None
    assert found[0].dtype == DType.BFLOAT16
    assert found[0].numpy().tolist() == [0x3F80, 0x3F80, 0x3F82, 0xC049]
    assert result("Cast", found[0], to=DType.FLOAT32.value).tolist() == [1.0, 1.0, 1.015625, -3.140625]


def test_nan_leaves_order_to_the_runtime() -> None:
    nan = np.asarray([1.0, np.nan], F)
    for op, more in (("Max", [nan]), ("Relu", []), ("ArgMax", []), ("ReduceMax", []), ("Clip", [F(0), F(1)])):
        assert compute(op, nan, *more) is None, op


def test_attributes_have_their_schemas_defaults() -> None:
    x = np.arange(6, dtype=F).reshape(2, 3)
    assert result("Flatten", x).shape == (2, 3)
    assert result("LeakyRelu", -x)[1, 2] == F(-5 * np.float64(F(0.01)))
    assert result("Transpose", x).shape == (3, 2)
    assert result("Shape", np.zeros((2, 3, 4), F), start=-2).tolist() == [3, 4]
    assert result("Shape", np.zeros((2, 3, 4), F), start=2, end=1).tolist() == []
    assert result("ReduceSum", np.asarray(x, np.int64)).shape == (1, 1)
    assert compute("ReduceSum", x, noop_with_empty_axes=1) is None


def test_versions_of_operators_differ() -> None:
    x = np.asarray([[1.0, 2.0], [3.0, 4.0]], F)
    assert np.allclose(result("Softmax", x, opset=11, axis=0).sum(), 1)  # all axes from 0 on are one
    assert np.allclose(result("Softmax", x, opset=13, axis=0).sum(0), 1)
    assert result("Squeeze", x[None], opset=11, axes=(0,)).shape == (2, 2)
    assert result("Squeeze", x[None], [0], opset=13).shape == (2, 2)
    bias = np.asarray([10.0, 20.0], F)
    assert result("Add", x, bias, opset=6, broadcast=1, axis=0).tolist() == [[11, 12], [23, 24]]
    assert compute("Add", x, bias, opset=6) is None


def test_reshape_honours_zero_and_its_attribute() -> None:
    assert result("Reshape", np.zeros((2, 3), F), [0, -1]).shape == (2, 3)
    assert result("Reshape", np.zeros((0, 3), F), [3, 0], allowzero=1).shape == (3, 0)
    assert compute("Reshape", np.zeros((2, 3), F), [4, -1]) is None


def test_slices_clamp_as_onnx_does() -> None:
    x = np.arange(5)
    least = np.iinfo(np.int64).min
    assert result("Slice", x, [9], [least], [0], [-2]).tolist() == [4, 2, 0]
    assert result("Slice", x, [-9], [99], [0], [2]).tolist() == [0, 2, 4]
    assert compute("Slice", x, [0], [5], [0], [0]) is None


def test_uniform_tensors_stay_uniform() -> None:
    big = Tensor.splat(2.0, (1 << 20, 1 << 10), DType.FLOAT32)
    cases: list[tuple[str, list[Any], dict[str, Any]]] = [
        ("Mul", [big, np.asarray(3.0, F)], {}),
        ("Sqrt", [big], {}),
        ("Cast", [big], {"to": DType.FLOAT16.value}),
        ("CastLike", [np.asarray([1.0], F), Tensor.splat(2, (4, 6), DType.FLOAT16)], {}),
    ]
    for op, arrays, attrs in cases:
        found = compute(op, *arrays, **attrs)
        assert found is not None, op
        assert found[0].shape == ((1,) if op == "CastLike" else big.shape)
    found = compute("ConstantOfShape", [1 << 30, 4])
    assert found is not None
    assert found[0].is_splat


def test_moved_splats_stay_splats_where_the_shape_is_known() -> None:
    model = parse_model(
        """graph(%x: float32[2]) -> (%y) { %s: int64[2] = [100000, 30000] %v: float32[] = 0.5 %w = Expand(%v, %s)
        %t = Transpose(%w) %k: int64[2] = [1, 2] %q: int64[1] = [-1] %r = Reshape(%t, %q)
        %c = Concat(%r, %r) {axis=0} %y = Gather(%c, %k) }"""
    )
    get_pass("fold-constants").run(model, Context())
    assert [node.op for node in model.graph] == ["Constant"]


def test_strings_and_carriers_move() -> None:
    words = Tensor.strings([b"a", b"b", b"c"], (3,))
    assert result("Gather", words, [2, 0]).tolist() == [b"c", b"a"]
    assert result("Equal", words, words, opset=19).all()
    halves = Tensor.of(np.asarray([[1, 2], [3, 4]], np.uint16), DType.BFLOAT16)
    found = compute("Transpose", halves)
    assert found is not None
    assert found[0].dtype == DType.BFLOAT16
    assert found[0].numpy().tolist() == [[1, 3], [2, 4]]
    assert compute("Add", halves, halves) is None


def test_what_is_never_computed() -> None:
    never = ("RandomNormal", "RandomUniformLike", "Bernoulli", "Multinomial", "If", "Loop", "Scan", "DequantizeLinear")
    for op in never:
        assert not can_evaluate(Node(op)), op
    assert not can_evaluate(Node("Add", domain="com.example"))


def test_exactness_depends_on_the_element_type() -> None:
    graph = Graph("g")
    Model(graph, opset_imports={"": 17})
    floats = graph.add_initializer("f", Tensor.of(np.ones(2, F)))
    ints = graph.add_initializer("i", Tensor.of(np.ones(2, np.int64)))
    assert is_exact(Node("Add", [floats, floats]))
    assert is_exact(Node("ReduceSum", [ints]))
    assert not is_exact(Node("ReduceSum", [floats]))
    assert not is_exact(Node("Exp", [floats]))


@pytest.mark.parametrize("op", sorted(KERNELS))
def test_no_kernel_fails_on_nonsense(op: str) -> None:
    """Wrong inputs, attributes left out: the answer is None, or something, but never an exception."""
    nonsense = [np.zeros((), F), np.asarray([2**40, -5]), np.zeros((0, 3), np.int32), np.asarray([[True]])]
    for count in range(4):
        compute(op, *nonsense[:count])
        compute(op, *nonsense[::-1][:count], opset=9)


def test_folding_twice_is_folding_once_whatever_the_limit() -> None:
    text = """graph(%x: float32[8,8]) -> (%y, %z) {
      %a: float32[8,1] = random(seed=1)  %b: float32[1,8] = random(seed=2)
      %o = Mul(%a, %b)  %e = Exp(%o)  %s = ReduceMax(%e) {axes=[0], keepdims=1}  %g = Sub(%o, %s)
      %y = MatMul(%x, %g)  %z = Add(%x, %e) }"""
    for limit in (0, 16, 32, 100, 256, 1 << 20):
        for parameters in (0, 100, 1 << 20):
            model = parse_model(text)
            item = get_pass("fold-constants", limit=limit, parameter_limit=parameters)
            item.run(model, Context(pass_name=item.name))
            verify(model)
            mark = model.journal.position
            item.run(model, Context(pass_name=item.name))
            assert [edit for edit in model.journal.since(mark) if edit.kind != "type"] == [], (limit, parameters)


def test_inexact_and_large_results_are_noted() -> None:
    text = """graph(%x: float32[4,4]) -> (%y) { %a: float32[4,1] = random(seed=1) %b: float32[1,4] = random(seed=2)
      %e = Exp(%a) @exp %w = Mul(%e, %b) @outer %y = MatMul(%x, %w) }"""
    context = Context(pass_name="fold-constants")
    get_pass("fold-constants", limit=32).run(parse_model(text), context)
    assert context.notes["fold-constants"] == [
        "exp (Exp): computed in float64, rounded once",
        "outer (Mul): 64 bytes stored, since a weight or bias is made of them",
    ]


def test_undoing_a_fold_brings_the_nodes_back() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y) { %a: float32[2] = zeros %b = Add(%a, %a) %y = Mul(%x, %b) }")
    before = [node.op for node in model.graph]
    get_pass("fold-constants").run(model, Context())
    assert [node.op for node in model.graph] == ["Mul"]
    model.journal.undo_to(0)
    verify(model)
    assert [node.op for node in model.graph] == before
    assert Inference.of(model).known(model.graph.values["b"]) is not None
