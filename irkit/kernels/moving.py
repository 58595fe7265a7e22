"""Kernels of operators that only move elements. They work on bit patterns, so on every element type."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from irkit.kernels.call import Array, Call, CannotEvaluate, kernel, like, normal_axis
from irkit.tensor import Tensor
from irkit.types import DType


@kernel("Identity", data=(0,))
def _identity(call: Call) -> list[Tensor]:
    return [call.tensor(0)]


@kernel("Constant")
def _constant(call: Call) -> list[Tensor]:
    data = call.node.output.constant
    if data is None:
        raise CannotEvaluate
    return [data]


@kernel("Reshape", data=(0,))
def _reshape(call: Call) -> list[Tensor]:
    target = call.ints(1, "shape")
    if target is None:
        raise CannotEvaluate
    data = call.array(0)
    shape = reshaped(data.shape, target, bool(call.attr("allowzero")))
    return [like(call, data.reshape(shape))]


def reshaped(shape: Sequence[int], target: Sequence[int], allow_zero: bool) -> tuple[int, ...]:
    """The shape Reshape gives: 0 copies a dimension (unless `allow_zero`), -1 takes what is left."""
    out = [shape[axis] if dim == 0 and not allow_zero else dim for axis, dim in enumerate(target)]
    if -1 in out:
        hole = out.index(-1)
        known = math.prod(out[:hole] + out[hole + 1 :])
        if known <= 0 or math.prod(shape) % known:
            raise CannotEvaluate
        out[hole] = math.prod(shape) // known
    return tuple(out)


@kernel("Flatten", data=(0,))
def _flatten(call: Call) -> list[Tensor]:
    data = call.array(0)
    axis = call.attr("axis")
    if not -data.ndim <= axis <= data.ndim:
        raise CannotEvaluate
    axis = axis + data.ndim if axis < 0 else axis
    return [like(call, data.reshape(math.prod(data.shape[:axis]), math.prod(data.shape[axis:])))]


@kernel("Squeeze", data=(0,))
def _squeeze(call: Call) -> list[Tensor]:
    data, axes = call.array(0), call.ints(1, "axes")
    if axes is None:
        return [like(call, data.squeeze())]
    return [like(call, data.squeeze(tuple(normal_axis(axis, data.ndim) for axis in axes)))]


@kernel("Unsqueeze", data=(0,))
def _unsqueeze(call: Call) -> list[Tensor]:
    data, axes = call.array(0), call.ints(1, "axes")
    if axes is None:
        raise CannotEvaluate
    return [like(call, np.expand_dims(data, tuple(normal_axis(axis, data.ndim + len(axes)) for axis in axes)))]


@kernel("Transpose", data=(0,))
def _transpose(call: Call) -> list[Tensor]:
    return [like(call, call.array(0).transpose(call.attr("perm")))]


@kernel("Concat", data=())
def _concat(call: Call) -> list[Tensor]:
    arrays = [call.array(index) for index in range(len(call.inputs))]
    return [like(call, np.concatenate(arrays, call.axis(1, arrays[0].ndim)))]


@kernel("Expand", data=(0,))
def _expand(call: Call) -> list[Tensor]:
    data, shape = call.array(0), call.ints(1)
    assert shape is not None
    return [like(call, np.broadcast_to(data, np.broadcast_shapes(data.shape, shape)))]


@kernel("Tile", data=(0,))
def _tile(call: Call) -> list[Tensor]:
    data, repeats = call.array(0), call.ints(1)
    if call.version < 6 or repeats is None or len(repeats) != data.ndim:
        raise CannotEvaluate
    return [like(call, np.tile(data, repeats))]


@kernel("Slice", data=(0,))
def _slice(call: Call) -> list[Tensor]:
    data = call.array(0)
    starts, ends, axes, steps = (call.ints(i, name) for i, name in ((1, "starts"), (2, "ends"), (3, "axes"), (4, "")))
    if starts is None or ends is None:
        raise CannotEvaluate
    index: list[slice] = [slice(None)] * data.ndim
    for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = normal_axis(axes[place] if axes is not None else place, data.ndim)
        index[axis] = slice_of(start, end, steps[place] if steps is not None else 1, data.shape[axis])
    return [like(call, data[tuple(index)])]


def slice_of(start: int, end: int, step: int, dim: int) -> slice:
    """The Python slice that ONNX's Slice takes of a dimension. Declines step 0."""
    if step == 0:
        raise CannotEvaluate
    start = start + dim if start < 0 else start
    end = end + dim if end < 0 else end
    if step > 0:
        return slice(min(max(start, 0), dim), min(max(end, 0), dim), step)
    start, end = min(max(start, 0), dim - 1), min(max(end, -1), dim - 1)
    return slice(start, end if end >= 0 else None, step) if dim else slice(0, 0)


