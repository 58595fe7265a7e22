"""What a target's table says of each node: the form it has, and the needs it does not meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from irkit.checks.conditions import holds, outcomes
from irkit.checks.patterns import memberships
from irkit.ir import Node
from irkit.linter import Subject
from irkit.table import Confidence, Evidence, Form, Need, Operator, Pattern, Status

_LENIENT = (
    Status.SUPPORTED, Status.PATTERN, Status.PARTIAL, Status.UNKNOWN, Status.CONSTANT_ONLY, Status.UNSUPPORTED,
)  # fmt: skip
"""From the mildest verdict: where shapes leave open which form a node has, the mildest of the possible ones counts."""


@dataclass(frozen=True)
class Verdict:
    """What the table says of a node.

    Attributes: `form` or `pattern` it was judged as ("" where as the operator itself); `decided`: what is known of the
    node left no other form open; `rule`: the lint rule that reports it, "" where that is one for its status;
    `repaired_by`: the pass that mends it, "" where none does.
    """

    status: Status
    confidence: Confidence
    evidence: tuple[Evidence, ...]
    advice: str
    silent: bool = False
    form: str = ""
    pattern: str = ""
    decided: bool = True
    rule: str = ""
    repaired_by: str = ""


_NOTHING_KNOWN = Verdict(Status.UNKNOWN, Confidence.LOW, (), "")


def verdicts(subject: Subject) -> list[tuple[Node, Verdict]]:
    """The verdict on every node that the chip would have to run, calls of functions that stay excepted."""
    patterns = subject.once(memberships)
    found = []
    for node in subject.nodes:
        if node in subject.cannot_inline:
            continue
        name = patterns.get(node, "")
        entry = subject.target.patterns.get(name)
        found.append((node, _as_member(name, entry) if entry is not None else judge(subject, node)))
    return found


def judge(subject: Subject, node: Node) -> Verdict:
    """The verdict on one node by its operator and form."""
    entry = subject.target.operators.get(node.op_id)
    if entry is None:
        return _NOTHING_KNOWN
    possible: list[Form | Operator] = []
    for form in entry.forms:
        fits = holds(subject, node, form.when)
        if fits is not False:
            possible.append(form)
        if fits:
            break
    else:
        possible.append(entry)
    mildest = min(possible, key=lambda item: _LENIENT.index(item.status))
    return Verdict(
        status=mildest.status,
        confidence=mildest.confidence,
        evidence=mildest.evidence or entry.evidence,
        advice=mildest.advice or entry.advice,
        silent=mildest.silent,
        form=mildest.name if isinstance(mildest, Form) else "",
        decided=len(possible) == 1,
        rule=mildest.rule,
        repaired_by=mildest.repaired_by,
    )


def _as_member(name: str, entry: Pattern) -> Verdict:
    return Verdict(
        entry.status,
        entry.confidence,
        entry.evidence,
        entry.advice,
        pattern=name,
        rule=entry.rule,
        repaired_by=entry.repaired_by,
    )


def unmet_needs(subject: Subject) -> dict[Node, list[tuple[Need, str]]]:
    """Needs that nodes surely do not meet, with what must be and what was found; of operators that may be taken.

    Members of a pattern that is taken are taken with it, whatever their operator needs elsewhere.
    """
    refused = (Status.UNSUPPORTED, Status.CONSTANT_ONLY, Status.UNKNOWN)
    judged = [
        node
        for node, item in subject.once(verdicts)
        if item.status not in refused and not (item.pattern and item.status is Status.SUPPORTED)
    ]
    found = {node: list(_unmet(subject, node)) for node in judged}
    return {node: needs for node, needs in found.items() if needs}


def _unmet(subject: Subject, node: Node) -> Iterator[tuple[Need, str]]:
    entry = subject.target.operators.get(node.op_id)
    for need in entry.needs if entry is not None else ():
        if need.when.given and not holds(subject, node, need.when):
            continue
        for outcome in outcomes(subject, node, need.must):
            if outcome.holds is False:
                yield need, outcome.text
