"""Which rules run, and which findings are set aside: by settings, by the model, by a baseline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

import irkit
from irkit import Finding, Location, Report, Severity, parse_model
from irkit.baseline import fingerprint, fingerprints, set_known_aside, write_known
from irkit.config import Settings, Suppression
from irkit.errors import OptionError, OutputError
from irkit.linting import all_docs
from irkit.selection import chosen, codes_of

FLOORS = """graph(%x: float32[1,3,8,8]) -> (%y) {
  %a = Floor(%x) @first MARK
  %b = Relu(%a) @middle
  %y = Floor(%b) @second
}"""


def lint(text: str = FLOORS, mark: str = "", **settings: object) -> Report:
    model = parse_model(text.replace("MARK", mark))
    return irkit.lint(model, settings=Settings(**settings))  # type: ignore[arg-type]  # fields of Settings


def places(findings: Sequence[Finding], code: str = "HAI107") -> list[str]:
    return [finding.node for finding in findings if finding.code == code]


# --- selectors -------------------------------------------------------------------------------------------------------


def test_a_selector_is_a_code_its_beginning_or_a_name() -> None:
    docs = all_docs()
    assert codes_of(["HAI107"], docs) == codes_of(["silently-wrong-operator"], docs) == {"HAI107"}
    assert codes_of(["HAI2"], docs) == {doc.code for doc in docs if doc.code.startswith("HAI2")}
    assert chosen(docs, ["HAI"], ["HAI1", "opset-version"]) == {
        doc.code for doc in docs if doc.code.startswith("HAI") and not doc.code.startswith("HAI1")
    }
    assert chosen(docs) == {doc.code for doc in docs}


@pytest.mark.parametrize("selector", ["HAI9", "opset-versio", "", "hai1", "107"])
def test_what_selects_nothing_is_a_mistake(selector: str) -> None:
    with pytest.raises(OptionError, match=r"irkit\.toml: there is no lint rule `.*; `irkit rules` lists them"):
        codes_of([selector], all_docs(), "irkit.toml")


def test_only_rules_that_are_chosen_run() -> None:
    model = parse_model(FLOORS.replace("MARK", ""))
    assert {finding.code for finding in irkit.lint(model, select=["HAI107"]).findings} == {"HAI107"}
    assert "HAI107" not in {finding.code for finding in irkit.lint(model, ignore=["HAI107"]).findings}
    assert irkit.lint(model, select=["HAI1"], ignore=["HAI"]).findings == []


def test_arguments_win_over_settings() -> None:
    model = parse_model(FLOORS.replace("MARK", ""))
    settings = Settings(select=("IRK",), ignore=("IRK011",))
    assert places(irkit.lint(model, settings=settings).findings) == []
    assert places(irkit.lint(model, settings=settings, select=["HAI107"]).findings) == ["first", "second"]


# --- suppression -----------------------------------------------------------------------------------------------------


def test_settings_set_findings_aside_with_their_reason() -> None:
    report = lint(suppress=(Suppression("fir*", ("HAI1",), "known"),))
    assert places(report.findings) == ["second"]
    assert [(item.finding.node, item.by, item.reason) for item in report.suppressed] == [("first", "settings", "known")]
    plain = report.to_json()
    assert plain["summary"]["suppressed"] == 1
    assert plain["suppressed"][0]["reason"] == "known"


def test_an_unused_suppression_is_told() -> None:
    wanted = Suppression("*", ("silently-wrong-operator",), "known")
    report = lint(suppress=(wanted, wanted, Suppression("nowhere", ("HAI107",), "gone")))
    assert places(report.findings) == []
    [told] = [finding for finding in report.findings if finding.rule == "void-suppression"]
    assert "HAI107 at `nowhere` must match a finding; found none" in told.message
    assert told.severity is Severity.WARNING


def test_a_suppression_of_a_rule_that_did_not_run_is_not_unused() -> None:
    silent = (Suppression("nowhere", ("HAI107",), "gone"),)
    assert lint(suppress=silent, ignore=("HAI107",), select=("HAI", "IRK016")).findings == []
    assert "IRK016" not in {finding.code for finding in lint(suppress=silent, ignore=("IRK016",)).findings}


def test_a_suppression_of_no_rule_is_a_mistake() -> None:
    with pytest.raises(OptionError, match="there is no lint rule `HAI999`"):
        lint(suppress=(Suppression("*", ("HAI999",), "why"),))


def test_a_node_says_itself_what_is_wanted() -> None:
    report = lint(mark='!metadata {"irkit.ignore": "HAI101, HAI107: on the host"}')
    assert places(report.findings) == ["second"]
    assert [(item.finding.node, item.by, item.reason) for item in report.suppressed] == [
        ("first", "model", "on the host")
    ]
    assert "void-suppression" not in {finding.rule for finding in report.findings}


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        ("HAI107", "`irkit.ignore` must give a reason, as in `HAI101: why`; found `HAI107`"),
        ("HAI107:  ", "must give a reason"),
        ("HAI999: why", "must name lint rules; there is no lint rule `HAI999`"),
        ("HAI101: why", "must match a finding; found none of HAI101"),
    ],
)
def test_a_node_that_says_it_wrongly_is_told_and_suppresses_nothing(mark: str, told: str) -> None:
    report = lint(mark=f'!metadata {{"irkit.ignore": "{mark}"}}')
    assert places(report.findings) == ["first", "second"]
    [finding] = [finding for finding in report.findings if finding.rule == "void-suppression"]
    assert told in finding.message
    assert finding.node == "first"


def test_a_verdict_counts_what_is_suppressed() -> None:
    from irkit.verdict import verdict_of

    report = lint(suppress=(Suppression("*", ("HAI",), "known"),))
    assert not report.has_errors
    assert verdict_of(report) == verdict_of(lint())


# --- fingerprints and the baseline -----------------------------------------------------------------------------------


def finding(message: str = "m", node: str = "n", op: str = "Add", module: str = "") -> Finding:
    return Finding("HAI101", "unsupported-operator", Severity.ERROR, message, node, op, origin=Location(module=module))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Conv_12", "Conv_13"),
        ("node_Conv_17", "node_Conv_4"),
        ("/head/Add", "/head/Add_1"),
        ("/head/Add_1", "/head/Add_27"),
        ("conv2d_3", "conv2d_4"),
    ],
)
def test_a_fingerprint_survives_renumbering(before: str, after: str) -> None:
    assert fingerprint(finding(node=before)) == fingerprint(finding(node=after))
    said = "`{}_output_0` must be finite; found 3 NaN"
    assert fingerprint(finding(said.format(before))) == fingerprint(finding(said.format(after)))


@pytest.mark.parametrize(
    "other",
    [
        finding(message="kernel must be 1..7; found 9"),
        finding(op="Mul"),
        finding(module="blocks.1"),
        finding(node="/blocks.2/Add"),
        finding(node="/neck/Add"),
    ],
)
def test_a_fingerprint_tells_places_and_limits_apart(other: Finding) -> None:
    one = finding(message="kernel must be 1..7; found 11", module="blocks.0", node="/blocks.1/Add")
    assert fingerprint(one) != fingerprint(other)


def test_findings_alike_are_numbered() -> None:
    marks = fingerprints([finding(node="Add_1"), finding(node="Add_2"), finding(node="Mul_1")])
    assert [mark[-2:] for mark in marks] == [":1", ":2", ":1"]
    assert len(set(marks)) == 3


def test_a_baseline_leaves_out_what_it_knows_and_no_more(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    first = lint()
    count = len(first.findings)
    assert write_known(first, file) == count
    again = lint(baseline=file)
    assert again.findings == []
    assert {item.by for item in again.suppressed} == {"baseline"}
    assert len(again.suppressed) == count
    more = FLOORS.replace("%b = Relu(%a) @middle", "%m = Abs(%a) @new %c = Floor(%m) @first_1 %b = Relu(%c) @middle")
    assert places(lint(more, baseline=file).findings) == ["first_1"]


def test_a_baseline_of_another_name_or_file_knows_nothing(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    write_known(Report("folder/one.onnx", "hailo8", [finding()]), file)
    write_known(Report(r"C:\nets\two.onnx", "hailo8", [finding(node="b"), finding(node="c")]), file)
    assert list(json.loads(file.read_text())["models"]) == ["one.onnx", "two.onnx"]
    for model, left in (("elsewhere/one.onnx", 0), ("three.onnx", 1)):
        report = Report(model, "hailo8", [finding()])
        set_known_aside(report, file)
        assert len(report.findings) == left


def test_models_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    for folder, node in (("a", "first"), ("b", "second")):
        write_known(Report(str(tmp_path / folder / "model.onnx"), "hailo8", [finding(node=node)]), file)
    assert list(json.loads(file.read_text())["models"]) == ["a/model.onnx", "b/model.onnx"]
    for folder, node, left in (("a", "first", 0), ("a", "second", 1), ("b", "second", 0), ("c", "first", 1)):
        report = Report(str(tmp_path / folder / "model.onnx"), "hailo8", [finding(node=node)])
        set_known_aside(report, file)
        assert len(report.findings) == left


def test_a_baseline_tells_how_many_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "known.json"
    write_known(Report("m", "hailo8", [finding(), finding(node="other")]), file)
    assert set_known_aside(Report("m", "hailo8", [finding()]), file) == 1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"irkit-baseline": 2, "models": {}}', '{"irkit-baseline": 1}'])
def test_a_file_that_is_no_baseline_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "known.json"
    file.write_text(text)
    with pytest.raises(OptionError, match=r"known\.json: is no baseline of irkit"):
        lint(baseline=file)


def test_a_baseline_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot be read: No such file or directory; --write-baseline writes it"):
        lint(baseline=tmp_path / "known.json")
    with pytest.raises(OutputError, match="cannot be written"):
        write_known(lint(), tmp_path / "nowhere" / "known.json")
    assert list(tmp_path.iterdir()) == []
