"""Running passes: a wrong rewrite is found, named and taken back alone; what is not exact is measured."""

from __future__ import annotations

import re

import pytest

import irkit
from irkit import Context, Model, Node, OptionError, Pass, PassError, define_pass, parse_model, print_model
from irkit.errors import UserPassError
from irkit.library import bundled
from irkit.pipeline import PipelineResult, run_pipeline
from irkit.proof import ProofVerdict
from tests.numeric.planting import Spoil

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")


def chain(length: int = 6) -> Model:
    """Convolutions in a row."""
    lines = []
    for i in range(length):
        lines.append(f"%w{i}: float32[4,4,1,1] = random(seed={i})")
        lines.append(f"%c{i}: float32[1,4,4,4] = Conv(%{f'c{i - 1}' if i else 'x'}, %w{i}) @conv{i}")
    body = "\n".join(lines)
    end = f"%y = Relu(%c{length - 1}) @last"
    return parse_model(f"opset 17\ngraph(%x: float32[1,4,4,4]) -> (%y: float32[1,4,4,4]) {{\n{body}\n{end}\n}}")


def names(model: Model) -> list[str]:
    return [node.name for node in model.graph]


def run(model: Model, *passes: Pass, **options: object) -> tuple[PipelineResult, Context]:
    context = Context()
    return run_pipeline(model, passes, context, **options), context  # type: ignore[arg-type]


def test_right_rewrites_are_proven_once() -> None:
    model = chain()
    result, context = run(model, Spoil(also="Conv"), Spoil(also="Relu"))
    (proof,) = result.proofs
    assert proof.verdict is ProofVerdict.PROVEN
    assert proof.passes == ("spoil", "spoil")
    assert [run.changed for run in result.passes] == [True, True]
    assert result.passes[0].rewrites == {"copy": 6}
    assert context.findings == []


@pytest.mark.parametrize("fault", ["scaled", "swapped"])
@pytest.mark.parametrize("culprit", ["conv0", "conv3", "conv5"])
def test_only_the_wrong_rewrite_is_taken_back(culprit: str, fault: str) -> None:
    model = chain()
    before = print_model(model)
    result, context = run(model, Spoil(also="Relu"), Spoil(wrong=culprit, fault=fault, also="Conv"))
    (taken,) = result.taken_back
    assert (taken.pass_name, taken.rule, taken.root) == ("spoil", "copy", culprit)
    assert "channel" in taken.fault.reason
    assert names(model) == [f"conv{i}" if f"conv{i}" == culprit else f"conv{i}_copy" for i in range(6)] + ["last_copy"]
    assert [proof.verdict for proof in result.proofs] == [ProofVerdict.PROVEN]
    (finding,) = context.findings
    assert (finding.rule, finding.node) == ("wrong-rewrite", culprit)
    model.journal.undo_to(0)
    assert print_model(model) == before


def test_each_of_several_wrong_rewrites_is_taken_back() -> None:
    model = chain()
    result, _ = run(model, Spoil(wrong="conv1,conv4", also="Conv"))
    assert {taken.root for taken in result.taken_back} == {"conv1", "conv4"}
    assert [name for name in names(model) if not name.endswith("_copy")] == ["conv1", "conv4", "last"]


def test_passes_after_the_wrong_one_run_again_on_what_is_left() -> None:
    model = chain(2)
    result, _ = run(model, Spoil(wrong="conv0"), Spoil(also="Conv"))
    assert [taken.root for taken in result.taken_back] == ["conv0"]
    assert names(model) == ["conv0", "conv1_copy", "last"]


def test_without_proof_a_wrong_rewrite_stays() -> None:
    model = chain(2)
    result, context = run(model, Spoil(wrong="conv0"), verify="none")
    assert (result.proofs, result.taken_back, context.findings) == ([], [], [])
    assert names(model)[0] == "conv0_copy"


def test_each_proves_every_pass() -> None:
    result, _ = run(chain(2), Spoil(also="Conv"), Spoil(also="Relu"), verify="each")
    assert [proof.passes for proof in result.proofs] == [("spoil",), ("spoil",)]


@define_pass("no-groups", effect="exact")
class NoGroups(Pass):
    """Edits without saying which rewrite it is."""

    def run(self, model: Model, context: Context) -> None:
        model.graph.node("conv1").set_attr("strides", [1, 1])
        model.graph.node("last").set_inputs([model.graph.values["c0"]])


def test_what_cannot_be_told_apart_is_taken_back_as_a_whole() -> None:
    model = chain(2)
    before = print_model(model)
    result, _ = run(model, NoGroups())
    assert [(taken.rule, taken.root) for taken in result.taken_back] == [("", "")]
    assert print_model(model) == before
    assert "left out" in result.passes[0].failed


@define_pass("stubborn", effect="exact")
class Stubborn(Pass):
    """Does not ask whether its rewrite is banned."""

    def run(self, model: Model, context: Context) -> None:
        with context.rewriting(model, "rule", "conv1"):
            model.graph.node("last").set_inputs([model.graph.values["c0"]])


def test_a_pass_that_does_not_listen_is_left_out() -> None:
    model = chain(2)
    before = print_model(model)
    result, _ = run(model, Stubborn())
    assert [taken.rule for taken in result.taken_back] == ["rule", ""]
    assert print_model(model) == before


@define_pass("crash", effect="exact")
class Crash(Pass):
    """Edits something, then fails."""

    def run(self, model: Model, context: Context) -> None:
        context.note("half done")
        context.find("X", "x", "half done")
        context.moved["c0"] = {}
        model.graph.node("conv0").set_attr("strides", [2, 2])
        raise ZeroDivisionError("oops")


