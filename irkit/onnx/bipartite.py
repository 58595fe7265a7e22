"""A model as a bipartite networkx graph of values and nodes, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from irkit.attributes import Attr
from irkit.copying import Copier
from irkit.errors import GraphError, ModelError
from irkit.ir import Graph, Node, Value
from irkit.model import Function, Model
from irkit.onnx.lending import package
from irkit.tensor import SparseTensor, Tensor
from irkit.types import ValueType


def to_networkx(graph: Graph | Model) -> Any:
    """A graph, or a model's main graph, as a `networkx.MultiDiGraph`, which is bipartite.

    A vertex is a `Value` or a `Node` of irkit, with `kind` "value" or "node" and a `label`; nodes also have `op` (with
    its domain, as in "com.microsoft::Gelu"), `name` and `attrs`, plain values by name. Edges run from values to the
    nodes that read them and from nodes to the values they make, one for each input and output, with its `slot`; so
    `Mul(x, x)` has two edges from x. A node with nested graphs has an edge with `captured=True` from each value these
    read from outside; their own nodes are not in it. The graph's `inputs` and `outputs` are lists of vertices.

    It may be changed, and read back by `irkit.from_networkx`. Raises `MissingDependencyError` where networkx is not
    installed.
    """
    model, graph = (graph, graph.graph) if isinstance(graph, Model) else (graph.model, graph)
    view = package("networkx", "networkx").MultiDiGraph(name=graph.name)
    view.graph.update(inputs=list(graph.inputs), outputs=list(graph.outputs), model=model)
    for value in graph.values.values():
        view.add_node(value, kind="value", label=value.name)
    for node in graph:
        attrs = {name: attr if attr.ref else attr.value for name, attr in node.attrs.items()}
        view.add_node(node, kind="node", label=node.name or node.op_id, op=node.op_id, name=node.name, attrs=attrs)
        for slot, read in enumerate(node.inputs):
            if read is not None:
                view.add_node(read, kind="value", label=read.name)  # one of an outer graph may be new
                view.add_edge(read, node, slot=slot)
        for slot, made in enumerate(node.outputs):
            view.add_node(made, kind="value", label=made.name)
            view.add_edge(node, made, slot=slot)
    for value in graph.values.values():
        _add_captures(view, value, graph)
    return view


def _add_captures(view: Any, value: Any, graph: Graph) -> None:
    holders = {holder for user in value.users if (holder := _holder(user, graph)) is not user}
    for holder in sorted(holders, key=lambda node: node.name):
        view.add_edge(value, holder, captured=True)


def _holder(node: Any, graph: Graph) -> Any:
    """The node of `graph` that the node is nested in; itself where it is not."""
    while node.graph is not graph:
        node = node.graph.owner
        if node is None:
            raise GraphError(f"a value of graph {graph.name!r} is read outside of it")
    return node


def from_networkx(view: Any) -> Model:
    """The model of a graph that `irkit.to_networkx(model)` made, changed or not; it shares no part with that model.

    A vertex that was added may be anything hashable. One of kind "node" has an `op`, and may have a `name` and `attrs`;
    one of kind "value" is called by its `label`, else by itself, and where no node makes it, its `data` (an array or a
    `Tensor`) makes it a constant. What a graph does not hold (operator sets, functions, metadata) is the model's.

    Raises `ModelError` where it is no valid graph.
    """
    source = view.graph.get("model")
    if not isinstance(source, Model):
        raise ModelError("the networkx graph does not say what model it is of: irkit.to_networkx(model) makes one")
    return _Reader(view, source).model()


class _Reader:
    """Reads one view."""

    def __init__(self, view: Any, source: Model) -> None:
        self.view = view
        self.source = source
        self.graph = Graph(source.graph.name)
        self.graph.doc, self.graph.metadata = source.graph.doc, dict(source.graph.metadata)
        self.values: dict[Any, Value] = {}
        self.copier = Copier(self._captured)

    def model(self) -> Model:
        """The model: inputs, constants, nodes, outputs."""
        self._add_values()
        nodes = [vertex for vertex, data in self.view.nodes(data=True) if data.get("kind") == "node"]
        made = {vertex: self._node(vertex) for vertex in nodes}
        for vertex, node in made.items():
            node.set_inputs(self._inputs(vertex))
            for name, attr in self._attrs(vertex).items():
                node.set_attr(name, self.copier.attr(attr))
            self.graph.append(node)
        self.graph.set_outputs([self._value(vertex, "an output of the graph") for vertex in self.view.graph["outputs"]])
        try:
            self.graph.sort()
        except GraphError as error:
            raise ModelError(str(error)) from error
        return self._model()

    def _model(self) -> Model:
        source = self.source
        return Model(
            self.graph,
            opset_imports=source.opset_imports,
            ir_version=source.ir_version,
            functions=[self._function(function) for function in source.functions.values()],
            metadata=source.metadata,
            producer_name=source.producer_name,
            producer_version=source.producer_version,
            domain=source.domain,
            model_version=source.model_version,
            doc=source.doc,
        )

    def _function(self, function: Function) -> Function:
        parts = {**vars(function), "graph": Copier(self._captured).graph(function.graph)}
        domain, name, graph = (parts.pop(key) for key in ("domain", "name", "graph"))
        return Function(domain, name, graph, **parts)

    def _add_values(self) -> None:
        """Inputs and constants; what nodes make comes with them."""
        inputs = list(self.view.graph["inputs"])
        for vertex in inputs:
            self.values[vertex] = Value(self._label(vertex), _type_of(vertex))
        self.graph.set_inputs([self.values[vertex] for vertex in inputs])
        for vertex, data in self.view.nodes(data=True):
            if data.get("kind") not in ("value", "node"):
                raise ModelError(f"the vertex {vertex!r} has no kind: give it kind='node' or kind='value'")
            stored = self._stored(vertex, data) if data["kind"] == "value" else None
            if stored is not None and vertex in self.values:
                self.graph.add_default(self.values[vertex], stored)
            elif stored is not None and not any(True for _ in self.view.predecessors(vertex)):
                self.values[vertex] = self.graph.add_initializer(self._label(vertex), stored)

    def _stored(self, vertex: Any, data: Any) -> Tensor | SparseTensor | None:
        if "data" in data:
            return data["data"] if isinstance(data["data"], (Tensor, SparseTensor)) else Tensor.of(data["data"])
        return vertex.initializer if isinstance(vertex, Value) else None

    def _label(self, vertex: Any) -> str:
        label = self.view.nodes[vertex].get("label")
        return str(vertex) if label is None else str(label)

    def _node(self, vertex: Any) -> Node:
        """A node without inputs and attributes, and the values it makes."""
        data = self.view.nodes[vertex]
        if not data.get("op"):
            raise ModelError(f"the vertex {vertex!r} is a node without `op`")
        domain, _, op = data["op"].rpartition("::")
        outputs = _by_slot(self.view.out_edges(vertex, data=True), lambda edge: edge[1], f"outputs of {vertex!r}")
        names = ["" if made is None else self._label(made) for made in outputs]
        types = [None if made is None else _type_of(made) for made in outputs]
        node = Node(op, (), {}, names, domain=domain, name=str(data.get("name") or ""), types=types)
        if isinstance(vertex, Node) and any(map(bool, (getattr(vertex.extra, part) for part in _EXTRA))):
            node.extra = vertex.extra
        for made, value in zip(outputs, node.outputs, strict=True):
            if made is not None:
                if made in self.values:
                    raise ModelError(f"the value {value.name!r} is made twice")
                self.values[made] = value
        return node

    def _attrs(self, vertex: Any) -> dict[str, Attr]:
        """Its attributes; those that were not changed are the node's own."""
        own = vertex.attrs if isinstance(vertex, Node) else {}
        attrs = {}
        for name, item in self.view.nodes[vertex].get("attrs", {}).items():
            kept = own.get(name)
            if kept is not None and (kept is item or kept.value is item):
                attrs[name] = kept
            else:
                attrs[name] = item if isinstance(item, Attr) else Attr(name, item)
        return attrs

    def _inputs(self, vertex: Any) -> list[Value | None]:
        edges = [edge for edge in self.view.in_edges(vertex, data=True) if not edge[2].get("captured")]
        read = _by_slot(edges, lambda edge: edge[0], f"inputs of {vertex!r}")
        return [None if item is None else self._value(item, f"read by {vertex!r}") for item in read]

    def _value(self, vertex: Any, what: str) -> Value:
        if vertex not in self.values:
            raise ModelError(f"the value {self._label(vertex)!r}, {what}, is made by no node and has no data")
        return self.values[vertex]

    def _captured(self, value: Value) -> Value:
        """The value that a nested graph reads from outside."""
        found = self.values.get(value) or self.graph.values.get(value.name)
        if found is None:
            raise ModelError(f"the value {value.name!r}, which a nested graph reads, is no longer there")
        return found


_EXTRA = ("doc", "metadata", "overload", "unknown")


def _type_of(vertex: Any) -> ValueType | None:
    return vertex.type if isinstance(vertex, Value) else None


def _by_slot(edges: Any, end: Callable[[Any], Any], what: str) -> list[Any]:
    """The ends of edges by their slots; None for a slot that is left out."""
    by_slot: dict[int, Any] = {}
    for edge in edges:
        slot = edge[2].get("slot")
        if not isinstance(slot, int) or slot < 0 or slot in by_slot:
            problem = "two edges have one slot" if slot in by_slot else "an edge has no `slot`"
            raise ModelError(f"the {what}: {problem}; number them from 0")
        by_slot[slot] = end(edge)
    return [by_slot.get(slot) for slot in range(max(by_slot, default=-1) + 1)]
