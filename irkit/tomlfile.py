"""TOML read into frozen dataclasses, where every mistake is told with file, line and key.

A dataclass is the whole description of a table: its fields are the keys that may stand there, a field without a
default is a key that must. Unknown keys, wrong types and unknown words are errors, so a typing error in a table of
facts or settings never passes silently.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import importlib.util
import marshal
import os
import re
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from irkit.errors import InputError

T = TypeVar("T")

Keys: TypeAlias = tuple[str | int, ...]
"""Where a value stands in a file: `("op", "Conv", "needs", 0, "rank")`."""

_HEADER = re.compile(r"\s*(\[\[?)\s*(.+?)\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")
_KEY_PART = re.compile(r"\"([^\"]*)\"|'([^']*)'|([\w-]+)")
_STRING = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\])*\"|'[^']*'|#[^\n]*", re.DOTALL)
_TYPE_NAMES = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


class TomlFile:
    """The plain data of one TOML file, with the place of every key.

    Args:
        path: the file to read, as UTF-8.
        error: the class of the errors raised for it, here and by `decode`.
        is_kept: keep what was read where Python keeps its bytecode, and take it from there as long as the file is what
            it was: for large files that come with irkit, which are read by every run.

    Raises:
        InputError: of the given class, where the file cannot be read or is not TOML.
    """

    def __init__(self, path: Path, error: type[InputError] = InputError, *, is_kept: bool = False) -> None:
        self.path = path
        self.error = error
        self.data: dict[str, Any] = _kept(path, self._read) if is_kept else self._read()

    @functools.cached_property
    def text(self) -> str:
        """The text of the file."""
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            reason = problem.strerror if isinstance(problem, OSError) else "it is not UTF-8 text"
            raise self.error(f"{self.path}: cannot be read: {reason}") from problem

    def _read(self) -> dict[str, Any]:
        toml = _toml()
        try:
            return toml.loads(self.text)  # type: ignore[no-any-return]
        except toml.TOMLDecodeError as problem:
            raise self.error(f"{self.path}: not valid TOML: {problem}") from problem

    def decode(self, kind: type[T], table: tuple[str, ...] = ()) -> T:
        """The whole file, or the table at these keys (empty where there is none), as a `kind`, which is a dataclass."""
        value: Any = self.data
        for depth, key in enumerate(table):
            if not isinstance(value, dict):
                self.fail(table[:depth], f"must be a table, found {_describe(value)}")
            value = value.get(key, {})
        return typing.cast(T, _reader(typing.cast(Any, kind))(self, value, table))

    def fail(self, keys: Keys, message: str) -> NoReturn:
        """Raise this file's error about the key at `keys`."""
        line = self.line(keys)
        place = f"{self.path}:{line}" if line else str(self.path)
        raise self.error(f"{place}: {dotted(keys)}: {message}" if keys else f"{place}: {message}")

    def line(self, keys: Keys) -> int | None:
        """The line (from 1) where a key, or the innermost table around it that has a line of its own, is written."""
        lines = self._lines
        for length in range(len(keys), 0, -1):
            start = lines.get(keys[:length])
            if start is not None:
                return self._search_from(start, keys[length:])
        return None

    def _search_from(self, start: int, rest: Keys) -> int:
        """Keys inside inline tables have no entry of their own: look for the last one by its name and number."""
        names = [key for key in rest if isinstance(key, str)]
        if not names:
            return start
        skip = next((key for key in reversed(rest) if isinstance(key, int)), 0)
        stop = min((line for line in self._lines.values() if line > start), default=sys.maxsize)
        for number, text in enumerate(self.text.split("\n")[start - 1 : stop - 1], start):
            if re.search(rf"(?<![\w-]){re.escape(names[-1])}[\"']?\s*=", text):
                if skip == 0:
                    return number
                skip -= 1
        return start

    @functools.cached_property
    def _lines(self) -> dict[Keys, int]:
        return _index_lines(self.text)


def dotted(keys: Keys) -> str:
    """`op.Conv.needs[0].rank`, as the place is spoken of in messages."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def suggest(word: str, known: Iterable[str]) -> str:
    """` (did you mean ...?)` where one of the known words is close, else nothing."""
    import difflib  # only for messages

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def _kept(path: Path, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The data as it was kept, where the file has not changed since; else what `read` gives, which is kept."""
    kept = Path(importlib.util.cache_from_source(str(path))).with_suffix(".toml-data")
    try:
        status = path.stat()
        stamp = [status.st_mtime_ns, status.st_size]
        held = marshal.loads(kept.read_bytes())
        if held[0] == stamp and isinstance(held[1], dict):
            return held[1]
    except (OSError, ValueError, EOFError, TypeError, IndexError, KeyError):
        pass  # nothing is kept, or it is none of ours: the file is read
    data = read()
    if not sys.dont_write_bytecode:
        with contextlib.suppress(OSError, ValueError):  # a folder that cannot be written, dates that cannot be kept
            kept.parent.mkdir(parents=True, exist_ok=True)
            new = kept.with_name(f"{kept.name}.{os.getpid()}")
            new.write_bytes(marshal.dumps([stamp, data]))
            new.replace(kept)
    return data


def _toml() -> Any:
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib
    else:  # so that mypy looks at one of them only
        import tomli

        return tomli


