"""IRK020 and IRK021: what cannot be written in the operator set of the target. Passes use the same codes."""

from __future__ import annotations

from collections.abc import Iterator

from irkit.diagnostics import Severity
from irkit.ir import Graph, Node, Value
from irkit.linter import Found, Subject, rule
from irkit.model import Model


@rule("IRK020", "cannot-lower", Severity.ERROR)
def cannot_lower(subject: Subject) -> Iterator[Found]:
    """An operator that cannot be written in the operator set the target takes.

    Why: the model then keeps its own operator set, which the compiler may not read.
    Fix: export with a lower opset, or replace the operator.
    """
    fact, source = subject.target.facts.opset, subject.model.opset
    if fact is None or source <= fact.value or "" not in subject.model.opset_imports:
        return
    from irkit.opsets.converter import needs_conversion, newest_opset

    if source > newest_opset():
        yield Found(f"the installed onnx knows operator sets up to {newest_opset()}; the model uses {source}")
        return
    for node in subject.nodes:
        if not node.subgraphs and needs_conversion(node, source, fact.value):
            reason = _refusal(subject, node, fact.value)
            if reason:
                yield Found(f"{node.op_id} cannot be written in opset {fact.value}: {reason}", node)


@rule("IRK021", "cannot-inline", Severity.ERROR)
def cannot_inline(subject: Subject) -> Iterator[Found]:
    """A call of a function whose body cannot be written in the operator set of the model.

    Why: the compiler's parser looks for operators; a call of a function is none.
    Fix: export the model with one version of each operator set.
    """
    for call, reason in subject.cannot_inline.items():
        yield Found(f"the function {call.op_id} cannot be inlined: {reason}", call)


def _refusal(subject: Subject, node: Node, version: int) -> str:
    """Why the node cannot be converted; empty where it can. Tried on a model that holds a copy of the node only."""
    from irkit.opsets.converter import convert_node
    from irkit.opsets.step import ConversionError

    model = _alone(subject, node)
    try:
        convert_node(next(iter(model.graph)), subject.model.opset, version)
    except ConversionError as error:
        return str(error)
    return ""


def _alone(subject: Subject, node: Node) -> Model:
    graph = Graph("alone")
    model = Model(graph, opset_imports=subject.model.opset_imports)
    values: dict[Value, Value] = {}
    for value in node.inputs:
        if value is None or value in values:
            continue
        data = subject.tensor(value)
        if data is not None:
            values[value] = graph.add_initializer(value.name, data)
        else:
            values[value] = graph.add_input(value.name, subject.inference.type_of(value))
    copy = Node(
        node.op,
        [values[value] if value is not None else None for value in node.inputs],
        node.attrs,
        [value.name for value in node.outputs],
        name=node.name,
        types=[subject.inference.type_of(value) for value in node.outputs],
    )
    graph.append(copy)
    graph.set_outputs(value for value in copy.outputs if value.name)
    return model
