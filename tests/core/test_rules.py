"""Writing rules: mistakes are told with pass, rule, node and line; the builder; why a rule did not apply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import irkit
from irkit import Builder, Context, Match, Node, Pattern, PatternOps, Rule, Value, parse_model
from irkit.errors import OptionError, PassError
from irkit.pipeline import run_pipeline
from irkit.target import load_target
from irkit.verifier import verify
from tests.core.test_rewriter import ExpLog, HardSwishToRelu, apply, model

# Mistakes of users.


def test_rules_that_never_end_are_told() -> None:
    class Ping(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.any_op("Relu", "Abs")(x).named("node")

        def replace(self, op: Builder, x: Value, node: Node) -> Value:
            return op.Abs(x) if node.op == "Relu" else op.Relu(x)

    with pytest.raises(PassError, match=r"pass 'test' \(.*test_rules\.py:\d+\): it does not end: rule 'ping' at 'act'"):
        irkit.apply_rules(model("%y = Relu(%x) @act"), Context(pass_name="test"), [Ping])


def wrong(replace: Callable[..., Any]) -> type[Rule]:
    def pattern(self: Rule, op: PatternOps, x: Pattern) -> Pattern:
        return op.Relu(x).named("node")

    return type("Wrong", (Rule,), {"pattern": pattern, "replace": replace})


@pytest.mark.parametrize(
    ("replace", "message"),
    [
        (lambda self, op, x: op.Gurke(x), "ONNX has no operator Gurke; those of other domains: op.domain(NAME)"),
        (lambda self, op, x: op.Conv(x), "Conv takes 2 to 3 inputs; found 1"),
        (lambda self, op, x: op.Relu(x, alpha=1.0), "Relu has no attribute 'alpha'"),
        (lambda self, op, x: op.Softmax(x, axis="1"), "Softmax: attribute 'axis' is of kind int; found '1'"),
        (lambda self, op, x: op.Transpose(x, perm=3), "attribute 'perm' is of kind ints; found 3"),
        (lambda self, op, x: op.Concat(x), "Concat: attribute 'axis' is missing"),
        (lambda self, op, x: None, "`replace` returned nothing; it returns a value, or irkit.refuse"),
        (lambda self, op, x: "x", "`replace` returned a str"),
        (lambda self, op, x: (x, x), "`replace` returned 2 values for 1 outputs"),
        (lambda self, op, node: op.Neg(node.output), "the new Neg reads 'y', which it replaces"),
        (lambda self, op, x: 1 / 0, "division by zero"),
        (lambda self, op, y: y, "replace asks for 'y', but the pattern captures node, x"),
    ],
)
def test_mistakes_name_the_pass_the_rule_and_the_node_and_change_nothing(replace: Any, message: str) -> None:
    text = model("%y = Relu(%x) @act")
    before = irkit.print_model(text)
    with pytest.raises(PassError) as caught:
        irkit.apply_rules(text, Context(pass_name="test"), [wrong(replace)])
    said = str(caught.value)
    assert message in said
    assert "rule 'wrong'" in said
    if "asks for" not in said:
        assert "pass 'test'" in said
        assert "Relu 'act'" in said
    assert irkit.print_model(text) == before


def test_an_exception_in_a_rule_tells_file_and_line() -> None:
    def replace(self: Rule, op: Builder, x: Value) -> Value:
        raise KeyError("oops")

    with pytest.raises(PassError, match=rf"KeyError: 'oops' .*test_rules.py:{replace.__code__.co_firstlineno + 1}"):
        irkit.apply_rules(model("%y = Relu(%x) @act"), Context(), [wrong(replace)])


def test_a_class_without_pattern_or_replace_is_no_pass() -> None:
    with pytest.raises(PassError, match="has no method `replace`"):

        @irkit.rewrite("no-replace")
        class NoReplace:
            """Half a pass."""

            def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
                return op.Relu(x)

    with pytest.raises(OptionError, match="needs a docstring"):

        @irkit.rewrite("no-doc")
        class NoDoc:
            pattern = replace = lambda self, op, x: op.Relu(x)


# The builder.


def test_numbers_take_the_type_of_their_neighbours() -> None:
    class Half(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.HardSwish(x)

        def replace(self, op: Builder, x: Value) -> Value:
            return op.Mul(x, 0.5)

    text = model("%y = HardSwish(%x)", "%x: float16[3]")
    apply(text, Half)
    (constant,) = text.graph.initializers.values()
    assert str(constant.type) == "float16[]"


def test_attributes_are_copied_and_left_out() -> None:
    class Copy(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.MaxPool(x).named("pool")

        def replace(self, op: Builder, x: Value, pool: Node) -> Value:
            return op.node("AveragePool", x, like=pool, strides=None)

    text = model("%y = MaxPool(%x) {kernel_shape=[2,2], strides=[2,2], ceil_mode=1}", "%x: float32[1,1,4,4]")
    apply(text, Copy)
    attrs = {key: attr.value for key, attr in next(iter(text.graph)).attrs.items()}
    assert attrs == {"kernel_shape": (2, 2), "ceil_mode": 1}


def test_a_new_domain_is_imported() -> None:
    class Contribute(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.Gelu(x)

        def replace(self, op: Builder, x: Value) -> Value:
            return op.domain("com.microsoft").Gelu(x)

    text = model("%y = Gelu(%x)")
    apply(text, Contribute)
    assert dict(text.opset_imports) == {"": 20, "com.microsoft": 1}


# Numbers in replacements.


@pytest.mark.parametrize(
    ("dtype", "build", "types"),
    [
        ("float32", lambda op, x: op.Div(op.Add(x, 3.0), 6.0), ["float32", "float32"]),
        ("float16", lambda op, x: op.Clip(op.Mul(x, [2.0, 1.0]), 0, 6), ["float16", "float16", "float16"]),
        ("int32", lambda op, x: op.Add(op.Mul(x, 2), [1, 2]), ["int32", "int32"]),
        ("float32", lambda op, x: op.Where(op.Greater(x, 0.0), x, 0.0), ["float32", "float32"]),
        ("float32", lambda op, x: op.Reshape(x, [2, -1]), ["int64"]),
        ("float32", lambda op, x: op.Gather(x, [0], axis=0), ["int64"]),
        ("float32", lambda op, x: op.Mul(op.Cast(x, to=irkit.DType.FLOAT64), 0.5), ["float64"]),
        ("bfloat16", lambda op, x: op.Mul(x, 0.5), ["bfloat16"]),
    ],
)
def test_numbers_in_nested_calls_are_of_the_type_that_fits(dtype: str, build: Any, types: list[str]) -> None:
    text = parse_model(f"opset 20 graph(%x: {dtype}[2,2]) -> (%y) {{ %y = Neg(%x) @n }}")
    irkit.replace_node(text.graph.node("n"), build)
    stored = [value.constant for value in text.graph.initializers.values()]
    assert [tensor.dtype.label for tensor in stored if tensor is not None] == types
    verify(text)


def test_a_bfloat16_number_is_rounded_to_the_nearest() -> None:
    text = parse_model("opset 20 graph(%x: bfloat16[1]) -> (%y) { %y = Neg(%x) @n }")
    irkit.replace_node(text.graph.node("n"), lambda op, x: op.Mul(x, 0.1))
    (value,) = text.graph.initializers.values()
    assert value.constant is not None
    assert int(value.constant.numpy()) == 0x3DCD  # 0.1 is 0x3DCCCCCD as float32


# Tables of rules.


def halve(op: PatternOps, x: Pattern) -> Pattern:
    return op.Mul(x, 0.5)


def test_a_table_of_rules_is_a_pass() -> None:
    @irkit.define_pass("tidy")
    class Tidy(irkit.RewritePass):
        """Small things."""

        factor: float = 2.0
        rules = (
            irkit.rule(lambda op, x: op.Neg(op.Neg(x)), lambda x: x),
            irkit.rule(lambda op, x: op.Abs(op.Abs(x)), lambda op, x: op.Abs(x)),
            irkit.rule(halve, lambda op, x, options: op.Div(x, options.factor)),
        )

    nodes = "%a = Neg(%x) %b = Neg(%a) %c = Abs(%b) %d = Abs(%c) %y = Mul(%d, %h)"
    text = model(nodes, constants="%h: float32[] = 0.5")
    Tidy().run(text, Context())
    assert [node.op for node in text.graph] == ["Abs", "Div"]
    assert [rule.label for rule in Tidy().made_rules()] == ["tidy-1", "tidy-2", "halve"]
    groups = {edit.group.rule for edit in text.journal.since(0) if edit.group is not None}
    assert groups == {"tidy-1", "tidy-2", "halve"}


def test_the_only_rule_of_a_pass_is_called_as_the_pass() -> None:
    @irkit.define_pass("drop-neg")
    class DropNeg(irkit.RewritePass):
        """Drop."""

        rules = (irkit.rule(lambda op, x: op.Neg(op.Neg(x)), lambda x: x),)

    assert [rule.label for rule in DropNeg().made_rules()] == ["drop-neg"]


# Rules for some targets.


@pytest.mark.parametrize(
    ("when", "target", "applies"),
    [
        ("", "hailo8", True),
        ("hailo8", "hailo8", True),
        ("hailo8", "", True),
        ("hailo10h", "hailo8", False),
        (("hailo10h", "hailo8"), "hailo8", True),
        ("hailo8*", "hailo8", True),
        ("hailo8@>=3.30,<4", "hailo8@3.33", True),
        ("hailo8@>=3.34", "hailo8@3.33", False),
        ("hailo8@3.33", "hailo8@3.33", True),
        ("hailo8@3", "hailo8@3.33", True),
        ("hailo8@3.3", "hailo8@3.33", False),
        (lambda target: target.name == "hailo8", "hailo8", True),
        (lambda self, target: target.name != "hailo8", "hailo8", False),
    ],
)
def test_a_rule_may_be_for_some_targets_only(when: Any, target: str, applies: bool) -> None:
    context = Context(target=load_target(target) if target else None, pass_name="test")
    text = model("%y = HardSwish(%x)")

    class Some(HardSwishToRelu):
        pass

    Some.when = when
    assert irkit.apply_rules(text, context, [Some]) == int(applies)
    assert bool(context.notes) is not applies
    if not callable(when):
        text = model("%y = HardSwish(%x)")
        row = irkit.rule(lambda op, x: op.HardSwish(x), lambda op, x: op.Relu(x), when=when)
        assert irkit.apply_rules(text, context, [row]) == int(applies)


def test_a_pass_may_be_for_some_targets_only() -> None:
    @irkit.rewrite("mine", effect="retrain", when="hailo10h")
    class Mine:
        """Mine."""

        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.HardSwish(x)

        def replace(self, op: Builder, x: Value) -> Value:
            return op.Relu(x)

    text = model("%y = HardSwish(%x)")
    result = run_pipeline(text, [Mine()], Context(target=load_target("hailo8")))  # type: ignore[list-item]
    assert not result.passes[0].changed
    assert result.passes[0].notes == ["left out: it is for hailo10h, not for hailo8"]


def test_wrong_versions_are_told() -> None:
    with pytest.raises(irkit.OptionError, match=r"write `hailo8`, `hailo8@3\.33` or"):
        irkit.apply_rules(
            model("%y = Relu(%x)"),
            Context(target=load_target("hailo8")),
            [irkit.rule(lambda op, x: op.Relu(x), lambda x: x, when="hailo8@=3")],
        )


# Explanations.


def test_near_misses_tell_the_closest_rule_first() -> None:
    text = model("%h = Log(%x) @log %n = Neg(%h) @neg %y = Exp(%n) @exp")

    class Far(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.Exp(op.Neg(op.Abs(x)))

        def replace(self, x: Value) -> Value:
            return x

    found = irkit.near_misses(text, Context(), [ExpLog, Far, HardSwishToRelu], text.graph.node("neg"))
    assert [miss.rule for miss in found] == ["far", "exp-log"]
    assert "is no Abs at Log 'log'" in found[0].reason
    assert "is no Log at Neg 'neg'" in found[1].reason


def test_near_misses_tell_guards_refusals_and_matches() -> None:
    text = model("%h = Log(%x) @log %y = Exp(%h) @exp", output="%y, %h")
    (miss,) = irkit.near_misses(text, Context(), [ExpLog], text.graph.node("log"))
    assert str(miss) == "exp-log at exp: the value 'h' inside it is an output of the graph"
    free = model("%h = Log(%x) @log %y = Exp(%h) @exp")
    (hit,) = irkit.near_misses(free, Context(), [ExpLog], free.graph.node("log"))
    assert str(hit) == "exp-log at exp: would apply"


def test_find_takes_a_rule() -> None:
    found: list[Match] = irkit.find(model("%h = Log(%x) %y = Exp(%h) @exp"), ExpLog)
    assert [match.root.name for match in found] == ["exp"]
