"""Findings and reports: pure data. Rendering is in `irkit.render`."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irkit.ir import Node


class Severity(enum.IntEnum):
    """How bad a finding is; only errors make a command exit with 1."""

    INFO = 0
    WARNING = 1
    ERROR = 2

    @property
    def label(self) -> str:
        """`error`, `warning` or `info`."""
        return self.name.lower()


@dataclass(frozen=True)
class Location:
    """Where a node comes from, as far as the exporter recorded it.

    Attributes: `nodes` of the source model, `module` path in the user's network, `file` and `line` (from 1) of the
    user's Python.
    """

    nodes: tuple[str, ...] = ()
    module: str = ""
    file: str = ""
    line: int = 0

    @classmethod
    def of(cls, node: Node) -> Location:
        """Location of a node, read from its origin, metadata and doc string."""
        metadata = node.metadata
        trace = metadata.get("pkg.torch.onnx.stack_trace") or node.extra.doc
        file, line = _user_frame(trace) if trace else ("", 0)
        return cls(node.origin, _module_path(node), file, line)

    def to_json(self) -> dict[str, Any]:
        """The fields that are known."""
        values = {"nodes": list(self.nodes), "module": self.module, "file": self.file, "line": self.line}
        return {key: value for key, value in values.items() if value}


@dataclass(frozen=True)
class Finding:
    """One thing a rule has to say about a model.

    Attributes: `code` and kebab `rule` name the rule; `node` and `op` the place ("" where it is the whole model);
    `message` is the rule with its limits, and what was found; `fixable` tells that `irkit optimize` fixes it;
    `advice` is what to do.
    """

    code: str
    rule: str
    severity: Severity
    message: str
    node: str = ""
    op: str = ""
    fixable: bool = False
    origin: Location = Location()
    advice: str = ""
    group: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "code": self.code, "rule": self.rule, "severity": self.severity.label, "node": self.node, "op": self.op,
            "message": self.message, "fixable": self.fixable, "origin": self.origin.to_json(), "advice": self.advice,
        }  # fmt: skip


@dataclass
class Report:
    """Findings about one model for one target."""

    model: str
    target: str
    findings: list[Finding] = field(default_factory=list)

    def count(self, severity: Severity) -> int:
        """How many findings of that severity."""
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def has_errors(self) -> bool:
        """Whether an error is among them."""
        return self.count(Severity.ERROR) > 0

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add findings."""
        self.findings.extend(findings)

    def to_json(self) -> dict[str, Any]:
        """`{"model", "target", "findings", "summary"}` as plain data."""
        summary: dict[str, Any] = {severity.label: self.count(severity) for severity in reversed(Severity)}
        summary["fixable"] = sum(finding.fixable for finding in self.findings)
        return {
            "model": self.model,
            "target": self.target,
            "findings": [finding.to_json() for finding in self.findings],
            "summary": summary,
        }


_FRAME = re.compile(r'(?:File "(?P<file>[^"]+)", line (?P<line>\d+)|(?P<file2>[^\s(][^(\n]*?)\((?P<line2>\d+)\):)')
_LIBRARY = ("/torch/", "\\torch\\", "site-packages", "dist-packages", "<frozen")


def _user_frame(trace: str) -> tuple[str, int]:
    """The innermost frame of the user's own code in an exporter's stack trace."""
    frames = [
        (match["file"] or match["file2"], int(match["line"] or match["line2"])) for match in _FRAME.finditer(trace)
    ]
    own = [frame for frame in frames if not any(part in frame[0] for part in _LIBRARY)]
    if not own:
        return "", 0
    # The dynamo exporter writes the innermost call last, the TorchScript one first.
    return own[-1] if 'File "' in trace else own[0]


def _module_path(node: Node) -> str:
    """Dotted path of the module that made the node."""
    scopes = node.metadata.get("pkg.torch.onnx.name_scopes")
    if scopes:
        names = re.findall(r"'([^']*)'", scopes)
        return next((name for name in reversed(names[:-1]) if name), "") if names else ""
    name = node.origin[0] if node.origin else ""
    return ".".join(part for part in name.split("/")[1:-1] if part) if name.startswith("/") else ""
