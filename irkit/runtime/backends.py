"""What runs the device part of a bundle: a Hailo device where there is one, ONNX Runtime on this CPU otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from irkit.errors import ExecutionError
from irkit.executor import require_runtime
from irkit.runtime.device import DeviceError, HailoDevice, hailo_platform
from irkit.runtime.folder import MODEL, BundleFolder

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

DEVICES = ("auto", "hailo", "cpu")


class Backend(Protocol):
    """Runs one frame. `name` says what and where; `is_device` whether it is a Hailo device."""

    name: str
    is_device: bool

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name, of inputs by name: both in the layout of the ONNX model, batch axis included."""
        ...

    def close(self) -> None:
        """Let the device go."""
        ...


class OnnxBackend:
    """ONNX Runtime on this CPU, as fast as it goes. Raises `ExecutionError` where it cannot run the model."""

    is_device = False

    def __init__(self, path: Path) -> None:
        runtime = require_runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  (ONNX Runtime raises its own types, unrelated to each other)
            raise ExecutionError(f"{path}: ONNX Runtime cannot run it: {' '.join(str(error).split())[:300]}") from None
        self.name = f"ONNX Runtime {runtime.__version__} on this CPU"
        self.inputs = tuple(value.name for value in self._session.get_inputs())
        self.outputs = tuple(value.name for value in self._session.get_outputs())

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """One frame."""
        try:
            return dict(zip(self.outputs, self._session.run(self.outputs, dict(feed)), strict=True))
        except Exception as error:  # noqa: BLE001
            raise ExecutionError(f"ONNX Runtime cannot run it: {' '.join(str(error).split())[:300]}") from None

    def close(self) -> None:
        """Nothing is held."""


class HailoBackend:
    """The device part of a bundle on a Hailo device. Raises `DeviceError` where there is none that takes the HEF."""

    is_device = True

    def __init__(self, bundle: BundleFolder) -> None:
        hailo_platform()
        if bundle.hef is None:
            raise DeviceError(f"{bundle.path} has no compiled/model.hef: irkit compile {bundle.path}")
        if bundle.io_map["state"] != "bound":
            raise DeviceError(f"{bundle.path}/io_map.json is not bound: irkit hef {bundle.hef} --bind {bundle.path}")
        self._io = bundle.io_map
        self._is_raw = bundle.preprocess["domain"]["hef"] == "raw"
        on_grid = all(_is_whole(entry["device"].get("quantization")) for entry in self._io["inputs"])
        self._device = HailoDevice(bundle.hef, is_8_bit=self._is_raw and on_grid)
        self.name = self._device.name

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """One frame."""
        sent = {entry["device"]["name"]: self._to_device(feed[entry["name"]], entry) for entry in self._io["inputs"]}
        results = self._device.infer(sent)
        found = {}
        for entry in self._io["outputs"]:
            name = entry["device"]["name"]
            if entry["device"].get("nms"):  # HailoRT made boxes of several outputs: they have a name of their own
                found[name] = results[name]
            else:
                found[entry["name"]] = self._from_device(results[name], entry)
        return found

    def _to_device(self, array: Array, entry: Mapping[str, Any]) -> Array:
        if entry["layout"] == "NCHW" and not self._is_raw:
            array = array.transpose(0, 2, 3, 1)
        return array.reshape(len(array), *entry["device"]["shape"])

    def _from_device(self, array: Array, entry: Mapping[str, Any]) -> Array:
        import numpy as np

        array = np.asarray(array)
        if entry["layout"] == "NCHW":
            array = array.reshape(len(array), *entry["device"]["shape"]).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(array.reshape(entry.get("result") or entry["shape"]))

    def close(self) -> None:
        """Let the device go."""
        self._device.close()


def _is_whole(grid: Mapping[str, float] | None) -> bool:
    """Whether 8-bit data are on the input's grid as they are, so that HailoRT need not scale them."""
    return grid is not None and grid["scale"] == 1 and grid["zero_point"] == 0


def open_backend(bundle: BundleFolder, device: str = "auto") -> tuple[Backend, str]:
    """What runs the device part, and why it is not a Hailo device ("" where it is, or where none was asked for).

    Args:
        bundle: what to run.
        device: `hailo`, `cpu`, or `auto`: a Hailo device where there is one.

    Raises `DeviceError` where a Hailo device was asked for and is not there, `ExecutionError` where nothing can run it.
    """
    if device not in DEVICES:
        raise DeviceError(f"there is no device `{device}`; known: {', '.join(DEVICES)}")
    if device == "cpu":
        return OnnxBackend(bundle.path / MODEL), ""
    try:
        return HailoBackend(bundle), ""
    except DeviceError as error:
        if device == "hailo":
            raise
        return OnnxBackend(bundle.path / MODEL), str(error)
