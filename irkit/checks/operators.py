"""HAI1xx: operators that the compiler refuses, takes in part, or of which nothing is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irkit.checks.judge import Verdict, unmet_needs, verdicts
from irkit.checks.quantization import QUANTIZED
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, rule, severity_of
from irkit.table import Confidence, Evidence, Status

_REPAIRED = {
    "Gelu": "gelu-to-relu",
    "SplitToSequence": "unpack-sequences",
    "SequenceAt": "unpack-sequences",
    "SequenceConstruct": "unpack-sequences",
    "ConcatFromSequence": "unpack-sequences",
}
"""Passes that replace an operator by others."""


def _judged(subject: Subject, status: Status, *, silent: bool = False) -> Iterator[tuple[Node, Verdict]]:
    """The nodes with that verdict, those excepted whose table entry names a rule of its own."""
    for node, verdict in subject.once(verdicts):
        if verdict.status is status and verdict.silent is silent and not verdict.rule:
            yield node, verdict


def _name(node: Node, verdict: Verdict) -> str:
    return f"{node.op_id} ({verdict.form})" if verdict.form else node.op_id


def _grounds(confidence: Confidence, evidence: Sequence[Evidence]) -> str:
    """How sure it is, and the first piece of evidence."""
    says = f"; {evidence[0].source}: {evidence[0].says}" if evidence else ""
    return f"({confidence.value} confidence{says})"


@rule("HAI101", "unsupported-operator", Severity.ERROR)
def unsupported_operator(subject: Subject) -> Iterator[Found]:
    """An operator, or a form of one, that the compiler refuses.

    Why: parsing stops at the first such node, or the compiler proposes to cut the graph before it.
    Fix: rewrite it with operators that are taken, or cut the graph there and run the rest on the host.
    """
    for node, verdict in _judged(subject, Status.UNSUPPORTED):
        text = f"{_name(node, verdict)} is refused by the compiler {_grounds(verdict.confidence, verdict.evidence)}"
        yield Found(text, node, severity_of(verdict.confidence), advice=verdict.advice)


@rule("HAI102", "unknown-operator", Severity.WARNING)
def unknown_operator(subject: Subject) -> Iterator[Found]:
    """An operator of which no public source says whether the compiler takes it.

    Why: it may be refused, and only the compiler can tell.
    Fix: rewrite it with operators that are known to be taken, or try it with the compiler before anything else.
    """
    for node, verdict in _judged(subject, Status.UNKNOWN):
        if node.op_id in QUANTIZED:
            continue
        text = f"whether the compiler takes {_name(node, verdict)} is not known"
        if verdict.evidence:
            text += f" ({verdict.evidence[0].source}: {verdict.evidence[0].says})"
        yield Found(text, node, fixable=subject.runs(_REPAIRED.get(node.op_id, "")), advice=verdict.advice)


@rule("HAI103", "partial-operator", Severity.WARNING)
def partial_operator(subject: Subject) -> Iterator[Found]:
    """An operator that is taken in some forms, in a form that is not known to be one of them.

    Why: whether it is taken depends on its neighbours, its attributes or its shapes, and this form was not seen.
    Fix: bring it to a form that is known to be taken; the finding's advice names one where there is one.
    """
    for node, verdict in _judged(subject, Status.PARTIAL):
        if node in subject.once(unmet_needs):  # that finding says more
            continue
        if verdict.pattern:
            text = f"{node.op_id} is part of {verdict.pattern}, which is recognised in some cases only"
        elif verdict.form:
            text = f"{_name(node, verdict)} is taken in some cases only"
        else:
            text = f"{node.op_id} is taken in some forms only, and this one is not known to be among them"
        fixable = verdict.pattern.startswith("gelu") and subject.runs("gelu-to-relu")
        text = f"{text} {_grounds(verdict.confidence, verdict.evidence)}"
        yield Found(text, node, fixable=fixable, advice=verdict.advice)


@rule("HAI104", "constant-only-operator", Severity.ERROR)
def constant_only_operator(subject: Subject) -> Iterator[Found]:
    """An operator that is taken only where it folds to a constant, on values that depend on the input.

    Why: the compiler has no layer for it.
    Fix: compute it when exporting, write it with arithmetic, or cut the graph there.
    """
    for node, verdict in _judged(subject, Status.CONSTANT_ONLY):
        computed = [value.name for value in node.inputs if value is not None and not subject.is_constant(value)]
        listed = " and ".join(f"`{name}`" for name in computed)
        cause = f"; here {listed} depend{'s' if len(computed) == 1 else ''} on the input" if computed else ""
        grounds = _grounds(verdict.confidence, verdict.evidence)
        text = f"{_name(node, verdict)} is taken only where it folds to a constant{cause} {grounds}"
        yield Found(text, node, severity_of(verdict.confidence), advice=verdict.advice)


@rule("HAI105", "operator-outside-pattern", Severity.ERROR)
def operator_outside_pattern(subject: Subject) -> Iterator[Found]:
    """An operator that is taken only as part of a group the compiler recognises, outside of such a group.

    Why: the compiler has a layer for the group, none for the operator.
    Fix: spell the group as the compiler knows it, or replace it.
    """
    for node, verdict in _judged(subject, Status.PATTERN):
        names = " or ".join(subject.target.operators[node.op_id].patterns)
        grounds = _grounds(verdict.confidence, verdict.evidence)
        text = f"{node.op_id} is taken only as part of {names}, which this one is not {grounds}"
        yield Found(text, node, severity_of(verdict.confidence), advice=verdict.advice)


@rule("HAI106", "operator-need", Severity.ERROR)
def operator_need(subject: Subject) -> Iterator[Found]:
    """An operator that is taken, with an attribute, operand or shape that it must not have.

    Why: the compiler refuses it, or misreads it.
    Fix: bring it within the limit that the message names.
    """
    for node, needs in subject.once(unmet_needs).items():
        for need, text in needs:
            if need.rule:
                continue
            message = f"{node.op_id}: {text} {_grounds(need.confidence, need.evidence)}"
            fixable = subject.runs(need.repaired_by)
            yield Found(message, node, severity_of(need.confidence), fixable, advice=need.advice)


@rule("HAI107", "silently-wrong-operator", Severity.ERROR)
def silently_wrong_operator(subject: Subject) -> Iterator[Found]:
    """An operator that the compiler accepts, and then computes something else.

    Why: no message tells of it; the network is compiled and its results are wrong.
    Fix: take it out of the part that runs on the chip.
    """
    for node, verdict in _judged(subject, Status.UNSUPPORTED, silent=True):
        grounds = _grounds(verdict.confidence, verdict.evidence)
        text = f"{_name(node, verdict)} is accepted by the compiler without being computed {grounds}"
        yield Found(text, node, severity_of(verdict.confidence), advice=verdict.advice)


@rule("HAI108", "weak-evidence", Severity.INFO)
def weak_evidence(subject: Subject) -> Iterator[Found]:
    """An operator that is probably taken, on weak evidence.

    Why: it was seen with another version of the compiler, or in a network that was compiled but not in this very form.
    Fix: nothing to do; look here first where the compiler objects.
    """
    for node, verdict in _judged(subject, Status.SUPPORTED):
        if verdict.confidence is Confidence.LOW and verdict.decided and node not in subject.once(unmet_needs):
            yield Found(f"{_name(node, verdict)} is probably taken {_grounds(Confidence.LOW, verdict.evidence)}", node)
