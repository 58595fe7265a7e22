"""Types of values: TypeProto and ValueInfoProto, decoded only when somebody asks.

Many values share a type, so a `TypeInfo` is made once for equal bytes and its decoded type is shared too.
"""

from __future__ import annotations

from collections.abc import Callable

from irkit.errors import ModelError
from irkit.onnx import wire
from irkit.onnx.wire import Buffer, Field, fields
from irkit.types import (
    Dim,
    DType,
    MapType,
    OpaqueType,
    OptionalType,
    SequenceType,
    Shape,
    SparseTensorType,
    TensorType,
    ValueType,
)


class TypeInfo:
    """What a ValueInfoProto says besides the name: `raw` the TypeProto (None: it has none), `rest` its other fields.

    It stands in `Value.info`, and in `Value._type` until the type is decoded. `tail` are all fields behind the name.
    """

    __slots__ = ("_decoded", "_type", "raw", "rest", "tail")

    def __init__(self, raw: bytes | None, rest: bytes = b"") -> None:
        self.raw = raw
        self.rest = rest
        self.tail = (wire.blob(2, raw) if raw is not None else b"") + rest
        self._decoded = False
        self._type: ValueType | None = None

    def decode(self) -> ValueType | None:
        """The type; the same object each time."""
        if not self._decoded:
            self._type = decode_type(self.raw) if self.raw is not None else None
            self._decoded = True
        return self._type


def decode_type(data: Buffer, start: int = 0, end: int | None = None) -> ValueType | None:
    """The type a TypeProto encodes; None where it says nothing."""
    try:
        for field in fields(data, start, len(data) if end is None else end):
            decoder = _DECODERS.get(field.tag)
            if decoder is not None:
                return decoder(data, field)
    except (IndexError, RecursionError):
        raise ModelError("the type of a value is truncated or damaged") from None
    return None


def dtype_of(number: int) -> DType:
    """The element type of that number; `UNDEFINED` for one that irkit does not know."""
    try:
        return DType(number)
    except ValueError:
        return DType.UNDEFINED


def _dense(data: Buffer, field: Field) -> TensorType:
    return TensorType(*_elements(data, field))


def _sparse(data: Buffer, field: Field) -> SparseTensorType:
    return SparseTensorType(*_elements(data, field))


def _elements(data: Buffer, outer: Field) -> tuple[DType, Shape | None]:
    dtype, shape = DType.UNDEFINED, None
    for field in fields(data, outer.value, outer.end):
        if field.tag == 0x08:
            dtype = dtype_of(field.value)
        elif field.tag == 0x12:
            dims = (part for part in fields(data, field.value, field.end) if part.tag == 0x0A)
            shape = tuple([_dim(data, part) for part in dims])
    return dtype, shape


def _dim(data: Buffer, outer: Field) -> Dim:
    """A negative number, which old exporters wrote for "any", is None."""
    dim: Dim = None
    for field in fields(data, outer.value, outer.end):
        if field.tag == 0x08:
            number = wire.signed(field.value)
            dim = number if number >= 0 else None
        elif field.tag == 0x12:
            dim = wire.text(data, field.value, field.end) or None
    return dim


def _inner(data: Buffer, outer: Field, tag: int) -> ValueType | None:
    for field in fields(data, outer.value, outer.end):
        if field.tag == tag:
            return decode_type(data, field.value, field.end)
    return None


def _sequence(data: Buffer, field: Field) -> SequenceType:
    return SequenceType(_inner(data, field, 0x0A))


def _optional(data: Buffer, field: Field) -> OptionalType:
    return OptionalType(_inner(data, field, 0x0A))


def _map(data: Buffer, outer: Field) -> MapType:
    kinds = [field.value for field in fields(data, outer.value, outer.end) if field.tag == 0x08]
    return MapType(dtype_of(kinds[-1] if kinds else 0), _inner(data, outer, 0x12))


def _opaque(data: Buffer, outer: Field) -> OpaqueType:
    texts = {field.tag: wire.text(data, field.value, field.end) for field in fields(data, outer.value, outer.end)}
    return OpaqueType(texts.get(0x0A, ""), texts.get(0x12, ""))


_DECODERS: dict[int, Callable[[Buffer, Field], ValueType]] = {
    0x0A: _dense,
    0x22: _sequence,
    0x2A: _map,
    0x3A: _opaque,
    0x42: _sparse,
    0x4A: _optional,
}


def encode_type(kind: ValueType) -> bytes:
    """The TypeProto of a type."""
    if isinstance(kind, TensorType):
        return wire.blob(1, _encode_elements(kind))
    if isinstance(kind, SparseTensorType):
        return wire.blob(8, _encode_elements(kind))
    if isinstance(kind, OpaqueType):
        return wire.blob(7, wire.string(1, kind.domain) + wire.string(2, kind.name))
    if isinstance(kind, MapType):
        return wire.blob(5, wire.integer(1, kind.key) + _encode_inner(2, kind.value))
    return wire.blob(4 if isinstance(kind, SequenceType) else 9, _encode_inner(1, kind.element))


def _encode_inner(number: int, kind: ValueType | None) -> bytes:
    return wire.blob(number, encode_type(kind)) if kind is not None else b""


def _encode_elements(kind: TensorType | SparseTensorType) -> bytes:
    out = wire.integer(1, kind.dtype)
    if kind.shape is not None:
        out += wire.blob(2, b"".join([wire.blob(1, _encode_dim(dim)) for dim in kind.shape]))
    return out


def _encode_dim(dim: Dim) -> bytes:
    if dim is None:
        return b""
    return wire.blob(2, dim.encode()) if isinstance(dim, str) else wire.integer(1, dim)


def encode_info(kind: ValueType | TypeInfo | None, info: TypeInfo | None) -> bytes:
    """The fields of a ValueInfoProto behind the name. What `info` recorded goes out as it came in.

    Args:
        kind: the type now; `info` itself where it is still the one recorded.
        info: what was recorded.
    """
    if info is not None and (kind is info or kind == info.decode()):
        return info.tail
    if isinstance(kind, TypeInfo):
        kind = kind.decode()
    encoded = wire.blob(2, encode_type(kind)) if kind is not None else b""
    return encoded + (info.rest if info is not None else b"")
