"""Editing calls for passes that work on the graph itself: insert, replace and remove nodes.

    for node in list(model.graph):
        if node.op == "HardSwish":
            irkit.replace_node(node, lambda op, x: op.Relu(x))

What is new is built by a function like the `replace` of a rule: it gets `op` (an `irkit.Builder`) and the values it
starts from, and returns a value for each one it makes. Everything goes through the journal, as one rewrite a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.builder import Builder
from irkit.errors import GraphError, PassError
from irkit.ir import Graph, Node, Value
from irkit.matcher import Match
from irkit.splice import checked_results, enter, splice

if TYPE_CHECKING:
    from irkit.model import Model

Build: TypeAlias = "Callable[..., Value | Sequence[Value]]"
"""Builds something new: `(op, *values)` to the values that stand for what is replaced."""


def insert_before(node: Node, build: Build, slot: int = 0) -> Value:
    """Put something between a node and its input number `slot`; other readers of that value are left alone.

    Returns the value the node reads now. Raises `GraphError` where there is no such input.
    """
    value = node.input(slot)
    if value is None:
        raise GraphError(f"{node!r} has no input {slot}")
    with _editing(node, "insert-before") as (model, graph):
        builder, (result,) = _built(model, graph, build, (value,), 1)
        _rename(model, builder)
        enter(model, graph, builder, [result], before=node, origin=(node,))
        node.set_input(slot, result)
    return result


def insert_after(at: Node | Value, build: Build, readers: Iterable[Node] | None = None) -> Value:
    """Put something behind a value (of a node, its first output), so that all that read it read the new value.

    Args:
        at: the value; it may be an input or a constant of the graph.
        build: `(op, value)` to the new value.
        readers: only these nodes read the new value; outputs of the graph then stay as they are.

    Returns the new value. Where the value is an output of the graph, the new one takes over its name.
    """
    value = at.output if isinstance(at, Node) else at
    chosen = None if readers is None else list(readers)
    place = value.producer or next(iter(value.users), None)
    if place is None:
        raise GraphError(f"{value.name!r} is read by no node, so that nothing can be put behind it")
    with _editing(place, "insert-after", value.graph) as (model, graph):
        builder, (result,) = _built(model, graph, build, (value,), 1)
        _rename(model, builder)
        if result.producer not in builder.nodes:
            raise PassError("`build` returned a value that was there before; it returns a new one")
        enter(model, graph, builder, [result], before=_behind(value, builder, graph), origin=(place,))
        kept = {node: node.inputs for node in builder.nodes}
        if chosen is None:
            graph.replace_value(value, result)
        for node in chosen or ():
            node.set_inputs([result if item is value else item for item in node.inputs])
        for node, inputs in kept.items():
            node.set_inputs(inputs)
    return result


def replace_node(node: Node, build: Build) -> tuple[Value, ...]:
    """Replace a node by what `build(op, *inputs)` makes, one value for each output of the node.

    Outputs that nothing reads may be left out at the end. Names, origins and outputs of the graph are kept. Returns the
    new values.
    """
    used = max((value.index + 1 for value in node.outputs if value.is_used), default=1)
    with _editing(node, "replace-node") as (model, graph):
        builder, results = _built(model, graph, build, node.inputs, used)
        splice(model, Match(node.outputs[: len(results)], (node,), {}), results, builder)
    return results


def replace_subgraph(
    model: Model, inputs: Sequence[str | Value], outputs: Sequence[str | Value], build: Build
) -> tuple[Value, ...]:
    """Replace all that makes `outputs` out of `inputs` by what `build(op, *inputs)` makes, one value for each output.

    Nodes inside that something else needs stay. Returns the new values. Raises `GraphError` where a value is not there,
    or is no result of a node.
    """
    starts = [value_of(model, item) for item in inputs]
    ends = [value_of(model, item) for item in outputs]
    nodes = between(starts, ends)
    root = ends[0].producer
    assert root is not None
    with _editing(root, "replace-subgraph") as (_, graph):
        builder, results = _built(model, graph, build, tuple(starts), len(ends))
        matched = (root, *(node for node in reversed(nodes) if node is not root))
        splice(model, Match(tuple(ends), matched, {}, frozenset(nodes)), results, builder)
    return results


def remove_node(node: Node, slot: int = 0) -> Value:
    """Take a node out; what reads its first output reads its input number `slot`. Returns that input.

    Where an output of the graph would become one of its inputs, an Identity stands in the place of the node.

    Raises `GraphError` where there is no such input, or another output is read.
    """
    value = node.input(slot)
    if value is None:
        raise GraphError(f"cannot remove {node!r}: it has no input {slot} that could stand for its output")
    with _editing(node, "remove-node") as (_, graph):
        graph.replace_value(node.output, value)
        if node.op != "Identity" or not node.output.is_used:  # one stays between an input and an output of the graph
            graph.remove(node)
    return value


def between(inputs: Sequence[Value], outputs: Sequence[Value]) -> list[Node]:
    """The nodes that make `outputs` out of `inputs` and constants, in order.

    Raises `GraphError` where an output is not made by a node, or needs more than the inputs.
    """
    starts, found = set(inputs), dict[Node, None]()
    stack = list(outputs)
    while stack:
        value = stack.pop()
        node = value.producer
        if value in starts or value.is_initializer or node in found:
            continue
        if node is None:
            raise GraphError(f"{value.name!r} is needed too: name it as an input")
        found[node] = None
        stack += outer_reads(node)
    for value in outputs:
        if value.producer is None or value.producer.graph is not outputs[0].graph:
            raise GraphError(f"{value.name!r} is made by no node of the graph")
    graph = outputs[0].graph
    return [node for node in graph or () if node in found]


def outer_reads(node: Node) -> list[Value]:
    """The values that a node, and the graphs nested in it, read from outside of the node."""
    inner = {value for nested in node.subgraphs for graph in nested.walk_graphs() for value in graph.values.values()}
    return [value for value in node.reads() if value not in inner]


def value_of(model: Model, item: str | Value) -> Value:
    """A value, or that of this name in the main graph. Raises `GraphError`."""
    if isinstance(item, Value):
        return item
    found = model.graph.values.get(item)
    if found is None:
        raise GraphError(f"the model has no value {item!r}")
    return found


@contextmanager
def _editing(node: Node, call: str, graph: Graph | None = None) -> Iterator[tuple[Model, Graph]]:
    """The model and graph to edit around a node. What fails is undone; edits outside of a rewrite become one."""
    graph = graph or node.graph
    model = graph.model if graph is not None else None
    if graph is None or model is None:
        raise GraphError(f"{node!r} is in no model: it was removed, or never inserted")
    mark = model.journal.position
    with model.journal.joined(call, node.name or node.output.name):
        try:
            yield model, graph
        except Exception:
            model.journal.undo_to(mark)
            raise


def _built(
    model: Model, graph: Graph, build: Build, values: Sequence[Value | None], least: int
) -> tuple[Builder, tuple[Value, ...]]:
    """What a function builds, not yet in the graph. Raises `PassError` where it is not as many values as needed."""
    builder = Builder(model, graph)
    answer: Any = build(builder, *values)
    return builder, checked_results(answer, least, "`build`")


def _rename(model: Model, builder: Builder) -> None:
    """Let new nodes that stand beside the old ones not have their names."""
    for node in builder.nodes:
        if node.name:
            node.name = model.fresh_node_name(node.name)


def _behind(value: Value, builder: Builder, graph: Graph) -> Node | None:
    """The node to insert before: the first that stands behind all that the new nodes read; None for the end."""
    read = {item for node in builder.nodes for item in node.inputs if item is not None} | {value}
    missing = {item.producer for item in read if item.producer is not None and item.producer.graph is graph}
    node = value.producer if value.producer is not None else next(iter(graph), None)
    while node is not None and missing:
        missing.discard(node)
        node = node.next
    return node
