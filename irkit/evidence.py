"""What a lint rule rests on: the facts of a target's table that it reports, with their sources."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from irkit.linter import Rule
from irkit.ruledoc import RuleDoc
from irkit.table import Condition, Fact, Facts, Status
from irkit.target import Target

STATUS_WORDS = {
    Status.SUPPORTED: "taken",
    Status.PARTIAL: "taken in some cases only",
    Status.PATTERN: "taken only as part of a pattern",
    Status.CONSTANT_ONLY: "taken only where it folds to a constant",
    Status.UNSUPPORTED: "refused",
    Status.UNKNOWN: "not known",
}


@dataclass(frozen=True)
class Ground:
    """A fact of a target's table.

    Attributes: `subject`: what it is about; `claim`: what it says; `fact`: how sure that is, and where from.
    """

    subject: str
    claim: str
    fact: Fact


def grounds_of(doc: RuleDoc, target: Target) -> list[Ground]:
    """The facts that a rule rests on: those it declares, and the entries of the table that name it."""
    facts = doc.facts if isinstance(doc, Rule) else ()
    held = [(name, getattr(target.facts, name)) for name in facts]
    grounds = [Ground(label(name), value_text(fact), fact) for name, fact in held if fact is not None]
    return grounds + [ground for name, ground in entries(target) if name == doc.name]


def entries(target: Target) -> Iterator[tuple[str, Ground]]:
    """Every judgement of a table, with the name of the rule that reports it ("" where a general one does)."""
    for op, operator in target.operators.items():
        yield operator.rule, Ground(op, status_text(operator.status, operator.silent), operator)
        for form in operator.forms:
            yield form.rule, Ground(f"{op} ({form.name})", status_text(form.status, form.silent), form)
        for need in operator.needs:
            yield need.rule, Ground(op, f"needs {condition_text(need.must)}", need)
    for name, pattern in target.patterns.items():
        yield pattern.rule, Ground(f"pattern {name}", status_text(pattern.status), pattern)


def status_text(status: Status, silent: bool = False) -> str:
    """A verdict in words."""
    return "accepted without being computed" if silent else STATUS_WORDS[status]


def label(name: str) -> str:
    """A fact's name as it is spoken of: `input ranks`."""
    return name.replace("_", " ")


def value_text(fact: Any) -> str:
    """The value of a fact."""
    value = fact.value
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return ("yes" if value else "no") if isinstance(value, bool) else f"{value:,}"


def condition_text(condition: Condition) -> str:
    """The tests of a condition, as they stand in the table."""
    return ", ".join(f"{name} {_plain(wanted)}" for name, wanted in condition.given)


def _plain(wanted: Any) -> str:
    if hasattr(wanted, "items"):
        return " ".join(f"{key}: {_plain(value)}" for key, value in wanted.items())
    if isinstance(wanted, tuple):
        return " or ".join(_plain(item) for item in wanted)
    if hasattr(wanted, "__dataclass_fields__"):
        return ", ".join(f"{key} {_plain(value)}" for key, value in vars(wanted).items() if value not in (None, ()))
    return str(wanted).lower() if isinstance(wanted, bool) else str(wanted)


def known_facts(facts: Facts) -> list[tuple[str, Fact]]:
    """The facts of a target as a whole that are known, by name."""
    held = [(name, getattr(facts, name)) for name in Facts.__dataclass_fields__]
    return [(name, fact) for name, fact in held if fact is not None]
