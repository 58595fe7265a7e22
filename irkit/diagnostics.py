"""Findings and reports: pure data. Rendering is in `irkit.render`."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from irkit.provenance import module_of, user_frame

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

    Attributes: `nodes` of the source model; `module` path in the user's network, and its `module_class`; `file` and
    `line` (from 1) of the user's Python, and the `code` that stands there.
    """

    nodes: tuple[str, ...] = ()
    module: str = ""
    module_class: str = ""
    file: str = ""
    line: int = 0
    code: str = ""

    @classmethod
    def of(cls, node: Node) -> Location:
        """Location of a node, read from its origin, metadata and doc string."""
        module, frame = module_of(node.metadata, node.origin), user_frame(node.metadata, node.extra.doc)
        return cls(node.origin, module.path, module.kind, frame.file, frame.line, frame.code)

    def to_json(self) -> dict[str, Any]:
        """The fields that are known."""
        return {key: value for key, value in {**vars(self), "nodes": list(self.nodes)}.items() if value}


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
