"""What goes with a model of a golden test: a calibration set by a recipe, and scripts, in a .toml beside it.

[calib]                      one array; [calib.NAME] instead for each array of an .npz
shape = [100, 8, 8, 3]
data = "waves"               smooth, unlike each other; or pixels (0 to 255), normal, uniform
scale = [1.0, 100.0, 1.0]    by channel, the last axis; first_axis = true: the axis behind the first
dtype = "float32"
standardize = true           by statistics of its own
constant = 3                 so many samples are all the same number; copies, nans: likewise

[[script]]
name = "compile.sh"
text = '''...'''
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from irkit.hailo.calibration import CalibrationSet, open_calibration
from irkit.hailo.scripts import ScriptFile, read_script
from irkit.tomlfile import TomlFile

Array = np.ndarray[Any, np.dtype[Any]]


def read_sides(model: Path, folder: Path) -> tuple[CalibrationSet | None, list[ScriptFile]]:
    """The calibration set and the scripts that go with the model of a file; they are made in a folder."""
    path = model.with_suffix(".toml")
    if not path.exists():
        return None, []
    data = TomlFile(path).data
    assert set(data) <= {"calib", "script"}, path
    calibration = open_calibration(_save(data["calib"], folder)) if "calib" in data else None
    return calibration, [_script(entry, folder) for entry in data.get("script", [])]


def _script(entry: dict[str, str], folder: Path) -> ScriptFile:
    place = folder / entry["name"]
    place.write_text(entry["text"], encoding="utf-8")
    return dataclasses.replace(read_script(place), path=entry["name"])


def _save(recipe: dict[str, Any], folder: Path) -> Path:
    if "shape" in recipe:
        np.save(folder / "calib.npy", samples(**recipe))
        return folder / "calib.npy"
    np.savez(folder / "calib.npz", **{name: samples(**entry) for name, entry in recipe.items()})  # type: ignore[arg-type]
    return folder / "calib.npz"


def samples(
    shape: list[int],
    data: str = "waves",
    *,
    scale: list[float] | None = None,
    first_axis: bool = False,
    dtype: str = "float32",
    standardize: bool = False,
    constant: int = 0,
    copies: int = 0,
    nans: int = 0,
) -> Array:
    """Samples by a recipe, the same each time."""
    rng = np.random.default_rng(0)
    made = {"waves": _waves, "pixels": _pixels, "normal": _normal, "uniform": _uniform}[data](rng, shape)
    if scale is not None:
        factors = np.asarray(scale)
        made = made * (factors.reshape(-1, *[1] * (made.ndim - 2)) if first_axis else factors)
    if standardize:
        others = tuple(axis for axis in range(made.ndim) if axis != (1 if first_axis else made.ndim - 1))
        made = (made - made.mean(axis=others, keepdims=True)) / made.std(axis=others, keepdims=True)
    made[:constant] = 0.5
    made[len(made) - copies :] = made[len(made) - copies - 1]
    made.reshape(-1)[len(made[0].reshape(-1)) :][:nans] = np.nan
    saved: Array = made.astype(dtype)
    return saved


def _waves(rng: np.random.Generator, shape: list[int]) -> Array:
    """A sum of waves along every axis: neighbours go together, samples differ."""
    made = np.zeros(shape)
    for axis in range(1, len(shape)):
        steps = np.linspace(0.0, 1.0, shape[axis]).reshape(
            [-1 if number == axis else 1 for number in range(len(shape))]
        )
        pace, phase = (rng.uniform(0.5, 3.0, [shape[0], *[1] * (len(shape) - 1)]) for _ in range(2))
        made = made + np.sin(2 * np.pi * (pace * steps + phase))
    waves: Array = made / (len(shape) - 1) + 0.05
    return waves


def _pixels(rng: np.random.Generator, shape: list[int]) -> Array:
    made = _waves(rng, shape)
    pixels: Array = np.round((made - made.min()) / (made.max() - made.min()) * 255)
    return pixels


def _normal(rng: np.random.Generator, shape: list[int]) -> Array:
    return rng.standard_normal(shape)


def _uniform(rng: np.random.Generator, shape: list[int]) -> Array:
    return rng.random(shape)
