"""Remove what nothing reads.

Operators of ONNX have no side effects, so a node none of whose outputs is read computes nothing: it goes, be it
random or of an unknown domain. A node without any output can only be there for a side effect, and stays. Also
removed: stored data and functions that nothing uses, and optional outputs that nothing reads. Graph inputs always
stay.
"""

from __future__ import annotations

import irkit


@irkit.define_pass("remove-dead", effect="exact")
class RemoveDead(irkit.Pass):
    """Remove nodes, optional outputs, stored data and functions that nothing uses."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        _sweep(model, context, model.graph)
        used = irkit.called_functions(model, model.graph)
        if len(used) < len(model.functions):
            model.set_field("functions", {key: item for key, item in model.functions.items() if item in used})


def _sweep(model: irkit.Model, context: irkit.Context, graph: irkit.Graph) -> None:
    """Back to front, nested graphs first, so that one sweep sees whole chains."""
    for node in reversed(graph):
        if _is_dead(node, context.protected):
            with context.rewriting(model, "dead node", node.name) as allowed:
                if allowed:
                    graph.remove(node)
            continue
        for nested in node.subgraphs:
            _sweep(model, context, nested)
        if len(node.outputs) > 1:
            _drop_outputs(model, context, node)
    unused = [value for value in graph.initializers.values() if not value.use_count and not value.is_graph_input]
    if unused:
        with context.rewriting(model, "dead data", graph.name) as allowed:
            for value in unused if allowed else ():
                graph.remove_initializer(value)


def _is_dead(node: irkit.Node, protected: frozenset[str]) -> bool:
    named = [value for value in node.outputs if value.name]
    return bool(named) and not any(value.use_count or value.name in protected for value in named)


def _drop_outputs(model: irkit.Model, context: irkit.Context, node: irkit.Node) -> None:
    """Leave out optional outputs that nothing reads."""
    unread = [value for value in node.outputs if _may_go(model, node, value, context.protected)]
    if not unread:
        return
    with context.rewriting(model, "dead output", node.name) as allowed:
        if allowed:
            for value in unread:
                value.name = ""
            while len(node.outputs) > 1 and node.outputs[-1] in unread:
                node.drop_output()


def _may_go(model: irkit.Model, node: irkit.Node, value: irkit.Value, protected: frozenset[str]) -> bool:
    if value.use_count or not value.name or value.name in protected:
        return False
    if node.op == "BatchNormalization" and (model.opset < 14 or node.attr("training_mode", 0)):
        return False  # one that trains must have them all; before opset 14, that is what tells that it trains
    schema = irkit.schema_of(node)
    formal = schema.formal_output(value.index) if schema is not None else None
    return formal is not None and formal.optional
