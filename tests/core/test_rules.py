"""Writing rules: mistakes are told with pass, rule, node and line; the builder; why a rule did not apply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import irkit
from irkit import Builder, Context, Match, Node, Pattern, PatternOps, Rule, Value
from irkit.errors import OptionError, PassError
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
