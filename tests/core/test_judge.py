"""Verdicts of a table on nodes: who reports them."""

from __future__ import annotations

from pathlib import Path

import pytest

from irkit import parse_model
from irkit.checks import ALL_RULES
from irkit.linter import run_rules
from irkit.target import load_target

HEAD = """
name = "chip"
description = "a chip that refuses Relu"
dfc = ">=1"
dfc_default = "1.0"
[sources.log]
where = "a public log"
kind = "log"
"""
EVIDENCE = "confidence = 'high'\nevidence = [{ source = 'log', says = 'seen' }]\n"
FACTS = {
    "operator": f"[op.Relu]\nstatus = 'unsupported'\n{EVIDENCE}RULE",
    "silent operator": f"[op.Relu]\nstatus = 'unsupported'\nsilent = true\n{EVIDENCE}RULE",
    "form": f"[op.Relu]\nstatus = 'supported'\n{EVIDENCE}"
    f"[[op.Relu.forms]]\nname = '2-D'\nwhen = {{ rank = [2] }}\nstatus = 'partial'\n{EVIDENCE}RULE",
    "need": f"[op.Relu]\nstatus = 'supported'\n{EVIDENCE}[[op.Relu.needs]]\nmust = {{ rank = [4] }}\n{EVIDENCE}RULE",
}


def of_operators(folder: Path, fact: str) -> list[str]:
    """The rules of the operator family that find something in a Relu of rank 2."""
    path = folder / "chip.toml"
    path.write_text(HEAD + fact, encoding="utf-8")
    model = parse_model("graph(%x: float32[1,8]) -> (%y) { %y = Relu(%x) @relu }")
    report = run_rules(model, load_target(path), ALL_RULES)
    return [item.rule for item in report.findings if item.code.startswith("HAI1")]


@pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS)
def test_a_fact_with_a_rule_of_its_own_is_left_to_that_rule(tmp_path: Path, fact: str) -> None:
    [generic] = of_operators(tmp_path, fact.replace("RULE", ""))
    assert of_operators(tmp_path, fact.replace("RULE", "rule = 'sampling'")) == ["sampling"]
    assert generic != "sampling"


@pytest.mark.parametrize("fact", FACTS.values(), ids=FACTS)
def test_a_fact_whose_rule_is_not_there_is_told_all_the_same(tmp_path: Path, fact: str) -> None:
    generic = of_operators(tmp_path, fact.replace("RULE", ""))
    assert of_operators(tmp_path, fact.replace("RULE", "rule = 'smapling'")) == generic
