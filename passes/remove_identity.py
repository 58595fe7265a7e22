"""Remove nodes that give back what they get.

What counts as one is decided by `irkit.identity_source`, exactly: Identity, Dropout outside of training, casts,
reshapes, transposes, pads, slices, pools and resizes that change nothing, x + 0, x * 1, and pairs that cancel each
other. Pairs that leave something become one node:

    Transpose(Transpose(x, p), q)  =  Transpose(x, p[q])
    Reshape(f(x), shape)           =  Reshape(x, shape)     f: Reshape, Flatten, Squeeze, Unsqueeze; shape without 0,
                                                            not where a map of rank 4 is cut into patches of rank 6

A graph output keeps its name: the value that takes its place takes the name. Where it cannot, because it is a graph
input, stored data, a value of an outer graph or an output itself, the node stays (so a body of Scan or Loop never
hands an input straight through, nor one value twice).
"""

from __future__ import annotations

import irkit

_ONLY_SHAPE = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


@irkit.define_pass("remove-identity", effect="exact")
class RemoveIdentity(irkit.Pass):
    """Remove nodes that change nothing, such as Identity, inference Dropout and cancelling Transpose pairs."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        for graph in list(model.graph.walk_graphs()):
            for node in graph:
                while _merge_with_source(model, context, node):
                    pass
                _bypass(model, context, node)


def _bypass(model: irkit.Model, context: irkit.Context, node: irkit.Node) -> None:
    """Let readers of a node that does nothing read its source."""
    source = irkit.identity_source(node)
    if source is None or node.graph is None or not _may_replace(node.output, source, context.protected):
        return
    with context.rewriting(model, f"no-op {node.op}", node.name) as allowed:
        if allowed:
            if source.type is None or node.output.is_graph_output:
                source.type = node.output.type or source.type
            node.graph.replace_value(node.output, source)
            _remove_unread(node)


def _may_replace(old: irkit.Value, new: irkit.Value, protected: frozenset[str]) -> bool:
    if old.name in protected:
        return False
    if not old.is_graph_output:
        return True
    own = new.producer is not None and new.graph is old.graph
    return own and not new.is_graph_output and new.name not in protected


def _merge_with_source(model: irkit.Model, context: irkit.Context, node: irkit.Node) -> bool:
    """Let the second of two data movements read what the first one reads, and do the work of both; whether it did."""
    value = node.input(0)
    inner = value.producer if value is not None else None
    if node.domain or inner is None or inner.domain or inner.output.name in context.protected:
        return False
    perm = None
    if node.op == inner.op == "Transpose":
        first, second = irkit.permutation(inner), irkit.permutation(node)
        if first is None or second is None:
            return False
        perm = tuple(first[axis] for axis in second)
    elif node.op != "Reshape" or inner.op not in _ONLY_SHAPE or not _is_absolute(node) or _cuts_map(inner, node):
        return False
    with context.rewriting(model, f"{inner.op} before {node.op}", node.name) as allowed:
        if allowed:
            node.set_input(0, inner.input(0))
            if perm is not None:
                node.set_attr("perm", perm)
            node.set_origin([node, inner])
            _remove_unread(inner)
    return allowed


def _remove_unread(node: irkit.Node | None) -> None:
    """Remove a node nobody reads any more, and what it alone read the data of."""
    while node is not None and node.graph is not None and not any(value.use_count for value in node.outputs):
        node.graph.remove(node)
        data = node.input(0)
        node = data.producer if data is not None else None


def _cuts_map(inner: irkit.Node, node: irkit.Node) -> bool:
    """Whether a map is cut into patches or windows: compilers know that by the map."""
    before, after = inner.output.shape, node.output.shape
    return before is not None and after is not None and len(before) == 4 and len(after) == 6


def _is_absolute(node: irkit.Node) -> bool:
    """Whether what a Reshape makes depends on the number of elements only."""
    shape = irkit.constant_integers(node, "shape", 1)
    return shape is not None and 0 not in shape
