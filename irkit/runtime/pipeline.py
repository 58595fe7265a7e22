"""A bundle as one callable: what comes before the chip, the chip, and what comes after it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from irkit.errors import OptionError
from irkit.hailo.ports import Port
from irkit.runtime.backends import Backend, OnnxBackend, open_backend
from irkit.runtime.folder import HOST, PRE, open_bundle
from irkit.runtime.samples import preprocessing_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Pipeline:
    """pre.onnx, the device part and host.onnx of a bundle, run in a row.

    Inputs are what the bundle's HEF takes: where the chip normalizes (`is_raw`), raw 8-bit images (N, H, W, C); else
    what the ONNX model takes, batch axis included. N frames are run one by one, and outputs have N rows.

    Args:
        path: the folder that `irkit optimize` made.
        device: `hailo`, `cpu`, or `auto`: a Hailo device where there is one.
        backend: what runs the device part instead of these.

    Attributes:
        device: what runs the device part, in words. fallback: why it is not a Hailo device, "" where it is.
        inputs, outputs: names.

    Raises a subclass of `InputError` where the bundle cannot be read or the device is not there, `ExecutionError` where
    nothing can run it.
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "auto", *, backend: Backend | None = None) -> None:
        self._bundle = open_bundle(path)
        self._backend: Backend
        self._backend, self.fallback = (backend, "") if backend is not None else open_backend(self._bundle, device)
        folder = self._bundle.path
        self._pre = OnnxBackend(folder / PRE) if (folder / PRE).exists() else None
        self._host = OnnxBackend(folder / HOST) if (folder / HOST).exists() else None
        io_map = self._bundle.io_map
        self._taken = {entry["name"]: Port.of_json(entry) for entry in io_map["inputs"]}
        self._ports = {entry["name"]: Port.of_json(entry) for entry in io_map["feeds"]}
        self._how = preprocessing_of(self._bundle.preprocess)
        self.is_raw = self._bundle.preprocess["domain"]["hef"] == "raw"
        self.device = self._backend.name
        self.inputs = self._fed()
        self.outputs = tuple(self._results())

    def _fed(self) -> tuple[str, ...]:
        """Inputs of the whole that some part reads, in its order."""
        read = {*self._taken}
        for part in (self._pre, self._host):
            read.update(part.inputs if part is not None else ())
        return tuple(name for name in self._ports if name in read)

    def _results(self) -> list[str]:
        """Names of what comes out: of the boxes, where the device's runtime makes boxes of several outputs."""
        devices = [entry["device"] for entry in self._bundle.io_map["outputs"]]
        if self._backend.is_device and any(device.get("nms") for device in devices):
            return list(dict.fromkeys(device["name"] for device in devices if device.get("nms")))
        return list(self._bundle.io_map["results"])

    @property
    def is_device(self) -> bool:
        """Whether a Hailo device runs the device part."""
        return self._backend.is_device

    def __call__(self, inputs: Array | Mapping[str, Array]) -> dict[str, Array]:
        """Run N frames. Raises `OptionError` where arrays do not fit the inputs."""
        given = self._named(inputs)
        counts = {len(array) for array in given.values()}
        if len(counts) != 1 or 0 in counts:
            raise OptionError(f"all inputs take one number of frames, above 0; found {sorted(counts)}")
        frames = [self.frame({name: array[i : i + 1] for name, array in given.items()}) for i in range(counts.pop())]
        return {name: _joined([frame[name] for frame in frames]) for name in frames[0]}

    def frame(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Run one frame, inputs by name with a batch axis of 1; nothing is checked."""
        values = dict(feed)
        if self._pre is not None:
            values.update(self._pre.run(values))
        device = {name: values[name] for name in self._taken}
        if self.is_raw:
            values.update({name: self._normalized(array, self._taken[name]) for name, array in device.items()})
            device = device if self._backend.is_device else {name: values[name] for name in device}
        values.update(self._backend.run(device))
        if self._host is not None:
            values.update(self._host.run({name: values[name] for name in self._host.inputs}))
        return {name: values[name] for name in self.outputs}

    def _normalized(self, array: Array, port: Port) -> Array:
        """A raw image as ONNX models take it; the chip takes it raw."""
        return port.as_model_takes(self._how.normalize(array))

    def _named(self, inputs: Array | Mapping[str, Array]) -> dict[str, Array]:
        import numpy as np

        given = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(self.inputs[:1], inputs)
        if set(given) != set(self.inputs):
            raise OptionError(f"the inputs are {', '.join(self.inputs)}; found {', '.join(given) or 'none'}")
        return {name: self._checked(self._ports[name], np.asarray(array)) for name, array in given.items()}

    def _checked(self, port: Port, array: Array) -> Array:
        """The array with a batch axis, if it fits. A sample without that axis is one frame."""
        import numpy as np

        name, is_raw = port.name, self.is_raw and port.name in self._taken
        wanted = port.device_shape if is_raw else port.shape[1:]
        assert wanted is not None  # raw inputs are images
        dtype = np.dtype("uint8" if is_raw else port.dtype)
        if array.shape == wanted:
            array = array[None]
        if array.ndim != len(wanted) + 1 or array.shape[1:] != wanted:
            shape = ", ".join(map(str, wanted))
            raise OptionError(f"`{name}` takes arrays of shape (N, {shape}); found {list(array.shape)}")
        if is_raw and array.dtype != dtype:
            raise OptionError(f"`{name}` takes raw 8-bit data (uint8), which the chip normalizes; found {array.dtype}")
        if array.dtype.kind not in "iufb" or (array.dtype.kind == "f" and not np.isfinite(array).all()):
            raise OptionError(f"`{name}` takes finite numbers; found {array.dtype} with NaN or infinity")
        return np.asarray(array, dtype)

    def close(self) -> None:
        """Let the device go."""
        self._backend.close()

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _joined(frames: Sequence[Any]) -> Any:
    """Frames in one array; boxes, of which each frame has another number, in one list."""
    import numpy as np

    if isinstance(frames[0], np.ndarray):
        return np.concatenate(frames)
    return [item for frame in frames for item in frame]
