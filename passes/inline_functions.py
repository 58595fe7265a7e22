"""Replace calls of a model's own functions by their bodies, since no pass sees inside a call.

Calls inside of bodies are replaced in turn. Names stay readable and stable: what a call `block` had as node or
value `conv` inside becomes `block/conv`, and outputs of the call keep their names. Nodes keep their metadata and
stand for the call as well as for themselves. A body that is written in another version of an operator set than the
model is converted; where that cannot be, the function and its calls stay, and a finding names it.
"""

from __future__ import annotations

import irkit


@irkit.define_pass("inline-functions", effect="exact")
class InlineFunctions(irkit.Pass):
    """Replace calls of functions that the model defines by their bodies."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        irkit.called_functions(model, model.graph)  # raises where functions call themselves
        refused: set[irkit.Function | None] = set()
        _inline(model, context, model.graph, refused)
        left = irkit.called_functions(model, model.graph)
        if len(left) < len(model.functions):
            gone = {item.domain for item in model.functions.values() if item not in left}
            model.set_field("functions", {key: item for key, item in model.functions.items() if item in left})
            gone -= {node.domain for node in model.walk()}
            imports = {domain: version for domain, version in model.opset_imports.items() if domain not in gone}
            model.set_field("opset_imports", imports)


def _inline(
    model: irkit.Model, context: irkit.Context, graph: irkit.Graph, refused: set[irkit.Function | None]
) -> None:
    pending = list(reversed(graph))
    while pending:
        node = pending.pop()
        function = irkit.called_function(model, node)
        if node.graph is None or function in refused:
            continue
        if function is None:
            for nested in node.subgraphs:
                _inline(model, context, nested, refused)
            continue
        with context.rewriting(model, f"call of {function.name}", node.name) as allowed:
            body = _expand(model, context, node, function) if allowed else []
            if body is None:
                refused.add(function)
            pending.extend(reversed(body or []))


def _expand(
    model: irkit.Model, context: irkit.Context, call: irkit.Node, function: irkit.Function
) -> list[irkit.Node] | None:
    """Put the body in the place of a call, in the operator sets that the model imports. Returns its nodes."""
    mark = model.journal.position
    missing = {key: number for key, number in function.opset_imports.items() if key not in model.opset_imports}
    if missing:
        model.set_field("opset_imports", {**model.opset_imports, **missing})
    try:
        _check_domains(model, function)
        body = irkit.inline_call(call, function)
        nested = [inner for node in body for graph in node.subgraphs for inner in graph.walk()]
        for node in [*body, *nested]:
            if irkit.called_function(model, node) is None:
                irkit.convert_node(node, function.opset_imports.get("", model.opset), model.opset)
    except irkit.ConversionError as error:
        model.journal.undo_to(mark)
        what = f"the function {function.domain}::{function.name} cannot be inlined: {error}"
        context.find(
            "IRK021", "cannot-inline", what, call, advice="export the model with one version of each operator set"
        )
        return None
    return body


def _check_domains(model: irkit.Model, function: irkit.Function) -> None:
    """Other domains than ONNX's own cannot be converted: what the body uses must be the same in both versions."""
    for node in function.graph.walk():
        own, other = (imports.get(node.domain) for imports in (model.opset_imports, function.opset_imports))
        if not node.domain or own is None or other is None or own == other:
            continue
        schema = irkit.schema(node.op, node.domain, own)
        if schema is None or schema is not irkit.schema(node.op, node.domain, other):
            raise irkit.ConversionError(f"it uses {node.op_id} of version {other}, the model that of version {own}")
