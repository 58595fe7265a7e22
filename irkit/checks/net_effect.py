"""What a chain of Reshape, Transpose, Flatten, Squeeze and Unsqueeze does as a whole, worked out from shapes.

Each axis of a tensor is written as a product of factors of the axes that the chain began with. A Reshape regroups the
factors, and splits one where it has to; a Transpose orders the axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from irkit.checks.cuts import producer
from irkit.identities import permutation
from irkit.ir import Node
from irkit.linter import Subject
from irkit.types import is_static

LAYOUT = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"})
_NAMES = {3: "NXY", 4: "NCHW"}
"""Of the axes at the beginning; of other ranks they go by the alphabet."""


@dataclass(frozen=True)
class _Factor:
    """A part of an axis that the chain began with: `name` and `size`."""

    name: str
    size: int


_Axes = list[list[_Factor]]


@dataclass(frozen=True)
class Chain:
    """Layout nodes one after the other, with shapes before and after, and what they do in words ("" where unknown)."""

    nodes: tuple[Node, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    effect: str


def chain_of(subject: Subject, node: Node) -> Chain | None:
    """The longest chain of layout nodes around a node, each read by the next alone; None where shapes are not known."""
    nodes = [node]
    while (source := producer(subject, nodes[0].input(0))) is not None and _next(subject, source) is nodes[0]:
        nodes.insert(0, source)
    while (user := _next(subject, nodes[-1])) is not None:
        nodes.append(user)
    first = nodes[0].input(0)
    before = subject.shape(first) if first is not None else None
    after = subject.shape(nodes[-1].output)
    if not is_static(before) or not is_static(after) or before is None or after is None:
        return None
    sizes, result = tuple(map(int, before)), tuple(map(int, after))  # type: ignore[arg-type]  # static
    return Chain(tuple(nodes), sizes, result, _effect(subject, nodes, sizes))


def _next(subject: Subject, node: Node) -> Node | None:
    """The next node of a chain; None where the node, or the only one that reads its result, is none of layout."""
    if node.op not in LAYOUT or node.domain or node.output.is_graph_output or node.output.use_count != 1:
        return None
    user = node.output.users[0]
    while user in subject.idle:
        if user.output.is_graph_output or user.output.use_count != 1:
            return None
        user = user.output.users[0]
    return user if user.op in LAYOUT and not user.domain else None


def _effect(subject: Subject, nodes: Sequence[Node], before: Sequence[int]) -> str:
    names = _NAMES.get(len(before), "ABCDEFGH"[: len(before)])
    if len(names) < len(before):
        return ""
    axes: _Axes = [[_Factor(name, size)] if size != 1 else [] for name, size in zip(names, before, strict=True)]
    begun = [list(axis) for axis in axes]
    for node in nodes:
        after = subject.shape(node.output) or ()
        moved = _moved(node, axes, [dim for dim in after if isinstance(dim, int)], begun)
        if moved is None:
            return ""
        axes = moved
    return _in_words(names, begun, axes)


def _moved(node: Node, axes: _Axes, after: Sequence[int], begun: _Axes) -> _Axes | None:
    """The axes behind a node; None where they cannot be told. Factors that it splits are split in `begun` too."""
    if node.op == "Transpose":
        perm = permutation(node)
        return [axes[axis] for axis in perm] if perm is not None and len(perm) == len(axes) else None
    return _regrouped([factor for axis in axes for factor in axis], after, begun)


def _regrouped(factors: list[_Factor], shape: Sequence[int], begun: _Axes) -> _Axes | None:
    """The factors, in their order, dealt out to axes of these sizes; one that spans two axes is split."""
    pending, axes = list(factors), []
    for size in shape:
        group: list[_Factor] = []
        while math.prod(factor.size for factor in group) < size:
            room = size // math.prod(factor.size for factor in group)
            if not pending or room < 2:
                return None
            factor = pending.pop(0)
            if factor.size > room:
                outer, inner = _split(factor, room, begun)
                if inner is None:
                    return None
                pending.insert(0, inner)
                factor = outer
            group.append(factor)
        if math.prod(factor.size for factor in group) != size:
            return None
        axes.append(group)
    return axes if not pending else None


def _split(factor: _Factor, outer: int, begun: _Axes) -> tuple[_Factor, _Factor | None]:
    if factor.size % outer:
        return factor, None
    parts = (_Factor(f"{factor.name}1", outer), _Factor(f"{factor.name}2", factor.size // outer))
    for axis in begun:
        if factor in axis:
            at = axis.index(factor)
            axis[at : at + 1] = parts
    return parts


def _in_words(names: str, begun: _Axes, axes: _Axes) -> str:
    """`splits C into 2 x 4, permutes NCHW to N(HW)C, merges H and W`."""
    if begun == axes:
        return "leaves the tensor as it was"
    result = [factor for axis in axes for factor in axis]
    parts = [
        f"splits {axis[0].name.rstrip('0123456789')} into {' x '.join(str(factor.size) for factor in axis)}"
        for axis in begun
        if len(axis) > 1
    ]
    if [factor for axis in begun for factor in axis] != result:
        parts.append(f"permutes {names} to {_spelled(names, begun, axes)}")
    parts += [f"merges {' and '.join(factor.name for factor in axis)}" for axis in axes if len(axis) > 1]
    return ", ".join(parts) or "only adds or drops axes of size 1"


def _spelled(names: str, begun: _Axes, axes: _Axes) -> str:
    """The axes by the names of their factors; an axis of size 1 is 1, but for a batch that stays in front."""
    texts = [
        "1" if not axis else axis[0].name if len(axis) == 1 else f"({''.join(f.name for f in axis)})" for axis in axes
    ]
    if axes and not axes[0] and not begun[0]:
        texts[0] = names[0]
    return "".join(texts)
