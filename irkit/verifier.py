"""The invariants of the IR, as a list of named checks.

`verify` raises at the first that does not hold, and shows the nodes around the place. It is meant for after each pass
in tests and while debugging: the IR's own edits keep most of these, so what it finds is a mistake of a pass that wrote
around them, took a value from elsewhere, or put a node where it cannot stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from irkit.errors import InvariantError
from irkit.ir import Graph, Node, Value
from irkit.model import Function, Model
from irkit.tensor import SparseTensor, Tensor
from irkit.text import print_node
from irkit.types import SparseTensorType, TensorType, ValueType

_AROUND = 3
"""Nodes shown before and after the one that is wrong."""


class Place(NamedTuple):
    """A graph to check and what encloses it: model, function (None in the main graph), graphs around it."""

    model: Model
    function: Function | None
    graph: Graph
    outer: tuple[Graph, ...]


class Problem(NamedTuple):
    """Something that does not hold, at a node where there is one."""

    message: str
    node: Node | None = None


Find: TypeAlias = "Callable[[Place], Iterator[Problem]]"


@dataclass(frozen=True)
class Check:
    """One invariant: its name, what must hold, and what finds the places where it does not."""

    name: str
    doc: str
    find: Find


def verify(model: Model) -> None:
    """Check every invariant.

    Raises:
        InvariantError: one does not hold; the message has its name, the place, and the nodes around it.
    """
    for place in _places(model):
        for check in CHECKS:
            for problem in check.find(place):
                around = _surroundings(place.graph, problem.node)
                error = InvariantError(f"{check.name}: {problem.message}\n{around}")
                error.node = problem.node
                raise error


def is_sound(model: Model) -> bool:
    """Whether every invariant holds."""
    try:
        verify(model)
    except InvariantError:
        return False
    return True


def _places(model: Model) -> Iterator[Place]:
    yield from _nested(Place(model, None, model.graph, ()))
    for function in model.functions.values():
        yield from _nested(Place(model, function, function.graph, ()))


def _nested(place: Place) -> Iterator[Place]:
    yield place
    for node in place.graph:
        for graph in node.subgraphs:
            yield from _nested(place._replace(graph=graph, outer=(*place.outer, place.graph)))


def _surroundings(graph: Graph, node: Node | None) -> str:
    """The head of the graph, and the node with a few before and after it."""
    lines = [f"in {graph!r}"]
    if node is None:
        return lines[0]
    before, after = node, node
    for _ in range(_AROUND):
        before = before.prev or before
        after = after.next or after
    step: Node | None = before
    while step is not None:
        lines.append(f"{'>' if step is node else ' '} {print_node(step)}")
        step = step.next if step is not after else None
    return "\n".join(lines)


def _own_values(graph: Graph) -> Iterator[tuple[Value, Node | None]]:
    """The values that belong to a graph, each once, with the node that makes it."""
    yield from ((value, None) for value in dict.fromkeys((*graph.inputs, *graph.initializers.values())))
    for node in graph:
        yield from ((value, node) for value in node.outputs)


def _nodes_linked(place: Place) -> Iterator[Problem]:
    graph, count, before = place.graph, 0, None
    node = graph._first
    while node is not None:
        count += 1
        if node.graph is not graph:
            yield Problem(f"{node!r} stands in the list of graph {graph.name!r} but does not belong to it", node)
        if node.prev is not before or count > len(graph):
            yield Problem(f"{node!r} does not point back at the node before it", node)
            return
        before, node = node, node.next
    if before is not graph._last or count != len(graph):
        yield Problem(f"the list has {count} nodes, the graph counts {len(graph)}")


def _signature(place: Place) -> Iterator[Problem]:
    graph = place.graph
    if len(set(graph.inputs)) != len(graph.inputs) or graph._input_set != frozenset(graph.inputs):
        yield Problem("an input stands twice among the inputs")
    for value in graph.inputs:
        if value.producer is not None or value.graph is not graph:
            yield Problem(f"input {value!r} is made by a node, or belongs to another graph")
        if not value.name:
            yield Problem("an input has no name")


def _outputs_defined(place: Place) -> Iterator[Problem]:
    scope = (place.graph, *place.outer)
    for value in place.graph.outputs:
        if value.graph not in scope:
            yield Problem(f"output {value!r} is not a value of this graph or of one around it")
        if not value.name:
            yield Problem("an output has no name")


def _producers_match(place: Place) -> Iterator[Problem]:
    for node in place.graph:
        for index, value in enumerate(node.outputs):
            if value.producer is not node or value.index != index:
                yield Problem(f"output {index} of {node!r} does not know the node as its producer", node)


def _values_registered(place: Place) -> Iterator[Problem]:
    known, count = place.graph.values, 0
    for value, node in _own_values(place.graph):
        if value.name:
            count += 1
            if known.get(value.name) is not value:
                yield Problem(f"{value!r} is not what the graph has under its name", node)
    if count != len(known):
        yield Problem(f"the graph lists {len(known)} values and has {count}")


def _names_unique(place: Place) -> Iterator[Problem]:
    seen: dict[str, Value] = {}
    for value, node in _own_values(place.graph):
        if value.name and seen.setdefault(value.name, value) is not value:
            yield Problem(f"two values are called {value.name!r}", node)


def _uses_match(place: Place) -> Iterator[Problem]:
    """All graphs of the model at once, at its main graph, since a value is read from nested graphs too."""
    if place.graph is not place.model.graph:
        return
    users: dict[Value, dict[Node, int]] = {}
    outputs: dict[Value, int] = {}
    for graph in place.model.walk_graphs():
        for value in graph.outputs:
            outputs[value] = outputs.get(value, 0) + 1
        for node in graph:
            for read in node.inputs:
                if read is not None:
                    counts = users.setdefault(read, {})
                    counts[node] = counts.get(node, 0) + 1
    for graph in place.model.walk_graphs():
        for value, maker in _own_values(graph):
            if value._users != users.get(value, {}):
                found = f"counts {_count(value._users)} uses, nodes read it {_count(users.get(value, {}))} times"
                yield Problem(f"{value!r} {found}", maker)
            if value._output_count != outputs.get(value, 0):
                found = f"counts {value._output_count} graph outputs, is {outputs.get(value, 0)}"
                yield Problem(f"{value!r} {found}", maker)


def _count(users: dict[Node, int]) -> int:
    return sum(users.values())


def _values_in_scope(place: Place) -> Iterator[Problem]:
    for node in place.graph:
        for value in node.inputs:
            if value is None:
                continue
            if not value.name:
                yield Problem(f"{node!r} reads a value without a name", node)
            if value.graph is None:
                yield Problem(f"{node!r} reads {value!r}, which is in no graph", node)
            elif value.graph is not place.graph and value.graph not in place.outer:
                yield Problem(f"{node!r} reads {value!r}, which belongs to another graph, {value.graph.name!r}", node)


def _captures_visible(place: Place) -> Iterator[Problem]:
    if not place.outer:
        return
    chain = (place.graph, *reversed(place.outer))
    for node in place.graph:
        for value in node.inputs:
            if value is None or value.graph is place.graph:
                continue
            seen = next((graph.values[value.name] for graph in chain if value.name in graph.values), None)
            if seen is not value:
                yield Problem(
                    f"{node!r} reads {value!r} of an outer graph, but a nearer graph has a value of that name", node
                )


def _order_topological(place: Place) -> Iterator[Problem]:
    if place.outer:  # nested graphs are walked from where their node stands
        return
    yield from _unordered(place.graph, set(), None)


def _unordered(graph: Graph, made: set[Node], owner: Node | None) -> Iterator[Problem]:
    for node in graph:
        for value in node.inputs:
            producer = value.producer if value is not None else None
            if producer is not None and producer not in made and producer.graph is not None:
                yield Problem(f"{node!r} reads {value!r}, which {producer!r} makes only later", node)
        for nested in node.subgraphs:
            yield from _unordered(nested, made, node)
        made.add(node)
    for value in graph.outputs if owner is not None else ():
        if value.producer is not None and value.producer not in made:
            yield Problem(f"an output of graph {graph.name!r}, {value!r}, is made only later", owner)


def _graphs_owned(place: Place) -> Iterator[Problem]:
    graph = place.graph
    if not graph._live:
        yield Problem("the graph is part of the model, but does not count its uses")
    if not place.outer and (graph.owner is not None or graph._model is not place.model):
        yield Problem("a root graph belongs to its model and to no node")
    for node in graph:
        nested = node.subgraphs
        for inner in nested:
            if inner.owner is not node or nested.count(inner) != 1 or inner._model is not None:
                yield Problem(f"graph {inner.name!r} does not belong to {node!r} alone, which holds it", node)


def _constants_typed(place: Place) -> Iterator[Problem]:
    for name, value in place.graph.initializers.items():
        data = value.initializer
        if data is None or value.name != name or value.producer is not None:
            yield Problem(f"initializer {name!r} has no data, another name, or is made by a node")
        elif not _describes(value.type, data):
            yield Problem(f"initializer {name!r} is of type {value.type}, its data is {data!r}")


def _describes(type: ValueType | None, data: Tensor | SparseTensor) -> bool:
    """Whether the type is one of the data; dimensions of an input with a default may be symbols."""
    kind = SparseTensorType if isinstance(data, SparseTensor) else TensorType
    return isinstance(type, kind) and type.dtype == data.dtype and _fits(type.shape, data.shape)


def _fits(declared: tuple[int | str | None, ...] | None, actual: tuple[int, ...]) -> bool:
    if declared is None:
        return True
    pairs = zip(declared, actual, strict=False)
    return len(declared) == len(actual) and all(not isinstance(dim, int) or dim == real for dim, real in pairs)


def _attributes_sane(place: Place) -> Iterator[Problem]:
    function = place.function
    given = set(function.attributes) | {attr.name for attr in function.defaults} if function is not None else set()
    for node in place.graph:
        if node._attrs is None:  # as read from the file
            continue
        for name, attr in node._attrs.items():
            if attr.name != name:
                yield Problem(f"{node!r} has an attribute {attr.name!r} under the name {name!r}", node)
            if attr.raw is None and attr.ref and attr.ref not in given:
                where = f"function {function.name!r} has no such attribute" if function else "it is in no function"
                yield Problem(f"attribute {name!r} of {node!r} refers to attribute {attr.ref!r}: {where}", node)


def _operators_known(place: Place) -> Iterator[Problem]:
    imports = place.model.opset_imports if place.function is None else place.function.opset_imports
    for node in place.graph:
        if not node.op:
            yield Problem("a node has no operator", node)
        if node.domain not in imports:
            yield Problem(f"no operator set is imported for the domain of {node!r}", node)


CHECKS: tuple[Check, ...] = (
    Check(
        "nodes-linked", "The nodes of a graph are one list, linked both ways, as long as the graph says.", _nodes_linked
    ),
    Check(
        "graphs-owned", "A nested graph knows its node, a root graph its model; all of them count uses.", _graphs_owned
    ),
    Check("signature-sane", "Inputs are named values of their graph that no node makes, each once.", _signature),
    Check("producers-match", "Each output of a node knows the node and its own number.", _producers_match),
    Check("names-unique", "No two values of a graph share a name.", _names_unique),
    Check("values-registered", "A graph finds exactly its named values under their names.", _values_registered),
    Check("outputs-defined", "Outputs are named values of their graph or of one around it.", _outputs_defined),
    Check("values-in-scope", "A node reads values of its own graph and of graphs around it.", _values_in_scope),
    Check("captures-visible", "No nearer value hides a value of an outer graph that a node reads.", _captures_visible),
    Check("order-topological", "A value is made before it is read.", _order_topological),
    Check("uses-match", "A value counts exactly the nodes and graph outputs that read it.", _uses_match),
    Check("constants-typed", "An initializer has data, and a type that agrees with it.", _constants_typed),
    Check(
        "attributes-sane",
        "Attributes stand under their names and refer only to attributes of their function.",
        _attributes_sane,
    ),
    Check("operators-imported", "Every node has an operator of an imported operator set.", _operators_known),
)
