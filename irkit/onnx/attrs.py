"""AttributeProto: decoded on first use, written back as it came in.

The reader hands a node its encoded attributes as `LazyAttrs`. Only attributes that hold graphs, or data of other files,
are decoded at once: the uses in graphs must be counted, and references to files must be resolved.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

from irkit.attributes import Attr, Attributes, AttrKind
from irkit.errors import ModelError
from irkit.ir import Graph
from irkit.onnx import wire
from irkit.onnx.tensors import (
    EncodedTensor,
    Origin,
    buffer_of,
    decode_sparse,
    decode_tensor,
    encode_sparse,
    encode_tensor,
    own_name,
)
from irkit.onnx.typeinfo import decode_type, encode_type
from irkit.onnx.wire import Buffer, Chunks, Field, Span, fields
from irkit.tensor import SparseTensor, Tensor

_FLOAT = struct.Struct("<f")

GraphDecoder: TypeAlias = "Callable[[Buffer, int, int], Graph]"
GraphEncoder: TypeAlias = "Callable[[Graph], Chunks]"


class LazyAttrs:
    """The attributes of a node as encoded: `raw` holds their fields, tags included.

    Equal bytes share one object, and so one decoded mapping: neither attributes nor mapping are ever changed in place.
    """

    __slots__ = ("_origin", "decoded", "raw")

    def __init__(self, raw: bytes | Span, origin: Origin) -> None:
        self.raw = raw
        self.decoded: dict[str, Attr] | None = None
        self._origin = origin

    def decode(self) -> dict[str, Attr]:
        """The attributes by name; the same object each time. Raises `ModelError`, `SourceChangedError`."""
        if self.decoded is None:
            data, start, end = buffer_of(self.raw)
            source = self.raw.source if isinstance(self.raw, Span) else None
            origin = Origin(source, self._origin.files)
            self.decoded = decode_attributes(data, start, end, origin, _no_graph)
        return self.decoded


class OpenAttr(Attr):
    """An attribute that is not kept encoded; `rest` holds what else its AttributeProto says (doc string, unknown)."""

    __slots__ = ("rest",)

    def __init__(self, name: str, value: Any, kind: AttrKind, ref: str, rest: bytes) -> None:
        super().__init__(name, value, kind, ref=ref)
        self.rest = rest


def _no_graph(data: Buffer, start: int, end: int) -> Graph:  # noqa: ARG001
    raise ModelError("an attribute holds a graph but does not say so; the file is damaged")


def decode_attributes(
    data: Buffer, start: int, end: int, origin: Origin, graph: GraphDecoder, tag: int = 0x2A
) -> dict[str, Attr]:
    """The AttributeProto fields (those with `tag`) between two offsets, by name."""
    try:
        found = (decode_attribute(data, item, origin, graph) for item in fields(data, start, end) if item.tag == tag)
        return Attributes((attr.name, attr) for attr in found)
    except (IndexError, RecursionError):
        raise ModelError("the attributes of a node are truncated or damaged") from None


def decode_attribute(data: Buffer, outer: Field, origin: Origin, graph: GraphDecoder) -> Attr:
    """One attribute. It keeps its encoded form, unless it holds a graph or data of another file."""
    name = ref = ""
    kind = 0
    values: dict[int, list[Any]] = {}
    rest = b""
    for item in fields(data, outer.value, outer.end):
        number = item.tag >> 3
        if item.tag == 0x0A:
            name = wire.text(data, item.value, item.end)
        elif item.tag == 0xA0:
            kind = item.value
        elif item.tag == 0xAA:
            ref = wire.text(data, item.value, item.end)
        elif number in _DECODERS:
            decode = _DECODERS[number]
            values.setdefault(number, []).extend(decode(data, item, origin, graph))
        else:
            rest += data[item.begin : item.end]
    kind = kind or _kind_by_field(values)
    number = _FIELD_OF.get(kind, 0)
    value = _value_of(kind, values.get(number, []), ref)
    if kind in (AttrKind.GRAPH, AttrKind.GRAPHS) or _reaches_out(value):
        return OpenAttr(name, value, AttrKind(kind), ref, rest)
    raw = wire.cut(data, outer.value, outer.end, origin.source)
    return Attr(name, value, _known_kind(kind), ref=ref, raw=raw)


def _known_kind(kind: int) -> AttrKind:
    return AttrKind(kind) if kind in _FIELD_OF else AttrKind.UNDEFINED


def _kind_by_field(values: dict[int, list[Any]]) -> int:
    """The kind of an attribute that does not say it, as in files of 2017."""
    return next((kind for kind, number in _FIELD_OF.items() if values.get(number)), 0)


def _value_of(kind: int, values: list[Any], ref: str) -> Any:
    if ref:
        return None
    if kind in _PLURAL:
        return tuple(values)
    return values[-1] if values else _DEFAULTS.get(kind)


def _reaches_out(value: Any) -> bool:
    """Whether a tensor in it lies in another file than the model's."""
    if isinstance(value, SparseTensor):
        return _reaches_out((value.values, value.indices))
    if isinstance(value, tuple):
        return any(isinstance(item, (Tensor, SparseTensor)) and _reaches_out(item) for item in value)
    return isinstance(value, Tensor) and isinstance(value.raw, EncodedTensor) and value.raw.external


def _float(data: Buffer, item: Field, origin: Origin, graph: GraphDecoder) -> list[float]:  # noqa: ARG001
    payload = data[item.value : item.end]
    return [number for (number,) in _FLOAT.iter_unpack(payload)] if len(payload) % 4 == 0 else []


def _int(data: Buffer, item: Field, origin: Origin, graph: GraphDecoder) -> list[int]:  # noqa: ARG001
    return [wire.signed(number) for number in wire.numbers(data, item)]


