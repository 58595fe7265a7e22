"""The flow of a lint: which rules run, what their findings rest on, and which of them are known and wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.checks import all_rules, model_rules
from irkit.checks.grounds import grounds
from irkit.config import Settings
from irkit.diagnostics import Report
from irkit.errors import ModelError, OptionError
from irkit.linter import run_rules
from irkit.model import Model
from irkit.onnx.reader import load
from irkit.ruledoc import RuleDoc
from irkit.selection import IGNORE_KEY, chosen, suppress, suppress_in_model
from irkit.subject import Subject
from irkit.target import Target, load_target
from irkit.tensor import Tensor
from irkit.types import DType

if TYPE_CHECKING:  # what looks at other inputs is imported where there are any
    from irkit.hailo.calibration import CalibrationSet
    from irkit.hailo.dfc_events import DfcLog
    from irkit.hailo.scripts import ScriptFile

ModelOrPath: TypeAlias = "Model | str | os.PathLike[str]"


def all_docs() -> tuple[RuleDoc, ...]:
    """Every code there is: of lint rules, and of what passes and the pipeline find, in order."""
    from irkit.notices import NOTICES

    return tuple(sorted((*all_rules(), *NOTICES), key=lambda doc: doc.code))


def lint(
    model: ModelOrPath,
    target: str | Target = "hailo8",
    *,
    calib: str | os.PathLike[str] | None = None,
    scripts: Sequence[str | os.PathLike[str]] = (),
    dfc_log: str | os.PathLike[str] | DfcLog | None = None,
    rules: Sequence[str | os.PathLike[str]] = (),
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    settings: Settings | None = None,
) -> Report:
    """What the target's compiler will refuse, or get wrong. The model is not changed.

    Args:
        model: a model or the path of one.
        target: such as `hailo8`, `hailo8@3.33`, or the path of a table of rules.
        calib: the calibration set that goes with the model: a .npy, an .npz, or a folder of arrays or images.
        scripts: what is to compile it: model scripts (.alls), shell scripts, Python files. They are read, never run.
        dfc_log: what the compiler said when it was tried: the path of its log, the text, or what `read_dfc_log` made.
        rules: files of facts of your own, laid over those of a target that is given by name.
        select: rules to run, by code, beginning of codes, or name; all where it is empty.
        ignore: rules not to run.
        settings: a project's, from `find_settings`: its `select` and `ignore` count where those are empty, and findings
            that it or its baseline knows are set aside.

    Raises a subclass of `InputError` where one of them cannot be read.
    """
    chip = open_target(target, rules)
    calibration, held, log = _opened_set(calib), _read_scripts(scripts), _read_log(dfc_log)
    with _opened(model) as (opened, source):
        check_outputs(opened)
        name = str(source or opened.graph.name)
        settled = (settings or Settings()).under(select=tuple(select), ignore=tuple(ignore))
        return lint_model(opened, chip, name, settled, calibration=calibration, scripts=held, dfc_log=log)


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


def open_target(target: str | Target, rules: Sequence[str | os.PathLike[str]]) -> Target:
    """The target of that name, with these files laid over it. Raises `TargetError`, or `OptionError`."""
    overlays = [rules] if isinstance(rules, (str, os.PathLike)) else rules
    if not isinstance(target, Target):
        return load_target(target, overlays)
    if overlays:
        raise OptionError("a target that is loaded already has its facts: give `rules` to load_target instead")
    return target


def _opened_set(path: str | os.PathLike[str] | None) -> CalibrationSet | None:
    if path is None:
        return None
    from irkit.hailo.calibration import open_calibration

    return open_calibration(path)


def _read_scripts(paths: Sequence[str | os.PathLike[str]]) -> list[ScriptFile]:
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    if not paths:
        return []
    from irkit.hailo.scripts import read_script

    return [read_script(path) for path in paths]


def _read_log(log: str | os.PathLike[str] | DfcLog | None) -> DfcLog | None:
    if not isinstance(log, (str, os.PathLike)):
        return log
    from irkit.hailo.dfc_log import read_dfc_log

    return read_dfc_log(log)


def check_outputs(model: Model) -> None:
    """Raise `ModelError` where the model computes nothing."""
    if not model.graph.outputs:
        raise ModelError("the model has no outputs, so it computes nothing: export it again")


@contextmanager
def _opened(model: ModelOrPath) -> Iterator[tuple[Model, Path | None]]:
    if isinstance(model, Model):
        yield model, None
        return
    try:
        with load(model) as opened:
            yield opened, Path(model)
    except ModelError as error:  # what is read only when it is needed does not know its file
        if os.fspath(model) in str(error):
            raise
        raise ModelError(f"{os.fspath(model)}: {error}") from error
