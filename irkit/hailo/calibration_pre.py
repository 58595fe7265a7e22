"""The calibration set of a chip's part that begins within a model: what the part before it makes of samples."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.executor import open_row
from irkit.hailo.calibration import CalibrationError, CalibrationSet
from irkit.hailo.calibration_writer import WrittenCalibration, lay_out, new_array, pack
from irkit.hailo.ports import Port, input_ports
from irkit.hailo.preprocessing import Preprocessing
from irkit.model import Model

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


def write_through(
    source: CalibrationSet,
    whole: Model,
    pre: Model,
    ports: Sequence[Port],
    folder: Path,
    how: Preprocessing,
    *,
    most: int,
    labels: Sequence[int] = (),
    progress: Callable[[str, int, int], None] | None = None,
) -> WrittenCalibration:
    """Write what `pre` makes of a calibration set for the whole; nothing is left to the chip to normalize.

    Args:
        source: samples of the inputs of `whole`.
        whole: the model before it was cut.
        pre: what is before the chip's part.
        ports: inputs of the chip's part.
        folder: an existing folder.
        how: size, color, layout and normalization of the samples.
        most: how many samples to take.
        labels: the class of each sample, to take of all alike; () where not known.
        progress: is told of every sample.

    Raises `OptionError` or `CalibrationError` where the samples do not fit, `ExecutionError` where nothing runs `pre`.
    """
    fed = input_ports(whole)
    with tempfile.TemporaryDirectory(prefix=".whole-", dir=folder) as place:
        arrays = lay_out(source, fed, Path(place), how, most=most, labels=labels, progress=progress)
        count = len(next(iter(arrays.values())))
        targets = {port.name: new_array(folder, port, count) for port in ports}
        for index, frame in enumerate(frames_through(pre, fed, arrays, how)):
            for port in ports:
                targets[port.name][index] = _sample(frame[port.name], port, index)
            if progress is not None:
                progress("calibration set through pre.onnx", index, count)
        del arrays
    return pack(folder, ports, count, "float32")


def frames_through(
    pre: Model, fed: Sequence[Port], arrays: Mapping[str, Array], how: Preprocessing
) -> Iterator[dict[str, Array]]:
    """Samples (N, height, width, channels) one by one: what the whole takes, and what `pre` makes of it, by name."""
    run = open_row([pre])
    for index in range(len(next(iter(arrays.values())))):
        yield run({port.name: _as_model_takes(arrays[port.name][index : index + 1], port, how) for port in fed})


def _as_model_takes(samples: Array, port: Port, how: Preprocessing) -> Array:
    """8-bit samples are raw still; others are normalized already."""
    import numpy as np

    if samples.dtype == np.uint8 and how.normalizes:
        samples = how.normalize(samples)
    return port.as_model_takes(samples)


def _sample(array: Array, port: Port, index: int) -> Array:
    import numpy as np

    if not np.isfinite(array).all():
        raise CalibrationError(f"pre.onnx makes NaN or infinity of sample {index} for `{port.name}`")
    return np.asarray(port.to_device(array)[0])
