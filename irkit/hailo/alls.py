"""Model scripts (.alls) of the Dataflow Compiler as objects: commands, read with their lines and printed back.

    normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0])
    model_optimization_config(calibration, batch_size=8, calibset_size=1024)
    quantization_param({conv*}, precision_mode=a16_w16)

A script is a list of commands, one a line or several lines within brackets; `#` starts a comment. Which commands and
arguments there are is in `irkit.hailo.alls_table`, what is wrong with a script in `irkit.hailo.alls_check`, and
`irkit.hailo.alls_commands` makes commands that are right. The grammar is read off the scripts of the public Model Zoo
(hailo-ai/hailo_model_zoo on GitHub, hailo_model_zoo/cfg/alls).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, TypeAlias

from irkit.errors import InputError

Value: TypeAlias = bool | int | float | str | tuple["Value", ...]
"""An argument. Text is a word (`enabled`, `net/conv1`), a glob of layers (`{conv*}`), or was quoted (a path)."""


class ModelScriptError(InputError):
    """A text that is no model script. `line` counts from 1."""

    def __init__(self, message: str, line: int, source: str = "model script") -> None:
        super().__init__(f"{source}:{line}: {message}")
        self.reason = message
        self.line = line


@dataclass(frozen=True)
class Command:
    """One command of a model script.

    Attributes:
        name: such as `quantization_param`.
        args, kwargs: its arguments, in the order they stand there.
        outputs: the names that stand before `=`: of the layers it makes.
        on: the object it is called on, as `context_0` of `context_0.place(...)`; "" for none.
        line: where it starts (from 1), 0 where it was not read from a text; not compared.
    """

    name: str
    args: tuple[Value, ...] = ()
    kwargs: Mapping[str, Value] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    on: str = ""
    line: int = field(default=0, compare=False)

    def __str__(self) -> str:
        given = [print_value(value) for value in self.args]
        given += [f"{key}={print_value(value)}" for key, value in self.kwargs.items()]
        head = f"{', '.join(self.outputs)} = " if self.outputs else ""
        return f"{head}{f'{self.on}.' if self.on else ''}{self.name}({', '.join(given)})"


@dataclass(frozen=True)
class Script:
    """A model script. `str` prints it; comments are not kept. `source` names it in messages and is not compared."""

    commands: tuple[Command, ...] = ()
    source: str = field(default="model script", compare=False)

    def __str__(self) -> str:
        return "".join(f"{command}\n" for command in self.commands)

    def of(self, name: str, first: str | None = None) -> Iterator[Command]:
        """The commands of that name; where `first` is given, those whose first argument it is."""
        for command in self.commands:
            if command.name == name and (first is None or command.args[:1] == (first,)):
                yield command


# --- printing --------------------------------------------------------------------------------------------------------

_WORD = re.compile(r"[^\s()\[\]{},=\"'#;]+")
_GLOB = re.compile(r"\{[^{}\n]*\}")


def print_value(value: Value) -> str:
    """An argument as a script has it. Raises `ValueError` where it cannot be written: NaN, or both kinds of quotes."""
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"a model script cannot say {value}")
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(print_value(item) for item in value)}]"
    if _is_plain(value):
        return value
    quote = '"' if '"' not in value else "'"
    if quote in value or "\n" in value:
        raise ValueError(f"a model script cannot say {value!r}")
    return f"{quote}{value}{quote}"


def _is_plain(text: str) -> bool:
    """Whether text reads back as itself without quotes. Paths of files are quoted, as everyone writes them."""
    if _GLOB.fullmatch(text):
        return True
    is_path = text.startswith((".", "/")) or "." in text.rpartition("/")[2]
    return bool(_WORD.fullmatch(text)) and not is_path and isinstance(_word_value(text), str)


# --- reading ---------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\f\v]+|\#[^\n]*|\\\r?\n)|(?P<newline>\n)|(?P<string>\"[^\"\n]*\"|'[^'\n]*')"
    r"|(?P<glob>\{[^{}\n]*\})|(?P<word>[^\s()\[\]{},=\"'#;]+)|(?P<mark>[()\[\],=])|(?P<wrong>.)",
    re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_]\w*")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_END = "end of the script"


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


def parse(text: str, source: str = "model script") -> Script:
    """Read a model script.

    Args:
        text: the whole script.
        source: what messages call it, such as the path of its file.

    Raises `ModelScriptError`, with the line, where the text is none.
    """
    reader = _Reader(text, source)
    commands = []
    while reader.skip_newlines():
        commands.append(reader.command())
    return Script(tuple(commands), source)


class _Reader:
    """Tokens of a script and where we are in them. Within brackets a new line is space."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        self.depth = 0
        self.tokens = list(_tokens(text))
        self.place = 0

    def fail(self, message: str, line: int) -> NoReturn:
        raise ModelScriptError(message, line, self.source)

    def peek(self) -> _Token:
        while self.depth and self.tokens[self.place].kind == "newline":
            self.place += 1
        return self.tokens[self.place]

    def take(self, what: str, kind: str = "mark", text: str = "") -> _Token:
        token = self.peek()
        if token.kind != kind or (text and token.text != text):
            self.fail(f"expected {what}, found {_shown(token)}", token.line)
        self.place += 1
        return token

    def accept(self, text: str) -> bool:
        token = self.peek()
        if token.kind != "mark" or token.text != text:
            return False
        self.place += 1
        return True

    def skip_newlines(self) -> bool:
        """Whether there is something left."""
        while self.tokens[self.place].kind == "newline":
            self.place += 1
        return self.tokens[self.place].kind != "end"

    def command(self) -> Command:
        outputs: list[str] = []
        line = self.peek().line
        first = self.peek()
        if first.kind == "glob":
            self.place += 1  # `{} = ...`: the names of what it makes are left open
            outputs, called = [first.text], None
        else:
            outputs, called = self.names()
        if called is None:
            self.take("`=`", text="=")
            called = self.take("the name of a command", "word")
        on, _, name = called.text.rpartition(".")
        if not _NAME.fullmatch(name):
            self.fail(f"expected the name of a command, found `{called.text}`", called.line)
        args, kwargs = self.arguments()
        end = self.peek()
        if end.kind not in ("newline", "end"):
            self.fail(f"expected the end of the line behind `{name}(...)`, found {_shown(end)}", end.line)
        return Command(name, args, kwargs, tuple(outputs), on, line)

    def names(self) -> tuple[list[str], _Token | None]:
        """Names before `=`, or the name of the command where there is no `=`."""
        words = [self.take("the name of a command", "word")]
        while self.accept(","):
            words.append(self.take("a name", "word"))
        token = self.peek()
        if token.kind == "mark" and token.text == "=":
            return [word.text for word in words], None
        if len(words) > 1 or token.kind != "mark" or token.text != "(":
            self.fail(f"expected `=` or `(` behind `{words[-1].text}`, found {_shown(token)}", token.line)
        return [], words[0]

    def arguments(self) -> tuple[tuple[Value, ...], dict[str, Value]]:
        opening = self.take("`(`", text="(")
        args: list[Value] = []
        kwargs: dict[str, Value] = {}
        self.depth += 1
        while not self.accept(")"):
            self.argument(args, kwargs, opening)
            if not self.accept(","):
                self.close(")", opening)
                break
        self.depth -= 1
        return tuple(args), kwargs

    def argument(self, args: list[Value], kwargs: dict[str, Value], opening: _Token) -> None:
        token = self.peek()
        value = self.value(opening)
        if not self.accept("="):
            if kwargs:
                self.fail("arguments without a name come first", token.line)
            args.append(value)
            return
        if token.kind != "word" or not _NAME.fullmatch(token.text):
            self.fail(f"expected the name of an argument before `=`, found {_shown(token)}", token.line)
        if token.text in kwargs:
            self.fail(f"`{token.text}` is given twice", token.line)
        kwargs[token.text] = self.value(opening)

    def value(self, opening: _Token) -> Value:
        token = self.peek()
        self.place += token.kind != "end"
        if token.kind == "word":
            return _word_value(token.text)
        if token.kind == "glob":
            return token.text
        if token.kind == "string":
            return token.text[1:-1]
        if token.kind == "mark" and token.text == "[":
            return self.items(token)
        if token.kind == "end":
            self.fail("a bracket that is opened here is not closed", opening.line)
        return self.fail(f"expected an argument, found {_shown(token)}", token.line)

    def items(self, opening: _Token) -> Value:
        found: list[Value] = []
        while not self.accept("]"):
            found.append(self.value(opening))
            if not self.accept(","):
                self.close("]", opening)
                break
        return tuple(found)

    def close(self, bracket: str, opening: _Token) -> None:
        token = self.peek()
        if token.kind == "end":
            self.fail("a bracket that is opened here is not closed", opening.line)
        self.take(f"`,` or `{bracket}`", text=bracket)


def _tokens(text: str) -> Iterable[_Token]:
    line = 1
    for match in _TOKEN.finditer(text.removeprefix("\ufeff")):
        kind = match.lastgroup or "wrong"
        if kind != "space":
            yield _Token(kind, match.group(), line)
        line += match.group().count("\n")
    yield _Token("end", "", line)


def _word_value(text: str) -> Value:
    if text in ("True", "False"):
        return text == "True"
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    if text.lstrip("+-").isdigit():
        return int(text)
    return number if math.isfinite(number) else text


def _shown(token: _Token) -> str:
    names = {"end": _END, "newline": "the end of the line"}
    return names.get(token.kind, f"`{token.text}`")