def _string(data: Buffer, item: Field, origin: Origin, graph: GraphDecoder) -> list[str | bytes]:  # noqa: ARG001
    payload = data[item.value : item.end]
    try:
        return [payload.decode()]
    except UnicodeDecodeError:
        return [payload]


def _tensor(data: Buffer, item: Field, origin: Origin, graph: GraphDecoder) -> list[Tensor]:  # noqa: ARG001
    return [decode_tensor(data, item.value, item.end, origin)[1]]


def _sparse(data: Buffer, item: Field, origin: Origin, graph: GraphDecoder) -> list[SparseTensor]:  # noqa: ARG001
    return [decode_sparse(data, item.value, item.end, origin)[1]]


def _graph(data: Buffer, item: Field, origin: Origin, graph: GraphDecoder) -> list[Graph]:  # noqa: ARG001
    return [graph(data, item.value, item.end)]


def _type(data: Buffer, item: Field, origin: Origin, graph: GraphDecoder) -> list[Any]:  # noqa: ARG001
    return [decode_type(data, item.value, item.end)]


_DECODERS: dict[int, Callable[[Buffer, Field, Origin, GraphDecoder], list[Any]]] = {
    2: _float, 3: _int, 4: _string, 5: _tensor, 6: _graph, 7: _float, 8: _int, 9: _string, 10: _tensor, 11: _graph,
    14: _type, 15: _type, 22: _sparse, 23: _sparse,
}  # fmt: skip

_FIELD_OF: dict[int, int] = {
    AttrKind.FLOAT: 2, AttrKind.INT: 3, AttrKind.STRING: 4, AttrKind.TENSOR: 5, AttrKind.GRAPH: 6, AttrKind.FLOATS: 7,
    AttrKind.INTS: 8, AttrKind.STRINGS: 9, AttrKind.TENSORS: 10, AttrKind.GRAPHS: 11, AttrKind.TYPE: 14,
    AttrKind.TYPES: 15, AttrKind.SPARSE_TENSOR: 22, AttrKind.SPARSE_TENSORS: 23,
}  # fmt: skip

_PLURAL = frozenset({
    AttrKind.FLOATS, AttrKind.INTS, AttrKind.STRINGS, AttrKind.TENSORS, AttrKind.GRAPHS, AttrKind.TYPES,
    AttrKind.SPARSE_TENSORS,
})  # fmt: skip

_DEFAULTS: dict[int, Any] = {AttrKind.FLOAT: 0.0, AttrKind.INT: 0, AttrKind.STRING: ""}
"""What protobuf reads where the field of a value is left out."""


def encode_plain(attr: Attr) -> bytes | None:
    """The AttributeProto where it is all in memory: read from a file, or of numbers, texts and types; else None."""
    if isinstance(attr.raw, bytes):
        return attr.raw
    encode = _PLAIN.get(attr.kind)
    if encode is None or attr.raw is not None or isinstance(attr, OpenAttr):
        return None
    head = wire.blob(1, attr.name.encode())
    if attr.value is not None:
        values = attr.value if attr.kind in _PLURAL else (attr.value,)
        head += encode(_FIELD_OF[attr.kind], values)
    return head + wire.integer(20, attr.kind) + wire.string(21, attr.ref)


def encode_attribute(attr: Attr, graph: GraphEncoder) -> Chunks:
    """The AttributeProto of an attribute; as it came in where it was read from a file."""
    plain = encode_plain(attr)
    if plain is not None:
        return Chunks(plain)
    out = Chunks()
    if isinstance(attr.raw, Span):
        out.add_span(attr.raw)
        return out
    out.add(wire.blob(1, attr.name.encode()))
    if attr.kind != AttrKind.UNDEFINED and attr.value is not None:
        number = _FIELD_OF[attr.kind]
        for value in attr.value if attr.kind in _PLURAL else (attr.value,):
            out.message(number, _encode_large(value, graph))
    if isinstance(attr, OpenAttr):
        out.add(attr.rest)
    out.add(wire.integer(20, attr.kind) + wire.string(21, attr.ref))
    return out


def _encode_large(value: Graph | Tensor | SparseTensor, graph: GraphEncoder) -> Chunks:
    if isinstance(value, Graph):
        return graph(value)
    if isinstance(value, Tensor):
        return encode_tensor(value, own_name(value))
    return encode_sparse(value, own_name(value.values))


def _floats(number: int, values: Any) -> bytes:
    tag = wire.key(number, wire.FIXED32)
    return b"".join([tag + _float32(value) for value in values])


def _float32(value: float) -> bytes:
    try:
        return _FLOAT.pack(value)
    except OverflowError:  # beyond what 32 bits hold: infinite, as in any conversion
        return _FLOAT.pack(math.copysign(math.inf, value))


def _ints(number: int, values: Any) -> bytes:
    tag = wire.key(number, wire.VARINT)
    return b"".join([tag + wire.varint(int(value)) for value in values])


def _strings(number: int, values: Any) -> bytes:
    return b"".join([wire.blob(number, text if isinstance(text, bytes) else text.encode()) for text in values])


def _types(number: int, values: Any) -> bytes:
    return b"".join([wire.blob(number, encode_type(value)) for value in values if value is not None])


_PLAIN: dict[AttrKind, Callable[[int, Any], bytes]] = {
    AttrKind.FLOAT: _floats, AttrKind.FLOATS: _floats, AttrKind.INT: _ints, AttrKind.INTS: _ints,
    AttrKind.STRING: _strings, AttrKind.STRINGS: _strings, AttrKind.TYPE: _types, AttrKind.TYPES: _types,
}  # fmt: skip
