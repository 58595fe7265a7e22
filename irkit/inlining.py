"""Copying the body of a function to where it is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from irkit.attributes import Attr
from irkit.errors import ModelError
from irkit.ir import Graph, Node, NodeExtra, Value
from irkit.model import Function, Model


def called_function(model: Model, node: Node) -> Function | None:
    """The function of the model that the node calls, or None where it is an operator."""
    if not model.functions:
        return None
    return model.functions.get((node.domain, node.op, node.extra.overload))


def called_functions(model: Model, graph: Graph) -> list[Function]:
    """The functions that nodes of the graph call, directly or through each other, callers first.

    Raises `ModelError` where functions call themselves in a circle.
    """
    order: dict[Function, None] = {}
    path: list[Function] = []

    def visit(graph: Graph) -> None:
        for function in _direct_calls(model, graph):
            if function in path:
                circle = " -> ".join(item.name for item in [*path[path.index(function) :], function])
                raise ModelError(
                    f"function {function.domain}::{function.name} calls itself ({circle}); ONNX forbids that"
                )
            if function not in order:
                path.append(function)
                visit(function.graph)
                path.pop()
                order[function] = None

    visit(graph)
    return list(reversed(order))


def _direct_calls(model: Model, graph: Graph) -> Iterator[Function]:
    calls = (called_function(model, node) for node in graph.walk())
    return iter(dict.fromkeys(function for function in calls if function is not None))


def inline_call(call: Node, function: Function) -> list[Node]:
    """Replace a call by the function's body, and return the new nodes.

    What the function made takes over the names of the call's outputs; all else is named `<call>/<name in the body>`.
    New nodes keep their own metadata where the call's says otherwise, and their origin starts with the call's.

    Raises `ModelError` where the call does not fit the function's signature.
    """
    graph = call.graph
    assert graph is not None
    model = graph.model
    assert model is not None
    _check_call(call, function)
    values: dict[Value, Value | None] = {formal: call.input(i) for i, formal in enumerate(function.graph.inputs)}
    copier = _Copier(model, call, _actual_attributes(call, function), values)
    copies = [graph.insert(copier.node(node), before=call) for node in function.graph]
    outputs = [copier.values.get(value, value) for value in function.graph.outputs]
    return [*copies, *replace_node(call, outputs[: len(call.outputs)], copies)]


def inline_branch(node: Node, branch: Graph) -> list[Node]:
    """Replace a node by the nodes of a graph nested in it that has no inputs, as a branch of an If has none.

    Names are given as by `inline_call`. Returns the new nodes.
    """
    graph = node.graph
    assert graph is not None
    model = graph.model
    assert model is not None
    copier = _Copier(model, node, {}, {})
    for value in branch.initializers.values():
        assert value.initializer is not None
        copier.values[value] = graph.add_initializer(f"{copier.prefix}{value.name}", value.initializer)
    copies = [graph.insert(copier.node(inner), before=node) for inner in branch]
    outputs = [copier.values.get(value, value) for value in branch.outputs]
    return [*copies, *replace_node(node, outputs[: len(node.outputs)], copies)]


def replace_node(node: Node, values: Sequence[Value | None], made: Iterable[Node]) -> list[Node]:
    """Remove a node, and let one value for each of its outputs take the output's readers and its name.

    Only values of the nodes `made` for this purpose, and each for one output only, can take a name; others have one to
    keep, and an Identity node copies them. The copies are returned.
    """
    graph = node.graph
    assert graph is not None
    free = {value for item in made if item.graph is graph for value in item.outputs}
    copies: list[Node] = []
    results: dict[Value, Value] = {}
    for old, new in zip(node.outputs, values, strict=True):
        if not old.name:
            continue
        if new is None:
            raise ModelError(f"node {node.name!r}: nothing gives its output {old.name!r}")
        if new not in free:
            copies.append(graph.insert(Node("Identity", [new], name=f"{node.name}/Identity"), before=node))
            copies[-1].set_origin([node])
            new = copies[-1].output
        free.discard(new)
        results[new] = old
    for new, old in results.items():
        if new.type is None or new.shape is None:
            new.type = old.type
        graph.replace_value(old, new)
    names = {new: old.name for new, old in results.items() if not new.is_graph_output}
    graph.remove(node)
    for new, name in names.items():
        new.name = name
    return copies


def prefix_of(node: Node) -> str:
    """How the names of nodes and values start that replace the node."""
    return f"{node.name or node.op}/"


def _check_call(call: Node, function: Function) -> None:
    for what, given, declared in (
        ("inputs", call.inputs, function.graph.inputs),
        ("outputs", call.outputs, function.graph.outputs),
    ):
        if len(given) > len(declared):
            raise ModelError(
                f"node {call.name!r} calls function {function.name!r} with {len(given)} {what}; it has {len(declared)}"
            )


def _actual_attributes(call: Node, function: Function) -> dict[str, Attr]:
    return {**{attr.name: attr for attr in function.defaults}, **call.attrs}


class _Copier:
    """Copies nodes and graphs of a function's body, with formal inputs and attributes replaced by those of a call."""

    def __init__(
        self, model: Model, call: Node, attributes: Mapping[str, Attr], values: dict[Value, Value | None]
    ) -> None:
        self.model = model
        self.call = call
        self.attributes = attributes
        self.values = values
        self.prefix = prefix_of(call)

    def node(self, source: Node) -> Node:
        name = self.model.fresh_node_name(f"{self.prefix}{source.name or source.op}")
        node = Node(
            source.op,
            [None if value is None else self.values.get(value, value) for value in source.inputs],
            {attr.name: attr for attr in map(self._attribute, source.attrs.values()) if attr is not None},
            [self.value_name(value) for value in source.outputs],
            domain=source.domain,
            name=name,
            types=[value.type for value in source.outputs],
        )
        self.values.update(zip(source.outputs, node.outputs, strict=True))
        node.set_origin([self.call, node] if source.name else [self.call])
        metadata, doc = {**self.call.metadata, **source.metadata}, source.extra.doc or self.call.extra.doc
        if metadata or doc or source.extra.overload or source.extra.unknown:
            node.extra = NodeExtra(doc, metadata, source.extra.overload, source.extra.unknown)
        return node

    def value_name(self, value: Value) -> str:
        return self.model.fresh_name(f"{self.prefix}{value.name}") if value.name else ""

    def _attribute(self, attr: Attr) -> Attr | None:
        """The attribute as the call sees it; None where it refers to one that the call leaves out."""
        given = attr
        if attr.ref:
            if attr.ref not in self.attributes:
                return None
            given = self.attributes[attr.ref]
            if given.name == attr.name and not given.graphs:
                return given
        graphs = tuple(self._graph(graph) for graph in given.graphs)
        if graphs:
            return Attr(attr.name, graphs if isinstance(given.value, tuple) else graphs[0], given.kind)
        return Attr(attr.name, given.value, given.kind, ref=given.ref) if attr.ref else attr

    def _graph(self, source: Graph) -> Graph:
        graph = Graph(source.name)
        graph.doc, graph.metadata, graph.extra = source.doc, dict(source.metadata), source.extra
        for value in source.initializers.values():
            assert value.initializer is not None
            self.values[value] = graph.add_initializer(self.value_name(value), value.initializer)
        for value in source.inputs:
            self.values.setdefault(value, Value(self.value_name(value), value.type))
        graph.set_inputs(new for value in source.inputs if (new := self.values[value]) is not None)
        for node in source:
            graph.append(self.node(node))
        outputs = (self.values.get(value, value) for value in source.outputs)
        graph.set_outputs(value for value in outputs if value is not None)
        return graph
