"""Findings and reports: pure data. How they look is the affair of `irkit.formats` and `irkit.render`."""

from __future__ import annotations

import enum
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from irkit.provenance import module_of, user_frame

if TYPE_CHECKING:
    from irkit.ir import Node, Value


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
class Neighbour:
    """A value that a node reads or makes. `nodes`: operator and name of the nodes at its other end."""

    value: str
    type: str
    nodes: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """The neighbour as plain data."""
        return {**vars(self), "nodes": [{"op": op, "name": name} for op, name in self.nodes]}


@dataclass(frozen=True)
class Around:
    """The neighbourhood of a node: the values it reads that are no constants, and those it makes."""

    inputs: tuple[Neighbour, ...]
    outputs: tuple[Neighbour, ...]

    @classmethod
    def of(cls, node: Node, folded: Container[Node] = ()) -> Around:
        """The neighbourhood of a node, as it is now. What `folded` nodes make is a constant like stored data."""
        read = [value for value in node.inputs if value is not None and not _is_stored(value)]
        read = [value for value in read if value.producer is None or value.producer not in folded]
        makers = [(value, () if value.producer is None else (value.producer,)) for value in dict.fromkeys(read)]
        readers = [(value, value.users) for value in node.outputs if value.users or value.is_graph_output]
        return cls(*(tuple(_neighbour(value, nodes) for value, nodes in side) for side in (makers, readers)))

    def to_json(self) -> dict[str, Any]:
        """The neighbourhood as plain data."""
        return {side: [neighbour.to_json() for neighbour in near] for side, near in vars(self).items()}


def _is_stored(value: Value) -> bool:
    return value.is_initializer or (value.producer is not None and value.producer.op_id == "Constant")


def _neighbour(value: Value, nodes: Sequence[Node]) -> Neighbour:
    listed = tuple((node.op_id, node.name) for node in nodes[:_LISTED])
    return Neighbour(value.name, str(value.type) if value.type is not None else "", listed)


_LISTED = 8
"""Readers of a value that are named; some values have thousands."""


@dataclass(frozen=True)
class Finding:
    """One thing a rule has to say about a model.

    Attributes:
        code, rule: of the rule: its code and its kebab name.
        message: the rule with its limits, and what was found.
        node, op: the place, "" where it is the whole model.
        fixable: whether `irkit optimize` fixes it.
        origin: where the node comes from.
        advice: what to do.
        group: findings of a rule that share it say the same of several things; "" where the message tells.
        evidence: what the target's table rests on: what sources say, and where they are.
        also: names of further nodes that it speaks of, such as the rest of a group that is refused as one.
        around: the neighbourhood of the node; None where there is no node.
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
    evidence: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    also: tuple[str, ...] = field(default=(), repr=False)
    around: Around | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "code": self.code, "rule": self.rule, "severity": self.severity.label, "node": self.node, "op": self.op,
            "message": self.message, "fixable": self.fixable, "origin": self.origin.to_json(), "advice": self.advice,
            "evidence": [{"says": says, "where": where} for says, where in self.evidence], "also": list(self.also),
            "around": self.around.to_json() if self.around is not None else None,
        }  # fmt: skip


@dataclass(frozen=True)
class Suppressed:
    """A finding that is known and wanted. `by`: `settings`, `model` or `baseline`; `reason`: as it was given there."""

    finding: Finding
    by: str
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The finding and why it is suppressed, as plain data."""
        return {**self.finding.to_json(), "suppressed_by": self.by, "reason": self.reason}


@dataclass(frozen=True)
class Grounds:
    """What a target's table says of the nodes the chip would have to run, in numbers.

    Attributes:
        compiler: version of the compiler that the table was asked for.
        nodes: how many there are.
        taken: how many are of a form that is known to be taken, by confidence: high, medium, low.
        partial: how many are taken in some cases only. unknown: of how many nothing is known.
        doubtful: how many are said to be refused, on weak evidence.
        refused: names of those that are refused. wrong: of those that are accepted and compute something else.
    """

    compiler: str
    nodes: int
    taken: Mapping[str, int]
    partial: int
    unknown: int
    refused: tuple[str, ...]
    wrong: tuple[str, ...]
    doubtful: int = 0

    @property
    def open(self) -> int:
        """Of how many nodes it is not known whether they are taken."""
        return self.partial + self.unknown + self.doubtful

    def to_json(self) -> dict[str, Any]:
        """The numbers as plain data."""
        return {**vars(self), "taken": dict(self.taken), "refused": list(self.refused), "wrong": list(self.wrong)}


@dataclass
class Report:
    """Findings about one model for one target.

    `suppressed`: findings that are known and wanted. `grounds`: what a lint's verdict rests on; None elsewhere.
    """

    model: str
    target: str
    findings: list[Finding] = field(default_factory=list)
    suppressed: list[Suppressed] = field(default_factory=list)
    grounds: Grounds | None = None

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

    def statistics(self) -> list[dict[str, Any]]:
        """How often each rule found something, and how much of it `irkit optimize` fixes; the most frequent first."""
        counted: dict[str, dict[str, Any]] = {}
        for one in self.findings:
            first = {"code": one.code, "rule": one.rule, "severity": one.severity.label, "count": 0, "fixable": 0}
            entry: dict[str, Any] = counted.setdefault(one.code, first)
            entry["count"] += 1
            entry["fixable"] += one.fixable
        return sorted(counted.values(), key=lambda entry: (-entry["count"], entry["code"]))

    def to_json(self) -> dict[str, Any]:
        """`{"model", "target", "findings", "suppressed", "grounds", "summary", "statistics"}` as plain data."""
        summary: dict[str, Any] = {severity.label: self.count(severity) for severity in reversed(Severity)}
        summary["fixable"] = sum(finding.fixable for finding in self.findings)
        summary["suppressed"] = len(self.suppressed)
        return {
            "model": self.model,
            "target": self.target,
            "findings": [finding.to_json() for finding in self.findings],
            "suppressed": [item.to_json() for item in self.suppressed],
            "grounds": self.grounds.to_json() if self.grounds is not None else None,
            "summary": summary,
            "statistics": self.statistics(),
        }
