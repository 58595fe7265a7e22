"""What a lint comes to: whether the compiler will take the model, and what that rests on."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from irkit.diagnostics import Finding, Grounds, Report, Severity
from irkit.style import plural

_ABOUT_ACCEPTANCE = ("IRK", "HAI1", "HAI2", "HAI4", "HAI6")
"""Codes whose errors stop the compiler; those of quantization, calibration and scripts spoil what comes out."""


class Outlook(enum.Enum):
    """What will become of the model in the compiler."""

    LIKELY = "likely to compile"
    MENDED = "likely to compile once optimized"
    REFUSED = "will be refused"
    WRONG = "will give wrong results"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Verdict:
    """The outlook, in a sentence, and what it rests on, in another ("" where there is nothing to rest on).

    `nodes`: names of those that stand in the way.
    """

    outlook: Outlook
    sentence: str
    rests_on: str
    nodes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The verdict as plain data."""
        words = {"outlook": self.outlook.value, "verdict": self.sentence, "rests_on": self.rests_on}
        return {**words, "nodes_in_the_way": list(self.nodes)}


def verdict_of(report: Report) -> Verdict:
    """The verdict on a model. Findings that are suppressed or known count like all others: the compiler sees them."""
    found = [*report.findings, *(item.finding for item in report.suppressed)]
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    grounds = report.grounds
    rests_on = _rests_on(grounds) if grounds is not None else ""
    wrong = set(grounds.wrong) if grounds is not None else set()
    stops = [one for one in errors if one.code.startswith(_ABOUT_ACCEPTANCE) and one.node not in wrong]
    refused = dict.fromkeys(one.node for one in stops if one.node)
    refused.update(dict.fromkeys(grounds.refused if grounds is not None else ()))
    if stops or refused:
        outlook, sentence = _refused(stops, tuple(refused), grounds)
        return Verdict(outlook, sentence, rests_on, tuple(refused))
    if errors or wrong:
        where = f" at {plural(len(wrong), 'node')}" if wrong else ""
        sentence = f"{Outlook.WRONG.value}{where}: it may compile, and the errors above spoil what comes out"
        return Verdict(Outlook.WRONG, sentence, rests_on, tuple(wrong))
    if grounds is None or grounds.open:
        return Verdict(Outlook.UNKNOWN, _not_known(grounds) + _rewritten(found), rests_on)
    doubts = dict.fromkeys(one.rule for one in found if _is_doubt(one))
    if doubts:
        return Verdict(Outlook.UNKNOWN, f"{Outlook.UNKNOWN.value}: {', '.join(doubts)} may stand in its way", rests_on)
    return Verdict(Outlook.LIKELY, f"{Outlook.LIKELY.value}: nothing that is known stands in its way", rests_on)


def _is_doubt(finding: Finding) -> bool:
    """Whether it tells of a shape or a size that may be refused, and that irkit leaves as it is."""
    return finding.severity is Severity.WARNING and not finding.fixable and finding.code.startswith(("HAI2", "HAI4"))


def _refused(stops: Sequence[Finding], nodes: Sequence[str], grounds: Grounds | None) -> tuple[Outlook, str]:
    """The sentence on a model that is refused: at which nodes, or why as a whole, and what irkit mends of it."""
    of = f" of {grounds.nodes}" if grounds is not None else ""
    whole = dict.fromkeys(finding.rule for finding in stops if not finding.node)
    places = [f"at {len(nodes)}{of} node{'' if len(nodes) == 1 and not of else 's'}"] * bool(nodes)
    places += [f"as a whole ({', '.join(whole)})"] * bool(whole)
    sentence = f"{Outlook.REFUSED.value} {' and '.join(places)}"
    fixed = sum(finding.fixable for finding in stops)
    unreported = set(nodes) - {finding.node for finding in stops}
    if fixed < len(stops) or unreported:
        mended = f"{fixed} of {plural(len(stops), 'error')}" if fixed else "none of that"
        return Outlook.REFUSED, f"{sentence}; irkit optimize mends {mended}"
    if grounds is not None and grounds.open:
        return Outlook.REFUSED, f"{sentence}; irkit optimize mends that; the rest is {_not_known(grounds)}"
    return Outlook.MENDED, f"{sentence}; irkit optimize mends that"


def _not_known(grounds: Grounds | None) -> str:
    if grounds is None:
        return Outlook.UNKNOWN.value
    parts = [f"{grounds.doubtful} probably refused"] * bool(grounds.doubtful)
    parts += [f"{grounds.partial} taken in some cases only"] * bool(grounds.partial)
    parts += [f"{grounds.unknown} of which nothing is known"] * bool(grounds.unknown)
    listed = " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
    return f"{Outlook.UNKNOWN.value}: {listed}, of {plural(grounds.nodes, 'node')}"


def _rewritten(found: Sequence[Finding]) -> str:
    """How many of the nodes that operators' rules object to irkit optimize rewrites."""
    nodes = {finding.node for finding in found if finding.fixable and finding.node and finding.code.startswith("HAI1")}
    return f"; irkit optimize rewrites {len(nodes):,} of them" if nodes else ""


def _rests_on(grounds: Grounds) -> str:
    """`52 of 54 nodes have a form that DFC 3.33 is known to take (40 high, 12 medium confidence)`."""
    total = sum(grounds.taken.values())
    shares = ", ".join(f"{count} {name}" for name, count in grounds.taken.items() if count)
    how = f" ({shares} confidence)" if shares else ""
    nodes = f"{plural(grounds.nodes, 'node')} {'has' if grounds.nodes == 1 else 'have'}"
    return f"{total} of {nodes} a form that version {grounds.compiler} is known to take{how}"
