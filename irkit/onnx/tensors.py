"""TensorProto and SparseTensorProto.

Data that lies in a file as ONNX packs it (`raw_data`, external data) stays there. Data in the typed fields
(`float_data` and so on) is decoded on first use. A tensor nobody changed goes out as the bytes it came in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from irkit.errors import ModelError
from irkit.onnx import wire
from irkit.onnx.external import ExternalFiles
from irkit.onnx.typeinfo import dtype_of
from irkit.onnx.wire import BYTES, Buffer, Chunks, Field, Span, fields, read_varint
from irkit.source import SourceFile
from irkit.tensor import SparseTensor, Tensor, unpack
from irkit.types import DType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Origin(NamedTuple):
    """Where a buffer comes from: `source` if it is the mapping of that file, and where external data is found."""

    source: SourceFile | None
    files: ExternalFiles


class EncodedTensor(NamedTuple):
    """The TensorProto a tensor was read from (`Tensor.raw`), its name, and whether it points to another file."""

    proto: bytes | Span
    name: str
    external: bool


@dataclass
class _Scan:
    """The fields of a TensorProto: `data` by field number, the numbers that hold data."""

    dims: list[int] = field(default_factory=list)
    dtype: int = 0
    name: str = ""
    raw: tuple[int, int] | None = None
    data: dict[int, list[Field]] = field(default_factory=dict)
    entries: dict[str, str] = field(default_factory=dict)
    external: bool = False


_FLOAT, _INT32, _STRING, _INT64, _NAME, _RAW, _DOUBLE, _UINT64 = 4, 5, 6, 7, 8, 9, 10, 11
_DATA_FIELDS = frozenset({_FLOAT, _INT32, _STRING, _INT64, _DOUBLE, _UINT64})
_NOT_KEPT = frozenset({1, 2, 3, _NAME, _RAW, 13, 14}) | _DATA_FIELDS

_FIELD_OF = {
    DType.FLOAT32: _FLOAT, DType.COMPLEX64: _FLOAT, DType.FLOAT64: _DOUBLE, DType.COMPLEX128: _DOUBLE,
    DType.INT64: _INT64, DType.UINT32: _UINT64, DType.UINT64: _UINT64, DType.STRING: _STRING,
}  # fmt: skip
"""The typed field of each element type; int32_data for all others."""

_PACKED_IN_INT32 = (2, 4)
"""Widths of which int32_data holds a packed byte an item; of others it holds one element."""


def decode_tensor(data: Buffer, start: int, end: int, origin: Origin) -> tuple[str, Tensor]:
    """Name and tensor of a TensorProto. Raises `ModelError` where its data is missing or of the wrong size."""
    found = _scan_usual(data, start, end) or _scan(data, start, end)
    dtype = dtype_of(found.dtype)
    shape = tuple(found.dims)
    if shape and min(shape) < 0:
        raise ModelError(f"tensor {found.name!r}: shape {list(shape)} has a negative dimension")
    encoded = EncodedTensor(_kept(data, start, end, origin.source), found.name, found.external)
    if dtype == DType.UNDEFINED:  # a type of a later ONNX: goes out as it came in
        return found.name, Tensor(dtype, shape, raw=encoded, load=partial(_unknown, found))
    if found.external:
        if dtype == DType.STRING:
            raise ModelError(f"tensor {found.name!r}: strings cannot be external data")
        file = origin.files.find(found.entries, _nbytes(shape, dtype), found.name)
        return found.name, Tensor(dtype, shape, file=file, raw=encoded)
    typed = found.data.get(_FIELD_OF.get(dtype, _INT32), [])
    if found.raw is None or (found.raw[0] == found.raw[1] and typed):
        _check_count(data, found, dtype, shape, typed)
        load = partial(_typed, b"" if origin.source else data, typed, dtype, shape, origin.source)
        return found.name, Tensor(dtype, shape, load=load, raw=encoded)
    begin, stop = found.raw
    if stop - begin != _nbytes(shape, dtype) or dtype == DType.STRING:
        raise ModelError(_size_message(found, dtype, shape, f"{stop - begin} bytes"))
    if origin.source is not None:
        return found.name, Tensor(dtype, shape, file=(origin.source, begin), raw=encoded)
    return found.name, Tensor(dtype, shape, load=partial(_packed, data[begin:stop], dtype, shape), raw=encoded)


def _nbytes(shape: tuple[int, ...], dtype: DType) -> int:
    return (math.prod(shape) * dtype.bits + 7) // 8


def _kept(data: Buffer, start: int, end: int, source: SourceFile | None) -> bytes | Span:
    return Span(source, start, end) if source is not None else data[start:end]


def _scan_usual(data: Buffer, pos: int, end: int) -> _Scan | None:
    """The scan of a tensor with raw data and no rare field, which is nearly every one; None for any other."""
    dims: list[int] = []
    name, dtype, raw = "", 0, None
    while pos < end:
        tag = data[pos]
        value = data[pos + 1]
        pos += 2
        if value > 127:
            value, pos = read_varint(data, pos - 1)
        if tag == 0x08:
            dims.append(value if value >> 63 == 0 else wire.signed(value))
        elif tag == 0x10:
            dtype = value
        elif tag == 0x42 and pos + value <= end:
            name = wire.text(data, pos, pos + value)
            pos += value
        elif tag == 0x4A and pos + value <= end:
            raw = (pos, pos + value)
            pos += value
        else:
            return None
    return _Scan(dims, dtype, name, raw)


def _scan(data: Buffer, start: int, end: int) -> _Scan:
    found = _Scan()
    for item in fields(data, start, end):
        number = item.tag >> 3
        if number == 1:
            found.dims.extend(map(wire.signed, wire.numbers(data, item)))
        elif item.tag == 0x10:
            found.dtype = item.value
        elif item.tag == 0x42:
            found.name = wire.text(data, item.value, item.end)
        elif item.tag == 0x4A:
            found.raw = (item.value, item.end)
        elif number in _DATA_FIELDS:
            found.data.setdefault(number, []).append(item)
        elif item.tag == 0x6A:
            key, value = wire.entry(data, item.value, item.end)
            found.entries[key] = value
        elif item.tag == 0x70:
            found.external = item.value == 1
    return found


def _size_message(found: _Scan, dtype: DType, shape: tuple[int, ...], held: str) -> str:
    needed = f"{_nbytes(shape, dtype)} bytes" if dtype != DType.STRING else f"{math.prod(shape)} strings"
    return f"tensor {found.name!r}: {dtype.label}{list(shape)} needs {needed}, the file holds {held}"


_CONTINUED = bytes(range(128, 256))


def _check_count(data: Buffer, found: _Scan, dtype: DType, shape: tuple[int, ...], typed: list[Field]) -> None:
    """Compare the number of elements in the typed field with the shape."""
    number = _FIELD_OF.get(dtype, _INT32)
    if number in (_FLOAT, _DOUBLE):
        held = sum(item.end - item.value for item in typed)
        needed = _nbytes(shape, dtype)
    elif number == _STRING:
        held, needed = len(typed), math.prod(shape)
    else:
        packed = [data[item.value : item.end] for item in typed if item.tag & 7 == BYTES]
        held = len(typed) - len(packed) + sum(len(part.translate(None, _CONTINUED)) for part in packed)
        needed = _nbytes(shape, dtype) if dtype.bits in _PACKED_IN_INT32 else math.prod(shape)
    if held != needed:
        what = {_FLOAT: "bytes", _DOUBLE: "bytes", _STRING: "strings"}.get(number, "numbers")
        raise ModelError(_size_message(found, dtype, shape, f"{held} {what}"))


def _unknown(found: _Scan) -> Array:
    raise ModelError(f"tensor {found.name!r} has element type {found.dtype}, which irkit does not know")


def _packed(data: bytes, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Raw data in memory as an array."""
    import numpy as np

    if dtype.bits < 8:
        return unpack(np.frombuffer(data, np.uint8), dtype, math.prod(shape))
    return np.frombuffer(data, dtype.numpy.newbyteorder("<")).astype(dtype.numpy, copy=False)


