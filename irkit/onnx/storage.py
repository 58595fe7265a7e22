"""Files written whole or not at all, and streaming of data into them.

A new file is written beside its target, made durable, and moved over it. Data of open models is copied by the kernel
where it can, else through a small buffer, never through the mapping: that would pull all of it into our memory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from irkit.errors import OutputError, SourceChangedError
from irkit.onnx.wire import Piece, Span
from irkit.source import SourceFile

_BUFFER = 1 << 20
_NO_KERNEL_COPY = frozenset({
    errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY, errno.EIO,
})  # fmt: skip


class OutputFile:
    """A file that appears under its name when the block ends without an error, and never in part.

    Args:
        path: the target; a symbolic link is followed. `rename` may choose another name once the content is known.

    Raises `OutputError` where it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.realpath(path))
        self._digest: Any = None
        self._pending: list[bytes] = []
        self._waiting = 0
        with _told(self.path):
            mode = _mode_of(self.path)
            self._temporary = self.path.with_name(f".irkit-{secrets.token_hex(8)}.tmp")
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
            self._fd = os.open(self._temporary, flags, mode)

    def hash_content(self) -> Any:
        """Return a SHA-256 object that takes in all that is written from now on."""
        self._digest = hashlib.sha256()
        return self._digest

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        if self._digest is not None:
            self._digest.update(data)
        if len(data) >= _BUFFER:
            self.flush()
            self._put(data)
            return
        self._pending.append(bytes(data))
        self._waiting += len(data)
        if self._waiting >= _BUFFER:
            self.flush()

    def write_piece(self, piece: Piece) -> None:
        """Append a piece of a message."""
        if isinstance(piece, bytes):
            self.write(piece)
        elif isinstance(piece, Span):
            self._copy(piece)
        else:
            for chunk in piece.chunks():
                self.write(chunk)

    def flush(self) -> None:
        """Hand what was collected to the system."""
        data = b"".join(self._pending)
        self._pending.clear()
        self._waiting = 0
        self._put(data)

    def _put(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        with _told(self.path):
            while rest:
                rest = rest[os.write(self._fd, rest) :]

    def _copy(self, span: Span) -> None:
        source, start, end = span
        source.check()
        if end - start >= _BUFFER and self._digest is None:
            self.flush()
            start += self._kernel_copy(source, start, end)
        for chunk in read_chunks(source, start, end):
            self.write(chunk)

    def _kernel_copy(self, source: SourceFile, start: int, end: int) -> int:
        """Copy within the kernel as far as it will. Returns how many bytes that were."""
        copy = getattr(os, "copy_file_range", None)
        done = 0
        while copy is not None and start + done < end:
            try:
                count = copy(source.fileno(), self._fd, end - start - done, start + done)
            except OSError as error:
                if error.errno not in _NO_KERNEL_COPY:
                    raise _output_error(self.path, error) from error
                break
            if count == 0:
                break
            done += count
        return done

    def commit(self, before: Callable[[], None] = lambda: None) -> None:
        """Make it durable and move it into place; `before` is called in between."""
        with _told(self.path):
            self.flush()
            _sync(self._fd)
            os.close(self._fd)
            self._fd = -1
            before()
            os.replace(self._temporary, self.path)
            _sync_folder(self.path.parent)

    def rename(self, name: str) -> None:
        """Choose the name it is to have in its folder."""
        self.path = self.path.with_name(name)

    def discard(self) -> None:
        """Leave nothing behind."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


def _mode_of(path: Path) -> int:
    """Permissions for the new file: those of the one it replaces. Raises `OSError` where that is no plain file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return 0o666
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no plain file")
    return stat.S_IMODE(status.st_mode)


def read_chunks(source: SourceFile, start: int, end: int) -> Iterator[bytes]:
    """The bytes between two offsets, about a megabyte at a time. Raises `SourceChangedError`."""
    while start < end:
        chunk = _read(source, start, min(_BUFFER, end - start))
        if not chunk:
            raise SourceChangedError(f"{source.path} was cut short while a model reads from it; load the model again")
        yield chunk
        start += len(chunk)


def _read(source: SourceFile, offset: int, count: int) -> bytes:
    try:
        descriptor = source.fileno()
    except OSError:  # a model in memory
        return bytes(source.view(offset, count))
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)  # nobody else reads through the descriptor: the file is mapped
    return os.read(descriptor, count)


def _sync(descriptor: int) -> None:
    """Make the content durable, where the file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _sync_folder(folder: Path) -> None:
    """Make a renaming durable; not all systems can."""
    if hasattr(os, "O_DIRECTORY"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _sync(descriptor)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _output_error(path, error) from error


def _output_error(path: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {path}: {error.strerror or error}")


def write_all(file: OutputFile, pieces: Iterable[Piece]) -> None:
    """Append pieces of a message."""
    for piece in pieces:
        file.write_piece(piece)
