"""Seeing what happens: each rewrite, what each pass did to a node or why not, and the model in between."""

from __future__ import annotations

from pathlib import Path

import pytest

import irkit
from irkit import Builder, Context, Match, Model, Node, Pattern, PatternOps, Rule, Value
from irkit.errors import OptionError
from irkit.history import History, node_history
from irkit.pipeline import PipelineResult, run_pipeline
from irkit.structure import equal
from irkit.tracing import Step, dump_after, trace_passes
from tests.core.test_rewriter import model


class ExpLog(Rule):
    """exp(log(x)) = x, for the test."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Exp(op.Log(x))

    def replace(self, op: Builder, x: Value) -> Value:
        return op.Identity(x)


class NegNeg(Rule):
    """A rule with a match of its own, which explains itself."""

    root_ops = frozenset({("", "Neg")})

    def match(self, root: Node) -> Match | None:
        maker = root.inputs[0].producer if root.inputs[0] is not None else None
        if maker is None or maker.op != "Neg":
            return None
        return Match((root.output,), (root, maker), {"x": maker.inputs[0]})

    def explain(self, node: Node) -> str:
        return f"{node.op} is no Neg of a Neg" if node.op == "Neg" else ""

    def replace(self, op: Builder, x: Value) -> Value:
        return op.Identity(x)


@irkit.define_pass("exp-log", effect="exact")
class ExpLogPass(irkit.RewritePass):
    """For the test."""

    rules = (ExpLog, NegNeg)


@irkit.define_pass("drop-abs", effect="exact")
class DropAbs(irkit.Pass):
    """An imperative pass that explains itself."""

    def run(self, model: Model, context: Context) -> None:
        for node in model.graph:
            if node.op == "Abs":
                with context.rewriting(model, "abs", node.name) as allowed:
                    source = node.inputs[0]
                    assert source is not None
                    if allowed:
                        model.graph.replace_value(node.output, source)
                        model.graph.remove(node)

    def explain(self, model: Model, context: Context, node: Node) -> str:
        return "it is a Relu, which is kept" if node.op == "Relu" else ""


def ran(text: Model) -> tuple[PipelineResult, Context]:
    context = Context()
    return run_pipeline(text, [ExpLogPass(), DropAbs(), ExpLogPass()], context, verify="none"), context


def between() -> Model:
    """Exp and Log with an Abs between them: only once the second pass ran does the first pass's rule match."""
    return model("%a = Log(%x) @log %b = Abs(%a) @abs %c = Exp(%b) @exp %y = Relu(%c) @act")


def history(text: Model, name: str) -> History:
    return node_history(text, *ran(text), name)


def test_each_rewrite_is_told_with_its_nodes_and_values() -> None:
    text = between()
    steps: list[Step] = trace_passes(text, ran(text)[0].spans)
    assert [(step.pass_name, step.index, step.rule, step.root) for step in steps] == [
        ("drop-abs", 1, "abs", "abs"),
        ("exp-log", 2, "exp-log", "exp"),
    ]
    first, second = steps
    assert any("Abs(%a) @abs" in line for line in first.before)
    assert any("Exp(%b)" in line for line in first.before)  # it reads another value now
    assert any("Exp(%a)" in line for line in first.after)
    assert {line.split("@")[1] for line in second.before} == {"exp", "log"}
    assert any("Identity(%x) @exp" in line for line in second.after)
    assert set(first.to_json()) == {"pass", "run", "rule", "node", "before", "after", "values"}
    assert [node.name for node in text.graph] == ["exp", "act"]  # and the model is as the passes left it


def test_constants_that_come_and_go_are_values_of_a_step() -> None:
    text = irkit.parse_model(
        "opset 20\ngraph(%x: float32[2]) -> (%y: float32[2]) {\n%c: float32[2] = [1, 2]\n%d = Neg(%c) @neg\n"
        "%y = Add(%x, %d) @add\n}"
    )
    result = irkit.optimize(text, only="fold-constants,remove-dead", verify="none", trace=True)
    assert result.trace is not None
    values = [line for step in result.trace for line in step.values]
    assert "new constant d: float32[2]" in values
    assert "gone constant c: float32[2]" in values


def test_a_taken_back_rewrite_is_not_in_the_trace() -> None:
    text = between()
    result = run_pipeline(text, [DropAbs()], Context(banned={("abs", "abs")}), verify="none")
    assert trace_passes(text, result.spans) == []