def test_a_pass_of_irkits_own_that_fails_leaves_no_trace_but_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Crash, "source", str(bundled("passes") / "crash.py"))
    model = chain(2)
    result, context = run(model, Crash(), Spoil(also="Relu"))
    assert model.graph.node("conv0").attr("strides") is None
    (finding,) = context.findings
    assert finding.rule == "pass-failed"
    assert "ZeroDivisionError: oops" in finding.message
    assert (context.notes, context.moved) == ({}, {})
    assert result.passes[1].changed


def test_a_pass_that_failed_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Crash, "source", str(bundled("passes") / "crash.py"))
    context = Context()
    result = run_pipeline(chain(2), [Crash(), Spoil(also="Relu")], context, settle=True)
    assert [item.failed != "" for item in result.passes if item.name == "crash"][:2] == [True, False]
    (finding,) = context.findings
    assert re.search(r"which is a bug of the pass in .*crash\.py$", finding.message)


def test_run_passes_raises_where_a_pass_fails_or_is_wrong() -> None:
    with pytest.raises(PassError, match=r"crash.*oops"):
        irkit.run_passes(chain(2), [Crash()])
    with pytest.raises(PassError, match="copy at 'conv0'"):
        irkit.run_passes(chain(2), [Spoil(wrong="conv0")])


def test_run_passes_goes_by_names_and_options() -> None:
    model = chain(2)
    assert irkit.run_passes(model, ["remove-dead", "lower-opset{opset=15}"]) is model
    assert model.opset == 15
    with pytest.raises(OptionError, match=r"no pass `remove-ded` \(did you mean `remove-dead`\?\)"):
        irkit.run_passes(model, "remove-ded")
    with pytest.raises(OptionError, match="verify is one of each, ends, none"):
        irkit.run_passes(model, "remove-dead", verify="always")  # type: ignore[arg-type]


@define_pass("renames-output", effect="exact")
class RenamesOutput(Pass):
    """Breaks the contract."""

    def run(self, model: Model, context: Context) -> None:
        model.graph.values["y"].name = "other"


def test_inputs_and_outputs_keep_their_names() -> None:
    model = chain(2)
    with pytest.raises(UserPassError, match=r"test_pipeline\.py:\d+\).*\['y'\] became \['other'\]"):
        run(model, RenamesOutput())
    assert [value.name for value in model.graph.outputs] == ["y"]


@define_pass("soften", effect="retrain")
class Soften(Pass):
    """Another function."""

    def run(self, model: Model, context: Context) -> None:
        node = next((node for node in model.graph if node.op == "Relu"), None)
        if node is not None:
            with context.rewriting(model, "soften", node.name) as allowed:
                if allowed:
                    new = model.graph.insert(Node("Softplus", [node.inputs[0]], types=[node.output.type]), before=node)
                    model.graph.replace_value(node.output, new.output)
                    model.graph.remove(node)


def test_what_changes_the_function_is_measured_and_the_rest_proven() -> None:
    model = chain(2)
    result, _ = run(model, Spoil(also="Conv"), Soften(), Spoil(also="Softplus"))
    assert [proof.verdict for proof in result.proofs] == [ProofVerdict.PROVEN] * 2
    (drift,) = result.drifts
    assert (drift.pass_name, drift.effect, drift.state) == ("soften", "retrain", "unaccepted")
    assert 0 < drift.outputs[0].cosine < 1
    assert run(chain(2), Soften(), accept_drift=["soften"])[0].drifts[0].state == "accepted"


def test_a_wrong_pass_before_one_that_changes_the_function_is_still_found() -> None:
    model = chain(2)
    result, _ = run(model, Spoil(wrong="conv1", also="Conv"), Soften())
    assert [taken.root for taken in result.taken_back] == ["conv1"]
    assert [drift.pass_name for drift in result.drifts] == ["soften"]
    assert "Softplus" in [node.op for node in model.graph]


def test_a_pass_that_finds_nothing_to_change_is_not_measured() -> None:
    model = chain(2)
    result, _ = run(model, Soften(), Soften())
    assert len(result.drifts) == 1
    assert not result.passes[1].changed


def test_passes_settle() -> None:
    text = """
    opset 17
    graph(%x: float32[2]) -> (%y: float32[2]) {
      %a: float32[2] = [1, 2]
      %n = Neg(%a) @neg
      %m = Neg(%a) @neg2
      %s = Add(%n, %m) @add
      %y = Mul(%x, %s) @mul
    }
    """
    once, settled = parse_model(text), parse_model(text)
    passes = [irkit.get_pass("remove-dead"), irkit.get_pass("fold-constants")]
    run(once, *passes)
    result, _ = run(settled, *passes, settle=True)
    assert len(once.graph.initializers) > len(settled.graph.initializers) == 1
    last = result.passes[-1]
    assert not last.changed


def test_a_fixed_batch_that_was_changed_is_said_not_to_be_verified_and_the_rest_is() -> None:
    @define_pass("rebatch", effect="exact")
    class Rebatch(Pass):
        """Change the batch."""

        def run(self, model: Model, context: Context) -> None:
            for value in model.graph.inputs:
                value.type = irkit.TensorType(irkit.DType.FLOAT32, (2, 4, 4, 4))

    model = chain(2)
    for value in model.graph.outputs:
        value.type = irkit.TensorType(irkit.DType.FLOAT32, ("n", 4, 4, 4))
    result, _ = run(model, Spoil(also="Relu"), Rebatch(), Spoil(also="Conv"))
    verdicts = [proof.verdict for proof in result.proofs]
    assert verdicts == [ProofVerdict.PROVEN, ProofVerdict.NOT_VERIFIED, ProofVerdict.PROVEN]
    assert "[1, 4, 4, 4] to [2, 4, 4, 4]" in result.proofs[1].reason
