"""Commands of Hailo's tools in shell text, with their lines. Text is read, nothing is run.

Variables that the text itself sets are filled in; what else the shell would do (functions, conditions, loops) is passed
over, so that every branch is looked at. Commands that a script only prints, or that stand in prose, are found too and
marked so, as are those that it sends to another machine by ssh. Comments are no commands.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

TOOLS = ("hailo", "hailortcli", "hailomz")

_ASSIGNMENT = re.compile(r"(?<!\w)([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|[^\s;|&]*)")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)(?::?[-=+?][^{}]*)?\}|([A-Za-z_]\w*))")
_SUBSTITUTION = re.compile(r"\$\(([^()]*)\)")
_SPOKEN = re.compile(r"(?<![\w./-])(?:hailo|hailortcli|hailomz)\s+[a-z][\w-]*(?:\s+[^\"'`|;&]*)?")
_LEADING = frozenset({"if", "then", "else", "elif", "do", "while", "until", "!", "{"})
"""Words that a command may follow."""
_LONGEST = 1 << 16


@dataclass(frozen=True)
class ToolCall:
    """A call of one of Hailo's tools.

    Attributes:
        line: where the command starts, from 1.
        tool: `hailo`, `hailortcli` or `hailomz`. words: what follows it.
        spoken: whether it is only printed, or stands in prose.
        remote: the machine it is sent to by ssh, "" for none.
    """

    line: int
    tool: str
    words: tuple[str, ...]
    spoken: bool = False
    remote: str = ""

    @property
    def command(self) -> str:
        """The subcommand, "" for none."""
        return next((word for word in self.words if not word.startswith("-")), "")

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the subcommand."""
        return self.words[self.words.index(self.command) + 1 :] if self.command else self.words

    def value(self, flag: str) -> str:
        """What is given with a flag, "" where it is not given."""
        return next(iter(self.values(flag)), "")

    def values(self, flag: str) -> tuple[str, ...]:
        """What is given with a flag that takes several."""
        for index, word in enumerate(self.words):
            if word.startswith(f"{flag}="):
                return (word.partition("=")[2],)
            if word == flag:
                rest = self.words[index + 1 :]
                stop = next((number for number, item in enumerate(rest) if item.startswith("-")), len(rest))
                return rest[:stop]
        return ()

    def has(self, flag: str) -> bool:
        """Whether a flag is given."""
        return any(word == flag or word.startswith(f"{flag}=") for word in self.words)

    @property
    def flags(self) -> Iterator[str]:
        """The flags, without what they are set to."""
        return (word.partition("=")[0] for word in self.words if re.match(r"--?[A-Za-z]", word))

    def __str__(self) -> str:
        return f"{self.tool} {self.command}" if self.command else self.tool


def find_calls(text: str, first_line: int = 1) -> list[ToolCall]:
    """The calls of Hailo's tools in shell text.

    Args:
        text: a script, or a part of one.
        first_line: the line its first line is counted as.
    """
    found: list[ToolCall] = []
    variables: dict[str, str] = {}
    for line, command in _logical_lines(text, first_line):
        for match in _ASSIGNMENT.finditer(command):
            value = match[2].strip("\"'")
            variables[match[1]] = _filled(value, variables)
        found += _calls_of(line, _filled(command, variables))
    return found


def _logical_lines(text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """Lines with those that continue them, and the number of the first."""
    pending, start = "", first_line
    for number, line in enumerate(text.split("\n"), first_line):
        if not pending:
            start = number
        line = line.rstrip("\r")
        if line.rstrip().endswith("\\") and len(pending) < _LONGEST:
            pending += f"{line.rstrip().rstrip(chr(92))} "
            continue
        yield start, pending + line
        pending = ""
    if pending:
        yield start, pending


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0])[:_LONGEST], text)[:_LONGEST]


def _calls_of(line: int, command: str) -> Iterator[ToolCall]:
    if not any(tool in command for tool in TOOLS):
        return
    for inner in _SUBSTITUTION.findall(command):
        yield from _calls_of(line, inner)
    command = _SUBSTITUTION.sub("$_", command)
    words = _words(command)
    if words is None:
        yield from _spoken(line, command)
        return
    for simple in _simple_commands(words):
        yield from _simple_calls(line, simple)


def _words(command: str) -> list[str] | None:
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.wordchars += "$@%+,:=~{}[]^"
    lexer.commenters = "#"
    try:
        return list(lexer)
    except ValueError:  # a quote that is closed on another line
        return None


def _simple_commands(words: Sequence[str]) -> Iterator[list[str]]:
    current: list[str] = []
    for word in words:
        if set(word) <= set("();|&}"):
            if current:
                yield current
            current = []
        elif current or word not in _LEADING:
            current.append(word)
    if current:
        yield current


def _simple_calls(line: int, words: Sequence[str]) -> Iterator[ToolCall]:
    head = words[0].rpartition("/")[2]
    if head in ("echo", "printf", "cat", "log", "info"):
        yield from (call for word in words[1:] for call in _spoken(line, word))
        return
    if head == "ssh":
        yield from _remote_calls(line, words[1:])
        return
    call = _call(line, words)
    if call is not None:
        yield call
        return
    for word in words:  # as in `bash -c "hailo parser ..."`
        if " " in word and any(tool in word for tool in TOOLS):
            yield from _calls_of(line, word)


def _call(line: int, words: Sequence[str], *, spoken: bool = False, remote: str = "") -> ToolCall | None:
    for index, word in enumerate(words):
        name = word.rpartition("/")[2]
        if name in TOOLS and index + 1 < len(words):
            rest = list(words[index + 1 :])
            stop = next((number for number, item in enumerate(rest) if item[:1] in ("<", ">")), len(rest))
            stop -= stop < len(rest) and rest[stop - 1] in ("1", "2")  # the stream that is sent elsewhere
            return ToolCall(line, name, tuple(rest[:stop]), spoken or not _may_precede(words[:index]), remote)
    return None


_RUNNERS = frozenset({
    "sudo", "time", "nohup", "exec", "env", "command", "nice", "xargs", "docker", "podman", "singularity", "apptainer",
    "conda", "mamba", "poetry", "uv", "pipenv", "srun", "timeout", "stdbuf", "bash", "sh", "not",
})  # fmt: skip


def _may_precede(words: Sequence[str]) -> bool:
    """Whether a command may follow these words: settings of variables, or a program that runs it."""
    rest = [word for word in words if not re.fullmatch(r"[A-Za-z_]\w*=.*", word) and word not in ("$", ">", "%")]
    return not rest or rest[0].rpartition("/")[2] in _RUNNERS


_SSH_WITH_VALUE = frozenset(f"-{letter}" for letter in "BbcDEeFIiJLlmOopQRSWw")


def _remote_calls(line: int, words: Sequence[str]) -> Iterator[ToolCall]:
    place = 0
    while place < len(words) and words[place].startswith("-"):
        place += 2 if words[place] in _SSH_WITH_VALUE else 1
    host = words[place] if place < len(words) else ""
    for call in _calls_of(line, " ".join(words[place + 1 :])):
        yield ToolCall(call.line, call.tool, call.words, call.spoken, host)


def _spoken(line: int, text: str) -> Iterator[ToolCall]:
    for match in _SPOKEN.finditer(text):
        call = _call(line, match[0].split(), spoken=True)
        if call is not None and re.fullmatch(r"[a-z][a-z0-9-]*", call.command):
            yield call
