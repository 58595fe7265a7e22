"""Samples to run a model on: of a bundle's calibration set, of a set of the user's, or drawn."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import ModelError, OptionError
from irkit.hailo.calibration import open_calibration
from irkit.hailo.calibration_writer import write_calibration
from irkit.hailo.ports import Port, input_ports
from irkit.hailo.preprocessing import Preprocessing
from irkit.inputs import draw, input_specs
from irkit.model import Model
from irkit.onnx.reader import load
from irkit.runtime.folder import open_bundle

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

DRAWN = 32
"""Samples that are drawn where nobody gives any."""


@dataclass(frozen=True)
class Samples:
    """Arrays (N, ...) by input, in the layout and domain of the ONNX model."""

    arrays: dict[str, Array]
    is_random: bool = False

    @property
    def count(self) -> int:
        """How many."""
        return len(next(iter(self.arrays.values())))


def bundle_samples(folder: Path, given: Path | None, most: int, layout: str = "nhwc") -> tuple[Path, Samples]:
    """The model of a bundle, and samples for it: `given`, else the bundle's own, else drawn ones.

    Raises a subclass of `InputError` where folder or samples cannot be read or do not fit.
    """
    bundle = open_bundle(folder)
    path = folder / "model.onnx"
    how = preprocessing_of(bundle.preprocess, layout)
    calibration = bundle.script.get("calibration")
    with load(path) as model:
        if given is not None:
            return path, _read(model, given, how, most)
        if not calibration:
            return path, drawn(model, min(most, DRAWN))
        raw = bundle.preprocess["domain"]["calibration"] == "raw"
        done = how if raw else Preprocessing()
        return path, _read(model, folder / calibration["file"], done, most, is_random=bool(calibration["random"]))


def model_samples(
    path: Path, given: Path | None, most: int, layout: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> Samples:
    """Samples for an ONNX file: of a calibration set, or drawn."""
    with load(path) as model:
        if given is None:
            return drawn(model, min(most, DRAWN))
        return _read(model, given, Preprocessing(mean=mean, std=std, layout=layout), most)


def drift_samples(model: Model, path: Path, how: Preprocessing, most: int) -> dict[str, Array] | None:
    """Samples of a calibration set for the model as it stands; None where they are not for its inputs."""
    try:
        return _read(model, path, how, most).arrays
    except (ModelError, OptionError):
        return None


def preprocessing_of(preprocess: dict[str, Any], layout: str = "nhwc") -> Preprocessing:
    """What a bundle's preprocess.json says is done to a sample."""
    first = preprocess["inputs"][0]
    normalization = first["normalization"]
    return Preprocessing(
        mean=tuple(normalization["mean"]),
        std=tuple(normalization["std"]),
        fit=first.get("fit") or "",
        layout=layout,
        color=first.get("color") or "rgb",
    )


def drawn(model: Model, count: int) -> Samples:
    """Samples drawn from fixed seeds."""
    import numpy as np

    specs = input_specs(model, {})
    feeds = [draw(specs, 2 * seed) for seed in range(count)]
    return Samples({spec.name: np.concatenate([feed[spec.name] for feed in feeds]) for spec in specs}, True)


def labels_of(path: Path, count: int) -> Array:
    """Labels, one each sample. Raises `OptionError` where they are not."""
    import numpy as np

    try:
        labels = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise OptionError(f"--labels {path}: {error}") from None
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise OptionError(f"--labels {path}: must hold one whole number each sample")
    if len(labels) < count:
        raise OptionError(f"--labels {path}: has {len(labels)} labels for {count} samples")
    return labels[:count]


def _read(model: Model, path: Path, how: Preprocessing, most: int, *, is_random: bool = False) -> Samples:
    """Samples of a set as the model takes them, in the order they lie there."""
    import numpy as np

    ports = input_ports(model)
    with tempfile.TemporaryDirectory(prefix="irkit-") as folder:
        written = write_calibration(open_calibration(path), ports, Path(folder), how, most=most, shuffle=False)
        loaded = np.load(Path(folder) / written.file, allow_pickle=False)
        arrays = (
            {ports[0].name: loaded}
            if isinstance(loaded, np.ndarray)
            else {name: loaded[name] for name in written.inputs}
        )
        if written.dtype == "uint8" and how.normalizes:
            arrays = {name: how.normalize(array) for name, array in arrays.items()}
        return Samples({port.name: _as_model(arrays[port.name], port) for port in ports}, is_random)


def _as_model(array: Array, port: Port) -> Array:
    import numpy as np

    return np.ascontiguousarray(port.from_device(array).astype(port.dtype))
