"""Paths of files as tools that show findings want them."""

from __future__ import annotations

import os
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from urllib.parse import quote


def relative_path(file: str) -> str | None:
    """A path from the working directory, with `/`; None where the file is elsewhere, or no file (`<ipython...>`)."""
    if not file or file.startswith("<"):
        return None
    path = os.path.normpath(os.path.join(os.getcwd(), file))
    here = os.getcwd()
    if _is_windows(file) and os.sep == "/":
        return None
    try:
        return PurePath(path).relative_to(here).as_posix()
    except ValueError:
        return None


def uri(file: str) -> str | None:
    """The URI of a file: relative where it is below the working directory, else `file:///...`; None for no file."""
    if not file or file.startswith("<"):
        return None
    relative = relative_path(file)
    if relative is not None:
        return quote(relative)
    if _is_windows(file):
        return PureWindowsPath(file).as_uri()
    return PurePosixPath(file).as_uri() if file.startswith("/") else quote(file)


def _is_windows(file: str) -> bool:
    """Whether a path was written on Windows."""
    return PureWindowsPath(file).drive != ""
