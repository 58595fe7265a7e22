"""IRK007: weights that are no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from irkit import ops
from irkit.diagnostics import Severity
from irkit.ir import Value
from irkit.linter import Found, Subject, rule
from irkit.tensor import SparseTensor, Tensor
from irkit.types import DType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_CHUNK = 1 << 20
"""Elements looked at in one go, so that a large weight is never copied as a whole."""

_EXPONENT_BITS = {DType.FLOAT16: 0x7C00, DType.BFLOAT16: 0x7F80}
"""All exponent bits of the 16-bit types, which only NaN and infinity have set."""


class _Oddities(NamedTuple):
    """How many NaN and infinite elements there are, and where the first of them is, counted in row-major order."""

    nans: int
    infinities: int
    first: int


@rule("IRK007", "non-finite-weights", Severity.ERROR)
def non_finite_weights(subject: Subject) -> Iterator[Found]:
    """A constant that holds NaN or infinity.

    Why: one NaN makes everything after it NaN, and a range with infinity in it cannot be quantized.
    Fix: look at the training run (a diverged loss, a batch norm that saw no data); in an attention mask write a large
    negative number for minus infinity.
    """
    for value, tensor in _float_constants(subject):
        found = _find_oddities(tensor)
        if found is None:
            continue
        node = next(iter(value.users), value.producer)
        counts = [f"{found.nans} NaN"] * bool(found.nans) + [f"{found.infinities} infinite"] * bool(found.infinities)
        what = f"`{value.name}` ({value.type or tensor.dtype.label})"
        message = f"{what} must be finite; found {' and '.join(counts)}, first at {found.first}"
        harmless = not found.nans and not _is_parameter(value)
        yield Found(message, node, Severity.WARNING if harmless else Severity.ERROR)


def _float_constants(subject: Subject) -> Iterator[tuple[Value, Tensor]]:
    """Constants of every graph that hold 16-, 32- or 64-bit floats, with the value that is read."""
    for value in subject.model.values():
        is_constant_node = value.producer is not None and value.producer.op == "Constant"
        data = value.initializer if value.is_initializer or not is_constant_node else value.constant
        tensor = data.values if isinstance(data, SparseTensor) else data
        if tensor is not None and tensor.size and (tensor.dtype in _EXPONENT_BITS or _is_wide_float(tensor.dtype)):
            yield value, tensor


def _is_wide_float(dtype: DType) -> bool:
    return dtype in (DType.FLOAT32, DType.FLOAT64)


def _is_parameter(value: Value) -> bool:
    return any(use.slot in ops.parameter_slots(use.node) for use in value.uses)


def _find_oddities(tensor: Tensor) -> _Oddities | None:
    """The elements that are not finite; None where all are."""
    import numpy as np

    flat = np.asarray(tensor.splat_value).reshape(1) if tensor.is_splat else tensor.numpy().reshape(-1)
    repeats = tensor.size if tensor.is_splat else 1
    nans = infinities = 0
    first = -1
    for start in range(0, flat.size, _CHUNK):
        chunk = flat[start : start + _CHUNK]
        if _all_finite(chunk, tensor.dtype):
            continue
        odd, nan = _odd_and_nan(chunk, tensor.dtype)
        if odd.any() and first < 0:
            first = start + int(odd.argmax())
        nans += int(nan.sum()) * repeats
        infinities += int((odd & ~nan).sum()) * repeats
    return _Oddities(nans, infinities, first) if first >= 0 else None


def _all_finite(chunk: Array, dtype: DType) -> bool:
    """Whether surely all elements are finite. The sum is a cheap witness: NaN and infinity show in it."""
    import numpy as np

    if dtype in _EXPONENT_BITS:
        return False
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.add.reduce(chunk)))


def _odd_and_nan(chunk: Array, dtype: DType) -> tuple[Array, Array]:
    """Where elements are not finite, and where they are NaN."""
    import numpy as np

    mask = _EXPONENT_BITS.get(dtype)
    if mask is None:
        return ~np.isfinite(chunk), np.isnan(chunk)
    bits = chunk.view(np.uint16)
    odd = (bits & np.uint16(mask)) == mask
    return odd, odd & ((bits & np.uint16(0x7FFF ^ mask)) != 0)
