"""Elementwise operators: operands with equal dimensions hang together, constants grow with them.

Added lanes are given constants that keep them at zero where there is a choice, and what they hold is worked out by
evaluating the operator itself.
"""

from __future__ import annotations

import math

import numpy as np

from irkit.channels.trace import BROKEN, FINITE, Content, Trace
from irkit.fold import evaluate
from irkit.ir import Node, Value
from irkit.tensor import Tensor

_BOUNDED = frozenset({
    "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Clip", "Neg", "Abs", "HardSigmoid", "HardSwish", "Erf", "Softplus",
    "Softsign", "Elu", "Selu", "Celu", "Gelu", "Mish", "Floor", "Ceil", "Round", "Sign", "Identity", "Cast", "CastLike",
    "Dropout", "Not", "Sin", "Cos", "Atan", "ThresholdedRelu", "Add", "Sub", "Sum", "Max", "Min", "Mean", "PRelu",
    "Where", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor", "IsNaN", "IsInf",
    "Shrink", "Swish",
})  # fmt: skip
"""Finite operands give a finite result."""

_OTHERS = frozenset(
    {"Mul", "Div", "Pow", "Mod", "Exp", "Log", "Sqrt", "Reciprocal", "Asin", "Acos", "Tan", "Sinh", "Cosh"}
)

ELEMENTWISE = _BOUNDED | _OTHERS
"""Operators whose result at a place depends on the operands at that place alone."""

_FILLS = {("Div", 1): 1.0, ("Mod", 1): 1.0, ("Pow", 0): 1.0, ("Pow", 1): 1.0}
"""What a constant operand holds in added lanes, by (operator, slot); 0 otherwise."""


def passes(_axis: int, contents: dict[int, Content]) -> Content:
    """Added lanes keep what they hold."""
    return join(contents)


def keep_zero(_axis: int, contents: dict[int, Content]) -> Content:
    """Zero stays zero, other numbers become numbers that vary."""
    content = join(contents)
    return content if content in (0.0, BROKEN) else FINITE


def varies(_axis: int, _contents: dict[int, Content]) -> Content:
    """Added lanes hold numbers of their own."""
    return FINITE


def zero_channels(axis: int, _contents: dict[int, Content]) -> Content:
    """The operator's constants are chosen such that added lanes of dimension 1 are zero."""
    return 0.0 if axis == 1 else FINITE


def join(contents: dict[int, Content]) -> Content:
    """What lanes hold that come from several places."""
    found = set(contents.values())
    if BROKEN in found:
        return BROKEN
    return found.pop() if len(found) == 1 else FINITE if found else 0.0


def elementwise(node: Node, trace: Trace) -> None:
    """Tell how channels pass through an elementwise operator."""
    out = node.output
    inputs = node.inputs[:1] if node.op == "CastLike" else node.inputs  # of the second it reads the type only
    operands = [(slot, value) for slot, value in enumerate(inputs) if value is not None and value.constant is None]
    if any(value.use_count for value in node.outputs[1:]):  # the mask of a Dropout
        return
    trace.joined(node, operands, out)
    constants = [
        (slot, value) for slot, value in enumerate(node.inputs) if value is not None and value.constant is not None
    ]
    for slot, value in constants:
        shift = len(out.shape or ()) - len(value.shape or ())
        for axis, dim in enumerate(value.shape or ()):
            if trace.is_active(out, axis + shift) and dim == trace.size((out, axis + shift)):
                trace.pad(node, slot, axis, (out, axis + shift), _FILLS.get((node.op, slot), 0.0))
    trace.transfer(node, lambda axis, contents: _content(node, axis, contents))


def _content(node: Node, axis: int, contents: dict[int, Content]) -> Content:
    """What the operator makes of added lanes along output dimension `axis`."""
    filled = {
        slot: contents.get(slot, _other(node, slot, axis))
        for slot, value in enumerate(node.inputs)
        if value is not None
    }
    if BROKEN in filled.values():
        return BROKEN
    numbers = {slot: content for slot, content in filled.items() if isinstance(content, float)}
    if len(numbers) == len(filled):
        return _evaluated(node, numbers)
    if node.op in _BOUNDED:
        return FINITE
    if node.op == "Mul":
        return 0.0 if 0.0 in numbers.values() else FINITE
    if node.op == "Div":
        # An added lane over something all channels share, as in a norm: where that is zero, the real lanes fail too.
        return 0.0 if numbers.get(0) == 0.0 else FINITE if numbers.get(1) else BROKEN
    return BROKEN


def _other(node: Node, slot: int, axis: int) -> Content:
    """What meets an added lane from an operand that has none of its own."""
    value = node.inputs[slot]
    assert value is not None
    data = value.constant
    if data is None:
        return FINITE
    at = axis - len(node.output.shape or ()) + data.rank
    if at >= 0 and data.shape[at] > 1:
        return _FILLS.get((node.op, slot), 0.0)
    array = data.numpy()
    if not data.dtype.is_native or array.size == 0:
        return BROKEN
    first = array.reshape(-1)[0]
    same = data.is_splat or bool((array == first).all())
    return float(first) if same else FINITE if bool(np.isfinite(array).all()) else BROKEN


def _evaluated(node: Node, numbers: dict[int, float]) -> Content:
    inputs: list[Tensor | None] = []
    for slot, value in enumerate(node.inputs):
        dtype = value.dtype if value is not None else None
        if value is not None and (dtype is None or not dtype.is_native):
            return BROKEN
        inputs.append(_scalar(value, numbers[slot]) if value is not None else None)
    with np.errstate(all="ignore"):
        results = evaluate(node, inputs)
    if not results or results[0] is None:
        return BROKEN
    number = float(results[0].numpy().reshape(-1)[0])
    return number if math.isfinite(number) else BROKEN


def _scalar(value: Value, number: float) -> Tensor:
    assert value.dtype is not None
    rank = len(value.shape or ())
    return Tensor.of(np.full((1,) * rank, number, value.dtype.numpy), value.dtype)
