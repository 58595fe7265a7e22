"""The words in which rules tell what a target's table says of a node."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

from irkit.checks.judge import Verdict, unmet_needs, verdicts
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, severity_of
from irkit.table import Confidence, Evidence, Need, Status

_SHOWN = 5


def told(
    subject: Subject,
    rule: str,
    *,
    detail: Callable[[Subject, Node], str] | None = None,
    advice: Callable[[Subject, Node], str] | None = None,
) -> Iterator[Found]:
    """What a rule has to say of the nodes that the table gives to it: of their verdicts, then of needs they miss.

    Args:
        subject: what is linted.
        rule: its name, as in `rule = "..."` of the table.
        detail: a few words on the form that a node has, put behind the operator's name.
        advice: what to do about a node, put before the table's advice.
    """

    def words(of: Callable[[Subject, Node], str] | None, node: Node) -> str:
        return of(subject, node) if of is not None else ""

    for node, verdict in subject.once(verdicts):
        found = of_verdict(subject, node, verdict, words(detail, node)) if verdict.rule == rule else None
        if found is not None:
            yield with_advice(found, words(advice, node))
    for node, needs in subject.once(unmet_needs).items():
        for need, text in needs:
            if need.rule == rule:
                yield with_advice(of_need(subject, node, need, text), words(advice, node))


def of_verdict(subject: Subject, node: Node, verdict: Verdict, detail: str = "") -> Found | None:
    """What to say of a node with that verdict; None where there is nothing to say, or its needs say more."""
    if verdict.status is Status.PARTIAL and node in subject.once(unmet_needs):
        return None
    says = _STATEMENTS[verdict.status](subject, node, verdict, detail)
    if not says:
        return None
    severity = severity_of(verdict.confidence)
    if verdict.status in (Status.PARTIAL, Status.UNKNOWN):
        severity = Severity.WARNING
    elif verdict.status is Status.SUPPORTED:
        severity = Severity.INFO
    fixable = subject.runs(verdict.repaired_by)
    return Found(says, node, severity, fixable, verdict.advice, evidence=verdict.evidence)


def of_need(subject: Subject, node: Node, need: Need, text: str) -> Found:
    """What to say of a need that a node does not meet; `text` says what must be, and what was found."""
    message = f"{node.op_id}: {text} {grounds(need.confidence, need.evidence)}"
    fixable = subject.runs(need.repaired_by)
    return Found(message, node, severity_of(need.confidence), fixable, need.advice, evidence=need.evidence)


def with_advice(found: Found, advice: str) -> Found:
    """The finding with more advice in front of its own."""
    if not advice:
        return found
    both = f"{advice}; {found.advice}" if found.advice else advice
    return dataclasses.replace(found, advice=both)


def grounds(confidence: Confidence, evidence: Sequence[Evidence]) -> str:
    """How sure it is, and the first piece of evidence."""
    says = f": {evidence[0].says}" if evidence else ""
    return f"({confidence.value} confidence{says})"


def first_few(items: Iterable[str], shown: int = _SHOWN) -> str:
    """The first few, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - shown} more" if len(listed) > shown else ""
    return ", ".join(listed[:shown]) + more


def _name(node: Node, verdict: Verdict, detail: str) -> str:
    form = "" if verdict.form in detail else verdict.form
    described = ", ".join(part for part in (form, detail) if part)
    return f"{node.op_id} ({described})" if described else node.op_id


def _unsupported(_subject: Subject, node: Node, verdict: Verdict, detail: str) -> str:
    presumably = "presumably " if verdict.confidence is Confidence.LOW else ""
    does = "accepted by the compiler without being computed" if verdict.silent else "refused by the compiler"
    name = _name(node, verdict, detail)
    return f"{name} is {presumably}{does} {grounds(verdict.confidence, verdict.evidence)}"


def _unknown(_subject: Subject, node: Node, verdict: Verdict, detail: str) -> str:
    text = f"whether the compiler takes {_name(node, verdict, detail)} is not known"
    first = next(iter(verdict.evidence), None)
    return f"{text} ({first.says})" if first is not None else text


def _partial(_subject: Subject, node: Node, verdict: Verdict, detail: str) -> str:
    name = _name(node, verdict, detail)
    if verdict.pattern:
        text = f"{name} is part of {verdict.pattern}, which is taken in some cases only"
    elif verdict.form:
        text = f"{name} is taken in some cases only"
    else:
        text = f"{name} is taken in some forms only, and this one is not known to be among them"
    return f"{text} {grounds(verdict.confidence, verdict.evidence)}"


def _constant_only(subject: Subject, node: Node, verdict: Verdict, detail: str) -> str:
    computed = [value.name for value in node.inputs if value is not None and not subject.is_constant(value)]
    listed = " and ".join(f"`{name}`" for name in computed)
    cause = f"; here {listed} depend{'s' if len(computed) == 1 else ''} on the input" if computed else ""
    text = f"{_name(node, verdict, detail)} is taken only where it folds to a constant{cause}"
    return f"{text} {grounds(verdict.confidence, verdict.evidence)}"


def _outside_pattern(subject: Subject, node: Node, verdict: Verdict, detail: str) -> str:
    names = " or ".join(subject.target.operators[node.op_id].patterns)
    text = f"{_name(node, verdict, detail)} is taken only as part of {names}, which this one is not"
    return f"{text} {grounds(verdict.confidence, verdict.evidence)}"


def _supported(subject: Subject, node: Node, verdict: Verdict, detail: str) -> str:
    """Something only where the evidence is weak, and the node meets its needs."""
    if verdict.confidence is not Confidence.LOW or not verdict.decided or node in subject.once(unmet_needs):
        return ""
    return f"{_name(node, verdict, detail)} is probably taken {grounds(Confidence.LOW, verdict.evidence)}"


_STATEMENTS: dict[Status, Callable[[Subject, Node, Verdict, str], str]] = {
    Status.UNSUPPORTED: _unsupported,
    Status.UNKNOWN: _unknown,
    Status.PARTIAL: _partial,
    Status.CONSTANT_ONLY: _constant_only,
    Status.PATTERN: _outside_pattern,
    Status.SUPPORTED: _supported,
}
