"""The JSON schema of rule tables: it is what the dataclasses say, and judges tables as the reader does."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from irkit.errors import TargetError
from irkit.target import load_target, target_names
from irkit.tomlfile import TomlFile
from tests.whole.sources import ROOT

SCHEMA = ROOT / "rules" / "schema.json"
TABLES = sorted((ROOT / "rules").glob("*.toml"))
HEAD = "name = 'chip'\ndescription = 'a chip'\ninherits = 'hailo8'\n"


def problems(path: Path) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema", reason="validates tables: pip install -e '.[test]'")
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    return [error.message for error in validator.iter_errors(TomlFile(path).data)]


def test_the_schema_is_current() -> None:
    script: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "make_schema.py"))
    assert script["text"]() == SCHEMA.read_text(encoding="utf-8"), "python scripts/make_schema.py"


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_the_tables_of_irkit_are_valid(path: Path) -> None:
    assert problems(path) == []
    assert path.read_text(encoding="utf-8").startswith("#:schema ./schema.json\n")


def test_every_target_has_a_table() -> None:
    assert sorted(path.stem for path in TABLES) == target_names()


@pytest.mark.parametrize(
    "text",
    [
        "colour = 'red'\n",
        "dfc = '3.30 and later'\n",
        "inherited_confidence = 'sure'\n",
        "[op.Relu]\nstatus = 'supported'\nconfidence = 'high'\n",
        "[op.Relu]\nstatus = 'suported'\nconfidence = 'high'\nevidence = []\n",
        "[op.Relu]\nstatus = 'supported'\nconfidence = 'high'\nevidence = []\nrule = 'A rule'\n",
        "[[add.Relu.needs]]\nmust = { rank = '4' }\nconfidence = 'low'\nevidence = []\n",
        "[[add.Relu.needs]]\nmust = { values = { x = [1] } }\nconfidence = 'low'\nevidence = []\n",
        "[facts.opset]\nvalue = '17'\nconfidence = 'low'\nevidence = []\n",
        "[pattern.silo]\nstatus = 'supported'\nconfidence = 'low'\nevidence = []\n",
        "[sources.mine]\nwhere = 'here'\nkind = 'rumour'\n",
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(tmp_path: Path, text: str) -> None:
    path = tmp_path / "chip.toml"
    path.write_text(HEAD + text, encoding="utf-8")
    with pytest.raises(TargetError):
        load_target(path)
    assert len(problems(path)) == 1


def test_a_file_of_own_facts_is_valid_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[[add.Conv.needs]]\nmust = { rank = [4] }\nconfidence = 'high'\nevidence = []\n", encoding="utf-8")
    assert problems(path) == []
    path.write_text("inherits = 'hailo8'\n", encoding="utf-8")
    assert problems(path) != []  # what inherits has a name
