"""Types of values: element types, dimensions, shapes, and every value type of ONNX.

All are immutable and hashable. This module imports nothing heavy; numpy is asked for only by `DType.numpy`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np


class DType(enum.IntEnum):
    """Element type of a tensor. The number is that of ONNX's `TensorProto.DataType`.

    Types that numpy does not know (bfloat16, float8, 6-, 4- and 2-bit) are handled as bit patterns in an unsigned
    (or, for int4 and int2, signed) carrier type; see `DType.numpy`.
    """

    UNDEFINED = 0
    FLOAT32 = 1
    UINT8 = 2
    INT8 = 3
    UINT16 = 4
    INT16 = 5
    INT32 = 6
    INT64 = 7
    STRING = 8
    BOOL = 9
    FLOAT16 = 10
    FLOAT64 = 11
    UINT32 = 12
    UINT64 = 13
    COMPLEX64 = 14
    COMPLEX128 = 15
    BFLOAT16 = 16
    FLOAT8E4M3FN = 17
    FLOAT8E4M3FNUZ = 18
    FLOAT8E5M2 = 19
    FLOAT8E5M2FNUZ = 20
    UINT4 = 21
    INT4 = 22
    FLOAT4E2M1 = 23
    FLOAT8E8M0 = 24
    UINT2 = 25
    INT2 = 26
    FLOAT6E2M3 = 27
    FLOAT6E3M2 = 28

    @property
    def label(self) -> str:
        """Lower-case name used in text and messages, such as `float32`."""
        return self.name.lower()

    @property
    def bits(self) -> int:
        """Bits an element takes in a packed tensor; 0 for strings and undefined."""
        return _BITS[self]

    @property
    def numpy(self) -> np.dtype[Any]:
        """The numpy dtype of this element type, or of its carrier where numpy has none."""
        import numpy as np

        return np.dtype(_NUMPY[self])

    @property
    def is_native(self) -> bool:
        """Whether numpy computes in this type (false for strings and bit-pattern carriers)."""
        return self in _NATIVE

    @property
    def is_float(self) -> bool:
        """Whether this is a floating-point type of any width."""
        return self.name.startswith(("FLOAT", "BFLOAT"))

    @property
    def is_integer(self) -> bool:
        """Whether this is a signed or unsigned integer type (not bool)."""
        return self.name.startswith(("INT", "UINT"))

    @classmethod
    def parse(cls, label: str) -> DType:
        """The type with that label. Raises `ValueError` for an unknown one."""
        try:
            return cls[label.upper()]
        except KeyError:
            raise ValueError(f"unknown element type {label!r}") from None

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> DType:
        """The type of a numpy dtype. Raises `ValueError` where ONNX has none."""
        if dtype.kind in "OSU":
            return cls.STRING
        try:
            return cls[dtype.name.upper()]
        except KeyError:
            raise ValueError(f"numpy dtype {dtype} has no ONNX element type") from None


_BITS = {
    DType.UNDEFINED: 0, DType.STRING: 0, DType.BOOL: 8,
    DType.UINT8: 8, DType.INT8: 8, DType.UINT16: 16, DType.INT16: 16,
    DType.UINT32: 32, DType.INT32: 32, DType.UINT64: 64, DType.INT64: 64,
    DType.FLOAT16: 16, DType.BFLOAT16: 16, DType.FLOAT32: 32, DType.FLOAT64: 64,
    DType.COMPLEX64: 64, DType.COMPLEX128: 128,
    DType.FLOAT8E4M3FN: 8, DType.FLOAT8E4M3FNUZ: 8, DType.FLOAT8E5M2: 8, DType.FLOAT8E5M2FNUZ: 8, DType.FLOAT8E8M0: 8,
    DType.UINT4: 4, DType.INT4: 4, DType.FLOAT4E2M1: 4, DType.UINT2: 2, DType.INT2: 2,
    DType.FLOAT6E2M3: 6, DType.FLOAT6E3M2: 6,
}  # fmt: skip

_NATIVE = frozenset({
    DType.BOOL, DType.UINT8, DType.INT8, DType.UINT16, DType.INT16, DType.UINT32, DType.INT32,
    DType.UINT64, DType.INT64,
    DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, DType.COMPLEX64, DType.COMPLEX128,
})  # fmt: skip

_CARRIER = {
    DType.UNDEFINED: "uint8", DType.STRING: "object", DType.BFLOAT16: "uint16",
    DType.FLOAT8E4M3FN: "uint8", DType.FLOAT8E4M3FNUZ: "uint8", DType.FLOAT8E5M2: "uint8",
    DType.FLOAT8E5M2FNUZ: "uint8", DType.FLOAT8E8M0: "uint8", DType.FLOAT4E2M1: "uint8",
    DType.UINT4: "uint8", DType.INT4: "int8", DType.UINT2: "uint8", DType.INT2: "int8",
    DType.FLOAT6E2M3: "uint8", DType.FLOAT6E3M2: "uint8",
}  # fmt: skip

_NUMPY = {dtype: _CARRIER.get(dtype, dtype.label) for dtype in DType}

Dim: TypeAlias = "int | str | None"
"""One dimension: a number, a named symbol, or None where nothing is known."""

Shape: TypeAlias = "tuple[Dim, ...]"


def is_static(shape: Sequence[Dim] | None) -> bool:
    """Whether the rank and every dimension are known numbers."""
    return shape is not None and all(isinstance(dim, int) for dim in shape)


def format_shape(shape: Sequence[Dim] | None) -> str:
    """`[1,3,H,?]`, or `[*]` where even the rank is unknown."""
    if shape is None:
        return "[*]"
    return "[" + ",".join("?" if dim is None else str(dim) for dim in shape) + "]"


@dataclass(frozen=True)
class TensorType:
    """A dense tensor. `shape` is None where the rank is unknown."""

    dtype: DType
    shape: Shape | None = None

    @property
    def is_static(self) -> bool:
        """Whether the rank and every dimension are known numbers."""
        return is_static(self.shape)

    def __str__(self) -> str:
        return self.dtype.label + format_shape(self.shape)


@dataclass(frozen=True)
class SparseTensorType:
    """A sparse tensor."""

    dtype: DType
    shape: Shape | None = None

    def __str__(self) -> str:
        return f"sparse({self.dtype.label}{format_shape(self.shape)})"


@dataclass(frozen=True)
class SequenceType:
    """A sequence; `element` is None where it is not recorded."""

    element: ValueType | None

    def __str__(self) -> str:
        return f"seq({self.element or '?'})"


@dataclass(frozen=True)
class OptionalType:
    """An optional value; `element` is None where it is not recorded."""

    element: ValueType | None

    def __str__(self) -> str:
        return f"optional({self.element or '?'})"


@dataclass(frozen=True)
class MapType:
    """A map from a scalar key type to values."""

    key: DType
    value: ValueType | None

    def __str__(self) -> str:
        return f"map({self.key.label}, {self.value or '?'})"


@dataclass(frozen=True)
class OpaqueType:
    """A type only its domain understands."""

    domain: str
    name: str

    def __str__(self) -> str:
        return f"opaque({self.domain}, {self.name})"


ValueType: TypeAlias = "TensorType | SparseTensorType | SequenceType | OptionalType | MapType | OpaqueType"

VALUE_TYPES = (TensorType, SparseTensorType, SequenceType, OptionalType, MapType, OpaqueType)
"""The same as classes, for `isinstance`."""
