"""Carry a plan out: pad constants, set sizes, and give values their new types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from irkit import source
from irkit.channels.plan import Plan
from irkit.channels.steps import Lanes
from irkit.channels.trace import PadConstant, PadGrouped, SetBounds, SetSizes
from irkit.ir import Node, Value
from irkit.tensor import Tensor
from irkit.types import TensorType

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"

Padding: TypeAlias = "tuple[int, Lanes, float]"
"""(axis, layout, fill)"""


_PIECE = 16
"""Lanes that are laid out in one go."""


def apply_plan(plan: Plan) -> None:
    """Make every edit of the plan; constants that nothing reads any more are removed."""
    made: dict[object, Value] = {}
    pads: dict[tuple[Node, int], list[Padding]] = {}
    for edit in plan.trace.edits:
        if isinstance(edit, PadConstant):
            layout = plan.layouts.get(edit.follows)
            if layout is not None:
                pads.setdefault((edit.node, edit.slot), []).append((edit.axis, layout, edit.fill))
        elif isinstance(edit, PadGrouped):
            _pad_grouped(edit, plan)
        elif isinstance(edit, SetSizes):
            _set_sizes(edit, plan)
        else:
            _set_bounds(edit, plan)
    for (node, slot), paddings in pads.items():
        _pad_constant(node, slot, paddings, made)
    for (owner, axis), size in plan.sizes.items():
        if isinstance(owner, Value) and isinstance(owner.type, TensorType) and owner.type.shape is not None:
            shape = (*owner.type.shape[:axis], size, *owner.type.shape[axis + 1 :])
            owner.type = TensorType(owner.type.dtype, shape)


def padded(data: Tensor, paddings: Sequence[Padding]) -> Tensor:
    """The tensor with some dimensions laid out anew; added lanes hold the fill of their padding."""
    if data.is_splat and all(fill == data.splat_value for _, _, fill in paddings):
        shape = list(data.shape)
        for axis, layout, _ in paddings:
            shape[axis] = len(layout)
        return Tensor.splat(data.splat_value, shape, data.dtype)
    (axis, layout, fill), *others = paddings
    array = data.numpy()
    shape = list(array.shape)
    for other, lanes, _ in paddings:
        shape[other] = len(lanes)
    grown = source.empty(tuple(shape), array.dtype)
    for start in range(0, len(layout), _PIECE):  # so that no copy of a large array is made on the heap
        piece = _grown(array, axis, layout[start : start + _PIECE], fill)
        for padding in others:
            piece = _grown(piece, *padding)
        grown[(slice(None),) * axis + (slice(start, start + _PIECE),)] = piece
    grown.flags.writeable = False  # it is in the scratch file already where it is large
    return Tensor.of(grown, data.dtype)


def _grown(array: Array, axis: int, layout: Lanes, fill: float) -> Array:
    grown = np.full((*array.shape[:axis], len(layout), *array.shape[axis + 1 :]), fill, array.dtype)
    real = layout >= 0
    grown[(slice(None),) * axis + (real,)] = array.take(layout[real], axis)
    return grown


def _pad_constant(node: Node, slot: int, paddings: list[Padding], made: dict[object, Value]) -> None:
    value = node.inputs[slot]
    assert value is not None
    assert value.constant is not None
    assert node.graph is not None
    key = (value, tuple((axis, layout.tobytes(), fill) for axis, layout, fill in paddings))
    if key not in made:
        made[key] = node.graph.add_initializer(f"{value.name}_padded", padded(value.constant, paddings))
    _replace(node, slot, made[key])


def _replace(node: Node, slot: int, new: Value) -> None:
    old = node.inputs[slot] if slot < len(node.inputs) else None
    node.set_input(slot, new)
    if old is None or old.use_count:
        return
    if old.producer is not None and old.producer.graph is not None:
        old.producer.graph.remove(old.producer)
    elif old.graph is not None and not old.is_graph_input:
        old.graph.remove_initializer(old)


def _pad_grouped(edit: PadGrouped, plan: Plan) -> None:
    """Each group's weights, laid out after the lanes of its own blocks."""
    if edit.source not in plan.layouts and edit.target not in plan.layouts:
        return
    value = edit.node.inputs[1]
    assert value is not None
    assert value.constant is not None
    assert edit.node.graph is not None
    groups, old = edit.groups, plan.trace.old
    sides = [_group_layouts(plan, axis, groups) for axis in (edit.source, edit.target)]
    inner, outer = (old[axis] // groups for axis in (edit.source, edit.target))
    data = value.constant
    array = data.numpy()
    kernel = array.shape[2:]
    rows, columns = (inner, outer) if edit.transposed else (outer, inner)
    array = array.reshape(groups, rows, columns, *kernel)
    row_side, column_side = sides if edit.transposed else (sides[1], sides[0])
    shape = (groups, len(row_side[0]), len(column_side[0]), *kernel)
    grown = source.empty(shape, array.dtype)
    grown.fill(0)
    for group in range(groups):
        at_rows, at_columns = (np.flatnonzero(side[group] >= 0) for side in (row_side, column_side))
        taken = array[group][np.ix_(row_side[group][at_rows], column_side[group][at_columns])]
        grown[group][np.ix_(at_rows, at_columns)] = taken
    grown.flags.writeable = False
    tensor = Tensor.of(grown.reshape(groups * shape[1], shape[2], *kernel), data.dtype)
    _replace(edit.node, 1, edit.node.graph.add_initializer(f"{value.name}_padded", tensor))


def _group_layouts(plan: Plan, axis: tuple[Value | Node, int], groups: int) -> list[Lanes]:
    """Layout inside each group: old index in the group, -1 for an added lane."""
    old = plan.trace.old[axis] // groups
    layout = plan.layouts.get(axis)
    if layout is None:
        layout = np.arange(plan.trace.old[axis], dtype=np.int64)
    blocks = layout.reshape(groups, -1)
    return [np.where(block < 0, -1, block - group * old) for group, block in enumerate(blocks)]


def _set_sizes(edit: SetSizes, plan: Plan) -> None:
    if not any(axis in plan.sizes for axis in edit.axes):
        return
    sizes = [plan.size(axis) for axis in edit.axes]
    if isinstance(edit.where, str):
        edit.node.set_attr(edit.where, sizes[0] if edit.scalar else sizes)
        return
    edit.node.set_attr("num_outputs", None)  # a Split into parts that are equal no more
    _set_list(edit.node, edit.where, sizes)


def _set_list(node: Node, slot: int, numbers: Sequence[int]) -> None:
    assert node.graph is not None
    old = node.input(slot)
    name = old.name if old is not None else f"{node.name}_sizes"
    dtype = np.int32 if old is not None and old.dtype is not None and old.dtype.bits == 32 else np.int64
    _replace(node, slot, node.graph.add_initializer(f"{name}_padded", Tensor.of(np.asarray(numbers, dtype))))


def _set_bounds(edit: SetBounds, plan: Plan) -> None:
    if edit.whole not in plan.sizes:
        return
    start = sum(plan.size(axis) for axis in edit.before)
    stop = start + sum(plan.size(axis) for axis in edit.takes)
    for slot, bound in ((1, start), (2, stop)):
        value = edit.node.inputs[slot]
        assert value is not None
        assert value.constant is not None
        bounds = [int(item) for item in value.constant.numpy().reshape(-1)]
        bounds[edit.position] = bound
        _set_list(edit.node, slot, bounds)
