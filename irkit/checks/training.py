"""IRK060 and IRK061: whether the model is the network that was trained."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from irkit.affine import read_batchnorm
from irkit.checks.layer_weights import LayerWeights, layer_weights
from irkit.diagnostics import Severity
from irkit.ir import Node, Value
from irkit.linter import Found, Subject, rule
from irkit.refusal import Refusal

_LEAST_ELEMENTS = 48
"""A weight with fewer tells nothing of the distribution it was drawn from."""
_SURE_ELEMENTS = 512
"""From here on a single layer tells: a trained one fills the bounds it was drawn within by no chance."""
_SHARE = 0.8
_FIXED = (0.02**2, 0.01**2)
"""Variances that transformers and early networks start with."""
_SHOWN = 5


@dataclass(frozen=True)
class _Start:
    """A layer that has the weights a network starts with: `bounded` where they fill a known interval evenly."""

    weights: LayerWeights
    bounded: bool


def _untouched_layers(subject: Subject) -> Sequence[_Start]:
    found = []
    for item in subject.once(layer_weights):
        if item.tensor.size >= _LEAST_ELEMENTS and not item.tensor.is_splat:
            if _fills_bounds(item):
                found.append(_Start(item, True))
            elif _is_drawn_normal(item):
                found.append(_Start(item, False))
    return found


def _fills_bounds(item: LayerWeights) -> bool:
    """Whether the weights are spread evenly up to just the bound that an initializer draws within.

    Of n numbers that are drawn evenly, the largest stays about 1/n below the bound; the deviation is bound / sqrt(3).
    """
    count, reach = item.tensor.size, float(item.reach.max())
    slack = max(10 / count, 1e-3)
    if not any(bound * (1 - slack) <= reach <= bound * (1 + 1e-4) for bound in _bounds(item)):
        return False
    sample = item.sample
    deviation, mean = float(sample.std()), float(sample.mean())
    wanted = reach / math.sqrt(3)
    return abs(deviation / wanted - 1) < 2.5 / math.sqrt(sample.size) + slack and abs(mean) < 5 * wanted / math.sqrt(
        sample.size
    )


def _bounds(item: LayerWeights) -> tuple[float, ...]:
    """PyTorch's default for linear layers and convolutions, He's and Glorot's and LeCun's uniform ones."""
    fan_in, fan_out = item.fan_in, item.fan_out
    return (
        1 / math.sqrt(fan_in),
        math.sqrt(6 / fan_in),
        math.sqrt(6 / fan_out),
        math.sqrt(6 / (fan_in + fan_out)),
        math.sqrt(3 / fan_in),
    )


def _is_drawn_normal(item: LayerWeights) -> bool:
    """Whether the weights are a draw from an initializer's normal distribution, by their first four moments."""
    sample = item.sample
    count, deviation = sample.size, float(sample.std())
    if count < _SURE_ELEMENTS or not deviation:
        return False
    fan_in, fan_out = item.fan_in, item.fan_out
    groups = int(item.node.attr("group", 1)) if item.node.op == "Conv" else 1
    known = (2 / fan_out, 2 * groups / fan_out, 2 / fan_in, 2 / (fan_in + fan_out), 1 / fan_in, *_FIXED)
    if not any(abs(deviation / math.sqrt(variance) - 1) < 4 / math.sqrt(2 * count) for variance in known):
        return False
    scaled = (sample - sample.mean()) / deviation
    squares = scaled * scaled
    skew, kurtosis = float((squares * scaled).mean()), float((squares * squares).mean()) - 3
    centred = abs(float(sample.mean())) < 5 * deviation / math.sqrt(count)
    return centred and abs(skew) < 5 * math.sqrt(6 / count) and abs(kurtosis) < 5 * math.sqrt(24 / count)


