"""Kernels that sum up: reductions, matrix products, soft maxima. Sums are float64, in a fixed order, without BLAS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irkit.kernels.call import Array, Call, CannotEvaluate, Exactness, kernel, normal_axis
from irkit.kernels.elementwise import no_nan, rounded, wide
from irkit.tensor import Tensor

MOST_PRODUCTS = 1 << 30
"""Matrix products of more multiplications than this are left to the runtime."""


def _log_sum_exp(data: Array, **how: Any) -> Any:
    top = np.max(data, axis=how["axis"], keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    out = np.log(np.sum(np.exp(data - top), axis=how["axis"], keepdims=True)) + top
    return out if how["keepdims"] else out.reshape(np.sum(data, **how).shape)


_REDUCE: dict[str, Callable[..., Any]] = {
    "ReduceSum": np.sum, "ReduceProd": np.prod, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceMean": np.mean,
    "ReduceSumSquare": lambda x, **how: np.sum(x * x, **how), "ReduceL1": lambda x, **how: np.sum(np.abs(x), **how),
    "ReduceL2": lambda x, **how: np.sqrt(np.sum(x * x, **how)),
    "ReduceLogSum": lambda x, **how: np.log(np.sum(x, **how)),
    "ReduceLogSumExp": _log_sum_exp,
}  # fmt: skip

_SELECTING = ("ReduceMax", "ReduceMin")
_FLOAT_ONLY = ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp")


@kernel(*_REDUCE, exactness=Exactness.INTEGERS)
def _reduce(call: Call) -> list[Tensor]:
    return [_reduced(call)]


@kernel(*_SELECTING)
def _reduce_selecting(call: Call) -> list[Tensor]:
    no_nan(call.native(0))
    return [_reduced(call)]


def _reduced(call: Call) -> Tensor:
    data, op = call.native(0), call.node.op
    if data.dtype.kind != "f" and op in _FLOAT_ONLY:
        raise CannotEvaluate
    axes = call.ints(1, "axes")
    if not axes:
        if call.attr("noop_with_empty_axes"):
            raise CannotEvaluate
        axes = tuple(range(data.ndim))
    where = tuple(normal_axis(axis, data.ndim) for axis in axes)
    if data.dtype.kind == "f":
        data = wide(data)
    out = _REDUCE[op](data, axis=where, keepdims=bool(call.attr("keepdims")))
    return rounded(call, out)


@kernel("CumSum", exactness=Exactness.INTEGERS)
def _cumulative_sum(call: Call) -> list[Tensor]:
    data = wide(call.native(0))
    axis = normal_axis(int(call.native(1).reshape(())), data.ndim)
    if call.attr("reverse"):
        data = np.flip(data, axis)
    if call.attr("exclusive"):
        data = np.delete(np.insert(data, 0, 0, axis), -1, axis)
    out = np.cumsum(data, axis, data.dtype)
    return [rounded(call, np.flip(out, axis) if call.attr("reverse") else out)]


@kernel("MatMul", exactness=Exactness.INTEGERS)
def _matrix_product(call: Call) -> list[Tensor]:
    return [rounded(call, product(call.native(0), call.native(1)))]


def product(left: Array, right: Array) -> Array:
    """`numpy.matmul` with sums in a fixed order."""
    if left.ndim == 1:
        return product(left[None], right)[..., 0, :]
    if right.ndim == 1:
        return product(left, right[:, None])[..., 0]
    lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    if math.prod(lead) * left.shape[-2] * left.shape[-1] * right.shape[-1] > MOST_PRODUCTS:
        raise CannotEvaluate
    out: Array = np.einsum("...ij,...jk->...ik", wide(left), wide(right), optimize=False)
    return out


@kernel("Gemm", exactness=Exactness.INTEGERS)
def _general_product(call: Call) -> list[Tensor]:
    left, right = call.native(0), call.native(1)
    left = left.T if call.attr("transA") else left
    right = right.T if call.attr("transB") else right
    alpha, beta = call.attr("alpha"), call.attr("beta")
    if left.dtype.kind != "f" and (alpha != 1 or beta != 1):
        raise CannotEvaluate
    out = product(left, right)
    if left.dtype.kind == "f":
        out = out * alpha
    if call.has(2):
        addend = wide(call.native(2))
        out = out + (addend * beta if left.dtype.kind == "f" else addend)
    return [rounded(call, out)]


@kernel("Softmax", "LogSoftmax", exactness=Exactness.ROUNDED)
def _soft_maximum(call: Call) -> list[Tensor]:
    data = wide(call.native(0))
    shape = data.shape
    if call.version < 13:  # before, everything from the axis on is one dimension
        axis = call.axis(1, data.ndim)
        data = data.reshape(math.prod(shape[:axis]), math.prod(shape[axis:]))
        axis = 1
    else:
        axis = call.axis(-1, data.ndim)
    shifted = data - np.max(data, axis, keepdims=True)
    norm = np.sum(np.exp(shifted), axis, keepdims=True)
    out = np.exp(shifted) / norm if call.node.op == "Softmax" else shifted - np.log(norm)
    return [rounded(call, out.reshape(shape))]
