"""The lint engine: rules, and running them.

A rule is a generator over a `Subject` that yields what it found; `rule` makes it one. Rules live in `irkit.checks`.

    @rule("IRK006", "training-mode", Severity.ERROR)
    def training_mode(subject: Subject) -> Iterator[Found]:
        \"\"\"Batch norm or dropout in training mode.

        Why: ...
        Fix: ...
        \"\"\"
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from irkit.diagnostics import Around, Finding, Location, Report, Severity
from irkit.ir import Node
from irkit.model import Model
from irkit.ruledoc import RuleDoc, read_doc
from irkit.subject import Subject as Subject
from irkit.table import Confidence, Evidence, Facts
from irkit.target import Target

if TYPE_CHECKING:
    from irkit.hailo.calibration import CalibrationSet
    from irkit.hailo.dfc_events import DfcLog
    from irkit.hailo.scripts import ScriptFile


@dataclass(frozen=True)
class Found:
    """One thing a rule found. `severity` only where it differs from the rule's own; `node` None for the whole model.

    `group`: findings of a rule that share it say the same of several things; they are shown as one. `origin`: where it
    is, where that is no node, as a line of a script. `evidence`: what it rests on, from the target's table. `also`:
    further nodes that it speaks of.
    """

    message: str
    node: Node | None = None
    severity: Severity | None = None
    fixable: bool = False
    advice: str = ""
    group: str = ""
    origin: Location | None = None
    evidence: tuple[Evidence, ...] = ()
    also: tuple[Node, ...] = ()


Check: TypeAlias = "Callable[[Subject], Iterable[Found]]"


@dataclass(frozen=True, kw_only=True)
class Rule(RuleDoc):
    """A lint rule: a check with its documentation. `facts`: the facts of a target's table that it rests on."""

    check: Check
    facts: tuple[str, ...] = ()

    def findings(self, subject: Subject) -> Iterator[Finding]:
        """What it has to say about the subject."""
        for found in self.check(subject):
            node = found.node
            yield Finding(
                code=self.code,
                rule=self.name,
                severity=self.severity if found.severity is None else found.severity,
                message=found.message,
                node=node.name if node is not None else "",
                op=node.op_id if node is not None else "",
                fixable=found.fixable,
                origin=found.origin or (Location.of(node) if node is not None else Location()),
                advice=found.advice,
                group=found.group,
                evidence=tuple((item.says, _where(subject.target, item)) for item in found.evidence),
                also=tuple(other.name for other in found.also if other.name and other is not node),
                around=Around.of(node, subject.folded) if node is not None else None,
            )


def _where(target: Target, item: Evidence) -> str:
    source = target.sources.get(item.source)
    return source.where if source is not None else item.source


def rule(code: str, name: str, severity: Severity, *, facts: tuple[str, ...] = ()) -> Callable[[Check], Rule]:
    """Make a check a rule, registered nowhere. Its docstring: what, then `Why:`, perhaps `Example:`, and `Fix:`.

    Raises `ValueError` where the code, the name, the docstring or a fact is not of that form.
    """
    for fact in facts:
        if fact not in Facts.__dataclass_fields__:
            raise ValueError(f"rule {code}: a table has no fact `{fact}`")

    def decorate(check: Check) -> Rule:
        doc = read_doc(code, name, severity, check.__doc__ or "")
        return Rule(**vars(doc), check=check, facts=facts)

    return decorate


def unique(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    """The rules in the order of their codes. Raises `ValueError` where two share a code or a name."""
    ordered = sorted(rules, key=lambda rule: rule.code)
    for attribute in ("code", "name"):
        seen: dict[str, Rule] = {}
        for item in ordered:
            key = getattr(item, attribute)
            if key in seen:
                raise ValueError(f"two lint rules have the {attribute} {key}")
            seen[key] = item
    return tuple(ordered)


def run_rules(
    model: Model,
    target: Target,
    rules: Iterable[Rule],
    name: str = "",
    *,
    calibration: CalibrationSet | None = None,
    scripts: Sequence[ScriptFile] = (),
    dfc_log: DfcLog | None = None,
    finish: Callable[[Subject, Report], None] | None = None,
) -> Report:
    """Lint a model for a target, without changing it. Findings come in the order of codes, then of the graph.

    `finish` is called with what was looked at and the report, before the model is put back.
    """
    report = Report(name, str(target))
    with model.trial():
        subject = Subject(model, target, calibration=calibration, scripts=scripts, dfc_log=dfc_log)
        for item in rules:
            report.extend(item.findings(subject))
        if finish is not None:
            finish(subject, report)
    return report


def severity_of(confidence: Confidence) -> Severity:
    """How bad it is to go against a fact: an error where the fact is sure, else a warning."""
    return Severity.ERROR if confidence is Confidence.HIGH else Severity.WARNING
