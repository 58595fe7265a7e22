"""Tensor data in files beside the model: found, checked and mapped.

A location is a path relative to the model's folder and must not lead out of it: a model from elsewhere must not be able
to make us read, and write into our output, any file of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from irkit.errors import ModelError
from irkit.source import SourceFile


class ExternalFiles:
    """The data files of one model, each opened once.

    Args:
        folder: where the model lies; None where it came from memory, and external data has no place to be.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._sources: dict[Path, SourceFile] = {}

    @property
    def sources(self) -> list[SourceFile]:
        """The files opened so far."""
        return list(self._sources.values())

    def find(self, entries: Mapping[str, str], nbytes: int, tensor: str) -> tuple[SourceFile, int]:
        """File and offset of a tensor's data, of which there must be `nbytes`.

        Args:
            entries: the `external_data` of the tensor: location, offset, length.
            nbytes: how many its shape and type need.
            tensor: its name, for messages.
        """
        source = self._open(entries.get("location", ""), tensor)
        offset = _number(entries, "offset", 0, tensor)
        length = _number(entries, "length", nbytes, tensor)
        if length != nbytes:
            raise ModelError(f"tensor {tensor!r}: its shape and type need {nbytes} bytes, the model records {length}")
        if offset + nbytes > source.size:
            raise ModelError(
                f"tensor {tensor!r}: its data is said to be bytes {offset} to {offset + nbytes} of {source.path}, "
                f"which has only {source.size}"
            )
        return source, offset

    def _open(self, location: str, tensor: str) -> SourceFile:
        path = self._resolve(location, tensor)
        if path not in self._sources:
            try:
                self._sources[path] = SourceFile(path)
            except ModelError as error:
                raise ModelError(f"the data of tensor {tensor!r} is missing: {error}") from error
        return self._sources[path]

    def _resolve(self, location: str, tensor: str) -> Path:
        if self._folder is None:
            raise ModelError(
                f"the data of tensor {tensor!r} is in another file, {location!r}; "
                "load the model by its path, or give the folder"
            )
        parts = {*PurePosixPath(location).parts, *PureWindowsPath(location).parts}
        absolute = PurePosixPath(location).is_absolute() or PureWindowsPath(location).anchor
        folder = self._folder.resolve()
        try:
            path = (folder / location).resolve() if "\0" not in location else folder
        except (OSError, RuntimeError):  # a link that leads to itself; RuntimeError before Python 3.13
            path = folder
        if absolute or ".." in parts or path == folder or folder not in path.parents:
            raise ModelError(
                f"tensor {tensor!r}: refused to read its data from {location!r}, "
                f"which is no file inside the model's folder {folder}; put the file there"
            )
        return path

    def close(self) -> None:
        """Close them all."""
        for source in self._sources.values():
            source.close()


def _number(entries: Mapping[str, str], key: str, default: int, tensor: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise ModelError(f"tensor {tensor!r}: the {key} of its external data is {text!r}, not a number")
    return int(text)
