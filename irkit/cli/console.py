"""Where text goes and how wide it may be."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irkit.pipeline import Progress
    from irkit.style import Style

_NARROWEST, _WIDEST = 60, 110


def message(text: str) -> None:
    """A line for the user, on stderr."""
    _write(sys.stderr, text)


def result(text: str) -> None:
    """What was asked for, on stdout."""
    _write(sys.stdout, text)


def result_json(plain: Any) -> None:
    """What was asked for, as JSON on stdout."""
    result(json.dumps(plain, indent=2, ensure_ascii=False))


def _write(stream: IO[str] | None, text: str) -> None:
    if stream is None:  # the caller closed it
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """What a user's pass prints goes to stderr, so that it does not get into the result."""
    with redirect_stdout(sys.stderr):
        yield


def style() -> Style:
    """The style that stdout takes: its width; colour on a terminal, unless NO_COLOR is set."""
    from irkit.style import Style

    width = shutil.get_terminal_size((100, 24)).columns
    colour = (
        sys.stdout is not None
        and sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM") != "dumb"
    )
    return Style(max(_NARROWEST, min(_WIDEST, width)), colour)


@contextmanager
def progress_bar() -> Iterator[Progress | None]:
    """Shows on a terminal what is being done; nothing elsewhere."""
    if sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("loading", total=None)
        yield lambda text, index, count: bar.update(task, description=text, completed=index, total=count)
