"""Detection heads: the nodes that make boxes of feature maps, which a host has to run.

A head is known by a Concat that puts flattened maps of several sizes one after the other. No network that the compiler
takes whole does that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from irkit.checks.cuts import (
    FEW_WEIGHTS,
    ends_before,
    feeding_layers,
    is_layer,
    named,
    producer,
    sources,
    weights_of,
)
from irkit.checks.reading import shape_in
from irkit.identities import permutation
from irkit.ir import Node, Value
from irkit.linter import Subject
from irkit.table import Status
from irkit.types import Shape

_FLATTENING = frozenset({"Reshape", "Flatten"})
_MOST_STEPS = 24
"""How many nodes back from the Concat the flattening of a map is looked for."""


@dataclass(frozen=True)
class Head:
    """One detection head.

    Attributes: `ends`: the nodes to end the chip's part at. `nodes`: those behind them. `flattening`: the first nodes
    behind the ends that change the layout. `joins`: the Concats of flattened maps.
    """

    ends: tuple[Node, ...]
    nodes: frozenset[Node]
    flattening: tuple[Node, ...]
    joins: tuple[Node, ...]


def heads(subject: Subject) -> tuple[Head, ...]:
    """The detection heads of a network; those that share nodes are one."""
    joins = [node for node in subject.of("Concat") if _joins_maps(subject, node)]
    groups: list[tuple[set[Node], list[Node]]] = []
    for join in joins:
        behind = _after(subject, join)
        if any(_has_many_weights(subject, node) for node in behind):
            continue
        shared = [group for group in groups if group[0] & behind]
        groups = [group for group in groups if group not in shared]
        groups.append((behind.union(*(group[0] for group in shared)), [join, *(j for g in shared for j in g[1])]))
    return tuple(_head(subject, behind, joins) for behind, joins in groups)


def head_nodes(subject: Subject) -> frozenset[Node]:
    """The nodes of all heads, without those whose operator is refused wherever it stands."""
    operators = subject.target.operators
    refused = (Status.UNSUPPORTED, Status.CONSTANT_ONLY)
    return frozenset(
        node
        for head in subject.once(heads)
        for node in head.nodes
        if node.op_id not in operators or operators[node.op_id].status not in refused
    )


def advice_to_cut(subject: Subject, node: Node) -> str:
    """How to cut the network so that a node is left to the host; empty where layers with weights come behind it."""
    if node in subject.once(feeding_layers):
        return ""
    ends = chip_ends(subject, node)
    if not ends:
        return ""
    if all(end.name for end in ends):
        return f"cut here: irkit optimize --cut {','.join(end.name for end in ends)}; the host runs the rest"
    return f"cut here: end the part for the chip at {named(ends)}, and run the rest on the host"


def chip_ends(subject: Subject, node: Node) -> tuple[Node, ...]:
    """Where the chip's part ends if a node is left to the host, and every tail with it that is refused.

    Besides, it ends at what makes the other outputs of the network. None where no layer comes before the node.
    """
    ends, hosted = subject.once(_cut_of_tails)
    return ends if node in hosted else _cut(subject, (*subject.once(_refused_tails), node))[0]


def _cut_of_tails(subject: Subject) -> tuple[tuple[Node, ...], frozenset[Node]]:
    return _cut(subject, subject.once(_refused_tails))


def _cut(subject: Subject, nodes: Sequence[Node]) -> tuple[tuple[Node, ...], frozenset[Node]]:
    """Where the chip's part ends if these nodes are left to the host, and all that is left with them."""
    ends = ends_before(subject, nodes)
    hosted = frozenset({*nodes, *_between(subject, nodes, set(ends)), *_after(subject, *nodes)})
    outputs = (producer(subject, value) for value in subject.model.graph.outputs)
    others = (maker for maker in outputs if maker is not None and maker not in hosted)
    return (tuple(dict.fromkeys((*ends, *others))) if ends else ()), hosted


