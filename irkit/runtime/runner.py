"""One way to run what people have: a bundle, an ONNX file, or a HEF."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from irkit.errors import OptionError
from irkit.runtime.backends import OnnxBackend
from irkit.runtime.device import DeviceError
from irkit.runtime.hef_runner import HefRunner
from irkit.runtime.pipeline import Pipeline

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Runner(Protocol):
    """Runs frames. `device` in words; `fallback`: why it is no Hailo device, "" where none was asked for."""

    device: str
    fallback: str
    inputs: tuple[str, ...]

    def __call__(self, inputs: Array | Mapping[str, Array]) -> dict[str, Array]:
        """Run."""
        ...

    def frame(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one frame; nothing is checked."""
        ...

    def __enter__(self) -> Any: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class ModelRunner:
    """An ONNX file in ONNX Runtime, fed as it is. Raises `ExecutionError` where it cannot be run."""

    fallback = ""

    def __init__(self, path: Path) -> None:
        self._backend = OnnxBackend(path)
        self.device = self._backend.name
        self.inputs = self._backend.inputs

    def __call__(self, inputs: Array | Mapping[str, Array]) -> dict[str, Array]:
        """Run once, on arrays as the model takes them. Raises `OptionError` for wrong names."""
        given = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(self.inputs[:1], inputs)
        if set(given) != set(self.inputs):
            raise OptionError(f"the inputs are {', '.join(self.inputs)}; found {', '.join(given) or 'none'}")
        return self._backend.run(given)

    def frame(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one frame."""
        return self._backend.run(feed)

    def __enter__(self) -> ModelRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._backend.close()


def open_runner(path: Path, device: str = "auto") -> Runner:
    """A bundle, an ONNX file or a HEF, ready to run.

    Raises a subclass of `InputError` where it cannot be read or the device is not there, `ExecutionError` where nothing
    can run it.
    """
    if path.is_dir():
        return Pipeline(path, device)
    if path.suffix == ".hef":
        return HefRunner(path, device)
    if device == "hailo":
        raise DeviceError(
            f"{path} is an ONNX file, which a Hailo device does not run: irkit optimize, then irkit compile"
        )
    if not path.is_file():
        raise OptionError(f"there is no {path}")
    return ModelRunner(path)
