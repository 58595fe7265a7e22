"""Random graphs of foldable operators: what is folded equals what ONNX Runtime computes, and is folded once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from irkit import Context, Model, dumps, parse_model, print_model
from irkit.fold import is_exact
from irkit.library import get_pass
from irkit.verifier import verify

ort = pytest.importorskip("onnxruntime", reason="ONNX Runtime says what is right")

FLOAT_UNARY = (
    "Neg", "Abs", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal", "Relu", "Sign", "Exp", "Log", "Erf", "Tanh",
    "Sigmoid", "Softplus", "Sin", "Cos", "HardSwish", "Elu", "Identity",
)  # fmt: skip
FLOAT_BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "Mean", "Sum", "PRelu")
INT_BINARY = ("Add", "Sub", "Mul", "Max", "Min", "Mod", "Equal", "Less", "GreaterOrEqual")
SHAPING = (
    "Transpose(%{0}) {{perm=[1,0]}}",
    "Reshape(%{0}, %flat)",
    "Slice(%{0}, %one, %two, %one, %one)",
    "Concat(%{0}, %{0}) {{axis=1}}",
    "Gather(%{0}, %pick) {{axis=1}}",
    "Tile(%{0}, %twice)",
    "Pad(%{0}, %pads)",
    "Expand(%{0}, %wide)",
    "ReduceSum(%{0}, %one) {{keepdims=1}}",
    "ReduceMax(%{0}) {{axes=[0], keepdims=1}}",
    "CumSum(%{0}, %axis) {{exclusive=1, reverse=1}}",
    "Softmax(%{0}) {{axis=0}}",
    "Clip(%{0}, %low)",
    "Trilu(%{0})",
)


@st.composite
def graphs(draw: st.DrawFn) -> str:
    kind = draw(st.sampled_from(["float32", "int64"]))
    dims = ",".join(str(draw(st.integers(2, 4))) for _ in range(2))
    lines = [f"%v0: {kind}[{dims}] = [{', '.join(_numbers(draw, kind, dims))}]"]
    if kind == "float32" and draw(st.booleans()):
        lines = [f"%v0: float32[{dims}] = splat({draw(st.sampled_from([0.5, 1.0, 2.25]))})"]
    lines += [
        "%flat: int64[2] = [-1, 1]", "%one: int64[1] = [1]", "%two: int64[1] = [2]", "%axis: int64[] = 0",
        "%pick: int64[2] = [-1, 0]", "%twice: int64[2] = [2, 1]", "%pads: int64[4] = [0, 1, 1, 0]",
        "%wide: int64[3] = [2, 1, 1]",
        f"%low: {kind}[] = {'0.25' if kind == 'float32' else '1'}",
    ]  # fmt: skip
    count = draw(st.integers(1, 5))
    for place in range(count):
        last, new = f"v{place}", f"v{place + 1}"
        choice = draw(st.sampled_from(["unary", "binary", "shaping"]))
        if choice == "unary" and kind == "float32":
            lines.append(f"%{new} = {draw(st.sampled_from(FLOAT_UNARY))}(%{last})")
        elif choice == "binary":
            op = draw(st.sampled_from(FLOAT_BINARY if kind == "float32" else INT_BINARY[:6]))
            lines.append(f"%{new} = {op}(%{last}, %{'low' if op in ('Mod', 'PRelu', 'Pow') else last})")
        else:
            lines.append(f"%{new} = {draw(st.sampled_from(SHAPING)).format(last)}")
    body = "\n  ".join(lines)
    return f"graph(%x: {kind}[]) -> (%y) {{\n  {body}\n  %y = Add(%x, %v{count})\n}}"


def _numbers(draw: st.DrawFn, kind: str, dims: str) -> list[str]:
    size = int(np.prod([int(dim) for dim in dims.split(",")]))
    if kind == "int64":
        return [str(draw(st.integers(-5, 5))) for _ in range(size)]
    return [f"{draw(st.floats(-4, 4, width=32)):.6f}" for _ in range(size)]


def run(model: Model) -> np.ndarray | None:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(dumps(model), options, providers=["CPUExecutionProvider"])
        kind = np.float32 if "float" in session.get_inputs()[0].type else np.int64
        return np.asarray(session.run(None, {"x": np.zeros((), kind)})[0])
    except Exception:  # noqa: BLE001  (the graph is wrong, or ONNX Runtime lacks a kernel)
        return None


def unsigned_infinities(array: np.ndarray) -> np.ndarray:
    """Some versions of ONNX Runtime lose the sign of zero in Floor and the like, and so that of 1 / 0."""
    return np.where(np.isinf(array), np.abs(array), array) if array.dtype.kind == "f" else array


@settings(max_examples=200, deadline=None)
@given(text=graphs())
def test_folding_keeps_the_numbers(text: str) -> None:
    expected = run(parse_model(text))
    model = parse_model(text)
    exact = all(is_exact(node) for node in model.graph)
    get_pass("fold-constants").run(model, Context())
    verify(model)
    if expected is None:
        return  # what does not run must only not crash
    found = run(model)
    assert found is not None
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    found, expected = unsigned_infinities(found), unsigned_infinities(expected)
    if exact:
        assert np.array_equal(found, expected, equal_nan=True)
    else:
        assert np.allclose(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


@settings(max_examples=100, deadline=None)
@given(text=graphs())
def test_folding_twice_is_folding_once(text: str) -> None:
    model = parse_model(text)
    get_pass("fold-constants").run(model, Context())
    once = print_model(model)
    get_pass("fold-constants").run(model, Context())
    assert print_model(model) == once
