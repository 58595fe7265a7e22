"""Read a HEF: what `irkit hef` shows.

The order of the steps is HailoRT's (libhailort/src/hef/hef.cpp, MIT): header, length, checksum, protobuf, streams.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from irkit.errors import ModelError
from irkit.hailo.hef.container import Checksum, Container, check_length, checksums, read_container
from irkit.hailo.hef.contents import NET_FLOW, Edge, EdgeKind, Hef, NetworkGroup, NmsOp, Quantization, Stream, arch_name
from irkit.hailo.hef.schema import Record, decode
from irkit.onnx.tensors import mapping
from irkit.onnx.wire import fields
from irkit.source import SourceFile

_PARTIAL_ARCHITECTURES = (3, 4)
"""Chips that are parts of another: their files hold one variant for each way to choose the clusters."""

_EDGE_ORDERS = {
    0: "NHWC", 1: "NHCW", 2: "NC", 3: "FCR", 4: "BAYER RGB", 5: "NHW", 6: "HAILO NMS ON CHIP", 7: "F8CR", 8: "RGB888",
    11: "YUY2", 13: "NHWC",
}  # fmt: skip
"""Layouts on the device by the compiler's number."""

_HOST_ORDERS = {"NHCW": "NHWC", "RGB888": "NHWC", "HAILO NMS ON CHIP": "HAILO NMS BY CLASS"}
"""What the runtime makes of a layout for the host, where that differs."""

_PAD_ORDERS = (
    "AUTO", "NHWC", "NHCW", "FCR", "F8CR", "NHW", "NC", "BAYER RGB", "12 BIT BAYER RGB", "HAILO NMS BY CLASS",
    "RGB 888", "NCHW", "YUY2", "NV12", "NV21", "YYUV", "YYVU",
)  # fmt: skip
_NMS_KINDS = {
    "yolov8": "yolov8",
    "yolox": "yolox",
    "ssd": "ssd",
    "yolov5_seg": "yolov5_seg",
    "yolov5": "yolov5",
    "iou_only": "iou",
}


def read_hef(path: str | os.PathLike[str]) -> Hef:
    """Read a HEF whole, with its checksums verified.

    Raises `ModelError` where the file is no HEF, is truncated or damaged, or is of an unknown header version.
    """
    source = SourceFile(path)
    try:
        return _read(source)
    except ModelError as error:
        raise ModelError(f"{source.path}: {error}") from error
    finally:
        source.close()


def _read(source: SourceFile) -> Hef:
    container = read_container(source.view(0, 64))
    try:
        check_length(container, source.size)
    except ModelError as error:
        told = _what_is_left(source, container)
        raise ModelError(f"{error}{told}") from error
    sums = checksums(container, source)
    wrong = [one for one in sums if not one.ok]
    if wrong:
        what = "; ".join(f"{one.kind} of {one.covers} must be {one.stored}; found {one.computed}" for one in wrong)
        raise ModelError(f"damaged: {what}; copy or compile it again")
    content = _decode(source, container)
    if not content.has("header") or not content.network_groups:
        raise ModelError("damaged: it holds no network")
    return _hef(source, container, content, sums)


def _decode(source: SourceFile, container: Container) -> Record:
    end = min(container.proto_start + container.proto_size, source.size)
    return decode(mapping(source), container.proto_start, end)


def _what_is_left(source: SourceFile, container: Container) -> str:
    """What the first fields of a truncated file tell: the header comes first in the protobuf."""
    data = mapping(source)
    try:
        first = next(fields(data, container.proto_start, source.size), None)
        if first is None or first.tag >> 3 != 1:
            return ""
        header = decode(data, first.value, first.end, "Header")
    except ModelError:
        return ""
    made_by = f" by compiler {compiler_version(header)}" if compiler_version(header) else ""
    return f" (it was compiled{made_by} for {arch_name(header.hw_arch)})"


def compiler_version(header: Record) -> str:
    """`3.31.0`, from the numbers where they are there, else from the text."""
    if header.has("sdk_version"):
        version = header.sdk_version
        return f"{version.major}.{version.minor}.{version.revision}"
    found = re.search(r"\d+\.\d+\.\d+", header.sdk_text)
    return found[0] if found else header.sdk_text


