"""HAI530 to HAI539: model scripts, and files that are given in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from irkit.diagnostics import Location, Severity
from irkit.hailo.alls_check import Problem, problems
from irkit.hailo.pyscript import PLACEHOLDER
from irkit.hailo.scripts import MODEL_SCRIPT, PYTHON, HeldScript, ScriptFile
from irkit.linter import Found, Subject, rule

_NAMED_AS_SCRIPT = re.compile(r"model_?script|alls", re.IGNORECASE)
_SYMMETRIC = re.compile(
    r"symmetric[\s_-]*(?:int|uint)?8|(?:int8|8[\s_-]?bit)[\s_-]*symmetric|quantization[\w\s:*-]{0,24}symmetric",
    re.IGNORECASE,
)


def at(file: ScriptFile, line: int) -> Location:
    """A line of a script."""
    return Location(file=file.path, line=line)


def _held(subject: Subject) -> Iterator[tuple[ScriptFile, HeldScript]]:
    for file in subject.scripts:
        for held in file.model_scripts:
            yield file, held


def _problems(subject: Subject) -> list[tuple[Location, Problem]]:
    """What is wrong in the model scripts, with places. Of texts that are filled in later, values are not looked at."""
    found = []
    for file, held in _held(subject):
        wrong = problems(held.script) if held.script is not None else []
        if held.filled:
            wrong = [problem for problem in wrong if problem.kind != "value" and PLACEHOLDER not in problem.message]
        found += [(at(file, held.line_of(problem.line)), problem) for problem in wrong]
    return found


def _told(subject: Subject, kind: str) -> Iterator[Found]:
    for place, problem in subject.once(_problems):
        if problem.kind == kind:
            advice = f"did you mean {problem.nearest}?" if problem.nearest else ""
            yield Found(problem.message, severity=Severity.ERROR if advice else None, advice=advice, origin=place)


@rule("HAI530", "python-model-script", Severity.ERROR)
def python_model_script(subject: Subject) -> Iterator[Found]:
    """A Python file, or another that is no model script, in the place of one.

    Why: what `hailo optimize --model-script` and `load_model_script` take is a text of commands, one a line; Python in
    its place is refused.

    Example:
        hailo optimize net.har --model-script net.alls --calib-set-path calib.npy
    Fix: write the commands into a file `.alls`, such as model_optimization_config(calibration, calibset_size=1024).
    """
    for file in subject.scripts:
        for call in file.calls:
            given = call.value("--model-script")
            if given.lower().endswith((".py", ".ipynb", ".json", ".yaml", ".yml")):
                yield Found(
                    _no_script(f"`{call} --model-script`", given), origin=at(file, call.line), advice=_MODEL_SCRIPT
                )
        python = file.python
        if python is None:
            continue
        for found in python.calls_of("load_model_script"):
            for text in found.texts:
                if text.text.lower().endswith((".py", ".json", ".yaml", ".yml")):
                    message = _no_script("`load_model_script`", text.text)
                    yield Found(message, origin=at(file, found.line), advice=_MODEL_SCRIPT)
        if _is_meant_as_script(file):
            yield Found(_no_script("a model script", file.path), origin=at(file, 1), advice=_MODEL_SCRIPT)


_MODEL_SCRIPT = (
    "write the commands into a file .alls, one a line: model_optimization_config(calibration, calibset_size=N)"
)


def _no_script(what: str, given: str) -> str:
    return f"{what} must be a text of model-script commands (.alls); found `{given}`"


def _is_meant_as_script(file: ScriptFile) -> bool:
    """Whether a Python file is named as a model script is, and does not drive the compiler by itself."""
    python = file.python
    name = file.path.replace("\\", "/").rpartition("/")[2]
    if python is None or not _NAMED_AS_SCRIPT.search(name):
        return False
    return not python.uses_compiler and not file.calls and not file.model_scripts


@rule("HAI531", "unknown-script-command", Severity.WARNING)
def unknown_script_command(subject: Subject) -> Iterator[Found]:
    """A command in a model script that is not publicly known.

    Why: the compiler refuses a script with a command it does not know. Hailo's list is not public, so that a name which
    is close to a known one is an error, another a warning.
    Fix: write the name as the Model Zoo's scripts have it.
    """
    yield from _told(subject, "command")


@rule("HAI532", "unknown-script-argument", Severity.WARNING)
def unknown_script_argument(subject: Subject) -> Iterator[Found]:
    """An argument in a model script that is not publicly known, missing, or one too many.

    Why: the compiler refuses a command with an argument it does not know.
    Fix: write the argument as the Model Zoo's scripts have it.
    """
    yield from _told(subject, "argument")


@rule("HAI533", "wrong-script-value", Severity.WARNING)
def wrong_script_value(subject: Subject) -> Iterator[Found]:
    """A value in a model script of another kind than the argument is known to take.

    Why: the compiler refuses it, or takes it for something else.

    Example:
        quantization_param(conv1, precision_mode=int8) wants precision_mode=a8_w8.
    Fix: write a value of the kind that is asked for.
    """
    yield from _told(subject, "value")


@rule("HAI534", "broken-script", Severity.ERROR)
def broken_script(subject: Subject) -> Iterator[Found]:
    """A script that cannot be read: the text is no model script, or no Python.

    Why: nothing in it can be looked at, and the tool that gets it stops there.
    Fix: mend the line; brackets and quotes must be closed, commands stand one a line.
    """
    for file, held in _held(subject):
        error = held.error
        if error is not None and not held.filled and (file.kind == MODEL_SCRIPT or _is_whole(held)):
            yield Found(f"not a model script: {error.reason}", origin=at(file, held.line_of(error.line)))
    for file in subject.scripts:
        if file.kind == PYTHON and file.syntax_error is not None:
            yield Found(f"not Python: {file.syntax_error}", origin=at(file, file.syntax_error.line))


def _is_whole(held: HeldScript) -> bool:
    """Whether a text that could not be read surely is a model script, no prose that shows one."""
    return held.error is not None and "not closed" in held.error.reason


@rule("HAI535", "symmetric-int8", Severity.WARNING, facts=("unsigned_activations",))
def symmetric_int8(subject: Subject) -> Iterator[Found]:
    """Symmetric INT8 quantization is asked for.

    Why: it cannot be had and need not: the chip's activations are unsigned with a zero point, its weights symmetric.
    Accuracy measured with symmetric activations elsewhere says nothing of the chip.
    Fix: leave the wish out; choose bits for layers by quantization_param(LAYERS, precision_mode=a8_w8 or a16_w16).
    """
    fact = subject.target.facts.unsigned_activations
    for file in subject.scripts if fact is not None and fact.value else ():
        assert fact is not None
        calls = [call for call in file.calls if any("symmetric" in word.lower() for word in call.words)]
        lines = {call.line for call in calls}
        if not lines:
            lines = {file.text.count("\n", 0, match.start()) + 1 for match in _SYMMETRIC.finditer(file.text)}
        if lines:
            yield Found(
                "symmetric or not is no choice: activations are unsigned with a zero point, weights symmetric",
                origin=at(file, min(lines)),
                advice=fact.advice,
            )