@kernel("Split", data=(0,))
def _split(call: Call) -> list[Tensor]:
    data = call.array(0)
    axis = call.axis(0, data.ndim)
    sizes = call.ints(1, "split")
    if sizes is None:
        sizes = split_sizes(data.shape[axis], call.attr("num_outputs") or len(call.node.outputs))
    if sum(sizes) != data.shape[axis] or len(sizes) != len(call.node.outputs):
        raise CannotEvaluate
    return [like(call, part) for part in np.split(data, np.cumsum(sizes)[:-1], axis)]


def split_sizes(dim: int, count: int) -> tuple[int, ...]:
    """Sizes of `count` equal parts of a dimension; the last takes what is left."""
    size = -(-dim // count)
    sizes = [size] * (count - 1) + [dim - size * (count - 1)]
    if sizes[-1] < 0:
        raise CannotEvaluate
    return tuple(sizes)


@kernel("Pad")
def _pad(call: Call) -> list[Tensor]:
    data = call.array(0)
    pads = call.ints(1, "pads")
    if pads is None:
        raise CannotEvaluate
    axes = [normal_axis(axis, data.ndim) for axis in call.ints(3) or range(data.ndim)]
    begins, ends = [0] * data.ndim, [0] * data.ndim
    for place, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[place], pads[place + len(axes)]
    mode = call.attr("mode")
    if min((*begins, *ends), default=0) < 0:
        if mode != "constant":
            raise CannotEvaluate
        data, begins, ends = _crop(data, begins, ends)
    widths = list(zip(begins, ends, strict=True))
    if mode == "constant":
        return [like(call, np.pad(data, widths, constant_values=_fill(call)))]
    return [like(call, np.pad(data, widths, mode=mode))]


def _crop(data: Array, begins: Sequence[int], ends: Sequence[int]) -> tuple[Array, list[int], list[int]]:
    """Negative widths take away; returns what is left to add."""
    index = tuple(
        slice(-min(begin, 0), dim + min(end, 0)) for begin, end, dim in zip(begins, ends, data.shape, strict=True)
    )
    return data[index], _positive(begins), _positive(ends)


def _positive(widths: Iterable[int]) -> list[int]:
    return [max(width, 0) for width in widths]


def _fill(call: Call) -> Any:
    if call.has(2):
        return call.array(2).reshape(())[()]
    if call.tensor(0).dtype == DType.STRING:
        return b""
    value = call.attr("value") or 0
    if value and not call.tensor(0).dtype.is_native:
        raise CannotEvaluate
    return value


@kernel("DepthToSpace", data=(0,))
def _depth_to_space(call: Call) -> list[Tensor]:
    data, block = call.array(0), call.attr("blocksize")
    batch, channels, height, width = data.shape
    if call.attr("mode") == "CRD":
        parts = data.reshape(batch, channels // block**2, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = data.reshape(batch, block, block, channels // block**2, height, width).transpose(0, 3, 4, 1, 5, 2)
    return [like(call, parts.reshape(batch, channels // block**2, height * block, width * block))]


@kernel("SpaceToDepth", data=(0,))
def _space_to_depth(call: Call) -> list[Tensor]:
    data, block = call.array(0), call.attr("blocksize")
    batch, channels, height, width = data.shape
    if height % block or width % block:
        raise CannotEvaluate
    parts = data.reshape(batch, channels, height // block, block, width // block, block)
    parts = parts.transpose((0, 1, 3, 5, 2, 4) if call.attr("mode") == "CRD" else (0, 3, 5, 1, 2, 4))
    return [like(call, parts.reshape(batch, channels * block**2, height // block, width // block))]


@kernel("Where", data=(1, 2))
def _where(call: Call) -> list[Tensor]:
    return [like(call, np.where(call.array(0), call.array(1), call.array(2)), 1)]


@kernel("Trilu")
def _trilu(call: Call) -> list[Tensor]:
    data = call.array(0)
    diagonal = int(call.array(1).reshape(())) if call.has(1) else 0
    return [like(call, (np.triu if call.attr("upper") else np.tril)(data, diagonal))]


@kernel("ReverseSequence", data=(0,))
def _reverse_sequence(call: Call) -> list[Tensor]:
    data, lengths = call.array(0), call.ints(1)
    time, batch = call.attr("time_axis"), call.attr("batch_axis")
    if {time, batch} != {0, 1} or lengths is None:
        raise CannotEvaluate
    out = (data if time == 0 else data.swapaxes(0, 1)).copy()
    for column, length in enumerate(lengths):
        out[:length, column] = out[:length, column][::-1]
    return [like(call, out if time == 0 else out.swapaxes(0, 1))]


@kernel("Compress", data=(0,))
def _compress(call: Call) -> list[Tensor]:
    data, condition = call.array(0), call.array(1).reshape(-1)
    axis = call.attr("axis")
    if axis is None:
        data, axis = data.reshape(-1), 0
    return [like(call, np.compress(condition, data, normal_axis(axis, data.ndim)))]
