"""Rule tables: what is read, what is refused and how it is told, and that hailo8 claims no more than it can show."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from irkit.errors import TargetError
from irkit.library import bundled
from irkit.table import (
    AttributeTest,
    Condition,
    Confidence,
    Evidence,
    Facts,
    Form,
    Need,
    NumberFact,
    Operator,
    Pattern,
    Pipeline,
    Source,
    SourceKind,
    Status,
    Table,
    VersionRange,
    parse_version,
)
from irkit.target import Target, load_target, target_names

HEAD = 'name = "chip"\ndescription = "a test chip"\ndfc = ">=1,<3"\ndfc_default = "2.0"\n'
SOURCE = '[sources.log]\nwhere = "a public log"\nkind = "log"\n'
EVIDENCE = 'evidence = [{ source = "log", says = "seen" }]\n'
CONV = '[op.Conv]\nstatus = "supported"\nconfidence = "high"\n' + EVIDENCE


def write(folder: Path, text: str, name: str = "chip") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> Target:
    return load_target(write(folder, text))


def error(folder: Path, text: str, spec: str = "") -> str:
    path = write(folder, text)
    with pytest.raises(TargetError) as caught:
        load_target(f"{path}{spec}")
    return str(caught.value).replace(str(path), "chip.toml")


def test_a_fact_may_name_the_rule_that_reports_it(tmp_path: Path) -> None:
    form = "[[op.Conv.forms]]\nname = '1-D'\nwhen = { rank = [3] }\nstatus = 'partial'\nconfidence = 'low'\n"
    conv = read(tmp_path, HEAD + SOURCE + CONV + "rule = 'a-rule'\n" + form + EVIDENCE).operators["Conv"]
    assert (conv.rule, conv.forms[0].rule) == ("a-rule", "")


def test_a_table_is_read(tmp_path: Path) -> None:
    target = read(
        tmp_path,
        HEAD
        + SOURCE
        + CONV
        + "[[op.Conv.forms]]\nname = '1-D'\nwhen = { rank = [3] }\nstatus = 'partial'\nconfidence = 'low'\n"
        + EVIDENCE
        + "[[op.Conv.needs]]\nmust = { attributes = { kernel_shape = { max = 7 } } }\nconfidence = 'high'\n"
        + EVIDENCE
        + f"[facts.opset]\nvalue = 13\nconfidence = 'medium'\n{EVIDENCE}"
        + "[pipeline]\npasses = ['a', 'b']\nretrain = ['b']\n",
    )
    conv = target.operators["Conv"]
    assert conv.status is Status.SUPPORTED
    assert conv.evidence == (Evidence("log", "seen"),)
    assert conv.forms[0].when == Condition(rank=(3,))
    assert conv.needs[0].must.attributes == {"kernel_shape": AttributeTest(max=7.0)}
    assert target.facts.opset == NumberFact(13, confidence=Confidence.MEDIUM, evidence=(Evidence("log", "seen"),))
    assert target.facts.batch is None
    assert target.pipeline == Pipeline(("a", "b"), ("b",))
    assert target.sources == {"log": Source("a public log", SourceKind.LOG)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "colour = 'red'\n", "chip.toml:5: colour: unknown key; known here: facts, pipeline"),
        (HEAD + "inherit = 'x'\n", "chip.toml:5: inherit: unknown key (did you mean inherits?)"),
        (HEAD.replace('"a test chip"', "3"), "chip.toml:2: description: must be a string, found 3"),
        (HEAD.replace(">=1,<3", "1 to 3"), "chip.toml:3: dfc: must be a range of versions such as `>=3.30,<4`; found"),
        (HEAD.replace("2.0", "3.0"), "chip.toml:4: dfc_default: 3.0 is not within `dfc`, >=1,<3"),
        (HEAD.replace("2.0", "two"), "chip.toml:4: dfc_default: `two` is not a version such as 3.33"),
        (HEAD.replace("chip", "chop", 1), "chip.toml:1: name: must be the name of the file, `chip`; found `chop`"),
        ('name = "chip"\ndescription = ""\n', "chip.toml: `dfc` is missing"),
        ("description = ''\n", "chip.toml: `name` is missing"),
        ("name = \n", "chip.toml: not valid TOML: Invalid value (at line 1, column 8)"),
        (HEAD + SOURCE + CONV.replace("supported", "suported"),
         "chip.toml:9: op.Conv.status: must be one of supported, partial, pattern, constant-only, unsupported"),
        (HEAD + f"[facts.opset]\nvalue = 1\nconfidence = 'hi'\n{EVIDENCE}",
         "chip.toml:7: facts.opset.confidence: must be one of high, medium, low; found `hi` (did you mean high?)"),
        (HEAD + CONV, "chip.toml:8: op.Conv.evidence[0].source: there is no source `log`"),
        (HEAD + SOURCE.replace("log", "logs", 1) + CONV,
         "chip.toml:11: op.Conv.evidence[0].source: there is no source `log` (did you mean logs?)"),
        (HEAD + SOURCE + CONV + "[[op.Conv.needs]]\nmust = { rank = '4' }\nconfidence = 'low'\n" + EVIDENCE,
         "chip.toml:13: op.Conv.needs[0].must.rank: must be a list, found `4`"),
        (HEAD + SOURCE + CONV + "[[op.Conv.needs]]\nmust = { rank = [4, 'x'] }\nconfidence = 'low'\n" + EVIDENCE,
         "chip.toml:13: op.Conv.needs[0].must.rank[1]: must be a whole number, found `x`"),
        (HEAD + SOURCE + CONV + "[[op.Conv.needs]]\nmust = { rang = [4] }\nconfidence = 'low'\n" + EVIDENCE,
         "chip.toml:13: op.Conv.needs[0].must.rang: unknown key (did you mean rank?)"),
        (HEAD + SOURCE + CONV + "[[op.Conv.needs]]\nconfidence = 'low'\n" + EVIDENCE,
         "chip.toml:12: op.Conv.needs[0]: `must` is missing"),
        (HEAD + SOURCE + CONV + "[[op.Conv.needs]]\nmust = { values = { x = [1] } }\nconfidence = 'low'\n" + EVIDENCE,
         "chip.toml:13: op.Conv.needs[0].must: `values` goes by the number of the input; found `x`"),
        (HEAD + SOURCE + CONV.replace('"supported"', '"pattern"'),
         "chip.toml:8: op.Conv: status `pattern` needs `patterns`, the names of those it is taken in"),
        (HEAD + SOURCE + CONV.replace('"supported"', '"pattern"') + "patterns = ['silu']\n",
         "chip.toml:12: op.Conv.patterns[0]: there is no pattern `silu`"),
        (HEAD + "[op]\nConv = 'supported'\n",
         "chip.toml:6: op.Conv: must be a table with confidence, evidence, status; found `supported`"),
        (HEAD + "[facts]\nopset = 17\n",
         "chip.toml:6: facts.opset: must be a table with confidence, evidence, value; found 17"),
        (HEAD + f"[facts.opset]\nvalue = true\nconfidence = 'low'\n{EVIDENCE}",
         "chip.toml:6: facts.opset.value: must be a whole number, found true"),
        (HEAD + SOURCE + CONV + "rule = 'A rule'\n",
         "chip.toml:8: op.Conv: `rule` is the name of a lint rule, such as wide-concat; found `A rule`"),
        (HEAD + "[pipeline]\npasses = ['a']\nretrain = ['b']\n",
         "chip.toml:5: pipeline: `retrain` names `b`, which is not among `passes`"),
        (HEAD + "[pipeline]\npasses = ['a', 'a']\n", "chip.toml:5: pipeline: `passes` names a pass twice"),
        (HEAD + "inherits = 'chipp'\n", "chip.toml:5: inherits: there is no target `chipp`"),
        (HEAD + "inherits = 'chip'\n", "chip.toml:5: inherits: `chip` inherits from this table in turn"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert error(tmp_path, text).startswith(message)


def test_a_mistake_deep_in_a_list_is_told_with_its_own_line(tmp_path: Path) -> None:
    evidence = 'evidence = [\n    { source = "log", says = "= [" },\n    { source = "lag", says = "# no" },\n]\n'
    text = HEAD + SOURCE + '[op."my::Conv"]\nstatus = "unknown"\nconfidence = "low"\n' + evidence
    assert error(tmp_path, text).startswith("chip.toml:13: op.my::Conv.evidence[1].source: there is no source `lag`")


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"missing\.toml: cannot be read: No such file"):
        load_target(tmp_path / "missing.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(TargetError, match=r"latin\.toml: cannot be read: it is not UTF-8 text"):
        load_target(tmp_path / "latin.toml")


def test_an_unknown_target_names_those_there_are() -> None:
    with pytest.raises(
        TargetError, match=r"no target `hailo-8` \(did you mean hailo8\?\); known: hailo10h, hailo15h, hailo8"
    ):
        load_target("hailo-8")


@pytest.mark.parametrize("spec", ["@3", "@0.9", "@two", "@1.x", "@-1"])
def test_a_version_the_table_does_not_speak_of(tmp_path: Path, spec: str) -> None:
    assert f"chip.toml{spec}" in error(tmp_path, HEAD, spec)


def test_entries_hold_for_their_versions_only(tmp_path: Path) -> None:
    form = (
        "[[op.Conv.forms]]\nname = 'x'\nwhen = { rank = [3] }\nstatus = 'partial'\nconfidence = 'low'\ndfc = '>=2.1'\n"
    )
    need = "[[op.Conv.needs]]\nmust = { rank = [4] }\nconfidence = 'low'\ndfc = '<2.1'\n"
    relu = '[op.Relu]\nstatus = "supported"\nconfidence = "high"\ndfc = ">=2.1"\n' + EVIDENCE
    path = write(tmp_path, HEAD + SOURCE + CONV + form + EVIDENCE + need + EVIDENCE + relu)
    old, new = load_target(f"{path}@2.0.9"), load_target(f"{path}@2.1")
    assert (len(old.operators["Conv"].forms), len(old.operators["Conv"].needs)) == (0, 1)
    assert (len(new.operators["Conv"].forms), len(new.operators["Conv"].needs)) == (1, 0)
    assert old.operators["Relu"].status is Status.UNKNOWN
    assert ">=2.1" in old.operators["Relu"].advice
    assert new.operators["Relu"].status is Status.SUPPORTED


def test_a_child_replaces_whole_entries_and_keeps_the_rest(tmp_path: Path) -> None:
    fact = f"[facts.opset]\nvalue = 13\nconfidence = 'medium'\n{EVIDENCE}"
    batch = fact.replace("opset", "batch").replace("13", "1")
    write(tmp_path, HEAD + SOURCE + CONV + "layer = 'conv'\n" + fact + batch + "[pipeline]\npasses = ['a']\n")
    child = (
        'name = "chip2"\ndescription = "refined"\ninherits = "chip"\ndfc_default = "2.5"\n'
        + CONV.replace("supported", "unsupported")
        + fact.replace("13", "11")
    )
    target = load_target(write(tmp_path, child, "chip2"))
    assert target.version == "2.5"
    expected = Operator(Status.UNSUPPORTED, confidence=Confidence.HIGH, evidence=(Evidence("log", "seen"),))
    assert target.operators["Conv"] == expected
    assert target.facts.opset is not None
    assert target.facts.opset.value == 11
    assert target.facts.batch is not None
    assert target.pipeline.passes == ("a",)


def test_how_a_target_is_spoken_of(tmp_path: Path) -> None:
    assert str(load_target("hailo8")) == "hailo8"
    assert load_target("hailo8").version == "3.33"
    assert str(load_target("hailo8@3.30")) == "hailo8@3.30"
    assert str(load_target(write(tmp_path, HEAD))) == "chip"
    assert str(load_target(f"{write(tmp_path, HEAD)}@1.5")) == "chip@1.5"


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=3.30,<4", ["3.30", "3.30.0", "3.33.1"], ["3.29.9", "4", "4.0"]),
        ("==3.33", ["3.33", "3.33.0"], ["3.33.1", "3.3"]),
        (">3.3,<=3.33", ["3.3.1", "3.33"], ["3.3", "3.33.1"]),
    ],
)
def test_version_ranges(text: str, inside: list[str], outside: list[str]) -> None:
    versions = VersionRange.from_toml(text)
    assert [version for version in inside + outside if parse_version(version) in versions] == inside


# --- what comes with irkit -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hailo8() -> Target:
    return load_target("hailo8")


def verdicts(target: Target) -> list[tuple[str, Operator | Form | Pattern]]:
    """Every verdict of a table with its place."""
    found: list[tuple[str, Operator | Form | Pattern]] = list(target.operators.items())
    found += [(f"{op}, {form.name}", form) for op, entry in target.operators.items() for form in entry.forms]
    return found + list(target.patterns.items())


def sources(target: Target, verdict: Operator | Form | Pattern | Need) -> list[Source]:
    return [target.sources[evidence.source] for evidence in verdict.evidence]


def of_this_compiler(source: Source, target: Target) -> bool:
    """Whether a source speaks of the target's line of the compiler, or does not say which it speaks of."""
    return not source.dfc or source.dfc.startswith(target.version.partition(".")[0])


