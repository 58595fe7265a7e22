"""Each lint rule has a model it objects to, in these words, and one it does not.

`lint/<CODE>/bad.irkit` is a model, a line of dashes, and what the rule finds; `good.irkit` is a model alone. What goes
with a model, a calibration set or scripts, is in `bad.toml` or `good.toml` beside it; see `tests/golden/sides.py`.
What the compiler said of it is in `bad.log` or `good.log`.
`pytest tests/golden --update-golden` writes what is found.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from irkit import Finding, Severity, parse_model
from irkit.checks import ALL_RULES
from irkit.hailo.dfc_events import DfcLog
from irkit.hailo.dfc_log import read_dfc_log
from irkit.linter import run_rules
from irkit.structure import structural_hash
from irkit.target import load_target
from irkit.verifier import verify
from tests.golden.sides import read_sides

FOLDER = Path(__file__).parent / "lint"
CODES = [rule.code for rule in ALL_RULES]

_LINE = re.compile(r"^-{4,}[ \t]*\n?", re.MULTILINE)


def findings_of(path: Path, code: str, folder: Path) -> list[Finding]:
    """What the rule finds in the model of a file; what goes with it is made in a folder."""
    text = _LINE.split(path.read_text(encoding="utf-8"))[0]
    model = parse_model(text, source=str(path))
    calibration, scripts = read_sides(path, folder)
    given: dict[str, Any] = {"calibration": calibration, "scripts": scripts, "dfc_log": log_beside(path)}
    report = run_rules(model, load_target("hailo8"), ALL_RULES, **given)
    return [finding for finding in report.findings if finding.code == code]


def log_beside(path: Path) -> DfcLog | None:
    """What a compiler said of the model."""
    log = path.with_suffix(".log")
    return read_dfc_log(log.read_text(encoding="utf-8")) if log.exists() else None


def rendered(finding: Finding) -> str:
    place = f" {finding.node or '(no name)'} {finding.op}" if finding.op else ""
    lines = [f"{finding.severity.label} {finding.rule}{place}{' [*]' if finding.fixable else ''}: {finding.message}"]
    lines += [f"    advice: {finding.advice}"] * bool(finding.advice)
    lines += [f"    at {finding.origin.file}:{finding.origin.line}"] * bool(finding.origin.file)
    return "\n".join(lines)


@pytest.mark.parametrize("code", CODES)
def test_a_bad_model(code: str, update_golden: bool, tmp_path: Path) -> None:
    path = FOLDER / code / "bad.irkit"
    before, *expected = _LINE.split(path.read_text(encoding="utf-8"))
    found = "".join(f"{rendered(finding)}\n" for finding in findings_of(path, code, tmp_path))
    assert found, f"{code} finds nothing in {path}"
    if update_golden:
        path.write_text(f"{before.rstrip()}\n\n----\n{found}", encoding="utf-8")
    else:
        assert [found] == expected


@pytest.mark.parametrize("code", CODES)
def test_a_good_model(code: str, tmp_path: Path) -> None:
    found = findings_of(FOLDER / code / "good.irkit", code, tmp_path)
    assert [rendered(finding) for finding in found] == []


def test_every_folder_belongs_to_a_rule() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(CODES)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.irkit")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_lint_leaves_the_model_as_it_was(path: Path) -> None:
    model = parse_model(_LINE.split(path.read_text(encoding="utf-8"))[0])
    before, types = structural_hash(model), {value.name: value.type for value in model.values()}
    run_rules(model, load_target("hailo8"), ALL_RULES)
    verify(model)
    assert structural_hash(model) == before
    assert {value.name: value.type for value in model.values()} == types


def test_every_rule_says_what_why_and_how() -> None:
    for rule in ALL_RULES:
        assert min(len(rule.what), len(rule.why), len(rule.fix)) > 20, rule.code
        assert rule.severity in Severity
