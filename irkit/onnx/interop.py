"""Whole models to and from the objects of other packages: onnx, onnx-graphsurgeon, networkx."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from irkit.errors import GraphError, MissingDependencyError
from irkit.ir import Graph
from irkit.model import Model
from irkit.onnx.reader import loads
from irkit.onnx.writer import dumps

if TYPE_CHECKING:
    import onnx


def from_proto(proto: onnx.ModelProto, *, folder: str | os.PathLike[str] | None = None) -> Model:
    """The model of a ModelProto, which is copied. Raises `ModelError` where it is no valid graph.

    Args:
        proto: at most 2 GB, as protobuf has it; larger models are read from files (`irkit.load`).
        folder: where the files of external data are, if it has some.
    """
    return loads(proto.SerializeToString(), folder=folder)


def to_proto(model: Model) -> onnx.ModelProto:
    """The ModelProto of a model, its weights included. Raises `OutputError` above protobuf's 2 GB."""
    import onnx

    proto: onnx.ModelProto = onnx.ModelProto.FromString(dumps(model))
    return proto


def from_graphsurgeon(graph: Any) -> Model:
    """The model of an `onnx_graphsurgeon.Graph`. Raises `MissingDependencyError` where that is not installed."""
    return from_proto(_package("onnx_graphsurgeon", "onnx-graphsurgeon").export_onnx(graph))


def to_graphsurgeon(model: Model) -> Any:
    """The `onnx_graphsurgeon.Graph` of a model.

    It holds nodes, attributes, constants, functions and opset imports. It has no place for metadata, doc strings,
    recorded types of the insides of functions, quantization annotations and training information: these are lost.

    Raises `MissingDependencyError` where onnx-graphsurgeon is not installed.
    """
    return _package("onnx_graphsurgeon", "onnx-graphsurgeon").import_onnx(to_proto(model))


def to_networkx(graph: Graph | Model) -> Any:
    """A graph, or a model's main graph, as a `networkx.MultiDiGraph`.

    It is bipartite: a vertex is a `Value` or a `Node` of irkit, with `kind` "value" or "node" and a `label`. Edges run
    from values to the nodes that read them and from nodes to the values they make, one for each input and output, with
    its `slot`; so `Mul(x, x)` has two edges from x. A node with nested graphs has an edge with `captured=True` from
    each value these read from outside; their own nodes are not in it.

    Raises `MissingDependencyError` where networkx is not installed.
    """
    if isinstance(graph, Model):
        graph = graph.graph
    view = _package("networkx", "networkx").MultiDiGraph(name=graph.name)
    for value in graph.values.values():
        view.add_node(value, kind="value", label=value.name)
    for node in graph:
        view.add_node(node, kind="node", label=node.name or node.op_id, op=node.op_id)
        for slot, read in enumerate(node.inputs):
            if read is not None:
                view.add_node(read, kind="value", label=read.name)  # one of an outer graph may be new
                view.add_edge(read, node, slot=slot)
        for slot, made in enumerate(node.outputs):
            view.add_node(made, kind="value", label=made.name)
            view.add_edge(node, made, slot=slot)
    for value in graph.values.values():
        _add_captures(view, value, graph)
    return view


def _add_captures(view: Any, value: Any, graph: Graph) -> None:
    holders = {holder for user in value.users if (holder := _holder(user, graph)) is not user}
    for holder in sorted(holders, key=lambda node: node.name):
        view.add_edge(value, holder, captured=True)


def _holder(node: Any, graph: Graph) -> Any:
    """The node of `graph` that the node is nested in; itself where it is not."""
    while node.graph is not graph:
        node = node.graph.owner
        if node is None:
            raise GraphError(f"a value of graph {graph.name!r} is read outside of it")
    return node


def _package(name: str, distribution: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        advice = "pip install 'irkit-compiler[interop]'"
        raise MissingDependencyError(f"{distribution} is not installed: {advice}") from error
