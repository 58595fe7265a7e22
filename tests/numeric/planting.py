"""Wrong rewrites to plant in a model: what a faulty pass would make of a node, told to the journal like a rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from irkit import Context, DType, Model, Node, Pass, Tensor, Value, define_pass

Fault = Callable[[Node], bool]
"""Spoils a node; False where there is nothing to spoil."""

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")


def weights_of(node: Node) -> Tensor | None:
    value = node.inputs[1] if node.op in WEIGHTED and len(node.inputs) > 1 else None
    data = value.constant if value is not None else None
    return data if data is not None and data.dtype.is_float and data.dtype.is_native and data.size > 1 else None


def output_axis(node: Node) -> int:
    """The axis of the weights that stands for output channels."""
    if node.op == "ConvTranspose":
        return 1
    if node.op == "Gemm":
        return 0 if node.attr("transB", 0) else 1
    if node.op == "MatMul":
        data = weights_of(node)
        assert data is not None
        return data.rank - 1
    return 0


def set_weights(node: Node, array: np.ndarray) -> bool:
    assert node.graph is not None
    old = node.inputs[1]
    assert old is not None
    value = node.graph.add_initializer(f"{old.name}_wrong", Tensor.of(array))
    node.set_inputs([node.inputs[0], value, *node.inputs[2:]])
    return True


def scale_channel(node: Node) -> bool:
    """One output channel, the one in the middle, is 0.9 of what it should be."""
    data = weights_of(node)
    if data is None:
        return False
    array, axis = data.numpy().copy(), output_axis(node)
    np.moveaxis(array, axis, 0)[array.shape[axis] // 2] *= array.dtype.type(0.9)
    return set_weights(node, array)


def swap_channels(node: Node) -> bool:
    """The first and the last output channel have changed places."""
    data = weights_of(node)
    if data is None or data.shape[output_axis(node)] < 2:
        return False
    axis = output_axis(node)
    array = np.moveaxis(data.numpy().copy(), axis, 0)
    array[[0, -1]] = array[[-1, 0]]
    return set_weights(node, np.moveaxis(array, 0, axis))


def wrong_epsilon(node: Node) -> bool:
    """A hundred times the epsilon; not in float16, whose rounding drowns it."""
    if node.op not in ("BatchNormalization", "LayerNormalization", "InstanceNormalization"):
        return False
    if node.output.dtype is DType.FLOAT16:
        return False
    node.set_attr("epsilon", float(node.attr("epsilon", 1e-5)) * 100)
    return True


def wrong_axis(node: Node) -> bool:
    """The neighbour of the axis, where the output keeps its shape."""
    shape = node.output.shape
    if node.op not in ("Softmax", "LogSoftmax", "CumSum", "Transpose") or shape is None or len(shape) < 2:
        return False
    if node.op == "Transpose":
        perm = list(node.attr("perm", ()))
        if len(perm) < 2 or shape[-1] != shape[-2]:
            return False
        node.set_attr("perm", [*perm[:-2], perm[-1], perm[-2]])
        return True
    axis = node.attr("axis", -1)
    node.set_attr("axis", axis % len(shape) - 1 if axis % len(shape) else 1)
    return True


FAULTS: dict[str, Fault] = {
    "scaled": scale_channel,
    "swapped": swap_channels,
    "epsilon": wrong_epsilon,
    "axis": wrong_axis,
}


def can_be_spoilt(node: Node, fault: Fault) -> bool:
    """Whether the fault finds something to do at the node; the model is as it was afterwards."""
    model = node.graph.model if node.graph is not None else None
    assert model is not None
    with model.trial():
        return fault(node)


@define_pass("spoil", effect="exact")
class Spoil(Pass):
    """Rewrite nodes wrongly: the named ones (comma-separated), all others of an operator rightly, by a fresh copy."""

    wrong: str = ""
    fault: str = "scaled"
    also: str = ""

    def run(self, model: Model, context: Context) -> None:
        wrong = set(self.wrong.split(","))
        for node in list(model.graph):
            if node.name in wrong or node.op == self.also:
                with context.rewriting(model, "copy", node.name) as allowed:
                    if allowed:
                        copied = copy_of(node)
                        if node.name in wrong:
                            FAULTS[self.fault](copied)


def copy_of(node: Node) -> Node:
    """Replace a node by a new one that does the same; its values have new names, as after a rewrite."""
    graph = node.graph
    assert graph is not None
    types = [value.type for value in node.outputs]
    made = Node(node.op, node.inputs, dict(node.attrs), len(node.outputs), domain=node.domain, types=types)
    made.name = f"{node.name}_copy"
    graph.insert(made, before=node)
    made.set_origin([node])
    for old, new in zip(node.outputs, made.outputs, strict=True):
        graph.replace_value(old, new)
    graph.remove(node)
    return made


def interior(model: Model) -> Iterator[Value]:
    for node in model.graph:
        yield from (value for value in node.outputs if value.name)
