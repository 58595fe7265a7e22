"""The model with its weights rounded and its activations quantized at the borders of layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from irkit.errors import OptionError
from irkit.executor import Session, open_session
from irkit.hailo.emulation.grids import Grid, round_layer_weight
from irkit.hailo.emulation.layers import Layer, weight_slot
from irkit.ir import Node, Value
from irkit.model import Model
from irkit.tensor import Tensor
from irkit.types import DType

_WIDE_DOMAIN = "com.microsoft"
"""ONNX's own QuantizeLinear takes 16 bits only from opset 21 on, ONNX Runtime's in any."""

PRECISIONS: Mapping[str, tuple[int, int]] = {"a8_w8": (8, 8), "a8_w4": (8, 4), "a16_w16": (16, 16)}
"""Bits of activations and weights by the names that model scripts use."""


@dataclass(frozen=True)
class Precisions:
    """How many bits layers have.

    Attributes: `default` and `by_pattern` hold names such as `a8_w8`; patterns are of node names, `*` stands for any
    text; the last pattern that fits counts. Raises `OptionError` for an unknown name.
    """

    default: str = "a8_w8"
    by_pattern: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.default, *self.by_pattern.values()):
            if name not in PRECISIONS:
                raise OptionError(f"there is no precision `{name}`; known: {', '.join(PRECISIONS)}")

    def of(self, name: str) -> tuple[int, int]:
        """Bits of activations and of weights of the layer of a node, or of an input."""
        chosen = self.default
        for pattern, precision in self.by_pattern.items():
            if fnmatchcase(name, pattern):
                chosen = precision
        return PRECISIONS[chosen]


@dataclass(frozen=True)
class Emulated:
    """A model ready to run in emulation. `names`: what the quantized tensor of each border is called."""

    session: Session
    names: Mapping[str, str]


def open_emulated(
    model: Model,
    layers: Sequence[Layer],
    ranges: Mapping[str, tuple[float, float]],
    precisions: Precisions,
    *,
    per_channel: bool,
) -> Emulated:
    """Make the emulation ready to run. The model is as before afterwards.

    Args:
        model: a static float32 model.
        layers: its layers.
        ranges: least and largest number of each border and each float input, by name.
        precisions: bits of layers.
        per_channel: one scale of weights for each output channel, not each layer.

    Raises `ExecutionError` or `MissingDependencyError` where nothing here can run it.
    """
    with model.trial():
        names = {}
        for value in list(model.graph.inputs):
            if value.name in ranges:
                bits, _ = precisions.of(value.name)
                names[value.name] = _quantize(model, value, Grid.of_range(*ranges[value.name], bits)).name
        for layer in layers:
            activation_bits, weight_bits = precisions.of(layer.name)
            if layer.has_weights:
                _round(model, layer.node, weight_bits, per_channel=per_channel)
            low_high = ranges[layer.border.name]
            names[layer.border.name] = _quantize(model, layer.border, Grid.of_range(*low_high, activation_bits)).name
        return Emulated(open_session(model, list(names.values())), names)


def _round(model: Model, node: Node, bits: int, *, per_channel: bool) -> None:
    slot = weight_slot(node)
    value = node.input(slot) if slot is not None else None
    if slot is None or value is None or value.constant is None:
        return
    rounded = round_layer_weight(node, slot, value.constant.numpy(), bits, per_channel=per_channel)
    name = model.graph.fresh_name(f"{value.name}_rounded")
    node.set_input(slot, model.graph.add_initializer(name, Tensor.of(rounded)))


def _quantize(model: Model, value: Value, grid: Grid) -> Value:
    """Let everything that reads the value read it from its grid. Returns what they read now."""
    graph = model.graph
    uses = value.uses
    domain = "" if grid.bits == 8 and model.opset >= 10 else _WIDE_DOMAIN
    if domain and domain not in model.opset_imports:
        model.set_field("opset_imports", {**model.opset_imports, domain: 1})
    dtype = DType.UINT8 if grid.bits == 8 else DType.UINT16
    scale = graph.add_initializer(graph.fresh_name(f"{value.name}_scale"), Tensor.splat(grid.scale, (), DType.FLOAT32))
    zero = graph.add_initializer(graph.fresh_name(f"{value.name}_zero"), Tensor.splat(grid.zero_point, (), dtype))
    stored = Node("QuantizeLinear", [value, scale, zero], {}, 1, domain=domain)
    real = Node("DequantizeLinear", [stored.output, scale, zero], {}, 1, domain=domain)
    first = next(iter(graph), None)
    if value.producer is not None:
        graph.insert(stored, after=value.producer)
    else:
        graph.insert(stored, before=first)
    graph.insert(real, after=stored)
    for use in uses:
        use.node.set_input(use.slot, real.output)
    return real.output
