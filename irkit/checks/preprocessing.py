"""HAI520 to HAI522: what is done to the inputs, in the graph and in the model script."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from irkit.diagnostics import Location, Severity
from irkit.inputs import fed_inputs
from irkit.ir import Node, Value
from irkit.linter import Found, Subject, rule
from irkit.types import TensorType

if TYPE_CHECKING:
    import numpy as np

    from irkit.hailo.alls import Command

    Array = np.ndarray[Any, np.dtype[Any]]

_AFFINE = ("Sub", "Add", "Mul", "Div", "BatchNormalization")
_SQUASHED = 0.1
"""Pixels from 0 to 255 that span less than this behind every normalization were divided twice."""


@dataclass(frozen=True)
class Normalization:
    """What a normalization does: (x - mean) / std by channel. `nodes` that do it in the graph; `place` in a script."""

    mean: Array
    std: Array
    nodes: tuple[Node, ...] = ()
    place: Location | None = None


@dataclass(frozen=True)
class Said:
    """A number that a model script says, and where; None where it is filled in later."""

    value: int | None
    place: Location


def held_commands(subject: Subject, name: str, first: str | None = None) -> Iterator[tuple[Location, Command]]:
    """The commands of that name in every model script that was given, with file and line."""
    for file in subject.scripts:
        for held in file.model_scripts:
            for command in held.script.of(name, first) if held.script is not None else ():
                yield Location(file=file.path, line=held.line_of(command.line)), command


def calibset_size(subject: Subject) -> Said | None:
    """How many calibration samples the model scripts ask for; None where none says so."""
    said = None
    for place, command in held_commands(subject, "model_optimization_config", "calibration"):
        size = command.kwargs.get("calibset_size")
        if isinstance(size, (int, str)) and not isinstance(size, bool):
            said = Said(size if isinstance(size, int) else None, place)
    return said


def script_normalization(subject: Subject) -> Normalization | None:
    """The normalization that the model scripts put at the input; None where there is none, or it is filled in later."""
    import numpy as np

    for place, command in held_commands(subject, "normalization"):
        lists = [value for value in command.args[:2] if isinstance(value, tuple)]
        numbers = all(isinstance(item, (int, float)) for value in lists for item in value)
        if len(lists) == 2 and numbers and len(lists[0]) == len(lists[1]) > 0 and 0 not in lists[1]:
            return Normalization(np.asarray(lists[0], np.float64), np.asarray(lists[1], np.float64), place=place)
    return None


def graph_normalizations(subject: Subject) -> Mapping[Value, Normalization]:
    """Inputs that the graph normalizes first of all, with what it does."""
    return subject.once(_find_normalizations)


def _find_normalizations(subject: Subject) -> Mapping[Value, Normalization]:
    found = {}
    for value in fed_inputs(subject.model):
        type_ = value.type
        if isinstance(type_, TensorType) and type_.dtype.is_float and any(use.node.op in _AFFINE for use in value.uses):
            normalization = _follow(subject, value)
            if normalization is not None:
                found[value] = normalization
    return found


def _follow(subject: Subject, value: Value) -> Normalization | None:
    """Put together the affine maps, one behind the other, that an input goes through."""
    import numpy as np

    from irkit.affine import read_affine
    from irkit.refusal import Refusal

    shape = subject.shape(value)
    if shape is None or len(shape) < 2 or not isinstance(shape[1], int):
        return None
    scale, shift, nodes = np.ones(shape[1]), np.zeros(shape[1]), []
    while len(value.uses) == 1:
        node = next(iter(value.uses)).node
        if node.op_id not in _AFFINE or node in subject.invalid:
            break
        affine = read_affine(node, value, shape[1], subject.model.opset, len(shape))
        if isinstance(affine, Refusal) or not (np.isfinite([affine.scale, affine.shift]).all() and affine.scale.all()):
            break
        scale, shift = scale * affine.scale, shift * affine.scale + affine.shift
        nodes.append(node)
        value = node.output
    return Normalization(-shift / scale, 1.0 / scale, tuple(nodes)) if nodes else None


@rule("HAI520", "normalization-in-graph", Severity.INFO)
def normalization_in_graph(subject: Subject) -> Iterator[Found]:
    """A model that normalizes its input by itself.

    Why: it works, but the input then holds 8-bit pixels as floats that every layer before the first convolution keeps;
    as a `normalization` of the model script the same is done on the chip to uint8 input, a quarter of the data to send.

    Example:
        normalization1 = normalization([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    Fix: leave it out when exporting and say it in the model script; calibration data are raw in both cases.
    """
    for value, done in graph_normalizations(subject).items():
        ops = ", ".join(node.op for node in done.nodes)
        what = f"mean {_numbers(done.mean)}, deviation {_numbers(done.std)}"
        message = f"the graph normalizes input `{value.name}` by {ops}: {what}"
        yield Found(message, done.nodes[0], advice=f"normalization([{_all(done.mean)}], [{_all(done.std)}])")


@rule("HAI521", "double-normalization", Severity.WARNING)
def double_normalization(subject: Subject) -> Iterator[Found]:
    """Input that is normalized both by the graph and by the model script.

    Why: what the network then sees is not what it was trained on; everything compiles, and accuracy is gone.

    Example:
        normalization1 = normalization([0, 0, 0], [255, 255, 255]) before a graph that divides by 255.
    Fix: keep one of them. Only where the graph wants pixels from 0 to 1 may the model script divide by 255.
    """
    script = script_normalization(subject)
    if script is None:
        return
    for value, graph in graph_normalizations(subject).items():
        if len(script.mean) not in (1, len(graph.mean)):
            continue
        black, white = (((level - script.mean) / script.std - graph.mean) / graph.std for level in (0.0, 255.0))
        squashed = float(abs(white - black).max()) < _SQUASHED
        if squashed or (script.mean.any() and graph.mean.any()):
            message = (
                f"input `{value.name}` is normalized by the graph and by the model script: pixels from 0 to 255 become "
                f"{float(black.min()):.4g} to {float(white.max()):.4g}"
            )
            yield Found(message, graph.nodes[0], Severity.ERROR if squashed else None, advice="keep one of them")


@rule("HAI522", "normalization-channels", Severity.ERROR)
def normalization_channels(subject: Subject) -> Iterator[Found]:
    """A normalization in the model script with another number of channels than the input.

    Why: it has one mean and one deviation for each channel; the compiler refuses another number.
    Fix: write as many numbers as the input has channels.
    """
    inputs = fed_inputs(subject.model)
    shape = subject.shape(inputs[0]) if len(inputs) == 1 else None
    channels = shape[1] if shape is not None and len(shape) == 4 else None
    if not isinstance(channels, int):
        return
    for place, command in held_commands(subject, "normalization"):
        mean = command.args[0] if command.args else None
        last = shape[-1] if shape is not None else None
        if isinstance(mean, tuple) and len(mean) not in (channels, last):
            message = f"`normalization` must have {channels} means, a channel of `{inputs[0].name}` each"
            yield Found(f"{message}; found {len(mean)}", origin=place)


def _numbers(values: Array) -> str:
    if (values == values[0]).all():
        return f"{values[0]:.4g}"
    listed = ", ".join(f"{item:.4g}" for item in values[:4])
    return f"({listed}{', ...' if len(values) > 4 else ''})"


def _all(values: Array) -> str:
    return ", ".join(f"{item:.6g}" for item in values)
