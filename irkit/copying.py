"""Copies of nodes and of the graphs nested in them, for a graph or a model other than their own. Names are kept."""

from __future__ import annotations

from collections.abc import Callable

from irkit.attributes import Attr
from irkit.ir import Graph, Node, Value


class Copier:
    """Copies nodes one after the other; a copy reads the copies made before it.

    Args:
        outside: gives the value to read for one that no node copied so far makes.
    """

    def __init__(self, outside: Callable[[Value], Value]) -> None:
        self.values: dict[Value, Value] = {}
        self._outside = outside

    def value(self, source: Value | None) -> Value | None:
        """What a copy reads in the place of `source`."""
        if source is None:
            return None
        found = self.values.get(source)
        return self._outside(source) if found is None else found

    def node(self, source: Node) -> Node:
        """A copy that is in no graph yet, with all that the node carries."""
        node = Node(
            source.op,
            [self.value(value) for value in source.inputs],
            self.attrs(source),
            [value.name for value in source.outputs],
            domain=source.domain,
            name=source.name,
            types=[value.type for value in source.outputs],
        )
        extra = source.extra
        if extra.doc or extra.metadata or extra.overload or extra.unknown:
            node.extra = extra
        self.values.update(zip(source.outputs, node.outputs, strict=True))
        return node

    def attrs(self, source: Node) -> dict[str, Attr]:
        """The attributes; those that hold graphs are copies."""
        return {name: self.attr(attr) for name, attr in source.attrs.items()}

    def attr(self, source: Attr) -> Attr:
        """The attribute; a copy where it holds graphs."""
        graphs = tuple(map(self.graph, source.graphs))
        if not graphs:
            return source
        return Attr(source.name, graphs if isinstance(source.value, tuple) else graphs[0], source.kind)

    def graph(self, source: Graph) -> Graph:
        """A copy of a nested graph."""
        graph = Graph(source.name)
        graph.doc, graph.metadata, graph.extra = source.doc, dict(source.metadata), source.extra
        for value in source.inputs:
            self.values[value] = Value(value.name, value.type)
        graph.set_inputs([self.values[value] for value in source.inputs])
        for value in source.initializers.values():
            assert value.initializer is not None
            if value.is_graph_input:
                graph.add_default(self.values[value], value.initializer)
            else:
                self.values[value] = graph.add_initializer(value.name, value.initializer)
        for node in source:
            graph.append(self.node(node))
        graph.set_outputs([value for value in map(self.value, source.outputs) if value is not None])
        return graph
