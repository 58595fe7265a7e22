"""Lines of a compiler's log as people paste them, without decoration, put together to records.

A record is one message of the logger, one error of a list, or one traceback frame, with what a terminal wrapped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]"
    r"|\[\d{1,2}(?:;\d{1,3})*m"  # a colour whose escape character got lost on the way
)
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufeff\u200b]")
_SPINNER = re.compile(r"\[\.*<==>\.*\] *(?:Duration|Elapsed): *[\d:]*")
_LONG_WORD = re.compile(r"(\S{4000})\S+")
_MOST = 20_000
"""Characters of a line that are read; only a dump of data has more, or a word of more than 4000."""
_BOX = "│┃║❱╭╮╰╯─━┌┐└┘"
"""Borders that the rich package draws around tracebacks."""

_PREFIXES = (
    re.compile(r"(?:[>#|*] ?)+(?=\S)"),  # quoted in Markdown, commented out in Python, a list
    re.compile(r"\d{1,6}(?:\t|:|  )\s*(?=\S)"),  # `cat -n`, `grep -n`
    re.compile(r"\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]? *(?:[-|] *)?"),
    re.compile(r"\[?\d\d:\d\d:\d\d(?:[.,]\d+)?\]? *(?:[-|] *)?"),
    re.compile(r"(?:INFO|WARNING|ERROR|DEBUG|CRITICAL)\b *(?:[-|:] *)?(?=\[(?:info|warning|error|critical)\])"),
)

EXCEPTION = (
    r"(?<![\w.])(?:[A-Za-z_][\w.]*\.)?(?P<name>[A-Z]\w*(?:Error|Exception|NonFixable|InputsShape|Interrupt|Warning))"
)
"""The class of an exception with the modules it lives in."""

_STARTS = re.compile(
    r"\[(?:info|warning|error|critical|debug|fatal)\]"
    r"|<Hailo [^>]*>"
    r"|WARNING: |[IWEF]\d{4} \d\d:\d\d|:? ?[IWEF] (?:tensorflow|external)/"  # of the libraries below it
    r"|Traceback \(most recent call last\)|During handling of the above|The above exception was"
    r"|File \"[^\"]+\", line \d+"
    r"|\S+\.py:\d+ in \w+"
    r"|[\w.]*\b[A-Z]\w*(?:Error|Exception) in op\b"
    rf"|{EXCEPTION.replace('?P<name>', '?:')}: "
    rf"|{EXCEPTION.replace('?P<name>', '?:')}$"
    r"|Please try to parse the model again|Parsing failed|Would you like to parse|Try to parse"
    r"|Iteration #\d+|Found valid partition|Calibration:|Epoch \d+"
    r"|No successful assignments?\b|Agent infeasible|Automri |Mapping Failed|Failed to |Compil\w+ (?:could|failed)"
    r"|\S+ failed on kernel validation|DW resources|Context switch is|Detailed error is|microcode |Splitter "
    r"|Shift delta in|Quantization failed|Unsupported NaN|symbol lookup error|\S+: symbol lookup error"
)
"""What begins a record; any other line continues the one before."""

MOST_LINES = 60
"""A record of more lines is no message any more."""


@dataclass
class Record:
    """One message: the line it begins in, from 1, and its lines."""

    line: int
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """In one line, wrapped lines joined by a space."""
        return _in_one_line(" ".join(self.lines))

    @property
    def tight(self) -> str:
        """The same, joined by nothing: what a terminal cuts in the middle of a word."""
        return _in_one_line("".join(self.lines))


def _in_one_line(text: str) -> str:
    return _LONG_WORD.sub(r"\1", " ".join(text.split()))


def clean(line: str) -> str:
    """A line without colours, borders, prompts, timestamps and what a progress bar overwrote."""
    text = _UNSEEN.sub("", _ESCAPES.sub("", line.rstrip("\r\n").rpartition("\r")[2]))
    text = _SPINNER.sub("", text[:_MOST]).strip().strip(_BOX).strip()
    for _ in range(2):
        for prefix in _PREFIXES:
            text = prefix.sub("", text, count=1) if prefix.match(text) else text
    return text


class Records:
    """Puts lines together to records, as they come."""

    def __init__(self) -> None:
        self._open: Record | None = None

    def add(self, number: int, line: str) -> Iterator[Record]:
        """Take a line; yields the record that it ends."""
        text = clean(line)
        ends = not text or _STARTS.match(text) is not None
        if self._open is not None and (ends or len(self._open.lines) >= MOST_LINES):
            yield self._open
            self._open = None
        if text and self._open is None:
            self._open = Record(number, [text])
        elif text and self._open is not None:
            self._open.lines.append(text)

    def end(self) -> Iterator[Record]:
        """The record that is still open."""
        if self._open is not None:
            yield self._open
            self._open = None
