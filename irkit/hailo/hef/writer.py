"""Small HEF files for tests and stand-ins of the compiler: readable as real ones are, and of no use to a chip.

They hold the header, the inputs and outputs, and no instructions. Nobody has tried them with HailoRT.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from irkit.hailo.hef.container import COMMON, HEADER_SIZE, MAGIC, REST
from irkit.onnx.wire import blob, integer, key, string

_ALIGNMENT = 4096
_CONFIG = bytes(64)
_FIXED32, _FIXED64 = 5, 1


@dataclass(frozen=True)
class Layer:
    """An input or output to be written.

    Attributes: `shape` (H, W, C); `format` by the compiler's number; `connection` 0 at the border, 1 between contexts,
    2 by DDR; `context` it belongs to; `bits` 8 or 16; `boxes`: classes and boxes each, of suppression on the chip;
    `parts`: layers that come out as one, `is_planes`: an image in planes goes in.
    """

    name: str
    shape: tuple[int, int, int]
    is_output: bool = False
    original_names: tuple[str, ...] = ()
    scale: float = 1.0
    zero_point: float = 0.0
    format: int = 0
    connection: int = 0
    context: int = 0
    bits: int = 8
    pad_index: int | None = None
    boxes: tuple[int, int] | None = None
    parts: tuple[Layer, ...] = ()
    is_planes: bool = False


@dataclass(frozen=True)
class Fixture:
    """What to write.

    Attributes: `version` of the header; `arch` as the compiler numbers chips (1: hailo8, 3: hailo8l); `extensions`
    that a runtime must know; `nms` tells that a YOLOv8 operator of the host follows all outputs; `others`: more network
    groups in the file.
    """

    layers: Sequence[Layer]
    name: str = "net"
    version: int = 2
    arch: int = 1
    compiler: str = "3.33.0"
    fps: float = 1000.0
    latency: float = 0.001
    extensions: Sequence[int] = field(default=(0, 3, 12, 26))
    nms: str = ""
    others: Sequence[Fixture] = ()


def fixture_bytes(fixture: Fixture) -> bytes:
    """The file."""
    return seal(fixture.version, _proto(fixture))


def seal(version: int, proto: bytes) -> bytes:
    """A protobuf with the header and the checksums of a version."""
    if version == 0:
        return _head(0, proto, (0, hashlib.md5(proto, usedforsecurity=False).digest())) + proto
    if version == 1:
        body = proto + _CONFIG
        return _head(1, proto, (zlib.crc32(body), len(_CONFIG), 0)) + body
    import xxhash

    if version == 2:
        body = proto + _CONFIG
        return _head(2, proto, (xxhash.xxh3_64_intdigest(body), len(_CONFIG), 0, 0)) + body
    padding = -(HEADER_SIZE[3] + len(proto)) % _ALIGNMENT
    body = proto + bytes(padding) + _CONFIG
    sums = xxhash.xxh3_64_intdigest(body), xxhash.xxh3_64_intdigest(proto)
    return _head(3, proto, (sums[0], padding + len(_CONFIG), padding, 0, sums[1], 0)) + body


def _head(version: int, proto: bytes, rest: tuple[int | bytes, ...]) -> bytes:
    return COMMON.pack(MAGIC, version, len(proto)) + REST[version].pack(*rest)


def _proto(fixture: Fixture) -> bytes:
    header = integer(1, fixture.arch) + integer(2, 1_700_000_000_000) + string(3, fixture.compiler) + integer(4, 5)
    group = _group(fixture)
    if fixture.arch in (3, 4):
        # Chips that are parts of another: the content lies one level down, once for each choice of clusters.
        outer = blob(1, _metadata(fixture)) + string(6, fixture.name)
        for bitmap in (51, 204):
            outer += blob(7, blob(1, group) + blob(2, integer(1, bitmap)))
        group = outer
    out = blob(1, header) + blob(2, group) + b"".join(blob(2, _group(other)) for other in fixture.others)
    for index in fixture.extensions:
        out += blob(5, integer(1, index) + string(2, f"extension {index}"))
    return out


def _metadata(fixture: Fixture) -> bytes:
    return string(1, fixture.name) + _double(4, fixture.fps) + _double(6, fixture.latency)


def _group(fixture: Fixture) -> bytes:
    out = blob(1, _metadata(fixture))
    for index in range(1 + max((layer.context for layer in fixture.layers), default=0)):
        edges = b"".join(blob(2, _edge(layer)) for layer in fixture.layers if layer.context == index)
        out += blob(3, integer(1, index) + blob(3, edges))
    outputs = [layer for layer in fixture.layers if layer.is_output and not layer.connection]
    names = [fixture.nms] if fixture.nms else [layer.name for layer in outputs]
    out += b"".join(string(4, name) for name in names) + string(6, fixture.name)
    return out + (_nms(fixture, outputs) if fixture.nms else b"")


def _nms(fixture: Fixture, outputs: Sequence[Layer]) -> bytes:
    pads = b"".join(blob(2, integer(1, 100 + index)) for index in range(len(outputs)))
    shape = integer(1, 80) + integer(2, 100) + integer(3, 5)
    made = blob(3, integer(1, 200) + string(2, fixture.nms) + integer(3, 9) + blob(7, shape))
    settings = _double(1, 0.2) + _double(2, 0.7) + integer(3, 100) + integer(4, 80) + blob(12, b"")
    out = blob(8, string(1, "nms") + pads + made + blob(5, settings))
    for index, layer in enumerate(outputs):
        out += blob(9, integer(1, layer.pad_index or 0) + integer(2, 100 + index))
    return out


def _edge(layer: Layer) -> bytes:
    switch = integer(1, layer.context) + integer(3, layer.connection) + integer(4, layer.context + 1)
    if layer.is_planes:
        height, width, channels = layer.shape
        planes = string(1, layer.name) + integer(4, height) + integer(5, width) + integer(6, channels)
        body = integer(2, 2) + blob(8, planes)
    elif layer.parts:
        body = integer(2, 1) + blob(4, _info(layer) + b"".join(blob(5, blob(1, _info(part))) for part in layer.parts))
    else:
        body = blob(3, _info(layer))
    out = integer(1, int(layer.is_output)) + body + blob(5, switch)
    return out if layer.pad_index is None else out + integer(7, layer.pad_index)


def _info(layer: Layer) -> bytes:
    """What is told of a layer; the same fields where several come out as one."""
    height, width, channels = layer.shape
    padded_width, padded_channels = -(-width // 8) * 8, -(-channels // 8) * 8
    sizes = (height, height, width, padded_width, channels, padded_channels)
    base = b"".join(integer(number, size) for number, size in enumerate(sizes, 1))
    if layer.boxes is not None:
        classes, most = layer.boxes
        base += blob(11, blob(1, integer(2, classes) + integer(3, most) + integer(4, 5) + integer(7, 1)))
    base += integer(7, layer.format) + integer(9, width * channels) + integer(10, height) + integer(12, layer.bits // 8)
    reach = 2**layer.bits - 1
    low, high = -layer.zero_point * layer.scale, (reach - layer.zero_point) * layer.scale
    numeric = b"".join(
        _float(number, value) for number, value in enumerate((layer.zero_point, layer.scale, low, high), 1)
    )
    numeric += _doubles(5, [layer.zero_point] * channels) + _doubles(6, [layer.scale] * channels)
    info = string(1, layer.name) + blob(2, base) + blob(3, numeric)
    if layer.parts:  # which have names and numbers of their own
        return string(1, layer.name) + blob(2, base)
    return info + b"".join(string(5, name) for name in layer.original_names)


def _float(number: int, value: float) -> bytes:
    return key(number, _FIXED32) + struct.pack("<f", value)


def _double(number: int, value: float) -> bytes:
    return key(number, _FIXED64) + struct.pack("<d", value)


def _doubles(number: int, values: Sequence[float]) -> bytes:
    return blob(number, struct.pack(f"<{len(values)}d", *values))