@pytest.mark.parametrize("name", target_names())
def test_every_table_of_irkit_is_valid(name: str) -> None:
    assert load_target(name).name == name


def test_the_facts_that_the_rest_of_irkit_relies_on(hailo8: Target) -> None:
    missing = [item.name for item in dataclasses.fields(Facts) if getattr(hailo8.facts, item.name) is None]
    assert missing == []
    assert hailo8.pipeline.retrain == ("gelu-to-relu",)


def test_every_fact_has_evidence(hailo8: Target) -> None:
    facts = {item.name: getattr(hailo8.facts, item.name) for item in dataclasses.fields(Facts)}
    assert [name for name, fact in facts.items() if not fact.evidence] == []


@pytest.mark.parametrize("name", target_names())
def test_high_confidence_rests_on_this_compiler(name: str) -> None:
    target = load_target(name)
    strong = {SourceKind.OFFICIAL, SourceKind.MAINTAINER, SourceKind.LOG, SourceKind.MEASURED}
    weak = [
        place
        for place, verdict in verdicts(target)
        if verdict.confidence is Confidence.HIGH
        and not any(source.kind in strong and of_this_compiler(source, target) for source in sources(target, verdict))
    ]
    assert weak == []


def test_acceptance_rests_on_this_compiler(hailo8: Target) -> None:
    weak = [
        place
        for place, verdict in verdicts(hailo8)
        if verdict.status is Status.SUPPORTED
        and verdict.confidence is not Confidence.LOW
        and not any(of_this_compiler(source, hailo8) for source in sources(hailo8, verdict))
    ]
    assert weak == []