def _typed(data: Buffer, typed: list[Field], dtype: DType, shape: tuple[int, ...], source: SourceFile | None) -> Array:
    """The elements of a typed field as a flat array."""
    import numpy as np

    data = mapping(source) if source is not None else data
    number = _FIELD_OF.get(dtype, _INT32)
    if number == _STRING:
        texts = np.empty(len(typed), object)
        texts[:] = [data[item.value : item.end] for item in typed]
        return texts
    if number in (_FLOAT, _DOUBLE):
        return _packed(b"".join([data[item.value : item.end] for item in typed]), dtype, shape)
    values = np.concatenate([np.empty(0, np.uint64), *_varints(data, typed)])
    if dtype == DType.BOOL:
        return values.astype(np.bool_)
    if dtype.bits in _PACKED_IN_INT32:
        return unpack(values.astype(np.uint8), dtype, math.prod(shape))
    return values.astype(np.dtype(f"u{dtype.numpy.itemsize}")).view(dtype.numpy)


def _varints(data: Buffer, typed: list[Field]) -> Iterator[Array]:
    """The numbers of a repeated varint field, packed or not, as uint64 arrays."""
    import numpy as np

    for item in typed:
        if item.tag & 7 != BYTES:
            yield np.array([item.value], np.uint64)
            continue
        octets = np.frombuffer(data[item.value : item.end], np.uint8)
        ends = np.flatnonzero(octets < 128)
        starts = np.concatenate([[0], ends[:-1] + 1])[: ends.size]
        lengths = ends - starts + 1
        out = np.zeros(ends.size, np.uint64)
        for byte in range(int(lengths.max(initial=0))):
            longer = lengths > byte
            out[longer] |= (octets[starts[longer] + byte] & 127).astype(np.uint64) << np.uint64(7 * byte)
        yield out


