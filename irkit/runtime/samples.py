"""Samples to run a model on: of a bundle's calibration set, of a set of the user's, or drawn."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import ModelError, OptionError
from irkit.executor import run_row
from irkit.hailo.calibration import open_calibration
from irkit.hailo.calibration_writer import lay_out
from irkit.hailo.ports import Port, input_ports
from irkit.hailo.preprocessing import Preprocessing
from irkit.inputs import draw, input_specs
from irkit.model import Model
from irkit.onnx.reader import load
from irkit.runtime.arrays import read_arrays
from irkit.runtime.folder import MODEL, PRE, BundleFolder, open_bundle

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

DRAWN = 32
"""Samples that are drawn where nobody gives any."""


@dataclass(frozen=True)
class Samples:
    """Arrays (N, ...) by input, in the layout and domain of the ONNX model; `beside`: of what the host's part reads."""

    arrays: dict[str, Array]
    is_random: bool = False
    beside: dict[str, Array] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many."""
        return len(next(iter(self.arrays.values())))


def bundle_samples(folder: Path, given: Path | None, most: int, layout: str = "nhwc") -> tuple[Path, Samples]:
    """The device part of a bundle, and samples for it: `given`, of the whole; else the bundle's own, else drawn ones.

    Raises a subclass of `InputError` where folder or samples cannot be read or do not fit.
    """
    bundle, path = open_bundle(folder), folder / MODEL
    how = preprocessing_of(bundle.preprocess, layout)
    inputs = [Port.of_json(entry) for entry in bundle.io_map["inputs"]]
    if given is not None:
        fed = _read([Port.of_json(entry) for entry in _fed_by(bundle, given)], given, how, most).arrays
        if (folder / PRE).exists():
            with load(folder / PRE) as pre:
                fed = run_row([pre], fed)
        names = {port.name for port in inputs}
        beside = {name: array for name, array in fed.items() if name not in names}
        return path, Samples({port.name: fed[port.name] for port in inputs}, beside=beside)
    calibration = bundle.script.get("calibration")
    if not calibration:
        with load(path) as model:
            return path, drawn(model, min(most, DRAWN))
    raw = bundle.preprocess["domain"]["calibration"] == "raw"
    done = how if raw else Preprocessing()
    return path, _read(inputs, folder / calibration["file"], done, most, is_random=bool(calibration["random"]))


def _fed_by(bundle: BundleFolder, given: Path) -> list[dict[str, Any]]:
    """The inputs of the whole that samples are given for: all, or those the device part takes where that is enough."""
    feeds: list[dict[str, Any]] = bundle.io_map["feeds"]
    if (bundle.path / PRE).exists():
        return feeds
    held = open_calibration(given)
    own = {entry["name"] for entry in bundle.io_map["inputs"]}
    return [entry for entry in feeds if entry["name"] in own or (held.is_keyed and entry["name"] in held.inputs)]


def model_samples(
    path: Path, given: Path | None, most: int, layout: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> Samples:
    """Samples for an ONNX file: of a calibration set, or drawn."""
    with load(path) as model:
        if given is None:
            return drawn(model, min(most, DRAWN))
        return _read(input_ports(model), given, Preprocessing(mean=mean, std=std, layout=layout), most)


def drift_samples(model: Model, path: Path, how: Preprocessing, most: int) -> dict[str, Array] | None:
    """Samples of a calibration set for the model as it stands; None where they are not for its inputs."""
    try:
        return _read(input_ports(model), path, how, most).arrays
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

    labels = read_arrays(path)
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise OptionError(f"--labels {path}: must hold one whole number each sample")
    if len(labels) < count:
        raise OptionError(f"--labels {path}: has {len(labels)} labels for {count} samples")
    return labels[:count]


def _read(ports: Sequence[Port], path: Path, how: Preprocessing, most: int, *, is_random: bool = False) -> Samples:
    """Samples of a set as the model takes them, in the order they lie there."""
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="irkit-") as folder:
        arrays = lay_out(open_calibration(path), ports, Path(folder), how, most=most, shuffle=False)
        raw = how.normalizes and all(array.dtype == np.uint8 for array in arrays.values())
        model = {name: how.normalize(array) if raw else array for name, array in arrays.items()}
        return Samples({port.name: port.as_model_takes(model[port.name]) for port in ports}, is_random)
