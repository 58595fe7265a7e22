"""The lint engine: rules and their registry, what a subject is, and that findings say where they come from."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from irkit import Node, Report, Severity, parse_model
from irkit.checks import ALL_RULES, OF_MODELS, OF_OTHER_INPUTS, all_rules, model_rules
from irkit.linter import Found, Rule, Subject, rule, run_rules, severity_of, unique
from irkit.table import Confidence
from irkit.target import load_target
from tests.whole.sources import ROOT, python_files

DOC = "What it is.\n\nWhy: because it is.\nFix: mend it."


def make_rule(code: str = "HAI199", name: str = "a-name", doc: str = DOC, found: tuple[Found, ...] = ()) -> Rule:
    def check(subject: Subject) -> Iterator[Found]:
        yield from found

    check.__doc__ = doc
    return rule(code, name, Severity.WARNING)(check)


def lint(text: str, target: str = "hailo8") -> Report:
    return run_rules(parse_model(text), load_target(target), ALL_RULES, "model")


def subject(text: str) -> Subject:
    return Subject(parse_model(text), load_target("hailo8"))


def names(nodes: object) -> list[str]:
    return [node.name for node in nodes]  # type: ignore[attr-defined]  # any iterable of nodes


# --- rules -----------------------------------------------------------------------------------------------------------


def test_a_rule_is_made_of_its_docstring() -> None:
    made = make_rule(doc="What it is,\n    on two lines.\n\n    Why: because\n    it is.\n    Fix: mend it.\n    ")
    assert (made.what, made.why, made.fix) == ("What it is, on two lines.", "because it is.", "mend it.")


def test_an_example_keeps_its_lines() -> None:
    made = make_rule(doc="What.\n\n    Why: because.\n    Example: y = x.floor()\n        z = y + 1\n    Fix: mend it.")
    assert (made.why, made.example, made.fix) == ("because.", "y = x.floor()\nz = y + 1", "mend it.")


def test_a_rule_rests_on_facts_that_a_table_has() -> None:
    with pytest.raises(ValueError, match="HAI199: a table has no fact `opsett`"):
        rule("HAI199", "a-name", Severity.INFO, facts=("opsett",))


@pytest.mark.parametrize(
    ("code", "name", "doc"),
    [
        ("HAI19", "a-name", DOC),
        ("XYZ101", "a-name", DOC),
        ("HAI901", "a-name", DOC),
        ("HAI101", "A_Name", DOC),
        ("HAI101", "a-name", "What it is."),
        ("HAI101", "a-name", "What it is.\n\nWhy: because."),
        ("HAI101", "a-name", "What it is.\n\nFix: mend it.\nWhy: because."),
        ("HAI101", "a-name", "What it is.\n\nWhy: because.\nExample:\nFix: mend it."),
        ("HAI101", "a-name", ""),
    ],
)
def test_a_rule_of_another_form_is_refused(code: str, name: str, doc: str) -> None:
    with pytest.raises(ValueError, match=r"HAI|XYZ"):
        make_rule(code, name, doc)


def test_codes_and_names_are_unique() -> None:
    assert [item.code for item in unique([make_rule("HAI102", "b"), make_rule("HAI101", "a")])] == ["HAI101", "HAI102"]
    with pytest.raises(ValueError, match="two lint rules have the code HAI101"):
        unique([make_rule("HAI101", "a"), make_rule("HAI101", "b")])
    with pytest.raises(ValueError, match="two lint rules have the name a"):
        unique([make_rule("HAI101", "a"), make_rule("HAI102", "a")])


def test_rules_of_other_inputs_say_nothing_without_them() -> None:
    """So they need not be loaded: see `irkit.checks`."""
    others = [item for item in all_rules() if item not in model_rules()]
    assert len(others) > 30
    assert all(Path(inspect.getfile(item.check)).stem in OF_OTHER_INPUTS for item in others)
    for path in sorted((Path(__file__).parents[1] / "golden" / "lint").glob("*/bad.irkit")):
        text = re.split(r"^-{4,}", path.read_text(encoding="utf-8"), maxsplit=1, flags=re.MULTILINE)[0]
        assert run_rules(parse_model(text), load_target("hailo8"), others).findings == [], path.parent.name


def test_every_file_of_checks_with_rules_is_a_family() -> None:
    folder = ROOT / "irkit" / "checks"
    files = {path.stem for path in folder.glob("*.py") if re.search(r"^@rule\(", path.read_text(), re.MULTILINE)}
    assert files == {*OF_MODELS, *OF_OTHER_INPUTS}


def test_a_code_means_one_thing_everywhere() -> None:
    """Passes and the pipeline find things under codes of their own, or under those of the lint rules."""
    names: dict[str, set[str]] = {item.code: {item.name} for item in ALL_RULES}
    for path in python_files("irkit", "passes"):
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            called = node.args[:2] if isinstance(node, ast.Call) else []
            words = [str(item.value) for item in called if isinstance(item, ast.Constant)]
            if len(words) == 2 and re.fullmatch(r"(IRK|HAI)\d{3}", words[0]):
                names.setdefault(words[0], set()).add(words[1])
    assert {code: found for code, found in names.items() if len(found) != 1} == {}
    assert len({name for found in names.values() for name in found}) == len(names)
    assert len(names) > len(ALL_RULES)


def test_a_finding_takes_what_the_rule_says_where_it_says_nothing_itself() -> None:
    model = parse_model('graph(%x: float32[1]) -> (%y) { %y = my::Op(%x) @node !origin ["/net/head/Op"] }')
    node = next(iter(model.graph))
    made = make_rule(found=(Found("plain"), Found("worse", node, Severity.ERROR, fixable=True, advice="do")))
    plain, worse = run_rules(model, load_target("hailo8"), [made]).findings
    assert (plain.code, plain.rule, plain.severity, plain.node, plain.op) == (
        "HAI199",
        "a-name",
        Severity.WARNING,
        "",
        "",
    )
    assert (worse.severity, worse.node, worse.op, worse.fixable) == (Severity.ERROR, "node", "my::Op", True)
    assert (worse.origin.nodes, worse.origin.module, worse.advice) == (("/net/head/Op",), "net.head", "do")


def test_only_high_confidence_makes_an_error() -> None:
    assert [severity_of(item) for item in Confidence] == [Severity.ERROR, Severity.WARNING, Severity.WARNING]


def test_the_report_as_plain_data() -> None:
    report = lint("graph(%x: float32[1,3,8,8]) -> (%y) { %y = Floor(%x) @floor }").to_json()
    assert (report["model"], report["target"]) == ("model", "hailo8")
    assert report["summary"] == {"error": 0, "warning": 1, "info": 0, "fixable": 0, "suppressed": 0}
    [finding] = report["findings"]
    assert set(finding) >= {"code", "rule", "severity", "node", "op", "message", "fixable", "origin"}
    assert (finding["code"], finding["severity"], finding["origin"]) == ("HAI107", "warning", {"nodes": ["floor"]})


def test_the_model_is_put_back_even_where_a_rule_fails() -> None:
    def check(subject: Subject) -> Iterator[Found]:
        raise RuntimeError("a bug in a rule")

    check.__doc__ = DOC
    model = parse_model("graph(%x: float32[1,3]) -> (%y) { %r = Relu(%x) @relu %y = Relu(%r) @last }")
    before = model.graph.values["r"].type
    with pytest.raises(RuntimeError):
        run_rules(model, load_target("hailo8"), [rule("HAI199", "a-name", Severity.INFO)(check)])
    assert before is None
    assert model.graph.values["r"].type is None


def test_what_is_tried_on_a_model_leaves_no_trace() -> None:
    """Names taken in a trial are free again, so that a lint before changes nothing of what comes after."""
    model = parse_model("graph(%x: float32[1,3]) -> (%y) { %y = Relu(%x) @relu }")
    with model.trial():
        model.graph.insert(Node("Relu", model.graph.inputs, name=model.fresh_node_name("relu"), outputs=["z"]))
        assert [node.name for node in model.graph] == ["relu", "relu_1"]
    assert [node.name for node in model.graph] == ["relu"]
    assert (model.fresh_node_name("relu"), model.fresh_name("z")) == ("relu_1", "z")


# --- the subject -----------------------------------------------------------------------------------------------------

CHAIN = """
graph(%x: float32[N,4,8,8]) -> (%y) {
  %zero: int64[1] = [0]
  %rest: int64[1] = [-1]
  %shape = Shape(%x) @shape
  %batch = Gather(%shape, %zero) @gather
  %target = Concat(%batch, %rest) {axis=0} @concat
  %same = Identity(%x) @same
  %flat = Reshape(%same, %target) @reshape
  %dead = Relu(%flat) @dead
  %y = Relu(%flat) @relu
}
"""


def test_what_the_chip_would_run() -> None:
    found = subject(CHAIN)
    assert names(found.nodes) == ["reshape", "relu"]
    assert sorted(names(found.folded)) == ["concat", "gather", "shape"]
    assert names(found.idle) == ["same"]
    assert sorted(set(names(found.model.graph)) - set(names(found.live))) == ["dead"]
    assert {op: names(nodes) for op, nodes in found.by_op.items()} == {"Reshape": ["reshape"], "Relu": ["relu"]}


def test_two_transposes_that_cancel_are_both_gone() -> None:
    text = """graph(%x: float32[1,2,3]) -> (%y) {
      %a = Transpose(%x) {perm=[2,0,1]} @there
      %b = Transpose(%a) {perm=[1,2,0]} @back
      %y = Relu(%b) @relu
    }"""
    assert names(subject(text).nodes) == ["relu"]


def test_what_depends_on_data_is_no_constant() -> None:
    text = """graph(%x: float32[1,4]) -> (%y, %r) {
      %found = NonZero(%x) @nonzero
      %count = Shape(%found) @shape
      %y = ConstantOfShape(%count) @fill
      %noise = RandomNormal() {shape=[2]} @random
      %r = Relu(%noise) @relu
    }"""
    found = subject(text)
    assert names(found.folded) == []
    assert names(found.shaped_by_data) == ["nonzero", "fill"]


def test_functions_are_looked_into() -> None:
    text = """
    opset 17
    opset my 1
    function my::Outer (%x) -> (%y) { %y = my::Inner(%x) @inner }
    function my::Inner (%x) -> (%y) { %y = Floor(%x) @floor }
    graph(%x: float32[1,3,8,8]) -> (%y) { %y = my::Outer(%x) @outer }
    """
    report = lint(text)
    [floor] = [finding for finding in report.findings if finding.code == "HAI107"]
    assert floor.node == "outer/inner/floor"
    assert floor.origin.nodes[0] == "outer"


def test_every_form_that_shapes_leave_open_is_thought_of() -> None:
    """A Conv without a known rank may be the 2-D one, which is taken: nothing to say. With a rank of 3 there is."""
    text = """graph(%x: TYPE) -> (%y) {
      %w: float32[4,4,3] = random(seed=1)
      %y = Conv(%x, %w) {kernel_shape=[3]} @conv
    }"""
    assert [item.code for item in lint(text.replace("TYPE", "float32[*]")).findings if item.node] == []
    assert [item.code for item in lint(text.replace("TYPE", "float32[1,4,9]")).findings if item.node] == ["HAI116"]


def test_the_compiler_version_decides() -> None:
    text = """graph(%x: float32[1,4,4,4,4]) -> (%y) {
      %w: float32[4,4,1,1,1] = random(seed=1)
      %y = Conv(%x, %w) {kernel_shape=[1,1,1]} @conv
    }"""
    [now] = lint(text, "hailo8@3.33").findings
    [before] = lint(text, "hailo8@3.28").findings
    assert (now.rule, now.severity) == ("weak-evidence", Severity.INFO)
    assert (before.rule, before.severity) == ("three-dimensional-layer", Severity.WARNING)
    assert "is not known" in before.message
