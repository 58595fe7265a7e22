"""Reading a graph as patterns are looked for: past nodes that do nothing, numbers, operands, users."""

from __future__ import annotations

import math
from collections.abc import Iterator

from irkit import ops
from irkit.checks.conditions import worked_axes
from irkit.checks.cuts import producer
from irkit.identities import permutation
from irkit.inputs import fed_inputs
from irkit.ir import Node, Value
from irkit.linter import Subject
from irkit.types import Shape

_TOLERANCE = 1e-3  # half-precision exports spell sqrt(2) as 1.4140625


def behind_idle(subject: Subject, value: Value | None) -> Value | None:
    """The value itself, or the one that nodes which do nothing pass on as it."""
    while value is not None and value.producer is not None and value.producer in subject.idle:
        value = subject.idle[value.producer]
    return value


def same(subject: Subject, a: Value | None, b: Value | None) -> bool:
    """Whether two operands are one value."""
    return a is not None and behind_idle(subject, a) is behind_idle(subject, b)


def users(subject: Subject, value: Value) -> list[Node]:
    """The nodes of the network that read a value, behind those that do nothing; shape arithmetic is none of them."""
    present = subject.once(_present)
    found: list[Node] = []
    for user in value.users:
        found += users(subject, user.output) if user in subject.idle else [user] if user in present else []
    return found


def _present(subject: Subject) -> frozenset[Node]:
    return frozenset(subject.nodes)


def only_user(subject: Subject, node: Node, *operators: str) -> Node | None:
    """The one node that reads a node's result, where it is of one of these operators."""
    found = users(subject, node.output)
    is_alone = len(found) == 1 and not node.output.is_graph_output
    return found[0] if is_alone and is_op(found[0], *operators) else None


def is_op(node: Node | None, *operators: str) -> bool:
    """Whether a node is there and of one of ONNX's own operators."""
    return node is not None and node.op in operators and not node.domain


def made_by(subject: Subject, value: Value | None, *operators: str) -> Node | None:
    """The node that computes a value, where it is of one of these operators."""
    node = producer(subject, value)
    return node if is_op(node, *operators) else None


def number(subject: Subject, value: Value | None) -> float | None:
    """The number a value always has; None where it is none, or is not known."""
    data = subject.tensor(value) if value is not None else None
    if data is None or data.size != 1 or not data.dtype.is_native:
        return None
    return float(data.item())


def is_number(subject: Subject, value: Value | None, wanted: float) -> bool:
    """Whether a value is always that number."""
    found = number(subject, value)
    return found is not None and math.isclose(found, wanted, rel_tol=_TOLERANCE)


def other_than(subject: Subject, node: Node, wanted: float) -> Value | None:
    """The operand of a binary node whose other operand is this number (for Div, Sub and Pow, the second)."""
    if len(node.inputs) != 2:
        return None
    pairs = [(0, 1)] if node.op in ("Div", "Sub", "Pow") else [(0, 1), (1, 0)]
    return next((node.inputs[kept] for kept, other in pairs if is_number(subject, node.inputs[other], wanted)), None)


def computed_operand(subject: Subject, node: Node) -> Value | None:
    """The operand of a binary node that is no constant, where the other one is."""
    computed = [value for value in node.inputs if value is not None and not subject.is_constant(value)]
    return computed[0] if len(computed) == 1 and len(node.inputs) == 2 else None


def shape_in(subject: Subject, node: Node, slot: int = 0) -> Shape | None:
    """The shape of an operand, where it is there and its rank is known."""
    value = node.input(slot)
    return subject.shape(value) if value is not None else None


def integers(node: Node, name: str) -> tuple[int, ...]:
    """The numbers of an attribute, or of its default; none where it is left out, or no list of whole numbers."""
    value = ops.attribute(node, name)
    whole = isinstance(value, tuple) and all(isinstance(item, int) for item in value)
    return value if whole else ()


def sizes(subject: Subject, value: Value | None) -> tuple[int, ...] | None:
    """The shape, where it is all numbers; an open batch (named, or axis 0), which irkit makes 1, counts as 1."""
    shape = subject.shape(value) if value is not None else None
    if shape is None:
        return None
    batch = subject.once(_batch_names)
    found = [1 if dim in batch or (dim is None and axis == 0) else dim for axis, dim in enumerate(shape)]
    numbers = tuple(dim for dim in found if isinstance(dim, int))
    return numbers if len(numbers) == len(found) else None


def _batch_names(subject: Subject) -> frozenset[str]:
    """The names that inputs give to their first dimension."""
    shapes = [value.shape for value in fed_inputs(subject.model)]
    return frozenset(shape[0] for shape in shapes if shape and isinstance(shape[0], str))


def shapes_of(subject: Subject, node: Node) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shapes of a node's first operand and of its result, where both are all numbers."""
    before, after = sizes(subject, node.input(0)), sizes(subject, node.output)
    return None if before is None or after is None else (before, after)


def turns(node: Node | None, *perms: tuple[int, ...]) -> bool:
    """Whether a node is a Transpose by one of these permutations."""
    return node is not None and is_op(node, "Transpose") and permutation(node) in perms


def reduces_last(subject: Subject, node: Node, op: str, count: int = 1) -> bool:
    """Whether a node reduces the last axes, this many, and keeps them."""
    axes, rank = worked_axes(node), subject.rank(node.input(0))
    if axes is None or not is_op(node, op) or not ops.attribute(node, "keepdims"):
        return False
    if rank is None:
        return set(axes) == {-1 - index for index in range(count)}
    return {axis % rank for axis in axes} == set(range(rank - count, rank))


def after(subject: Subject, node: Node, through: tuple[str, ...]) -> Iterator[Node]:
    """What reads a node's result, and what reads that of operators which are looked through."""
    for user in users(subject, node.output):
        yield user
        if user.op in through:
            yield from after(subject, user, through)
