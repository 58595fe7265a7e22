"""Conditions of rule tables: each test holds, fails, or cannot be told, and says what was found."""

from __future__ import annotations

import pytest

from irkit import parse_model
from irkit.checks.conditions import holds, outcomes
from irkit.linter import Subject
from irkit.table import AttributeTest, Condition, NumberTest
from irkit.target import load_target


def case(graph: str, condition: Condition) -> tuple[bool | None, str]:
    """How the condition fits the node named `n`, and the text of the first test that does not hold."""
    model = parse_model(graph)
    subject = Subject(model, load_target("hailo8"))
    node = model.graph.node("n")
    texts = [outcome.text for outcome in outcomes(subject, node, condition) if not outcome.holds]
    return holds(subject, node, condition), texts[0] if texts else ""


def relu(type: str) -> str:
    return f"graph(%x: {type}) -> (%y) {{ %y = Relu(%x) @n }}"


def concat(axis: str, type: str = "float32[1,2,3,4]") -> str:
    return f"graph(%x: {type}) -> (%y) {{ %y = Concat(%x, %x) {{axis={axis}}} @n }}"


def pooled(attributes: str) -> str:
    return f"graph(%x: float32[1,2,8,8]) -> (%y) {{ %y = MaxPool(%x) {{kernel_shape=[2,2]{attributes}}} @n }}"


def reduced(axes: str, type: str = "float32[1,2,3,4]") -> str:
    return f"graph(%x: {type}) -> (%y) {{ %y = ReduceMean(%x) {{{axes}}} @n }}"


def sliced(starts: str, ends: str, axes: str, steps: str = "[1, 1]") -> str:
    count = axes.count(",") + 1
    return f"""graph(%x: float32[1,2,8,8]) -> (%y) {{
      %s: int64[{count}] = {starts}  %e: int64[{count}] = {ends}
      %a: int64[{count}] = {axes}  %t: int64[{count}] = {steps}
      %y = Slice(%x, %s, %e, %a, %t) @n
    }}"""


@pytest.mark.parametrize(
    ("graph", "condition", "expected"),
    [
        (relu("float32[1,2,3,4]"), Condition(rank=(4,)), True),
        (relu("float32[1,2,3,4]"), Condition(rank=(2, 3)), False),
        (relu("float32[*]"), Condition(rank=(4,)), None),
        (relu("float32[1,2]"), Condition(out_rank=(2,)), True),
        (relu("float32[1,2]"), Condition(out_rank=(3,)), False),
        (concat("1"), Condition(axis=(1, -1)), True),
        (concat("3"), Condition(axis=(1, -1)), True),
        (concat("-1"), Condition(axis=(3,)), True),
        (concat("2"), Condition(axis=(1, -1)), False),
        (concat("-1", "float32[*]"), Condition(axis=(3,)), None),
        (concat("-1", "float32[*]"), Condition(axis=(-1,)), True),
        (concat("0"), Condition(axis_not=(0,)), False),
        (concat("-4"), Condition(axis_not=(0,)), False),
        (concat("-1", "float32[*]"), Condition(axis_not=(0,)), None),
        (concat("1"), Condition(axis_not=(0,)), True),
        (reduced("axes=[2,3]"), Condition(axes=((1,), (2, 3))), True),
        (reduced("axes=[-1,-2]"), Condition(axes=((2, 3),)), True),
        (reduced("axes=[2]"), Condition(axes=((2, 3),)), False),
        (reduced("axes=[-1]", "float32[*]"), Condition(axes=((3,),)), None),
        (reduced(""), Condition(axes=((2, 3),)), False),
        (reduced("axes=[0,2]"), Condition(axes_not=(0,)), False),
        (reduced("axes=[1,2]"), Condition(axes_not=(0,)), True),
        (reduced("axes=[1]"), Condition(attributes={"keepdims": AttributeTest(one_of=(1,))}), True),
        (reduced("axes=[1], keepdims=0"), Condition(attributes={"keepdims": AttributeTest(one_of=(1,))}), False),
        (reduced("axes=[1,5]"), Condition(attributes={"axes": AttributeTest(min=1, max=4)}), False),
        (reduced("axes=[1,4]"), Condition(attributes={"axes": AttributeTest(min=1, max=4)}), True),
        (reduced(""), Condition(attributes={"axes": AttributeTest(max=4)}), None),
        (reduced("axes=[1]"), Condition(attributes={"axes": AttributeTest(present=True)}), True),
        (reduced("axes=[1]"), Condition(attributes={"axes": AttributeTest(present=False)}), False),
        (sliced("[0, 0]", "[1, 4]", "[0, 2]"), Condition(axes=((2,),)), True),
        (sliced("[0, 0]", "[1, 4]", "[0, 2]"), Condition(axes_not=(0,)), True),
        (sliced("[0, -1]", "[1, -9]", "[0, 2]", "[1, -1]"), Condition(axes_not=(2,)), False),
        (relu("float16[1]"), Condition(dtype=("float",)), True),
        (relu("int8[1]"), Condition(dtype=("float", "int8")), True),
        (relu("int8[1]"), Condition(dtype=("float",)), False),
        (relu("float32[1]"), Condition(is_output=True), True),
        (relu("float32[1]"), Condition(is_output=False), False),
        (relu("float32[1,2]"), Condition(rank=(2,), is_output=False), False),
        (relu("float32[*]"), Condition(rank=(2,), is_output=False), False),
        (relu("float32[*]"), Condition(rank=(2,), is_output=True), None),
        (relu("float32[1]"), Condition(), True),
        (pooled(""), Condition(attributes={"strides": AttributeTest(max=2), "pads": AttributeTest(one_of=(0,))}), True),
        (pooled(", strides=[1,3]"), Condition(attributes={"strides": AttributeTest(max=2)}), False),
    ],
)
def test_a_condition(graph: str, condition: Condition, expected: bool | None) -> None:
    assert case(graph, condition)[0] is expected