def _refused_tails(subject: Subject) -> tuple[Node, ...]:
    """The joins of heads, and what is refused with no layer behind it."""
    from irkit.checks.judge import verdicts  # which looks at heads in turn

    joins = [join for head in subject.once(heads) for join in head.joins]
    refused = (Status.UNSUPPORTED, Status.CONSTANT_ONLY)
    tails = [node for node, item in subject.once(verdicts) if item.status in refused]
    feeding = subject.once(feeding_layers)
    return (*joins, *(node for node in tails if node not in feeding))


def _head(subject: Subject, behind: set[Node], joins: list[Node]) -> Head:
    ends = ends_before(subject, joins)
    before = _between(subject, joins, set(ends))
    nodes = frozenset(behind | before | set(joins))
    layout = [node for node in subject.nodes if node in nodes and node.op in (*_FLATTENING, "Transpose")]
    first = [node for node in layout if not _follows(subject, node, set(layout), nodes)]
    return Head(ends, nodes, tuple(first), tuple(joins))


def _joins_maps(subject: Subject, concat: Node) -> bool:
    """Whether the Concat puts flattened maps of several sizes one after the other."""
    shape, axis = subject.shape(concat.output), concat.attr("axis")
    if shape is None or len(shape) > 4 or not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
        return False
    areas = set()
    for value in concat.inputs:
        inner = subject.shape(value) if value is not None else None
        size = inner[axis] if inner is not None and len(inner) == len(shape) else None
        area = _flattened_area(subject, value, size) if isinstance(size, int) else None
        if area is None:
            return False
        areas.add(area)
    return len(areas) > 1


def _flattened_area(subject: Subject, value: Value | None, size: int) -> int | None:
    """Height times width of the map that a value was flattened from; None where `size` is no multiple of it."""
    node = producer(subject, value)
    for _ in range(_MOST_STEPS):
        if node is None or is_layer(subject, node):
            return None
        before = shape_in(subject, node) if node.op in _FLATTENING else None
        if before is not None and len(before) == 4:
            return _area(subject, node, before, size)
        node = next(sources(subject, node), None)
    return None


def _area(subject: Subject, flattening: Node, shape: Shape, size: int) -> int | None:
    turned = producer(subject, flattening.input(0))
    last = turned is not None and turned.op == "Transpose" and permutation(turned) == (0, 2, 3, 1)
    pixels = [dim for dim in (shape[1:3] if last else shape[2:4]) if isinstance(dim, int)]
    area = math.prod(pixels)
    return area if len(pixels) == 2 and area > 0 and size % area == 0 else None


def _has_many_weights(subject: Subject, node: Node) -> bool:
    return is_layer(subject, node) and weights_of(subject, node) > FEW_WEIGHTS


def _after(subject: Subject, *nodes: Node) -> set[Node]:
    """The nodes that depend on one of these."""
    found: set[Node] = set()
    pending = list(nodes)
    while pending:
        for user in _users(subject, pending.pop()):
            if user not in found:
                found.add(user)
                pending.append(user)
    return found


def _users(subject: Subject, node: Node) -> Iterator[Node]:
    for user in node.successors:
        if user in subject.idle:
            yield from _users(subject, user)
        else:
            yield user


def _between(subject: Subject, joins: Sequence[Node], ends: set[Node]) -> set[Node]:
    """The nodes between the ends and the joins, neither included."""
    found: set[Node] = set()
    pending = [source for join in joins for source in sources(subject, join)]
    while pending:
        node = pending.pop()
        if node not in ends and node not in found:
            found.add(node)
            pending += sources(subject, node)
    return found - set(joins)


def _follows(subject: Subject, node: Node, layout: set[Node], within: frozenset[Node]) -> bool:
    """Whether one of the layout nodes lies before a node, inside the head."""
    pending, seen = list(sources(subject, node)), set[Node]()
    while pending:
        source = pending.pop()
        if source in layout:
            return True
        if source in within and source not in seen:
            seen.add(source)
            pending += sources(subject, source)
    return False
