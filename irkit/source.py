"""Files a model reads its weights from, and scratch space for large new weights.

Both are memory-mapped: an array over them costs no memory until it is looked at.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import ModelError, SourceChangedError

if TYPE_CHECKING:
    import numpy as np

SCRATCH_THRESHOLD = 1 << 20
"""Arrays of at least this many bytes are moved to the scratch file."""

_SEGMENT = 64 << 20


class SourceFile:
    """A file held open and mapped read-only.

    Its size, modification time and inode are compared before data is read: touching the mapping of a file that was cut
    short kills the process with SIGBUS, so that must be found out first.

    Args:
        path: the file. Raises `ModelError` where it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            # A pipe is refused before it is opened, since opening waits for somebody who writes into it.
            special = self.path.exists() and not self.path.is_file() and not self.path.is_dir()
            if special:
                raise ModelError(f"cannot read {self.path}: it is a pipe or a device; give a regular file")
            self._file: Any = open(self.path, "rb")  # noqa: SIM115  (held open for the life of the model)
        except OSError as error:
            raise ModelError(f"cannot read {self.path}: {error.strerror or error}") from error
        self._private = False
        self._map: mmap.mmap | None = None
        try:
            self._open_map()
        except (OSError, ValueError) as error:
            self._file.close()
            raise ModelError(f"cannot read {self.path}: {error}") from error

    def _open_map(self) -> None:
        self._stat = self._identity()
        self.size = self._stat[0]
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else None

    def _identity(self) -> tuple[int, int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns, status.st_ino

    def check(self) -> None:
        """Raise `SourceChangedError` unless the file is as it was when opened."""
        if self._file.closed:
            raise SourceChangedError(f"{self.path}: the model was closed; load it again to read its weights")
        if self._identity() != self._stat:
            raise SourceChangedError(f"{self.path} was rewritten while a model reads from it; load the model again")

    def view(self, offset: int = 0, length: int | None = None) -> memoryview:
        """Read-only bytes of the file, not copied. Raises `SourceChangedError`."""
        self.check()
        if self._map is None:
            return memoryview(b"")
        whole = memoryview(self._map)
        return whole[offset:] if length is None else whole[offset : offset + length]

    def fileno(self) -> int:
        """The file's descriptor, for copying by the kernel. Raises `SourceChangedError`."""
        self.check()
        return int(self._file.fileno())

    def detach(self) -> None:
        """Read from a private copy from now on, so that the file itself can be replaced where open files cannot."""
        if self._private:
            return
        copy: Any = tempfile.TemporaryFile(prefix="irkit-")  # noqa: SIM115  (held open for the life of the model)
        os.lseek(self.fileno(), 0, os.SEEK_SET)
        while chunk := os.read(self.fileno(), 1 << 20):
            copy.write(chunk)
        copy.flush()
        self.close()
        self._file, self._private = copy, True
        self._open_map()

    def close(self) -> None:
        """Close the file; the mapping itself goes when the last array over it is gone."""
        self._file.close()
        if self._map is not None:
            try:
                self._map.close()
            except BufferError:  # an array still looks at it
                self._map = None


class _Scratch:
    """Hands out writable arrays in mapped temporary files; a file goes when its last array is gone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._map: mmap.mmap | None = None
        self._used = 0

    def allocate(self, nbytes: int) -> memoryview:
        with self._lock:
            if self._map is None or self._used + nbytes > len(self._map):
                self._map = _temporary_map(max(nbytes, _SEGMENT))
                self._used = 0
            start = self._used
            self._used += (nbytes + 63) // 64 * 64
            return memoryview(self._map)[start : start + nbytes]


def _temporary_map(nbytes: int) -> mmap.mmap:
    with tempfile.TemporaryFile(prefix="irkit-") as file:
        file.truncate(nbytes)
        return mmap.mmap(file.fileno(), nbytes)


_scratch = _Scratch()


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, np.dtype[Any]]:
    """A new array to be filled: on the heap when small, in the scratch file when large."""
    import numpy as np

    count = int(np.prod(shape, dtype=np.int64))
    nbytes = count * dtype.itemsize
    if nbytes < SCRATCH_THRESHOLD:
        return np.empty(shape, dtype)
    return np.frombuffer(_scratch.allocate(nbytes), dtype, count).reshape(shape)
