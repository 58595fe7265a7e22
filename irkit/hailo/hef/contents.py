"""What is in a HEF, as data. Shapes are (height, width, channels), as the runtime's user sees them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irkit.hailo.hef.container import Checksum

ARCHITECTURES: Mapping[int, str] = {
    0: "HAILO8", 1: "HAILO8P", 2: "HAILO8R", 3: "HAILO8L", 4: "HAILO15M", 5: "HAILO10H (old)", 6: "HAILO15L",
    100: "SAGE_A0", 101: "SAGE_B0", 102: "PAPRIKA_B0", 103: "HAILO15H", 104: "GINGER", 105: "LAVENDER", 106: "PLUTO",
    108: "MARS",
}  # fmt: skip

_DEVICES: Mapping[int, tuple[str, ...]] = {
    **dict.fromkeys((0, 1, 2, 101, 102), ("hailo8",)),
    3: ("hailo8l", "hailo8"),
    **dict.fromkeys((103, 104, 105), ("hailo15h", "hailo10h")),
    4: ("hailo15m", "hailo15h", "hailo10h"),
    **dict.fromkeys((6, 106), ("hailo15l",)),
    100: ("hailo8_a0",),
    108: ("hailo12l",),
}
"""Devices that take a file of that architecture, the one it was compiled for first."""

_EXTENSION_NAMES = (
    "ABBALE", "POSTED_WRITES", "DDR", "PADDED_DDR_BUFFERS", "IS_MULTI_CONTEXTS", "COMPRESSED_PARAMS",
    "TRANSPOSE_COMPONENT", "TEST_ONE", "MULTI_NETWORK_VARIABLE_BATCH_SIZE", "IS_NMS_MULTI_CONTEXT", "OFFLOAD_ARGMAX",
    "HW_PADDING", "KO_RUN_ASAP", "HAILO_NET_FLOW", "HAILO_NET_FLOW_YOLOV5_NMS", "HAILO_NET_FLOW_YOLOX_NMS",
    "HAILO_NET_FLOW_SSD_NMS", "HAILO_NET_FLOW_IOU_NMS", "WRITE_DATA_BY_TYPE", "NMS_OUTPUT_BURST",
    "DUAL_DIRECTION_STREAM_INDEX", "HAILO_NET_FLOW_ARGMAX", "HAILO_NET_FLOW_SOFTMAX", "ALIGNED_FORMAT_TYPE",
    "HAILO_NET_FLOW_YOLOV5_SEG_NMS", "OUTPUT_SCALE_PER_FEATURE", "PERIPH_CALCULATION_IN_HAILORT",
    "HAILO_NET_FLOW_YOLOV8_NMS", "BATCH_REGISTER_CONFIG", "HAILO_NET_FLOW_BBOX_DECODING", "CCW_PTR_SQUEEZE",
    "EXTERNAL_RESOURCES", "SHARED_CONFIG", "CSM_CRC", "ENABLE_CONFIG_CHANNELS", "STRICT_RUNTIME_VERSIONING",
)  # fmt: skip

EXTENSIONS: Mapping[int, str] = dict(enumerate(_EXTENSION_NAMES))
NET_FLOW, PERIPH_IN_RUNTIME, STRICT_VERSION, UNUSED = 13, 26, 35, 0xFFFF

_HEADER_SINCE = {1: (4, 18), 2: (4, 20), 3: (4, 21)}
_EXTENSION_SINCE = {26: (4, 14), 31: (4, 21), 32: (4, 21), 33: (5, 1), 34: (5, 1), 35: (5, 0)}
"""The first version of HailoRT that reads a header version or knows an extension, as far as that is known."""

EdgeKind = {0: "boundary", 1: "intermediate", 2: "ddr", 3: "cache"}


@dataclass(frozen=True)
class Quantization:
    """real = scale * (stored - zero_point). `scales` and `zero_points` hold one each channel where that differs."""

    scale: float
    zero_point: float
    low: float
    high: float
    scales: tuple[float, ...] = ()
    zero_points: tuple[float, ...] = ()

    @property
    def per_channel(self) -> bool:
        """Whether channels have scales or zero points of their own."""
        return len(set(self.scales)) > 1 or len(set(self.zero_points)) > 1


@dataclass(frozen=True)
class NmsOp:
    """Non-maximum suppression that HailoRT runs on the host after the network."""

    kind: str
    score_threshold: float
    iou_threshold: float
    classes: int
    max_per_class: int
    decoding_only: bool


@dataclass(frozen=True)
class Stream:
    """An input or output.

    Attributes:
        name: as HailoRT calls it, `network/layer`. direction: `input` or `output`.
        shape: (H, W, C); (classes, 5, boxes) behind NMS. hw_shape: the same with the padding of the device.
        order: the layout, such as `NHWC`, `NC`, `HAILO NMS BY CLASS`. hw_order: the same on the device.
        dtype: `uint8`, `uint16` or `float32`.
        original_names: ONNX nodes it comes from, as the compiler recorded them.
    """

    name: str
    direction: str
    shape: tuple[int, ...]
    hw_shape: tuple[int, ...]
    order: str
    hw_order: str
    dtype: str
    network: str
    original_names: tuple[str, ...] = ()
    quantization: Quantization | None = None
    nms: NmsOp | None = None


@dataclass(frozen=True)
class Edge:
    """A tensor that is handed from one context to another: over the host (`intermediate`), `ddr` or `cache`."""

    name: str
    kind: str
    shape: tuple[int, ...]
    source: int
    to: tuple[int, ...]
    original_names: tuple[str, ...]


@dataclass(frozen=True)
class NetworkGroup:
    """A network as the runtime loads it.

    Attributes:
        contexts: parts that are loaded onto the chip in turn; 1 where the whole network stays there.
        streams: at the border of the chip. inputs, outputs: as the user of HailoRT sees them, in its order.
        edges: what goes between contexts. fps, latency: the compiler's own estimates, in frames a second and seconds.
        layouts: which clusters of the chip each variant takes, where there are several.
    """

    name: str
    networks: tuple[str, ...]
    contexts: int
    streams: tuple[Stream, ...]
    inputs: tuple[Stream, ...]
    outputs: tuple[Stream, ...]
    edges: tuple[Edge, ...]
    fps: float
    latency: float
    layouts: tuple[int, ...] = ()


def arch_name(number: int) -> str:
    """A chip as Hailo's sources call it."""
    return ARCHITECTURES.get(number, f"unknown ({number})")


