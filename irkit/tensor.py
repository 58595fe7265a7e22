"""Constant data: lazy, memory-mapped, never copied unless it is changed.

A `Tensor` is immutable. It holds its data in one of four ways: bytes in a mapped file, a numpy array, one repeated
element (a *splat*), or something the reader decodes on first use.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from irkit import source
from irkit.errors import ModelError
from irkit.types import DType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


_CHUNK = 1 << 20


class Tensor:
    """A constant tensor.

    Make one with `Tensor.of(array)`, `Tensor.splat(...)` or `Tensor.strings(...)`; the reader makes those over files.
    Attributes: `dtype`, `shape` (numbers only), and `raw`, the encoded form it was read from (opaque; goes out as is).
    """

    __slots__ = ("_array", "_digest", "_file", "_load", "_splat", "dtype", "raw", "shape")

    def __init__(
        self,
        dtype: DType,
        shape: Sequence[int],
        *,
        array: Array | None = None,
        file: tuple[source.SourceFile, int] | None = None,
        splat: Any = None,
        load: Callable[[], Array] | None = None,
        raw: Any = None,
    ) -> None:
        self.dtype = dtype
        self.shape = tuple(shape)
        self.raw = raw
        self._array = array
        self._file = file
        self._splat = splat
        self._load = load
        self._digest = ""

    @classmethod
    def of(cls, array: Any, dtype: DType | None = None) -> Tensor:
        """A tensor of a numpy array (or anything `numpy.asarray` takes); large arrays move to the scratch file.

        Args:
            array: the data; later changes to a small array given here must not be made.
            dtype: the element type where the array does not tell: what to make of Python numbers, or the type that an
                array holds the carrier of (`DType.numpy`), as uint16 for bfloat16.

        Raises `ValueError` where the array is of another type.
        """
        import numpy as np

        carrier = None if dtype is None or isinstance(array, np.ndarray) else dtype.numpy
        array = np.asarray(array, carrier)
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        kind = DType.of(array.dtype) if dtype is None else dtype
        if kind != DType.STRING and array.dtype != kind.numpy:
            raise ValueError(f"a tensor of {kind.label} is made of {kind.numpy} elements, not of {array.dtype}")
        if kind == DType.STRING:
            return cls.strings([_text(item) for item in array.reshape(-1)], array.shape)
        if array.nbytes >= source.SCRATCH_THRESHOLD and array.flags.writeable:
            copy = source.empty(array.shape, array.dtype)
            copy[...] = array
            array = copy
        array = array.view()
        array.flags.writeable = False
        return cls(kind, array.shape, array=array)

    @classmethod
    def splat(cls, value: Any, shape: Sequence[int], dtype: DType) -> Tensor:
        """A tensor whose elements are all `value`; it takes no memory, whatever its shape."""
        import numpy as np

        return cls(dtype, shape, splat=np.asarray(value, dtype.numpy).reshape(()))

    @classmethod
    def strings(cls, values: Sequence[bytes], shape: Sequence[int]) -> Tensor:
        """A string tensor of the encoded elements in row-major order."""
        import numpy as np

        flat = np.empty(len(values), object)
        flat[:] = list(values)
        array: Array = flat.reshape(tuple(shape))
        array.flags.writeable = False
        return cls(DType.STRING, shape, array=array)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the packed data (0 for strings); a splat counts as if written out."""
        return (self.size * self.dtype.bits + 7) // 8

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_splat(self) -> bool:
        """Whether it is held as one repeated element."""
        return self._splat is not None

    @property
    def splat_value(self) -> Any:
        """The repeated element as a numpy scalar. Only where `is_splat`."""
        if self._splat is None:
            raise ValueError("the tensor is no splat")
        return self._splat[()]

    @property
    def location(self) -> tuple[source.SourceFile, int] | None:
        """The file and offset its bytes lie at, where they do and nothing was changed."""
        return self._file

    def numpy(self) -> Array:
        """The data as a read-only array of `shape`; maybe unaligned, maybe with zero strides.

        Element types numpy lacks come as bit patterns in their carrier (`DType.numpy`), one element an item.
        Raises `SourceChangedError` where the file under it changed, `ModelError` where it cannot be decoded.
        """
        import numpy as np

        if self._splat is not None:
            return np.broadcast_to(self._splat, self.shape)
        if self._file is not None:
            return self._from_file()
        if self._array is None:
            assert self._load is not None
            array = self._load()
            if array.size != self.size:
                raise ModelError(f"a tensor of shape {list(self.shape)} holds {array.size} elements")
            array = array.reshape(self.shape)
            array.flags.writeable = False
            self._array = array
        return self._array

    def _from_file(self) -> Array:
        import numpy as np

        assert self._file is not None
        data = self._file[0].view(self._file[1], self.nbytes)
        if self.dtype.bits < 8:
            return unpack(np.frombuffer(data, np.uint8), self.dtype, self.size).reshape(self.shape)
        array = np.frombuffer(data, self.dtype.numpy)
        if sys.byteorder == "big":
            array = array.byteswap()
        return array.reshape(self.shape)

    def tobytes(self) -> bytes:
        """The packed little-endian data, as ONNX's raw_data has it. Not for strings."""
        import numpy as np

        if self.dtype == DType.STRING:
            raise ValueError("a string tensor has no packed form")
        if self._file is not None:
            return bytes(self._file[0].view(self._file[1], self.nbytes))
        array = self.numpy()
        if self.dtype.bits < 8:
            return pack(array, self.dtype).tobytes()
        if sys.byteorder == "big":
            array = array.byteswap()
        return np.ascontiguousarray(array).tobytes()

    def chunks(self) -> Iterator[bytes | memoryview]:
        """The packed little-endian data in pieces of about a megabyte; no large copy is made. Not for strings."""
        if self._file is not None:
            data = self._file[0].view(self._file[1], self.nbytes)
            yield from (data[start : start + _CHUNK] for start in range(0, self.nbytes, _CHUNK))
        elif self.dtype.bits < 8:
            yield self.tobytes()
        else:
            for block in _blocks(self.numpy()):
                yield (block.byteswap() if sys.byteorder == "big" else block).tobytes()

    def digest(self) -> str:
        """SHA-256 of the packed data (of strings: of each with its length), in hex. Type and shape are not in it."""
        if not self._digest:
            import hashlib  # takes longer to import than a small model to read

            state = hashlib.sha256()
            for piece in _string_pieces(self) if self.dtype == DType.STRING else self.chunks():
                state.update(piece)
            self._digest = state.hexdigest()
        return self._digest

    def uniform(self) -> Any:
        """The element all others equal, bit for bit, as a numpy scalar (bytes for strings); None where they differ.

        Reads no further than the first piece that differs.
        """
        if self._splat is not None:
            return self._splat[()]
        if not self.size:
            return None
        array = self.numpy()
        first = array[(0,) * array.ndim]
        if self.dtype == DType.STRING:
            return first if all(item == first for item in array.flat) else None
        pattern = first.tobytes()
        if any(array[index].tobytes() != pattern for index in _corners(array.shape)):
            return None
        return first if all(block.tobytes() == pattern * block.size for block in _blocks(array)) else None

    def item(self) -> Any:
        """The only element as a Python number, or bytes. Raises `ValueError` where there is not exactly one."""
        value = self.numpy().reshape(-1)
        if value.size != 1:
            raise ValueError(f"a tensor of shape {list(self.shape)} is no scalar")
        return value[0].item() if self.dtype != DType.STRING else value[0]

    def __eq__(self, other: object) -> bool:
        """Same type, shape and bits (NaN equals the same NaN)."""
        if self is other:
            return True
        if not isinstance(other, Tensor):
            return NotImplemented
        if (self.dtype, self.shape) != (other.dtype, other.shape):
            return False
        if self._file is not None and self._file == other._file:
            return True
        if self.dtype == DType.STRING:
            return bool((self.numpy() == other.numpy()).all())
        if self._splat is not None and other._splat is not None:
            return bool(self._splat.tobytes() == other._splat.tobytes()) or not self.size
        blocks = zip(_blocks(self.numpy()), _blocks(other.numpy()), strict=True)
        return all(left.tobytes() == right.tobytes() for left, right in blocks)

    __hash__ = None  # type: ignore[assignment]  # equality is by content, which is too much to hash

    def __repr__(self) -> str:
        return f"Tensor({self.dtype.label}{list(self.shape)}{' splat' if self.is_splat else ''})"


