"""The primitive edits of the IR: functions that put a value, node or graph into a state.

`edit` is the only door. Each state function takes (target, state) and works both ways, so that the journal can undo
and redo by calling it with the old or the new state. Nothing else writes these private fields once a graph stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from irkit.errors import GraphError

if TYPE_CHECKING:
    from irkit.attributes import Attr
    from irkit.graph import Graph
    from irkit.journal import Apply
    from irkit.node import Node, Value


def edit(graph: Graph | None, kind: str, apply: Apply, target: Any, old: Any, new: Any) -> None:
    """Make an edit, and enter it in the journal where the graph belongs to a model."""
    model = graph.model if graph is not None else None
    if model is None:
        apply(target, new)
    else:
        model.journal.record(kind, apply, target, old, new)


def value_name(value: Value, name: str) -> None:
    """Rename the value, in the tables of its graph too."""
    graph = value.graph
    if graph is not None:
        graph._values.pop(value.name, None)
        if graph._initializers.get(value.name) is value:
            rank_initializers(graph)
            del graph._initializers[value.name]
            graph._initializers[name] = value
            graph._unordered = True
        if name:
            graph._values[name] = value
    value._name = name


def value_type(value: Value, type: Any) -> None:
    """Set the type of the value."""
    value._type = type


def value_data(value: Value, data: Any) -> None:
    """Set the stored data of the value."""
    value._constant = data


def stored(value: Value, graph: Graph | None) -> None:
    """Make the value an initializer of the graph, or of none (then it stays in the graph only as an input)."""
    if graph is not None:
        if not value._rank and graph._last_rank:
            graph._last_rank += 1
            value._rank = graph._last_rank
        elif value._rank:
            graph._unordered = True
        value._graph = graph
        graph._initializers[value.name] = graph._values[value.name] = value
        return
    home = value._graph
    assert home is not None
    rank_initializers(home)
    del home._initializers[value.name]
    if value not in home._input_set:
        del home._values[value.name]
        value._graph = None


def rank_initializers(graph: Graph) -> None:
    """Number the initializers before the first is taken out, so that an undone edit puts it back in its place."""
    if not graph._last_rank:
        for rank, value in enumerate(graph._initializers.values(), 1):
            value._rank = rank
        graph._last_rank = len(graph._initializers) or 1


def graph_inputs(graph: Graph, inputs: tuple[Value, ...]) -> None:
    """Set the inputs of the graph; values that are no longer inputs leave it."""
    for value in graph._inputs:
        if not value.is_initializer:
            graph._values.pop(value.name, None)
            value._graph = None
    for value in inputs:
        value._graph = graph
        graph._values[value.name] = value
    graph._inputs = inputs
    graph._input_set = frozenset(inputs)


def graph_outputs(graph: Graph, outputs: tuple[Value, ...]) -> None:
    """Set the outputs of the graph."""
    count_outputs(graph, -1)
    graph._outputs = outputs
    count_outputs(graph, 1)


def count_outputs(graph: Graph, sign: int) -> None:
    """Count the outputs of the graph at their values, or stop to."""
    if graph._live:
        for value in graph._outputs:
            value._output_count += sign


def node_op(node: Node, state: tuple[str, str]) -> None:
    """Set operator and domain of the node."""
    node._op, node._domain = state
    for value in node._outputs:
        value._constant = None


def node_name(node: Node, name: str) -> None:
    """Rename the node."""
    node._name = name


def node_extra(node: Node, extra: Any) -> None:
    """Set what the node carries besides its computation."""
    node._extra = extra


def node_origin(node: Node, origin: tuple[str, ...] | None) -> None:
    """Set the source nodes the node stands for."""
    node._origin = origin


def node_attrs(node: Node, attrs: dict[str, Attr]) -> None:
    """Set the attributes; graphs in them become nested in the node, those that were there before no longer count."""
    for graph in node.subgraphs:
        set_live(graph, False)  # its owner stays: edits of a graph taken out are journaled with the model it was in
    node._attrs = attrs
    for graph in node.subgraphs:
        graph.owner = node
        set_live(graph, node.graph is not None and node.graph._live)
    for value in node._outputs:
        value._constant = None  # the data of a Constant is one of its attributes


def node_inputs(node: Node, inputs: tuple[Value | None, ...]) -> None:
    """Set what the node reads."""
    if node.graph is not None and node.graph._live:
        count_uses(node, -1)
        node._inputs = inputs
        count_uses(node, 1)
    else:
        node._inputs = inputs


def node_outputs(node: Node, outputs: tuple[Value, ...]) -> None:
    """Set what the node makes."""
    graph = node.graph
    if graph is not None:
        for value in node._outputs:
            if value.name:
                graph._values.pop(value.name, None)
        for value in outputs:
            if value.name:
                graph._values[value.name] = value
    node._outputs = outputs


def place(node: Node, where: tuple[Graph, Node | None] | None) -> None:
    """Link the node into a graph after another one (None: at the start), or unlink it."""
    if where is None:
        _unlink(node)
    else:
        _link(node, *where)


def join(graph: Graph, before: Node | None, after: Node | None) -> None:
    """Make two nodes neighbours in the list of the graph; None stands for its ends."""
    if before is None:
        graph._first = after
    else:
        before._next = after
    if after is None:
        graph._last = before
    else:
        after._prev = before


def _link(node: Node, graph: Graph, prev: Node | None) -> None:
    after = prev._next if prev is not None else graph._first
    node.graph = graph
    join(graph, prev, node)
    join(graph, node, after)
    graph._length += 1
    for value in node._outputs:
        if value._name:
            graph._values[value._name] = value
    if graph._live:
        count_uses(node, 1)
    for nested in node.subgraphs:
        nested.owner = node
        set_live(nested, graph._live)


def _unlink(node: Node) -> None:
    graph = node.graph
    assert graph is not None
    if graph._live:
        count_uses(node, -1)
    for nested in node.subgraphs:
        set_live(nested, False)
    join(graph, node._prev, node._next)
    graph._length -= 1
    for value in node._outputs:
        if value._name:
            del graph._values[value._name]
    node.graph, node._home = None, graph  # _prev and _next stay: an iterator that stands here finds its way on


def count_uses(node: Node, sign: int) -> None:
    """Enter the node in, or strike it from, the use lists of its inputs."""
    for value in node._inputs:
        if value is None:
            continue
        users = value._users
        count = users.get(node, 0) + sign
        if count:
            users[node] = count
        else:
            del users[node]


def set_live(graph: Graph, live: bool) -> None:
    """Count the uses of a nested graph, or stop to, as the node that holds it enters or leaves."""
    if graph._live == live:
        return
    if not live:
        count_outputs(graph, -1)
    graph._live = live
    if live:
        count_outputs(graph, 1)
    for node in graph:
        count_uses(node, 1 if live else -1)
        for nested in node.subgraphs:
            set_live(nested, live)


def stable_order(graph: Graph) -> Iterator[Node]:
    """The nodes such that each follows what it reads, otherwise as they stand. Raises `GraphError` on a cycle."""
    seen: set[Node] = set()
    for start in graph:
        stack = [start]
        open_nodes: dict[Node, None] = {}
        while stack:
            node = stack[-1]
            if node in seen:
                stack.pop()
                continue
            missing = [source for source in needed(node, graph) if source not in seen]
            if not missing:
                stack.pop()
                open_nodes.pop(node, None)
                seen.add(node)
                yield node
                continue
            open_nodes[node] = None
            for source in missing:
                if source in open_nodes:
                    raise GraphError(f"the graph has a cycle through {source!r} and {node!r}")
            stack.extend(reversed(missing))


def needed(node: Node, graph: Graph) -> Iterator[Node]:
    """The nodes of `graph` whose outputs the node, or a graph nested in it, reads."""
    for value in node.reads():
        if value.producer is not None and value.producer.graph is graph:
            yield value.producer
