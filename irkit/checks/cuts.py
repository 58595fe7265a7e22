"""Where the part of a network that runs on the chip can end, so that given nodes are left to the host."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from irkit.ir import Node, Value
from irkit.linter import Subject

_ACTIVATIONS = frozenset({
    "Sigmoid", "Relu", "LeakyRelu", "PRelu", "HardSigmoid", "HardSwish", "Tanh", "Clip", "Elu", "BatchNormalization",
})  # fmt: skip
_ARITHMETIC = frozenset({"Add", "Sub", "Mul", "Div"})
_LAYOUT = frozenset({"Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze"})
_LISTED = 24

FEW_WEIGHTS = 64
"""A layer with more tells that a network goes on behind it; the one that decodes YOLO's boxes has 16."""


def ends_before(subject: Subject, nodes: Iterable[Node]) -> tuple[Node, ...]:
    """The nodes to end at so that none of the given ones is left on the chip, in the order of the graph.

    Each branch is followed back to its last layer with weights, together with what is computed of it elementwise, as
    the networks of Hailo's Model Zoo are cut. A convolution behind a Reshape or Transpose belongs to the decoding of
    detections, and is passed by, where there is a layer before it. None where a branch starts at the input.
    """
    return subject.once(_Ends).of(nodes)


def feeding_layers(subject: Subject) -> frozenset[Node]:
    """The nodes that some layer depends on, those excepted that belong to the decoding of detections."""
    found: set[Node] = set()
    pending = [node for node in subject.nodes if is_layer(subject, node) and weights_of(subject, node) > FEW_WEIGHTS]
    while pending:
        for source in sources(subject, pending.pop()):
            if source not in found:
                found.add(source)
                pending.append(source)
    return frozenset(found)


def producer(subject: Subject, value: Value | None) -> Node | None:
    """The node that computes a value, behind those that do nothing; None for inputs and constants."""
    while value is not None and value.producer is not None and not subject.is_constant(value):
        if value.producer not in subject.idle:
            return value.producer
        value = subject.idle[value.producer]
    return None


def sources(subject: Subject, node: Node) -> Iterator[Node]:
    """The nodes whose results a node reads."""
    for value in node.reads():
        source = producer(subject, value)
        if source is not None and source.graph is subject.model.graph:
            yield source


def is_behind_a_layer(subject: Subject, value: Value) -> bool:
    """Whether a layer with weights takes part in computing a value."""
    seen: set[Node] = set()
    pending = [producer(subject, value)]
    while pending:
        node = pending.pop()
        if node is not None and node not in seen:
            if is_layer(subject, node):
                return True
            seen.add(node)
            pending += sources(subject, node)
    return False


def named(nodes: Iterable[Node]) -> str:
    """Names of nodes for a message, at most 24."""
    names = [f"`{node.name}`" if node.name else f"the {node.op} that makes `{node.output.name}`" for node in nodes]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def is_layer(subject: Subject, node: Node) -> bool:
    """Whether the node has weights that the chip would hold."""
    if node.domain or node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return False
    weight = node.input(1)
    return weight is not None and subject.is_constant(weight)


def weights_of(subject: Subject, layer: Node) -> int:
    """How many weights a layer has, biases not counted."""
    weight = layer.input(1)
    shape = subject.shape(weight) if weight is not None else None
    return math.prod(dim for dim in shape if isinstance(dim, int)) if shape is not None else 0


class _Ends:
    """The answers to `ends_before` about one subject; what is known of a node is worked out once."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._layers: dict[Node, Node | None] = {}
        self._behind_layout: dict[Node, bool] = {}

    def of(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        given = list(nodes)
        found = self._walk(given, strict=True) or self._walk(given, strict=False)
        order = {node: index for index, node in enumerate(self.subject.nodes)}
        return tuple(sorted(found, key=lambda node: order.get(node, -1)))

    def _walk(self, nodes: list[Node], *, strict: bool) -> set[Node]:
        ends: set[Node] = set()
        seen = set(nodes)
        pending = [source for node in nodes for source in sources(self.subject, node)]
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            layer = self._layer_of(node)
            if layer is not None and not (strict and self._is_behind_layout(layer)):
                ends.add(node)
            else:
                pending += sources(self.subject, node)
        return ends

    def _layer_of(self, node: Node) -> Node | None:
        """The one layer that a node's result is computed of, elementwise; None where it is not that."""
        if node not in self._layers:
            self._layers[node] = None  # an answer for nodes that are being looked at
            self._layers[node] = self._find_layer(node)
        return self._layers[node]

    def _find_layer(self, node: Node) -> Node | None:
        if is_layer(self.subject, node):
            return node
        if node.domain or node.op not in _ACTIVATIONS | _ARITHMETIC or not self._has_narrow_constants(node):
            return None
        layers = {self._layer_of(source) for source in sources(self.subject, node)}
        computed = [value for value in node.reads() if not self.subject.is_constant(value)]
        from_nodes = all(producer(self.subject, value) is not None for value in computed)
        return layers.pop() if from_nodes and len(layers) == 1 else None

    def _has_narrow_constants(self, node: Node) -> bool:
        """Whether the constants it reads are numbers, or one number a channel: a grid of positions is not."""
        constants = [self.subject.shape(value) for value in node.reads() if self.subject.is_constant(value)]
        return all(shape is not None and sum(dim != 1 for dim in shape) <= 1 for shape in constants)

    def _is_behind_layout(self, layer: Node) -> bool:
        """Whether a convolution reads something that came through a Reshape or Transpose since the layer before."""
        if layer.op not in ("Conv", "ConvTranspose"):
            return False
        if layer not in self._behind_layout:
            self._behind_layout[layer] = self._meets_layout(layer)
        return self._behind_layout[layer]

    def _meets_layout(self, layer: Node) -> bool:
        seen: set[Node] = set()
        pending = list(sources(self.subject, layer))
        while pending:
            node = pending.pop()
            if node in seen or is_layer(self.subject, node):
                continue
            if node.op in _LAYOUT and not node.domain:
                return True
            seen.add(node)
            pending += sources(self.subject, node)
        return False
