"""Pipeline strings: `fold-constants,gelu-to-relu{also=[silu]},static-shapes{bind={N=1}}` to passes with typed options.

    pipeline := pass ("," pass)*
    pass     := name [ "{" option ("," option)* "}" ]
    option   := name "=" value
    value    := text | "(" value "," ... ")" | "[" value "," ... "]" | "{" key "=" value "," ... "}"

The type of an option is that of its field: `bool`, `int`, `float`, `str`, an enumeration, `Literal`, tuples, mappings,
and unions of these with None. `str(pass)` parses back.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from irkit.errors import OptionError
from irkit.library import Library
from irkit.pass_base import Pass

_OPEN, _CLOSE = "([{", ")]}"
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


def parse_passes(specs: str | Pass | Iterable[str | Pass], library: Library | None = None) -> list[Pass]:
    """Passes of a pipeline string, or of a list of strings and passes.

    Raises:
        OptionError: the string is malformed, there is no such pass or option, or a value is not of the option's type.
        LibraryError: a pass cannot be loaded.
    """
    library = library or Library()
    if isinstance(specs, (str, Pass)):
        specs = [specs]
    passes: list[Pass] = []
    for spec in specs:
        if isinstance(spec, Pass):
            passes.append(spec)
        else:
            passes += [_parse_pass(part, library) for part in split_specs(spec)]
    return passes


def split_specs(text: str) -> list[str]:
    """The passes of a pipeline string, options and all. Raises `OptionError` where brackets do not match."""
    return list(_split(text, text))


def option_type(cls: type[Pass], name: str) -> Any:
    """The declared type of an option."""
    return _hints(cls)[name]


def type_label(kind: Any) -> str:
    """A type as users read it: `int`, `tuple[str, ...]`, `a | b`."""
    if get_origin(kind) is Literal:
        return " | ".join(str(item) for item in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return " | ".join(str(item.value) for item in kind)
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")


def _parse_pass(spec: str, library: Library) -> Pass:
    name, brace, rest = spec.partition("{")
    cls = library.find(name.strip())
    options: dict[str, Any] = {}
    for item in _split(rest[:-1], spec) if brace else ():
        key, equals, text = item.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise OptionError(f"`{spec}`: write an option as name=value; found `{item}`")
        if key in _hints(cls):
            options[key] = _convert(text.strip(), option_type(cls, key), f"option `{key}` of pass `{cls.name}`")
        else:
            options[key] = text  # `configured` tells which there are
    return cls.configured(options)


def _split(text: str, whole: str) -> Iterator[str]:
    """The parts between commas that stand in no bracket."""
    depth: list[str] = []
    start = 0
    for index, char in enumerate(text):
        if char in _OPEN:
            depth.append(_CLOSE[_OPEN.index(char)])
        elif char in _CLOSE and (not depth or depth.pop() != char):
            raise OptionError(f"`{whole}`: the bracket `{char}` closes nothing")
        elif char == "," and not depth:
            if text[start:index].strip():
                yield text[start:index].strip()
            start = index + 1
    if depth:
        raise OptionError(f"`{whole}`: a bracket is not closed, `{depth[-1]}` is missing")
    if text[start:].strip():
        yield text[start:].strip()


def _hints(cls: type[Pass]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls, localns={"Mapping": Mapping, "Sequence": Sequence})
    except NameError as error:
        raise OptionError(f"pass `{cls.name}` ({cls.source}): an option has an unknown type: {error}") from None
    return {field.name: hints[field.name] for field in cls.option_fields()}


def _convert(text: str, kind: Any, what: str) -> Any:
    """A text as a value of the type. Raises `OptionError`."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(text, arguments, what)
    if origin is Literal:
        return _one_of(text, {str(item): item for item in arguments}, what)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _one_of(text, {str(item.value): item for item in kind}, what)
    if kind is bool:
        return _one_of(text.lower(), {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}, what)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            raise OptionError(f"{what} takes a number ({kind.__name__}); found `{text}`") from None
    base = origin or kind
    if isinstance(base, type) and issubclass(base, Mapping):
        return _convert_mapping(text, arguments or (str, str), what)
    if isinstance(base, type) and issubclass(base, (tuple, list, frozenset, Sequence)) and base is not str:
        return _convert_sequence(text, base, arguments or (str, ...), what)
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _convert_union(text: str, kinds: Sequence[Any], what: str) -> Any:
    if type(None) in kinds and text.lower() == "none":
        return None
    problem: OptionError | None = None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _convert(text, kind, what)
            except OptionError as error:
                problem = problem or error
    assert problem is not None
    raise problem


def _one_of(text: str, values: Mapping[str, Any], what: str) -> Any:
    if text not in values:
        raise OptionError(f"{what} takes one of {', '.join(values)}; found `{text}`")
    return values[text]


def _inside(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] in _OPEN and text[-1] in _CLOSE else text


def _convert_sequence(text: str, base: type, arguments: Sequence[Any], what: str) -> Any:
    parts = list(_split(_inside(text), text))
    if base is tuple and Ellipsis not in arguments:
        if len(parts) != len(arguments):
            raise OptionError(f"{what} takes {len(arguments)} values; found `{text}`")
        return tuple(_convert(part, kind, what) for part, kind in zip(parts, arguments, strict=True))
    values = [_convert(part, arguments[0], what) for part in parts]
    return values if base is list else frozenset(values) if base is frozenset else tuple(values)


def _convert_mapping(text: str, arguments: Sequence[Any], what: str) -> dict[Any, Any]:
    values = {}
    for part in _split(_inside(text), text):
        key, sign, value = part.partition("=") if "=" in part else part.partition(":")
        if not sign:
            raise OptionError(f"{what} takes name=value pairs; found `{part}`")
        values[_convert(key.strip(), arguments[0], what)] = _convert(value.strip(), arguments[1], what)
    return values
