"""Numbers in patterns: which constants they stand for."""

from __future__ import annotations

import math
import struct

from irkit.ir import Node, Value
from irkit.pattern import Number, Numbers
from irkit.tensor import Tensor
from irkit.types import DType, TensorType

_BROADCASTING = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Sum", "Mean", "And", "Or", "Xor", "Equal", "Greater",
    "Less", "GreaterOrEqual", "LessOrEqual", "PRelu", "Where", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift",
})  # fmt: skip

_TOLERANCE = {DType.BFLOAT16: 1e-2, DType.FLOAT16: 2e-3}


def number_mismatch(pattern: Number | Numbers, value: Value, reader: Node | None) -> str:
    """Why a value is not that constant, or "".

    A uniform constant with more than one element, or of some rank, only counts as a number where `reader` broadcasts it
    without making its result larger.
    """
    tensor = value.constant
    if tensor is None:
        return "is no constant"
    if isinstance(pattern, Numbers):
        same = tensor.shape == (len(pattern.values),) and tensor.dtype.is_native
        return "" if same and tuple(tensor.numpy().tolist()) == pattern.values else f"is not {list(pattern.values)}"
    found = uniform_number(tensor)
    if found is None or not _is_about(found, pattern, tensor.dtype):
        return f"is not {pattern.value:g}"
    return "" if not tensor.rank or _keeps_shape(tensor, value, reader) else "may make the result larger"


def _is_about(found: float, pattern: Number, dtype: DType) -> bool:
    tolerance = pattern.tolerance if pattern.tolerance is not None else _TOLERANCE.get(dtype, 1e-4)
    return math.isclose(found, pattern.value, rel_tol=tolerance, abs_tol=1e-9)


def uniform_number(tensor: Tensor) -> float | None:
    """The number that all elements of a tensor are; None where they differ or are no numbers."""
    if tensor.dtype == DType.STRING or tensor.dtype.numpy.kind == "c":
        return None
    element = tensor.uniform()
    if element is None:
        return None
    if tensor.dtype == DType.BFLOAT16:
        return float(struct.unpack("<f", struct.pack("<I", int(element) << 16))[0])
    return float(element) if tensor.dtype.is_native else None


def _keeps_shape(tensor: Tensor, value: Value, reader: Node | None) -> bool:
    """Whether broadcasting the constant leaves the other operand's shape as it is."""
    if reader is None or reader.domain or reader.op not in _BROADCASTING:
        return False
    out = _known_shape(reader.output)
    for other in reader.inputs:
        if other is None or other is value:
            continue
        shape = _known_shape(other)
        if shape is None:
            continue
        if (tensor.size == 1 and tensor.rank <= len(shape)) or (shape == out and None not in shape):
            return True
    return False


def _known_shape(value: Value) -> tuple[int | str | None, ...] | None:
    return value.type.shape if isinstance(value.type, TensorType) else None