OPERANDS = """graph(%x: float32[1,2,3,4], %w: float32[4]) -> (%y) {
  %c: float32[] = 2.0
  %six: float32[] = 6.0
  %column: float32[1,3] = splat(1.0)
  %row: float32[2,1] = splat(1.0)
  %wide: float32[2] = [2.0, 3.0]
  %one: int64[1] = [1]
  %shape = Shape(%x) @shape
  %first = Gather(%shape, %one) @gather
  %number = Cast(%first) {to=1} @cast
  %y = OP @n
}"""


@pytest.mark.parametrize(
    ("op", "condition", "expected"),
    [
        ("Pow(%x, %c)", Condition(constant=(1,)), True),
        ("Pow(%x, %w)", Condition(constant=(1,)), False),
        ("Pow(%x, %number)", Condition(constant=(1,)), True),
        ("Clip(%x)", Condition(constant=(1, 2)), True),
        ("Mul(%x, %x)", Condition(variable=(0, 1)), True),
        ("Mul(%x, %c)", Condition(variable=(0, 1)), False),
        ("Mul(%x, %c)", Condition(one_sided=True), True),
        ("Mul(%column, %row)", Condition(one_sided=True), False),
        ("Mul(%column, %row)", Condition(one_sided=False), True),
        ("Mul(%x, %c)", Condition(constant_fits=True), True),
        ("Mul(%x, %x)", Condition(constant_fits=True), None),
        ("Clip(%x, _, %six)", Condition(left_out=(1,)), True),
        ("Clip(%x, _, %six)", Condition(left_out=(1, 2)), False),
        ("Pow(%x, %c)", Condition(values={"1": (2.0, 0.5)}), True),
        ("Pow(%x, %c)", Condition(values={"1": (3.0,)}), False),
        ("Pow(%x, %number)", Condition(values={"1": (2.0,)}), True),
        ("Pow(%x, %w)", Condition(values={"1": (2.0,)}), False),
        ("Pow(%x, %wide)", Condition(values={"1": (2.0, 3.0)}), True),
        ("Pow(%x, %wide)", Condition(values={"1": (2.0,)}), False),
        ("Mul(%x, %w)", Condition(ranks={"1": (1,)}), True),
        ("Mul(%x, %w)", Condition(ranks={"0": (3,), "1": (1,)}), False),
        ("Clip(%x)", Condition(ranks={"1": (0,)}), True),
        ("Clip(%x, _, %c)", Condition(values={"1": (0.0,)}), False),
        ("Add(%x, %w)", Condition(same_rank=True), False),
        ("Add(%x, %c)", Condition(same_rank=True), True),
        ("Add(%x, %x)", Condition(same_rank=True), True),
    ],
)
def test_operands(op: str, condition: Condition, expected: bool | None) -> None:
    assert case(OPERANDS.replace("OP", op), condition)[0] is expected


