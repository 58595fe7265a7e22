"""The container of a HEF: header, sections, checksums.

All integers of the header are big-endian. Four versions exist:

    0   32 bytes   MD5 of what follows the header; the configuration of the chip lies within the protobuf
    1   28 bytes   CRC-32; the configuration follows the protobuf
    2   44 bytes   XXH3-64
    3   56 bytes   XXH3-64 of all, and of the protobuf alone; the configuration is padded to a multiple of 4096
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from irkit.errors import ModelError
from irkit.source import SourceFile

MAGIC = 0x01484546
COMMON = struct.Struct(">III")
REST = {0: struct.Struct(">I16s"), 1: struct.Struct(">IQI"), 2: struct.Struct(">QQQQ"), 3: struct.Struct(">QQIQQQ")}
HEADER_SIZE = {version: COMMON.size + rest.size for version, rest in REST.items()}

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Checksum:
    """A checksum of a file.

    Attributes: `kind`, such as `XXH3-64`; `covers`, in words; `stored` and `computed` as hexadecimal digits.
    """

    kind: str
    covers: str
    stored: str
    computed: str

    @property
    def ok(self) -> bool:
        """Whether the file is what was written."""
        return self.stored == self.computed


@dataclass(frozen=True)
class Container:
    """Where the sections of a HEF lie. Sizes and offsets in bytes.

    Attributes: `version` of the header; `proto_start` and `proto_size` of the protobuf; `config_size` of the chip's
    configuration behind it (0 in version 0, where it lies within); `extra_size` of what else is there; `size` of all.
    """

    version: int
    proto_start: int
    proto_size: int
    config_size: int
    extra_size: int
    size: int
    stored: tuple[str, ...]


def read_container(data: memoryview) -> Container:
    """Read the header. Raises `ModelError` where it is no HEF, or one of an unknown version."""
    if len(data) < COMMON.size:
        raise ModelError(f"no HEF: {len(data)} bytes are less than its header")
    magic, version, proto_size = COMMON.unpack(data[: COMMON.size])
    if magic != MAGIC:
        raise ModelError(f"no HEF: it starts with {bytes(data[:4])!r}, a HEF with {MAGIC.to_bytes(4, 'big')!r}")
    if version not in REST:
        raise ModelError(f"a HEF of header version {version}; versions 0 to {max(REST)} are known")
    start = HEADER_SIZE[version]
    if len(data) < start:
        raise ModelError(f"truncated: the header takes {start} bytes, the file has {len(data)}")
    return _sections(version, proto_size, REST[version].unpack(data[COMMON.size : start]))


def _sections(version: int, proto_size: int, rest: tuple[Any, ...]) -> Container:
    start = HEADER_SIZE[version]
    config = extra = 0
    stored: tuple[str, ...]
    if version == 0:
        stored = (rest[1].hex(),)
    elif version == 1:
        config, stored = rest[1], (f"{rest[0]:08x}",)
    elif version == 2:
        config, stored = rest[1], (f"{rest[0]:016x}",)
    else:
        config, extra, stored = rest[1], rest[3], (f"{rest[0]:016x}", *([f"{rest[4]:016x}"] if rest[4] else []))
        if rest[2] > config:
            raise ModelError("damaged: the padding is larger than what it pads")
    return Container(version, start, proto_size, config, extra, start + proto_size + config + extra, stored)


def check_length(container: Container, found: int) -> None:
    """Raise `ModelError` where the file is shorter or longer than its header says."""
    if found < container.size:
        missing = container.size - found
        raise ModelError(
            f"truncated: the header promises {container.size:,} bytes, the file has {found:,}; {missing:,} "
            f"({missing / container.size:.0%}) are missing; copy or compile it again"
        )
    if found > container.size:
        raise ModelError(
            f"damaged: the file has {found - container.size:,} bytes more than the {container.size:,} its header "
            "promises; copy or compile it again"
        )


def checksums(container: Container, source: SourceFile) -> tuple[Checksum, ...]:
    """Compute every checksum that the header stores, in pieces."""
    end_of_proto = container.proto_start + container.proto_size
    covers = [("everything after the header", container.size), ("the protobuf", end_of_proto)]
    kind, make = _ALGORITHMS[container.version]
    return tuple(
        Checksum(kind, what, stored, make(_pieces(source, container.proto_start, end)))
        for stored, (what, end) in zip(container.stored, covers, strict=False)
    )


def _pieces(source: SourceFile, start: int, end: int) -> Iterator[memoryview]:
    for at in range(start, end, _CHUNK):
        yield source.view(at, min(_CHUNK, end - at))


def _md5(pieces: Iterator[memoryview]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _crc32(pieces: Iterator[memoryview]) -> str:
    value = 0
    for piece in pieces:
        value = zlib.crc32(piece, value)
    return f"{value:08x}"


def _xxh3(pieces: Iterator[memoryview]) -> str:
    import xxhash

    digest = xxhash.xxh3_64()
    for piece in pieces:
        digest.update(piece)
    return str(digest.hexdigest())


_ALGORITHMS: dict[int, tuple[str, Callable[[Iterator[memoryview]], str]]] = {
    0: ("MD5", _md5),
    1: ("CRC-32", _crc32),
    2: ("XXH3-64", _xxh3),
    3: ("XXH3-64", _xxh3),
}
