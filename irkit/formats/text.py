"""Findings as text for people: grouped, with the neighbourhood of the node, what to do, and the verdict."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from irkit.diagnostics import Around, Finding, Neighbour, Report, Severity
from irkit.style import PLAIN, Style, plural
from irkit.verdict import Outlook, verdict_of

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_NOUNS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_PLACES_SHOWN = 3
_NEIGHBOURS_SHOWN = 2
_LONGEST_NAME = 44
_CUTS_SHOWN = 3

_CUT = re.compile(r"(--cut|--start) ([^\s;]+)")
_QUOTED = re.compile(r"`[^`]*`")
_VALUE = re.compile(r"; found .*?(?= \((?:high|medium|low) confidence|$)")
"""The value that was found, before how sure it is that it may not be."""


def same_thing(finding: Finding) -> tuple[object, ...]:
    """What findings that are told as one have in common: they may differ in names, and in the value that was found."""
    said = finding.group or _VALUE.sub("", _QUOTED.sub("``", finding.message))
    return finding.severity, finding.code, said, finding.fixable, _QUOTED.sub("``", finding.advice)


def grouped(findings: Iterable[Finding]) -> dict[Severity, list[list[Finding]]]:
    """Findings that say the same of several places together, worst first, otherwise in the order they came."""
    groups: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        groups.setdefault(same_thing(finding), []).append(finding)
    ordered: dict[Severity, list[list[Finding]]] = {severity: [] for severity in reversed(Severity)}
    for group in groups.values():
        ordered[group[0].severity].append(group)
    return {severity: found for severity, found in ordered.items() if found}


def findings_text(findings: Iterable[Finding], style: Style = PLAIN, *, details: str = "") -> str:
    """Findings as a list under the headings errors, warnings, notes; "" for none.

    `details`: where the reader finds all places and the notes, which are then only counted; "" shows everything.
    """
    parts = []
    for severity, groups in grouped(findings).items():
        if severity is Severity.INFO and details:
            parts.append(_folded(groups, details, style))
            continue
        lines = [style.paint(f"{_NOUNS[severity]}s", "bold", _COLOURS[severity])]
        for group in groups:
            lines += _group_lines(group, style, details)
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _folded(groups: Sequence[Sequence[Finding]], details: str, style: Style) -> str:
    """`5 notes: 3 removable-node, 2 weak-evidence (-v shows them)`."""
    counts = Counter(finding.rule for group in groups for finding in group)
    listed = ", ".join(f"{count:,} {rule}" for rule, count in counts.items())
    text = f"{plural(sum(counts.values()), 'note')}: {listed} ({details})"
    return style.paint(style.wrap(text, "  ", ""), "dim")


def _group_lines(group: Sequence[Finding], style: Style, details: str) -> Iterator[str]:
    finding = group[0]
    fix = style.paint(" [*]", "green") if finding.fixable else ""
    several = f"  ({plural(len(group), 'place')})" if len(group) > 1 else ""
    yield f"  {style.paint(finding.code, 'bold')} {finding.rule}{fix}{style.paint(several, 'dim')}"
    yield style.wrap(finding.message, " " * 4)
    if finding.around is not None:
        yield from _picture(finding, finding.around, style)
    elif finding.node:
        yield f"      at {finding.node}"
    source = source_of(finding)
    if source:
        yield style.paint(style.wrap(source, " " * 9, " " * 6 + "in "), "cyan")
    if group[1:]:
        places = list(dict.fromkeys(filter(None, (_place(one, finding) for one in group[1:]))))
        yield style.paint(
            style.wrap(first_few(places, _PLACES_SHOWN if details else len(places)), " " * 9, " " * 6 + "also "), "dim"
        )
    for says, where in finding.evidence if not details else ():
        yield style.paint(style.wrap(f"{says} [{where}]", " " * 8, " " * 6 + "- "), "dim")
    if finding.advice:
        yield style.wrap(_shortened(finding.advice, details), " " * 10, f"    {style.paint('help:', 'bold')} ")


def _shortened(advice: str, details: str) -> str:
    """The advice, with only the first of many nodes to cut at, since the last line of a lint names them all."""

    def shorten(match: re.Match[str]) -> str:
        names = match[2].split(",")
        return f"{match[1]} {names[0]},... ({len(names)} in all)" if len(names) > _CUTS_SHOWN else match[0]

    return _CUT.sub(shorten, advice) if details else advice


def _picture(finding: Finding, around: Around, style: Style) -> Iterator[str]:
    """Who makes what the node reads, the node, who reads what it makes: a line each, with shapes."""
    name = finding.node or f"(makes {around.outputs[0].value})" * bool(around.outputs)
    rows = [*_rows(around.inputs, "input"), ("> ", finding.op, name, _type_of(around.outputs))]
    rows += _rows(around.outputs, "output")
    ops = max(len(op) for _, op, _, _ in rows)
    names = max(len(name) for _, _, name, _ in rows)
    for mark, op, name, kind in rows:
        line = f"      {mark:2}{op:<{ops}}  {name:<{names}}  {kind}".rstrip()
        yield style.paint(line, "bold") if mark else style.paint(line, "dim")


def _rows(neighbours: Sequence[Neighbour], end: str) -> Iterator[tuple[str, str, str, str]]:
    """The other ends of values; where there is no node, the value is an input or output of the graph itself."""
    ends = [(op, name, near) for near in neighbours for op, name in near.nodes or ((f"({end})", near.value),)]
    for op, name, near in ends[:_NEIGHBOURS_SHOWN]:
        told = name or f"(makes {near.value})" * (end == "input")
        yield "", op, _short(told), near.type if end == "input" else ""
    if ends[_NEIGHBOURS_SHOWN:]:
        yield "", "...", f"{len(ends) - _NEIGHBOURS_SHOWN} more", ""


def _type_of(outputs: Sequence[Neighbour]) -> str:
    return outputs[0].type if outputs else ""


def _short(name: str) -> str:
    """The name of a neighbour, without its middle where it is long."""
    half = _LONGEST_NAME // 2
    return name if len(name) <= _LONGEST_NAME else f"{name[: half - 2]}...{name[1 - half :]}"


def source_of(finding: Finding) -> str:
    """`net.py:15, module blocks.0 (Block): return floor(x)`, as far as it is known."""
    origin = finding.origin
    module = f"module {origin.module}" if origin.module else ""
    kind = origin.module_class.rpartition(".")[2]
    if kind:
        module = f"{module or 'the network'} ({kind})"
    place = ", ".join(part for part in (line_of(finding), module) if part)
    return f"{place}: {origin.code}" if origin.code and place else place


def line_of(finding: Finding) -> str:
    """`net.py:15`, with the path from the working directory where the file is below it; "" where it is not known."""
    origin = finding.origin
    if not origin.file:
        return ""
    here = os.getcwd() + os.sep
    return f"{origin.file.removeprefix(here)}:{origin.line}"


def _place(finding: Finding, first: Finding) -> str:
    """Another place of which the first finding of a group tells: the node and its line, or what the message names."""
    name = finding.node
    if not name:
        quoted = [text for text in _QUOTED.findall(finding.message) if text not in first.message]
        name = quoted[0] if quoted else ""
    found = _VALUE.search(finding.message)
    value = found.group()[2:] if found and not first.message.endswith(found.group()) else ""
    line = line_of(finding)
    more = ", ".join(part for part in (value, line if line != line_of(first) else "") if part)
    return f"{name} ({more})" if name and more else name


def first_few(places: Sequence[str], shown: int = _PLACES_SHOWN) -> str:
    """The first places, and how many there are more."""
    rest = len(places) - shown
    return ", ".join(places[:shown]) + (f" and {rest:,} more" if rest > 0 else "")


def counts(report: Report) -> str:
    """`2 errors, 1 warning, 3 notes`."""
    parts = [plural(report.count(severity), noun) for severity, noun in _NOUNS.items() if report.count(severity)]
    return ", ".join(parts) or "no findings"


# --- the whole report ------------------------------------------------------------------------------------------------


def lint_text(report: Report, target: str, style: Style = PLAIN, *, verbose: bool = False) -> str:
    """A lint report: findings, how many, and the verdict with what it rests on."""
    title = f"{style.paint(report.model, 'bold')} for {target}"
    findings = findings_text(report.findings, style, details="" if verbose else "-v shows them")
    return "\n\n".join(part for part in (title, findings, verdict_text(report, style)) if part)


def statistics_text(report: Report, target: str, style: Style = PLAIN) -> str:
    """How often each rule found something, the most frequent first; and the verdict."""
    entries = report.statistics()
    width = max((len(f"{entry['count']:,}") for entry in entries), default=0)
    lines = []
    for entry in entries:
        all_fixed = entry["fixable"] == entry["count"]
        fixed = "[*]" if all_fixed else f"[*] {entry['fixable']:,} of them" if entry["fixable"] else ""
        severity = Severity[entry["severity"].upper()]
        noun = style.paint(f"{_NOUNS[severity]:<7}", _COLOURS[severity])
        text = f"{entry['count']:>{width},}  {noun}  {entry['code']}  {entry['rule']} {style.paint(fixed, 'green')}"
        lines.append(text.rstrip())
    title = f"{style.paint(report.model, 'bold')} for {target}"
    return "\n\n".join(part for part in (title, "\n".join(lines), verdict_text(report, style)) if part)


def verdict_text(report: Report, style: Style = PLAIN) -> str:
    """The number of findings, and the verdict with what it rests on."""
    fixable = sum(finding.fixable for finding in report.findings)
    tally = counts(report) + (f"; irkit optimize fixes {fixable:,} of them, marked [*]" if fixable else "")
    tally += f"; {len(report.suppressed):,} suppressed" if report.suppressed else ""
    verdict = verdict_of(report)
    colour = {Outlook.LIKELY: "green", Outlook.UNKNOWN: "yellow", Outlook.MENDED: "yellow"}.get(verdict.outlook, "red")
    lines = [tally, style.paint(style.wrap(f"verdict: {verdict.sentence}", "  ", ""), "bold", colour)]
    lines += [style.paint(style.wrap(verdict.rests_on, "  ", "  "), "dim")] if verdict.rests_on else []
    return "\n".join(lines)
