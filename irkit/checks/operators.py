"""HAI101 to HAI108: what a table says of operators, one rule a verdict, where the entry names no rule of its own."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from irkit.checks.heads import advice_to_cut
from irkit.checks.judge import Verdict, unmet_needs, verdicts
from irkit.checks.telling import of_need, of_verdict, with_advice
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, rule
from irkit.table import Need, Status

_DOMAINS = {
    "com.microsoft": "it is ONNX Runtime's own, written by its optimizer or quantizer: give the model from before",
    "ai.onnx.ml": "it is classic machine learning: keep it on the host",
    "org.pytorch.aten": "export without the fallback to ATen operators",
}
"""What to do about operators outside ONNX's own domain."""


def _found(subject: Subject, status: Status, *, silent: bool = False) -> Iterator[tuple[Node, Verdict, Found]]:
    """What to say of the nodes with that verdict, those excepted whose table entry names a rule of its own."""
    for node, verdict in subject.once(verdicts):
        if verdict.status is status and verdict.silent is silent and not _has_rule(verdict):
            found = of_verdict(subject, node, verdict)
            if found is not None:
                yield node, verdict, found


def _has_rule(entry: Verdict | Need) -> bool:
    """Whether the entry names a rule that there is; one of a private table may be spelled wrong."""
    return bool(entry.rule) and entry.rule in _names()


@functools.cache
def _names() -> frozenset[str]:
    from irkit.checks import model_rules  # this file is one of its families

    return frozenset(item.name for item in model_rules())


@rule("HAI101", "unsupported-operator", Severity.ERROR)
def unsupported_operator(subject: Subject) -> Iterator[Found]:
    """An operator, or a form of one, that the compiler refuses.

    Why: parsing stops at the first such node, or the compiler proposes to cut the graph before it.
    Fix: rewrite it with operators that are taken, or cut the graph there and run the rest on the host.
    """
    for node, _, found in _found(subject, Status.UNSUPPORTED):
        yield with_advice(found, advice_to_cut(subject, node))


@rule("HAI102", "unknown-operator", Severity.WARNING)
def unknown_operator(subject: Subject) -> Iterator[Found]:
    """An operator of which no public source says whether the compiler takes it.

    Why: it may be refused, and only the compiler can tell.
    Fix: rewrite it with operators that are known to be taken, or try it with the compiler before anything else.
    """
    for node, _, found in _found(subject, Status.UNKNOWN):
        if not node.domain or node.op_id in subject.target.operators:
            yield found


@rule("HAI103", "partial-operator", Severity.WARNING)
def partial_operator(subject: Subject) -> Iterator[Found]:
    """An operator that is taken in some forms, in a form that is not known to be one of them.

    Why: whether it is taken depends on its neighbours, its attributes or its shapes, and this form was not seen.
    Fix: bring it to a form that is known to be taken; the finding's advice names one where there is one.
    """
    for _, _, found in _found(subject, Status.PARTIAL):
        yield found


@rule("HAI104", "constant-only-operator", Severity.ERROR)
def constant_only_operator(subject: Subject) -> Iterator[Found]:
    """An operator that is taken only where it folds to a constant, on values that depend on the input.

    Why: the compiler has no layer for it.
    Fix: compute it when exporting, write it with arithmetic, or cut the graph there.
    """
    for _, _, found in _found(subject, Status.CONSTANT_ONLY):
        yield found


@rule("HAI105", "operator-outside-pattern", Severity.ERROR)
def operator_outside_pattern(subject: Subject) -> Iterator[Found]:
    """An operator that is taken only as part of a group the compiler recognises, outside of such a group.

    Why: the compiler has a layer for the group, none for the operator.
    Fix: spell the group as the compiler knows it, or replace it.
    """
    for _, _, found in _found(subject, Status.PATTERN):
        yield found


@rule("HAI106", "operator-need", Severity.ERROR)
def operator_need(subject: Subject) -> Iterator[Found]:
    """An operator that is taken, with an attribute, operand or shape that it must not have.

    Why: the compiler refuses it, or misreads it.
    Fix: bring it within the limit that the message names.
    """
    for node, needs in subject.once(unmet_needs).items():
        for need, text in needs:
            if not _has_rule(need):
                yield of_need(subject, node, need, text)


@rule("HAI107", "silently-wrong-operator", Severity.ERROR)
def silently_wrong_operator(subject: Subject) -> Iterator[Found]:
    """An operator that the compiler accepts, and then computes something else.

    Why: no message tells of it; the network is compiled and its results are wrong.
    Fix: take it out of the part that runs on the chip.
    """
    for _, _, found in _found(subject, Status.UNSUPPORTED, silent=True):
        yield found


@rule("HAI108", "weak-evidence", Severity.INFO)
def weak_evidence(subject: Subject) -> Iterator[Found]:
    """An operator that is probably taken, on weak evidence.

    Why: it was seen with another version of the compiler, or in a network that was compiled but not in this very form.
    Fix: nothing to do; look here first where the compiler objects.
    """
    for _, _, found in _found(subject, Status.SUPPORTED):
        yield found


@rule("HAI109", "foreign-operator", Severity.WARNING)
def foreign_operator(subject: Subject) -> Iterator[Found]:
    """An operator outside ONNX's own operator set, of which the target's table says nothing.

    Why: a parser of ONNX knows the operators of ONNX; a custom one was refused as "CUSTOM operation is unsupported" by
    the compiler's front end for another format.
    Example: `com.microsoft::FusedConv`, written by ONNX Runtime's graph optimizer.
    Fix: export the model without it; the advice names the usual origin of the domain.
    """
    for node, _, found in _found(subject, Status.UNKNOWN):
        if node.domain and node.op_id not in subject.target.operators:
            text = f"{node.op_id} is no operator of ONNX, and may be refused"
            yield Found(text, node, found.severity, advice=_DOMAINS.get(node.domain, ""))
