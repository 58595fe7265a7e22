"""Elements of constant tensors as text, exactly: the shortest decimals that read back to the same bits."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from irkit.tensor import Tensor
from irkit.text.lexer import quote, quote_bytes, unquote, unquote_bytes
from irkit.types import DType

if TYPE_CHECKING:
    import numpy as np

_BITS_OF_FLOAT = {DType.FLOAT16: 16, DType.FLOAT32: 32, DType.FLOAT64: 64}
_PLAIN_NAN = {16: 0x7E00, 32: 0x7FC00000, 64: 0x7FF8000000000000}
MOST_MADE = 1 << 28
"""Most elements that `random` and `iota` make."""

_CODES = {16: ("<e", "<H"), 32: ("<f", "<I"), 64: ("<d", "<Q")}


def scalar_text(value: Any, dtype: DType) -> str:
    """One element (a numpy scalar, or bytes) as text."""
    if dtype == DType.STRING:
        return string_text(value)
    if dtype in _BITS_OF_FLOAT:
        bits = _BITS_OF_FLOAT[dtype]
        return nan_text(int(value.view(f"u{bits // 8}")), bits) if value != value else float_text(value)
    if dtype == DType.BOOL:
        return "true" if value else "false"
    if dtype.is_integer:
        return str(int(value))
    return f"0x{int(value):0{dtype.bits // 4}x}"  # a bit pattern


def float_text(value: np.floating[Any]) -> str:
    """The shortest decimal that rounds to this float of its width; `inf` and `-inf` too."""
    # Shortest digits come from numpy, which knows the width; Python lays them out, alike under every numpy.
    return repr(float(str(value)))


def float32_text(value: float) -> str:
    """The same for a float32 held in a Python float, as attributes are."""
    import numpy as np

    if value != value:
        return nan_text(struct.unpack("<I", struct.pack("<f", value))[0], 32)
    return float_text(np.float32(value))


def nan_text(bits: int, width: int) -> str:
    """`nan`, or `nan(0x...)` where it is not the usual quiet NaN."""
    return "nan" if bits == _PLAIN_NAN[width] else f"nan(0x{bits:x})"


def string_text(value: bytes) -> str:
    """`"..."`, or `b"..."` where it is not UTF-8."""
    try:
        return quote(value.decode())
    except UnicodeDecodeError:
        return quote_bytes(value)


def elements_text(tensor: Tensor) -> str:
    """All elements: one scalar at rank 0, else a flat list in row-major order; packed bytes for complex numbers."""
    if tensor.dtype in (DType.COMPLEX64, DType.COMPLEX128, DType.UNDEFINED):
        return f'x"{tensor.tobytes().hex()}"'
    items = [scalar_text(item, tensor.dtype) for item in tensor.numpy().flat]
    return items[0] if not tensor.shape else f"[{', '.join(items)}]"


def float_of(text: str, width: int = 64) -> float:
    """The float a number token stands for. Raises `ValueError`."""
    if text.startswith("nan("):
        as_float, as_int = _CODES[width]
        value: float = struct.unpack(as_float, struct.pack(as_int, int(text[4:-1], 16)))[0]
        return value
    return float(int(text, 0)) if "0x" in text else float(text)


def tensor_of(dtype: DType, shape: tuple[int, ...], items: list[str]) -> Tensor:
    """A tensor of number, string or bool tokens in row-major order. Raises `ValueError` that says what is wrong."""
    import numpy as np

    if len(items) != math.prod(shape):
        raise ValueError(f"{math.prod(shape)} elements for shape {list(shape)}, found {len(items)}")
    if dtype == DType.STRING:
        return Tensor.strings([unstring(item) for item in items], shape)
    if dtype in _BITS_OF_FLOAT:
        return Tensor(dtype, shape, array=_floats(dtype, items).reshape(shape))
    numbers = [_integer(item, dtype) for item in items]
    if not all(_fits(number, dtype) for number in numbers):
        raise ValueError(f"elements that fit {dtype.label}")
    array = np.array(numbers, dtype.numpy).reshape(shape)
    array.flags.writeable = False
    return Tensor(dtype, shape, array=array)


def unstring(text: str) -> bytes:
    """The bytes of a string token. Raises `ValueError`."""
    if text.startswith('b"'):
        return unquote_bytes(text)
    if not text.startswith('"'):
        raise ValueError(f"a string in quotes, found {text}")
    return unquote(text).encode()


def _floats(dtype: DType, items: list[str]) -> np.ndarray[Any, np.dtype[Any]]:
    import numpy as np

    width = _BITS_OF_FLOAT[dtype]
    array = np.empty(len(items), dtype.numpy)
    with np.errstate(over="ignore"):
        for index, item in enumerate(items):
            if item.startswith("nan("):
                array.view(f"u{width // 8}")[index] = int(item[4:-1], 16)
            else:
                array[index] = float_of(item)
    array.flags.writeable = False
    return array


def _integer(text: str, dtype: DType) -> int:
    if dtype == DType.BOOL and text in ("true", "false"):
        return int(text == "true")
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"an integer for {dtype.label}, found {text}") from None


def _fits(number: int, dtype: DType) -> bool:
    bits = 1 if dtype == DType.BOOL else dtype.bits
    low = -(1 << (bits - 1)) if dtype.numpy.kind in "ic" else 0
    return low <= number < low + (1 << bits)


def iota_tensor(dtype: DType, shape: tuple[int, ...]) -> Tensor:
    """0, 1, 2, ... in row-major order. Raises `ValueError` where they do not fit the type."""
    import numpy as np

    _check_size(shape)
    if dtype.is_integer and not _fits(max(math.prod(shape) - 1, 0), dtype):
        raise ValueError(f"elements that fit {dtype.label}")
    return Tensor.of(np.arange(math.prod(shape)).astype(dtype.numpy).reshape(shape))


def _check_size(shape: tuple[int, ...]) -> None:
    if math.prod(shape) > MOST_MADE:
        raise ValueError(f"at most {MOST_MADE} elements to make up")


def random_tensor(
    dtype: DType, shape: tuple[int, ...], seed: int = 0, low: float | None = None, high: float | None = None
) -> Tensor:
    """Uniform numbers in [low, high) that depend on nothing but the arguments.

    Unless said, floats are in [-1, 1), integers in [-8, 8), unsigned ones in [0, 8). Others raise `ValueError`.
    """
    import numpy as np

    _check_size(shape)
    # Of numpy's generators, this one's stream is frozen; and uniform numbers take no function of the C library.
    unit = np.random.RandomState(seed).random_sample(shape)
    if dtype == DType.BOOL:
        return Tensor.of(unit < 0.5)
    if not dtype.is_native or dtype.numpy.kind == "c":
        raise ValueError(f"a list of elements: random(...) does not make {dtype.label}")
    limits = {"f": (-1.0, 1.0), "i": (-8, 8), "u": (0, 8)}[dtype.numpy.kind]
    first = limits[0] if low is None else low
    last = limits[1] if high is None else high
    array = first + unit * (last - first)
    return Tensor.of((array if dtype.is_float else np.floor(array)).astype(dtype.numpy))