def test_why_tells_the_pass_that_rewrote_a_node() -> None:
    found = history(between(), "log")
    (entry,) = [entry for entry in found.entries if entry.kind == "rewrote"]
    assert (entry.pass_name, entry.index, entry.text) == ("exp-log", 2, "exp-log at exp")
    assert any(line.startswith("- ") and "Log(%x)" in line for line in entry.lines)
    assert found.before
    assert any("Identity" in text for text in found.after)  # it lives on in the new node


def test_why_tells_what_stood_in_the_way_when_the_pass_ran() -> None:
    """At the end nothing stands in the way; in the first round the Abs did."""
    found = history(between(), "exp")
    first = found.entries[0]
    assert (first.pass_name, first.index, first.kind) == ("exp-log", 0, "left")
    assert "is no Log at Abs 'abs'" in first.text


def test_rules_and_passes_without_a_pattern_explain_themselves() -> None:
    text = model("%n = Neg(%x) @neg %y = Relu(%n) @act")
    assert [entry.text for entry in history(text, "neg").entries] == ["rule neg-neg: Neg is no Neg of a Neg"]
    assert [entry.text for entry in history(text, "act").entries] == ["it is a Relu, which is kept"]
    assert history(text, "neg").silent == ("drop-abs",)


def test_rounds_that_say_the_same_are_told_once() -> None:
    text = model("%h = Exp(%x) @exp %y = Relu(%h) @act")
    assert [entry.index for entry in history(text, "exp").entries] == [0]


def test_a_node_is_found_by_value_and_by_origin() -> None:
    assert history(between(), "a").entries == history(between(), "log").entries
    with pytest.raises(OptionError, match="there is no node `lug`; did you mean `log`"):
        history(between(), "lug")


def test_the_gelu_pass_tells_how_far_a_region_is_from_gelu() -> None:
    text = model("%s = Sigmoid(%x) @sig %y = Mul(%x, %s) @silu")
    result = irkit.optimize(text, only="gelu-to-relu", verify="none")
    (entry,) = result.why("sig").entries
    assert "by-function" in entry.text
    assert "differs from gelu of one input by up to 0.1" in entry.text


def test_folding_tells_why_a_node_of_constants_stays() -> None:
    text = irkit.parse_model(
        "opset 17\ngraph(%x: float32[4]) -> (%y: float32[4]) {\n%q: int8[4] = [1, 2, 3, 4]\n%s: float32[] = 0.5\n"
        "%d: float32[4] = DequantizeLinear(%q, %s) @dequantize\n%y = Mul(%x, %d) @mul\n}"
    )
    result = irkit.optimize(text, only="fold-constants", verify="none")
    (entry,) = result.why("dequantize").entries
    assert entry.text == "all it reads is constant, but quantization stays as it is written"
    assert result.why("mul").entries == ()


class OnlyThere(ExpLog):
    when = "hailo15h"


@irkit.define_pass("elsewhere", effect="exact")
class Elsewhere(irkit.RewritePass):
    """A pass with a rule for another chip."""

    rules = (OnlyThere,)


@irkit.define_pass("all-elsewhere", effect="exact", when="hailo15h")
class AllElsewhere(ExpLogPass):
    """A pass for another chip."""


def test_rules_and_passes_for_other_targets_say_so() -> None:
    text = model("%a = Log(%x) @log %y = Exp(%a) @exp")
    result = irkit.optimize(text, "hailo8", only=[Elsewhere(), AllElsewhere()], verify="none")
    assert [(entry.pass_name, entry.text) for entry in result.why("log").entries] == [
        ("elsewhere", "rule only-there at exp: it is for hailo15h, not for hailo8"),
        ("all-elsewhere", "it is for hailo15h, not for hailo8"),
    ]


def test_dumps_are_the_model_after_each_pass(tmp_path: Path) -> None:
    text = between()
    result, _ = ran(text)
    files = dump_after(text, result.spans, ["all"], tmp_path / "dumps")
    assert [file.name for file in files] == ["00-start.onnx", "02-drop-abs.onnx", "03-exp-log.onnx"]
    with irkit.load(files[0]) as first, irkit.load(files[-1]) as last:
        assert [node.name for node in first.graph] == ["log", "abs", "exp", "act"]
        assert equal(last, irkit.loads(irkit.dumps(text)))
    assert "Exp(%a)" in (tmp_path / "dumps" / "02-drop-abs.txt").read_text(encoding="utf-8")
    with pytest.raises(OptionError, match="--dump-after nope: that pass does not run"):
        irkit.optimize(between(), only="remove-dead", verify="none").dump_after(["nope"], tmp_path)
