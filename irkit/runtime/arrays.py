"""Arrays in files, as users give them."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


def read_arrays(path: Path) -> dict[str, Array] | Array:
    """A .npy as one array, an .npz as arrays by name. Raises `OptionError` where it is neither."""
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise OptionError(f"{path}: no .npy or .npz of numbers: {error}") from None
