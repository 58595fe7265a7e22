"""A HEF as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone

from irkit.hailo.hef.contents import Edge, Hef, NetworkGroup, Stream

_EDGES_SHOWN = 12


def hef_lines(hef: Hef) -> Iterator[str]:
    """What is in the file, a line at a time."""
    yield f"{hef.path.name}: {hef.size / (1 << 20):.2f} MB ({hef.size:,} bytes), header version {hef.header}"
    for one in hef.checksums:
        yield f"  checksum      {one.kind} of {one.covers}: ok"
    runs_on = ", ".join(hef.devices) or "a chip that irkit does not know"
    yield f"  chip          {hef.arch_name}; runs on {runs_on}"
    made = _date(hef.made)
    yield f"  compiler      {_safe(hef.compiler) or 'not told'}{f', {made}' if made else ''}"
    yield f"  HailoRT       {f'{hef.min_hailort} or later' if hef.min_hailort else 'any that reads this header'}"
    for group in hef.groups:
        yield ""
        yield from _group_lines(group)


def _group_lines(group: NetworkGroup) -> Iterator[str]:
    contexts = "one context" if group.contexts == 1 else f"{group.contexts} contexts, loaded in turn"
    yield f"network group {_safe(group.name)}: {contexts}"
    if group.layouts:
        yield f"  layouts       {len(group.layouts)}, clusters {', '.join(map(_clusters, group.layouts))}"
    if group.fps:
        latency = f", {group.latency * 1e3:.2f} ms" if group.latency else ""
        yield f"  estimate      {group.fps:.1f} frames a second{latency} (of the compiler, not measured)"
    for stream in (*group.inputs, *group.outputs):
        yield from _stream_lines(stream)
    for edge in group.edges[:_EDGES_SHOWN]:
        yield f"  {_edge_line(edge)}"
    if len(group.edges) > _EDGES_SHOWN:
        yield f"  and {len(group.edges) - _EDGES_SHOWN} more tensors between contexts (--format json has them)"


def _stream_lines(stream: Stream) -> Iterator[str]:
    yield f"  {stream.direction:<13} {_safe(stream.name)}"
    yield f"                {stream.order} {_shape(stream.shape)} {stream.dtype}{_padded(stream)}"
    if stream.original_names:
        yield f"                from {', '.join(map(_safe, stream.original_names))}"
    if stream.quantization is not None:
        quant = stream.quantization
        each = ", one scale each channel" if quant.per_channel else ""
        span = f"{quant.low:.6g} to {quant.high:.6g}"
        yield f"                real = {quant.scale:.6g} * (stored - {quant.zero_point:g}), {span}{each}"
    if stream.nms is not None:
        nms = stream.nms
        limits = f"score {nms.score_threshold:g}, IoU {nms.iou_threshold:g}"
        yield f"                NMS {nms.kind}: {nms.classes} classes, {nms.max_per_class} boxes each, {limits}"


def _padded(stream: Stream) -> str:
    same = stream.hw_shape == stream.shape and stream.hw_order == stream.order
    return "" if same else f" (on the chip {stream.hw_order} {_shape(stream.hw_shape)})"


def _edge_line(edge: Edge) -> str:
    to = ", ".join(map(str, edge.to))
    return f"context {edge.source} -> {to}  {_safe(edge.name)} {_shape(edge.shape)} ({edge.kind})"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _clusters(bitmap: int) -> str:
    return "+".join(str(bit) for bit in range(bitmap.bit_length()) if bitmap >> bit & 1) or "none"


def _date(milliseconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(milliseconds / 1000, timezone.utc):%Y-%m-%d %H:%M} UTC" if milliseconds else ""
    except (OverflowError, OSError, ValueError):
        return ""


def _safe(text: str) -> str:
    """Text of a file that a stranger made, without what a terminal would obey."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
