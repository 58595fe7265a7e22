"""Which lint rules run, and which findings are known and wanted.

A selector is a code (`HAI101`), the beginning of codes (`HAI1`, `IRK`) or the name of a rule (`opset-version`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from irkit.config import Suppression
from irkit.diagnostics import Finding, Report, Severity, Suppressed
from irkit.errors import OptionError
from irkit.ruledoc import RuleDoc
from irkit.tomlfile import suggest

IGNORE_KEY = "irkit.ignore"
"""Metadata of a node that suppresses findings about it: `HAI101, HAI106: runs on the host`."""


def codes_of(selectors: Iterable[str], known: Iterable[RuleDoc], where: str = "") -> frozenset[str]:
    """The codes that selectors stand for. `where`: what the selectors come from, for the message.

    Raises `OptionError` where one of them stands for none.
    """
    names = {doc.name: doc.code for doc in known}
    found: set[str] = set()
    for selector in selectors:
        codes = {code for name, code in names.items() if selector == name or (selector and code.startswith(selector))}
        if not codes:
            hint = suggest(selector, [*names, *names.values()])
            at = f"{where}: " if where else ""
            raise OptionError(f"{at}there is no lint rule `{selector}`{hint}; `irkit rules` lists them")
        found |= codes
    return frozenset(found)


def chosen(
    known: Sequence[RuleDoc], select: Iterable[str] = (), ignore: Iterable[str] = (), where: str = ""
) -> frozenset[str]:
    """The codes that are selected (all, where nothing is) and not ignored. Raises `OptionError`."""
    selected = codes_of(select, known, where) or frozenset(doc.code for doc in known)
    return selected - codes_of(ignore, known, where)


def suppress(
    report: Report,
    suppressions: Sequence[Suppression],
    known: Sequence[RuleDoc],
    codes: frozenset[str] | None = None,
    where: str = "",
) -> None:
    """Set aside the findings that settings say are wanted; tell which of the suppressions suppress nothing.

    Args:
        report: is changed.
        suppressions: of the settings.
        known: the rules there are.
        codes: those that ran, None for all; a suppression of others is not told as unused.
        where: the settings file, for messages.

    Raises `OptionError` where a suppression names no rule.
    """
    before = list(report.findings)
    for item in suppressions:
        meant = codes_of(item.codes, known, where)
        hits = [finding for finding in before if finding.code in meant and fnmatchcase(finding.node, item.node)]
        _set_aside(report, hits, "settings", item.reason)
        if not hits and _ran(meant, codes):
            message = f"the suppression of {', '.join(item.codes)} at `{item.node}` must match a finding; found none"
            _tell(report, codes, message, advice=f"take it out of {where}" if where else "take it out")


def suppress_in_model(
    report: Report, marks: Mapping[str, str], known: Sequence[RuleDoc], codes: frozenset[str] | None = None
) -> None:
    """Set aside the findings that nodes say are wanted. `marks`: the text of their `IGNORE_KEY`, by node name."""
    before = list(report.findings)
    for node, text in marks.items():
        listed, _, reason = text.partition(":")
        try:
            meant = codes_of([part.strip() for part in listed.split(",")], known)
        except OptionError as error:
            _tell(report, codes, f"`{IGNORE_KEY}` must name lint rules; {error}", node)
            continue
        if not reason.strip():
            _tell(report, codes, f"`{IGNORE_KEY}` must give a reason, as in `HAI101: why`; found `{text}`", node)
            continue
        hits = [finding for finding in before if finding.node == node and finding.code in meant]
        _set_aside(report, hits, "model", reason.strip())
        if not hits and _ran(meant, codes):
            _tell(report, codes, f"`{IGNORE_KEY}` must match a finding; found none of {listed.strip()}", node)


def _set_aside(report: Report, hits: Sequence[Finding], by: str, reason: str) -> None:
    taken = set(map(id, hits))
    report.suppressed += [Suppressed(item, by, reason) for item in report.findings if id(item) in taken]
    report.findings[:] = [item for item in report.findings if id(item) not in taken]


def _ran(meant: frozenset[str], codes: frozenset[str] | None) -> bool:
    return codes is None or bool(meant & codes)


def _tell(report: Report, codes: frozenset[str] | None, message: str, node: str = "", advice: str = "") -> None:
    """Tell of a suppression that suppresses nothing, unless nobody wants to hear of it."""
    finding = Finding("IRK016", "void-suppression", Severity.WARNING, message, node, advice=advice)
    if codes is None or finding.code in codes:
        report.findings.append(finding)