@dataclass(frozen=True)
class Hef:
    """A HEF that was read whole. Sizes in bytes.

    Attributes:
        header: version of its header. arch: number of the chip it was compiled for.
        compiler: version of the compiler, `3.31.0`; "" where it is not told. made: when, in milliseconds since 1970.
        extensions, optional_extensions: what a runtime must, and may, know.
        config_size: of the chip's configuration; 0 where it lies within the protobuf.
    """

    path: Path
    size: int
    header: int
    proto_size: int
    config_size: int
    mapping_size: int
    checksums: tuple[Checksum, ...]
    arch: int
    compiler: str
    made: int
    extensions: Mapping[int, str]
    optional_extensions: Mapping[int, str]
    groups: tuple[NetworkGroup, ...]

    @property
    def arch_name(self) -> str:
        """The chip as Hailo's sources call it, `HAILO8P`."""
        return arch_name(self.arch)

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices that take the file, the one it was compiled for first."""
        return _DEVICES.get(self.arch, ())

    @property
    def target(self) -> str:
        """The target it was compiled for, `hailo8`; "" where the chip is unknown."""
        return self.devices[0] if self.devices else ""

    @property
    def min_hailort(self) -> str:
        """The oldest HailoRT that may read it, as far as header and extensions tell; "" where they tell nothing."""
        needs = [_HEADER_SINCE[self.header]] if self.header in _HEADER_SINCE else []
        needs += [_EXTENSION_SINCE[index] for index in self.extensions if index in _EXTENSION_SINCE]
        return ".".join(map(str, max(needs))) if needs else ""

    @property
    def unknown_extensions(self) -> tuple[int, ...]:
        """Extensions that a runtime must know and irkit does not."""
        return tuple(index for index in self.extensions if index not in EXTENSIONS and index != UNUSED)


def hef_json(hef: Hef) -> dict[str, Any]:
    """Everything as plain data."""
    return {
        "file": hef.path.name,
        "bytes": hef.size,
        "header_version": hef.header,
        "protobuf_bytes": hef.proto_size,
        "configuration_bytes": hef.config_size,
        "checksums": [{"kind": one.kind, "covers": one.covers, "ok": one.ok} for one in hef.checksums],
        "architecture": hef.arch_name,
        "target": hef.target,
        "devices": list(hef.devices),
        "compiler": hef.compiler,
        "made_ms": hef.made,
        "min_hailort": hef.min_hailort,
        "extensions": [{"index": index, "name": name} for index, name in hef.extensions.items()],
        "optional_extensions": [{"index": index, "name": name} for index, name in hef.optional_extensions.items()],
        "network_groups": [_group_json(group) for group in hef.groups],
    }


def _group_json(group: NetworkGroup) -> dict[str, Any]:
    return {
        "name": group.name,
        "networks": list(group.networks),
        "contexts": group.contexts,
        "estimated_fps": _number(group.fps),
        "estimated_latency_s": _number(group.latency),
        "cluster_layouts": list(group.layouts),
        "inputs": [_stream_json(stream) for stream in group.inputs],
        "outputs": [_stream_json(stream) for stream in group.outputs],
        "streams": [_stream_json(stream) for stream in group.streams],
        "between_contexts": [_plain(vars(edge)) for edge in group.edges],
    }


def _stream_json(stream: Stream) -> dict[str, Any]:
    plain = _plain(vars(stream))
    plain["quantization"] = None if stream.quantization is None else _plain(vars(stream.quantization))
    plain["nms"] = None if stream.nms is None else _plain(vars(stream.nms))
    return plain


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: [_number(item) for item in value] if isinstance(value, tuple) else _number(value)
        for key, value in values.items()
    }


def _number(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become text."""
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
