"""How far quantization moves layers, outputs and accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from irkit.drift import OutputDrift, OutputMeter
from irkit.errors import ModelError, OptionError
from irkit.executor import Session, open_session
from irkit.hailo.emulation.behind import Behind
from irkit.hailo.emulation.emulate import Emulated, Precisions, open_emulated
from irkit.hailo.emulation.layers import Layer, find_layers
from irkit.infer import Inference
from irkit.inputs import fed_inputs
from irkit.model import Model
from irkit.types import DType, is_static

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

CALIBRATION_SAMPLES = 256
"""Ranges are taken from this many samples at most."""

_ALL_NOISE = 1e6
SILENT = 99.0
"""Decibels told for a layer that quantization does not change."""

GRANULARITIES = ("one scale a layer", "one scale a channel")

_NOISY_SHARE = 0.1
_MOST_SUGGESTIONS = 5
_FINE = 0.9995
"""16 bits are offered to layers that add this share of all noise, unless outputs have this cosine anyway."""


@dataclass(frozen=True)
class LayerNoise:
    """What quantization did up to a layer.

    Attributes: `name` and `op` of its node; `border`, the tensor that is stored; `low` and `high`, its range;
    `snr` in decibels: power of the float tensor over that of the difference, errors of layers before it included;
    `added`, how much larger noise over signal is behind the layer than in the worst of its inputs.
    """

    name: str
    op: str
    border: str
    low: float
    high: float
    snr: float
    added: float = 0.0


@dataclass(frozen=True)
class Granularity:
    """The emulation with one way to scale weights.

    Attributes: `weights`: which way; `layers`; `outputs`, those of the chip's part first; `accuracy`: None without
    labels; `same`: the share of numbers that stay, of outputs that hold whole numbers.
    """

    weights: str
    layers: tuple[LayerNoise, ...]
    outputs: tuple[OutputDrift, ...]
    accuracy: float | None = None
    same: Mapping[str, float] = field(default_factory=dict)

    def weakest(self, count: int) -> list[LayerNoise]:
        """The layers with the lowest ratio of signal to noise."""
        return sorted(self.layers, key=lambda layer: layer.snr)[:count]

    def noisy(self) -> list[str]:
        """Names of the layers that add most of the noise; none where the outputs are fine."""
        if all(output.cosine >= _FINE for output in self.outputs):
            return []
        total = sum(layer.added for layer in self.layers)
        worst = sorted((layer for layer in self.layers if layer.name), key=lambda layer: -layer.added)
        return [layer.name for layer in worst[:_MOST_SUGGESTIONS] if layer.added > _NOISY_SHARE * total]


@dataclass(frozen=True)
class Emulation:
    """What 8 bits do to a model, emulated.

    Attributes:
        runs: one for each way to scale weights.
        samples: how many inputs it was measured on. calibration: how many of them gave the ranges.
        accuracy: of the float model; None without labels.
        is_random: whether inputs were drawn, since nobody gave data.
        engine: what ran it.
    """

    runs: tuple[Granularity, ...]
    samples: int
    calibration: int
    accuracy: float | None
    is_random: bool
    engine: str

    def suggestions(self) -> list[str]:
        """Lines for a model script: 16 bits for layers that add much noise however weights are scaled."""
        noisy = [run.noisy() for run in self.runs]
        names = [name for name in noisy[0] if all(name in other for other in noisy)]
        return [f"quantization_param({{{name}}}, precision_mode=a16_w16)" for name in names]


def emulate(
    model: Model,
    samples: Mapping[str, Array],
    *,
    precisions: Precisions | None = None,
    labels: Array | None = None,
    calibration: int = CALIBRATION_SAMPLES,
    is_random: bool = False,
    host: Model | None = None,
    beside: Mapping[str, Array] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Emulation:
    """Run a model in float and in emulated integers, and compare.

    Args:
        model: static, float32, as `irkit.optimize` leaves it. It is as before afterwards.
        samples: for each input an array (N, ...) of N inputs, in the layout of the model without its batch axis.
        precisions: bits of layers; 8 unless said.
        labels: (N,) integers, the right class of each sample.
        calibration: how many of the samples give the ranges.
        is_random: the samples were drawn.
        host: what the host runs behind the model, whose outputs are measured too.
        beside: samples of what that reads besides.
        progress: is told of every sample.

    Raises:
        ModelError: shapes are not static. OptionError: samples or labels do not fit.
        ExecutionError, MissingDependencyError: nothing here can run it.
    """
    precisions = precisions or Precisions()
    Inference.of(model).update()
    count = _check(model, samples, labels)
    used = max(1, min(count, calibration))
    steps = _Steps(progress, used + count)
    layers, plain, ranges = _calibrated(model, samples, used, steps)
    emulated = [
        open_emulated(model, layers, ranges, precisions, per_channel=per_channel) for per_channel in (False, True)
    ]
    ends = {value.name for value in model.graph.outputs}
    behind = Behind(host, ends | set(samples), beside or {}) if host is not None else None
    meters = [_Meters(model, layers, emulation, behind) for emulation in emulated]
    hits = _run(plain, meters, behind, samples, labels, steps)
    runs = tuple(
        meter.result(kind, ranges, hit / count if labels is not None else None)
        for kind, meter, hit in zip(GRANULARITIES, meters, hits[1:], strict=True)
    )
    accuracy = hits[0] / count if labels is not None else None
    return Emulation(runs, count, used, accuracy, is_random, plain.engine)


def calibrated_emulation(
    model: Model,
    samples: Mapping[str, Array],
    *,
    precisions: Precisions | None = None,
    per_channel: bool = False,
    calibration: int = CALIBRATION_SAMPLES,
) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """What runs one input through a model in emulated integers, with ranges from samples.

    Args and errors as of `emulate`; `per_channel`: one scale of weights for each output channel, not each layer.
    """
    Inference.of(model).update()
    used = min(_check(model, samples, None), calibration)
    layers, _, ranges = _calibrated(model, samples, used, _Steps(None, used))
    emulated = open_emulated(model, layers, ranges, precisions or Precisions(), per_channel=per_channel)
    names = {value.name: emulated.names.get(value.name, value.name) for value in model.graph.outputs}

    def run(feed: Mapping[str, Array]) -> dict[str, Array]:
        results = emulated.session.run(dict(feed))
        return {name: results[quantized] for name, quantized in names.items()}

    return run


def _calibrated(
    model: Model, samples: Mapping[str, Array], used: int, steps: _Steps
) -> tuple[list[Layer], Session, dict[str, tuple[float, float]]]:
    """The layers, the model in float with their borders as outputs, and the range of each border."""
    layers = find_layers(model)
    inputs = [value.name for value in fed_inputs(model) if value.dtype == DType.FLOAT32]
    watched = [*inputs, *dict.fromkeys(layer.border.name for layer in layers)]
    computed = [name for name in watched if name not in inputs]
    plain = open_session(model, [name for name in computed if not model.graph.values[name].is_graph_output])
    return layers, plain, _ranges(plain, samples, watched, used, steps)


class _Steps:
    def __init__(self, progress: Callable[[str, int, int], None] | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def step(self, what: str) -> None:
        if self._progress is not None:
            self._progress(what, self._done, self._total)
        self._done += 1


def _check(model: Model, samples: Mapping[str, Array], labels: Array | None) -> int:
    """The number of samples."""
    fed = fed_inputs(model)
    half = next((value for value in fed if value.dtype is not None and value.dtype.is_float), None)
    if half is not None and half.dtype != DType.FLOAT32:
        raise ModelError(f"only float32 models can be emulated; input `{half.name}` is {half.dtype}")
    names = {value.name for value in fed}
    if names != set(samples):
        raise OptionError(f"samples must be given for {sorted(names)}; found {sorted(samples)}")
    counts = set()
    for value in fed:
        shape, given = value.shape, samples[value.name]
        if shape is None or not is_static(shape):
            raise ModelError(f"input `{value.name}` has no static shape: irkit optimize makes it static")
        if given.shape[1:] != tuple(shape[1:]) or (shape and shape[0] != 1):
            found = ", ".join(map(str, given.shape))
            raise OptionError(f"`{value.name}` takes samples of shape (N, {str(tuple(shape[1:]))[1:]}; found ({found})")
        counts.add(len(given))
    if labels is not None:
        counts.add(len(labels))
    if len(counts) != 1 or 0 in counts:
        raise OptionError(f"inputs and labels must have one number of samples, above 0; found {sorted(counts)}")
    return int(counts.pop())


def _feed(samples: Mapping[str, Array], index: int) -> dict[str, Array]:
    return {name: array[index : index + 1] for name, array in samples.items()}


def _ranges(
    session: Session, samples: Mapping[str, Array], watched: Sequence[str], count: int, steps: _Steps
) -> dict[str, tuple[float, float]]:
    found = dict.fromkeys(watched, (math.inf, -math.inf))
    for index in range(count):
        steps.step("calibrating")
        feed = _feed(samples, index)
        results = {**session.run(feed), **feed}
        for name in watched:
            ends = float(results[name].min(initial=0)), float(results[name].max(initial=0))
            if not all(map(math.isfinite, ends)):
                raise ModelError(f"`{name}` is not finite on sample {index}, so that it has no range to quantize")
            low, high = found[name]
            found[name] = min(low, ends[0]), max(high, ends[1])
    return found


class _Meters:
    """Signal and noise of every layer and output, sample by sample."""

    def __init__(self, model: Model, layers: Sequence[Layer], emulated: Emulated, behind: Behind | None) -> None:
        self._layers = layers
        self._names = emulated.names
        self.session = emulated.session
        self._power = {name: [0.0, 0.0] for name in emulated.names}
        self._read = {layer.border.name: layer.read_borders(set(self._power)) for layer in layers}
        self._ends = [value.name for value in model.graph.outputs]
        self._behind = behind
        names = [*self._ends, *(behind.outputs if behind is not None else ())]
        self._outputs = {name: OutputMeter(name) for name in dict.fromkeys(names)}
        self._measured: set[str] = set()
        self._same: dict[str, list[int]] = {}

    def run(self, feed: Mapping[str, Array], index: int) -> tuple[dict[str, Array], dict[str, Array]]:
        """What the emulated model computes, and the outputs, those of the host's part included, by their names."""
        computed = self.session.run(feed)
        outputs = {name: computed[self._names.get(name, name)] for name in self._ends}
        if self._behind is not None:
            outputs.update(self._behind.run({**feed, **outputs}, index))
        return computed, outputs

    def add(self, plain: Mapping[str, Array], emulated: Mapping[str, Array], outputs: Mapping[str, Array]) -> None:
        """One sample: what the float model computes, what the emulated one does, and what comes out of that."""
        import numpy as np

        for name, power in self._power.items():
            before = plain[name].astype(np.float64)
            power[0] += float((before * before).sum())
            power[1] += float(((emulated[self._names[name]] - before) ** 2).sum())
        for name, meter in self._outputs.items():
            if plain[name].shape != outputs[name].shape or plain[name].dtype.kind not in "fiub":
                continue  # as many boxes as the data have
            meter.add(plain[name], outputs[name])
            self._measured.add(name)
            if plain[name].dtype.kind != "f":
                counts = self._same.setdefault(name, [0, 0])
                counts[0] += int((plain[name] == outputs[name]).sum())
                counts[1] += plain[name].size

    def result(self, kind: str, ranges: Mapping[str, tuple[float, float]], accuracy: float | None) -> Granularity:
        noises = []
        for layer in self._layers:
            name = layer.border.name
            share = self._noise(name)
            snr = -10 * math.log10(share) if share > 0 else SILENT
            added = max(share - max(map(self._noise, self._read[name]), default=0.0), 0.0)
            noises.append(LayerNoise(layer.name, layer.node.op, name, *ranges[name], min(snr, SILENT), added))
        drifts = tuple(meter.drift() for name, meter in self._outputs.items() if name in self._measured)
        same = {name: equal / max(1, total) for name, (equal, total) in self._same.items()}
        return Granularity(kind, tuple(noises), drifts, accuracy, same)

    def _noise(self, name: str) -> float:
        """Power of the noise over that of the signal."""
        signal, noise = self._power[name]
        return min(noise / signal, _ALL_NOISE) if signal else _ALL_NOISE * bool(noise)


