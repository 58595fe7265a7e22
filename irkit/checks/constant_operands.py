"""Constants of elementwise operators, and how they lie in the chip's order of axes."""

from __future__ import annotations

from irkit.checks.cuts import producer
from irkit.ir import Node, Value
from irkit.linter import Subject
from irkit.types import Shape

_MAPS = frozenset({
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "DepthToSpace",
    "SpaceToDepth", "Resize", "InstanceNormalization",
})  # fmt: skip
"""What they make has the channels as axis 1."""

_KEEPING = frozenset({
    "Abs", "Add", "BatchNormalization", "Clip", "Concat", "Div", "Dropout", "Elu", "Erf", "Exp", "HardSigmoid",
    "HardSwish", "Identity", "LeakyRelu", "Mish", "Mul", "Neg", "PRelu", "Pad", "Pow", "Relu", "Sigmoid", "Slice",
    "Softmax", "Softplus", "Split", "Sqrt", "Sub", "Tanh",
})  # fmt: skip
"""What they make has its axes where those of their first computed operand are."""


def has_channels_first(subject: Subject, value: Value | None) -> bool:
    """Whether a tensor surely has its channels as axis 1: a map of a layer, or one whose positions are one axis.

    (1, C, H, W) flattened to (1, C, H * W) still has; what was transposed or made by a product is not known to have.
    """
    rank = subject.rank(value)
    node = producer(subject, value)
    while node is not None and not node.domain and node.op in _KEEPING:
        computed = [operand for operand in node.inputs if operand is not None and not subject.is_constant(operand)]
        if rank == 4 and _is_read_as_map(node.output):
            return True
        value = computed[0] if computed else None
        node = producer(subject, value)
    if node is None or node.domain:
        return rank == 4 and value is not None and _is_read_as_map(value)
    if node.op in _MAPS:
        return rank == 4
    return rank == 3 and _flattens_map(subject, node) and has_channels_first(subject, node.input(0))


def _is_read_as_map(value: Value) -> bool:
    return any(use.slot == 0 and use.node.op in _MAPS and not use.node.domain for use in value.uses)


def _flattens_map(subject: Subject, node: Node) -> bool:
    if node.op != "Reshape" or node.input(0) is None:
        return False
    before, after = subject.shape(node.inputs[0]), subject.shape(node.output)  # type: ignore[arg-type]
    return before is not None and after is not None and len(before) == 4 and before[:2] == after[:2]


def operand_shapes(subject: Subject, node: Node) -> tuple[Value, Shape, Shape] | None:
    """The computed one of two operands, its shape, and that of the constant one; None where there is no such pair."""
    if len(node.inputs) < 2 or node.inputs[0] is None or node.inputs[1] is None:
        return None
    pair = node.inputs[:2]
    constants = [value for value in pair if value is not None and subject.is_constant(value)]
    computed = [value for value in pair if value is not None and not subject.is_constant(value)]
    if len(constants) != 1:
        return None
    shape, constant = subject.shape(computed[0]), subject.shape(constants[0])
    return None if shape is None or constant is None else (computed[0], shape, constant)


def fits(subject: Subject, node: Node) -> bool | None:
    """Whether the constant of a node is a number, one a channel, or as large as the other operand, as the chip has it.

    None where it has no such operands, or where their order of axes is not known well enough to tell.
    """
    found = operand_shapes(subject, node)
    if found is None:
        return None
    value, shape, constant = found
    if len(constant) > len(shape):
        return False if any(dim != 1 for dim in constant[: len(constant) - len(shape)]) else None
    padded = (1,) * (len(shape) - len(constant)) + tuple(constant)
    pairs = list(zip(shape, padded, strict=True))
    if any(isinstance(dim, int) and isinstance(own, int) and own not in (1, dim) for dim, own in pairs):
        return False
    spread = {axis for axis, (_, own) in enumerate(pairs) if own != 1}
    wide = {axis for axis, (dim, _) in enumerate(pairs) if dim != 1 and axis > 0}
    if not spread:
        return True
    if has_channels_first(subject, value):
        return spread == {1} or (spread == wide and len(shape) == 4)
    return _fits_in_some_order(node, spread, wide, len(shape))


def _fits_in_some_order(node: Node, spread: set[int], wide: set[int], rank: int) -> bool | None:
    """The same where channels may be axis 1 or the last one."""
    if spread in (wide, {rank - 1}) or (rank == 4 and spread == {1}):
        return True
    is_mask = any(user.op in ("Softmax", "Add", "Reshape") for user in node.successors)
    return None if rank > 4 or is_mask else False