def _hef(source: SourceFile, container: Container, content: Record, sums: tuple[Checksum, ...]) -> Hef:
    header = content.header
    extensions = {item.type_index: item.name for item in content.extensions}
    is_net_flow = NET_FLOW in extensions
    return Hef(
        path=Path(source.path),
        size=source.size,
        header=container.version,
        proto_size=container.proto_size,
        config_size=container.config_size,
        mapping_size=content.mapping,
        checksums=sums,
        arch=header.hw_arch,
        compiler=compiler_version(header),
        made=header.timestamp,
        extensions=extensions,
        optional_extensions={item.type_index: item.name for item in content.optional_extensions},
        groups=tuple(_group(group, header.hw_arch, is_net_flow) for group in content.network_groups),
    )


def _group(group: Record, arch: int, is_net_flow: bool) -> NetworkGroup:
    outer = _core(group, is_net_flow)
    core = _whole(outer, arch)
    name = group.metadata.name or core.metadata.name
    networks = tuple(group.network_names) or tuple(core.network_names)
    edges = list(_edges(core))
    streams = tuple(_stream(edge, name, networks) for _, edge in edges if edge.switch.connection == 0)
    by_pad = {
        edge.pad_index: stream
        for edge, stream in zip((edge for _, edge in edges if edge.switch.connection == 0), streams, strict=True)
        if edge.has("pad_index")
    }
    inputs = tuple(_user_streams(edges, streams, "input"))
    outputs = _after_ops(group, by_pad, tuple(_user_streams(edges, streams, "output")))
    metadata = core.metadata if core.metadata.fps else group.metadata
    return NetworkGroup(
        name=name,
        networks=tuple(f"{name}/{network}" for network in networks),
        contexts=len(core.contexts),
        streams=streams,
        inputs=inputs,
        outputs=_sorted_outputs(outputs, _output_order(group, outer, core)),
        edges=tuple(_between(edges)),
        fps=metadata.fps,
        latency=metadata.latency,
        layouts=tuple(partial.layout.bitmap for partial in outer.partials),
    )


def _core(group: Record, is_net_flow: bool) -> Record:
    """The record that holds the contexts: that of the operator that runs on the chip, where operators are listed."""
    if is_net_flow or not group.contexts:
        for op in group.ops:
            if op.has("core_op"):
                core: Record = op.core_op
                return core
    return group


def _whole(core: Record, arch: int) -> Record:
    """The content itself: one of the variants where a chip has several layouts of the same network."""
    seen = core
    for _ in range(2):
        if not seen.partials or (seen.contexts and arch not in _PARTIAL_ARCHITECTURES):
            break
        seen = seen.partials[0].content
    return seen if seen.contexts else core


def _edges(core: Record) -> Iterator[tuple[int, Record]]:
    for position, context in enumerate(core.contexts):
        for edge in context.metadata.edges:
            yield position, edge


def _stream(edge: Record, group: str, networks: Sequence[str]) -> Stream:
    body = edge.info if edge.has("info") else edge.mux if edge.has("mux") else edge.planes
    network = networks[edge.network_index] if edge.network_index < len(networks) else group
    direction = "output" if edge.direction else "input"
    if not edge.has("info") and not edge.has("mux"):
        whole = (body.height, body.width, body.features)
        return Stream(body.name, direction, whole, whole, "planes", "planes", "uint8", network)
    base = body.base
    shape, hw_shape = _shapes(base, edge.has("info") and body.transposed)
    if base.format == 6:
        nms = base.additional.nms
        shape = (nms.classes, 5, nms.max_boxes * max(nms.division, 1))
    hw_order = _EDGE_ORDERS.get(base.format, f"unknown ({base.format})")
    return Stream(
        name=body.name,
        direction=direction,
        shape=shape,
        hw_shape=hw_shape,
        order=_HOST_ORDERS.get(hw_order, hw_order),
        hw_order=hw_order,
        dtype="uint16" if base.data_bytes == 2 else "uint8",
        network=network,
        original_names=tuple(body.original_names),
        quantization=_quantization(body.numeric) if edge.has("info") and body.has("numeric") else None,
    )