@rule("IRK060", "untrained-weights", Severity.WARNING)
def untrained_weights(subject: Subject) -> Iterator[Found]:
    """Weights that are those a network starts with, or batch norms that never saw data.

    Why: a checkpoint that was loaded but not put into the network, or only in part, leaves random weights in the
    export. It compiles and runs, and nothing else says so. Looked at is whether weights fill the very interval that an
    initializer draws from, or are a draw from its normal distribution; training moves them out of it.

    Example:
        network.load_state_dict(torch.load("trained.pt"), strict=True)
    Fix: load the checkpoint with strict=True before exporting, and compare outputs with those of the trained network.
    """
    layers = [item for item in subject.once(layer_weights) if item.tensor.size >= _LEAST_ELEMENTS]
    starts, fresh = subject.once(_untouched_layers), _fresh_norms(subject)
    sure = [start.weights for start in starts if start.bounded and start.weights.tensor.size >= _SURE_ELEMENTS]
    elements = sum(start.weights.tensor.size for start in starts)
    drawn = "drawn as an initializer draws them"
    if layers and len(starts) >= _SHARE * len(layers) and elements >= _SURE_ELEMENTS:
        also = f"; {len(fresh)} batch norms never saw data" if fresh else ""
        message = f"the weights look untrained: {len(starts)} of {len(layers)} layers are {drawn}{also}"
        yield Found(message, advice="load the checkpoint before exporting, with strict=True")
    elif sure:
        names = ", ".join(f"`{item.name}`" for item in sure[:_SHOWN])
        more = f" and {len(sure) - _SHOWN} more" if len(sure) > _SHOWN else ""
        message = f"{len(sure)} of {len(layers)} layers look untrained, {drawn}: {names}{more}"
        yield Found(message, sure[0].node, advice="see which keys were missing: load the checkpoint with strict=True")
    elif fresh:
        message = f"{len(fresh)} batch norms have mean 0 and variance 1 in every channel: they never saw data"
        yield Found(message, fresh[0], advice="load the checkpoint with its running statistics before exporting")


def _fresh_norms(subject: Subject) -> list[Node]:
    """The batch norms that never saw data, where that is most of them."""
    norms = list(subject.of("BatchNormalization"))
    fresh = [node for node in norms if _is_fresh(node, subject.model.opset)]
    return fresh if len(fresh) >= _SHARE * len(norms) else []


def _is_fresh(node: Node, opset: int) -> bool:
    norm = read_batchnorm(node, opset)
    if isinstance(norm, Refusal) or norm.mean.any():
        return False
    epsilon = float(node.attr("epsilon", 1e-5))
    return bool((abs(norm.deviation**2 - epsilon - 1) < 1e-6).all())


@rule("IRK061", "linear-bottleneck", Severity.WARNING)
def linear_bottleneck(subject: Subject) -> Iterator[Found]:
    """Two linear layers in a row through a narrow middle, with nothing between them.

    Why: where a quantizer (finite scalar quantization, a codebook, Round) stood between them in training and was left
    out of the export, the model computes another function. It cannot be applied to the outputs afterwards: the second
    layer has mixed the code already. Where nothing stood there, the two are one layer that was split to save weights.

    Example:
        hailo parser onnx net.onnx --end-node-names /project/Gemm, then rounding and head on the host
    Fix: end the device part at the first layer and run rounding and the rest on the host; or measure, on your data,
    what leaving it out costs.
    """
    for node in subject.of("Gemm", "MatMul"):
        after = _next_linear(subject, node)
        first, second = _widths(node), _widths(after) if after is not None else None
        if after is None or first is None or second is None or not first[1] == second[0] < min(first[0], second[1]):
            continue
        message = (
            f"{first[0]} numbers become {first[1]} and then {second[1]} with nothing between `{node.name}` and "
            f"`{after.name}`: was a quantizer (FSQ, codebook, Round) left out of the export?"
        )
        advice = (
            f"where one belongs there, cut behind it: --end-node-names {node.name}, and round and go on on the host"
        )
        yield Found(message, node, advice=advice)


def _next_linear(subject: Subject, node: Node) -> Node | None:
    """The linear layer that reads the output of one and nothing else does, past additions of constants."""
    value: Value = node.output
    for _step in range(4):
        users = [use.node for use in value.uses]
        if len(users) != 1 or value.is_graph_output:
            return None
        user = users[0]
        if user in subject.invalid:
            return None
        if user.op in ("Gemm", "MatMul") and user.input(0) is value:
            return user
        others = [item for item in user.inputs if item is not value and item is not None]
        adds = user.op == "Add" and all(subject.is_constant(item) for item in others)
        if not adds and user not in subject.idle:
            return None
        value = user.output
    return None


def _widths(node: Node) -> tuple[int, int] | None:
    """Numbers in and out of a Gemm or MatMul with a constant weight of rank 2."""
    operand = node.input(1)
    weight = operand.constant if operand is not None else None
    if weight is None or weight.rank != 2:
        return None
    rows, columns = weight.shape
    return (columns, rows) if node.op == "Gemm" and node.attr("transB", 0) else (rows, columns)
