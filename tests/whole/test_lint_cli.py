"""`irkit lint` in a project: settings, baselines, formats, single nodes; `irkit explain` and `irkit rules`."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import onnx
import pytest

import irkit
from irkit import cli
from irkit.cli.lint import next_command
from irkit.linting import all_docs
from tests.whole.sources import ROOT

MODELS = ROOT / "examples" / "01_imu_classifier" / "models"
DYNAMIC = MODELS / "imu_classifier_dynamo.onnx"

LSTM = '%c = LSTM(%b, %w, %w) {direction="bidirectional"} @lstm'
FLOORS = """
ir_version 8
opset 13
graph(%x: float32[1,3,8,8]) -> (%y: float32[1,3,8,8]) {
  %w: float32[3,3,1,1] = random(seed=1)
  %a = Conv(%x, %w) {kernel_shape=[1,1]} @conv
  %b = com.example::Own(%a) @own
  %c = LSTM(%b, %w, %w) {direction="bidirectional"} @lstm
  %y = Relu(%c) @relu
}"""
"""A model with an error at `lstm` that irkit does not mend."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "m.onnx", FLOORS)
    return tmp_path


def write(path: Path, text: str) -> None:
    irkit.save(irkit.parse_model(text), path)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli.main([str(item) for item in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def codes(capsys: pytest.CaptureFixture[str], *arguments: object) -> set[str]:
    _, out, _ = run(capsys, "lint", "m.onnx", "--format", "json", *arguments)
    return {finding["code"] for finding in json.loads(out)["findings"]}


# --- what is printed -------------------------------------------------------------------------------------------------


def test_lint_tells_findings_a_verdict_and_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "lint", DYNAMIC)
    assert (code, err) == (1, "")
    assert "IRK001 dynamic-shape [*]" in out
    assert "\nverdict: will be refused as a whole (dynamic-shape); irkit optimize mends that\n" in out
    assert out.endswith(f"next: irkit optimize {DYNAMIC}\n")
    assert "\x1b" not in out


def test_lint_of_a_clean_model(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "lint", MODELS / "imu_classifier_folded.onnx")
    assert code == 0
    assert "verdict: likely to compile: nothing that is known stands in its way\n  14 of 14 nodes have a form" in out


def test_lint_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "lint", DYNAMIC, "--format", "json")
    report = json.loads(out)
    assert code == 1
    assert (report["model"], report["target"]) == (str(DYNAMIC), "hailo8")
    assert set(report["summary"]) == {"error", "warning", "info", "fixable", "suppressed"}
    finding = report["findings"][0]
    assert set(finding) >= {"code", "rule", "severity", "node", "op", "message", "fixable", "origin"}
    assert report["next"].startswith("irkit optimize")


