"""Which nodes do nothing: one lookalike that does something for each that does not."""

from __future__ import annotations

import pytest

from irkit import Context, identity_source, parse_model
from irkit.infer import Inference
from irkit.library import get_pass

MODEL = """
opset 17 opset com.example 1
graph(%x: float32[2,3,4], %s: float32[N], %m: float32[2,3], %v: float32[4], %w: float32[A,B,C], %l: int64[2],
      %fed: bool[], %e: float32[0,3]) -> (%y) {
  %i0: int64[1] = [0] %i1: int64[1] = [1] %im1: int64[1] = [-1] %five: int64[1] = [5]
  %end: int64[1] = [9223372036854775807] %none: int64[0] = [] %ones: int64[3] = [1, 1, 1]
  %pads: int64[6] = [0, 0, 0, 0, 0, 0] %shift: int64[6] = [1, 0, 0, -1, 0, 0]
  %s1: float32[3] = [1.0, 1.0, 1.0] %s2: float32[3] = [1.0, 1.0, 2.0] %sizes: int64[3] = [2, 3, 4]
  %zero: float32[] = 0.0 %one: float32[] = 1.0 %half: float32[] = 0.5 %yes: bool[] = true %no: bool[] = false
  %row: float32[1,3,1] = ones %wide: float32[2,1,1,1] = ones %high: float32[1,1,1,1] = ones
  %same: int64[3] = [2, 3, 4] %copy: int64[3] = [0, -1, 4] %rest: int64[1] = [-1] %big: int64[3] = [2, 3, 8]
  %i1m: int64[2] = [1, -1] %shape: int64[2] = [0, 3]
  %r = Relu(%x) %n = Neg(%x) %up = Cast(%x) {to=11} %down = Cast(%x) {to=10} %long = Cast(%l) {to=11}
  %y = CALL
}
"""

NOTHING = [
    "Reshape(%x, %same)", "Reshape(%x, %copy)", "Reshape(%s, %rest)", "Expand(%x, %ones)", "Expand(%s, %i1)",
    "Squeeze(%x)", "Unsqueeze(%x, %none)", "Flatten(%m)", "Flatten(%m) {axis=-1}", "Transpose(%x) {perm=[0,1,2]}",
    "Transpose(%v)", "Pad(%x, %pads)", "Slice(%x, %i0, %five, %i1)", "Slice(%s, %i0, %end, %i0)", "Tile(%x, %ones)",
    "Mul(%x, %row)", "Mul(%row, %x)", "Div(%x, %one)", "Add(%zero, %x)", "Sub(%x, %zero)", "Pow(%x, %one)",
    "Sum(%x)", "Concat(%x) {axis=2}", "Mean(%s)", "Dropout(%x)", "Dropout(%x, %half, %no)", "Clip(%x)",
    "Cast(%x) {to=1}", "CastLike(%x, %s)", "Resize(%x, _, %s1)", "Resize(%x, _, _, %sizes)",
    "MaxPool(%x) {kernel_shape=[1]}", "AveragePool(%x) {kernel_shape=[1], strides=[1]}", "Split(%x)", "Relu(%r)",
    "Neg(%n)", "Cast(%up) {to=1}", "Reshape(%e, %shape) {allowzero=1}",
]  # fmt: skip

SOMETHING = [
    "Reshape(%x, %i1m)", "Reshape(%s, %copy)", "Expand(%x, %big)", "Expand(%v, %ones)", "Squeeze(%s)", "Squeeze(%w)",
    "Unsqueeze(%x, %i0)", "Flatten(%x)", "Flatten(%m) {axis=0}", "Transpose(%m)", "Transpose(%x) {perm=[0,2,1]}",
    "Pad(%x, %shift)", "Slice(%x, %i0, %i1, %i1)", "Slice(%x, %i1, %five, %i1)", "Slice(%x, %i0, %five, %i1, %im1)",
    "Slice(%s, %i0, %five, %i0)", "Mul(%x, %wide)", "Mul(%x, %high)", "Mul(%w, %row)", "Div(%one, %x)",
    "Sub(%zero, %x)", "Add(%x, %one)", "Pow(%one, %x)", "Sum(%x, %x)", "Dropout(%x, %half, %yes)",
    "Dropout(%x, %half, %fed)",
    "Clip(%x, %zero)", "Cast(%x) {to=10}", "Cast(%down) {to=1}", "Resize(%x, _, %s2)", "Cast(%long) {to=7}",
    'Resize(%x, _, %s1) {mode="cubic"}',
    'Resize(%x, _, %s1) {coordinate_transformation_mode="tf_crop_and_resize"}',
    "MaxPool(%x) {kernel_shape=[1], strides=[2]}", "MaxPool(%x) {kernel_shape=[1], pads=[0,1]}",
    "LpPool(%x) {kernel_shape=[1]}", "Relu(%n)", "Exp(%r)", "com.example::Identity(%x)",
]  # fmt: skip


def source_of(call: str) -> str | None:
    model = parse_model(MODEL.replace("CALL", call))
    Inference.of(model).update()
    node = model.graph.outputs[0].producer
    assert node is not None
    found = identity_source(node)
    return found.name if found is not None else None


@pytest.mark.parametrize("call", NOTHING)
def test_what_does_nothing_is_known(call: str) -> None:
    assert source_of(call) is not None


@pytest.mark.parametrize("call", SOMETHING)
def test_what_does_something_is_not_taken_for_nothing(call: str) -> None:
    assert source_of(call) is None


def test_an_output_that_is_read_besides_the_first_keeps_the_node() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y, %m) { %y, %m = Dropout(%x) }")
    assert identity_source(model.graph.node(next(iter(model.graph)).name)) is None


def test_attributes_of_a_function_are_open() -> None:
    model = parse_model(
        "opset 17 opset f 1 function f::G{p}(%a) -> (%b) { %b = MaxPool(%a) {kernel_shape=[1], pads=@p: ints} }"
        " graph(%x: float32[1,1,4]) -> (%y) { %y = f::G(%x) {p=[0,0]} }"
    )
    assert identity_source(next(iter(model.functions["f", "G", ""].graph))) is None


@pytest.mark.parametrize(("protected", "left"), [("a", 2), ("b", 2), ("r", 1), ("y", 1)])
def test_protected_values_stay(protected: str, left: int) -> None:
    model = parse_model(
        "graph(%x: float32[2]) -> (%y) { %r = Relu(%x) %a = Identity(%r) %b = Identity(%a) %y = Neg(%b) }"
    )
    get_pass("remove-identity").run(model, Context(pass_name="remove-identity", protected=frozenset({protected})))
    assert sum(node.op == "Identity" for node in model.graph) == left - 1
