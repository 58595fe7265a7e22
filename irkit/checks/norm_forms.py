"""Normalizations that are spelled with several operators: layer norm, group norm, RMS norm, L2 norm."""

from __future__ import annotations

from irkit.checks.conditions import worked_axes
from irkit.checks.cuts import producer
from irkit.checks.reading import (
    after,
    computed_operand,
    is_number,
    is_op,
    made_by,
    only_user,
    reduces_last,
    same,
    shapes_of,
    users,
)
from irkit.ir import Node, Value
from irkit.linter import Subject


def norms(subject: Subject) -> dict[Node, str]:
    """The nodes of normalizations, by the name of the pattern."""
    found: dict[Node, str] = {}
    for root in subject.of("Sqrt"):
        found.update(_centred(subject, root) or _uncentred(subject, root))
    for norm in subject.of("ReduceL2"):
        of_map = worked_axes(norm) == (1,) and subject.rank(norm.input(0)) == 4
        found.update(dict.fromkeys(_unit_length(subject, norm), "l2-normalize" if of_map else "l2-normalize-rows"))
    return found


_TO_LENGTH = ("Clip", "Max", "Expand", "Add")


def _unit_length(subject: Subject, norm: Node) -> list[Node]:
    """The nodes of x / length(x), the length maybe kept from zero and expanded; none where nothing is divided."""
    behind = list(after(subject, norm, _TO_LENGTH))
    divisions = [node for node in behind if is_op(node, "Div") and same(subject, node.input(0), norm.input(0))]
    return [norm, *divisions, *(node for node in behind if is_op(node, *_TO_LENGTH))] if divisions else []


def _centred(subject: Subject, root: Node) -> dict[Node, str]:
    """(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps): of tokens, of a whole map, or of groups of channels."""
    variance = _under_root(subject, root)
    division = only_user(subject, root, "Div")
    if variance is None or division is None:
        return {}
    square, centred = producer(subject, variance.input(0)), made_by(subject, division.input(0), "Sub")
    if square is None or centred is None or not _is_square_of(subject, square, centred.output):
        return {}
    mean = made_by(subject, centred.input(1), "ReduceMean")
    if mean is None or not same(subject, mean.input(0), centred.input(0)):
        return {}
    name = _span(subject, mean, variance)
    return dict.fromkeys((mean, centred, square, variance, root, division), name) if name else {}


def _span(subject: Subject, mean: Node, variance: Node) -> str:
    """What the mean and the variance are taken over."""
    if all(reduces_last(subject, node, "ReduceMean") for node in (mean, variance)):
        grouping = made_by(subject, mean.input(0), "Reshape")
        return "group-norm" if grouping is not None and _groups_map(subject, grouping) else "layer-norm"
    whole = all(reduces_last(subject, node, "ReduceMean", 3) for node in (mean, variance))
    return "layer-norm-map" if whole and subject.rank(mean.input(0)) == 4 else ""


def _groups_map(subject: Subject, reshape: Node) -> bool:
    """Whether a map (N, C, H, W) becomes (N, groups, rest); channels that stay the last axis are tokens."""
    shapes = shapes_of(subject, reshape)
    return shapes is not None and len(shapes[0]) == 4 and len(shapes[1]) == 3 and shapes[0][-1] != shapes[1][-1]


def _uncentred(subject: Subject, root: Node) -> dict[Node, str]:
    """The norm x / sqrt(mean(x^2) + eps), by Div, or by Reciprocal and Mul."""
    square_mean = _under_root(subject, root)
    square = producer(subject, square_mean.input(0)) if square_mean is not None else None
    if square_mean is None or square is None or not reduces_last(subject, square_mean, "ReduceMean"):
        return {}
    x = square.input(0)
    if not _is_square_of(subject, square, x):
        return {}
    inverse = only_user(subject, root, "Reciprocal", "Div")
    scaled = inverse if inverse is None or same(subject, inverse.input(0), x) else only_user(subject, inverse, "Mul")
    if inverse is None or scaled is None or not any(same(subject, value, x) for value in scaled.inputs):
        return {}
    gain = only_user(subject, scaled, "Mul")
    members = (square, square_mean, root, inverse, scaled, gain if gain and computed_operand(subject, gain) else None)
    return {node: "rms-norm" for node in members if node is not None}


def _under_root(subject: Subject, root: Node) -> Node | None:
    """The mean to which a small number is added before the root is taken."""
    shifted = made_by(subject, root.input(0), "Add")
    return made_by(subject, computed_operand(subject, shifted), "ReduceMean") if shifted is not None else None


def _is_square_of(subject: Subject, node: Node, value: Value | None) -> bool:
    if is_op(node, "Mul"):
        return all(same(subject, operand, value) for operand in node.inputs)
    is_power = is_op(node, "Pow") and is_number(subject, node.input(1), 2.0)
    return is_power and same(subject, node.input(0), value)


def squeeze_excite(subject: Subject) -> dict[Node, str]:
    """Channels weighed by what is computed of their means: the pooling and the product."""
    found: dict[Node, str] = {}
    for gate in subject.of("Sigmoid", "HardSigmoid", "Clip"):
        for product in users(subject, gate.output):
            others = [value for value in product.inputs if not same(subject, value, gate.output)]
            pool = _pool_of(subject, gate, others[0]) if is_op(product, "Mul") and len(others) == 1 else None
            if pool is not None:
                found.update(dict.fromkeys((pool, product), "squeeze-excite"))
    return found


_MOST_STEPS = 8


def _pool_of(subject: Subject, gate: Node, weighed: Value | None) -> Node | None:
    """The pooling of the weighed map that a gate is computed of, by up to two convolutions."""
    node = producer(subject, gate.input(0))
    for _ in range(_MOST_STEPS):
        if node is None:
            return None
        if is_op(node, "GlobalAveragePool", "ReduceMean", "AveragePool"):
            return node if same(subject, node.input(0), weighed) else None
        computed = [value for value in node.inputs if value is not None and not subject.is_constant(value)]
        node = producer(subject, computed[0]) if computed else None
    return None
