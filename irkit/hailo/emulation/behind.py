"""What the host makes of the chip's outputs, behind a cut: so that drift and accuracy are those of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from irkit.errors import OptionError
from irkit.executor import open_session
from irkit.inputs import fed_inputs
from irkit.model import Model

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


class Behind:
    """The host's part, ready to run.

    Args:
        host: the part. `outputs` are the names of what it gives.
        known: names that the chip's part takes and gives.
        beside: samples (N, ...) of what else it reads.

    Raises `OptionError` where something it reads is not given, `ExecutionError` where nothing here can run it.
    """

    def __init__(self, host: Model, known: set[str], beside: Mapping[str, Array]) -> None:
        self._reads = [value.name for value in fed_inputs(host)]
        self._beside = {name: array for name, array in beside.items() if name in self._reads and name not in known}
        missing = [name for name in self._reads if name not in known and name not in self._beside]
        if missing:
            raise OptionError(f"host.onnx reads `{missing[0]}`, of which there are no samples: give them by --calib")
        self.outputs = tuple(value.name for value in host.graph.outputs)
        self._session = open_session(host)

    def run(self, values: Mapping[str, Array], index: int) -> dict[str, Array]:
        """Its outputs for sample `index`, of which the chip's part took and gave `values`."""
        beside = {name: array[index : index + 1] for name, array in self._beside.items()}
        return self._session.run({name: {**values, **beside}[name] for name in self._reads})
