"""Types of values: names, numbers and text."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from irkit import DType, MapType, OpaqueType, OptionalType, SequenceType, SparseTensorType, TensorType
from irkit.types import format_shape, is_static


def test_numbers_are_those_of_onnx() -> None:
    known = {name: number for name, number in onnx.TensorProto.DataType.items() if name != "UNDEFINED"}
    names = {"FLOAT": "FLOAT32", "DOUBLE": "FLOAT64"}
    assert {names.get(name, name): number for name, number in known.items()}.items() <= {
        dtype.name: dtype.value for dtype in DType
    }.items()


@pytest.mark.parametrize("dtype", list(DType))
def test_labels_read_back(dtype: DType) -> None:
    assert DType.parse(dtype.label) is dtype


def test_unknown_labels_and_numpy_types() -> None:
    with pytest.raises(ValueError, match="unknown element type 'float33'"):
        DType.parse("float33")
    with pytest.raises(ValueError, match="no ONNX element type"):
        DType.of(np.dtype("datetime64[s]"))


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype.is_native])
def test_native_types_are_numpy_types_of_their_width(dtype: DType) -> None:
    assert DType.of(dtype.numpy) is dtype
    assert dtype.numpy.itemsize * 8 == dtype.bits


def test_carriers_hold_the_bits() -> None:
    carriers = {dtype for dtype in DType if not dtype.is_native and dtype not in (DType.STRING, DType.UNDEFINED)}
    assert all(dtype.numpy.itemsize * 8 == max(dtype.bits, 8) for dtype in carriers)
    assert {DType.BFLOAT16, DType.INT4, DType.FLOAT8E4M3FN} <= carriers
    assert DType.of(np.dtype(object)) is DType.STRING


def test_families() -> None:
    assert [dtype.name for dtype in DType if dtype.is_float][:3] == ["FLOAT32", "FLOAT16", "FLOAT64"]
    assert DType.BFLOAT16.is_float
    assert DType.UINT4.is_integer
    assert not DType.BOOL.is_integer


@pytest.mark.parametrize(
    ("type", "text"),
    [
        (TensorType(DType.FLOAT32, (1, "N", None)), "float32[1,N,?]"),
        (TensorType(DType.INT4), "int4[*]"),
        (SparseTensorType(DType.BOOL, ()), "sparse(bool[])"),
        (SequenceType(OptionalType(None)), "seq(optional(?))"),
        (MapType(DType.INT64, TensorType(DType.STRING, ())), "map(int64, string[])"),
        (OpaqueType("d", "n"), "opaque(d, n)"),
    ],
)
def test_types_as_text(type: object, text: str) -> None:
    assert str(type) == text


def test_static_shapes() -> None:
    assert is_static((1, 2))
    assert is_static(())
    assert not is_static(None)
    assert not is_static((1, "N"))
    assert not TensorType(DType.FLOAT32, (None,)).is_static
    assert format_shape(None) == "[*]"
