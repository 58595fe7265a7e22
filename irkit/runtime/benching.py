"""Timing what people have: the device and the CPU of a bundle, an ONNX file, a HEF."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import ExecutionError, OptionError
from irkit.hailo.ports import Port
from irkit.onnx.reader import load
from irkit.runtime.arrays import read_arrays
from irkit.runtime.folder import HOST, MODEL, PRE, BundleFolder, open_bundle
from irkit.runtime.hailortcli import DeviceTimes, hailortcli_times
from irkit.runtime.hef_runner import HefRunner
from irkit.runtime.pipeline import Pipeline
from irkit.runtime.runner import Runner, open_runner
from irkit.runtime.samples import drawn
from irkit.runtime.timing import Latency, measure_latency

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_DRAWN, _MOST = 8, 256
_SEED = 0


@dataclass
class BenchResult:
    """Times.

    Attributes: `latencies`, of the device first; `fallback`: why there is none of a Hailo device; `chip`: what
    hailortcli measures, None where it is not there; `chip_error`: why it failed.
    """

    latencies: list[Latency] = field(default_factory=list)
    fallback: str = ""
    chip: DeviceTimes | None = None
    chip_error: str = ""


def bench(
    path: Path,
    frames: int,
    data: Path | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> BenchResult:
    """Time single frames of a bundle, an ONNX file or a HEF.

    Args:
        path: the folder or file.
        frames: how many to time, on each device.
        data: frames to take; drawn ones unless said.
        device: `hailo`, `cpu`, or `auto`.
        progress: is told now and then.

    Raises a subclass of `InputError` where something cannot be read, `ExecutionError` where nothing can run it.
    """
    if path.suffix == ".hef":
        return _bench_hef(path, frames, data, device, progress)
    feeds = _given_feeds(path, data) if data is not None else drawn_feeds(path)
    result = BenchResult()
    with open_runner(path, device) as runner:
        result.fallback = runner.fallback
        result.latencies.append(_timed(runner, feeds, frames, progress))
        on_device = isinstance(runner, Pipeline) and runner.is_device
    if on_device:
        with open_runner(path, "cpu") as runner:
            result.latencies.append(_timed(runner, feeds, frames, progress))
    hef = open_bundle(path).hef if path.is_dir() else None
    if hef is not None and device != "cpu":
        _add_chip(result, hef)
    return result


def _bench_hef(
    path: Path,
    frames: int,
    data: Path | None,
    device: str,
    progress: Callable[[str, int, int], None] | None,
) -> BenchResult:
    """Time a HEF by itself; frames are drawn over the ranges of its inputs."""
    result = BenchResult()
    with HefRunner(path, device) as runner:
        arrays = runner.named(read_arrays(data)) if data is not None else runner.drawn(_DRAWN)
        count = min(len(array) for array in arrays.values())
        feeds = [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(min(count, _MOST))]
        result.latencies.append(_timed(runner, feeds, frames, progress))
    _add_chip(result, path)
    return result


def _add_chip(result: BenchResult, hef: Path) -> None:
    """What hailortcli measures, or why it does not."""
    try:
        result.chip = hailortcli_times(hef)
    except ExecutionError as error:
        result.chip_error = str(error)


def _timed(
    runner: Runner,
    feeds: list[dict[str, Array]],
    frames: int,
    progress: Callable[[str, int, int], None] | None,
) -> Latency:
    return measure_latency(lambda index: runner.frame(feeds[index % len(feeds)]), frames, runner.device, progress)


def _given_feeds(path: Path, data: Path) -> list[dict[str, Array]]:
    arrays = read_arrays(data)
    with open_runner(path, "cpu") as runner:
        given = dict(arrays) if isinstance(arrays, Mapping) else dict.fromkeys(runner.inputs[:1], arrays)
        if set(given) != set(runner.inputs):
            raise OptionError(f"the inputs are {', '.join(runner.inputs)}; found {', '.join(given) or 'none'}")
        count = min(len(array) for array in given.values())
        feeds = [{name: array[i : i + 1] for name, array in given.items()} for i in range(min(count, _MOST))]
        runner(feeds[0])
    return feeds


def drawn_feeds(path: Path) -> list[dict[str, Array]]:
    """Frames as the runner takes them."""
    import numpy as np

    if path.is_dir():
        samples = _drawn_for(open_bundle(path))
    else:
        with load(path) as model:
            samples = drawn(model, _DRAWN).arrays
    return [{name: np.ascontiguousarray(array[i : i + 1]) for name, array in samples.items()} for i in range(_DRAWN)]


def _drawn_for(bundle: BundleFolder) -> dict[str, Array]:
    """Frames for all parts of a bundle: 8-bit where the chip normalizes them, else drawn for their first reader."""
    import numpy as np

    samples: dict[str, Array] = {}
    for name in (PRE, MODEL, HOST):
        if (bundle.path / name).exists():
            with load(bundle.path / name) as model:
                samples = {**drawn(model, _DRAWN).arrays, **samples}
    found = {entry["name"]: samples[entry["name"]] for entry in bundle.io_map["feeds"] if entry["name"] in samples}
    if bundle.preprocess["domain"]["hef"] == "raw":
        rng = np.random.default_rng(_SEED)
        for entry in bundle.io_map["inputs"]:
            shape = (_DRAWN, *(Port.of_json(entry).device_shape or ()))
            found[entry["name"]] = rng.integers(0, 256, shape, np.uint8)
    return found