def test_no_error_for_hailo8_rests_on_another_line_alone(hailo8: Target) -> None:
    needs = [(op, need) for op, entry in hailo8.operators.items() for need in entry.needs]
    weak = [
        place
        for place, item in [*verdicts(hailo8), *needs]
        if item.confidence is Confidence.HIGH
        and not any(of_this_compiler(source, hailo8) for source in sources(hailo8, item))
    ]
    assert weak == []


def test_what_the_chips_have_of_their_own() -> None:
    facts = {name: load_target(name).facts.single_context_parameters for name in target_names()}
    assert {name: fact.value if fact else None for name, fact in facts.items()} == {
        "hailo8": 25_500_000, "hailo8l": 12_800_000, "hailo8r": 25_500_000, "hailo10h": None, "hailo15h": None,
    }  # fmt: skip
    floors = {name: load_target(name).operators["Floor"].confidence for name in target_names()}
    assert (floors["hailo8"], floors["hailo10h"], floors["hailo15h"]) == (
        Confidence.MEDIUM, Confidence.HIGH, Confidence.HIGH,  # measured on 5.x
    )  # fmt: skip


def test_another_compiler_line_counts_less() -> None:
    assert load_target("hailo8").operators["Mod"].confidence is Confidence.HIGH
    assert load_target("hailo10h").operators["Mod"].confidence is Confidence.MEDIUM  # seen on 3.x only
    assert load_target("hailo8l").operators["Mod"].confidence is Confidence.HIGH  # the same compiler


