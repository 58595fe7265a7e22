"""What a lint report looks like: to people, as SARIF, as annotations of GitHub, and what its verdict says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import irkit
from irkit import Finding, Location, Report, Severity, parse_model
from irkit.config import Settings, Suppression
from irkit.diagnostics import Grounds
from irkit.formats.github import workflow_commands
from irkit.formats.places import relative_path, uri
from irkit.formats.sarif import sarif_log
from irkit.formats.text import findings_text, lint_text, statistics_text
from irkit.style import Style
from irkit.verdict import Outlook, verdict_of

EXPORTS = Path(__file__).parent / "exports"
SCHEMA = Path(__file__).parents[1] / "schemas" / "sarif-2.1.0.json"


def lint(text: str) -> Report:
    return irkit.lint(parse_model(text))


def finding(message: str = "a message", **fields: Any) -> Finding:
    plain = Finding("HAI101", "unsupported-operator", Severity.ERROR, message, op="Floor")
    return replace(plain, **fields)


def report(*findings: Finding, **grounds: Any) -> Report:
    held = Grounds("3.33", 10, {"high": 7, "medium": 2, "low": 1}, 0, 0, (), ())
    return Report("m.onnx", "hailo8", list(findings), grounds=replace(held, **grounds))


# --- text ------------------------------------------------------------------------------------------------------------


def test_a_finding_shows_the_neighbourhood_the_source_and_the_advice() -> None:
    model = parse_model((EXPORTS / "dynamo.irkit").read_text(encoding="utf-8"))
    text = findings_text(irkit.lint(model, select=["HAI107"]).findings, Style(width=100))
    lines = text.splitlines()
    assert lines[0] in ("errors", "warnings")
    assert lines[1] == "  HAI107 silently-wrong-operator"
    picture = lines.index("      > Floor     node_floor     float32[1,8,14,14]")
    assert lines[picture - 1] == "        Conv      node_conv2d_1  float32[1,8,14,14]"
    assert lines[picture + 1] == "        (output)  floor"
    source = "in /srv/user/project/network.py:15, module blocks.0 (Block): return rounded(self.conv(x)) + x"
    assert source in " ".join(text.split())
    assert "\n    help: " in text


def test_files_below_the_working_directory_are_told_from_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    near = finding(node="n", origin=Location(file=str(tmp_path / "src" / "net.py"), line=3))
    assert "in " + str(Path("src") / "net.py") + ":3" in findings_text([near])


def test_many_inputs_are_one_group() -> None:
    inputs = ", ".join(f"%x{i}: float32[1,{i + 1}]" for i in range(2000))
    adds = "\n".join(f"%a{i} = Relu(%x{i}) @relu{i}" for i in range(2000))
    found = lint(f"graph({inputs}) -> ({', '.join(f'%a{i}' for i in range(2000))}) {{ {adds} }}")
    text = lint_text(found, "hailo8")
    assert text.count("HAI201 input-rank") == 1
    assert "HAI201 input-rank  (2,000 places)" in text
    assert "also `x1` (found [1,2]), `x2` (found [1,3]), `x3` (found [1,4]) and 1,996 more" in " ".join(text.split())


def test_another_value_is_told_with_its_place() -> None:
    found = [finding(f"must be 8; found {i}", node=f"conv{i}") for i in (9, 10, 9, 12, 13)]
    text = findings_text(found, details="elsewhere")
    assert "must be 8; found 9\n" in text
    assert "also conv10 (found 10), conv9, conv12 (found 12) and 1 more" in text
    assert "conv13 (found 13)" in findings_text(found)


def test_what_differs_is_not_one_group() -> None:
    found = [finding("kernel must be 1..7; found 9"), finding("stride must be 1..4; found 9"), finding(fixable=True)]
    assert findings_text(found).count("HAI101") == 3
    assert findings_text([replace(one, group="g") for one in found[:2]]).count("HAI101") == 1


def test_evidence_and_all_cuts_are_shown_when_asked() -> None:
    long = finding(
        advice="irkit optimize --cut a,b,c,d; the host runs the rest", evidence=(("it was refused", "our log"),)
    )
    short, whole = findings_text([long], details="elsewhere"), findings_text([long])
    assert "help: irkit optimize --cut a,... (4 in all); the host runs the rest" in short
    assert "our log" not in short
    assert "--cut a,b,c,d;" in whole
    assert "- it was refused [our log]" in whole


def test_how_sure_it_is_stays_out_of_the_values() -> None:
    found = [finding(f"should be 8; found {i} (low confidence: a log)", node=f"conv{i}") for i in (9, 10)]
    assert "also conv10 (found 10)\n" in findings_text(found) + "\n"


def test_notes_are_counted_and_shown_when_asked() -> None:
    notes = [finding(severity=Severity.INFO, node=name) for name in "abc"]
    folded, whole = lint_text(report(*notes), "hailo8"), lint_text(report(*notes), "hailo8", verbose=True)
    assert "3 notes: 3 unsupported-operator (-v shows them)" in folded
    assert "a message" not in folded
    assert "a message" in whole
    assert "also b, c" in whole


def test_colour_only_where_asked() -> None:
    assert "\x1b" not in lint_text(report(finding()), "hailo8")
    assert "\x1b[1;31merrors" in lint_text(report(finding()), "hailo8", Style(colour=True))


def test_statistics_count_rules_the_most_frequent_first() -> None:
    other = finding(code="IRK004", rule="opset-version", severity=Severity.WARNING, fixable=True)
    lines = statistics_text(report(finding(), other, other), "hailo8").splitlines()
    assert lines[2:4] == ["2  warning  IRK004  opset-version [*]", "1  error    HAI101  unsupported-operator"]


# --- the verdict -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("findings", "grounds", "outlook", "sentence"),
    [
        ([], {}, Outlook.LIKELY, "likely to compile: nothing that is known stands in its way"),
        ([], {"partial": 2, "unknown": 1}, Outlook.UNKNOWN,
         "not known: 2 taken in some cases only and 1 of which nothing is known, of 10 nodes"),
        ([], {"doubtful": 1}, Outlook.UNKNOWN, "not known: 1 probably refused, of 10 nodes"),
        ([], {"doubtful": 3, "partial": 2, "unknown": 1}, Outlook.UNKNOWN,
         "not known: 3 probably refused, 2 taken in some cases only and 1 of which nothing is known, of 10 nodes"),
        ([finding(node="a"), finding(node="a"), finding(node="b", fixable=True)], {}, Outlook.REFUSED,
         "will be refused at 2 of 10 nodes; irkit optimize mends 1 of 3 errors"),
        ([finding(node="a", fixable=True)], {}, Outlook.MENDED,
         "will be refused at 1 of 10 nodes; irkit optimize mends that"),
        ([finding(code="IRK001", rule="dynamic-shape", fixable=True)], {"unknown": 1}, Outlook.REFUSED,
         ("will be refused as a whole (dynamic-shape); irkit optimize mends that; the rest is not known: 1 of which "
          "nothing is known, of 10 nodes")),
        ([finding(node="a"), finding(code="IRK001", rule="dynamic-shape")], {}, Outlook.REFUSED,
         "will be refused at 1 of 10 nodes and as a whole (dynamic-shape); irkit optimize mends none of that"),
        ([], {"refused": ("a",)}, Outlook.REFUSED,
         "will be refused at 1 of 10 nodes; irkit optimize mends none of that"),
        ([finding(node="a")], {"wrong": ("a",)}, Outlook.WRONG,
         "will give wrong results at 1 node: it may compile, and the errors above spoil what comes out"),
        ([finding(code="HAI501", rule="few-samples")], {}, Outlook.WRONG,
         "will give wrong results: it may compile, and the errors above spoil what comes out"),
        ([finding(severity=Severity.WARNING)], {}, Outlook.LIKELY,
         "likely to compile: nothing that is known stands in its way"),
    ],
)  # fmt: skip
def test_verdicts(findings: list[Finding], grounds: dict[str, Any], outlook: Outlook, sentence: str) -> None:
    found = verdict_of(report(*findings, **grounds))
    assert (found.outlook, found.sentence) == (outlook, sentence)


def test_what_the_verdict_rests_on() -> None:
    rests_on = verdict_of(report()).rests_on
    assert (
        rests_on == "10 of 10 nodes have a form that version 3.33 is known to take (7 high, 2 medium, 1 low confidence)"
    )


def test_one_node_is_spoken_of_as_one() -> None:
    found = verdict_of(report(finding(node="a"), nodes=1, taken={"high": 1}))
    assert found.sentence.startswith("will be refused at 1 of 1 nodes;")
    assert found.rests_on == "1 of 1 node has a form that version 3.33 is known to take (1 high confidence)"


def test_grounds_count_every_node_once() -> None:
    text = """graph(%x: float32[1,8,8,8]) -> (%y) {
      %w: float32[8,8,1,1] = random(seed=1)
      %a = Conv(%x, %w) {kernel_shape=[1,1]} @conv
      %b = Floor(%a) @floor
      %c = com.example::Own(%b) @own
      %d = Det(%c) @det
      %y = Relu(%d) @relu
    }"""
    held = lint(text).grounds
    assert held is not None
    counted = sum(held.taken.values()) + held.open + len(held.refused) + len(held.wrong)
    assert counted == held.nodes == 5
    assert (held.unknown, held.doubtful) == (1, 2)


def test_grounds_name_what_is_accepted_and_computed_wrongly(tmp_path: Path) -> None:
    facts = tmp_path / "own.toml"
    facts.write_text(
        '[sources.me]\nwhere = "our bench"\nkind = "measured"\n[op.Floor]\nstatus = "unsupported"\nsilent = true\n'
        'confidence = "high"\nevidence = [{ source = "me", says = "left as it is" }]\n'
    )
    model = parse_model("graph(%x: float32[1,3,8,8]) -> (%y) { %a = Floor(%x) @floor %y = Relu(%a) @relu }")
    found = irkit.lint(model, rules=[facts])
    assert found.grounds is not None
    assert found.grounds.wrong == ("floor",)
    assert verdict_of(found).outlook is Outlook.WRONG


# --- SARIF -----------------------------------------------------------------------------------------------------------

ODD = finding(
    '100 % "odd"\nünïcode 🦉, a:b', node="/head/Flöor 1", advice="do, this: 50%", origin=Location(module="head")
)


def validate(log: dict[str, Any]) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="validates SARIF: pip install -e '.[test]'")
    jsonschema.validate(json.loads(json.dumps(log)), json.loads(SCHEMA.read_text(encoding="utf-8")))


def all_kinds() -> Report:
    model = parse_model((EXPORTS / "dynamo.irkit").read_text(encoding="utf-8"))
    settings = Settings(suppress=(Suppression("*", ("IRK",), "known"),))
    found = irkit.lint(model, settings=settings)
    assert found.suppressed
    found.extend([ODD, finding(code="OWN1", rule="of-a-users-pass"), finding(node="a"), finding(node="a")])
    return found


def test_sarif_is_valid() -> None:
    log = sarif_log([all_kinds(), Report("m.onnx", "hailo8")])
    validate(log)
    assert [run["automationDetails"]["id"] for run in log["runs"]] == [
        "irkit/hailo8/main_graph/",
        "irkit/hailo8/m.onnx/",
    ]


def test_the_schema_objects_to_what_is_wrong() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="validates SARIF: pip install -e '.[test]'")
    log = sarif_log([all_kinds()])
    log["runs"][0]["results"][0]["level"] = "info"
    with pytest.raises(jsonschema.ValidationError):
        validate(log)


def test_sarif_places_and_fingerprints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    source = Location(module="head", file=str(tmp_path / "a b" / "net.py"), line=7, code="return floor(x)")
    found = report(finding(node="n", origin=source), finding(), finding(node="Add_1"), finding(node="Add_2"))
    log = sarif_log([found])
    [run] = log["runs"]
    here, whole, *_ = (result["locations"][0] for result in run["results"])
    artifact = {"uri": "a%20b/net.py", "uriBaseId": "%SRCROOT%"}
    region = {"startLine": 7, "snippet": {"text": "return floor(x)"}}
    assert here["physicalLocation"] == {"artifactLocation": artifact, "region": region}
    assert here["logicalLocations"] == [{"name": "n", "fullyQualifiedName": "head.n", "kind": "node"}]
    assert whole["physicalLocation"]["artifactLocation"]["uri"] == "m.onnx"
    assert "logicalLocations" not in whole
    marks = [result["partialFingerprints"]["irkit/v1"] for result in run["results"]]
    assert len(set(marks)) == len(marks)
    assert marks[2].endswith(":1")
    assert marks[3] == marks[2].replace(":1", ":2")


def test_sarif_tells_rules_levels_suppressions_and_the_verdict() -> None:
    found = all_kinds()
    [run] = sarif_log([found])["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    suppressed = [result for result in run["results"] if "suppressions" in result]
    assert len(suppressed) == len(found.suppressed)
    assert suppressed[0]["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "known"}]
    assert run["properties"]["verdict"] == verdict_of(found).sentence


# --- GitHub ----------------------------------------------------------------------------------------------------------


def test_annotations_are_escaped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    source = Location(file=str(tmp_path / "a,b:c.py"), line=7)
    odd, plain, verdict = workflow_commands(report(replace(ODD, origin=source), finding(severity=Severity.WARNING)))
    assert odd == (
        "::error file=a%2Cb%3Ac.py,line=7,title=HAI101 unsupported-operator::"
        'Floor /head/Flöor 1: 100 %25 "odd"%0Aünïcode 🦉, a:b%0Ahelp: do, this: 50%25'
    )
    assert plain == "::warning file=m.onnx,title=HAI101 unsupported-operator::a message"
    assert verdict.startswith("::notice title=irkit::m.onnx for hailo8: will be refused")


def test_notes_are_notices_and_other_files_are_not_named() -> None:
    elsewhere = Location(file="/somewhere/else/net.py", line=3)
    [line, _] = workflow_commands(report(finding(severity=Severity.INFO, origin=elsewhere)))
    assert line == "::notice file=m.onnx,title=HAI101 unsupported-operator::a message"


@pytest.mark.parametrize(
    ("file", "relative", "link"),
    [
        ("net.py", "net.py", "net.py"),
        ("./a b/../net.py", "net.py", "net.py"),
        ("/else/a b.py", None, "file:///else/a%20b.py"),
        ("<ipython-input-3>", None, None),
        ("", None, None),
        (r"C:\nets\my net.py", None, "file:///C:/nets/my%20net.py"),
    ],
)
def test_paths(
    file: str, relative: str | None, link: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (relative_path(file), uri(file)) == (relative, link)
