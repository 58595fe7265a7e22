"""Putting a replacement in the place of a match, and what stands in the way of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from irkit import edits, ops
from irkit.builder import Builder
from irkit.errors import PassError
from irkit.ir import Graph, Node, Value
from irkit.matcher import Match

if TYPE_CHECKING:
    from irkit.model import Model


def blocked(match: Match, protected: frozenset[str]) -> str:
    """Why the match must not be replaced: a value inside it that something else needs. "" where nothing does."""
    for node in match.nodes:
        if node in match.shareable:
            continue
        for value in node.outputs:
            if value in match.outputs:
                continue
            if value.is_graph_output:
                return f"the value {value.name!r} inside it is an output of the graph"
            if value.name in protected:
                return f"the value {value.name!r} inside it is kept by the declared cut"
            for user in value.users:
                if user not in match.nodes:
                    captured = " in a nested graph" if user.graph is not node.graph else ""
                    return f"the value {value.name!r} inside it is also read by {user!r}{captured}"
    return ""


def splice(model: Model, match: Match, results: Sequence[Value], builder: Builder) -> None:
    """Replace the outputs of a match by `results` and remove what is dead then.

    Values keep their names and types, new nodes stand for the origins of all nodes matched. Raises `PassError` for
    results that cannot stand there.
    """
    graph = match.root.graph
    assert graph is not None
    _check_results(match, results, builder)
    read = {value for node in builder.nodes for value in node.inputs if value is not None} | set(results)
    anchor = _anchor(match, read, graph)
    _name(model, match, results, builder)
    for old, new in zip(match.outputs, results, strict=True):
        if new.type is None:
            new.type = old.type
    enter(model, graph, builder, results, before=anchor, origin=match.nodes[::-1])
    names = [value.name for value in match.outputs]
    for old, new in zip(match.outputs, results, strict=True):
        if old is not new:
            graph.replace_value(old, new)
    _remove_dead(match)
    for name, new in zip(names, results, strict=True):
        if new.producer in builder.nodes and name and name not in graph.values and not new.is_graph_output:
            new.name = name


def enter(
    model: Model,
    graph: Graph,
    builder: Builder,
    results: Sequence[Value],
    *,
    before: Node | None,
    origin: Sequence[Node],
) -> None:
    """Put what a builder made into the graph: operator sets, the constants that are read, the nodes.

    Args:
        model: the model.
        graph: its graph, or one nested in it.
        builder: what was built.
        results: the values that something will read.
        before: the node to stand before; None for the end.
        origin: the nodes that the new ones stand for; those without a name get theirs from the last of them.
    """
    read = {value for node in builder.nodes for value in node.inputs if value is not None} | set(results)
    if builder.domains:
        versions = {domain: ops.newest_version(domain) or 1 for domain in sorted(builder.domains)}
        model.set_field("opset_imports", {**versions, **model.opset_imports})
    for value, name in builder.constants.items():
        if value in read:
            value._name = graph.fresh_name(name)
            edits.edit(graph, "initializer", edits.stored, value, None, graph)
    base = origin[-1].name
    for node in builder.nodes:
        if base and not node.name:
            node.name = model.fresh_node_name(f"{base}_{node.op}")
        node.set_origin(origin)
        graph.insert(node, before=before)


def checked_results(answer: Any, count: int, who: str) -> tuple[Value, ...]:
    """What a function built, as `count` values. Raises `PassError` where it is something else."""
    results = tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)
    for value in results:
        if not isinstance(value, Value):
            what = "nothing" if value is None else f"a {type(value).__name__}"
            raise PassError(f"{who} returned {what}; it returns a value, or irkit.refuse(reason)")
    if len(results) != count:
        raise PassError(f"{who} returned {len(results)} values for {count} outputs")
    return results


def _check_results(match: Match, results: Sequence[Value], builder: Builder) -> None:
    replaced = set(match.outputs)
    for node in builder.nodes:
        for value in node.inputs:
            if value is not None and value in replaced:
                what = f"the new {node.op} reads {value.name!r}, which it replaces; use the match's inputs"
                raise PassError(what, place=builder.line_of(node))
    read = [value for node in builder.nodes for value in node.inputs if value is not None]
    for value in (*read, *results):
        if value.graph is not None and value.graph.model is not builder.model:
            raise PassError(f"the replacement reads {value.name!r}, which belongs to another model")
    for old, new in zip(match.outputs, results, strict=True):
        if isinstance(new.producer, Node) and new.producer.graph is None and new.producer not in builder.nodes:
            raise PassError(f"the replacement of {old.name!r} is made by a node that is not in the graph")


def _name(model: Model, match: Match, results: Sequence[Value], builder: Builder) -> None:
    """Give the new nodes names: the one that makes the result inherits the root's, if the rule gave none."""
    going = {node.name for node in match.nodes if node not in match.shareable}
    base, last = match.root.name, results[0].producer
    if last in builder.nodes and not last.name and base in going and base not in {node.name for node in builder.nodes}:
        last.name = base
    owners = {node.name: node for node in builder.nodes}  # of several that ask for one name, the last has it
    for node in builder.nodes:
        if not node.name:
            node.name = model.fresh_node_name(f"{base}_{node.op}") if base else ""
        elif node.name not in going or owners[node.name] is not node:
            node.name = model.fresh_node_name(node.name)


