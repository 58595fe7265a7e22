"""A user's notion of what is wrong with a model: a command that is given the path of one, and how it ended."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from irkit.errors import OptionError
from irkit.onnx.writer import save

if TYPE_CHECKING:
    from irkit.model import Model

Check: TypeAlias = "Callable[[Path], str]"
"""Says how the model in a file fails, in words that are the same for the same fault; "" where it does not fail."""

FINE = ""
PLACE = "{}"
"""Stands for the path of the model in a command."""


def command_check(command: str, *, timeout: float = 60.0, text: str = "") -> Check:
    """A check that runs a command; it fails where the command does not exit with 0, or takes too long.

    Args:
        command: what to run, split as a shell would, but run by none. `{}` stands for the path of the model, which is
            put last where there is no `{}`.
        timeout: seconds after which the command is ended.
        text: a regular expression that what the command prints must hold as well.

    Raises `OptionError` for a command that cannot be run or split, and for a wrong expression.
    """
    words = _words(command)
    try:
        wanted = re.compile(text)
    except re.error as error:
        raise OptionError(f"`{text}` is no regular expression: {error}") from error

    def check(model: Path) -> str:
        code, printed = _run([word.replace(PLACE, str(model)) for word in words], timeout)
        if code == 0 or not wanted.search(printed):
            return FINE
        return f"no end within {timeout:g} s" if code is None else f"exit code {code}"

    return check


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command, posix=os.name == "posix")
    except ValueError as error:
        raise OptionError(f"the command `{command}` cannot be split into words: {error}") from error
    if not words:
        raise OptionError("the command to check a model with is empty")
    return words if any(PLACE in word for word in words) else [*words, PLACE]


def _run(words: list[str], timeout: float) -> tuple[int | None, str]:
    """Exit code (None: it took too long) and what was printed. Whatever it started ends with it."""
    with tempfile.TemporaryFile() as printed:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise OptionError(f"cannot run `{words[0]}`: {error.strerror or error}") from error
        try:
            code: int | None = process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                _end(process)
        printed.seek(0)
        return code, printed.read().decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


@contextmanager
def model_file(name: str = "model.onnx") -> Iterator[Callable[[Model], Path]]:
    """A function that writes a model to a file of its own, which is overwritten each time and gone in the end."""
    with tempfile.TemporaryDirectory(prefix="irkit-") as folder:

        def write(model: Model) -> Path:
            path = Path(folder) / name
            save(model, path)
            return path

        yield write
