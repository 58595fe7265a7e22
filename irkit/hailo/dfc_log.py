"""Reads what Hailo's Dataflow Compiler printed: logs of its commands, and tracebacks pasted from Python.

Colours, timestamps, quotation marks, wrapped lines and progress bars are taken in stride, and a log may begin and end
anywhere. A log can be read while it is written:

    reader = DfcLogReader()
    for line in process.stdout:
        for event in reader.feed(line):
            ...
        show(reader.log.stage)
    reader.close()
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from irkit.errors import InputError
from irkit.hailo.dfc_events import DfcEvent, DfcLog, Stage
from irkit.hailo.dfc_lines import Record, Records
from irkit.hailo.dfc_messages import events_of

_FRAME = re.compile(r"File \"(?P<file>[^\"]+)\", line \d+, in (?P<name>\S+)|(?P<rich>\S+\.py):\d+ in (?P<call>\w+)")


class DfcLogError(InputError):
    """A log that cannot be read."""


class DfcLogReader:
    """Reads a log as it comes. `log` is what has been read so far."""

    def __init__(self, source: str = "") -> None:
        self.log = DfcLog(source)
        self._records = Records()
        self._frames: list[str] = []
        self._rest = ""

    def feed(self, text: str) -> list[DfcEvent]:
        """Take some text, a line or a piece of one; returns the events that are complete with it.

        A message is complete when the next one begins, since it may go on in the next line.
        """
        *lines, self._rest = (self._rest + text).split("\n")
        return [event for line in lines for event in self._line(line)]

    def close(self) -> list[DfcEvent]:
        """The log has ended; returns the events that were left."""
        events = self._line(self._rest) if self._rest else []
        self._rest = ""
        return [*events, *self._read(self._records.end())]

    def _line(self, line: str) -> list[DfcEvent]:
        self.log.lines += 1
        return self._read(self._records.add(self.log.lines, line))

    def _read(self, records: Iterator[Record]) -> list[DfcEvent]:
        found: list[DfcEvent] = []
        for record in records:
            if self._is_frame(record.text):
                continue
            self._note(record)
            found += events_of(record, self._frames)
            self._frames.clear()
        self.log.events += found
        return found

    def _is_frame(self, text: str) -> bool:
        """Whether it is a frame of a traceback, which then is kept for the exception that follows."""
        frame = _FRAME.match(text)
        if frame is not None:
            self._frames.append(f"{frame['file'] or frame['rich']} {frame['name'] or frame['call']}")
        return frame is not None

    def _note(self, record: Record) -> None:
        """Take down what is no event: stages, versions, names."""
        for pattern, take in _FACTS:
            match = pattern.search(record.text)
            if match is not None:
                take(self.log, match, record.line)


def read_dfc_log(text_or_path: str | os.PathLike[str]) -> DfcLog:
    """What a log of the Dataflow Compiler, or the text of one of its exceptions, tells.

    Args:
        text_or_path: the path of a log, or its text. A string is taken for text where it has several lines or reads
            like a message, unless a file of that name exists.

    Raises `InputError` where there is no such file, or it is no text.
    """
    if isinstance(text_or_path, str) and _is_text(text_or_path):
        reader = DfcLogReader()
        reader.feed(text_or_path)
    else:
        path = Path(text_or_path)
        reader = DfcLogReader(str(path))
        for line in _decoded(path):
            reader.feed(line)
    reader.close()
    return reader.log


def _is_text(text: str) -> bool:
    if "\n" in text:
        return True
    try:
        exists = os.path.exists(text)
    except ValueError:
        return True
    return not exists and (": " in text or text.startswith("["))


def _decoded(path: Path) -> Iterator[str]:
    """The lines of a file, whatever encoding a shell redirected it in."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        encoding = _encoding(head)
        if not head.strip(b"\0\r\n\t \xef\xbb\xbf\xff\xfe"):
            raise DfcLogError(f"{path}: the log is empty; redirect both streams: `hailo parser ... > {path.name} 2>&1`")
        if encoding == "utf-8" and b"\0" in head:
            raise DfcLogError(f"{path}: this is no text; --dfc-log takes what the compiler prints")
        with path.open(encoding=encoding, errors="replace", newline="\n") as lines:
            yield from lines
    except OSError as error:
        raise DfcLogError(f"{path}: cannot read the log: {error.strerror or error}") from None


def _encoding(head: bytes) -> str:
    """UTF-16 where it begins like it: Windows PowerShell writes that."""
    return "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"


# --- what is taken down -----------------------------------------------------------------------------------------------

_Take = Callable[[DfcLog, "re.Match[str]", int], None]


def _stage(name: str) -> _Take:
    return lambda log, _, line: log.stages.append(Stage(name, "", line))


def _ended(name: str) -> _Take:
    return lambda log, _match, _line: log.done.append(name)


def _word(attribute: str) -> _Take:
    return lambda log, match, _: setattr(log, attribute, match[1])


def _step(log: DfcLog, match: re.Match[str], line: int) -> None:
    """A step in the stage the log is in."""
    if log.stages:
        log.stages.append(Stage(log.stages[-1].name, match[1], line))


def _translation(log: DfcLog, match: re.Match[str], line: int) -> None:
    log.network = match[1]
    log.started.append((line, log.network))
    log.stages.append(Stage("parse", "", line))


def _translated(log: DfcLog, match: re.Match[str], line: int) -> None:
    log.translated.append((line, match[1]))
    log.done.append("parse")


def _inputs(log: DfcLog, match: re.Match[str], _: int) -> None:
    log.layers.update((layer, node) for node, layer in re.findall(r"'([^']+)': *'([^']+)'", match[1]))


_STEPS = r"Trying to compile the network in a single context|Using \w+-context flow|Iteration #\d+ - \d+ contexts"
_FACTS: tuple[tuple[re.Pattern[str], _Take], ...] = tuple(
    (re.compile(pattern), take)
    for pattern, take in (
        (r"Hailo DFC Version: *v?(\d+(?:\.\d+)*)", _word("version")),
        (r"hailo_dataflow_compiler-(\d+(?:\.\d+)+)", _word("version")),
        (r"--hw-arch[ =](\w+)", _word("chip")),
        (r"Initializing the (hailo\w+) runner", _word("chip")),
        (r"Translation started on ONNX model (\S+)", _translation),
        (r"Translation completed on ONNX model (\S+)", _translated),
        (r"Start nodes mapped from original model:(.*)", _inputs),
        (r"layer (\w+) \(translated from ([^)\s]+)\)", lambda log, match, _: log.layers.setdefault(match[1], match[2])),
        (r"Starting Model Optimization", _stage("optimize")),
        (r"^\[info\] Starting (?!Model Optimization|Hailo allocation)(.+)$", _step),
        (r"Model Optimization is done", _ended("optimize")),
        (r"^\[info\] (.+?) skipped$", lambda log, match, _: log.skipped.append(match[1])),
        (r"Starting Hailo allocation and compilation flow", _stage("compile")),
        (rf"({_STEPS}|Validating layers feasibility|Running resources allocation)", _step),
        (r"Successful Mapping|Successful Partition and Allocation", _ended("allocation")),
        (r"Successful Compilation", _ended("compile")),
    )
)