@pytest.mark.parametrize(
    ("graph", "condition", "text"),
    [
        (relu("float32[1,2]"), Condition(rank=(3, 4)), "rank must be 3 or 4; found 2"),
        (concat("0"), Condition(axis=(1, 2, 3)), "axis must be 1, 2 or 3; found 0"),
        (concat("0"), Condition(axis_not=(0,)), "axis must be other than 0; found 0"),
        (reduced("axes=[2]"), Condition(axes=((2, 3), (1,))), "axes must be (2, 3) or (1); found (2)"),
        (reduced("axes=[2], keepdims=0"), Condition(attributes={"keepdims": AttributeTest(one_of=(1,))}),
         "keepdims must be 1; found 0"),
        (reduced("axes=[9]"), Condition(attributes={"axes": AttributeTest(max=7)}),
         "axes must be at most 7; found (9)"),
        (OPERANDS.replace("OP", "Pow(%x, %w)"), Condition(constant=(1,)),
         "input 1 (Y) must be a constant; found one that is computed"),
        (OPERANDS.replace("OP", "Pow(%x, %c)"), Condition(values={"1": (0.5, 3.0)}),
         "input 1 (Y) must be 0.5 or 3; found 2.0"),
        (OPERANDS.replace("OP", "Pow(%x, %wide)"), Condition(values={"1": (2.0,)}),
         "input 1 (Y) must be 2; found 2 different ones"),
        (relu("int8[1]"), Condition(dtype=("float", "bool")), "element type must be float or bool; found int8"),
    ],
)  # fmt: skip
def test_the_message_is_the_limit_and_what_was_found(graph: str, condition: Condition, text: str) -> None:
    assert case(graph, condition)[1] == text


LAID_OUT = """graph(%x: float32[1,4,5,6]) -> (%y) {
  %w: float32[4,4,1,1] = splat(1.0)
  %rows: int64[3] = [1, 4, 30]
  %k: float32[SHAPE] = splat(2.0)
  %map = Conv(%x, %w) {kernel_shape=[1,1]} @conv
  %relu = Relu(%map) @relu
  %flat = Reshape(%relu, %rows) @flatten
  %turned = Transpose(%flat) {perm=[0,2,1]} @turn
  %last = Transpose(%relu) {perm=[0,2,3,1]} @last
  %y = Mul(%DATA, %k) @n
}"""


@pytest.mark.parametrize(
    ("data", "shape", "expected"),
    [
        ("relu", "", True),
        ("relu", "1,4,1,1", True),
        ("relu", "4,1,1", True),
        ("relu", "1,4,5,6", True),
        ("relu", "6", False),
        ("relu", "1,1,5,6", False),
        ("relu", "1,4,1,6", False),
        ("relu", "3,4,5,6", False),
        ("flat", "1,4,1", True),
        ("flat", "1,4,30", False),  # (1, 30, 4) on the chip
        ("flat", "1,30", False),
        ("turned", "4", True),
        ("turned", "1,30,4", True),
        ("turned", "1,30,1", False),
        ("last", "4", True),
        ("last", "1,5,6,4", True),
        ("last", "1,1,6,4", False),
    ],
)
def test_constants_of_maps_tokens_and_flattened_maps(data: str, shape: str, expected: bool) -> None:
    graph = LAID_OUT.replace("DATA", data).replace("SHAPE", shape)
    assert case(graph, Condition(constant_fits=True))[0] is expected
    assert case(graph, Condition(channels_first=True))[0] is (data in ("relu", "flat"))


@pytest.mark.parametrize(
    ("pads", "axes"),
    [("[0, 0, 1, 1, 0, 0, 1, 1]", (2, 3)), ("[0, 1, 0, 0, 0, 0, 0, 0]", (1,)), ("[0, 0, 0, 0, 0, 0, 0, 2]", (3,))],
)
def test_the_axes_of_a_pad_are_those_it_changes(pads: str, axes: tuple[int, ...]) -> None:
    graph = f"graph(%x: float32[1,2,3,4]) -> (%y) {{ %p: int64[8] = {pads}  %y = Pad(%x, %p) @n }}"
    assert case(graph, Condition(axes=(axes,)))[0] is True
    assert case(graph, Condition(axes_not=axes))[0] is False


def test_a_reduction_without_axes_is_over_all() -> None:
    assert case(reduced(""), Condition(axes=((0, 1, 2, 3),)))[0] is True
    assert case(reduced("", "float32[*]"), Condition(axes=((1,),)))[0] is None


def resized(before: str, scales: str) -> str:
    return f"""graph(%x: float32[{before}]) -> (%y) {{
      %s: float32[4] = {scales}  %y = Resize(%x, _, %s) {{mode="nearest"}} @n
    }}"""


