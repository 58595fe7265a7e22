"""Tokens of the text form, and errors that say line and column."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from irkit.errors import ModelError

_TOKEN = re.compile(
    r"""
    (?P<space>[ \t\r\n]+|\#[^\n]*)
  | %(?P<value>"(?:[^"\\\n]|\\.)*"|(?:[A-Za-z0-9_./]|::)+)
  | @(?P<label>"(?:[^"\\\n]|\\.)*"|(?:[A-Za-z0-9_./]|::)+)
  | !(?P<mark>[a-z_]+)
  | (?P<bytes>b"(?:[^"\\\n]|\\.)*")
  | (?P<hex>x"[0-9a-fA-F]*")
  | (?P<string>"(?:[^"\\\n]|\\.)*")
  | (?P<sha>sha256:[0-9a-f]{64})
  | (?P<number>-?(?:nan\(0x[0-9a-f]+\)|(?:nan|inf)(?![\w.])|0x[0-9a-f]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?))
  | (?P<name>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<punctuation>->|::|\.\.\.|[(){}\[\],=:?*])
    """,
    re.VERBOSE,
)

_BARE = re.compile(r"(?:[A-Za-z0-9_./]|::)+")
_NAME = re.compile(r"(?!(?:inf|nan)$)[A-Za-z_][A-Za-z0-9_.]*")
_BYTE = re.compile(rb'\\x([0-9a-fA-F]{2})|\\(["\\])')


class Token(NamedTuple):
    """A token: its kind (a group of the expression above, or `end`), its text and where it starts."""

    kind: str
    text: str
    start: int


def tokens_of(text: str, source: str) -> list[Token]:
    """All tokens of a text, closed by one of kind `end`. Raises `ModelError` at a character that starts none."""
    tokens = []
    position = 0
    for match in _TOKEN.finditer(text):
        if match.start() != position:
            break
        position = match.end()
        kind = match.lastgroup
        assert kind is not None
        if kind != "space":
            tokens.append(Token(kind, match[kind], match.start()))
    if position != len(text):
        line = text[position:].partition("\n")[0]
        raise error_at(text, position, f"no token of the text form starts with {line[:20]!r}", source)
    tokens.append(Token("end", "", len(text)))
    return tokens


def error_at(text: str, position: int, message: str, source: str) -> ModelError:
    """An error with line and column (from 1), and the line itself."""
    start = text.rfind("\n", 0, position) + 1
    line = text.count("\n", 0, position) + 1
    column = position - start + 1
    shown = text[start:].partition("\n")[0].rstrip()
    return ModelError(f"{source}, line {line}, column {column}: {message}\n    {shown}\n    {' ' * (column - 1)}^")


def bare(name: str) -> str:
    """A name as it stands behind % or @: quoted unless it is plain."""
    return name if _BARE.fullmatch(name) else quote(name)


def word(name: str) -> str:
    """A name without a sigil (operators, attributes, symbols): quoted unless it is an identifier."""
    return name if _NAME.fullmatch(name) else quote(name)


def quote(text: str) -> str:
    """A string in double quotes, with JSON's escapes."""
    return json.dumps(text, ensure_ascii=False)


def unquote(text: str) -> str:
    """The reverse of `quote`. Raises `ValueError` for an escape JSON does not know."""
    return str(json.loads(text))


def unbare(text: str) -> str:
    """The reverse of `bare` and `word`."""
    return unquote(text) if text.startswith('"') else text


def quote_bytes(data: bytes) -> str:
    """`b"..."`: printable ASCII as it is, the rest in hex."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02x}" for byte in data)
    return f'b"{"".join(plain)}"'


def unquote_bytes(text: str) -> bytes:
    """The reverse of `quote_bytes`."""
    return _BYTE.sub(lambda found: bytes.fromhex(found[1].decode()) if found[1] else found[2], text[2:-1].encode())