def decode_sparse(data: Buffer, start: int, end: int, origin: Origin) -> tuple[str, SparseTensor]:
    """Name and tensor of a SparseTensorProto."""
    parts: dict[int, tuple[str, Tensor]] = {}
    dims: list[int] = []
    for item in fields(data, start, end):
        if item.tag in (0x0A, 0x12):
            parts[item.tag] = decode_tensor(data, item.value, item.end, origin)
        elif item.tag >> 3 == 3:
            dims.extend(map(wire.signed, wire.numbers(data, item)))
    if 0x0A not in parts or 0x12 not in parts:
        raise ModelError("a sparse tensor has no values or no indices")
    name, values = parts[0x0A]
    return name, SparseTensor(values, parts[0x12][1], dims)


def encode_tensor(tensor: Tensor, name: str) -> Chunks:
    """The TensorProto of a tensor under that name."""
    encoded = tensor.raw
    if isinstance(encoded, EncodedTensor) and not encoded.external:
        return _renamed(encoded, name)
    out = Chunks(header(tensor))
    if tensor.dtype == DType.STRING:
        for item in tensor.numpy().reshape(-1):
            out.add(wire.blob(_STRING, item))
        out.add(wire.string(_NAME, name))
    else:
        out.add(wire.string(_NAME, name) + wire.key(_RAW) + wire.varint(tensor.nbytes))
        add_data(out, tensor)
    out.add(kept_fields(tensor))
    return out


def encode_external(tensor: Tensor, name: str, location: str, offset: int) -> bytes:
    """The TensorProto of a tensor whose data is in another file."""
    entries = [("location", location), ("offset", str(offset)), ("length", str(tensor.nbytes))]
    place = wire.entries(13, entries) + wire.integer(14, 1)
    return header(tensor) + wire.string(_NAME, name) + place + kept_fields(tensor)


def header(tensor: Tensor) -> bytes:
    """Dimensions and element type."""
    return b"".join([wire.integer(1, dim) for dim in tensor.shape]) + wire.integer(2, tensor.dtype)


def add_data(out: Chunks, tensor: Tensor) -> None:
    """Append the packed data, from its file where it lies in one."""
    location = tensor.location
    if location is not None:
        source, offset = location
        out.add_span(Span(source, offset, offset + tensor.nbytes))
    else:
        out.add_piece(tensor)


def kept_fields(tensor: Tensor) -> bytes:
    """Doc string, metadata and unknown fields of the TensorProto it was read from."""
    if not isinstance(tensor.raw, EncodedTensor):
        return b""
    data, start, end = buffer_of(tensor.raw.proto)
    kept = (item for item in fields(data, start, end) if item.tag >> 3 not in _NOT_KEPT)
    return b"".join([data[item.begin : item.end] for item in kept])


def buffer_of(piece: bytes | Span) -> tuple[Buffer, int, int]:
    """A buffer and the offsets the piece has in it. Raises `SourceChangedError`."""
    if isinstance(piece, bytes):
        return piece, 0, len(piece)
    return mapping(piece.source), piece.start, piece.end


def mapping(source: SourceFile) -> Buffer:
    """The whole file as a buffer that slices into bytes. Raises `SourceChangedError`."""
    return source.view().obj  # type: ignore[return-value]  # a memoryview of a mapping or of bytes


def _renamed(encoded: EncodedTensor, name: str) -> Chunks:
    """The TensorProto as it came, under another name where that differs."""
    out = Chunks()
    if encoded.name == name:
        out.add_piece(encoded.proto)
        return out
    data, start, end = buffer_of(encoded.proto)
    source = encoded.proto.source if isinstance(encoded.proto, Span) else None
    renamed = wire.string(_NAME, name)
    for item in fields(data, start, end):
        if item.tag >> 3 >= _NAME and renamed:
            out.add(renamed)
            renamed = b""
        if item.tag >> 3 != _NAME:
            out.add_piece(_kept(data, item.begin, item.end, source))
    if renamed:
        out.add(renamed)
    return out


def encode_sparse(tensor: SparseTensor, name: str) -> Chunks:
    """The SparseTensorProto of a tensor under that name."""
    out = Chunks()
    out.message(1, encode_tensor(tensor.values, name))
    out.message(2, encode_tensor(tensor.indices, own_name(tensor.indices)))
    out.add(b"".join([wire.integer(3, dim) for dim in tensor.shape]))
    return out


def own_name(tensor: Tensor) -> str:
    """The name a tensor was read under; values have names, tensors in attributes may too."""
    return tensor.raw.name if isinstance(tensor.raw, EncodedTensor) else ""
