"""Findings as workflow commands of GitHub Actions, which shows them beside the user's Python.

The format is that of "Workflow commands for GitHub Actions" (docs.github.com): one line a finding,
`::error file=net.py,line=15,title=HAI101 ...::message`.
"""

from __future__ import annotations

from collections.abc import Iterator

from irkit.diagnostics import Finding, Report, Severity
from irkit.formats.places import relative_path
from irkit.verdict import verdict_of

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def workflow_commands(report: Report) -> Iterator[str]:
    """A workflow command for each finding, and one for the verdict."""
    for finding in report.findings:
        yield _command(_COMMANDS[finding.severity], _properties(report, finding), _message(finding))
    yield _command("notice", {"title": "irkit"}, f"{report.model} for {report.target}: {verdict_of(report).sentence}")


def _properties(report: Report, finding: Finding) -> dict[str, str]:
    """Where it is: in the user's Python where that is known and part of the repository, else the model file."""
    origin = finding.origin
    title = {"title": f"{finding.code} {finding.rule}"}
    file = relative_path(origin.file) if origin.file else None
    if file is not None:
        return {"file": file, "line": str(origin.line), **title}
    return {"file": relative_path(report.model) or report.model, **title}


def _message(finding: Finding) -> str:
    at = f"{finding.op} {finding.node}: " if finding.node else ""
    return at + finding.message + (f"\nhelp: {finding.advice}" if finding.advice else "")


def _command(command: str, properties: dict[str, str], message: str) -> str:
    listed = ",".join(f"{key}={_escape_property(value)}" for key, value in properties.items())
    return f"::{command} {listed}::{_escape(message)}"


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape(text).replace(":", "%3A").replace(",", "%2C")
