"""A part of a model as a model of its own: what is read from outside becomes inputs, what is read there outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from irkit import ops
from irkit.copying import Copier
from irkit.editing import between, outer_reads, value_of
from irkit.errors import GraphError
from irkit.infer import Inference
from irkit.ir import Graph, Node, Value
from irkit.model import Function, Model


def extract(model: Model, inputs: Sequence[str | Value] = (), outputs: Sequence[str | Value] = ()) -> Model:
    """The part of a model that makes `outputs` out of `inputs`, as a model of its own; the model is not changed.

    Constants come along. The new model reads weights from the files of the old one, which has to stay open.

    Args:
        model: the whole.
        inputs: values, or their names; where none are given, the part begins at the inputs of the model.
        outputs: values, or their names; where none are given, those of the model.

    Raises `GraphError` where an output needs more than the inputs, or a value is not there.
    """
    starts = [value_of(model, item) for item in inputs or _fed(model.graph)]
    ends = [value_of(model, item) for item in outputs or model.graph.outputs]
    return _part(model, between(starts, ends), starts, ends)


def extract_nodes(model: Model, nodes: Iterable[Node]) -> Model:
    """These nodes of one graph as a model of their own; the model is not changed.

    What they read from outside becomes inputs, constants excepted; what is read outside becomes outputs.
    """
    chosen = set(nodes)
    graph = next(iter(chosen)).graph if chosen else None
    if graph is None or any(node.graph is not graph for node in chosen):
        raise GraphError("the nodes to extract are nodes of one graph, at least one")
    ordered = [node for node in graph if node in chosen]
    made = {value for node in ordered for value in node.outputs}
    read = dict.fromkeys(value for node in ordered for value in outer_reads(node))
    starts = [value for value in read if value not in made and value.constant is None]
    ends = [
        value
        for node in ordered
        for value in node.outputs
        if value.is_graph_output or any(user not in chosen for user in value.users)
    ]
    return _part(model, ordered, starts, ends or [ordered[-1].output])


def _fed(graph: Graph) -> list[Value]:
    return [value for value in graph.inputs if not value.is_initializer]


def _part(model: Model, nodes: Sequence[Node], starts: Sequence[Value], ends: Sequence[Value]) -> Model:
    """A model of copies of these nodes."""
    inference = Inference.of(model)
    inference.update()
    graph = Graph(model.graph.name)
    copier = Copier(lambda value: _constant(graph, copier, value))
    for value in starts:
        copier.values[value] = graph.add_input(value.name, inference.type_of(value))
    part = Model(
        graph,
        opset_imports=ops.opset_imports(nodes[0].graph or model.graph) if nodes else model.opset_imports,
        ir_version=model.ir_version,
        functions=[_function(function) for function in model.functions.values()],
        producer_name=model.producer_name,
        producer_version=model.producer_version,
    )
    for node in nodes:
        graph.append(copier.node(node))
    outputs = [copier.value(value) for value in ends]
    for value, copy in zip(ends, outputs, strict=True):
        assert copy is not None
        copy.type = inference.type_of(value)
    graph.set_outputs(copy for copy in outputs if copy is not None)
    return part


def _constant(graph: Graph, copier: Copier, value: Value) -> Value:
    """A stored constant, or a Constant node's, in the part; whatever reads it next finds it."""
    data = value.constant if value.constant is not None else value.initializer
    if data is None:
        raise GraphError(f"{value.name!r} is needed too: name it as an input")
    copy = graph.add_initializer(value.name, data)
    copier.values[value] = copy
    return copy


def _function(source: Function) -> Function:
    """A copy of a function."""
    copier = Copier(lambda value: value)
    return Function(
        source.domain,
        source.name,
        copier.graph(source.graph),
        overload=source.overload,
        attributes=source.attributes,
        defaults=source.defaults,
        opset_imports=source.opset_imports,
        doc=source.doc,
        extra=source.extra,
    )
