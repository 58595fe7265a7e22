"""Constant tensors: however they are held, they give the same elements, bytes, digest and equality."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from irkit import DType, ModelError, SparseTensor, Tensor
from irkit.errors import SourceChangedError
from irkit.source import SCRATCH_THRESHOLD, SourceFile, empty
from irkit.tensor import from_bytes, pack, unpack

BIG = np.arange(700 * 800, dtype=np.float32).reshape(700, 800)


def in_file(folder: Path, array: np.ndarray, offset: int = 3) -> tuple[SourceFile, Tensor]:
    """The tensor over a file, unaligned."""
    path = folder / "weights.bin"
    path.write_bytes(b"\0" * offset + array.tobytes())
    source = SourceFile(path)
    return source, Tensor(DType.of(array.dtype), array.shape, file=(source, offset))


@pytest.mark.parametrize("array", [BIG, BIG[:2, :3], np.zeros((0, 4), np.int64), np.array(2.5), BIG > 7])
def test_every_way_to_hold_data_gives_the_same(array: np.ndarray, tmp_path: Path) -> None:
    source, filed = in_file(tmp_path, array)
    held = [
        Tensor.of(array),
        filed,
        Tensor(DType.of(array.dtype), array.shape, load=lambda: array.reshape(-1).copy()),
        Tensor.of(np.asarray(array, order="F")),
        Tensor.of(array.astype(array.dtype.newbyteorder(">"))),
        from_bytes(DType.of(array.dtype), array.shape, array.tobytes()),
    ]
    for tensor in held:
        assert (tensor.dtype, tensor.shape, tensor.size, tensor.rank) == (
            DType.of(array.dtype), array.shape, array.size, array.ndim,
        )  # fmt: skip
        assert tensor.nbytes == array.nbytes
        np.testing.assert_array_equal(tensor.numpy(), array, strict=True)
        assert not tensor.numpy().flags.writeable
        assert tensor.tobytes() == array.tobytes()
        assert b"".join(bytes(piece) for piece in tensor.chunks()) == array.tobytes()
        assert tensor.digest() == hashlib.sha256(array.tobytes()).hexdigest()
        assert all(tensor == other for other in held)
    source.close()


def test_a_splat_takes_no_memory_and_equals_what_it_stands_for() -> None:
    splat = Tensor.splat(0.5, (1 << 20, 1 << 10), DType.FLOAT32)
    assert (splat.is_splat, splat.splat_value, splat.nbytes) == (True, 0.5, 1 << 32)
    assert splat.numpy().strides == (0, 0)
    small = Tensor.splat(3, (2, 2), DType.INT8)
    assert small == Tensor.of(np.full((2, 2), 3, np.int8))
    assert small.tobytes() == b"\3\3\3\3"
    assert small != Tensor.splat(4, (2, 2), DType.INT8)
    assert Tensor.splat(1, (0,), DType.INT8) == Tensor.splat(2, (0,), DType.INT8)
    with pytest.raises(ValueError, match="no splat"):
        _ = Tensor.of(1).splat_value


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Tensor.of(np.full((700, 800), 2.5)), 2.5),
        (lambda: Tensor.splat(7, (3,), DType.INT64), 7),
        (lambda: Tensor.of(np.float32(3)), 3),
        (lambda: Tensor.of(BIG), None),
        (lambda: Tensor.of(np.r_[np.zeros(1 << 19), 1.0, np.zeros(9)]), None),
        (lambda: Tensor.of(np.array([0.0, -0.0])), None),
        (lambda: Tensor.of(np.zeros((0, 3))), None),
        (lambda: Tensor.strings([b"a", b"a"], (2,)), b"a"),
        (lambda: Tensor.strings([b"a", b"b"], (2,)), None),
        (lambda: Tensor.of(np.array([-1, -1], np.int8), DType.INT4), -1),
    ],
)
def test_uniform_tensors_are_known(make: Callable[[], Tensor], expected: object) -> None:
    assert make().uniform() == expected


def test_equality_is_by_bits() -> None:
    nan, other = (np.array([bits], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001))
    assert Tensor.of(nan) == Tensor.of(nan.copy())
    assert Tensor.of(nan) != Tensor.of(other)
    assert Tensor.of(np.array([0.0])) != Tensor.of(np.array([-0.0]))
    assert Tensor.of(np.zeros(2, np.int32)) != Tensor.of(np.zeros(2, np.float32))
    assert Tensor.of(np.zeros((2, 1))) != Tensor.of(np.zeros((1, 2)))
    changed = BIG.copy()
    changed[-1, -1] += 1
    assert Tensor.of(BIG) != Tensor.of(changed)
    assert Tensor.of(1) != 1


NARROW = [dtype for dtype in DType if 0 < dtype.bits < 8]


@pytest.mark.parametrize("dtype", NARROW)
def test_types_below_a_byte_are_packed_lowest_bits_first(dtype: DType) -> None:
    low = -(2 ** (dtype.bits - 1)) if dtype.numpy.kind == "i" else 0
    elements = np.arange(low, low + 2**dtype.bits).astype(dtype.numpy)[:-1]
    tensor = Tensor.of(elements, dtype)
    packed = np.frombuffer(tensor.tobytes(), np.uint8)
    assert tensor.nbytes == packed.size == -(-elements.size * dtype.bits // 8)
    assert packed[0] & (2**dtype.bits - 1) == int(elements[0]) % 2**dtype.bits
    np.testing.assert_array_equal(unpack(packed, dtype, elements.size), elements)
    np.testing.assert_array_equal(pack(elements, dtype), packed)
    assert from_bytes(dtype, elements.shape, tensor.tobytes()) == tensor


def test_known_packing() -> None:
    assert Tensor.of(np.array([1, -2, 7], np.int8), DType.INT4).tobytes() == b"\xe1\x07"
    six = np.array([0b000001, 0b000010, 0b000011, 0b100000], np.uint8)
    assert Tensor.of(six, DType.FLOAT6E2M3).tobytes() == bytes([0b10000001, 0b00110000, 0b10000000])


def test_what_tensors_are_made_of() -> None:
    assert Tensor.of([1, 2]).dtype == DType.INT64
    assert Tensor.of([1, 2], DType.INT8).dtype == DType.INT8
    assert Tensor.of(["a", "\u00fc"]).numpy().tolist() == [b"a", b"\xc3\xbc"]
    assert Tensor.of(np.array([0x3F80], np.uint16), DType.BFLOAT16).tobytes() == b"\x80\x3f"
    with pytest.raises(ValueError, match="made of uint16 elements, not of float32"):
        Tensor.of(np.zeros(2, np.float32), DType.BFLOAT16)
    with pytest.raises(ValueError, match="no ONNX element type"):
        Tensor.of(np.zeros(2, "datetime64[s]"))


def test_a_large_array_is_copied_to_the_scratch_file_a_small_one_is_not() -> None:
    large = np.zeros(SCRATCH_THRESHOLD, np.uint8)
    tensor = Tensor.of(large)
    large[0] = 1
    assert tensor.numpy()[0] == 0
    assert large.flags.writeable, "the caller's array stays as it was"
    filled = empty((SCRATCH_THRESHOLD,), np.dtype(np.uint8))
    filled[:] = 3
    assert Tensor.of(filled).uniform() == 3


def test_the_only_element() -> None:
    assert Tensor.of(np.array([[2.5]], np.float32)).item() == 2.5
    assert Tensor.strings([b"a"], ()).item() == b"a"
    with pytest.raises(ValueError, match="no scalar"):
        Tensor.of([1, 2]).item()


def test_strings_have_no_packed_form_but_a_digest() -> None:
    one, two = Tensor.strings([b"ab", b"c"], (2,)), Tensor.strings([b"a", b"bc"], (2,))
    assert one.digest() != two.digest()
    assert one != two
    with pytest.raises(ValueError, match="no packed form"):
        one.tobytes()


def test_what_decodes_to_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match=r"shape \[2\] holds 3 elements"):
        Tensor(DType.FLOAT32, (2,), load=lambda: np.zeros(3, np.float32)).numpy()


def test_a_file_that_changed_is_one_clear_error(tmp_path: Path) -> None:
    source, tensor = in_file(tmp_path, BIG)
    assert tensor.location == (source, 3)
    with open(tmp_path / "weights.bin", "r+b") as file:
        file.truncate(10)
    with pytest.raises(SourceChangedError, match=r"weights\.bin was rewritten"):
        tensor.numpy()
    source.close()
    with pytest.raises(SourceChangedError, match="was closed"):
        tensor.numpy()


def test_an_array_outlives_its_file_being_closed(tmp_path: Path) -> None:
    source, tensor = in_file(tmp_path, BIG)
    array = tensor.numpy()
    source.close()
    np.testing.assert_array_equal(array, BIG)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*missing"):
        SourceFile(tmp_path / "missing")
    with pytest.raises(ModelError, match="cannot read"):
        SourceFile(tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    source = SourceFile(tmp_path / "empty")
    assert bytes(source.view()) == b""
    source.close()


def test_sparse_tensors_compare_by_content() -> None:
    one, two = (SparseTensor(Tensor.of([1]), Tensor.of([index]), (3,)) for index in (0, 2))
    assert one == SparseTensor(Tensor.of([1]), Tensor.of([0]), (3,))
    assert one != two
    assert (one.dtype, repr(one)) == (DType.INT64, "SparseTensor(int64[3], 1 set)")
