"""Putting constants in the place of nodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irkit import fold, ops
from irkit.infer import Inference
from irkit.ir import Graph, Node
from irkit.model import Model
from irkit.pass_base import Context
from irkit.tensor import Tensor
from irkit.types import DType, TensorType


def replace_by_constants(node: Node, tensors: Sequence[Tensor]) -> None:
    """Remove a node; what read its outputs reads stored data of the same name instead.

    A graph output cannot be stored data (runtimes differ on it), so a Constant node gives it.
    """
    graph = node.graph
    assert graph is not None
    source = node.input(0)
    if node.op == "Identity" and not node.domain and source is not None and not node.output.is_graph_output:
        node.output.replace_all_uses(source)  # the same data need not be stored twice
    for value, tensor in zip(node.outputs, tensors, strict=False):
        if value.is_graph_output:
            kind = TensorType(tensor.dtype, tensor.shape)
            constant = Node("Constant", (), {"value": tensor}, name=graph_node_name(graph, node), types=[kind])
            constant.set_origin([node])
            graph.insert(constant, before=node)
            graph.replace_value(value, constant.output)
        elif value.users:
            name = value.name
            value.name = graph.fresh_name(f"{name}_folded")
            stored = graph.add_initializer(name, tensor)
            value.replace_all_uses(stored)
            stored.name = name
    graph.remove(node)


def graph_node_name(graph: Graph, node: Node) -> str:
    """A fresh name for a node that takes the place of another."""
    model = graph.model
    return model.fresh_node_name(f"{node.name or node.op}/Constant") if model is not None else ""


def fold_shape_arithmetic(model: Model, context: Context) -> int:
    """Put constants in the place of nodes whose values inference knows, such as Shape of a static value.

    Returns how many nodes went. Types must be up to date.
    """
    inference = Inference.of(model)
    inference.update()
    count = 0
    for graph in list(graphs_of(model.graph)):
        for node in graph:
            tensors = known_outputs(node, inference)
            if tensors is not None:
                with context.rewriting(model, "shape arithmetic", node.name) as allowed:
                    if allowed:
                        replace_by_constants(node, tensors)
                        count += 1
    return count


def graphs_of(graph: Graph) -> Iterator[Graph]:
    """The graph and what is nested in it, outer ones first."""
    yield graph
    for node in graph.walk():
        yield from node.subgraphs


def known_outputs(node: Node, inference: Inference) -> list[Tensor] | None:
    """The outputs of a node of shape arithmetic, where inference knows them all; None for any other node.

    Floats count only where they are exact, as in the scales of a Resize that are computed from sizes.
    """
    if node.domain or node.op == "Constant" or node.subgraphs or not node.outputs:
        return None
    tensors = []
    for value in node.outputs:
        tensor = inference.known(value)
        if tensor is None or not (tensor.dtype.is_integer or tensor.dtype == DType.BOOL or fold.is_exact(node)):
            return None
        tensors.append(tensor)
    return tensors if ops.is_deterministic(node) else None
