"""Putting constants in the place of nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from irkit import fold, ops
from irkit.infer import Inference
from irkit.inlining import inline_branch
from irkit.ir import Graph, Node
from irkit.model import Model
from irkit.pass_base import Context
from irkit.shapes.facts import MOST_DIMS
from irkit.tensor import Tensor
from irkit.types import DType, TensorType

LEAST_SPLAT = 1024
"""Bytes above which a uniform graph output is given by a node that only knows its shape."""


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
            constant = _constant_node(graph, node, tensor)
            graph.insert(constant, before=node)
            constant.set_origin([node])
            graph.replace_value(value, constant.output)
        elif value.users:
            name = value.name
            value.name = graph.fresh_name(f"{name}_folded")
            stored = graph.add_initializer(name, tensor)
            value.replace_all_uses(stored)
            stored.name = name
    graph.remove(node)


def _constant_node(graph: Graph, node: Node, tensor: Tensor) -> Node:
    """A node that gives the tensor: Constant, or for a large splat ConstantOfShape, which takes no space."""
    model = graph.model
    opset = ops.opset_imports(graph).get("", 0)
    kind = TensorType(tensor.dtype, tensor.shape)
    base = f"{node.name or node.op}/Constant"
    name = model.fresh_node_name(base) if model is not None else base
    if not tensor.is_splat or tensor.nbytes <= LEAST_SPLAT or opset < 9 or not tensor.dtype.is_native:
        return Node("Constant", (), {"value": tensor}, name=name, types=[kind])
    shape = graph.add_initializer(f"{node.name or node.op}_shape", Tensor.of(np.asarray(tensor.shape, np.int64)))
    fill = Tensor.of(np.asarray(tensor.splat_value).reshape(1))
    return Node("ConstantOfShape", [shape], {"value": fill}, name=name, types=[kind])


def take_known_branches(model: Model, context: Context) -> None:
    """Put one branch in the place of each If whose condition is known, also of those that stand in the branch."""
    inference = Inference.of(model)
    inference.update()
    while sum(_take_branch(node, model, context) for node in list(model.graph.walk()) if node.op == "If"):
        inference.update()


def _take_branch(node: Node, model: Model, context: Context) -> bool:
    condition = node.input(0)
    if node.domain or condition is None or not _stands(node):
        return False
    known = Inference.of(model).known(condition)
    if known is None or known.size != 1:
        return False
    branch = node.attr("then_branch" if known.item() else "else_branch")
    if not isinstance(branch, Graph):
        return False
    with context.rewriting(model, "known condition", node.name) as allowed:
        if allowed:
            inline_branch(node, branch)
    return allowed


def _stands(node: Node) -> bool:
    """Whether the node, and each one it is nested in, is still in a graph."""
    inner: Node | None = node
    while inner is not None:
        if inner.graph is None:
            return False
        inner = inner.graph.owner
    return True


def fold_shape_arithmetic(model: Model, context: Context) -> int:
    """Put constants in the place of nodes whose values inference knows, such as Shape of a static value.

    Returns how many nodes went. Types must be up to date.
    """
    inference = Inference.of(model)
    inference.update()
    count = 0
    for graph in list(model.graph.walk_graphs()):
        for node in graph:
            tensors = known_outputs(node, inference)
            if tensors is not None:
                with context.rewriting(model, "shape arithmetic", node.name) as allowed:
                    if allowed:
                        replace_by_constants(node, tensors)
                        count += 1
    return count


def known_outputs(node: Node, inference: Inference) -> list[Tensor] | None:
    """The outputs of a node of shape arithmetic, where inference knows them all; None for any other node.

    Floats count only where they are exact, and few: the scales of a Resize are computed from sizes.
    """
    if node.domain or node.op == "Constant" or node.subgraphs or not node.outputs:
        return None
    tensors = []
    for value in node.outputs:
        tensor = inference.known(value)
        if tensor is None or not (tensor.dtype.is_integer or tensor.dtype == DType.BOOL or _is_factor(node, tensor)):
            return None
        tensors.append(tensor)
    return tensors if ops.is_deterministic(node) else None


def _is_factor(node: Node, tensor: Tensor) -> bool:
    """Whether a float result is such as shapes are multiplied with."""
    return tensor.rank <= 1 and tensor.size <= MOST_DIMS and fold.is_exact(node)
