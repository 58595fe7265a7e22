"""What the verdict of a lint rests on: what the table says of the nodes, in numbers."""

from __future__ import annotations

from collections import Counter

from irkit.checks.judge import unmet_needs, verdicts
from irkit.diagnostics import Grounds, Severity
from irkit.linter import Subject, severity_of
from irkit.table import Confidence, Status

_REFUSED = (Status.UNSUPPORTED, Status.CONSTANT_ONLY, Status.PATTERN)


def grounds(subject: Subject) -> Grounds:
    """Count the nodes that the chip would have to run, by what the target's table says of them.

    A call of a function that could not be inlined counts as not known.
    """
    taken: Counter[str] = Counter({confidence.value: 0 for confidence in Confidence})
    partial = doubtful = 0
    refused, wrong = [], []
    needs = subject.once(unmet_needs)
    judged = subject.once(verdicts)
    unknown = len(subject.nodes) - len(judged)
    for node, verdict in judged:
        is_sure = _is_sure(verdict.confidence)
        unmet = [need.confidence for need, _ in needs.get(node, ())]
        if verdict.silent and is_sure:
            wrong.append(node.name)
        elif (verdict.status in _REFUSED and is_sure) or any(map(_is_sure, unmet)):
            refused.append(node.name)
        elif verdict.status in _REFUSED:
            doubtful += 1
        elif verdict.status is Status.UNKNOWN:
            unknown += 1
        elif verdict.status is Status.PARTIAL or unmet:
            partial += 1
        else:
            taken[verdict.confidence.value] += 1
    total = len(subject.nodes)
    return Grounds(subject.target.version, total, taken, partial, unknown, tuple(refused), tuple(wrong), doubtful)


def _is_sure(confidence: Confidence) -> bool:
    """Whether going against it is an error."""
    return severity_of(confidence) is Severity.ERROR