def test_what_later_versions_learned_is_unknown_before() -> None:
    now, before = load_target("hailo8@3.33"), load_target("hailo8@3.28")
    assert now.patterns["window-partition"].status is Status.SUPPORTED
    assert before.patterns["window-partition"].status is Status.UNKNOWN
    assert "3.30" in before.patterns["window-partition"].advice
    assert [form.name for form in now.operators["Conv"].forms] != [form.name for form in before.operators["Conv"].forms]
    assert load_target("hailo8@3.27").patterns["gelu-erf"].status is Status.UNKNOWN


def test_what_may_become_an_error_has_evidence(hailo8: Target) -> None:
    refusing = {Status.UNSUPPORTED, Status.CONSTANT_ONLY, Status.PATTERN}
    bare = [
        place
        for place, verdict in verdicts(hailo8)
        if verdict.status in refusing and verdict.confidence is not Confidence.LOW and not verdict.evidence
    ]
    assert bare == []
    needs = [(op, need) for op, entry in hailo8.operators.items() for need in entry.needs]
    assert [op for op, need in needs if not need.evidence] == []


def test_every_source_is_cited(hailo8: Target) -> None:
    facts = [getattr(hailo8.facts, item.name) for item in dataclasses.fields(Facts)]
    needs = [need for entry in hailo8.operators.values() for need in entry.needs]
    holders = [verdict for _, verdict in verdicts(hailo8)]
    cited = {evidence.source for holder in (*holders, *needs, *facts) for evidence in holder.evidence}
    assert sorted(set(hailo8.sources) - cited) == []


