"""What layers cost: multiply-accumulates and weight bytes, from shapes alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from irkit.ir import Graph, Node

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Cost:
    """Multiply-accumulates of one inference; bytes and elements of constant operands."""

    macs: int = 0
    weight_bytes: int = 0
    parameters: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.weight_bytes + other.weight_bytes, self.parameters + other.parameters)


def layer_costs(graph: Graph) -> dict[str, Cost]:
    """Cost of every layer of a graph by node name; layers of unknown shape count their weights only."""
    return {node.name: _cost(node) for node in graph if node.op in LAYERS and not node.domain}


def total_cost(costs: Mapping[str, Cost]) -> Cost:
    """The sum of the costs that `layer_costs` gives."""
    return sum(costs.values(), Cost())


def _cost(node: Node) -> Cost:
    constants = [value.constant for value in node.inputs if value is not None and value.constant is not None]
    return Cost(_macs(node), sum(data.nbytes for data in constants), sum(data.size for data in constants))


def _macs(node: Node) -> int:
    shapes = [value.shape if value is not None else None for value in (node.input(0), node.input(1), node.output)]
    numbers = [[dim for dim in shape if isinstance(dim, int)] if shape is not None else [] for shape in shapes]
    if any(shape is None or len(shape) != len(found) for shape, found in zip(shapes, numbers, strict=True)):
        return 0
    data, weights, out = numbers
    if node.op == "Conv":
        return math.prod(out) * math.prod(weights[1:])
    if node.op == "ConvTranspose":
        return math.prod(data) * math.prod(weights[1:])
    summed = data[0 if node.op == "Gemm" and node.attr("transA", 0) else -1]
    return math.prod(out) * summed
