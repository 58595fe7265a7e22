"""Calibration sets as people keep them: one .npy, an .npz with an array an input, a folder of arrays or of images.

Opening reads headers only. Samples are read in blocks of some megabytes, mapped from a .npy or streamed out of an .npz,
so that a set larger than memory can be looked at. The first axis counts the samples. What is found in the data is in
`irkit.hailo.calibration_facts`.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from irkit.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

BLOCK_BYTES = 8 << 20
"""Samples are read in blocks of about this size."""

_IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
_ARRAYS = frozenset({".npy"})
_KINDS = "iufb"  # numpy's kinds that hold numbers
_MOST_FILES = 1_000_000
_LARGEST_SAMPLE = 256 << 20


class CalibrationError(InputError):
    """A calibration set that cannot be read."""


class Rows(Protocol):
    """Where samples come from."""

    sequential: bool
    """Whether skipping samples costs as much as reading them."""

    def read(self, start: int, stop: int) -> Array:
        """The samples from `start` up to, not including, `stop`."""
        ...


@dataclass(frozen=True)
class CalibrationInput:
    """The samples for one input of a network.

    Attributes:
        name: the key in an .npz; "" where there is one array only.
        count: how many samples. shape: of one sample; None where samples differ in shape, as images may.
        dtype: of the elements, as numpy names it.
        files: where each sample is a file of its own.
    """

    name: str
    count: int
    shape: tuple[int, ...] | None
    dtype: str
    rows: Rows = field(repr=False, compare=False)
    files: tuple[Path, ...] = field(default=(), repr=False, compare=False)

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample; 0 where samples differ in shape."""
        import numpy as np

        return math.prod(self.shape) * np.dtype(self.dtype).itemsize if self.shape is not None else 0

    def blocks(self, most_bytes: int) -> Iterator[tuple[int, Array]]:
        """Blocks of samples with the number of their first: all of them, or about `most_bytes` spread over the set.

        Where samples cannot be skipped (compressed data), the first ones are taken instead.
        """
        step = max(1, BLOCK_BYTES // max(1, self.sample_bytes))
        starts = range(0, self.count, step)
        most = max(1, most_bytes // max(1, step * self.sample_bytes))
        if len(starts) > most:
            spread = range(0, len(starts), -(-len(starts) // most))
            starts = starts[:most] if self.rows.sequential else [starts[index] for index in spread]  # type: ignore[assignment]
        for start in starts:
            yield start, self.rows.read(start, min(start + step, self.count))


@dataclass(frozen=True)
class CalibrationSet:
    """A calibration set: `inputs` by name, `path` it lies at, `kind`: `npy`, `npz`, `arrays` or `images`."""

    path: Path
    kind: str
    inputs: Mapping[str, CalibrationInput]

    @property
    def is_keyed(self) -> bool:
        """Whether its arrays are named after inputs."""
        return self.kind == "npz"

    @property
    def count(self) -> int:
        """How many samples it has, of the input that has fewest."""
        return min(item.count for item in self.inputs.values())


def open_calibration(path: str | os.PathLike[str]) -> CalibrationSet:
    """Open a calibration set, reading headers only.

    Args:
        path: a .npy with samples along its first axis; an .npz with one such array for each input, keyed by its name; a
            folder with a .npy, or an image, for each sample.

    Raises:
        CalibrationError: it is not there, is none of these, is damaged, empty, or holds no numbers.
        MissingDependencyError: images are to be read and Pillow is not installed.
    """
    place = Path(path)
    try:
        if place.is_dir():
            return _open_folder(place)
        if not place.is_file():
            raise CalibrationError(f"{place}: there is no such calibration set")
        if place.suffix.lower() == ".npz":
            return _open_npz(place)
        if place.suffix.lower() == ".npy":
            return CalibrationSet(place, "npy", {"": _open_npy(place)})
    except OSError as problem:
        raise CalibrationError(f"{place}: cannot be read: {problem.strerror or problem}") from problem
    raise CalibrationError(
        f"{place}: a calibration set is a .npy, an .npz or a folder of .npy files or images; "
        f"found `{place.suffix or place.name}`"
    )


# --- one array --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Mapped:
    array: Array
    sequential = False

    def read(self, start: int, stop: int) -> Array:
        import numpy as np

        return np.asarray(self.array[start:stop])


def _open_npy(path: Path) -> CalibrationInput:
    import numpy as np

    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OverflowError) as problem:
        raise _damaged(path, problem) from problem
    _check(str(path), array.shape, array.dtype)
    return CalibrationInput("", array.shape[0], array.shape[1:], array.dtype.name, _Mapped(array))


def _damaged(path: Path, problem: Exception) -> CalibrationError:
    text = str(problem)
    if "mmap length" in text or isinstance(problem, OverflowError):
        return CalibrationError(f"{path}: is shorter than its header says: it was cut short; write it again")
    if "empty file" in text:
        return CalibrationError(f"{path}: holds no samples")
    if "Python objects" in text:
        return CalibrationError(
            f"{path}: holds Python objects, no numbers: save one array, of one shape for every sample"
        )
    return CalibrationError(f"{path}: is no .npy file that numpy can read: {text or 'it is cut short'}")


def _check(place: str, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """Raise where an array is no set of samples."""
    if dtype.kind not in _KINDS:
        raise CalibrationError(f"{place}: must hold numbers; found {dtype}")
    if len(shape) < 2:
        raise CalibrationError(
            f"{place}: the first axis counts the samples, so two axes at least; found shape {list(shape)}"
        )
    if not math.prod(shape):
        raise CalibrationError(f"{place}: holds no samples: its shape is {list(shape)}")
    if math.prod(shape[1:]) * dtype.itemsize > _LARGEST_SAMPLE:
        found = f"one sample of shape {list(shape[1:])} is larger than {_LARGEST_SAMPLE >> 20} MB"
        raise CalibrationError(f"{place}: {found}; the first axis must count the samples")


# --- several arrays ---------------------------------------------------------------------------------------------------


class _Streamed:
    """Rows of an array in an .npz, read in order; going back starts at its beginning again."""

    sequential = True

    def __init__(self, path: Path, member: str, row: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.path, self.member, self.row, self.dtype = path, member, row, dtype
        self.row_bytes = math.prod(row) * dtype.itemsize
        self._stream: Any = None
        self._at = 0

    def read(self, start: int, stop: int) -> Array:
        import numpy as np

        if self._stream is None or start < self._at:
            self._open()
        try:
            self._skip((start - self._at) * self.row_bytes)
            data = self._stream.read((stop - start) * self.row_bytes)
        except (zipfile.BadZipFile, EOFError, ValueError, OSError) as problem:
            raise CalibrationError(f"{self.path}: `{self.member}` is damaged: {problem}") from problem
        except Exception as problem:  # zlib.error is no subclass of any of these
            if type(problem).__module__ != "zlib":
                raise
            raise CalibrationError(f"{self.path}: `{self.member}` is damaged: {problem}") from problem
        if len(data) != (stop - start) * self.row_bytes:
            raise CalibrationError(f"{self.path}: `{self.member}` is shorter than its header says: write it again")
        self._at = stop
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.row)

    def _open(self) -> None:
        self._stream = zipfile.ZipFile(self.path).open(self.member)  # noqa: SIM115  (read on in the next call)
        _read_header(self._stream)
        self._at = 0

    def _skip(self, count: int) -> None:
        while count > 0:
            piece = self._stream.read(min(count, BLOCK_BYTES))
            if not piece:
                return
            count -= len(piece)


def _read_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype. Raises `ValueError`."""
    from numpy.lib import format as npy

    version = npy.read_magic(stream)
    if version == (1, 0):
        return npy.read_array_header_1_0(stream)
    return npy.read_array_header_2_0(stream)


def _open_npz(path: Path) -> CalibrationSet:
    inputs: dict[str, CalibrationInput] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if member.endswith(".npy"):
                    name = member.removesuffix(".npy")
                    inputs[name] = _open_member(path, archive, member, name)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, RuntimeError) as problem:
        raise CalibrationError(f"{path}: is no .npz file that can be read: {problem}") from problem
    if not inputs:
        raise CalibrationError(
            f"{path}: holds no array: save one for each input, as in numpy.savez(path, input=samples)"
        )
    return CalibrationSet(path, "npz", inputs)


def _open_member(path: Path, archive: zipfile.ZipFile, member: str, name: str) -> CalibrationInput:
    with archive.open(member) as stream:
        shape, fortran, dtype = _read_header(stream)
        held = archive.getinfo(member).file_size - stream.tell()
    place = f"{path}: `{name}`"
    _check(place, shape, dtype)
    if fortran:
        raise CalibrationError(f"{place} is stored column by column: save numpy.ascontiguousarray of it")
    needed = math.prod(shape) * dtype.itemsize
    if held < needed:
        raise CalibrationError(f"{place} is shorter than its header says: it was cut short; write it again")
    rows = _Streamed(path, member, tuple(shape[1:]), dtype)
    return CalibrationInput(name, shape[0], tuple(shape[1:]), dtype.name, rows)


# --- a file a sample --------------------------------------------------------------------------------------------------


def _open_folder(folder: Path) -> CalibrationSet:
    files = _files(folder)
    kinds = {"images" if file.suffix.lower() in _IMAGES else "arrays" for file in files}
    if not kinds:
        raise CalibrationError(f"{folder}: holds no .npy files and no images")
    if len(kinds) > 1:
        raise CalibrationError(f"{folder}: holds both images and .npy files; a calibration set is one or the other")
    kind = kinds.pop()
    item = _open_images(files) if kind == "images" else _open_arrays(files)
    return CalibrationSet(folder, kind, {"": item})


def _files(folder: Path) -> tuple[Path, ...]:
    """Arrays and images of a folder and those in it, hidden ones left out, in the order of their names."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        wanted = (name for name in names if not name.startswith("."))
        found += [Path(place, name) for name in wanted if Path(name).suffix.lower() in _IMAGES | _ARRAYS]
        if len(found) > _MOST_FILES:
            raise CalibrationError(f"{folder}: holds more than {_MOST_FILES} files; is it the folder of the samples?")
    return tuple(sorted(found))


@dataclass(frozen=True)
class _ArrayFiles:
    files: tuple[Path, ...]
    shape: tuple[int, ...]
    sequential = False

    def read(self, start: int, stop: int) -> Array:
        import numpy as np

        samples = []
        for file in self.files[start:stop]:
            try:
                sample = np.load(file, mmap_mode="r", allow_pickle=False)
            except (ValueError, EOFError, OverflowError) as problem:
                raise _damaged(file, problem) from problem
            if _sample_shape(sample.shape) != self.shape:
                raise CalibrationError(
                    f"{file}: samples must have one shape, {list(self.shape)} as {self.files[0].name}; "
                    f"found {list(sample.shape)}"
                )
            samples.append(np.asarray(sample).reshape(self.shape))
        return np.stack(samples)


def _sample_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """A batch axis of 1 in front is no part of the sample."""
    return tuple(shape[1:] if len(shape) == 4 and shape[0] == 1 else shape)


def _open_arrays(files: tuple[Path, ...]) -> CalibrationInput:
    import numpy as np

    try:
        first = np.load(files[0], mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OverflowError) as problem:
        raise _damaged(files[0], problem) from problem
    shape = _sample_shape(first.shape)
    _check(str(files[0]), (1, *shape), first.dtype)
    return CalibrationInput("", len(files), shape, first.dtype.name, _ArrayFiles(files, shape), files)


@dataclass(frozen=True)
class _ImageFiles:
    files: tuple[Path, ...]
    sequential = False

    def read(self, start: int, stop: int) -> Array:
        import numpy as np

        samples = [_pixels(file) for file in self.files[start:stop]]
        if len({sample.shape for sample in samples}) > 1:
            raise CalibrationError(f"{self.files[start]}: images of different sizes are read one by one")
        return np.stack(samples)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as problem:
        raise MissingDependencyError("to read a folder of images, install Pillow: pip install pillow") from problem
    return Image


def _pixels(file: Path) -> Array:
    """An image as uint8 of shape (height, width, 3), or (height, width, 1) for a grey one."""
    import numpy as np

    with _image(file) as image:
        try:
            data = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA", "I;16") else "RGB"))
        except (OSError, SyntaxError, ValueError) as problem:
            raise CalibrationError(f"{file}: is damaged: {problem}") from problem
    return data if data.ndim == 3 else data[:, :, None]


def _image(file: Path) -> Any:
    image = _pillow()
    try:
        return image.open(file)
    except (OSError, SyntaxError, ValueError, image.DecompressionBombError) as problem:
        raise CalibrationError(f"{file}: is no image that can be read") from problem


def _open_images(files: tuple[Path, ...]) -> CalibrationInput:
    sizes = set()
    for file in files:
        with _image(file) as image:
            channels = 1 if image.mode in ("1", "L", "LA", "I;16") else 3
            sizes.add((image.height, image.width, channels))
    shape = next(iter(sizes)) if len(sizes) == 1 else None
    return CalibrationInput("", len(files), shape, "uint8", _ImageFiles(files), files)
