"""Scripts that go with a model: model scripts (.alls), shell scripts, Python files, and what they hold in each other.

A shell script is written by a Python file as often as by hand, and a model script stands in Python as a text: so the
calls of Hailo's tools and the model scripts of a file are found wherever they stand. Nothing is run.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from irkit.errors import InputError
from irkit.hailo.alls import ModelScriptError, Script, parse
from irkit.hailo.alls_table import COMMANDS
from irkit.hailo.pyscript import PythonFile, PythonSyntaxError, Text, looks_like_python, read_python
from irkit.hailo.shell import ToolCall, find_calls

MODEL_SCRIPT, SHELL, PYTHON = "model script", "shell script", "Python file"

_SUFFIXES = {
    ".alls": MODEL_SCRIPT, ".sh": SHELL, ".bash": SHELL, ".zsh": SHELL, ".ksh": SHELL, ".md": SHELL, ".mk": SHELL,
    ".yml": SHELL, ".yaml": SHELL, ".py": PYTHON,
}  # fmt: skip
_LARGEST = 32 << 20
_TELLING = sorted(
    name for name, spec in COMMANDS.items() if not spec.placement and ("_" in name or name == "normalization")
)
_COMMAND = re.compile(rf"^[ \t]*(?:[\w/{{}}, ]+=[ \t]*)?(?:{'|'.join(_TELLING)})[ \t]*\((?=[\w{{\[\"'])", re.MULTILINE)
"""What tells a model script: `join(` and the like may stand in any text."""


class ScriptError(InputError):
    """A script that cannot be read."""


@dataclass(frozen=True)
class HeldScript:
    """A model script in a file: `line` (from 1) of the file where it starts; `script` is None where it is wrong.

    `filled`: values are filled in when the file runs, so that they are not known.
    """

    line: int
    script: Script | None
    error: ModelScriptError | None = None
    filled: bool = False

    def line_of(self, line: int) -> int:
        """The line of the file for one of the model script."""
        return self.line + max(line, 1) - 1


@dataclass(frozen=True)
class ScriptFile:
    """A script: where it is, what it is (one of this module's constants), and its text."""

    path: str
    kind: str
    text: str

    @functools.cached_property
    def python(self) -> PythonFile | None:
        """The Python file, None for another kind or where it is wrong (`syntax_error`)."""
        return self._python[0]

    @property
    def syntax_error(self) -> PythonSyntaxError | None:
        """What is wrong with the Python file."""
        return self._python[1]

    @functools.cached_property
    def _python(self) -> tuple[PythonFile | None, PythonSyntaxError | None]:
        if self.kind != PYTHON:
            return None, None
        try:
            return read_python(self.text), None
        except PythonSyntaxError as problem:
            return None, problem

    @functools.cached_property
    def calls(self) -> tuple[ToolCall, ...]:
        """Calls of Hailo's tools, in the order of lines."""
        if self.kind == SHELL:
            return tuple(find_calls(self.text))
        python = self.python
        if python is None:
            return ()
        found = [call for line, words in python.commands for call in find_calls(_quoted(words), line)]
        for text in python.texts:
            found += find_calls(text.text, text.line)
        return tuple(sorted(found, key=lambda call: call.line))

    @functools.cached_property
    def model_scripts(self) -> tuple[HeldScript, ...]:
        """The model scripts it is, or holds as texts."""
        if self.kind == MODEL_SCRIPT:
            return (_held(Text(1, self.text), self.path),)
        if self.kind == SHELL:
            return tuple(_held(text, self.path) for text in _documents(self.text))
        texts = self.python.texts if self.python is not None else []
        return tuple(_held(text, self.path) for text in texts if _COMMAND.search(text.text))


def read_script(path: str | os.PathLike[str]) -> ScriptFile:
    """Read a script. Its kind goes by the name of the file, or by what is in it where the name does not tell.

    Raises `ScriptError` where it cannot be read or is no text.
    """
    place = Path(path)
    try:
        if place.stat().st_size > _LARGEST:
            raise ScriptError(f"{place}: is no script: it is larger than {_LARGEST >> 20} MB")
        text = place.read_text(encoding="utf-8-sig")
    except OSError as problem:
        raise ScriptError(f"{place}: cannot be read: {problem.strerror or problem}") from problem
    except UnicodeDecodeError as problem:
        raise ScriptError(f"{place}: is no script: it is not UTF-8 text") from problem
    if "\0" in text:
        raise ScriptError(f"{place}: is no script: it holds zero bytes")
    return ScriptFile(str(path), _SUFFIXES.get(place.suffix.lower()) or _kind_of(text), text)


def _kind_of(text: str) -> str:
    first = text.partition("\n")[0]
    if first.startswith("#!"):
        return PYTHON if "python" in first else SHELL
    if looks_like_python(text):
        return PYTHON
    return MODEL_SCRIPT if _COMMAND.search(text) and not find_calls(text) else SHELL


def _held(text: Text, source: str) -> HeldScript:
    try:
        return HeldScript(text.line, parse(text.text, source), filled=text.filled)
    except ModelScriptError as problem:
        return HeldScript(text.line, None, problem, text.filled)


_HERE_DOCUMENT = re.compile(r"<<-?\s*[\"']?(\w+)[\"']?[^\n]*\n(.*?)^\s*\1\s*$", re.MULTILINE | re.DOTALL)


def _documents(text: str) -> Iterator[Text]:
    """Here-documents of a shell script that hold a model script."""
    for match in _HERE_DOCUMENT.finditer(text):
        if _COMMAND.search(match[2]):
            line = text.count("\n", 0, match.start(2)) + 1
            yield Text(line, match[2], "$" in match[2])


def _quoted(words: tuple[str, ...]) -> str:
    import shlex

    return shlex.join(words)