def _shapes(base: Record, transposed: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    height, width = base.height, base.width
    padded_height, padded_width = base.padded_height, base.padded_width
    if transposed:
        height, width, padded_height, padded_width = width, height, padded_width, padded_height
    return (height, width, base.features), (padded_height, padded_width, base.padded_features)


def _quantization(numeric: Record) -> Quantization:
    return Quantization(
        scale=numeric.scale,
        zero_point=numeric.zero_point,
        low=numeric.low,
        high=numeric.high,
        scales=tuple(numeric.scales),
        zero_points=tuple(numeric.zero_points),
    )


def _user_streams(edges: Sequence[tuple[int, Record]], streams: Sequence[Stream], direction: str) -> Iterator[Stream]:
    """Streams with those that carry several layers taken apart, as HailoRT's virtual streams are."""
    border = [edge for _, edge in edges if edge.switch.connection == 0]
    for edge, stream in zip(border, streams, strict=True):
        if stream.direction == direction:
            yield from _demuxed(edge.mux, edge, stream) if edge.has("mux") else [stream]


def _demuxed(mux: Record, edge: Record, stream: Stream) -> Iterator[Stream]:
    for part in mux.parts:
        if part.has("mux"):
            yield from _demuxed(part.mux, edge, stream)
        elif part.has("info"):
            inner = Record("Edge", {"info": part.info, "direction": edge.direction})
            yield _stream(inner, stream.network, [stream.network])


def _after_ops(group: Record, by_pad: Mapping[int, Stream], outputs: tuple[Stream, ...]) -> tuple[Stream, ...]:
    """Outputs with those that an operator of the host reads replaced by what it makes."""
    sources = {edge.dst: edge.src for edge in group.pad_edges}
    taken: set[str] = set()
    made: list[Stream] = []
    for op in group.ops:
        if not op.has("nms") and not op.has("logits"):
            continue
        feeds = [by_pad[sources[pad.index]] for pad in op.inputs if sources.get(pad.index) in by_pad]
        taken.update(stream.name for stream in feeds)
        made += [_op_output(op, pad, feeds) for pad in op.outputs]
    return (*(stream for stream in outputs if stream.name not in taken), *made)


def _op_output(op: Record, pad: Record, feeds: Sequence[Stream]) -> Stream:
    nms = _nms(op.nms) if op.has("nms") else None
    if pad.has("nms"):
        shape: tuple[int, ...] = (pad.nms.classes, pad.nms.box_size or 5, pad.nms.max_boxes)
    else:
        shape = (pad.tensor.height, pad.tensor.width, pad.tensor.features)
    order = _PAD_ORDERS[pad.order] if pad.order < len(_PAD_ORDERS) else f"unknown ({pad.order})"
    names = tuple(dict.fromkeys(name for stream in feeds for name in stream.original_names))
    network = feeds[0].network if feeds else ""
    dtype = "float32" if nms is not None else "uint16" if pad.format_type == 2 else "uint8"
    return Stream(pad.name, "output", shape, shape, order, order, dtype, network, names, nms=nms)


def _nms(nms: Record) -> NmsOp:
    kind = next((label for field, label in _NMS_KINDS.items() if nms.has(field)), "unknown")
    return NmsOp(kind, nms.score, nms.iou, nms.classes, nms.max_per_class, nms.decoding_only)


def _output_order(group: Record, outer: Record, core: Record) -> Sequence[str]:
    """The names of outputs in the order that HailoRT gives them."""
    for holder in (group, outer, core):
        if holder.fused.is_fused:
            names: Sequence[str] = holder.fused.sorted_outputs
            return names
    if outer.partials and not group.ops:
        return list(outer.partials[0].content.sorted_outputs)
    last = core.contexts[-1].metadata.sorted_outputs if core.contexts else ()
    return list(group.sorted_outputs or core.sorted_outputs or last)


def _sorted_outputs(outputs: tuple[Stream, ...], order: Sequence[str]) -> tuple[Stream, ...]:
    place = {name: index for index, name in enumerate(order)}
    return tuple(sorted(outputs, key=lambda stream: place.get(stream.name, len(place))))


def _between(edges: Sequence[tuple[int, Record]]) -> Iterator[Edge]:
    """What contexts hand on, told once, where it is written."""
    for position, edge in edges:
        kind = EdgeKind.get(edge.switch.connection, f"unknown ({edge.switch.connection})")
        if edge.switch.connection == 0 or not edge.direction or not (edge.has("info") or edge.has("mux")):
            continue
        body = edge.info if edge.has("info") else edge.mux
        shape, _ = _shapes(body.base, edge.has("info") and body.transposed)
        to = tuple(item.index for item in edge.switch.connected) or (edge.switch.connected_context,)
        yield Edge(body.name, kind, shape, position, to, tuple(body.original_names))