def test_lint_names_the_bindings_to_give(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = "graph(%x: float32[1,3,H,W]) -> (%y: float32[1,3,H,W]) {\n  %y = Relu(%x)\n}"
    irkit.save(irkit.parse_model(text), here / "n.onnx")
    _, out, _ = run(capsys, "lint", "n.onnx")
    assert "next: irkit optimize n.onnx --bind H=NUMBER --bind W=NUMBER   # with your numbers" in out


def test_the_next_command_has_whole_shapes(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = "graph(%x: float32[2,3,4,4]) -> (%y: float32[2,3,4,4]) {\n  %y = Relu(%x)\n}"
    irkit.save(irkit.parse_model(text), here / "n.onnx")
    _, out, _ = run(capsys, "lint", "n.onnx")
    assert out.endswith("next: irkit optimize n.onnx --shape x=1,3,4,4\n")


def test_same_findings_of_many_nodes_are_told_once(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    body = "\n".join(f"  %v{i + 1} = Erf(%v{i}) @erf{i}" for i in range(6))
    irkit.save(irkit.parse_model(f"graph(%v0: float32[1,3,4,4]) -> (%v6) {{\n{body}\n}}"), here / "n.onnx")
    _, out, _ = run(capsys, "lint", "n.onnx")
    assert "(6 places)" in out
    assert "      > Erf      erf0  float32[1,3,4,4]\n" in out
    assert "also erf1, erf2, erf3 and 2 more" in out


# --- selection and settings ------------------------------------------------------------------------------------------


def test_flags_choose_rules(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    every = codes(capsys)
    assert "HAI110" in every
    assert codes(capsys, "--select", "recurrent-layer,IRK") == {code for code in every if code[:3] == "IRK"} | {
        "HAI110"
    }
    assert codes(capsys, "--ignore", "HAI1", "--ignore", "IRK") == {
        code for code in every if code[:4] not in ("HAI1",)
    } - {code for code in every if code.startswith("IRK")}
    assert run(capsys, "lint", "m.onnx", "--select", ",")[0] == run(capsys, "lint", "m.onnx", "--ignore", "")[0] == 2
    code, out, err = run(capsys, "lint", "m.onnx", "--select", "HAI999")
    assert (code, out) == (2, "")
    assert "there is no lint rule `HAI999`" in err


def test_errors_decide_the_exit_code(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert run(capsys, "lint", "m.onnx")[0] == 1
    assert run(capsys, "lint", "m.onnx", "--exit-zero")[0] == 0
    assert run(capsys, "lint", "m.onnx", "--select", "IRK004")[0] == 0


def test_settings_of_the_project_count_and_flags_win(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.irkit]\ntarget = "hailo8@3.30"\nignore = ["HAI110"]\n')
    inner = here / "inner"
    inner.mkdir()
    os.chdir(inner)
    _, out, _ = run(capsys, "lint", "../m.onnx")
    assert "hailo8, Dataflow Compiler 3.30" in out
    assert "HAI110" not in out
    _, out, _ = run(capsys, "lint", "../m.onnx", "--select", "HAI110", "--target", "hailo8@3.31")
    assert "HAI110" in out
    assert "Dataflow Compiler 3.31" in out


def test_a_suppression_needs_no_flag(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "irkit.toml").write_text('[[suppress]]\nnode = "lstm"\ncodes = ["HAI110"]\nreason = "on the host"\n')
    code, out, _ = run(capsys, "lint", "m.onnx")
    assert code == 0
    assert "1 suppressed" in out
    assert "verdict: will be refused at" in out
    (here / "irkit.toml").write_text('[[suppress]]\nnode = "lstn"\ncodes = ["HAI110"]\nreason = "on the host"\n')
    code, out, _ = run(capsys, "lint", "m.onnx")
    assert code == 1
    assert "IRK016 void-suppression" in out
    assert f"take it out of {here / 'irkit.toml'}" in " ".join(out.split())


def test_broken_settings_are_told_with_their_line(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "irkit.toml").write_text("\nignored = []\n")
    code, out, err = run(capsys, "lint", "m.onnx")
    assert (code, out) == (2, "")
    assert "irkit.toml:2: ignored: unknown key (did you mean ignore?)" in err


def test_a_baseline_is_written_and_then_leaves_only_what_is_new(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = run(capsys, "lint", "m.onnx", "--baseline", "known.json", "--write-baseline")
    assert code == 0
    assert "written: known.json knows" in out
    assert out.endswith("next: irkit lint m.onnx --baseline known.json\n")
    code, out, _ = run(capsys, "lint", "m.onnx", "--baseline", "known.json")
    assert code == 0
    assert "no findings; " in out
    other = LSTM.replace("%c = LSTM(%b", "%d = LSTM(%c").replace("@lstm", "@other")
    write(here / "m.onnx", FLOORS.replace("%y = Relu(%c)", f"{other} %y = Relu(%d)"))
    code, out, _ = run(capsys, "lint", "m.onnx", "--baseline", "known.json")
    assert code == 1
    assert "> LSTM  other" in out
    assert out.count("> LSTM") == 1


def test_a_baseline_that_is_not_there_is_no_empty_one(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert "--write-baseline writes it" in run(capsys, "lint", "m.onnx", "--baseline", "known.json")[2]
    assert run(capsys, "lint", "m.onnx", "--write-baseline")[0] == 2


# --- formats ---------------------------------------------------------------------------------------------------------


def test_several_models_in_each_format(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    other = MODELS / "imu_classifier_folded.onnx"
    code, out, _ = run(capsys, "lint", other, "m.onnx")
    assert code == 1
    assert out.count("verdict: ") == out.count("\nnext: ") == 2
    _, out, _ = run(capsys, "lint", other, "m.onnx", "--format", "json")
    assert [report["model"] for report in json.loads(out)] == [str(other), "m.onnx"]
    _, out, _ = run(capsys, "lint", other, "m.onnx", "--format", "sarif")
    assert len(json.loads(out)["runs"]) == 2
    _, out, _ = run(capsys, "lint", other, "m.onnx", "--format", "github")
    assert sum(line.startswith("::notice title=irkit::") for line in out.splitlines()) == 2
    assert all(line.startswith("::") for line in out.splitlines())


def test_statistics_come_in_place_of_the_findings(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = run(capsys, "lint", "m.onnx", "--statistics")
    assert code == 1
    assert "1  error    HAI110  recurrent-layer\n" in out
    assert "> LSTM" not in out
    assert "verdict: " in out


def test_notes_are_folded_until_they_are_asked_for(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    write(here / "m.onnx", FLOORS.replace(LSTM, "%i = Identity(%b) @id %c = Relu(%i) @r"))
    _, out, _ = run(capsys, "lint", "m.onnx")
    assert "removable-node (-v shows them)" in out or "removable-node, " in out
    assert "IRK011" not in out
    assert "IRK011" in run(capsys, "lint", "m.onnx", "-v")[1]


def test_what_irkit_cannot_mend_leads_to_its_explanation(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = "graph(%x: float32[1,3,4,4]) -> (%y) { %w: float32[3,1,1] = [1.0, nan, 1.0] %y = Mul(%x, %w) @mul }"
    write(here / "n.onnx", text.replace("[1.0, nan, 1.0]", "splat(nan)"))
    _, out, _ = run(capsys, "lint", "n.onnx")
    assert out.endswith("next: irkit explain IRK007\n")


def test_nodes_to_cut_at_are_in_the_next_command(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    options = argparse.Namespace(target=None, rules=[])
    advice = "cut here: irkit optimize --cut a,b; the host runs the rest"
    findings = [
        irkit.Finding("HAI112", "detection-head", irkit.Severity.ERROR, "m", node, advice=advice) for node in "xy"
    ]
    report = irkit.Report("m.onnx", "hailo8", findings)
    assert next_command(report, options) == "irkit optimize m.onnx --cut a,b"


# --- a node by itself ------------------------------------------------------------------------------------------------

NET = """
ir_version 8
opset 13
graph(%x: float32[1,3,8,8], %n: float32[1,3,8,8]) -> (%y, %z) {
  %w: float32[3,3,1,1] = random(seed=1)
  %half = Constant() {value=float32[] 0.5} @half
  %a = Conv(%x, %w) {kernel_shape=[1,1]} @conv
  %b = Mul(%a, %half) @mul
  %c = Add(%b, %n) @add
  %d = Floor(%c) @floor
  %y = Relu(%d) @relu
  %z = Sigmoid(%b) @sigmoid
}"""


def test_a_node_is_written_with_its_neighbours(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    write(here / "net.onnx", NET)
    code, out, _ = run(capsys, "lint", "net.onnx", "--save-node", "add", "-o", "part.onnx")
    assert (code, out) == (0, "written: part.onnx (4 nodes)\nnext: irkit show part.onnx\n")
    part = onnx.load(here / "part.onnx")
    onnx.checker.check_model(part, full_check=True)
    assert [node.name for node in part.graph.node] == ["half", "mul", "add", "floor"]
    assert [value.name for value in part.graph.input] == ["n", "a"] or {v.name for v in part.graph.input} == {"n", "a"}
    assert {value.name for value in part.graph.output} == {"d", "b"} or [v.name for v in part.graph.output] == ["d"]


def test_the_part_computes_what_the_whole_does(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="runs the part: pip install -e '.[verify]'")
    import numpy as np

    write(here / "net.onnx", NET.replace("-> (%y, %z)", "-> (%y, %z, %a, %d)"))
    run(capsys, "lint", "net.onnx", "--save-node", "add", "-o", "part.onnx")
    draw = np.random.default_rng(0)
    feeds = {name: draw.standard_normal((1, 3, 8, 8)).astype(np.float32) for name in ("x", "n")}
    whole = runtime.InferenceSession("net.onnx").run(["a", "d"], feeds)
    [d] = runtime.InferenceSession("part.onnx").run(["d"], {"n": feeds["n"], "a": whole[0]})
    np.testing.assert_array_equal(d, whole[1])


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--save-node", "flor"], "there is no node `flor`; did you mean `floor`?"),
        (["--save-node", ""], "there is no node ``"),
        (["--save-node", "floor", "-o", "net.onnx"], "net.onnx: is there already"),
        (["-o", "part.onnx"], "-o names the file of --save-node"),
        (["m.onnx", "--save-node", "floor"], "--save-node takes one model"),
    ],
)
def test_a_node_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], here: Path, flags: list[str], told: str
) -> None:
    write(here / "net.onnx", NET)
    code, out, err = run(capsys, "lint", "net.onnx", *flags)
    assert (code, out) == (2, "")
    assert told in err
    assert sorted(os.listdir(here)) == ["m.onnx", "net.onnx"]


def test_a_node_in_a_function_or_a_branch(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = """
    ir_version 8
    opset 17
    opset my 1
    function my::Inner (%x) -> (%y) { %r = Relu(%x) @relu %y = Floor(%r) @floor }
    graph(%x: float32[1,3,8,8], %on: bool[]) -> (%z) {
      %y = my::Inner(%x) @call
      %z = If(%on) {
        then_branch=graph() -> (%a) { %a = Abs(%y) @abs },
        else_branch=graph() -> (%b) { %b = Neg(%y) @neg }
      } @if
    }"""
    write(here / "f.onnx", text)
    assert run(capsys, "lint", "f.onnx", "--save-node", "call/floor")[0] == 0
    onnx.checker.check_model(onnx.load(here / "f-call_floor.onnx"), full_check=True)
    assert run(capsys, "lint", "f.onnx", "--save-node", "neg", "-o", "n.onnx")[0] == 0
    part = onnx.load(here / "n.onnx")
    onnx.checker.check_model(part, full_check=True)
    assert [node.op_type for node in part.graph.node] == ["Floor", "If"]


# --- pages -----------------------------------------------------------------------------------------------------------


def test_every_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for doc in all_docs():
        code, out, err = run(capsys, "explain", doc.code)
        assert code == 0
        assert out.startswith(f"{doc.code} {doc.name} ({doc.severity.label})\n")
        assert "\nWhy\n" in out
        assert "\nFix\n" in out
        assert err.startswith("next: irkit ")


def test_an_explanation_has_the_evidence_of_the_target(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "explain", "opset-version", "--target", "hailo8@3.30")
    assert "for hailo8, Dataflow Compiler 3.30" in out
    assert "opset: 17 (" in out
    _, out, _ = run(capsys, "explain", "irk004", "--format", "json")
    page = json.loads(out)
    assert {"code", "name", "what", "why", "fix", "example", "severity", "rests_on"} <= set(page)
    assert page["rests_on"][0]["evidence"][0]["where"]


@pytest.mark.parametrize(
    ("word", "told"), [("HAI10x", "did you mean"), ("HAI1", "is the beginning of"), ("", "no code")]
)
def test_a_code_that_is_none(capsys: pytest.CaptureFixture[str], word: str, told: str) -> None:
    code, out, err = run(capsys, "explain", word)
    assert (code, out) == (2, "")
    assert told in err


def test_rules_are_listed(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    _, out, _ = run(capsys, "rules")
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert sorted(listed) == [doc.code for doc in all_docs()]
    text = 'name = "bare"\ndescription = "nothing known"\ndfc = ">=3"\ndfc_default = "3.33"\n'
    (here / "bare.toml").write_text(text)
    _, out, _ = run(capsys, "rules", "--target", "bare.toml", "--format", "json")
    silent = {entry["code"] for entry in json.loads(out) if entry["is_silent"]}
    assert {"IRK001", "IRK004"} <= silent
    assert "IRK007" not in silent


# --- input that is wrong ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["initializer", "constant"])
def test_data_of_an_unknown_type_is_told_by_every_command(
    capsys: pytest.CaptureFixture[str], here: Path, kind: str
) -> None:
    tensor = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [1], [1.0])
    tensor.data_type = 99
    nodes = [onnx.helper.make_node("Add", ["x", "w"], ["y"], name="add")]
    if kind == "constant":
        nodes.insert(0, onnx.helper.make_node("Constant", [], ["w"], value=tensor))
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3]) for name in "xy"]
    graph = onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], [tensor] if kind == "initializer" else [])
    (here / "odd.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    for command in (["lint"], ["show"], ["optimize", "--no-verify"]):
        code, out, err = run(capsys, *command, "odd.onnx")
        assert (code, out) == (2, "")
        assert "has element type 99, which irkit does not know" in err


def test_a_target_without_the_version_it_announces(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, err = run(capsys, "lint", "m.onnx", "--target", "hailo8@")
    assert (code, out) == (2, "")
    assert "target `hailo8@`: there is no version after the @; write it as hailo8@3.33" in err


def test_optimize_closes_the_file_when_it_fails(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[str] = []
    monkeypatch.setattr(irkit.Model, "close", lambda model: closed.append(model.graph.name))
    with pytest.raises(irkit.OptionError):
        irkit.optimize(here / "m.onnx", skip=["no-such-pass"])
    assert len(closed) == 1
    irkit.optimize(here / "m.onnx", verify="none")
    assert len(closed) == 1
