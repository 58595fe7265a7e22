"""The flow of a lint: which rules run, what their findings rest on, and which of them are known and wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from irkit.checks import all_rules, model_rules
from irkit.checks.grounds import grounds
from irkit.config import Settings
from irkit.diagnostics import Report
from irkit.linter import run_rules
from irkit.model import Model
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


def all_docs() -> tuple[RuleDoc, ...]:
    """Every code there is: of lint rules, and of what passes and the pipeline find, in order."""
    from irkit.notices import NOTICES

    return tuple(sorted((*all_rules(), *NOTICES), key=lambda doc: doc.code))


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
    given: dict[str, Any] = {"calibration": calibration, "scripts": scripts, "dfc_log": dfc_log}
    where = str(settings.file or "")
    wishes = settings.select or settings.ignore or settings.suppress
    codes = chosen(all_docs(), settings.select, settings.ignore, where) if wishes else None
    has_more = calibration is not None or dfc_log is not None or bool(scripts)
    rules = all_rules() if has_more else model_rules()

    def finish(subject: Subject, report: Report) -> None:
        report.grounds = grounds(subject)
        marks = {node.name: node.metadata[IGNORE_KEY] for node in model.walk() if IGNORE_KEY in node.metadata}
        if marks:
            suppress_in_model(report, marks, all_docs(), codes)

    chosen_rules = [rule for rule in rules if codes is None or rule.code in codes]
    report = run_rules(model, target, chosen_rules, name, **given, finish=finish)
    if settings.suppress:
        suppress(report, settings.suppress, all_docs(), codes, where)
    if settings.baseline is not None:
        from irkit.baseline import set_known_aside

        set_known_aside(report, settings.baseline)
    return report


def _check_data(model: Model) -> None:
    """Raise `ModelError` where data is of an element type that irkit does not know, as reading it would."""
    for value in model.values():
        data = value.constant or value.initializer
        if isinstance(data, Tensor) and data.dtype is DType.UNDEFINED:
            data.numpy()
