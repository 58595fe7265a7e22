"""Groups of operators that the compiler takes as one, recognised by their structure.

The names are those of `[pattern.NAME]` in the rule tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from irkit import ops
from irkit.checks.conditions import worked_axes
from irkit.checks.heads import head_nodes
from irkit.checks.repeats import repeated_heads
from irkit.identities import permutation
from irkit.ir import Node, Value
from irkit.linter import Subject

_TOLERANCE = 1e-3  # half-precision exports spell sqrt(2) as 1.4140625


_SHUFFLES = frozenset({
    (0, 2, 1, 3, 4),  # channels of groups, channel shuffle
    (0, 1, 4, 2, 5, 3), (0, 3, 4, 1, 5, 2),  # depth to space, CRD and DCR
    (0, 1, 3, 5, 2, 4), (0, 3, 5, 1, 2, 4),  # space to depth, likewise
})  # fmt: skip
"""Permutations between two Reshapes that split and merge axes of a feature map."""


def memberships(subject: Subject) -> dict[Node, str]:
    """The patterns that nodes are part of, by name."""
    found: dict[Node, str] = {}
    for erf in subject.of("Erf"):
        name = _gelu(subject, erf)
        if name:
            found[erf] = name
    for root in subject.of("Sqrt"):
        found.update(dict.fromkeys(_layer_norm(subject, root), "layer-norm"))
    found.update(dict.fromkeys(head_nodes(subject), "yolo-head"))
    found.update(dict.fromkeys(subject.once(repeated_heads), "repeat-heads"))
    for norm in subject.of("ReduceL2"):
        if _divides_its_input(norm):
            found[norm] = "l2-normalize"
    for transpose in subject.of("Transpose"):
        found.update(dict.fromkeys(_shuffle(subject, transpose), "shuffle"))
    return found


def _gelu(subject: Subject, erf: Node) -> str:
    """The spelling of the GELU around an Erf; empty where there is none.

    `gelu-erf` is what TorchScript exports: x / sqrt(2) first, then the product with x, * 0.5 last.
    """
    scaled = _producer(erf.input(0))
    shifted = _only_user(erf, "Add")
    if scaled is None or scaled.op not in ("Div", "Mul") or shifted is None:
        return ""
    x = _other_than_number(subject, scaled, math.sqrt(2) if scaled.op == "Div" else math.sqrt(0.5))
    product = _only_user(shifted, "Mul")
    if x is None or product is None or _other_than_number(subject, shifted, 1.0) is None:
        return ""
    last = _only_user(product, "Mul")
    if x in product.inputs:
        halved = last is not None and _other_than_number(subject, last, 0.5) is not None
        return "" if not halved else "gelu-erf" if scaled.op == "Div" else "gelu-erf-reordered"
    if _other_than_number(subject, product, 0.5) is not None:
        return "gelu-erf-reordered" if last is not None and x in last.inputs else ""
    halves = [_producer(value) for value in product.inputs if _producer(value) is not shifted]
    is_half = any(half is not None and _other_than_number(subject, half, 0.5) is x for half in halves)
    return "gelu-erf-reordered" if is_half else ""


def _layer_norm(subject: Subject, root: Node) -> list[Node]:
    """The nodes of (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) over the last axis; none where it is not that."""
    shifted = _producer(root.input(0))
    variance = _producer(_other_operand(subject, shifted)) if shifted is not None and shifted.op == "Add" else None
    division = _only_user(root, "Div")
    if variance is None or division is None or not _is_mean(subject, variance):
        return []
    square = _producer(variance.input(0))
    centred = _producer(division.input(0))
    if square is None or centred is None or centred.op != "Sub" or not _is_square_of(subject, square, centred.output):
        return []
    mean = _producer(centred.input(1))
    if mean is None or not _is_mean(subject, mean) or mean.input(0) is not centred.input(0):
        return []
    return [mean, centred, square, variance, root, division]


def _is_mean(subject: Subject, node: Node) -> bool:
    axes, rank = worked_axes(node), subject.rank(node.input(0))
    last = axes == (-1,) or (rank is not None and axes == (rank - 1,))
    return node.op == "ReduceMean" and last and bool(ops.attribute(node, "keepdims"))


def _is_square_of(subject: Subject, node: Node, value: Value) -> bool:
    if node.op == "Mul":
        return node.inputs == (value, value)
    return node.op == "Pow" and node.input(0) is value and _is_number(subject, node.input(1), 2.0)


def _shuffle(subject: Subject, transpose: Node) -> list[Node]:
    """The Reshape, Transpose, Reshape of a channel shuffle, or of a pixel shuffle in either direction."""
    split, merge = _producer(transpose.input(0)), _only_user(transpose, "Reshape")
    if permutation(transpose) not in _SHUFFLES or split is None or split.op != "Reshape" or merge is None:
        return []
    is_map = subject.rank(split.input(0)) == 4 and subject.rank(merge.output) == 4
    return [split, transpose, merge] if is_map else []


def _divides_its_input(norm: Node) -> bool:
    """Whether what the norm was taken of is divided by it, maybe after Clip, Max or Expand."""
    x = norm.input(0)
    return any(node.op == "Div" and node.input(0) is x for node in _after(norm, ("Clip", "Max", "Expand", "Add")))


def _after(node: Node, through: tuple[str, ...]) -> Iterator[Node]:
    for user in node.successors:
        yield user
        if user.op in through:
            yield from _after(user, through)


def _producer(value: Value | None) -> Node | None:
    return value.producer if value is not None else None


def _only_user(node: Node, op: str) -> Node | None:
    users = node.output.users
    return users[0] if len(users) == 1 and users[0].op == op and not users[0].domain else None


def _other_than_number(subject: Subject, node: Node, number: float) -> Value | None:
    """The operand of a binary node whose other operand is this number (for Div, the divisor)."""
    if len(node.inputs) != 2:
        return None
    pairs = [(0, 1)] if node.op == "Div" else [(0, 1), (1, 0)]
    return next((node.inputs[kept] for kept, other in pairs if _is_number(subject, node.inputs[other], number)), None)


def _other_operand(subject: Subject, node: Node) -> Value | None:
    """The operand of a binary node that is no constant, where the other one is."""
    computed = [value for value in node.inputs if value is not None and not subject.is_constant(value)]
    return computed[0] if len(computed) == 1 and len(node.inputs) == 2 else None


def _is_number(subject: Subject, value: Value | None, number: float) -> bool:
    data = subject.tensor(value) if value is not None else None
    if data is None or data.size != 1 or not data.dtype.is_native:
        return False
    return math.isclose(float(data.item()), number, rel_tol=_TOLERANCE)
