"""Overlays: a user's own facts laid over a target, and tables that inherit."""

from __future__ import annotations

from pathlib import Path

import pytest

from irkit.errors import TargetError
from irkit.table import Confidence, Status
from irkit.target import load_target

NEED = "must = { attributes = { kernel_shape = { max = 7 } } }\nconfidence = 'high'\nevidence = []\n"
FORM = "name = 'of rank 3'\nwhen = { rank = [3] }\nstatus = 'unsupported'\nconfidence = 'high'\nevidence = []\n"
REFUSED = "[op.Relu]\nstatus = 'unsupported'\nconfidence = 'high'\nevidence = [{ source = 'mine', says = 'seen' }]\n"
MINE = "[sources.mine]\nwhere = 'our own runs'\nkind = 'log'\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def error(folder: Path, text: str) -> str:
    path = write(folder, "mine.toml", text)
    with pytest.raises(TargetError) as caught:
        load_target("hailo8", [path])
    return str(caught.value).replace(str(path), "mine.toml")


def test_an_overlay_replaces_entries_by_name_and_leaves_the_rest(tmp_path: Path) -> None:
    plain, refined = load_target("hailo8"), load_target("hailo8", [write(tmp_path, "mine.toml", MINE + REFUSED)])
    assert refined.operators["Relu"].status is Status.UNSUPPORTED
    assert refined.operators["Conv"] == plain.operators["Conv"]
    assert (refined.name, refined.version, refined.facts) == (plain.name, plain.version, plain.facts)
    assert refined.overlays == (tmp_path / "mine.toml",)


def test_the_last_of_several_overlays_counts(tmp_path: Path) -> None:
    first = write(tmp_path, "first.toml", MINE + REFUSED)
    last = write(tmp_path, "last.toml", REFUSED.replace("unsupported", "partial"))  # its source stands in the first
    assert load_target("hailo8", [first, last]).operators["Relu"].status is Status.PARTIAL


def test_an_overlay_adds_to_an_entry_without_copying_it(tmp_path: Path) -> None:
    text = f"[[add.Conv.needs]]\n{NEED}[[add.Conv.forms]]\n{FORM}"
    plain, refined = load_target("hailo8"), load_target("hailo8", [write(tmp_path, "mine.toml", text)])
    before, after = plain.operators["Conv"], refined.operators["Conv"]
    assert after.needs[:-1] == before.needs
    assert after.needs[-1].must.attributes["kernel_shape"].max == 7
    assert after.forms[0].name == "of rank 3"  # tried first
    assert after.forms[1:] == before.forms
    assert after.evidence == before.evidence


def test_an_overlay_speaks_of_versions(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.toml", f"[[add.Conv.needs]]\n{NEED}dfc = '>=3.33'\n")
    assert len(load_target("hailo8@3.33", [path]).operators["Conv"].needs) == 1 + len(
        load_target("hailo8@3.32", [path]).operators["Conv"].needs
    )


def test_a_table_inherits_and_adds(tmp_path: Path) -> None:
    table = f"name = 'chip'\ndescription = 'a chip'\ninherits = 'hailo8'\n[[add.Conv.needs]]\n{NEED}"
    chip = load_target(write(tmp_path, "chip.toml", table))
    assert chip.operators["Conv"].needs[-1].confidence is Confidence.HIGH
    assert chip.version == load_target("hailo8").version


def test_inherited_entries_count_no_more_than_the_table_says(tmp_path: Path) -> None:
    table = "name = 'chip'\ndescription = 'a chip'\ninherits = 'hailo8'\ninherited_confidence = 'low'\n"
    chip = load_target(write(tmp_path, "chip.toml", table + MINE + REFUSED))
    assert chip.operators["Relu"].confidence is Confidence.HIGH  # its own word
    assert {entry.confidence for op, entry in chip.operators.items() if op != "Relu"} == {Confidence.LOW}
    assert {form.confidence for entry in chip.operators.values() for form in entry.forms} == {Confidence.LOW}
    assert {need.confidence for entry in chip.operators.values() for need in entry.needs} == {Confidence.LOW}
    assert chip.facts.batch is not None
    assert chip.facts.batch.confidence is Confidence.LOW


def test_facts_that_do_not_hold_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.toml", "without = ['channel_multiple']\n")
    assert load_target("hailo8", [path]).facts.channel_multiple is None
    assert load_target("hailo8", [path]).facts.batch is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'x'\n", "mine.toml:1: name: stands in the table of a target (--target FILE)"),
        ("\n[op.Relu]\nstate = 'no'\n", "mine.toml:3: op.Relu.state: unknown key (did you mean status?)"),
        (REFUSED, "mine.toml:4: op.Relu.evidence[0].source: there is no source `mine`"),
        (f"[[add.Konv.needs]]\n{NEED}", "mine.toml:1: add.Konv: `add` refines an inherited operator; `Konv` has no"),
        (MINE + REFUSED + f"[[add.Relu.needs]]\n{NEED}", "mine.toml:8: add.Relu: `add` refines an inherited operator"),
        (f"[[add.Conv.needs]]\n{NEED.replace('[]', '[{ source = [] }]')}", "mine.toml:4: add.Conv.needs[0].evidence"),
        ("[add.Conv]\nstatus = 'supported'\n", "mine.toml:2: add.Conv.status: unknown key"),
        (
            "without = ['chanel_multiple']\n",
            "mine.toml:1: without[0]: there is no fact `chanel_multiple` (did you mean c",
        ),
        (
            "[pattern.silo]\nstatus = 'supported'\nconfidence = 'low'\nevidence = []\n",
            "mine.toml:1: pattern.silo: irkit recognises no pattern of that name (did you mean silu?)",
        ),
        ("[fact.opset]\n", "mine.toml:1: fact: unknown key (did you mean facts?)"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert error(tmp_path, text).startswith(message)


def test_an_overlay_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"none\.toml: cannot be read: No such file"):
        load_target("hailo8", [tmp_path / "none.toml"])
