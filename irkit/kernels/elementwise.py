"""Kernels that work element by element.

Floats are computed in float64 and rounded once. For + - * / sqrt of float32 and float16 that is the IEEE result bit
for bit, since float64 has more than twice their precision (Figueroa, "When is double rounding innocuous?", 1995).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from irkit.kernels.call import Array, Call, CannotEvaluate, Exactness, dtype_of_code, kernel
from irkit.tensor import Tensor
from irkit.types import DType


def wide(array: Array) -> Array:
    """Floats as float64, anything else as it is. Declines complex numbers."""
    if array.dtype.kind == "c":
        raise CannotEvaluate
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def no_nan(array: Array) -> Array:
    """The array, unless it holds NaN: runtimes do not agree on its order."""
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise CannotEvaluate
    return array


def rounded(call: Call, array: Any, index: int = 0) -> Tensor:
    """A result in the element type of an input."""
    return Tensor.of(np.asarray(array).astype(call.tensor(index).dtype.numpy))


def _operands(call: Call) -> tuple[Array, Array]:
    """Two operands; the old explicit broadcasting (before opset 7) aligns the second at an axis."""
    left, right = call.native(0), call.native(1)
    if call.version < 7 and call.attr("broadcast") is not None:
        axis = call.attr("axis")
        if call.attr("broadcast") and axis is not None and right.ndim:
            right = right.reshape(right.shape + (1,) * (left.ndim - axis % left.ndim - right.ndim))
        elif not call.attr("broadcast") and left.shape != right.shape:
            raise CannotEvaluate
    return left, right


_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}


@kernel("Add", "Sub", "Mul", elementwise=True)
def _arithmetic(call: Call) -> list[Tensor]:
    left, right = _operands(call)
    return [rounded(call, _ARITHMETIC[call.node.op](wide(left), wide(right)))]


@kernel("Div", elementwise=True)
def _divide(call: Call) -> list[Tensor]:
    left, right = _operands(call)
    if left.dtype.kind == "f":
        return [rounded(call, wide(left) / wide(right))]
    if not right.all() or (left.dtype.kind == "i" and (right == -1).any() and (left == np.iinfo(left.dtype).min).any()):
        raise CannotEvaluate
    quotient = left // right
    away = (left % right != 0) & ((left < 0) != (right < 0))  # ONNX rounds towards zero, numpy down
    return [rounded(call, quotient + away)]


@kernel("Mod", elementwise=True)
def _modulo(call: Call) -> list[Tensor]:
    left, right = call.native(0), call.native(1)
    if left.dtype.kind != "f" and not right.all():
        raise CannotEvaluate
    return [rounded(call, np.fmod(left, right) if call.attr("fmod") else np.mod(left, right))]


@kernel("Min", "Max", elementwise=True)
def _extreme(call: Call) -> list[Tensor]:
    arrays = [no_nan(array) for array in call.arrays()]
    choose = np.minimum if call.node.op == "Min" else np.maximum
    out = arrays[0]
    for array in arrays[1:]:
        out = choose(out, array)
    return [rounded(call, out)]


@kernel("Sum", "Mean", exactness=Exactness.INTEGERS, elementwise=True)
def _total(call: Call) -> list[Tensor]:
    arrays = [wide(array) for array in call.arrays()]
    out = sum(arrays[1:], arrays[0])
    return [rounded(call, out / len(arrays) if call.node.op == "Mean" else out)]


_UNARY: dict[str, Callable[[Any], Any]] = {
    "Neg": np.negative, "Abs": np.abs, "Sign": np.sign, "Floor": np.floor, "Ceil": np.ceil, "Round": np.rint,
    "Sqrt": np.sqrt, "Reciprocal": np.reciprocal, "Not": np.logical_not, "BitwiseNot": np.invert,
}  # fmt: skip


@kernel(*_UNARY, elementwise=True)
def _unary(call: Call) -> list[Tensor]:
    data = call.native(0)
    if call.node.op not in ("Neg", "Abs", "Not", "BitwiseNot"):
        data = wide(data)
    return [rounded(call, _UNARY[call.node.op](data))]


def _erf(data: Any) -> Any:
    return np.fromiter(map(math.erf, np.ravel(data)), np.float64, np.size(data)).reshape(np.shape(data))


def _sigmoid(data: Any) -> Any:
    return np.where(data >= 0, 1 / (1 + np.exp(-np.abs(data))), np.exp(-np.abs(data)) / (1 + np.exp(-np.abs(data))))


_SMOOTH: dict[str, Callable[[Any], Any]] = {
    "Exp": np.exp, "Log": np.log, "Erf": _erf, "Sigmoid": _sigmoid, "Tanh": np.tanh, "Sin": np.sin, "Cos": np.cos,
    "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh,
    "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh,
    "Softplus": lambda x: np.logaddexp(0, x), "Softsign": lambda x: x / (1 + np.abs(x)),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "Mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
}  # fmt: skip


@kernel(*_SMOOTH, exactness=Exactness.ROUNDED, elementwise=True)
def _smooth(call: Call) -> list[Tensor]:
    data = call.native(0)
    if data.dtype.kind != "f":
        raise CannotEvaluate
    return [rounded(call, _SMOOTH[call.node.op](wide(data)))]


@kernel("Gelu", "HardSigmoid", "Elu", "Selu", "Celu", exactness=Exactness.ROUNDED, elementwise=True)
def _activation(call: Call) -> list[Tensor]:
    data = wide(call.native(0))
    op = call.node.op
    alpha = call.attr("alpha")
    if op == "HardSigmoid":
        return [rounded(call, np.clip(alpha * data + call.attr("beta"), 0, 1))]
    if op == "Gelu":
        if call.attr("approximate") == "tanh":
            inner = math.sqrt(2 / math.pi) * (data + 0.044715 * data**3)
            return [rounded(call, 0.5 * data * (1 + np.tanh(inner)))]
        return [rounded(call, 0.5 * data * (1 + _erf(data / math.sqrt(2))))]
    negative = np.minimum(data, 0)
    if op == "Celu":
        return [rounded(call, np.maximum(data, 0) + alpha * np.expm1(negative / alpha))]
    out = np.where(data > 0, data, alpha * np.expm1(negative))
    return [rounded(call, out * call.attr("gamma") if op == "Selu" else out)]


@kernel("Relu", "LeakyRelu", "ThresholdedRelu", "PRelu", elementwise=True)
def _rectified(call: Call) -> list[Tensor]:
    data = wide(no_nan(call.native(0)))
    op = call.node.op
    if op == "Relu":
        return [rounded(call, np.maximum(data, 0))]
    if op == "ThresholdedRelu":
        return [rounded(call, np.where(data > call.attr("alpha"), data, 0))]
    slope = call.attr("alpha") if op == "LeakyRelu" else wide(call.native(1))
    return [rounded(call, np.where(data < 0, data * slope, data))]


@kernel("Clip", elementwise=True)
def _clip(call: Call) -> list[Tensor]:
    data = no_nan(call.native(0))
    low, high = (_bound(call, index, name) for index, name in ((1, "min"), (2, "max")))
    if low is not None:
        data = np.maximum(data, low)
    if high is not None:
        data = np.minimum(data, high)
    return [rounded(call, data)]


def _bound(call: Call, index: int, name: str) -> Any:
    if call.has(index):
        return no_nan(call.native(index))
    value = call.attr(name)
    return None if value is None else np.asarray(value, call.tensor(0).dtype.numpy)


@kernel("Pow", exactness=Exactness.ROUNDED, elementwise=True)
def _power(call: Call) -> list[Tensor]:
    base, exponent = _operands(call)
    if base.dtype.kind in "iu":
        if exponent.dtype.kind not in "iu" or (exponent < 0).any():
            raise CannotEvaluate
        return [rounded(call, np.power(base, exponent))]
    return [rounded(call, np.power(wide(base), exponent.astype(np.float64)))]


_COMPARISON: dict[str, Callable[[Any, Any], Any]] = {
    "Equal": np.equal, "Greater": np.greater, "Less": np.less, "GreaterOrEqual": np.greater_equal,
    "LessOrEqual": np.less_equal, "And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor,
}  # fmt: skip


@kernel(*_COMPARISON, elementwise=True)
def _compare(call: Call) -> list[Tensor]:
    if call.tensor(0).dtype == DType.STRING:
        return [Tensor.of(np.asarray(call.array(0) == call.array(1), bool))]
    return [Tensor.of(np.asarray(_COMPARISON[call.node.op](*_operands(call)), bool))]


_BITS: dict[str, Callable[[Any, Any], Any]] = {
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
}  # fmt: skip


@kernel(*_BITS, elementwise=True)
def _bitwise(call: Call) -> list[Tensor]:
    return [rounded(call, _BITS[call.node.op](call.native(0), call.native(1)))]


@kernel("BitShift", elementwise=True)
def _bit_shift(call: Call) -> list[Tensor]:
    data, count = call.native(0), call.native(1)
    if (count >= data.dtype.itemsize * 8).any():
        raise CannotEvaluate
    shift = np.left_shift if call.attr("direction") == "LEFT" else np.right_shift
    return [rounded(call, shift(data, count))]


@kernel("IsNaN", elementwise=True)
def _is_nan(call: Call) -> list[Tensor]:
    return [Tensor.of(np.asarray(np.isnan(call.native(0)), bool))]


@kernel("IsInf", elementwise=True)
def _is_inf(call: Call) -> list[Tensor]:
    data = call.native(0)
    found = np.zeros(data.shape, bool)
    if call.attr("detect_negative"):
        found |= np.isneginf(data)
    if call.attr("detect_positive"):
        found |= np.isposinf(data)
    return [Tensor.of(found)]


@kernel("Cast", "CastLike", elementwise=True)
def _cast(call: Call) -> list[Tensor]:
    source = call.tensor(0)
    target = DType(call.attr("to")) if call.node.op == "Cast" else call.dtype(1)
    if target == source.dtype:
        return [source]
    if source.dtype == DType.BFLOAT16:
        bits: Array = source.numpy().astype(np.uint32) << np.uint32(16)
        return [Tensor.of(_converted(bits.view(np.float32), dtype_of_code(target)))]
    if target == DType.BFLOAT16 and source.dtype == DType.FLOAT32:
        return [Tensor.of(_to_bfloat16(source.numpy()), target)]
    return [Tensor.of(_converted(call.native(0), dtype_of_code(target)))]


def _converted(data: Array, target: DType) -> Array:
    """As a C cast does it. Declines where the standard leaves the result open: NaN or too large for an integer."""
    if "c" in (data.dtype.kind, target.numpy.kind):
        raise CannotEvaluate
    if data.dtype.kind == "f" and target.is_integer:
        limits = np.iinfo(target.numpy)
        whole = np.trunc(wide(data))
        # 2**63 and 2**64 are floats, their predecessors are not
        if not ((whole >= float(limits.min)) & (whole < float(limits.max) + (limits.bits < 64))).all():
            raise CannotEvaluate
        data = whole
    converted: Array = np.asarray(data).astype(target.numpy)
    return converted


def _to_bfloat16(data: Array) -> Array:
    """Upper halves of float32, rounded to nearest, ties to even."""
    if np.isnan(data).any():
        raise CannotEvaluate
    bits = np.ascontiguousarray(data).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    upper: Array = ((bits.astype(np.uint64) + 0x7FFF + odd) >> np.uint64(16)).astype(np.uint16)
    shaped: Array = upper.reshape(data.shape)
    return shaped