def _run(
    plain: Session,
    meters: Sequence[_Meters],
    behind: Behind | None,
    samples: Mapping[str, Array],
    labels: Array | None,
    steps: _Steps,
) -> list[int]:
    """Run all samples. Returns the hits of the float model and of each emulation, where there are labels."""
    count = len(next(iter(samples.values())))
    hits = [0] * (1 + len(meters))
    for index in range(count):
        steps.step("comparing")
        feed = _feed(samples, index)
        before = {**plain.run(feed), **feed}
        last = behind.run(before, index) if behind is not None else before
        before.update(last)
        name = _classes(last) if labels is not None else ""
        hits[0] += bool(name) and _is_hit(before[name], labels, index)
        for place, meter in enumerate(meters, 1):
            after, outputs = meter.run(feed, index)
            meter.add(before, after, outputs)
            hits[place] += bool(name) and _is_hit(outputs[name], labels, index)
    return hits


def _classes(results: Mapping[str, Array]) -> str:
    """The output that is a row of classes, or the number of one."""
    first = next(iter(results))
    found = results[first]
    is_row = found.size >= 2 and found.size == found.shape[1 if found.ndim > 1 else 0]
    if not is_row and not (found.size == 1 and found.dtype.kind in "iu"):
        raise OptionError(f"labels need an output that is one row of classes; `{first}` is {list(found.shape)}")
    return first


def _is_hit(row: Array, labels: Array | None, index: int) -> bool:
    chosen = int(row.reshape(-1)[0]) if row.size == 1 else int(row.reshape(-1).argmax())
    return labels is not None and chosen == int(labels[index])
