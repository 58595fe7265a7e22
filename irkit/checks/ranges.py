"""HAI302 to HAI306: weights whose ranges 8 bits hold badly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from irkit.affine import read_batchnorm
from irkit.checks.layer_weights import layer_weights
from irkit.diagnostics import Severity
from irkit.ir import Node, Value
from irkit.linter import Found, Subject, rule
from irkit.refusal import Refusal

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_HUGE = 65504.0
"""The largest float16: no range of activations or weights that quantize well comes near it."""
_RANGE_RATIO = 32
"""A channel of this many times the usual range leaves the others three bits of eight; trained ones stay below 11."""
_OUTLIER = 50
"""An element this many deviations out. Trained layers reach about 15."""
_BOUNDS = frozenset({"Clip", "Pad", "Resize", "Upsample", "Slice", "ReduceMax", "MaxPool"})
"""Operators for which a huge number means "no bound", or is no number to compute with."""


@rule("HAI302", "huge-constant", Severity.WARNING)
def huge_constant(subject: Subject) -> Iterator[Found]:
    """A constant so large that it takes the whole range of what it is added to or multiplied with.

    Why: activations have one range of 256 steps. With a mask of -3.4e38 added, one step is larger than every score.

    Example:
        scores.masked_fill(mask, float("-inf")) becomes an Add of -3.4e38.
    Fix: write a number a little beyond what the values reach, such as -100 in an attention mask.
    """
    seen: set[Value] = set()
    for node in subject.nodes:
        for value in node.inputs if node.op not in _BOUNDS else ():
            if value is None or value in seen:
                continue
            seen.add(value)
            reach = _reach(value)
            if reach > _HUGE:
                yield Found(f"`{value.name}` should stay below {_HUGE:g} in magnitude; found {reach:.3g}", node)


def _reach(value: Value) -> float:
    """The largest finite magnitude of a float constant, 0 for anything else."""
    import numpy as np

    tensor = value.constant
    if tensor is None or not tensor.dtype.is_native or not tensor.dtype.is_float or not tensor.size:
        return 0.0
    if tensor.is_splat:
        reach = abs(float(tensor.splat_value))
        return reach if np.isfinite(reach) else 0.0
    data = tensor.numpy()
    reach = max(abs(float(data.min())), abs(float(data.max())))
    if np.isfinite(reach):
        return reach
    finite = data[np.isfinite(data)]
    return float(np.abs(finite).max(initial=0.0))


@rule("HAI303", "channel-weight-ranges", Severity.WARNING)
def channel_weight_ranges(subject: Subject) -> Iterator[Found]:
    """A layer with output channels of very different weight range, batch norm folded in.

    Why: whether the compiler scales weights by channel is not publicly known. With one scale for the layer, channels of
    a thirtieth of the range keep three of eight bits; with one for each, their activations still share a range.
    Fix: keep the compiler's equalization on (pre_quantization_optimization(equalization, policy=enabled)), or give the
    layer 16 bits (quantization_param(LAYER, precision_mode=a16_w16)); in training, weight decay keeps ranges together.
    """
    for item in subject.once(layer_weights):
        reach = item.folded_reach[item.folded_reach > 0]
        if reach.size < 4:
            continue
        usual, most = _median(reach), float(reach.max())
        if most > _RANGE_RATIO * usual:
            channel = int(item.folded_reach.argmax())
            message = (
                f"weight ranges of the output channels should be within a factor of {_RANGE_RATIO}; "
                f"channel {channel} of `{item.name}` has {most / usual:.0f} times the usual range"
            )
            yield Found(message, item.node)


@rule("HAI304", "dead-channel", Severity.INFO)
def dead_channel(subject: Subject) -> Iterator[Found]:
    """Output channels of a layer whose weights are all zero.

    Why: they compute a constant and take their share of the chip; a range of zero gives no scale.
    Fix: prune the channels, or look at why training lost them.
    """
    for item in subject.once(layer_weights):
        dead = int((item.folded_reach == 0).sum())
        if dead and item.reach.size > 1:
            which = int((item.folded_reach == 0).argmax())
            count = f"{dead} of {item.reach.size} output channels of `{item.name}` have no weight but 0"
            yield Found(f"{count}, first channel {which}", item.node)


@rule("HAI305", "weight-outlier", Severity.WARNING)
def weight_outlier(subject: Subject) -> Iterator[Found]:
    """A weight far from all others of its layer.

    Why: the range of the layer is set by it, and the others share the few steps that are left.
    Fix: look at what training did to it, or clip it: pre_quantization_optimization(weights_clipping, layers=[LAYER],
    mode=percentile, clipping_values=[0.01, 99.99]).
    """
    for item in subject.once(layer_weights):
        reach = float(item.reach.max())
        others = item.sample[abs(item.sample) < reach / 2]
        deviation = float(others.std()) if others.size else 0.0
        if item.tensor.size >= 256 and deviation > 0 and reach > _OUTLIER * deviation:
            message = (
                f"weights should be within {_OUTLIER} deviations of the others of the layer; found {reach:.3g} in "
                f"`{item.name}`, {reach / deviation:.0f} deviations of {deviation:.2g}"
            )
            yield Found(message, item.node)


@rule("HAI306", "batch-norm-range", Severity.WARNING)
def batch_norm_range(subject: Subject) -> Iterator[Found]:
    """A batch norm with channels whose variance is next to nothing, which are scaled up by hundreds.

    Why: folded into the layer before, such a channel sets the range of the whole layer. It comes of channels that were
    dead in training: what is scaled up is noise.
    Fix: set scale and bias of these channels to 0, or prune them.
    """
    for node in subject.of("BatchNormalization"):
        found = _stretched(node, subject.model.opset)
        if found is not None:
            yield Found(found, node)


def _stretched(node: Node, opset: int) -> str | None:
    import numpy as np

    norm = read_batchnorm(node, opset)
    if isinstance(norm, Refusal) or norm.channels < 4:
        return None
    scale = np.abs(norm.affine.scale)
    usual, most = _median(scale), float(scale.max())
    if not usual or most <= _RANGE_RATIO * usual:
        return None
    channel = int(scale.argmax())
    return (
        f"scales of a batch norm should be within a factor of {_RANGE_RATIO}; channel {channel} has "
        f"{most / usual:.0f} times the usual one, by a variance of {float(norm.deviation[channel]) ** 2:.2g}"
    )


def _median(numbers: Array) -> float:
    """The middle one, the upper of two. `numpy.median` imports numpy.ma, which takes longer than the rule."""
    import numpy as np

    return float(np.partition(numbers, numbers.size // 2)[numbers.size // 2])