def _anchor(match: Match, read: set[Value], graph: Graph) -> Node:
    """The node to insert before: the root; the last root where there are several.

    Nodes between the first and the last root that depend on a replaced value are moved behind the last root. Raises
    `PassError` where the replacement would need such a node itself.
    """
    roots = {value.producer for value in match.outputs if value.producer is not None}
    if len(roots) == 1:
        return match.root
    between = _stretch(roots, graph)
    inside = set(match.nodes)
    late: list[Node] = []
    made = set(match.outputs)
    for node in between:
        if node not in inside and any(value in made for value in node.reads()):
            late.append(node)
            made.update(node.outputs)
    if needed := [value for value in read if value in made and value not in match.outputs]:
        raise PassError(f"the replacement needs {needed[0].name!r}, which depends on what it replaces")
    last = between[-1]
    for node in reversed(late):
        edits.edit(graph, "move", edits.place, node, (graph, node.prev), None)
        edits.edit(graph, "move", edits.place, node, None, (graph, last))
    return last


def _stretch(roots: set[Node], graph: Graph) -> list[Node]:
    """The nodes from the first of the roots to the last, found by walking from one of them both ways."""
    start = next(iter(roots))
    ahead, behind = [start], [start]
    missing = roots - {start}
    while missing:
        for found, node in ((ahead, ahead[-1].next), (behind, behind[-1].prev)):
            if node is not None:
                found.append(node)
                missing.discard(node)
    stretch = [*reversed(behind[1:]), *ahead]
    places = [index for index, node in enumerate(stretch) if node in roots]
    return [node for node in stretch[places[0] : places[-1] + 1] if node.graph is graph]


def _remove_dead(match: Match) -> None:
    """Remove the matched nodes nobody reads any more, and the constants only they read."""
    left = list(match.nodes)
    constants: dict[Value, None] = {}
    while dead := [node for node in left if not any(value.is_used for value in node.outputs)]:
        for node in dead:
            left.remove(node)
            assert node.graph is not None
            node.graph.remove(node)
            constants.update(dict.fromkeys(value for value in node.inputs if value is not None))
    for value in constants:
        if value.is_used or value.graph is None:
            continue
        if value.is_initializer and not value.is_graph_input:
            value.graph.remove_initializer(value)
        elif value.producer is not None and value.producer.op == "Constant" and not value.producer.inputs:
            value.graph.remove(value.producer)