class SparseTensor:
    """A sparse constant in ONNX's coordinate form.

    Args:
        values: rank 1, the non-zero elements.
        indices: int64, shape (nnz,) of linear or (nnz, rank) of per-axis positions.
        shape: the dense shape.
    """

    attribute_kind = "SPARSE_TENSOR"
    __slots__ = ("indices", "shape", "values")

    def __init__(self, values: Tensor, indices: Tensor, shape: Sequence[int]) -> None:
        self.values = values
        self.indices = indices
        self.shape = tuple(shape)

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.values.dtype

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparseTensor):
            return NotImplemented
        return (self.shape, self.values, self.indices) == (other.shape, other.values, other.indices)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"SparseTensor({self.dtype.label}{list(self.shape)}, {self.values.size} set)"


def from_bytes(dtype: DType, shape: Sequence[int], data: bytes) -> Tensor:
    """The tensor of packed little-endian data, the reverse of `Tensor.tobytes`. Not for strings."""
    import numpy as np

    if dtype.bits < 8:
        array = unpack(np.frombuffer(data, np.uint8), dtype, math.prod(shape))
    else:
        array = np.frombuffer(data, dtype.numpy.newbyteorder("<")).astype(dtype.numpy, copy=False)
    return Tensor(dtype, shape, array=array.reshape(tuple(shape)))