@pytest.mark.parametrize(
    ("graph", "condition", "expected"),
    [
        (resized("1,2,8,8", "[1.0, 1.0, 2.0, 2.0]"), Condition(growth=NumberTest(one_of=(2.0,))), True),
        (resized("1,2,8,8", "[1.0, 1.0, 2.0, 1.0]"), Condition(growth=NumberTest(one_of=(2.0,))), True),
        (resized("1,2,8,8", "[1.0, 1.0, 2.0, 3.0]"), Condition(growth=NumberTest(one_of=(2.0,))), False),
        (
            resized("1,2,8,8", "[1.0, 1.0, 0.5, 0.5]"),
            Condition(
                growth=NumberTest(
                    one_of=(
                        0.5,
                        2.0,
                    )
                )
            ),
            True,
        ),
        (resized("1,2,H,8", "[1.0, 1.0, 2.0, 2.0]"), Condition(growth=NumberTest(one_of=(2.0,))), None),
        (resized("1,2,H,8", "[1.0, 1.0, 2.0, 3.0]"), Condition(growth=NumberTest(one_of=(2.0,))), False),
        (resized("1,2,8,8", "[1.0, 1.0, 4.0, 8.0]"), Condition(growth=NumberTest(min=4.0)), True),
        (resized("1,2,8,8", "[1.0, 1.0, 2.0, 8.0]"), Condition(growth=NumberTest(min=4.0)), False),
        (sliced("[0, 0]", "[8, 8]", "[2, 3]", "[2, 2]"), Condition(steps=(1, 2)), True),
        (sliced("[0, 0]", "[8, 8]", "[2, 3]", "[1, 4]"), Condition(steps=(1, 2)), False),
    ],
)
def test_how_a_tensor_grows_and_is_stepped_through(graph: str, condition: Condition, expected: bool | None) -> None:
    assert case(graph, condition)[0] is expected


def test_steps_that_are_left_out_are_one() -> None:
    graph = """graph(%x: float32[1,2,8,8]) -> (%y) {
      %s: int64[1] = [0]  %e: int64[1] = [4]  %a: int64[1] = [2]  %y = Slice(%x, %s, %e, %a) @n }"""
    assert case(graph, Condition(steps=(1,)))[0] is True


JOINED = """graph(%x: float32[1,4,5,6], %gate: float32[1,4,1,1], %pixel: float32[1,1,5,6], %row: float32[1,4,1,6],
  %flat: float32[1,4,1,6], %narrow: float32[1,4,1,1]) -> (%y) {
  %c: float32[1,1,1,6] = splat(1.0)
  %y = OP @n
}"""


@pytest.mark.parametrize(
    ("op", "wanted", "expected"),
    [
        ("Mul(%x, %gate)", ((2, 3), (1,)), True),
        ("Mul(%gate, %x)", ((2, 3), (1,)), True),
        ("Mul(%x, %pixel)", ((2, 3), (1,)), True),
        ("Mul(%x, %row)", ((2, 3), (1,)), False),
        ("Mul(%flat, %narrow)", ((2, 3), (1,)), True),  # the map has a height of 1
        ("Mul(%x, %x)", ((),), True),
        ("Mul(%x, %gate)", ((),), False),
        ("Mul(%x, %c)", ((),), True),  # of constants another test speaks
    ],
)
def test_along_which_axes_an_operand_is_stretched(op: str, wanted: tuple[tuple[int, ...], ...], expected: bool) -> None:
    assert case(JOINED.replace("OP", op), Condition(stretched=wanted))[0] is expected


@pytest.mark.parametrize(("heads", "expected"), [("2", True), ("1", False), ("H", None)])
def test_factors_with_the_same_number_of_heads(heads: str, expected: bool | None) -> None:
    graph = f"graph(%q: float32[1,2,5,4], %k: float32[1,{heads},4,5]) -> (%y) {{ %y = MatMul(%q, %k) @n }}"
    assert case(graph, Condition(same_heads=True))[0] is expected


@pytest.mark.parametrize(("strides", "expected"), [(", strides=[2,2]", True), (", strides=[2,1]", False), ("", True)])
def test_the_same_along_all_axes(strides: str, expected: bool) -> None:
    graph = pooled(strides)
    assert case(graph, Condition(attributes={"strides": AttributeTest(equal=True)}))[0] is expected
    assert case(graph, Condition(attributes={"strides": AttributeTest(equal=False)}))[0] is not expected


@pytest.mark.parametrize(
    ("type", "expected"), [("1,4,1,1", True), ("1,4", True), ("1,4,2,1", False), ("1,4,H,1", None)]
)
def test_how_many_positions_there_are(type: str, expected: bool | None) -> None:
    assert case(relu(f"float32[{type}]"), Condition(space=(1,)))[0] is expected


def test_inputs_are_told_by_number() -> None:
    with pytest.raises(ValueError, match="`values` goes by the number of the input; found `first`"):
        Condition(values={"first": (1.0,)})
    with pytest.raises(ValueError, match="`ranks` goes by the number of the input; found `first`"):
        Condition(ranks={"first": (1,)})
