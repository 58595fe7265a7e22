"""The rewrite engine: what it replaces, what keeps it from that, and what it says of mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import irkit
from irkit import Builder, Context, Model, Node, Pattern, PatternOps, Refusal, Rule, Value, parse_model
from irkit.errors import PassError
from irkit.pass_base import Pass
from irkit.rewriter import Rewriter
from irkit.verifier import verify


def model(nodes: str, inputs: str = "%x: float32[1,3]", output: str = "%y", constants: str = "") -> Model:
    return parse_model(f"opset 20\ngraph({inputs}) -> ({output}) {{ {constants} {nodes} }}")


def apply(text: Model, *rules: type[Rule], context: Context | None = None) -> Context:
    context = context or Context(pass_name="test")
    irkit.apply_rules(text, context, rules)
    verify(text)
    return context


def ops(text: Model) -> list[str]:
    return [node.op for node in text.graph.walk()]


def chain(op: str, count: int) -> Model:
    """x through `count` nodes, and a Relu behind them."""
    nodes = (f"%n{i + 1} = {op}(%{f'n{i}' if i else 'x'})" for i in range(count))
    return model(f"{' '.join(nodes)} %y = Relu(%n{count})")


class NegNeg(Rule):
    """Neg(Neg(x)) is x."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Neg(op.Neg(x))

    def replace(self, x: Value) -> Value:
        return x


class HardSwishToRelu(Rule):
    """As users write it."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.HardSwish(x)

    def replace(self, op: Builder, x: Value) -> Value:
        return op.Relu(x)


class ExpLog(Rule):
    """Exp(Log(x)) becomes Abs(x): has an inner value to guard."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Exp(op.Log(x))

    def replace(self, op: Builder, x: Value) -> Value:
        return op.Abs(x)


# What a rewrite keeps.


def test_a_decorated_class_is_a_pass_with_options() -> None:
    @irkit.rewrite("hardswish-to-relu", effect="retrain")
    class HardswishToLeaky(irkit.RewritePass):
        """Replace HardSwish."""

        alpha: float = 0.25

        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.HardSwish(x)

        def replace(self, op: Builder, x: Value) -> Value:
            return op.LeakyRelu(x, alpha=self.alpha)

    text = model("%y = HardSwish(%x)")
    HardswishToLeaky(alpha=0.5).run(text, Context())
    assert issubclass(HardswishToLeaky, Pass)
    assert HardswishToLeaky.name == "hardswish-to-relu"
    assert HardswishToLeaky.effect is irkit.Effect.RETRAIN
    assert HardswishToLeaky.summary() == "Replace HardSwish."
    assert [item.name for item in HardswishToLeaky.option_fields()] == ["alpha"]
    assert ops(text) == ["LeakyRelu"]
    assert next(iter(text.graph)).attr("alpha") == 0.5


def test_the_result_keeps_value_name_node_name_type_and_origins() -> None:
    text = model("""
        %h = Log(%x) @log !metadata {"a": "1", "b": "2"}
        %m: float32[1,3] = Exp(%h) @exp !metadata {"a": "3"}
        %y = Neg(%m)""")
    apply(text, ExpLog)
    node = next(iter(text.graph))
    assert (node.op, node.name, node.output.name) == ("Abs", "exp", "m")
    assert str(node.output.type) == "float32[1,3]"
    assert node.origin == ("log", "exp")
    assert dict(node.metadata) == {"a": "1", "b": "2"}


def test_graph_outputs_keep_their_names() -> None:
    text = model("%a = Log(%x) %y = Exp(%a) %z = Relu(%y)", output="%y, %z")
    apply(text, ExpLog)
    assert [value.name for value in text.graph.outputs] == ["y", "z"]
    assert ops(text) == ["Abs", "Relu"]


def test_an_output_replaced_by_an_input_keeps_its_name_by_an_identity() -> None:
    text = model("%n = Neg(%x) %y = Neg(%n)")
    apply(text, NegNeg)
    assert ops(text) == ["Identity"]
    assert [value.name for value in text.graph.outputs] == ["y"]