def unpack(data: Array, dtype: DType, count: int) -> Array:
    """The `count` elements of a packed 2-, 4- or 6-bit tensor (uint8, lowest bits first), each in its carrier."""
    import numpy as np

    if dtype.bits == 6:  # an element may straddle two bytes
        bits = np.unpackbits(data, bitorder="little")[: 6 * count].reshape(count, 6)
        six: Array = np.packbits(bits, axis=1, bitorder="little").reshape(-1)
        return six
    per_byte = 8 // dtype.bits
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(dtype.bits)
    flat: Array = ((data[:, None] >> shifts) & np.uint8((1 << dtype.bits) - 1)).reshape(-1)[:count]
    if dtype.numpy.kind == "i":
        spare = np.uint8(8 - dtype.bits)
        flat = np.right_shift((flat << spare).view(np.int8), np.int8(spare))
    return flat


def pack(array: Array, dtype: DType) -> Array:
    """The reverse of `unpack`: uint8, padded with zero bits."""
    import numpy as np

    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8) & np.uint8((1 << dtype.bits) - 1)
    if dtype.bits == 6:
        bits = np.unpackbits(flat[:, None], axis=1, count=6, bitorder="little")
        return np.packbits(bits.reshape(-1), bitorder="little")
    per_byte = 8 // dtype.bits
    padded = np.zeros(-(-flat.size // per_byte) * per_byte, np.uint8)
    padded[: flat.size] = flat
    shifts = np.arange(per_byte, dtype=np.uint8) * np.uint8(dtype.bits)
    packed = (padded.reshape(-1, per_byte) << shifts).astype(np.uint8)
    out: Array = np.bitwise_or.reduce(packed, axis=1)
    return out


def _blocks(array: Array) -> Iterator[Array]:
    """The elements in row-major order, in pieces of about a megabyte, each valid until the next is asked for."""
    import numpy as np

    flags: Any = ["external_loop", "buffered", "zerosize_ok"]
    items = _CHUNK // array.dtype.itemsize
    pieces: Any = np.nditer(array, flags, order="C", buffersize=items)
    return (piece for piece in pieces if piece.size)


def _corners(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The last element and the first along each axis: where tensors that are not uniform usually show it."""
    yield tuple(dim - 1 for dim in shape)
    for axis in range(len(shape)):
        yield tuple(min(dim, 2) - 1 if i == axis else 0 for i, dim in enumerate(shape))


def _string_pieces(tensor: Tensor) -> Iterator[bytes]:
    for item in tensor.numpy().flat:
        yield len(item).to_bytes(8, "little") + item


def _text(item: Any) -> bytes:
    return item if isinstance(item, bytes) else str(item).encode()
