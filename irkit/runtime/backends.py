"""What runs the device part of a bundle: a Hailo device where there is one, ONNX Runtime on this CPU otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from irkit.errors import ExecutionError, InputError
from irkit.executor import require_runtime
from irkit.runtime.folder import MODEL, BundleFolder

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

DEVICES = ("auto", "hailo", "cpu")


class DeviceError(InputError):
    """No Hailo device can run this here."""


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
    """A Hailo device through HailoRT's Python package. Raises `DeviceError` where there is none that takes the HEF."""

    is_device = True

    def __init__(self, bundle: BundleFolder) -> None:
        hailo = _hailo_platform()
        if bundle.hef is None:
            raise DeviceError(f"{bundle.path} has no compiled/model.hef: irkit compile {bundle.path}")
        if bundle.io_map["state"] != "bound":
            raise DeviceError(f"{bundle.path}/io_map.json is not bound: irkit hef {bundle.hef} --bind {bundle.path}")
        self._io = bundle.io_map
        self._stack: list[Any] = []
        try:
            self._open(hailo, str(bundle.hef), raw=bundle.preprocess["domain"]["hef"] == "raw")
        except Exception as error:
            self.close()
            raise DeviceError(f"no Hailo device runs {bundle.hef}: {error}; see irkit doctor") from error
        self.name = f"{self._architecture()} through HailoRT {getattr(hailo, '__version__', '')}".rstrip()

    def _open(self, hailo: Any, hef_path: str, *, raw: bool) -> None:
        hef = hailo.HEF(hef_path)
        self._device = self._enter(hailo.VDevice())
        params = hailo.ConfigureParams.create_from_hef(hef=hef, interface=hailo.HailoStreamInterface.PCIe)
        network = self._device.configure(hef, params)[0]
        is_8_bit = raw and all(_is_whole(entry["device"].get("quantization")) for entry in self._io["inputs"])
        kind = hailo.FormatType.UINT8 if is_8_bit else hailo.FormatType.FLOAT32
        inputs = hailo.InputVStreamParams.make(network, format_type=kind)
        outputs = hailo.OutputVStreamParams.make(network, format_type=hailo.FormatType.FLOAT32)
        self._is_raw, self._input_type = raw, "uint8" if is_8_bit else "float32"
        self._pipeline = self._enter(hailo.InferVStreams(network, inputs, outputs))

    def _enter(self, manager: Any) -> Any:
        entered = manager.__enter__()
        self._stack.append(manager)
        return entered

    def _architecture(self) -> str:
        try:
            board = self._device.get_physical_devices()[0].control.identify()
            return str(board.device_architecture).rpartition(".")[2]
        except Exception:  # noqa: BLE001  (names differ between versions of HailoRT)
            return "a Hailo device"

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """One frame."""
        sent = {entry["device"]["name"]: self._to_device(feed[entry["name"]], entry) for entry in self._io["inputs"]}
        try:
            results = self._pipeline.infer(sent)
        except Exception as error:  # HailoRT's errors have no base that is there in every version
            raise ExecutionError(f"the Hailo device failed: {error}") from error
        found = {}
        for entry in self._io["outputs"]:
            name = entry["device"]["name"]
            if entry["device"].get("nms"):  # HailoRT made boxes of several outputs: they have a name of their own
                found[name] = results[name]
            else:
                found[entry["name"]] = self._from_device(results[name], entry)
        return found

    def _to_device(self, array: Array, entry: Mapping[str, Any]) -> Array:
        import numpy as np

        if entry["layout"] == "NCHW" and not self._is_raw:
            array = array.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(array.reshape(len(array), *entry["device"]["shape"]), self._input_type)

    def _from_device(self, array: Array, entry: Mapping[str, Any]) -> Array:
        import numpy as np

        array = np.asarray(array)
        if entry["layout"] == "NCHW":
            array = array.reshape(len(array), *entry["device"]["shape"]).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(array.reshape(entry["shape"]))

    def close(self) -> None:
        """Let the device go."""
        while self._stack:
            self._stack.pop().__exit__(None, None, None)


def _is_whole(grid: Mapping[str, float] | None) -> bool:
    """Whether 8-bit data are on the input's grid as they are, so that HailoRT need not scale them."""
    return grid is not None and grid["scale"] == 1 and grid["zero_point"] == 0


def _hailo_platform() -> Any:
    try:
        import hailo_platform
    except Exception as error:  # a missing library of HailoRT is no ImportError
        raise DeviceError(f"HailoRT's Python package cannot be imported: {error}; see irkit doctor") from error
    return hailo_platform


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
