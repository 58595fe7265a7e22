"""Kernels that gather, scatter and make indices or shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irkit.kernels.call import Array, Call, CannotEvaluate, Exactness, dtype_of_code, kernel, like, normal_axis
from irkit.tensor import Tensor
from irkit.types import DType


@kernel("Shape")
def _shape(call: Call) -> list[Tensor]:
    dims = call.shape(0)
    return [Tensor.of(np.asarray(dims[shape_slice(call.attr("start"), call.attr("end"), len(dims))], np.int64))]


def shape_slice(start: int | None, end: int | None, rank: int) -> slice:
    """The part of the dimensions that Shape gives: both ends clamped to the rank."""

    def clamp(position: int) -> int:
        return min(max(position + rank if position < 0 else position, 0), rank)

    return slice(clamp(start or 0), rank if end is None else clamp(end))


@kernel("Size")
def _size(call: Call) -> list[Tensor]:
    return [Tensor.of(np.asarray(math.prod(call.shape(0)), np.int64))]


@kernel("ConstantOfShape")
def _constant_of_shape(call: Call) -> list[Tensor]:
    dims = call.ints(0)
    value = call.attr("value")
    if dims is None or min(dims, default=0) < 0:
        raise CannotEvaluate
    if value is None:
        return [Tensor.splat(0.0, dims, DType.FLOAT32)]
    return [Tensor.splat(value.numpy().reshape(())[()], dims, value.dtype)]


@kernel("Range", exactness=Exactness.INTEGERS)
def _range(call: Call) -> list[Tensor]:
    start, limit, delta = (call.native(index).reshape(())[()] for index in range(3))
    dtype = call.tensor(0).dtype.numpy
    if dtype.kind in "iu":
        return [Tensor.of(np.arange(int(start), int(limit), int(delta), dtype=np.int64).astype(dtype))]
    count = max(math.ceil((float(limit) - float(start)) / float(delta)), 0)
    return [Tensor.of((float(start) + np.arange(count) * float(delta)).astype(dtype))]


@kernel("Gather", data=(0,))
def _gather(call: Call) -> list[Tensor]:
    data = call.array(0)
    return [like(call, np.take(data, call.array(1), call.axis(0, data.ndim)))]


@kernel("GatherElements", data=(0,))
def _gather_elements(call: Call) -> list[Tensor]:
    data, indices = call.array(0), call.array(1)
    axis = call.axis(0, data.ndim)
    trimmed = tuple(slice(None) if i == axis else slice(dim) for i, dim in enumerate(indices.shape))
    return [like(call, np.take_along_axis(data[trimmed], indices, axis))]


@kernel("GatherND", data=(0,))
def _gather_nd(call: Call) -> list[Tensor]:
    data, indices, batch = call.array(0), call.array(1), call.attr("batch_dims") or 0
    lead = data.shape[:batch]
    flat = data.reshape(-1, *data.shape[batch:])
    rows = indices.reshape(-1, *indices.shape[batch:])
    parts = [item[tuple(np.moveaxis(row, -1, 0))] for item, row in zip(flat, rows, strict=True)]
    if not parts:
        raise CannotEvaluate
    out = np.stack(parts)
    return [like(call, out.reshape(*lead, *out.shape[1:]))]


_REDUCE: dict[str, Callable[..., Any]] = {
    "add": np.add.at, "mul": np.multiply.at, "min": np.minimum.at, "max": np.maximum.at,
}  # fmt: skip


@kernel("Scatter", "ScatterElements")
def _scatter_elements(call: Call) -> list[Tensor]:
    out, indices, updates = call.array(0).copy(), call.array(1), call.array(2)
    axis = call.axis(0, out.ndim)
    index: list[Array] = list(np.indices(indices.shape, sparse=True))
    index[axis] = indices
    _scatter(call, out, tuple(index), updates)
    return [like(call, out)]


@kernel("ScatterND")
def _scatter_nd(call: Call) -> list[Tensor]:
    out, indices, updates = call.array(0).copy(), call.array(1), call.array(2)
    _scatter(call, out, tuple(np.moveaxis(indices, -1, 0)), updates)
    return [like(call, out)]


def _scatter(call: Call, out: Array, index: tuple[Array, ...], updates: Array) -> None:
    """Write or combine; floats are not combined, since their order would matter."""
    reduction = call.attr("reduction") or "none"
    if reduction == "none":
        out[index] = updates
    elif call.tensor(0).dtype.is_native and out.dtype.kind in "iu":
        _REDUCE[reduction](out, index, updates)
    else:
        raise CannotEvaluate


@kernel("OneHot")
def _one_hot(call: Call) -> list[Tensor]:
    indices = call.native(0)
    depth = int(call.native(1).reshape(-1)[0])
    if indices.dtype.kind == "f" and (indices != np.rint(indices)).any():
        raise CannotEvaluate
    off, on = call.array(2)
    axis = normal_axis(call.attr("axis"), indices.ndim + 1)
    wanted = np.expand_dims(np.where(indices < 0, indices + depth, indices), axis)
    classes = np.arange(depth).reshape([-1 if i == axis else 1 for i in range(indices.ndim + 1)])
    return [like(call, np.where(wanted == classes, on, off).astype(call.array(2).dtype), 2)]


@kernel("EyeLike")
def _eye_like(call: Call) -> list[Tensor]:
    code = call.attr("dtype")
    dtype = dtype_of_code(code) if code is not None else call.dtype(0)
    if not dtype.is_native:
        raise CannotEvaluate
    rows, columns = call.shape(0)
    return [Tensor.of(np.eye(rows, columns, call.attr("k"), dtype.numpy))]


@kernel("NonZero")
def _non_zero(call: Call) -> list[Tensor]:
    data = call.native(0)
    if data.ndim == 0:
        raise CannotEvaluate
    return [Tensor.of(np.stack(np.nonzero(data)).astype(np.int64))]


@kernel("ArgMax", "ArgMin")
def _arg_extreme(call: Call) -> list[Tensor]:
    data = _ordered(call.native(0))
    axis = call.axis(0, data.ndim)
    find = np.argmax if call.node.op == "ArgMax" else np.argmin
    last = call.attr("select_last_index")
    out = data.shape[axis] - 1 - find(np.flip(data, axis), axis) if last else find(data, axis)
    return [Tensor.of((np.expand_dims(out, axis) if call.attr("keepdims") else np.asarray(out)).astype(np.int64))]


@kernel("TopK")
def _top_k(call: Call) -> list[Tensor]:
    data = _ordered(call.native(0))
    axis = call.axis(-1, data.ndim)
    count = int(call.native(1).reshape(-1)[0]) if call.has(1) else call.attr("k")
    if call.attr("largest") in (1, None):
        order = data.shape[axis] - 1 - np.argsort(np.flip(data, axis), axis, kind="stable")
        order = np.flip(order, axis)
    else:
        order = np.argsort(data, axis, kind="stable")
    order = np.take(order, np.arange(count), axis)
    return [like(call, np.take_along_axis(data, order, axis)), Tensor.of(order.astype(np.int64))]


def _ordered(data: Array) -> Array:
    """The data, unless NaN makes its order a matter of taste."""
    if data.dtype.kind == "f" and np.isnan(data).any():
        raise CannotEvaluate
    return data
