"""Elementwise regions with one input, and the function of one variable that such a region computes.

A function that exporters write in many ways (a GELU, say) is found by what it computes, not by how it is written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from irkit import fold
from irkit.ir import Node, Value
from irkit.literals import uniform_number
from irkit.tensor import Tensor
from irkit.types import DType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_CASTS = ("Cast", "CastLike", "Identity")


@dataclass(frozen=True, eq=False)
class Region:
    """Elementwise nodes that compute `output` of nothing but `x` and uniform constants.

    Attributes: `nodes` are in an order in which each comes before what it reads, the one that makes `output` first;
    `joins` tells that some node reads two values that depend on `x`, so that it is no mere chain.
    """

    x: Value
    output: Value
    nodes: tuple[Node, ...]
    joins: bool

    @property
    def keeps_type(self) -> bool:
        """Whether the output has the element type and, as far as is known, the shape of `x`."""
        return self.x.dtype == self.output.dtype and _no_larger(self.x, self.nodes)

    def evaluate(self, points: Array) -> Array | None:
        """The function at these points, float64 throughout (casts between floats count as none); None if not known."""
        import numpy as np

        known: dict[Value, Tensor] = {self.x: Tensor.of(np.asarray(points, np.float64))}
        for node in reversed(self.nodes):
            inputs = [_operand(value, known) for value in node.inputs]
            if node.op in _CASTS:
                result = inputs[0] if _keeps_floats(node) else None
            else:
                with np.errstate(all="ignore"):
                    results = fold.evaluate(node, inputs)
                result = results[0] if results else None
            if result is None or not result.dtype.is_float:
                return None
            known[node.output] = result
        return np.broadcast_to(known[self.output].numpy(), np.shape(points))


def regions(root: Node, limit: int = 24) -> Iterator[Region]:
    """The regions of up to `limit` nodes that compute the root's output, smallest first."""
    cone = _cone(root, limit)
    readers = dict.fromkeys(cone, 0)
    for node in cone:
        for source in {value.producer for value in _variables(node)}:
            if source in readers:
                readers[source] += 1
    taken: list[Node] = []
    joins = False
    frontier = {root.output}
    ready = [root]
    while ready:
        node = ready.pop()
        taken.append(node)
        frontier.discard(node.output)
        inputs = _variables(node)
        joins = joins or len(inputs) > 1
        frontier.update(inputs)
        for source in {value.producer: None for value in inputs}:
            if source in readers:
                readers[source] -= 1
                if not readers[source]:
                    ready.append(source)
        if len(frontier) == 1:
            yield Region(next(iter(frontier)), root.output, tuple(taken), joins)


def is_elementwise(node: Node) -> bool:
    """Whether the node works element by element, and can be evaluated."""
    if node.domain or len(node.outputs) != 1:
        return False
    return node.op in _CASTS or fold.is_elementwise(node)


def _cone(root: Node, limit: int) -> list[Node]:
    """The elementwise nodes of the root's graph that it is computed of, nearest first."""
    if not is_elementwise(root):
        return []
    cone = {root: None}
    queue = deque([root])
    while queue and len(cone) < limit:
        for value in _variables(queue.popleft()):
            node = value.producer
            if node is not None and node not in cone and node.graph is root.graph and is_elementwise(node):
                cone[node] = None
                queue.append(node)
    return list(cone)


def _variables(node: Node) -> list[Value]:
    """The inputs that are no uniform constants, each once. (A CastLike reads only the type of its second.)"""
    inputs = node.inputs[:1] if node.op in _CASTS else node.inputs
    return list(dict.fromkeys(value for value in inputs if value is not None and _number(value) is None))


def _number(value: Value) -> float | None:
    return uniform_number(value.constant) if value.constant is not None else None


def _keeps_floats(node: Node) -> bool:
    """Whether an Identity or a cast hands floats on as floats."""
    if node.op == "Cast":
        return DType(node.attr("to", 0)).is_float
    like = node.inputs[-1]
    return like is not None and like.dtype is not None and like.dtype.is_float


def _operand(value: Value | None, known: dict[Value, Tensor]) -> Tensor | None:
    if value is None or value in known:
        return known[value] if value is not None else None
    number = _number(value)
    return Tensor.splat(number, (), DType.FLOAT64) if number is not None else None


def _no_larger(x: Value, nodes: tuple[Node, ...]) -> bool:
    """Whether no constant makes the result larger than `x` by broadcasting."""
    shape = x.shape
    for node in nodes:
        for value in node.inputs:
            tensor = value.constant if value is not None else None
            if tensor is None or not tensor.rank:
                continue
            if shape is None or tensor.rank > len(shape):
                return False
            tail = shape[len(shape) - tensor.rank :]
            if any(size not in (1, dim) for size, dim in zip(tensor.shape, tail, strict=True)):
                return False
    return True
