"""A HEF on a Hailo device, through HailoRT's Python package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import ExecutionError, InputError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class DeviceError(InputError):
    """No Hailo device can run this here."""


class HailoDevice:
    """A HEF, loaded onto the device; frames go in and come out by the names in the HEF, (N, height, width, channels).

    Args:
        hef: the file.
        is_8_bit: frames are on the grid of the inputs already, as uint8; else they are floats that HailoRT quantizes.

    Attributes: `name` says what runs it, and by which version.

    Raises `DeviceError` where no device takes the HEF.
    """

    def __init__(self, hef: Path, *, is_8_bit: bool = False) -> None:
        hailo = hailo_platform()
        self.input_type = "uint8" if is_8_bit else "float32"
        self._stack: list[Any] = []
        try:
            self._open(hailo, str(hef))
        except Exception as error:  # HailoRT's errors have no base that is there in every version
            self.close()
            raise DeviceError(f"no Hailo device runs {hef}: {error}; see irkit doctor") from error
        self.name = f"{self._architecture()} through HailoRT {getattr(hailo, '__version__', '')}".rstrip()

    def _open(self, hailo: Any, path: str) -> None:
        hef = hailo.HEF(path)
        self._device = self._enter(hailo.VDevice())
        params = hailo.ConfigureParams.create_from_hef(hef=hef, interface=hailo.HailoStreamInterface.PCIe)
        network = self._device.configure(hef, params)[0]
        kind = hailo.FormatType.UINT8 if self.input_type == "uint8" else hailo.FormatType.FLOAT32
        inputs = hailo.InputVStreamParams.make(network, format_type=kind)
        outputs = hailo.OutputVStreamParams.make(network, format_type=hailo.FormatType.FLOAT32)
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

    def infer(self, frames: Mapping[str, Array]) -> dict[str, Any]:
        """Run frames of the element type `input_type`. Raises `ExecutionError`."""
        import numpy as np

        sent = {name: np.ascontiguousarray(array, self.input_type) for name, array in frames.items()}
        try:
            return dict(self._pipeline.infer(sent))
        except Exception as error:
            raise ExecutionError(f"the Hailo device failed: {error}") from error

    def close(self) -> None:
        """Let the device go."""
        while self._stack:
            self._stack.pop().__exit__(None, None, None)


def hailo_platform() -> Any:
    """HailoRT's Python package. Raises `DeviceError` where it cannot be imported."""
    try:
        import hailo_platform as package
    except Exception as error:  # a missing library of HailoRT is no ImportError
        raise DeviceError(f"HailoRT's Python package cannot be imported: {error}; see irkit doctor") from error
    return package
