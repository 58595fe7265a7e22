"""Slices of channels: all Slices of one dimension cut it into the same pieces."""

from __future__ import annotations

import itertools

from irkit.channels.steps import Axis
from irkit.channels.trace import SetBounds, Trace, constant_of, integers, rank_of, wrap
from irkit.ir import Node, Value


def slice_bounds(node: Node) -> dict[int, tuple[int, int, int, int]] | None:
    """(start, stop, step, position in the lists) by axis, of a Slice with constant bounds; None for another."""
    data = node.inputs[0]
    starts, ends = constant_of(node.input(1)), constant_of(node.input(2))
    if data is None or data.shape is None or starts is None or ends is None:
        return None
    count = starts.size
    axes = integers(node, "axes", 3) if node.input(3) is not None else list(range(count))
    steps = integers(node, "steps", 4) if node.input(4) is not None else [1] * count
    if axes is None or steps is None:
        return None
    found = {}
    for i, (axis, step) in enumerate(zip(axes, steps, strict=True)):
        axis = wrap(axis, data)
        dim = data.shape[axis]
        assert isinstance(dim, int)
        start, stop, step = slice(int(starts.numpy()[i]), int(ends.numpy()[i]), step).indices(dim)
        found[axis] = (start, max(start, stop), step, i)
    return found


def slice_channels(node: Node, trace: Trace) -> None:
    """Tell what a Slice takes of channels."""
    data, bounds = node.inputs[0], slice_bounds(node)
    if data is None or bounds is None:
        return
    whole = {
        axis
        for axis, (start, stop, step, _) in bounds.items()
        if (start, stop, step) == (0, trace.size((data, axis)), 1)
    }
    trace.same(
        node, 0, data, node.output, {axis: axis for axis in range(rank_of(data)) if axis not in bounds or axis in whole}
    )
    for axis, (start, stop, step, position) in bounds.items():
        if axis in whole and trace.is_active(data, axis):
            trace.edits.append(SetBounds(node, position, (data, axis), (), ((data, axis),)))
        elif step == 1 and start < stop and trace.is_active(data, axis):
            pieces = _pieces(node, trace, data, axis)
            before = tuple(key for key, at in pieces if at < start)
            takes = tuple(key for key, at in pieces if start <= at < stop)
            trace.take(node, (data, axis), takes, (node.output, axis))
            trace.edits.append(SetBounds(node, position, (data, axis), before, takes))


def _pieces(node: Node, trace: Trace, data: Value, axis: int) -> list[tuple[Axis, int]]:
    """The dimension cut at every bound that some Slice of the value has, as (piece, its start)."""
    if (data, axis) in trace.pieces:
        return trace.pieces[(data, axis)]
    size = trace.size((data, axis))
    ranges = []
    for user in data.users:
        bound = (slice_bounds(user) or {}).get(axis) if user.op == "Slice" and not user.domain else None
        if bound is not None and bound[2] == 1:
            ranges.append(bound[:2])
    cuts = sorted({0, size, *(cut for bound in ranges for cut in bound)})
    pieces = [((Value(f"{data.name}[{start}:{stop}]"), axis), start, stop) for start, stop in itertools.pairwise(cuts)]
    spare = [key for key, start, stop in pieces if not any(low <= start and stop <= high for low, high in ranges)]
    trace.split(node, data, axis, [(key, stop - start) for key, start, stop in pieces], spare)
    trace.pieces[(data, axis)] = [(key, start) for key, start, _ in pieces]
    return trace.pieces[(data, axis)]
