"""What is measured of a bundle, once, for all lines of the checklist that ask for it."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.diagnostics import Report
from irkit.errors import ExecutionError, IrkitError, MissingDependencyError
from irkit.gates.confidence import Confidence, accuracy, fit, read_confidence
from irkit.gates.device import DeviceResults, read_device_results
from irkit.gates.limits import GatesError, Limits
from irkit.hailo.hef.contents import Hef
from irkit.hailo.hef.reader import read_hef
from irkit.linting import lint
from irkit.model import Model
from irkit.onnx.checker import complaint
from irkit.onnx.reader import load
from irkit.runtime.arrays import read_arrays
from irkit.runtime.backends import Backend
from irkit.runtime.emulating import EmulatedBackend
from irkit.runtime.folder import BundleFolder
from irkit.runtime.hailortcli import hailortcli_times
from irkit.runtime.pipeline import Pipeline
from irkit.runtime.timing import Latency, measure_latency
from irkit.verifier import verify

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

LABELS = ("labels", "label", "y", "targets")
CONFIDENCE = "confidence.json"


@dataclass(frozen=True)
class Data:
    """Test data: inputs (N, ...) by name as the bundle takes them, and the right class of each sample."""

    inputs: Mapping[str, Array]
    labels: Array

    @property
    def count(self) -> int:
        """How many samples."""
        return len(self.labels)


def read_data(path: Path) -> Data:
    """An .npz with an array for each input, and one of labels. Raises `GatesError`."""
    import numpy as np

    arrays = read_arrays(path)
    if not isinstance(arrays, dict):
        raise GatesError(f"{path}: test data are an .npz with an array for each input, and `labels`")
    name = next((name for name in LABELS if name in arrays), None)
    if name is None:
        raise GatesError(f"{path} has no labels: an array `labels` of the right class of each sample")
    labels = arrays.pop(name)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise GatesError(
            f"{path}: `{name}` must be one whole number each sample; found {labels.dtype} {list(labels.shape)}"
        )
    if not arrays:
        raise GatesError(f"{path} has labels and no inputs")
    for key, array in arrays.items():
        if len(array) != len(labels):
            raise GatesError(f"{path}: `{key}` has {len(array)} samples, `{name}` has {len(labels)}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise GatesError(f"{path}: `{key}` holds NaN or infinity")
    if not len(labels):
        raise GatesError(f"{path} holds no samples")
    return Data(arrays, labels)


class Measured:
    """A bundle and what is given with it; each measurement is made when it is first asked for.

    Args:
        bundle: what `irkit optimize` wrote.
        limits: of the gates.
        data: test data; None where none are given.
        validation: data to fit temperature and conformal threshold on.
        hef: a compiled file; that of the bundle unless said.
        device_results: what selftest.py wrote on the Pi.
        dfc_log: the compiler's log.
        progress: is told now and then.
    """

    def __init__(
        self,
        bundle: BundleFolder,
        limits: Limits,
        *,
        data: Data | None = None,
        validation: Data | None = None,
        hef: Path | None = None,
        device_results: Path | None = None,
        dfc_log: Path | None = None,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.bundle, self.limits, self.data, self.validation = bundle, limits, data, validation
        self.hef_path = hef if hef is not None else bundle.hef
        self._device_results, self._dfc_log, self._progress = device_results, dfc_log, progress

    @property
    def model_path(self) -> Path:
        """The device part."""
        return self.bundle.path / "model.onnx"

    @functools.cached_property
    def report(self) -> Report:
        """Lint of the device part, with the calibration set, the script and the compiler's log."""
        calibration = self.bundle.script.get("calibration")
        return lint(
            self.model_path,
            self.bundle.hw_arch,
            calib=self.bundle.path / calibration["file"] if calibration else None,
            scripts=[self.bundle.path / "model.alls"],
            dfc_log=self._dfc_log,
        )

    @functools.cached_property
    def operators(self) -> dict[str, int]:
        """How many nodes of each operator the device part has."""
        counts: dict[str, int] = {}
        with load(self.model_path) as model:
            for node in model.walk():
                counts[node.op_id] = counts.get(node.op_id, 0) + 1
        return counts

    @functools.cached_property
    def invalid(self) -> str:
        """What ONNX's checker or irkit's verifier says against the device part; "" where nothing."""
        told = complaint(self.model_path)
        if told:
            return told
        try:
            with load(self.model_path) as model:
                verify(model)
        except IrkitError as error:
            return str(error).splitlines()[0]
        return ""

    @functools.cached_property
    def hef(self) -> Hef | None:
        """The compiled file; None where there is none."""
        return None if self.hef_path is None else read_hef(self.hef_path)

    @property
    def hef_sha256(self) -> str:
        """Of the compiled file, "" where there is none."""
        return "" if self.hef_path is None else hashlib.sha256(self.hef_path.read_bytes()).hexdigest()

    @functools.cached_property
    def device(self) -> DeviceResults | None:
        """What selftest.py measured on the Pi; None where nobody gave it. Raises `GatesError`."""
        return None if self._device_results is None else read_device_results(self._device_results)

    def latency(self, device: str) -> Latency:
        """Wall times of single frames through the whole pipeline: on `cpu` or `hailo`."""
        with Pipeline(self.bundle.path, device) as pipeline:
            feeds = self._feeds(pipeline)
            return measure_latency(
                lambda index: pipeline.frame(feeds[index % len(feeds)]),
                self.limits.frames,
                pipeline.device,
                self._progress,
            )

    @functools.cached_property
    def core_ms(self) -> float | None:
        """Mean time of one frame within the chip, by hailortcli on the Pi or here; None where there is neither."""
        if self.device is not None and self.device.core_ms is not None:
            return self.device.core_ms
        times = hailortcli_times(self.hef_path) if self.on_device and self.hef_path is not None else None
        return None if times is None else times.hw_latency

    def _feeds(self, pipeline: Pipeline) -> list[dict[str, Array]]:
        from irkit.runtime.benching import drawn_feeds

        if self.data is None:
            return drawn_feeds(self.bundle.path)
        count = min(self.data.count, 64)
        feeds = [{name: array[i : i + 1] for name, array in self.data.inputs.items()} for i in range(count)]
        pipeline(feeds[0])
        return feeds

    @functools.cached_property
    def on_device(self) -> bool:
        """Whether a Hailo device is here that runs the bundle."""
        with Pipeline(self.bundle.path) as pipeline:
            return pipeline.is_device

    def logits(self, data: Data, backend: Backend | None = None) -> Array:
        """What the pipeline gives for data, (N, classes), in float on the CPU unless another backend is given.

        Raises `GatesError` where that is no row of classes, or labels do not fit.
        """
        import numpy as np

        with Pipeline(self.bundle.path, "cpu", backend=backend) as pipeline:
            results = pipeline(dict(data.inputs))
        name = next(iter(results))
        rows = np.asarray(results[name]).reshape(data.count, -1)
        if rows.shape[1] < 2:
            raise GatesError(f"the output `{name}` is no row of classes")
        low, high = int(data.labels.min()), int(data.labels.max())
        if low < 0 or high >= rows.shape[1]:
            raise GatesError(
                f"labels must be from 0 to {rows.shape[1] - 1}, the classes of `{name}`; found {low} to {high}"
            )
        return rows

    @functools.cached_property
    def test_logits(self) -> Array:
        """Of the test data, in float."""
        assert self.data is not None
        return self.logits(self.data)

    @functools.cached_property
    def confidence(self) -> Confidence | None:
        """Temperature and conformal threshold: fitted on validation data, or as an earlier check wrote them."""
        if self.validation is not None:
            return fit(self.logits(self.validation), self.validation.labels, self.limits.coverage)
        path = self.bundle.path / CONFIDENCE
        return read_confidence(path) if path.exists() else None

    @functools.cached_property
    def emulated_accuracy(self) -> tuple[float, ...] | str:
        """On the test data in emulated 8 bits, with one scale a layer and one a channel; or why not."""
        if self.data is None:
            return "no test data: --data test.npz"
        try:
            backends = [EmulatedBackend(self.bundle, per_channel=per_channel) for per_channel in (False, True)]
            return tuple(accuracy(self.logits(self.data, backend), self.data.labels) for backend in backends)
        except (ExecutionError, MissingDependencyError) as error:
            return str(error)

    def is_settled(self) -> bool:
        """Whether the passes have nothing left to do."""
        from irkit.compiler import optimize
        from irkit.structure import structural_hash

        with load(self.model_path) as model:
            before = structural_hash(model)
            result = optimize(_copy(model), self.bundle.hw_arch, verify="none")
            return structural_hash(result.model) == before


def _copy(model: Model) -> Model:
    from irkit.onnx.reader import loads
    from irkit.onnx.writer import dumps

    return loads(dumps(model))
