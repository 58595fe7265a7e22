"""Graphs of the IR: nodes in a linked list, so that inserting and removing is O(1), also while iterating."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from irkit import edits
from irkit.errors import GraphError
from irkit.node import Node, Value, readers_of, type_of_data
from irkit.tensor import SparseTensor, Tensor
from irkit.types import ValueType

if TYPE_CHECKING:
    from irkit.model import Model


class Graph:
    """A graph: inputs, initializers, nodes in order, outputs.

    Iterating gives the nodes; nodes may be inserted and removed meanwhile (those inserted after the current one are
    visited). `owner` is the node it is nested in. `extra` is what the reader did not decode.
    """

    attribute_kind = "GRAPH"

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.doc = ""
        self.metadata: dict[str, str] = {}
        self.extra: Any = None
        self.owner: Node | None = None
        self._model: Model | None = None
        self._inputs: tuple[Value, ...] = ()
        self._input_set: frozenset[Value] = frozenset()
        self._outputs: tuple[Value, ...] = ()
        self._initializers: dict[str, Value] = {}
        self._last_rank = 0
        self._unordered = False
        self._values: dict[str, Value] = {}
        self._first: Node | None = None
        self._last: Node | None = None
        self._length = 0
        self._live = True

    @property
    def model(self) -> Model | None:
        """The model it belongs to, directly or nested."""
        graph: Graph | None = self
        while graph is not None and graph._model is None:
            graph = graph.owner.journaled_in if graph.owner is not None else None
        return graph._model if graph is not None else None

    @property
    def inputs(self) -> tuple[Value, ...]:
        """Its inputs; initializers a caller may override are among them."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Its outputs; a value may stand more than once."""
        return self._outputs

    @property
    def initializers(self) -> Mapping[str, Value]:
        """Stored constants by name, in order."""
        if self._unordered:
            self._initializers = dict(sorted(self._initializers.items(), key=lambda item: item[1]._rank))
            self._unordered = False
        return self._initializers

    @property
    def values(self) -> Mapping[str, Value]:
        """Every named value of this graph (nested graphs have their own)."""
        return self._values

    def set_inputs(self, inputs: Iterable[Value]) -> None:
        """Replace the inputs. New ones are values without producer, or initializers of the graph.

        Raises `GraphError` where one has no name, one that is taken, or belongs elsewhere.
        """
        new = tuple(inputs)
        for value in new:
            if value.graph is self and value.producer is None:
                continue
            if value.producer is not None or value.graph is not None or not value.name:
                raise GraphError(f"{value!r} cannot be an input of graph {self.name!r}: it is not a new, named value")
            self._take_name(value.name)
        edits.edit(self, "graph-inputs", edits.graph_inputs, self, self._inputs, new)

    def set_outputs(self, outputs: Iterable[Value]) -> None:
        """Replace the outputs."""
        edits.edit(self, "graph-outputs", edits.graph_outputs, self, self._outputs, tuple(outputs))

    def add_input(self, name: str, type: ValueType | None) -> Value:
        """A new last input. Raises `GraphError` where the name is taken."""
        value = Value(name, type)
        self.set_inputs((*self._inputs, value))
        return value

    def add_output(self, value: Value) -> None:
        """Make a value of this graph its last output too; it keeps its name.

        Raises `GraphError` where it belongs elsewhere, or is an input or an output already.
        """
        if value.graph is not self or value.is_graph_input or value in self._outputs:
            raise GraphError(f"{value.name!r} cannot be a new output of graph {self.name!r}")
        self.set_outputs((*self._outputs, value))

    def add_initializer(self, name: str, data: Tensor | SparseTensor) -> Value:
        """A new stored constant; a name that is taken is made fresh. Returns its value."""
        value = Value(self.fresh_name(name), type_of_data(data))
        value._constant = data
        edits.edit(self, "initializer", edits.stored, value, None, self)
        return value

    def add_default(self, value: Value, data: Tensor | SparseTensor) -> None:
        """Store what an input of this graph is where the caller leaves it out."""
        if value not in self._input_set or value.is_initializer:
            raise GraphError(f"{value.name!r} is not an input without a default")
        edits.edit(self, "data", edits.value_data, value, None, data)
        edits.edit(self, "initializer", edits.stored, value, None, self)

    def remove_initializer(self, value: Value) -> None:
        """Take a stored constant away. Raises `GraphError` while something reads it."""
        if value.use_count or value.is_graph_input:
            raise GraphError(f"cannot remove initializer {value.name!r}: {readers_of(value)}")
        edits.edit(self, "initializer", edits.stored, value, self, None)

    def insert(self, node: Node, *, before: Node | None = None, after: Node | None = None) -> Node:
        """Put a node that is in no graph before or after another one, or at the end. Returns it."""
        if node.graph is not None:
            raise GraphError(f"{node!r} is in a graph already")
        anchor = before if before is not None else after
        if anchor is not None and anchor.graph is not self:
            raise GraphError(f"cannot insert {node!r} beside {anchor!r}: that node is not in graph {self.name!r}")
        self._name_new(node)
        prev = before._prev if before is not None else after if after is not None else self._last
        edits.edit(self, "insert", edits.place, node, None, (self, prev))
        return node

    def append(self, node: Node) -> Node:
        """Put a node at the end. Returns it."""
        return self.insert(node)

    def remove(self, node: Node) -> None:
        """Take a node out. Raises `GraphError` while one of its outputs is used."""
        if node.graph is not self:
            raise GraphError(f"cannot remove {node!r}: it is not in graph {self.name!r}")
        for value in node._outputs:
            if value._output_count or any(user is not node for user in value._users):
                raise GraphError(f"cannot remove {node!r}: {readers_of(value)}")
        edits.edit(self, "remove", edits.place, node, (self, node._prev), None)

    def replace_value(self, old: Value, new: Value) -> None:
        """Let all that reads `old`, but for the node that makes `new`, read `new`. Graph outputs keep their names.

        Where `old` is a graph output, `new` takes its name and declared type; where it cannot (it is an input, an
        initializer, another output, or lives in another graph), an Identity node stands between.

        Raises:
            GraphError: `old` is an input and an output of one graph, so that its name cannot be given away.
        """
        home = old.graph or self
        if old.is_graph_input and old in home._outputs:
            raise GraphError(f"cannot replace {old.name!r}: it is an input of graph {home.name!r}, and an output too")
        for user in old.users:
            if user is not new.producer:
                user.set_inputs([new if value is old else value for value in user._inputs])
        for graph in home._outputs_reading(old):
            target = new if graph is home and home._may_take_name(new) else graph._identity(old, new)
            if target is not old:
                graph._hand_over(old, target)

    def _outputs_reading(self, value: Value) -> list[Graph]:
        if not value._output_count:
            return []
        if self._outputs.count(value) == value._output_count:  # the usual case, without a walk
            return [self]
        return [graph for graph in self.walk_graphs() if value in graph._outputs]

    def _may_take_name(self, value: Value) -> bool:
        return value.producer is not None and value.producer.graph is self and not value._output_count

    def _identity(self, old: Value, new: Value) -> Value:
        """A copy of `new` in this graph; `old` itself where it is one."""
        if old.producer is not None and old.producer.op == "Identity" and old.producer._inputs == (new,):
            return old
        model = self.model
        name = model.fresh_node_name(f"{old.name}_copy") if model is not None else f"{old.name}_copy"
        return self.append(Node("Identity", [new], name=name, types=[old.type])).output

    def _hand_over(self, old: Value, new: Value) -> None:
        name = old.name
        self.set_outputs([new if value is old else value for value in self._outputs])
        if old.graph is self:
            old.name = self.fresh_name(f"{name}_replaced")
            new.name = name
        if old.type is not None and (new.type is None or old.shape is not None):
            new.type = old.type

    def fresh_name(self, base: str) -> str:
        """A value name nobody in the model uses: `base`, or `base_1`, `base_2`, ..."""
        model = self.model
        return model.fresh_name(base) if model is not None else _fresh(base, self._values)

    def _take_name(self, name: str) -> None:
        """Raise `GraphError` where a value of the graph has that name; else keep it from being given out as fresh."""
        if name in self._values:
            raise GraphError(f"graph {self.name!r} already has a value {name!r}")
        model = self.model
        if model is not None:
            model.reserve(name)

    def sort(self) -> None:
        """Put the nodes where each follows what it reads, moving as few as a stable order allows.

        Raises `GraphError` on a cycle.
        """
        order = list(edits.stable_order(self))
        prev: Node | None = None
        for node in order:
            if node._prev is not prev or (prev is None and self._first is not node):
                edits.edit(self, "move", edits.place, node, (self, node._prev), None)
                edits.edit(self, "move", edits.place, node, None, (self, prev))
            prev = node

    def _name_new(self, node: Node) -> None:
        """Name the node and its outputs where they have no name; refuse outputs whose name is taken."""
        model = self.model
        if model is not None:
            model.name_node(node)
        for value in node._outputs:
            if value._name is None:
                value._name = self.fresh_name(f"{node._name or node._op}_output")
            elif value._name:
                self._take_name(value._name)
        for graph in node.subgraphs:
            self._adopt(graph)

    def _adopt(self, nested: Graph) -> None:
        """Name the nodes of a graph that is to be nested in this one; rename values that would hide one around them."""
        model = self.model
        for value in list(nested._values.values()):
            if self._sees(value.name):
                value.name = self.fresh_name(value.name)
            if model is not None:
                model.reserve(value.name)
        for node in nested:
            if model is not None:
                model.name_node(node)
            for graph in node.subgraphs:
                self._adopt(graph)

    def _sees(self, name: str) -> bool:
        """Whether a node of this graph can read a value of that name."""
        graph: Graph | None = self
        while graph is not None:
            if name in graph._values:
                return True
            graph = graph.owner.journaled_in if graph.owner is not None else None
        return False

    def __iter__(self) -> Iterator[Node]:
        node = self._first
        while node is not None:
            if node.graph is self:
                yield node
            node = node._next

    def __reversed__(self) -> Iterator[Node]:
        node = self._last
        while node is not None:
            if node.graph is self:
                yield node
            node = node._prev

    def __len__(self) -> int:
        return self._length

    def walk(self) -> Iterator[Node]:
        """Every node, those of nested graphs after the node that holds them."""
        for node in self:
            yield node
            for graph in node.subgraphs:
                yield from graph.walk()

    def walk_graphs(self) -> Iterator[Graph]:
        """This graph and every graph nested in it, outer ones first."""
        yield self
        for node in self.walk():
            yield from node.subgraphs

    def node(self, name: str) -> Node:
        """The first node of that name. Raises `KeyError`."""
        for node in self:
            if node._name == name:
                return node
        raise KeyError(name)

    def __repr__(self) -> str:
        return f"Graph({self.name!r}, {self._length} nodes)"


def _fresh(base: str, taken: Container[str]) -> str:
    name, count = base, 0
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name
