"""The pattern language and the matcher: what matches, what does not, and what a miss says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from irkit import Match, Model, Pattern, PatternOps, find, parse_model
from irkit.errors import PassError
from irkit.matcher import Matcher
from irkit.pattern_graph import trace
from irkit.types import DType

Function = Callable[..., Any]


def model(nodes: str, inputs: str = "%x: float32[1,3]", output: str = "%y", constants: str = "") -> Model:
    return parse_model(f"opset 20\ngraph({inputs}) -> ({output}) {{ {constants} {nodes} }}")


def roots(found: list[Match]) -> list[str]:
    return [match.root.output.name for match in found]


def matches(pattern: Function, text: Model) -> bool:
    return bool(find(text, pattern))


def miss(pattern: Function, text: Model, root: str) -> str:
    matcher = Matcher(trace(pattern), explain=True)
    assert matcher.match(text.graph.values[root].producer) is None  # type: ignore[arg-type]
    return str(matcher.miss)


def test_captures_values_by_parameter_and_nodes_by_name() -> None:
    def pattern(op: PatternOps, a: Pattern) -> Pattern:
        return op.Relu(op.Neg(a).named("inner")).named("outer")

    (match,) = find(model("%n = Neg(%x) @neg %y = Relu(%n) @relu"), pattern)
    assert match["a"].name == "x"
    assert (match["inner"].name, match["outer"].name, match.root.name) == ("neg", "relu", "relu")
    assert [value.name for value in match.outputs] == ["y"]


def test_the_same_capture_is_the_same_value() -> None:
    def pattern(op: PatternOps, a: Pattern) -> Pattern:
        return op.Sub(a, op.Neg(a))

    assert matches(pattern, model("%n = Neg(%x) %y = Sub(%x, %n)"))
    text = model("%n = Neg(%x) %r = Relu(%x) %y = Sub(%r, %n)")
    assert not matches(pattern, text)
    assert "'a' is another value" in miss(pattern, text, "y")


def test_the_same_node_of_a_pattern_is_the_same_node() -> None:
    def pattern(op: PatternOps, a: Pattern) -> Pattern:
        inner = op.Neg(a)
        return op.Sub(inner, op.Relu(inner))

    assert matches(pattern, model("%n = Neg(%x) %r = Relu(%n) %y = Sub(%n, %r)"))
    assert not matches(pattern, model("%n = Neg(%x) %m = Neg(%x) %r = Relu(%m) %y = Sub(%n, %r)"))


@pytest.mark.parametrize("call", ["Mul(%x, %s)", "Mul(%s, %x)"])
def test_operands_of_commutative_operators_match_in_any_order(call: str) -> None:
    text = model(f"%s = Sigmoid(%x) %y = {call}")
    assert matches(lambda op, x: op.Mul(x, op.Sigmoid(x)), text)
    assert matches(lambda op, x: op.Mul(op.Sigmoid(x), x), text)


def test_operands_of_other_operators_do_not() -> None:
    assert not matches(lambda op, x: op.Sub(x, op.Sigmoid(x)), model("%s = Sigmoid(%x) %y = Sub(%s, %x)"))


def test_backtracks_over_captures_that_another_operand_contradicts() -> None:
    def pattern(op: PatternOps, a: Pattern, b: Pattern) -> Pattern:
        return op.Mul(op.Add(a, b), op.Sub(a, b))

    assert matches(pattern, model("%n = Neg(%x) %s = Sub(%n, %x) %t = Add(%x, %n) %y = Mul(%s, %t)"))


def test_a_long_commutative_chain_takes_linear_time() -> None:
    depth = 30
    text = "%v0 = Relu(%x)" + "".join(f" %v{i + 1} = Add(%v{i}, %v{i})" for i in range(depth)) + f" %y = Neg(%v{depth})"

    def pattern(op: PatternOps, x: Pattern) -> Pattern:
        out: Pattern = op.Tanh(x)  # there is none: every way down must fail
        for _ in range(depth):
            out = op.Add(out, out)
        return op.Neg(out)

    def distinct(op: PatternOps, x: Pattern) -> Pattern:
        def level(left: int) -> Pattern:
            return op.Add(level(left - 1), op.any_of(op.Abs(x), x)) if left else op.Tanh(x)

        return op.Neg(level(depth))

    steps = (f" %w{i} = Add(%v{i}, %x) %v{i + 1} = Add(%w{i}, %v{i})" for i in range(depth))
    chain = f"%v0 = Relu(%x) {' '.join(steps)} %y = Neg(%v{depth})"
    for function, source in ((pattern, text), (distinct, text), (distinct, chain)):
        matcher = Matcher(trace(function))
        assert matcher.match(model(source).graph.values["y"].producer) is None  # type: ignore[arg-type]
        assert matcher.steps < 5000


def test_a_chain_that_matches_is_found() -> None:
    inputs = ", ".join(f"%{name}: float32[2]" for name in ("x", "n1", "n2", "n3"))
    text = model("%a = Add(%x, %n1) %b = Add(%n2, %a) %y = Add(%b, %n3)", inputs)
    (match,) = find(text, lambda op, p, q, r, s: op.Add(op.Add(op.Add(p, q), r), s))
    assert {match[name].name for name in "pqrs"} == {"x", "n1", "n2", "n3"}


@pytest.mark.parametrize(
    ("constant", "fits"),
    [
        ("float32[] = 0.5", True),
        ("float32[1] = [0.5]", True),
        ("float16[] = 0.5", True),
        ("float32[1,3] = splat(0.5)", True),
        ("float32[3] = [0.5, 0.5, 0.5]", True),
        ("float32[] = 0.50001", True),
        ("float32[] = 0.501", False),
        ("float32[3] = [0.5, 0.5, 0.4]", False),
        ("float32[2,3] = splat(0.5)", False),  # would make the result larger
        ("float32[1,1,1] = splat(0.5)", False),
    ],
)
def test_a_number_is_a_scalar_or_uniform_constant_that_keeps_the_shape(constant: str, fits: bool) -> None:
    shape = next((shape for shape in ("2,3", "1,1,1") if f"[{shape}]" in constant), "1,3").replace("1,1,1", "1,1,3")
    text = model(f"%y: float32[{shape}] = Mul(%x, %c)", constants=f"%c: {constant}")
    assert matches(lambda op, x: op.Mul(x, 0.5), text) == fits


def test_a_number_may_be_a_constant_node_but_not_a_computed_or_overridable_value() -> None:
    def pattern(op: PatternOps, x: Pattern) -> Pattern:
        return op.Mul(x, 0.5)

    assert matches(pattern, model("%c = Constant() {value_float=0.5} %y = Mul(%c, %x)"))
    assert not matches(pattern, model("%y = Mul(%c, %x)", "%x: float32[1,3], %c: float32[]"))
    overridable = model("%y = Mul(%c, %x)", "%x: float32[1,3], %c: float32[]", constants="%c: float32[] = 0.5")
    assert not matches(pattern, overridable)
    assert "is no constant" in miss(pattern, overridable, "y")


def test_a_number_outside_of_broadcasting_must_be_a_scalar_and_a_list_is_rank_1() -> None:
    text = model("%y = Gather(%x, %i)", constants="%i: int64[1] = [1]")
    assert not matches(lambda op, x: op.Gather(x, 1), text)
    assert matches(lambda op, x: op.Gather(x, [1]), text)
    assert not matches(lambda op, x: op.Gather(x, [1, 1]), text)


def test_bfloat16_and_tolerance() -> None:
    text = model("%y = Mul(%x, %c)", "%x: bfloat16[1,3]", constants="%c: bfloat16[] = 0x3fb5")  # 1.4140625
    assert matches(lambda op, x: op.Mul(x, 1.41421356), text)
    assert not matches(lambda op, x: op.Mul(x, op.number(1.41421356, tolerance=1e-6)), text)


def test_attributes_by_value_default_predicate_and_absence() -> None:
    text = model("%s = Softmax(%x) {axis=1} %l = LeakyRelu(%s) {alpha=0.1} %y = Softmax(%l)")
    assert roots(find(text, lambda op, x: op.Softmax(x, axis=1))) == ["s"]
    assert roots(find(text, lambda op, x: op.Softmax(x, axis=-1))) == ["y"]  # the schema's default
    assert roots(find(text, lambda op, x: op.Softmax(x, axis=lambda axis: axis >= 0))) == ["s"]
    assert matches(lambda op, x: op.LeakyRelu(x, alpha=0.1), text)
    assert "has axis=-1" in miss(lambda op, x: op.Softmax(x, axis=1), text, "y")


def test_predicates_on_values() -> None:
    text = model("%y = Add(%x, %c)", constants="%c: float32[3] = [1, 2, 3]")
    assert matches(lambda op, x, c: op.Add(x, c.constant().rank(1).shape(3).dtype(DType.FLOAT32)), text)
    assert matches(lambda op, x, c: op.Add(x.shape(1, None), c), text)
    assert not matches(lambda op, x, c: op.Add(x.shape(2, None), c.constant()), text)
    assert not matches(lambda op, x, c: op.Add(x.dtype(DType.FLOAT16), c.dtype(DType.FLOAT16)), text)
    odd = "is no weight"
    assert odd in miss(lambda op, x, c: op.Add(x.where(lambda _: False, odd), c.where(lambda _: False, odd)), text, "y")


def test_predicates_on_nodes() -> None:
    text = model("%y = Relu(%x) @act")
    assert matches(lambda op, x: op.Relu(x).such_that(lambda node: node.name == "act", "is no act"), text)
    assert "is no gate" in miss(lambda op, x: op.Relu(x).such_that(lambda node: False, "is no gate"), text, "y")


def test_optional_nodes_and_alternatives() -> None:
    def pattern(op: PatternOps, x: Pattern) -> Pattern:
        return op.Relu(op.optional(op.Cast, op.any_of(op.Neg(x), op.Abs(x).named("abs"))))

    (plain,) = find(model("%n = Neg(%x) %y = Relu(%n)"), pattern)
    assert plain["abs"] is None
    (with_cast,) = find(model("%n = Abs(%x) %c = Cast(%n) {to=1} %y = Relu(%c)"), pattern)
    assert with_cast["abs"].op == "Abs"
    assert not matches(pattern, model("%n = Exp(%x) %y = Relu(%n)"))


def test_alternatives_at_the_root() -> None:
    text = model("%n = Neg(%x) %y = Abs(%n)")
    assert roots(find(text, lambda op, x: op.any_of(op.Neg(x), op.Abs(x)))) == ["n", "y"]


def test_optional_inputs() -> None:
    inputs = "%x: float32[1,3,8,8], %w: float32[4,3,1,1], %b: float32[4]"

    def pattern(op: PatternOps, x: Pattern, w: Pattern, b: Pattern) -> Pattern:
        return op.Conv(x, w, op.maybe(b))

    (without,) = find(model("%y = Conv(%x, %w)", inputs), pattern)
    (with_bias,) = find(model("%y = Conv(%x, %w, %b)", inputs), pattern)
    assert without["b"] is None
    assert with_bias["b"].name == "b"
    assert matches(lambda op, x, w: op.Conv(x, w), model("%y = Conv(%x, %w)", inputs))
    assert not matches(lambda op, x, w: op.Conv(x, w), model("%y = Conv(%x, %w, %b)", inputs))
    assert matches(lambda op, x, b: op.Clip(x, None, b), model("%y = Clip(%x, _, %h)", "%x: float32[3], %h: float32[]"))


def test_variadic_inputs() -> None:
    text = model("%n = Neg(%x) %y = Concat(%x, %n, %n) {axis=0}")
    (match,) = find(text, lambda op, first, rest: op.Concat(first, op.rest(rest)))
    assert match["first"].name == "x"
    assert [value.name for value in match["rest"]] == ["n", "n"]
    assert not matches(lambda op, first, rest, each: op.Concat(first, op.rest(rest, op.Relu(each))), text)


def test_domains_and_several_operators() -> None:
    text = model("%g = com.microsoft::Gelu(%x) %y = Gelu(%g)")
    assert roots(find(text, lambda op, x: op.Gelu(x))) == ["y"]
    assert roots(find(text, lambda op, x: op.domain("com.microsoft").Gelu(x))) == ["g"]
    assert roots(find(text, lambda op, x: op.any_op("Gelu", "Relu")(x))) == ["y"]
    assert roots(find(text, lambda op, x: op.any_op()(x))) == ["y"]


def test_several_outputs_of_one_node() -> None:
    def pattern(op: PatternOps, x: Pattern) -> tuple[Pattern, Pattern]:
        first, second = op.Split(x, _outputs=2)
        return op.Relu(second), op.Neg(first)

    split = "%a, %b = Split(%x) {num_outputs=2}"
    (match,) = find(model(f"{split} %y = Relu(%b) %z = Neg(%a)", output="%y, %z"), pattern)
    assert [value.name for value in match.outputs] == ["y", "z"]
    assert not matches(pattern, model(f"{split} %y = Relu(%a) %z = Neg(%b)", output="%y, %z"))


def test_several_roots_over_a_common_input() -> None:
    def pattern(op: PatternOps, x: Pattern) -> tuple[Pattern, Pattern]:
        return op.Sin(x), op.Relu(op.Cos(x))

    (match,) = find(model("%y = Sin(%x) %c = Cos(%x) %z = Relu(%c)", output="%y, %z"), pattern)
    assert [value.name for value in match.outputs] == ["y", "z"]
    assert not matches(pattern, model("%y = Sin(%x) %n = Neg(%x) %c = Cos(%n) %z = Relu(%c)", output="%y, %z"))


def test_nodes_of_an_outer_graph_are_out_of_reach_but_its_constants_are_not() -> None:
    text = parse_model("""
        opset 17
        graph(%x: float32[3], %k: bool[]) -> (%y) {
          %c: float32[] = 0.5
          %n = Neg(%x)
          %y = If(%k) {
            then_branch=graph() -> (%a) { %a = Mul(%n, %c) },
            else_branch=graph() -> (%b) { %b = Relu(%n) }
          }
        }""")
    assert roots(find(text, lambda op, x: op.Mul(x, 0.5))) == ["a"]
    assert not matches(lambda op, x: op.Relu(op.Neg(x)), text)


def test_a_miss_names_the_part_the_place_and_the_reason() -> None:
    text = model("%e = Exp(%x) @exp %n = Neg(%e) @neg %y = Relu(%n) @relu")
    said = miss(lambda op, x: op.Relu(op.Neg(op.Abs(x))), text, "y")
    assert said == "is no Abs at Exp 'exp' (where the rule wants Abs(x); 2 nodes matched)"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (lambda x: x, "the first parameter of a pattern is `op`"),
        (lambda op, x: x, "a pattern returns operators"),
        (lambda op, x: op.any_of(op.Relu(x), x), "a pattern returns operators"),
        (lambda op, x, y: op.Relu(x), "does not use its parameter 'y'"),
        (lambda op, x: op.Relu("x"), "a pattern, a number, a list of numbers or None"),
        (lambda op, x: op.Relu(op.Split(x, _outputs=2)), "several outputs; pick one"),
        (lambda op, x, y: op.Concat(op.rest(op.Relu(x)), y), "op.rest takes a parameter"),
        (lambda op, x: op.Relu(x).named("a").named("b"), "is named 'a' already"),
    ],
)
def test_wrong_patterns_are_told(pattern: Function, message: str) -> None:
    with pytest.raises(PassError, match=message.replace("(", r"\(")):
        trace(pattern)


def test_operators_are_spelled_as_in_onnx() -> None:
    with pytest.raises(PassError, match=r"no operator relu; did you mean Relu\?"):
        trace(lambda op, x: op.relu(x))


# Any number of inputs.

INPUTS = ", ".join(f"%{name}: float32[2]" for name in ("a", "b", "c", "d"))


def names(values: Any) -> Any:
    return tuple(value.name for value in values) if isinstance(values, tuple) else values.name


def captured(pattern: Function, nodes: str) -> list[dict[str, Any]]:
    found = find(model(nodes, INPUTS), pattern)
    return [{key: names(item) for key, item in match.captures.items()} for match in found]


def test_rest_stands_for_any_number_of_inputs() -> None:
    assert captured(lambda op, xs: op.Concat(op.rest(xs)), "%y = Concat(%a, %b, %c) {axis=0}") == [
        {"xs": ("a", "b", "c")}
    ]
    assert captured(lambda op, x, xs: op.Concat(x, op.rest(xs)), "%y = Concat(%a) {axis=0}") == [{"x": "a", "xs": ()}]


def test_rest_may_stand_anywhere() -> None:
    nodes = "%r = Relu(%b) %y = Concat(%a, %r, %c, %d) {axis=0}"
    pattern = lambda op, x, before, after: op.Concat(op.rest(before), op.Relu(x), op.rest(after))  # noqa: E731
    assert captured(pattern, nodes) == [{"x": "b", "before": ("a",), "after": ("c", "d")}]
    assert captured(lambda op, x, xs: op.Concat(op.rest(xs), x), nodes) == [{"xs": ("a", "r", "c"), "x": "d"}]
    assert captured(lambda op, x, y, xs: op.Concat(x, op.rest(xs), y), nodes) == [
        {"x": "a", "xs": ("r", "c"), "y": "d"}
    ]
    assert captured(lambda op, x: op.Concat(op.rest(), op.Relu(x), op.rest()), nodes) == [{"x": "b"}]
    assert captured(lambda op, x: op.Concat(op.Relu(x), op.rest()), nodes) == []


def test_rest_of_a_commutative_operator_takes_what_is_left() -> None:
    nodes = "%r = Relu(%b) %y = Sum(%a, %r, %c)"
    assert captured(lambda op, x, xs: op.Sum(op.Relu(x), op.rest(xs)), nodes) == [{"x": "b", "xs": ("a", "c")}]


def test_each_of_the_rest_may_have_a_pattern() -> None:
    nodes = "%r = Relu(%a) %s = Relu(%b) %t = Relu(%c) %y = Concat(%r, %s, %t) {axis=0}"
    pattern = lambda op, xs, x: op.Concat(op.rest(xs, op.Relu(x)))  # noqa: E731
    assert captured(pattern, nodes) == [{"xs": ("r", "s", "t"), "x": ("a", "b", "c")}]
    (match,) = find(model(nodes, INPUTS), pattern)
    assert [node.op for node in match.nodes] == ["Concat", "Relu", "Relu", "Relu"]
    assert captured(pattern, nodes.replace("Relu(%b)", "Neg(%b)")) == []


def test_what_is_captured_outside_too_is_the_same_for_each() -> None:
    pattern = lambda op, x, ys: op.Concat(x, op.rest(None, op.Add(x, ys)))  # noqa: E731
    nodes = "%r = Add(%a, %b) %s = Add(%c, %a) %y = Concat(%a, %r, %s) {axis=0}"
    assert captured(pattern, nodes) == [{"x": "a", "ys": ("b", "c")}]
    assert captured(pattern, nodes.replace("Add(%c, %a)", "Add(%c, %b)")) == []


def test_nodes_for_each_are_captured_as_a_tuple() -> None:
    nodes = "%r = Relu(%a) @one %s = Neg(%b) @two %y = Concat(%r, %s) {axis=0}"
    pattern = lambda op, x: op.Concat(op.rest(None, op.any_op("Relu", "Neg")(x).named("acts")))  # noqa: E731
    assert captured(pattern, nodes) == [{"x": ("a", "b"), "acts": ("one", "two")}]


# Attributes.


def test_an_attribute_may_be_captured() -> None:
    def pattern(op: PatternOps, x: Pattern, perm: Pattern) -> Pattern:
        return op.Transpose(x, perm=perm)

    (match,) = find(model("%y = Transpose(%x) {perm=[1,0]}"), pattern)
    assert match["perm"] == (1, 0)
    (match,) = find(model("%y = Transpose(%x)"), pattern)
    assert match["perm"] is None
    (match,) = find(model("%y = Flatten(%x)"), lambda op, x, axis: op.Flatten(x, axis=axis))
    assert match["axis"] == 1  # the default


def test_the_same_capture_is_the_same_attribute() -> None:
    pattern = lambda op, x, to: op.Cast(op.Cast(x, to=to), to=to)  # noqa: E731
    assert matches(pattern, model("%h = Cast(%x) {to=10} %y = Cast(%h) {to=10}"))
    assert not matches(pattern, model("%h = Cast(%x) {to=10} %y = Cast(%h) {to=1}"))


# What no operator takes.


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (lambda op, x: op.Conv(x), "Conv takes 2 to 3 inputs; found 1"),
        (lambda op, x: op.Relu(x, x), "Relu takes 1 inputs; found 2"),
        (lambda op, x: op.Relu(x, _outputs=2), "Relu takes 1 outputs; found 2"),
        (lambda op, x: op.Conv(x, x, kernel=3), "Conv has no attribute 'kernel'; did you mean 'kernel_shape'?"),
        (lambda op, x: op.Conv(x, x, group="1"), "Conv: attribute 'group' is of kind int; found '1'"),
        (lambda op, x: op.any_op("Relu", "Gellu")(x), "ONNX has no operator Gellu; did you mean Gelu?"),
        (lambda op, x: op.domain("ai.onnx.ml").Scalar(x), "ai.onnx.ml has no operator Scalar; did you mean Scaler?"),
    ],
)
def test_calls_are_held_against_what_operators_take(pattern: Function, message: str) -> None:
    with pytest.raises(PassError) as caught:
        trace(pattern)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "pattern",
    [
        lambda op, x: op.Squeeze(x, axes=[1]),  # an attribute before opset 13, an input since
        lambda op, x, axes: op.Squeeze(x, axes),
        lambda op, x: op.Upsample(x, scales=lambda scales: True),  # up to opset 9
        lambda op, x, xs: op.Conv(x, op.rest(xs), group=1, auto_pad=None),
        lambda op, x: op.domain("my.own").Anything(x, x, x, some="thing"),
        lambda op, x: op.any_op("Relu", "LeakyRelu")(x, alpha=0.1),
    ],
)
def test_what_some_version_takes_is_taken(pattern: Function) -> None:
    trace(pattern)


def test_a_search_that_takes_too_long_is_given_up_and_told() -> None:
    depth = 13
    leaves = ", ".join(f"%i{i}: float32[1]" for i in range(depth + 1))
    adds = "".join(f" %v{i + 1} = Add(%v{i}, %i{i + 1})" for i in range(depth))
    text = model(f"%v0 = Relu(%i0) {adds} %y = Mul(%v{depth}, %i0)", leaves)
    variables = [f"x{i}" for i in range(depth + 1)]

    body = "op.Relu(x0)"
    for name in variables[1:]:
        body = f"op.Add({body}, {name}.where(lambda value: len(value.uses) == 1, 'no'))"
    source = f"lambda op, {', '.join(variables)}: op.Mul({body}, {variables[-1]})"
    matcher = Matcher(trace(eval(source)))
    assert matcher.match(text.graph.values["y"].producer) is None  # type: ignore[arg-type]
    assert matcher.steps < 5000 or matcher.gave_up