def test_sources_can_be_found_by_a_reader(hailo8: Target) -> None:
    assert [key for key, source in hailo8.sources.items() if re.search(r"\d{9,}|public file", source.where)] == []


def test_the_readme_explains_every_key() -> None:
    text = (bundled("rules") / "README.md").read_text(encoding="utf-8")
    tables = (Table, Facts, Pipeline, Source, NumberFact, Operator, Form, Need, Pattern)
    kinds = (*tables, Condition, AttributeTest, Evidence)
    keys = {item.name for kind in kinds for item in dataclasses.fields(kind)}
    words = {word.value for kind in (Status, Confidence, SourceKind) for word in kind}
    missing = sorted(key for key in keys | words if not re.search(rf"(?<![\w-]){key}(?![\w-])", text))
    assert missing == []


FAMILY = """
[family.rare]
operators = ["Celu", "Selu"]
status = "unsupported"
confidence = "low"
advice = "use Relu"
evidence = [{ source = "log", says = "its relatives are refused" }]
"""


def test_a_family_stands_for_an_entry_of_each_of_its_operators(tmp_path: Path) -> None:
    target = read(tmp_path, HEAD + FAMILY + SOURCE)
    assert target.operators["Celu"] == target.operators["Selu"]
    assert target.operators["Celu"].advice == "use Relu"


def test_a_table_that_inherits_may_say_more_of_one_of_a_family(tmp_path: Path) -> None:
    write(tmp_path, HEAD + FAMILY + SOURCE)
    child = HEAD.replace('"chip"', '"child"') + 'inherits = "chip"\n'
    own = "[op.Selu]\nstatus = 'supported'\nconfidence = 'high'\nevidence = []\n"
    target = load_target(write(tmp_path, child + own, "child"))
    assert target.operators["Selu"].status is Status.SUPPORTED
    assert target.operators["Celu"].status is Status.UNSUPPORTED


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("[op.Selu]\nstatus = 'supported'\nconfidence = 'high'\nevidence = []\n", "`Selu` has an entry of its own"),
        (FAMILY.replace("rare", "other"), "`Celu` has a family already"),
        (FAMILY.replace("rare", "other").replace("Celu", "Elu").replace("Selu", "Relu").replace('"log"', '"lgo"'),
         "there is no source `lgo`"),
        (FAMILY.replace("rare", "other").replace("unsupported", "pattern"), "status `pattern` is for single operators"),
    ],
)  # fmt: skip
def test_mistakes_in_families(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        read(tmp_path, HEAD + FAMILY + more + SOURCE)
