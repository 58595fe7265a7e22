"""HAI501 to HAI515: the calibration set, held against the model's inputs, the model script, and itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from irkit.checks.preprocessing import calibset_size, graph_normalizations, held_commands, script_normalization
from irkit.diagnostics import Severity
from irkit.hailo.alls import Command
from irkit.hailo.calibration import CalibrationInput
from irkit.hailo.calibration_facts import Facts, find_facts
from irkit.hailo.layout import Layout, judge_layout, takes_channels_last
from irkit.inputs import fed_inputs
from irkit.ir import Value
from irkit.linter import Found, Subject, rule
from irkit.tomlfile import suggest

_SHOWN = 5
_EIGHT_BIT = 10.0
"""A deviation above this belongs to data of the range 0 to 255."""
_STANDARDIZED = 20.0
"""Data that span less than this are not of the range 0 to 255."""


@dataclass(frozen=True)
class _Pair:
    """An input of the model with its samples and, of them, what was found."""

    value: Value
    samples: CalibrationInput
    facts: Facts
    layout: Layout

    @property
    def name(self) -> str:
        return f"`{self.value.name}`"

    @property
    def channel_axis(self) -> int | None:
        """Axis of a sample, without the first axis of the set, that holds the channels."""
        rank = len(self.samples.shape or ())
        return 0 if self.layout.kind == "channels first" else rank - 1 if rank else None


def _pairs(subject: Subject) -> list[_Pair]:
    """The inputs that samples were given for."""
    found = []
    for value, samples in _assigned(subject).items():
        layout = judge_layout(samples.shape, subject.shape(value), takes_channels_last(value))
        found.append(_Pair(value, samples, find_facts(samples), layout))
    return found


def _assigned(subject: Subject) -> Mapping[Value, CalibrationInput]:
    calibration = subject.calibration
    if calibration is None:
        return {}
    inputs = fed_inputs(subject.model)
    if not calibration.is_keyed:
        return {inputs[0]: calibration.inputs[""]} if len(inputs) == 1 else {}
    found = {
        value: calibration.inputs[key] for key in calibration.inputs if (value := _input_of(key, inputs)) is not None
    }
    if not found and len(inputs) == len(calibration.inputs) == 1:
        return {inputs[0]: next(iter(calibration.inputs.values()))}
    return found


def _input_of(key: str, inputs: Sequence[Value]) -> Value | None:
    """The input that a key means: by its name, or as the compiler numbers inputs (`net/input_layer1`)."""
    for number, value in enumerate(inputs, 1):
        if value.name == key or key.rpartition("/")[2] == f"input_layer{number}":
            return value
    return None


@rule("HAI501", "calibration-count", Severity.WARNING, facts=("calibration_count",))
def calibration_count(subject: Subject) -> Iterator[Found]:
    """Fewer calibration samples than the compiler wants for its better optimization levels.

    Why: with fewer than 1024 samples it lowers its optimization level to 0 or 1, and says so in a warning only.
    Fix: give 1024 samples or more of real data; where level 0 is what you want, say so in the model script:
    model_optimization_flavor(optimization_level=0).
    """
    fact, calibration = subject.target.facts.calibration_count, subject.calibration
    if fact is None or calibration is None or calibration.count >= fact.value:
        return
    levels = [item.kwargs["optimization_level"] for item in _flavors(subject) if "optimization_level" in item.kwargs]
    severity = Severity.INFO if levels and levels[-1] == 0 else None
    message = f"a calibration set should have at least {fact.value} samples; found {calibration.count}"
    yield Found(message, severity=severity, advice=fact.advice)


def _flavors(subject: Subject) -> list[Command]:
    return [command for _place, command in held_commands(subject, "model_optimization_flavor")]


@rule("HAI502", "calibration-size-unset", Severity.WARNING, facts=("calibration_default",))
def calibration_size_unset(subject: Subject) -> Iterator[Found]:
    """A model script that does not say how many calibration samples to use, or more than there are.

    Why: the compiler takes 64 samples, however many are given, unless the model script says otherwise.

    Example:
        model_optimization_config(calibration, batch_size=8, calibset_size=1024)
    Fix: say calibset_size in the model script, with as many samples as the calibration set has.
    """
    fact, calibration = subject.target.facts.calibration_default, subject.calibration
    if fact is None or (calibration is None and not subject.scripts):
        return
    said = calibset_size(subject)
    if said is None:
        if calibration is not None and calibration.count <= fact.value:
            return
        have = f"; the calibration set has {calibration.count}" if calibration is not None else ""
        message = f"no model script says calibset_size, so that {fact.value} samples are used{have}"
        size = calibration.count if calibration is not None else "N"
        yield Found(message, advice=f"model_optimization_config(calibration, calibset_size={size})")
    elif calibration is None or said.value is None:
        return
    elif said.value > calibration.count:
        message = f"calibset_size must be at most the number of samples, {calibration.count}; found {said.value}"
        yield Found(message, origin=said.place, advice="give more samples, or say the number there is")
    elif said.value < min(calibration.count, 1024):
        message = f"calibset_size uses {said.value} of the {calibration.count} samples"
        yield Found(message, severity=Severity.INFO, origin=said.place)


@rule("HAI503", "calibration-channels-first", Severity.ERROR, facts=("calibration_layout",))
def calibration_channels_first(subject: Subject) -> Iterator[Found]:
    """A calibration set with the channels first, as PyTorch has them.

    Why: the compiler takes (samples, height, width, channels), whatever the layout of the ONNX model. Shapes that are
    alike pass for each other, and every range is measured on the wrong axis.

    Example:
        numpy.save("calib.npy", numpy.load("calib.npy").transpose(0, 2, 3, 1))
    Fix: move the channels to the end before saving.
    """
    fact = subject.target.facts.calibration_layout
    for pair in subject.once(_pairs) if fact is not None and fact.value[-1] == "channels" else ():
        if pair.layout.kind == "channels first":
            found = _shape(pair.samples.shape)
            message = (
                f"samples for {pair.name} must be {pair.layout.wanted}, channels last; found {found}, channels first"
            )
            yield Found(message, advice=f"numpy.save(PATH, {_mend(pair)})")


def _mend(pair: _Pair) -> str:
    rank = len(pair.samples.shape or ())
    if rank == 2:
        return "data.transpose(0, 2, 1)[:, None]"
    return "data.transpose(0, 2, 3, 1)" if rank == 3 else "data[:, 0].transpose(0, 2, 3, 1)"


@rule("HAI504", "calibration-shape", Severity.ERROR)
def calibration_shape(subject: Subject) -> Iterator[Found]:
    """A calibration set whose samples do not fit the model's input.

    Why: the compiler refuses it (BadInputsShape), at the end of a long run.
    Fix: resize the samples as the model wants them, and save (samples, height, width, channels); for an input of rank 3
    (samples, 1, length, channels).
    """
    for pair in subject.once(_pairs):
        if pair.layout.kind in ("wrong", "rank"):
            found = _shape(pair.samples.shape)
            yield Found(
                f"samples for {pair.name} must be {pair.layout.wanted}; found {found}", advice=pair.layout.advice
            )


@rule("HAI505", "calibration-type", Severity.WARNING, facts=("calibration_types",))
def calibration_type(subject: Subject) -> Iterator[Found]:
    """A calibration set of another element type than the compiler is known to take.

    Why: images are given as uint8, all else as float32; float64 takes twice the memory, integers pass for images.
    Fix: save it with .astype(numpy.float32).
    """
    fact = subject.target.facts.calibration_types
    for pair in subject.once(_pairs) if fact is not None else ():
        assert fact is not None
        if pair.samples.dtype not in fact.value:
            message = f"samples for {pair.name} should be {' or '.join(fact.value)}; found {pair.samples.dtype}"
            yield Found(message, advice=fact.advice)


@rule("HAI506", "calibration-not-finite", Severity.ERROR)
def calibration_not_finite(subject: Subject) -> Iterator[Found]:
    """NaN or infinity in the calibration set.

    Why: ranges are measured on it, and no range holds NaN or infinity.
    Fix: leave these samples out, and look at where they come from: the sensor, or a division in the pre-processing.
    """
    for pair in subject.once(_pairs):
        facts = pair.facts
        if facts.nans or facts.infinities:
            counts = [f"{facts.nans} NaN"] * bool(facts.nans) + [f"{facts.infinities} infinite"] * bool(
                facts.infinities
            )
            yield Found(f"samples for {pair.name} must be finite; found {' and '.join(counts)}{_seen(pair)}")


@rule("HAI507", "calibration-range", Severity.WARNING)
def calibration_range(subject: Subject) -> Iterator[Found]:
    """Calibration data whose range does not go with the normalization.

    Why: the data must be what the network gets before the `normalization` of the model script, or of the graph itself.
    Data that are normalized already are normalized twice, and every activation is calibrated on nearly nothing.

    Example:
        normalization1 = normalization([0.0, 0.0, 0.0], [255.0, 255.0, 255.0]) wants pixels from 0 to 255.
    Fix: give raw data, or leave the normalization out of the model script.
    """
    script = script_normalization(subject)
    for pair in subject.once(_pairs):
        facts, graph = pair.facts, graph_normalizations(subject).get(pair.value)
        span = f"{facts.low:.4g} to {facts.high:.4g}"
        std = max((abs(item) for item in script.std), default=0.0) if script is not None else 0.0
        inner = float(max(abs(graph.std))) if graph is not None else 0.0
        if max(std, inner) > _EIGHT_BIT and facts.high - facts.low < _STANDARDIZED:
            where = "model script" if std > _EIGHT_BIT else "graph"
            message = f"the {where} normalizes by a deviation of {max(std, inner):.4g} and wants raw data of that scale"
            yield Found(
                f"{message}; samples for {pair.name} span {span}, as if normalized already",
                origin=script.place if script is not None and std > _EIGHT_BIT else None,
            )
        elif script is None and graph is None and _looks_like_pixels(pair):
            message = f"nothing normalizes {pair.name}, and its samples are pixels from {span}"
            advice = "where the network wants normalized images, say so in the model script: normalization(MEAN, STD)"
            yield Found(message, severity=Severity.INFO, advice=advice)


def _looks_like_pixels(pair: _Pair) -> bool:
    facts = pair.facts
    return facts.integral and facts.low >= 0 and 128 < facts.high <= 255


@rule("HAI508", "calibration-constant-samples", Severity.WARNING)
def calibration_constant_samples(subject: Subject) -> Iterator[Found]:
    """Calibration samples whose elements are all the same.

    Why: black frames and zeros tell nothing of the ranges, and take the places of samples that would.
    Fix: leave them out, and take others in their place.
    """
    for pair in subject.once(_pairs):
        if pair.facts.constant:
            listed = _first(pair.facts.constant)
            yield Found(
                f"samples for {pair.name} should vary; {len(pair.facts.constant)} are constant: {listed}{_seen(pair)}"
            )


@rule("HAI509", "calibration-repeated-samples", Severity.WARNING)
def calibration_repeated_samples(subject: Subject) -> Iterator[Found]:
    """Calibration samples that are copies of others.

    Why: copies make the set look larger than it is.
    Fix: leave them out, and sample wider.
    """
    for pair in subject.once(_pairs):
        repeated = [number for number in pair.facts.repeated if number not in set(pair.facts.constant)]
        if repeated:
            pairs = [f"{number} is {pair.facts.first_of[number]}" for number in repeated]
            message = f"samples for {pair.name} should differ; {len(repeated)} are copies: {_first(pairs)}{_seen(pair)}"
            yield Found(message)


@rule("HAI510", "calibration-noise", Severity.WARNING)
def calibration_noise(subject: Subject) -> Iterator[Found]:
    """Calibration data that look drawn from a random generator.

    Why: activations on noise have other ranges than on real data: accuracy is lost and nothing says so.
    Fix: record real inputs, 1024 or more, pre-processed as they are when the network runs.
    """
    for pair in subject.once(_pairs):
        if pair.facts.noise:
            message = f"samples for {pair.name} look random: {pair.facts.noise} noise in which neighbours are unrelated"
            yield Found(message, advice="give samples of real data")


@rule("HAI511", "calibration-own-statistics", Severity.WARNING)
def calibration_own_statistics(subject: Subject) -> Iterator[Found]:
    """Calibration data that were standardized by their own mean and deviation.

    Why: at run time inputs are standardized by the statistics of the training set. Those of the calibration set are
    others, so that the ranges measured are not those that will be met.
    Fix: standardize with the mean and deviation that were used in training, saved beside the weights.
    """
    for pair in subject.once(_pairs):
        if pair.facts.standardized:
            message = f"samples for {pair.name} have mean 0 and deviation 1 to rounding, {pair.facts.standardized}"
            yield Found(f"{message}: they were standardized by themselves", advice="use the training set's statistics")


@rule("HAI512", "input-channel-ranges", Severity.WARNING, facts=("input_range_ratio",))
def input_channel_ranges(subject: Subject) -> Iterator[Found]:
    """Input channels of very different range, which share one input scale.

    Why: an input has one scale for all its channels. A channel with a hundredth of the range keeps one or two of its
    eight bits: an accelerometer in g beside a magnetometer in microtesla.

    Example:
        quantization_param(input_layer1, precision_mode=a16_w16)
    Fix: standardize each channel on the host by the statistics of the training set, or give the input layer 16 bits.
    """
    fact = subject.target.facts.input_range_ratio
    for pair in subject.once(_pairs) if fact is not None else ():
        assert fact is not None
        channels = pair.facts.channels.get(pair.channel_axis) if pair.channel_axis is not None else None
        reach = [item for item in channels.reach if item > 0] if channels is not None else []
        if len(reach) > 1 and max(reach) > fact.value * min(reach) and not _input_has_16_bits(subject):
            message = (
                f"the ranges of the channels of {pair.name} should be within a factor of {fact.value}; found "
                f"{max(reach) / min(reach):.3g} (from {min(reach):.3g} to {max(reach):.3g})"
            )
            yield Found(message, advice=f"{fact.advice} (irkit optimize --precision {pair.value.name}=a16_w16)")


def _input_has_16_bits(subject: Subject) -> bool:
    for _place, command in held_commands(subject, "quantization_param"):
        text = str(command.args[0]) if command.args else ""
        if "input_layer" in text and str(command.kwargs.get("precision_mode", "")).startswith("a16"):
            return True
    return False


@rule("HAI513", "calibration-inputs", Severity.ERROR)
def calibration_inputs(subject: Subject) -> Iterator[Found]:
    """A calibration set whose arrays do not go with the model's inputs.

    Why: with several inputs the compiler wants one array for each, by name; it stops at a name it does not know.

    Example:
        numpy.savez("calib.npz", image=images, mask=masks)
    Fix: save an .npz keyed by the names of the inputs.
    """
    calibration, inputs = subject.calibration, fed_inputs(subject.model)
    if calibration is None:
        return
    names = ", ".join(f"`{value.name}`" for value in inputs)
    if not calibration.is_keyed:
        if len(inputs) > 1:
            yield Found(
                f"the model has {len(inputs)} inputs ({names}); the calibration set is one array, for one input"
            )
        return
    if subject.once(_assigned) and len(inputs) == len(calibration.inputs) == 1:
        return
    for key in calibration.inputs:
        if _input_of(key, inputs) is None:
            hint = suggest(key, [value.name for value in inputs])
            yield Found(f"the model has no input `{key}`{hint}; its inputs are {names}")
    for value in inputs:
        if value not in subject.once(_assigned):
            yield Found(f"the calibration set has no array for input `{value.name}`")
    counts = {item.count for item in calibration.inputs.values()}
    if len(counts) > 1:
        yield Found(f"every input must have the same number of samples; found {', '.join(map(str, sorted(counts)))}")


def _shape(shape: Sequence[int] | None) -> str:
    return "images of different sizes" if shape is None else f"({', '.join(map(str, shape))})"


def _first(items: Sequence[object]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(map(str, items[:_SHOWN])) + more


def _seen(pair: _Pair) -> str:
    facts = pair.facts
    return "" if facts.is_whole else f" ({facts.examined} of {pair.samples.count} samples were looked at)"
