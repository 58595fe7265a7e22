"""Findings as SARIF 2.1.0 (OASIS, docs.oasis-open.org/sarif/sarif/v2.1.0), which code hosts and editors read.

A result is at the user's Python line where the exporter recorded it, else at the model file; the node is its logical
location. `partialFingerprints` are those of a baseline, so that a result is known again when nodes are renumbered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from irkit.baseline import fingerprints
from irkit.diagnostics import Finding, Report, Severity, Suppressed
from irkit.formats.places import relative_path, uri
from irkit.linting import all_docs
from irkit.ruledoc import RuleDoc
from irkit.verdict import verdict_of
from irkit.version import __version__

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_ROOT = "%SRCROOT%"


def sarif_log(reports: Sequence[Report]) -> dict[str, Any]:
    """The reports as a SARIF log, a run for each, as plain data."""
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(report) for report in reports]}


def _run(report: Report) -> dict[str, Any]:
    docs = {doc.code: doc for doc in all_docs()}
    found = [*report.findings, *(item.finding for item in report.suppressed)]
    codes = sorted({finding.code for finding in found})
    indices = {code: index for index, code in enumerate(codes)}
    marks = dict(zip(map(id, found), fingerprints(found), strict=True))
    results = [_result(report, finding, indices, marks) for finding in report.findings]
    results += [
        {**_result(report, item.finding, indices, marks), "suppressions": [_suppression(item)]}
        for item in report.suppressed
    ]
    driver = {"name": "irkit", "version": __version__, "rules": [_rule(code, docs.get(code), found) for code in codes]}
    return {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"irkit/{report.target}/{report.model}/"},
        "invocations": [{"executionSuccessful": True}],
        "results": results,
        "properties": verdict_of(report).to_json(),
    }


def _rule(code: str, doc: RuleDoc | None, found: list[Finding]) -> dict[str, Any]:
    """What is told of a code; of a code that a user's pass made up, only its name is known."""
    if doc is None:
        return {"id": code, "name": next(finding.rule for finding in found if finding.code == code)}
    text = f"{doc.why}\n\n{doc.fix}"
    markdown = f"{doc.why}\n\n**What to do**: {doc.fix}"
    return {
        "id": code,
        "name": doc.name,
        "shortDescription": {"text": doc.what},
        "fullDescription": {"text": f"{doc.what} {doc.why[:1].upper()}{doc.why[1:]}"},
        "help": {"text": text, "markdown": markdown},
        "defaultConfiguration": {"level": _LEVELS[doc.severity]},
    }


def _result(report: Report, finding: Finding, indices: Mapping[str, int], marks: Mapping[int, str]) -> dict[str, Any]:
    text = finding.message + (f"\n{finding.advice}" if finding.advice else "")
    properties = {"fixable": finding.fixable, "model": report.model, "module": finding.origin.module}
    return {
        "ruleId": finding.code,
        "ruleIndex": indices[finding.code],
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [_location(report, finding)],
        "partialFingerprints": {"irkit/v1": marks[id(finding)]},
        "properties": {key: value for key, value in properties.items() if value != ""},
    }


def _location(report: Report, finding: Finding) -> dict[str, Any]:
    origin = finding.origin
    source = uri(origin.file)
    file, line = (origin.file, origin.line) if source is not None else (report.model, 1)
    region: dict[str, Any] = {"startLine": max(line, 1)}
    if source is not None and origin.code:
        region["snippet"] = {"text": origin.code}
    artifact = {"uri": uri(file) or file, **({"uriBaseId": _ROOT} if relative_path(file) is not None else {})}
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": artifact, "region": region}}
    if finding.node:
        full = ".".join(part for part in (origin.module, finding.node) if part)
        node = {"name": finding.node, "fullyQualifiedName": full, "kind": "node"}
        location["logicalLocations"] = [node]
    return location


def _suppression(item: Suppressed) -> dict[str, Any]:
    kind = "inSource" if item.by == "model" else "external"
    return {"kind": kind, "status": "accepted", "justification": item.reason or item.by}
