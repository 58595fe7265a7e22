"""The flow of a lint: which rules run, what their findings rest on, and which of them are known and wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from irkit.baseline import set_known_aside
from irkit.checks import ALL_RULES
from irkit.checks.grounds import grounds
from irkit.config import Settings
from irkit.diagnostics import Report
from irkit.linter import Rule, run_rules
from irkit.model import Model
from irkit.notices import NOTICES
from irkit.ruledoc import RuleDoc
from irkit.selection import IGNORE_KEY, chosen, suppress, suppress_in_model
from irkit.subject import Subject
from irkit.target import Target
from irkit.tensor import Tensor
from irkit.types import DType

if TYPE_CHECKING:
    from irkit.hailo.calibration import CalibrationSet
    from irkit.hailo.dfc_events import DfcLog
    from irkit.hailo.scripts import ScriptFile


def all_docs(rules: Sequence[Rule] = ALL_RULES) -> tuple[RuleDoc, ...]:
    """Every code there is: of lint rules, and of what passes and the pipeline find, in order."""
    return tuple(sorted((*rules, *NOTICES), key=lambda doc: doc.code))


def lint_model(
    model: Model,
    target: Target,
    name: str,
    settings: Settings,
    *,
    calibration: CalibrationSet | None = None,
    scripts: Sequence[ScriptFile] = (),
    dfc_log: DfcLog | None = None,
) -> Report:
    """Run the rules that the settings choose, and set aside the findings that they, or the model, say are wanted.

    Raises `OptionError` where the settings name a rule that is none, `ModelError` where data cannot be read.
    """
    _check_data(model)
    docs = all_docs()
    where = str(settings.file or "")
    codes = chosen(docs, settings.select, settings.ignore, where)
    rules = [rule for rule in ALL_RULES if rule.code in codes]

    def finish(subject: Subject, report: Report) -> None:
        report.grounds = grounds(subject)
        marks = {node.name: node.metadata[IGNORE_KEY] for node in model.walk() if IGNORE_KEY in node.metadata}
        suppress_in_model(report, marks, docs, codes)

    given: dict[str, Any] = {"calibration": calibration, "scripts": scripts, "dfc_log": dfc_log}
    report = run_rules(model, target, rules, name, **given, finish=finish)
    suppress(report, settings.suppress, docs, codes, where)
    if settings.baseline is not None:
        set_known_aside(report, settings.baseline)
    return report


def _check_data(model: Model) -> None:
    """Raise `ModelError` where data is of an element type that irkit does not know, as reading it would."""
    for value in model.values():
        data = value.constant or value.initializer
        if isinstance(data, Tensor) and data.dtype is DType.UNDEFINED:
            data.numpy()
