"""The protobuf wire format: just enough to scan and write ONNX files.

A message is a row of fields, each a tag (field number * 8 + wire type) and a value. What is scanned is a `Buffer`
(bytes or a mapping) between two offsets. Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from irkit.errors import ModelError
from irkit.source import SourceFile
from irkit.tensor import Tensor

Buffer: TypeAlias = "bytes | mmap.mmap"

COPY_LIMIT = 1 << 14
"""Encoded parts of a file that are no larger are copied into memory when they are kept."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Span(NamedTuple):
    """Bytes of a file, from `start` up to `end`."""

    source: SourceFile
    start: int
    end: int


Piece: TypeAlias = "bytes | Span | Tensor"
"""A part of a message to be written: bytes, bytes of a file, or the packed data of a tensor."""


class Chunks:
    """A message being built, in pieces: large data stays where it is until it is written.

    Attributes: `pieces`, and `size`, the bytes they make.
    """

    __slots__ = ("pieces", "size")

    def __init__(self, data: bytes = b"") -> None:
        self.pieces: list[Piece] = [data] if data else []
        self.size = len(data)

    def add(self, data: bytes) -> None:
        """Append bytes."""
        self.pieces.append(data)
        self.size += len(data)

    def add_span(self, span: Span) -> None:
        """Append bytes of a file; they join the last piece where they follow it in the file."""
        last = self.pieces[-1] if self.pieces else None
        if isinstance(last, Span) and last.source is span.source and last.end == span.start:
            self.pieces[-1] = Span(span.source, last.start, span.end)
        else:
            self.pieces.append(span)
        self.size += span.end - span.start

    def add_piece(self, piece: Piece) -> None:
        """Append one piece."""
        if isinstance(piece, Span):
            self.add_span(piece)
        elif isinstance(piece, bytes):
            self.add(piece)
        else:
            self.pieces.append(piece)
            self.size += piece.nbytes

    def extend(self, other: Chunks) -> None:
        """Append the pieces of another message."""
        for piece in other.pieces:
            self.add_piece(piece)

    def message(self, number: int, child: Chunks) -> None:
        """Append a field that holds a message."""
        self.add(key(number) + varint(child.size))
        self.extend(child)

    def tobytes(self) -> bytes:
        """All of it, read into memory. Raises `SourceChangedError`."""
        return b"".join(map(piece_bytes, self.pieces))


def piece_bytes(piece: Piece) -> bytes:
    """The bytes of a piece. Raises `SourceChangedError`."""
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, Span):
        return bytes(piece.source.view(piece.start, piece.end - piece.start))
    return piece.tobytes()


def cut(data: Buffer, start: int, end: int, source: SourceFile | None) -> bytes | Span:
    """Part of a buffer, to be kept: a span where the buffer is the mapping of `source` and the part is large."""
    if source is None or end - start <= COPY_LIMIT:
        return data[start:end]
    return Span(source, start, end)


class Field(NamedTuple):
    """One field: `begin` is where its tag lies, `end` where the next field does.

    `value` is the number of a varint, and the offset of the payload of any other field.
    """

    tag: int
    begin: int
    value: int
    end: int


def read_varint(data: Buffer, pos: int) -> tuple[int, int]:
    """The unsigned number at `pos`, and the offset behind it."""
    try:
        byte = data[pos]
        if byte < 128:
            return byte, pos + 1
        result, shift = byte & 127, 7
        while shift < 64:
            pos += 1
            byte = data[pos]
            result |= (byte & 127) << shift
            if byte < 128:
                return result, pos + 1
            shift += 7
    except IndexError:
        raise ModelError("truncated or damaged: the data ends within a number") from None
    raise ModelError("not protobuf: a number is longer than 64 bits")


def signed(number: int) -> int:
    """A varint read as int64 (or int32, which protobuf writes the same way)."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def fields(data: Buffer, pos: int, end: int) -> Iterator[Field]:
    """The fields between two offsets. Raises `ModelError` where that is no protobuf message."""
    while pos < end:
        begin = pos
        tag, pos = read_varint(data, pos)
        kind = tag & 7
        if kind == BYTES:
            length, value = read_varint(data, pos)
            pos = value + length
        elif kind == VARINT:
            value, pos = read_varint(data, pos)
        elif kind in (FIXED32, FIXED64):
            value = pos
            pos += 4 if kind == FIXED32 else 8
        else:
            raise ModelError(f"not protobuf: wire type {kind} at byte {begin}")
        if pos > end or tag < 8:
            raise ModelError(f"truncated or damaged: the field at byte {begin} does not fit")
        yield Field(tag, begin, value, pos)


def numbers(data: Buffer, field: Field) -> Iterator[int]:
    """The unsigned varints of a repeated field, packed or not."""
    if field.tag & 7 == VARINT:
        yield field.value
        return
    pos = field.value
    while pos < field.end:
        number, pos = read_varint(data, pos)
        yield number


def text(data: Buffer, start: int, end: int) -> str:
    """A UTF-8 string. Raises `ModelError` where it is not UTF-8."""
    try:
        return data[start:end].decode()
    except UnicodeDecodeError:
        raise ModelError(f"the text at byte {start} is not UTF-8: {data[start : start + 40]!r}") from None


_SMALL = [bytes([n]) for n in range(128)]


def varint(number: int) -> bytes:
    """An integer; negative ones as int64."""
    if 0 <= number < 128:
        return _SMALL[number]
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def key(number: int, kind: int = BYTES) -> bytes:
    """The tag of a field."""
    return varint(number << 3 | kind)


_TAGS = [bytes([number << 3 | BYTES]) for number in range(16)]


def blob(number: int, payload: bytes) -> bytes:
    """A field of bytes, of text, or of a message already encoded."""
    length = len(payload)
    if length < 128 and number < 16:
        return _TAGS[number] + _SMALL[length] + payload
    return key(number) + varint(length) + payload


def string(number: int, text: str) -> bytes:
    """A field of text; nothing where it is empty."""
    return blob(number, text.encode()) if text else b""


def integer(number: int, value: int) -> bytes:
    """A field of an integer."""
    return key(number, VARINT) + varint(value)


def entries(number: int, pairs: Iterable[tuple[str, str]]) -> bytes:
    """A repeated field of StringStringEntryProto."""
    return b"".join(blob(number, blob(1, name.encode()) + blob(2, value.encode())) for name, value in pairs)


def entry(data: Buffer, start: int, end: int) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    pair = ["", ""]
    for field in fields(data, start, end):
        if field.tag in (0x0A, 0x12):
            pair[(field.tag >> 3) - 1] = text(data, field.value, field.end)
    return pair[0], pair[1]