def test_several_new_nodes_get_unique_names_after_the_root() -> None:
    class Twice(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.HardSwish(x)

        def replace(self, op: Builder, x: Value) -> Value:
            return op.Relu(op.Neg(op.Neg(x)))

    text = model("%y = HardSwish(%x) @act")
    apply(text, Twice)
    assert [node.name for node in text.graph] == ["act_Neg", "act_Neg_1", "act"]


def test_rewrites_reach_a_fixed_point() -> None:
    count = 9
    apply(text := chain("Neg", count), NegNeg)
    assert ops(text) == ["Neg", "Relu"]


def test_works_in_nested_graphs_with_constants_of_outer_ones() -> None:
    class Halve(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.Mul(x, 0.5)

        def replace(self, op: Builder, x: Value) -> Value:
            return op.Div(x, op.constant(np.float32(2), name="two"))

    text = parse_model("""
        graph(%x: float32[3], %k: bool[]) -> (%y) {
          %c: float32[] = 0.5
          %y = If(%k) {
            then_branch=graph() -> (%a) { %a = Mul(%x, %c) },
            else_branch=graph() -> (%b) { %b = Relu(%x) }
          }
        }""")
    apply(text, Halve)
    inner = next(node for node in text.graph.walk() if node.op == "Div").graph
    assert inner is not None
    assert list(inner.initializers) == ["two"]
    assert list(text.graph.initializers) == []  # nobody reads the old one


def test_bodies_of_functions_are_left_alone() -> None:
    text = parse_model("""
        opset 17 opset my 1
        function my::f (%a) -> (%b) { %b = HardSwish(%a) }
        graph(%x: float32[3]) -> (%y) { %y = my::f(%x) }""")
    apply(text, HardSwishToRelu)
    assert [node.op for node in text.walk()] == ["f", "HardSwish"]


# Guards.


@pytest.mark.parametrize(
    ("nodes", "output", "reason"),
    [
        ("%h = Log(%x) %y = Exp(%h)", "%y, %h", "the value 'h' inside it is an output of the graph"),
        (
            "%h = Log(%x) %y = Exp(%h) %z = Relu(%h) @act",
            "%y, %z",
            "the value 'h' inside it is also read by Relu 'act'",
        ),
        (
            """%h = Log(%x) %y = Exp(%h) %k = Cast(%s) {to=9} %z = If(%k) {
                then_branch=graph() -> (%a) {%a = Neg(%h) @inner}, else_branch=graph() -> (%b) {%b = Neg(%x)}}""",
            "%y, %z",
            "the value 'h' inside it is also read by Neg 'inner' in a nested graph",
        ),
    ],
)
def test_a_value_inside_that_others_need_keeps_the_match(nodes: str, output: str, reason: str) -> None:
    text = model(nodes, "%x: float32[1,3], %s: float32[]", output)
    before = irkit.print_model(text)
    context = apply(text, ExpLog)
    assert irkit.print_model(text) == before
    assert context.refusals == {"y": [f"exp-log: {reason}"]}


def test_a_protected_value_inside_keeps_the_match() -> None:
    text = model("%h = Log(%x) @log %y = Exp(%h) @exp")
    context = apply(text, ExpLog, context=Context(protected=frozenset({"h"})))
    assert ops(text) == ["Log", "Exp"]
    assert context.refusals == {"exp": ["exp-log: the value 'h' inside it is kept by the declared cut"]}


def test_a_protected_value_is_not_replaced_by_another_one() -> None:
    text = model("%n = Neg(%x) @a %m = Neg(%n) @b %y = Relu(%m)")
    context = apply(text, NegNeg, context=Context(protected=frozenset({"m"})))
    assert ops(text) == ["Neg", "Neg", "Relu"]
    assert context.refusals == {"b": ["neg-neg: the value 'm' is kept by the declared cut"]}


def test_a_protected_result_may_be_made_by_new_nodes() -> None:
    text = model("%h = Log(%x) %m = Exp(%h) %y = Relu(%m)")
    apply(text, ExpLog, context=Context(protected=frozenset({"m"})))
    assert [node.output.name for node in text.graph] == ["m", "y"]


def test_shared_nodes_stay_for_their_other_readers() -> None:
    class Shared(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.Exp(op.Log(x).shared())

        def replace(self, op: Builder, x: Value) -> Value:
            return op.Abs(x)

    text = model("%h = Log(%x) %y = Exp(%h) %z = Exp(%h) %q = Relu(%h)", output="%y, %z, %q")
    apply(text, Shared)
    assert sorted(ops(text)) == ["Abs", "Abs", "Log", "Relu"]


def test_an_unmentioned_output_that_is_read_keeps_the_match() -> None:
    class First(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.MaxPool(x).named("pool")

        def replace(self, op: Builder, x: Value, pool: Node) -> Value:
            return op.AveragePool(x, kernel_shape=pool.attr("kernel_shape"))

    pool = "%y, %i = MaxPool(%x) {kernel_shape=[2,2]}"
    inputs = "%x: float32[1,1,4,4]"
    read, unread = model(pool, inputs, "%y, %i"), model(pool, inputs)
    apply(read, First)
    apply(unread, First)
    assert (ops(read), ops(unread)) == (["MaxPool"], ["AveragePool"])


def test_shared_constants_are_never_changed_and_unread_ones_go() -> None:
    class Double(Rule):
        def pattern(self, op: PatternOps, x: Pattern, w: Pattern) -> Pattern:
            return op.Neg(op.Mul(x, w.constant()))

        def replace(self, op: Builder, x: Value, w: Value) -> Value:
            assert w.constant is not None
            return op.Mul(x, op.constant(-w.constant.numpy(), name=w.name))

    constants = "%w: float32[3] = [1, 2, 3] %v: float32[3] = [1, 2, 3]"
    nodes = "%a = Mul(%x, %w) %y = Neg(%a) %b = Mul(%x, %v) %z = Neg(%b) %q = Add(%x, %w)"
    text = model(nodes, output="%y, %z, %q", constants=constants)
    apply(text, Double)
    stored = {name: list(value.constant.numpy()) for name, value in text.graph.initializers.items() if value.constant}
    assert stored["w"] == [1, 2, 3]
    assert "v" not in stored
    assert sorted(value for value in stored.values() if value[0] < 0) == [[-1, -2, -3]] * 2


# Refusals and bans.


def test_refusals_are_recorded_and_change_nothing() -> None:
    class Picky(Rule):
        def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
            return op.Relu(x).named("act")

        def check(self, act: Node) -> Refusal | None:
            return irkit.refuse("the name is good") if act.name == "good" else None

        def replace(self, op: Builder, x: Value, act: Node) -> Value | Refusal:
            out = op.Abs(x)
            return irkit.refuse("the name is fine") if act.name == "fine" else out

    text = model("%a = Relu(%x) @good %b = Relu(%a) @fine %y = Relu(%b) @bad")
    context = apply(text, Picky)
    assert ops(text) == ["Relu", "Relu", "Abs"]
    assert context.refusals == {"good": ["picky: the name is good"], "fine": ["picky: the name is fine"]}
    assert "a" in text.graph.values


def test_a_banned_rewrite_is_not_made() -> None:
    text = model("%a = HardSwish(%x) @one %y = HardSwish(%a) @two")
    apply(text, HardSwishToRelu, context=Context(banned={("hard-swish-to-relu", "one")}))
    assert ops(text) == ["HardSwish", "Relu"]


def test_each_rewrite_is_a_group_that_can_be_undone() -> None:
    text = model("%a = HardSwish(%x) @one %h = Log(%a) @two %y = Exp(%h) @three")
    before = irkit.print_model(text)
    apply(text, HardSwishToRelu, ExpLog, context=Context(pass_name="p"))
    groups = dict.fromkeys(str(edit.group) for edit in text.journal.since(0))
    assert list(groups) == ["hard-swish-to-relu at one", "exp-log at three"]
    after = irkit.print_model(text)
    text.journal.undo_to(0)
    assert irkit.print_model(text) == before
    text.journal.redo_to(len(text.journal._edits))
    assert irkit.print_model(text) == after


# Several roots.


class SinCos(Rule):
    """Sin and Cos of one value become outputs of one Split."""

    def pattern(self, op: PatternOps, x: Pattern) -> tuple[Pattern, Pattern]:
        return op.Sin(x), op.Cos(x)

    def replace(self, op: Builder, x: Value) -> tuple[Value, ...]:
        return op.Split(op.Concat(x, x, axis=0), _outputs=2, axis=0, num_outputs=2)


@pytest.mark.parametrize(
    "nodes",
    [
        "%s = Sin(%x) %y = Neg(%s) %c = Cos(%x) %z = Relu(%c)",
        "%c = Cos(%x) %z = Relu(%c) %s = Sin(%x) %y = Neg(%s)",
        "%s = Sin(%x) %a = Neg(%s) %b = Exp(%x) %y = Add(%a, %b) %c = Cos(%x) %z = Relu(%c)",
    ],
)
def test_several_roots_leave_a_valid_order(nodes: str) -> None:
    text = model(nodes, output="%y, %z")
    apply(text, SinCos)
    assert "Split" in ops(text)
    assert not {"Sin", "Cos"} & set(ops(text))


def test_a_replacement_that_would_need_itself_is_told() -> None:
    class Cycle(Rule):
        def pattern(self, op: PatternOps, x: Pattern, z: Pattern) -> tuple[Pattern, Pattern]:
            return op.Sin(x), op.Add(op.Cos(x), z)

        def replace(self, op: Builder, x: Value, z: Value) -> tuple[Value, ...]:
            return op.Split(op.Concat(x, z, axis=0), _outputs=2, axis=0, num_outputs=2)

    text = model("%s = Sin(%x) %n = Neg(%s) %c = Cos(%x) %y = Add(%c, %n)")
    before = irkit.print_model(text)
    with pytest.raises(PassError, match="depends on what it replaces"):
        irkit.apply_rules(text, Context(), [Cycle])
    assert irkit.print_model(text) == before


# Work.


def test_only_nodes_near_an_edit_are_looked_at_again() -> None:
    count = 400
    text = chain("HardSwish", count)
    rewriter = Rewriter(text, Context(), [HardSwishToRelu, ExpLog])
    assert rewriter.run() == count
    assert rewriter.attempts == count  # Relu roots no rule, so each node is tried once
    again = Rewriter(text, Context(), [HardSwishToRelu, ExpLog])
    assert again.run() == 0
    assert again.attempts == 0


def test_a_chain_that_collapses_takes_linear_work() -> None:
    def attempts(count: int) -> int:
        rewriter = Rewriter(chain("Neg", count), Context(), [NegNeg])
        rewriter.run()
        return rewriter.attempts

    assert attempts(400) <= 2.2 * attempts(200)


def test_a_value_with_many_readers_does_not_make_the_work_quadratic() -> None:
    count = 300
    nodes = [f"%h{i} = HardSwish(%r) %o{i} = Neg(%h{i})" for i in range(count)]
    text = model(f"%r = Relu(%x) {' '.join(nodes)} %y = Sum({', '.join(f'%o{i}' for i in range(count))})")
    rewriter = Rewriter(text, Context(), [HardSwishToRelu, NegNeg])
    rewriter.run()
    assert rewriter.applied == count
    assert rewriter.attempts < 10 * count


def test_a_freed_value_lets_a_match_through() -> None:
    class SameBranches(Rule):
        def pattern(self, op: PatternOps, x: Pattern, z: Pattern) -> Pattern:
            return op.Where(op.Cast(z), x, x)

        def replace(self, x: Value) -> Value:
            return x

    # h is read twice, until the Where over a Cast of it goes
    nodes = "%h = Log(%x) %y = Exp(%h) %c = Cast(%h) {to=9} %w = Where(%c, %x, %x) %z = Relu(%w)"
    text = model(nodes, output="%y, %z")
    context = apply(text, ExpLog, SameBranches)
    assert ops(text) == ["Abs", "Relu"]
    assert context.refusals == {}


def test_methods_may_leave_out_self() -> None:
    source = """
import irkit

@irkit.rewrite("no-self", effect="retrain")
class NoSelf:
    "HardSwish becomes Relu."

    def pattern(op, x):
        return op.HardSwish(x)

    def replace(op, x):
        return op.Relu(x)
"""
    names: dict[str, Any] = {"__name__": __name__}
    exec(source, names)
    model = irkit.parse_model("opset 17\ngraph(%x: float32[2]) -> (%y) { %y = HardSwish(%x) @a }")
    irkit.run_passes(model, [names["NoSelf"]()], verify="none")
    assert [node.op for node in model.graph] == ["Relu"]