def _index_lines(text: str) -> dict[Keys, int]:
    """The line of each table header and of each key that starts a line, by their place."""
    lines: dict[Keys, int] = {}
    table: Keys = ()
    counts: dict[Keys, int] = {}
    depth = 0
    for number, (source, line) in enumerate(zip(text.split("\n"), _blank_strings(text).split("\n"), strict=True), 1):
        outside = depth == 0 and bool(line.strip())
        header = _HEADER.match(source) if outside else None
        if header:
            table = _table_keys(header, counts)
            for length in range(1, len(table) + 1):  # `[a.b]` opens `a` too
                lines.setdefault(table[:length], number)
            continue
        assignment = _ASSIGNMENT.match(source) if outside else None
        if assignment:
            lines.setdefault(table + _split_key(assignment.group(1)), number)
        depth += line.count("[") + line.count("{") - line.count("]") - line.count("}")
    return lines


def _blank_strings(text: str) -> str:
    """The text with strings and comments emptied, so that brackets count and lines stay where they are."""
    return _STRING.sub(lambda match: "\n" * match.group().count("\n") or " ", text)


def _split_key(key: str) -> Keys:
    return tuple(next(part for part in match.groups() if part is not None) for match in _KEY_PART.finditer(key))


def _table_keys(header: re.Match[str], counts: dict[Keys, int]) -> Keys:
    """The place of a `[table]` or `[[array of tables]]`; arrays on the way stand for their last element."""
    names = _split_key(header.group(2))
    keys: Keys = ()
    for position, name in enumerate(names):
        keys += (name,)
        is_last = position == len(names) - 1
        if is_last and header.group(1) == "[[":
            counts[keys] = counts.get(keys, 0) + 1
        if keys in counts:
            keys += (counts[keys] - 1,)
    return keys


# --- from plain data to typed values ---------------------------------------------------------------------------------

_Reader: TypeAlias = Callable[[TomlFile, Any, Keys], Any]


@functools.cache
def _reader(kind: Any) -> _Reader:
    """The function that checks and converts plain data to `kind`, a type as an annotation says it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "from_toml"):
        return _custom_reader(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass_reader(typing.cast("type[Any]", kind))
    if origin in (typing.Union, types.UnionType):
        members = tuple(argument for argument in arguments if argument is not types.NoneType)
        return _reader(members[0]) if len(members) == 1 else _scalar_reader(members)
    if origin is tuple:
        return _list_reader(_reader(arguments[0]))
    if origin in (Mapping, dict):
        return _mapping_reader(_reader(arguments[1]))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _enum_reader(kind)
    if kind is Path:
        return _read_path
    return _scalar_reader((kind,))


def _scalar_reader(members: tuple[Any, ...]) -> _Reader:
    expected = " or ".join(_TYPE_NAMES[member] for member in members)

    def read(file: TomlFile, value: Any, keys: Keys) -> Any:
        if type(value) in members:
            return value
        if type(value) is int and float in members:
            return float(value)
        return file.fail(keys, f"must be {expected}, found {_describe(value)}")

    return read


def _read_path(file: TomlFile, value: Any, keys: Keys) -> Path:
    """A path, which is relative to the file it stands in."""
    if not isinstance(value, str) or not value:
        file.fail(keys, f"must be a path, found {_describe(value)}")
    return file.path.parent / value


def _enum_reader(kind: type[enum.Enum]) -> _Reader:
    words = {str(member.value): member for member in kind}

    def read(file: TomlFile, value: Any, keys: Keys) -> Any:
        if isinstance(value, str) and value in words:
            return words[value]
        hint = suggest(value, words) if isinstance(value, str) else ""
        return file.fail(keys, f"must be one of {', '.join(words)}; found {_describe(value)}{hint}")

    return read


def _custom_reader(kind: Any) -> _Reader:
    """A type that reads itself: `from_toml` takes the plain value and raises `ValueError` where it is wrong."""

    def read(file: TomlFile, value: Any, keys: Keys) -> Any:
        try:
            return kind.from_toml(value)
        except ValueError as problem:
            return file.fail(keys, f"{problem}; found {_describe(value)}")

    return read


def _list_reader(item: _Reader) -> _Reader:
    def read(file: TomlFile, value: Any, keys: Keys) -> tuple[Any, ...]:
        if not isinstance(value, list):
            file.fail(keys, f"must be a list, found {_describe(value)}")
        return tuple(item(file, entry, (*keys, index)) for index, entry in enumerate(value))

    return read


def _mapping_reader(item: _Reader) -> _Reader:
    def read(file: TomlFile, value: Any, keys: Keys) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            file.fail(keys, f"must be a table, found {_describe(value)}")
        return types.MappingProxyType({key: item(file, entry, (*keys, key)) for key, entry in value.items()})

    return read


def _dataclass_reader(kind: type[Any]) -> _Reader:
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind) if field.init}
    readers = {name: _reader(hints[name]) for name in fields}
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]

    def read(file: TomlFile, value: Any, keys: Keys) -> Any:
        if not isinstance(value, dict):
            file.fail(keys, f"must be a table with {', '.join(required or fields)}; found {_describe(value)}")
        values = {}
        for key, entry in value.items():
            if key not in readers:
                known = suggest(key, readers) or f"; known here: {', '.join(readers)}"
                file.fail((*keys, key), f"unknown key{known}")
            values[key] = readers[key](file, entry, (*keys, key))
        for name in required:
            if name not in values:
                file.fail(keys, f"`{name}` is missing")
        try:
            return kind(**values)
        except ValueError as problem:
            return file.fail(keys, str(problem))

    return read


def _describe(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return f"`{value}`" if isinstance(value, str) else repr(value).lower()
