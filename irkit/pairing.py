"""Which node of one graph is which node of another: by structure, by name, by origin.

Nodes that compute the same of the same are one, whatever they are called; so are those from which the same is computed
to the end. What is left between is paired by name, by its neighbours, by the values it makes and by origin. Constants
are data here, be they stored or given by a Constant node; they are held against each other only where nodes read them.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit import ops
from irkit.attributes import Attr
from irkit.ir import Graph, Node, Value
from irkit.tensor import SparseTensor, Tensor
from irkit.types import DType

if TYPE_CHECKING:
    from irkit.onnx.schema import AttributeSchema

_SAMPLES = 16

Pairs: TypeAlias = "dict[Node, Node]"
"""Nodes of the left graph, and what they are in the right one."""


def pair_nodes(left: Graph, right: Graph, outer: Mapping[Node, Node] | None = None) -> Pairs:
    """Pair the nodes of two graphs (those of nested graphs are left to the caller).

    Args:
        left: one graph.
        right: the other.
        outer: pairs of the graphs around them, whose values they may read.
    """
    pairing = _Pairing(computing_nodes(left), computing_nodes(right))
    ends = _common_inputs(left, right)
    pairing.values = _common_values(left, right, ends)
    for with_data in (True, False):
        ids = _Ids(with_data, ends, outer or {})
        pairing.by_key(ids.from_inputs(left), ids.from_inputs(right))
        pairing.by_key(ids.from_outputs(left), ids.from_outputs(right))
    pairing.by(lambda node: (node.op_id, node.name) if node.name else None)
    pairing.by_neighbours()
    pairing.by(lambda node: node.name or None)
    pairing.by(lambda node: next((value.name for value in node.outputs if value.name), None))
    pairing.by_origin()
    pairing.by_neighbours()
    return pairing.pairs


def computing_nodes(graph: Graph) -> list[Node]:
    """The nodes that are more than stored data."""
    return [node for node in graph if not is_data(node)]


def is_data(node: Node) -> bool:
    """Whether the node is nothing but a dense constant."""
    return node.op == "Constant" and not node.domain and node.output.constant is not None


def _common_inputs(left: Graph, right: Graph) -> dict[Value, Hashable]:
    """What stands for an input in both: its name where both have it, else its place."""
    names = {value.name for value in left.inputs} & {value.name for value in right.inputs}
    return {
        value: value.name if value.name in names else index
        for graph in (left, right)
        for index, value in enumerate(graph.inputs)
    }


def _common_values(left: Graph, right: Graph, ends: Mapping[Value, Hashable]) -> list[tuple[Value, Value]]:
    """Inputs and outputs that are one, and stored data of the same name, type and shape."""
    others = {ends[value]: value for value in right.inputs}
    pairs = [(value, others[ends[value]]) for value in left.inputs if ends[value] in others]
    names = {value.name: value for value in right.outputs}
    outputs = zip(left.outputs, right.outputs, strict=False)
    pairs += [(value, names.get(value.name, other)) for value, other in outputs]
    for name, value in left.initializers.items():
        other = right.initializers.get(name)
        if other is not None and other.type == value.type:
            pairs.append((value, other))
    return pairs


class _Ids:
    """Numbers for what nodes compute, the same in both graphs where that is the same."""

    def __init__(self, with_data: bool, inputs: Mapping[Value, Hashable], outer: Mapping[Node, Node]) -> None:
        self._with_data = with_data
        self._inputs = inputs
        self._outer = {right: left for left, right in outer.items()}
        self._numbers: dict[Hashable, int] = {}
        self._own: dict[Node, int] = {}

    def from_inputs(self, graph: Graph) -> dict[Node, int]:
        """For each node, a number for all that it is computed of."""
        found: dict[Node, int] = {}
        for node in graph:
            read = tuple(None if value is None else self._source(value, found) for value in node.inputs)
            found[node] = self._number(("down", self._kind(node), read))
        return found

    def from_outputs(self, graph: Graph) -> dict[Node, int]:
        """For each node, a number for all that is computed of it."""
        found: dict[Node, int] = {}
        for node in reversed(graph):
            uses = tuple(self._uses(value, graph, found) for value in node.outputs)
            data = tuple(self._data(value) for value in node.inputs)
            found[node] = self._number(("up", self._kind(node), data, uses))
        return found

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _source(self, value: Value, found: Mapping[Node, int]) -> Hashable:
        data = self._data(value)
        if data is not None:
            return data
        if value in self._inputs:
            return "input", self._inputs[value]
        maker = value.producer
        if maker is not None and maker in found:
            return found[maker], value.index
        return "outer", self._outer.get(maker, maker) if maker is not None else value.name, value.index

    def _data(self, value: Value | None) -> Hashable:
        if value is None or value.constant is None:
            return None
        return data_key(value.constant, self._with_data)

    def _uses(self, value: Value, graph: Graph, found: Mapping[Node, int]) -> Hashable:
        ends = tuple(index for index, output in enumerate(graph.outputs) if output is value)
        return ends, tuple(sorted((found.get(user, -1), slot) for user, slot in value.uses))

    def _kind(self, node: Node) -> int:
        """A number for the operator with its attributes."""
        if node not in self._own:
            attrs = tuple(sorted(((a.name, attr_key(a, self._with_data)) for a in said(node)), key=repr))
            self._own[node] = self._number(("kind", node.op_id, node.extra.overload, attrs, len(node.outputs)))
        return self._own[node]


def said(node: Node) -> list[Attr]:
    """The attributes that say something else than they would if left out."""
    if not node.attrs:
        return []
    schema = ops.schema_of(node)
    known = schema.attributes if schema is not None else {}
    return [attr for attr in node.attrs.values() if attr.ref or attr.name not in known or not _is_default(attr, known)]


def _is_default(attr: Attr, known: Mapping[str, AttributeSchema]) -> bool:
    default = known[attr.name].default
    return default is not None and Attr(attr.name, default, attr.kind) == attr


def data_key(data: Tensor, with_data: bool = True) -> Hashable:
    """What tells tensors apart without reading all of them: type and shape, and a few elements."""
    if not with_data or data.dtype == DType.STRING:
        return data.dtype, data.shape
    if data.is_splat:
        flat = data.splat_value.reshape(1).repeat(min(data.size, _SAMPLES))
    else:
        flat = data.numpy().reshape(-1)
        flat = flat[:: -(-flat.size // _SAMPLES)] if flat.size > _SAMPLES else flat
    return data.dtype, data.shape, flat[:_SAMPLES].tobytes()


def attr_key(attr: Attr, with_data: bool = True) -> Hashable:
    """What tells attributes apart; of nested graphs, which operators they hold."""
    return attr.kind, attr.ref, _plain(attr.value, with_data) if not attr.ref else ""


def _plain(item: Any, with_data: bool) -> Hashable:
    if isinstance(item, tuple):
        return tuple(_plain(one, with_data) for one in item)
    if isinstance(item, Tensor):
        return data_key(item, with_data)
    if isinstance(item, SparseTensor):
        return item.shape, data_key(item.values, with_data), data_key(item.indices, with_data)
    if isinstance(item, Graph):
        return tuple(node.op_id for node in item.walk())
    return struct.pack("<d", item) if isinstance(item, float) else str(item)


class _Pairing:
    def __init__(self, left: Iterable[Node], right: Iterable[Node]) -> None:
        self.left = dict.fromkeys(left)
        self.right = dict.fromkeys(right)
        self.pairs: Pairs = {}
        self.values: list[tuple[Value, Value]] = []

    def join(self, one: Node, other: Node) -> None:
        self.pairs[one] = other
        del self.left[one], self.right[other]

    def by_key(self, left: Mapping[Node, Hashable], right: Mapping[Node, Hashable]) -> None:
        """Pair nodes of equal keys: those of the same name first, the rest in order."""
        found: dict[Hashable, list[Node]] = defaultdict(list)
        for node in self.right:
            found[right[node]].append(node)
        groups: dict[Hashable, list[Node]] = defaultdict(list)
        for node in self.left:
            groups[left[node]].append(node)
        for key, ones in groups.items():
            others = {node.name: node for node in reversed(found.get(key, ()))}
            rest = [node for node in ones if not (node.name in others and self._joined(node, others.pop(node.name)))]
            free = [node for node in found.get(key, ()) if node in self.right]
            for one, other in zip(rest, free, strict=False):
                self.join(one, other)

    def _joined(self, one: Node, other: Node) -> bool:
        self.join(one, other)
        return True

    def by(self, key: Callable[[Node], Hashable]) -> None:
        """Pair nodes whose key, which is not None, is the same and is had by no other that is left."""
        left, right = self._unique(self.left, key), self._unique(self.right, key)
        for name in left:
            if name in right:
                self.join(left[name], right[name])

    @staticmethod
    def _unique(nodes: Iterable[Node], key: Callable[[Node], Hashable]) -> dict[Hashable, Node]:
        found: dict[Hashable, list[Node]] = defaultdict(list)
        for node in nodes:
            found[key(node)].append(node)
        return {name: group[0] for name, group in found.items() if name is not None and len(group) == 1}

    def by_origin(self) -> None:
        """Pair a node with the first that stands for it."""
        stands: dict[str, Node] = {}
        for node in self.right:
            for name in node.origin:
                stands.setdefault(name, node)
        for node in list(self.left):
            other = next((stands[name] for name in (node.name, *node.origin) if name in stands), None)
            if other is not None and other in self.right:
                self.join(node, other)

    def by_neighbours(self) -> None:
        """Pair nodes of the same operator that are read by, or read, nodes that are one, at the same place."""
        queue = deque([*self.values])
        for one, other in self.pairs.items():
            queue += self._values_at(one, other)
        while queue:
            for near, far in self._around(*queue.popleft()):
                if near in self.left and far in self.right:
                    self.join(near, far)
                    queue += self._values_at(near, far)

    @staticmethod
    def _values_at(one: Node, other: Node) -> list[tuple[Value, Value]]:
        """What two nodes that are one read and make, place by place."""
        pairs = [*zip(one.outputs, other.outputs, strict=False), *zip(one.inputs, other.inputs, strict=False)]
        return [(a, b) for a, b in pairs if a is not None and b is not None]

    def _around(self, a: Value, b: Value) -> list[tuple[Node, Node]]:
        """The nodes that make and read two values that are one, as far as it is plain which is which."""
        made = [(a.producer, b.producer)] if a.producer is not None and b.producer is not None else []
        found = [(one, other) for one, other in made if one.op_id == other.op_id]
        left, right = _readers(a, self.left), _readers(b, self.right)
        return found + [(node, right[place]) for place, node in left.items() if place in right]


def _readers(value: Value, among: Mapping[Node, None]) -> dict[Hashable, Node]:
    """Those of the nodes that read a value, by operator and place, where one alone reads it so."""
    found: dict[Hashable, list[Node]] = defaultdict(list)
    for node in value.users:
        if node in among:
            found[node.op_id, node.inputs.index(value) if value in node.inputs else -1].append(node)
    return {place: nodes[0] for place, nodes in found.items() if len(nodes) == 1}
