"""Replace sequences of tensors whose elements are known by the tensors themselves.

    SequenceAt(SplitToSequence(x, split), i)            ->  output i of Split(x)
    ConcatFromSequence(SequenceConstruct(a, b, ...))    ->  Concat(a, b, ...)
    SequenceAt(SequenceConstruct(a, b, ...), i)         ->  the i-th of a, b, ...

Exporters of torch.split and torch.chunk write sequences; compilers for accelerators take tensors only. It applies where
positions are constants and the split dimension is a number; Split with sizes as an input is of operator set 13 and up.
"""

import numpy as np

import irkit


@irkit.define_pass("unpack-sequences", effect="exact")
class UnpackSequences(irkit.Pass):
    """Replace sequences with known elements by plain tensors."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        """Look at every node that reads a sequence, nested graphs included."""
        if model.opset < 13:
            return
        for graph in list(model.graph.walk_graphs()):
            for node in graph:
                if node.op_id == "SplitToSequence":
                    _unpack_split(model, context, node)
                elif node.op_id in ("SequenceAt", "ConcatFromSequence"):
                    _unpack_construct(model, context, node)


def _unpack_split(model: irkit.Model, context: irkit.Context, node: irkit.Node) -> None:
    sizes, users = _split_sizes(node), node.output.users
    if sizes is None or node.output.is_graph_output or not users:
        return
    places = [_position(user, len(sizes)) for user in users]
    if any(place is None or user.graph is not node.graph for place, user in zip(places, users, strict=True)):
        return
    with context.rewriting(model, "split-to-sequence", node.name) as allowed:
        graph = node.graph
        if not allowed or graph is None:
            return
        listed = graph.add_initializer(f"{node.name}_sizes", irkit.Tensor.of(np.asarray(sizes, np.int64)))
        types = _part_types(node, sizes)
        split = irkit.Node(
            "Split", [node.inputs[0], listed], {"axis": node.attr("axis", 0)}, len(sizes), name=node.name, types=types
        )
        graph.insert(split, before=node)
        split.set_origin([node])
        for user, place in zip(users, places, strict=True):
            graph.replace_value(user.output, split.outputs[place or 0])
            graph.remove(user)
        graph.remove(node)


def _split_sizes(node: irkit.Node) -> list[int] | None:
    """Sizes of the parts, where they are known and the parts keep their rank."""
    data, split = node.inputs[0], node.input(1)
    shape = data.shape if data is not None else None
    axis = node.attr("axis", 0)
    if shape is None or not -len(shape) <= axis < len(shape) or not isinstance(size := shape[axis], int):
        return None
    if split is None:
        return [1] * size if node.attr("keepdims", 1) else None
    if split.constant is None:
        return None
    if split.constant.rank == 1:
        return [int(item) for item in split.constant.numpy()]
    step = int(split.constant.item())
    return [min(step, size - start) for start in range(0, size, step)] if step > 0 else None


def _part_types(node: irkit.Node, sizes: list[int]) -> list[irkit.TensorType | None]:
    data = node.inputs[0]
    if data is None or data.dtype is None or data.shape is None:
        return [None] * len(sizes)
    axis = node.attr("axis", 0) % len(data.shape)
    return [irkit.TensorType(data.dtype, (*data.shape[:axis], size, *data.shape[axis + 1 :])) for size in sizes]


def _position(node: irkit.Node, count: int) -> int | None:
    """Which element a SequenceAt takes, from 0; None where it is something else or not known."""
    index = node.input(1)
    if node.op != "SequenceAt" or node.domain or index is None or index.constant is None:
        return None
    place = int(index.constant.item())
    place += count if place < 0 else 0
    return place if 0 <= place < count else None


def _unpack_construct(model: irkit.Model, context: irkit.Context, node: irkit.Node) -> None:
    sequence = node.inputs[0]
    maker = sequence.producer if sequence is not None else None
    if maker is None or maker.op != "SequenceConstruct" or maker.domain or maker.graph is not node.graph:
        return
    place = _position(node, len(maker.inputs))
    if (node.op == "SequenceAt" and place is None) or node.attr("new_axis", 0):
        return
    with context.rewriting(model, "sequence-construct", node.name) as allowed:
        graph = node.graph
        if not allowed or graph is None:
            return
        if node.op == "SequenceAt":
            element = maker.inputs[place or 0]
            assert element is not None
            graph.replace_value(node.output, element)
        else:
            concat = irkit.Node(
                "Concat", maker.inputs, {"axis": node.attr("axis")}, name=node.name, types=[node.output.type]
            )
            graph.insert(concat, before=node)
            concat.set_origin([maker, node])
            graph.replace_value(node.output, concat.output)
        graph.remove(node)
        if not maker.output.use_count:
            graph.remove(maker)
