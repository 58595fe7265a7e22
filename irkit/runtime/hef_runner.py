"""A HEF by itself on a device: inputs and outputs by the names that the compiler gave them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from irkit.errors import OptionError
from irkit.hailo.hef.contents import Stream
from irkit.hailo.hef.reader import read_hef
from irkit.runtime.device import DeviceError, HailoDevice

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class HefRunner:
    """Runs a HEF: frames (N, height, width, channels) of real numbers, which HailoRT quantizes.

    Args:
        path: the file.
        device: `hailo` or `auto`; nothing but a Hailo device runs a HEF.

    Attributes: `device` in words; `inputs`, `outputs`: names of the HEF's, in its order; `fallback` is always "".

    Raises `ModelError` where the file cannot be read, `DeviceError` where no device takes it.
    """

    fallback = ""

    def __init__(self, path: Path, device: str = "auto") -> None:
        hef = read_hef(path)
        if device == "cpu":
            raise DeviceError(f"{path}: only a Hailo device runs a HEF; on a CPU: irkit run BUNDLE, or MODEL.onnx")
        if len(hef.groups) != 1:
            raise DeviceError(f"{path} holds {len(hef.groups)} network groups; one is run")
        try:
            self._device = HailoDevice(path)
        except DeviceError as error:
            raise DeviceError(f"{error}. On a CPU: irkit run BUNDLE, or MODEL.onnx") from error
        self._streams = {stream.name: stream for stream in hef.groups[0].inputs}
        self.device = self._device.name
        self.inputs = tuple(self._streams)
        self.outputs = tuple(stream.name for stream in hef.groups[0].outputs)

    def __call__(self, inputs: Array | Mapping[str, Array]) -> dict[str, Any]:
        """Run N frames, by the names of inputs, or one array where there is one input. Raises `OptionError`."""
        given = self.named(inputs)
        counts = {len(array) for array in given.values()}
        if len(counts) != 1 or 0 in counts:
            raise OptionError(f"all inputs take one number of frames, above 0; found {sorted(counts)}")
        return self.frame(given)

    def named(self, inputs: Array | Mapping[str, Array]) -> dict[str, Array]:
        """Arrays by the names in the HEF; the network's may be left out. Raises `OptionError`."""
        given = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(self.inputs[:1], inputs)
        short = {name.rpartition("/")[2]: name for name in self.inputs}
        named = {short.get(name, name): array for name, array in given.items()}
        if set(named) != set(self.inputs):
            raise OptionError(f"the inputs are {', '.join(self.inputs)}; found {', '.join(given) or 'none'}")
        return {name: _checked(self._streams[name], named[name]) for name in self.inputs}

    def frame(self, feed: Mapping[str, Array]) -> dict[str, Any]:
        """Run frames that `named` gave."""
        return self._device.infer(feed)

    def drawn(self, count: int, seed: int = 0) -> dict[str, Array]:
        """Random frames over the range that inputs were quantized for."""
        import numpy as np

        rng = np.random.default_rng(seed)
        found = {}
        for name, stream in self._streams.items():
            grid = stream.quantization
            low, high = (0.0, 255.0) if grid is None or not grid.low < grid.high else (grid.low, grid.high)
            found[name] = rng.uniform(low, high, (count, *stream.shape)).astype(np.float32)
        return found

    def __enter__(self) -> HefRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._device.close()


def _checked(stream: Stream, given: Array) -> Array:
    """Frames in the shape of an input; axes of length 1 may be left out, and so may that of the frames."""
    import numpy as np

    array = np.asarray(given)
    if array.dtype.kind not in "iufb" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        raise OptionError(f"`{stream.name}` takes finite numbers; found {array.dtype} with NaN or infinity")
    shape = tuple(stream.shape)
    squeezed = tuple(size for size in shape if size != 1)
    if tuple(size for size in array.shape if size != 1) == squeezed and array.size == math.prod(shape):
        return array.reshape(1, *shape).astype(np.float32)
    if tuple(size for size in array.shape[1:] if size != 1) != squeezed or not array.ndim:
        wanted = ", ".join(map(str, shape))
        raise OptionError(f"`{stream.name}` takes (N, {wanted}): height, width, channels; found {list(array.shape)}")
    return array.reshape(len(array), *shape).astype(np.float32)
