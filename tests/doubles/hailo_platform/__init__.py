"""A stand-in of HailoRT's Python package (4.23), after its MIT-licensed bindings: classes, so that wrong names fail.

The device runs the ONNX model that lies beside or above the HEF in ONNX Runtime, in the HEF's quantization.

Environment:
    IRKIT_DOUBLE_DEVICE   HAILO8 (default), HAILO8L, or `none`: no device
    IRKIT_DOUBLE_FAULT    `swap` gives two outputs of one shape in exchange, `constant` the same for all, `driver` fails
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from hailo_sdk_client import normalizations
from hailo_sdk_client.network import Floats, values_by_node

__version__ = "4.23.0"

_open_devices: list[VDevice] = []


class HailoRTException(Exception):
    """An error of libhailort."""


class HailoRTHEFNotCompatibleWithDevice(HailoRTException):
    """A HEF for another chip."""


class HailoRTNetworkGroupNotActivatedException(HailoRTException):
    """Inference before the network is active."""


class HailoStreamInterface:
    """How the device is connected."""

    PCIe, INTEGRATED = range(2)


class FormatType:
    """Element types of what goes in and out."""

    AUTO, UINT8, UINT16, FLOAT32 = range(4)


class HailoSchedulingAlgorithm:
    """Who chooses the network that runs."""

    NONE, ROUND_ROBIN = range(2)


class _Info:
    def __init__(self, stream: Any) -> None:
        self.name = stream.name
        self.direction = stream.direction
        self.shape = (stream.shape[2],) if stream.order == "NC" else tuple(stream.shape)
        self.stream = stream


class HEF:
    """A HEF; given as text or bytes, a Path is refused."""

    def __init__(self, hef_source: str | bytes) -> None:
        if not isinstance(hef_source, str):
            raise ValueError("HEF can only be created from a path (str) here")
        from irkit.errors import ModelError
        from irkit.hailo.hef.reader import read_hef

        try:
            self._hef = read_hef(hef_source)
        except ModelError as error:
            raise HailoRTException(f"libhailort failed with error: 91 (HAILO_HEF_FILE_CORRUPTED): {error}") from None
        self.path = hef_source
        self._group = self._hef.groups[0]

    def get_network_group_names(self) -> list[str]:
        return [group.name for group in self._hef.groups]

    def get_input_vstream_infos(self, name: str | None = None) -> list[_Info]:
        return [_Info(stream) for stream in self._group.inputs]

    def get_output_vstream_infos(self, name: str | None = None) -> list[_Info]:
        return [_Info(stream) for stream in self._group.outputs]

    def get_original_names_from_vstream_name(
        self, vstream_name: str, network_group_name: str | None = None
    ) -> list[str]:
        for stream in (*self._group.inputs, *self._group.outputs):
            if stream.name == vstream_name:
                return list(stream.original_names)
        raise HailoRTException(f"libhailort failed with error: 61 (HAILO_NOT_FOUND): {vstream_name}")

    def bottleneck_fps(self, network_group_name: str | None = None) -> float:
        return self._group.fps


class ConfigureParams:
    """How networks are configured."""

    @staticmethod
    def create_from_hef(hef: HEF, interface: int) -> dict[str, Any]:
        if not isinstance(hef, HEF):
            raise TypeError("hef must be a HEF")
        return dict.fromkeys(hef.get_network_group_names())


class _Board:
    def __init__(self, architecture: str) -> None:
        self.device_architecture = f"DeviceArchitecture.{architecture}"


class _Control:
    def __init__(self, architecture: str) -> None:
        self._architecture = architecture

    def identify(self) -> _Board:
        return _Board(self._architecture)


class _PhysicalDevice:
    def __init__(self, architecture: str) -> None:
        self.control = _Control(architecture)


class Device:
    """A device by itself."""

    @staticmethod
    def scan() -> list[str]:
        return [] if _architecture() == "none" else ["0000:01:00.0"]


def _architecture() -> str:
    return os.environ.get("IRKIT_DOUBLE_DEVICE", "HAILO8")


class VDevice:
    """The device; only one process has it, and only once."""

    def __init__(self, params: Any = None, *, device_ids: list[str] | None = None) -> None:
        if os.environ.get("IRKIT_DOUBLE_FAULT") == "driver":
            raise HailoRTException("libhailort failed with error: 76 (HAILO_INVALID_DRIVER_VERSION)")
        if _architecture() == "none" or _open_devices:
            raise HailoRTException("libhailort failed with error: 74 (HAILO_OUT_OF_PHYSICAL_DEVICES)")
        self._open = True
        _open_devices.append(self)

    def __enter__(self) -> VDevice:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        if self._open:
            self._open = False
            _open_devices.remove(self)

    def get_physical_devices(self) -> list[_PhysicalDevice]:
        return [_PhysicalDevice(_architecture())]

    def configure(self, hef: HEF, configure_params_by_name: dict[str, Any] | None = None) -> list[ConfiguredNetwork]:
        if not self._open:
            raise HailoRTException("libhailort failed with error: 6 (HAILO_INVALID_OPERATION)")
        if _architecture().lower() not in hef._hef.devices:
            raise HailoRTHEFNotCompatibleWithDevice(
                "libhailort failed with error: 93 (HAILO_HEF_NOT_COMPATIBLE_WITH_DEVICE)"
            )
        return [ConfiguredNetwork(hef)]


class ConfiguredNetwork:
    """A network on the device."""

    def __init__(self, hef: HEF) -> None:
        self._hef = hef
        self.name = hef.get_network_group_names()[0]

    def activate(self, network_group_params: Any = None) -> Any:
        import contextlib

        return contextlib.nullcontext()


class _VStreamParams:
    @classmethod
    def make(
        cls,
        configured_network: ConfiguredNetwork,
        quantized: bool | None = None,
        format_type: int | None = None,
        timeout_ms: int | None = None,
        queue_size: int | None = None,
        network_name: str | None = None,
    ) -> dict[str, int]:
        if not isinstance(configured_network, ConfiguredNetwork):
            raise TypeError("a configured network is needed")
        kind = FormatType.AUTO if format_type is None else format_type
        return {info.name: kind for info in cls._infos(configured_network._hef)}

    @staticmethod
    def _infos(hef: HEF) -> list[_Info]:
        raise NotImplementedError


class InputVStreamParams(_VStreamParams):
    """Formats of what goes in."""

    @staticmethod
    def _infos(hef: HEF) -> list[_Info]:
        return hef.get_input_vstream_infos()


class OutputVStreamParams(_VStreamParams):
    """Formats of what comes out."""

    @staticmethod
    def _infos(hef: HEF) -> list[_Info]:
        return hef.get_output_vstream_infos()


class InferVStreams:
    """Blocking inference; usable only inside `with`."""

    def __init__(
        self,
        configured_net_group: ConfiguredNetwork,
        input_vstreams_params: dict[str, int],
        output_vstreams_params: dict[str, int],
        tf_nms_format: bool = False,
    ) -> None:
        self._hef = configured_net_group._hef
        self._inputs, self._outputs = input_vstreams_params, output_vstreams_params
        self._numbers: _Numbers | None = None

    def __enter__(self) -> InferVStreams:
        self._numbers = _Numbers(self._hef)
        return self

    def __exit__(self, *_: object) -> None:
        self._numbers = None

    def infer(self, input_data: dict[str, Any]) -> dict[str, Any]:
        if self._numbers is None:
            raise AttributeError("InferVStreams is used inside `with`")
        if not isinstance(input_data, dict):
            if len(self._inputs) != 1:
                raise Exception("when there is more than one input, the input data should be a dict")
            input_data = dict.fromkeys(self._inputs, input_data)
        if not input_data or len({len(array) for array in input_data.values()}) != 1:
            raise ValueError("all inputs need the same number of frames")
        frames = len(next(iter(input_data.values())))
        results = [self._frame({name: array[i] for name, array in input_data.items()}) for i in range(frames)]
        return {name: np.stack([result[name] for result in results]) for name in results[0]}

    def _frame(self, arrays: dict[str, Any]) -> dict[str, Any]:
        assert self._numbers is not None
        feeds = []
        for info in self._hef.get_input_vstream_infos():
            if info.name not in arrays:
                raise HailoRTException(f"libhailort failed with error: 61 (HAILO_NOT_FOUND): {info.name}")
            array = arrays[info.name]
            if array.shape != tuple(info.stream.shape):
                raise HailoRTException(
                    f"libhailort failed with error: 2 (HAILO_INVALID_ARGUMENT): frame of {info.name} is {array.shape}"
                )
            wanted = np.float32 if self._inputs[info.name] == FormatType.FLOAT32 else np.uint8
            if array.dtype != wanted:
                raise HailoRTException(f"libhailort failed with error: 2: {info.name} takes {np.dtype(wanted).name}")
            feeds.append(self._numbers.stored(array, info.stream))
        results = self._numbers.run(feeds)
        return {
            info.name: self._numbers.host(results[info.name], info) for info in self._hef.get_output_vstream_infos()
        }


class _Numbers:
    """What the chip computes: the ONNX model, its inputs and outputs on their grids."""

    def __init__(self, hef: HEF) -> None:
        folders = [Path(hef.path).parent, Path(hef.path).parent.parent]
        model = str(next(folder / "model.onnx" for folder in folders if (folder / "model.onnx").exists()))
        self._hef = hef
        script = Path(hef.path).parent / "resolved.alls"  # what the chip normalizes is in a real HEF
        self._layers = [info.name for info in hef.get_input_vstream_infos()]
        how = normalizations(script.read_text(), self._layers) if script.exists() else {}
        made = values_by_node(model)
        self._outputs = {info.name: made[info.stream.original_names[-1]] for info in hef.get_output_vstream_infos()}
        self._floats = Floats(model, self._layers, list(self._outputs.values()), how)
        self._first: dict[str, Any] | None = None

    def stored(self, array: Any, stream: Any) -> Any:
        """The real numbers the chip reads."""
        grid = stream.quantization
        if array.dtype == np.uint8:
            return (array.astype(np.float32) - grid.zero_point) * grid.scale
        stored = np.clip(np.rint(array / grid.scale + grid.zero_point), 0, 255)
        return ((stored - grid.zero_point) * grid.scale).astype(np.float32)

    def run(self, feeds: list[Any]) -> dict[str, Any]:
        values = self._floats.run(dict(zip(self._layers, feeds, strict=True)))
        found = {}
        for name, value in self._outputs.items():
            array = values[value][0]
            found[name] = array.transpose(1, 2, 0) if array.ndim == 3 else array
        return self._faulty(found)

    def _faulty(self, found: dict[str, Any]) -> dict[str, Any]:
        fault = os.environ.get("IRKIT_DOUBLE_FAULT")
        if fault == "constant":
            self._first = self._first or found
            return self._first
        if fault == "swap":
            names = list(found)
            pair = next(((a, b) for a in names for b in names if a < b and found[a].shape == found[b].shape), None)
            if pair:
                found[pair[0]], found[pair[1]] = found[pair[1]], found[pair[0]]
        return found

    def host(self, array: Any, info: _Info) -> Any:
        grid = info.stream.quantization
        stored = np.clip(np.rint(array / grid.scale + grid.zero_point), 0, 255)
        return ((stored - grid.zero_point) * grid.scale).astype(np.float32).reshape(info.shape)
