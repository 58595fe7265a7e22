"""Edits that make a model smaller without regard to what it computes, each leaving a valid model or raising `Stuck`.

cut        remove nodes; what others read of them becomes an input (a constant, where its value is known)
bypass     let what reads a node read one of its inputs of the same type
fill       put a constant in the place of an input, or one repeated element in the place of a constant
resize     make a size of dimensions another one, everywhere at once
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from irkit import ops
from irkit.folding import replace_by_constants
from irkit.infer import Inference
from irkit.ir import Graph, Node, NodeExtra, Value
from irkit.model import Model
from irkit.pairing import is_data
from irkit.tensor import Tensor
from irkit.types import DType, TensorType, ValueType, is_static

_KEPT_ELEMENTS = 16
"""Constants of up to so many elements are left as they are: they may be shapes and axes."""


class Stuck(Exception):  # noqa: N818  (an answer: this cannot be done here)
    """The edit cannot be made here."""


def cut(model: Model, nodes: Sequence[Node]) -> None:
    """Remove nodes of the main graph. Values others read become inputs, values only they read become outputs."""
    graph, going = model.graph, set(nodes)
    inference = Inference.of(model)
    sources = dict.fromkeys(value for node in nodes for value in node.reads() if _is_kept(value, graph, going))
    for node in nodes:
        for value in node.outputs:
            if any(_outer(user, graph) not in going for user in value.users):
                _feed(graph, value, inference)
    kept = [value for value in graph.outputs if value.producer not in going]
    kept += [value for value in sources if value not in kept and _reads_end(value, graph, going)]
    if not kept:
        raise Stuck("nothing is left to compute")
    graph.set_outputs(kept)
    for node in reversed(nodes):
        graph.remove(node)
    tidy(model)


def _is_kept(value: Value, graph: Graph, going: set[Node]) -> bool:
    """Whether it is made by a node of the main graph that stays and is more than data."""
    maker = value.producer
    return maker is not None and maker.graph is graph and maker not in going and not is_data(maker)


def _outer(node: Node, graph: Graph) -> Node:
    """The node of the graph that the node is, or is nested in."""
    while node.graph is not graph and node.graph is not None and node.graph.owner is not None:
        node = node.graph.owner
    return node


def _reads_end(value: Value, graph: Graph, going: set[Node]) -> bool:
    return all(_outer(user, graph) in going for user in value.users)


def _feed(graph: Graph, value: Value, inference: Inference) -> None:
    """Let an input or a constant of its name take the place of a value."""
    known, name, kind = inference.known(value), value.name, inference.type_of(value)
    if known is None and (kind is None or (isinstance(kind, TensorType) and kind.dtype == DType.UNDEFINED)):
        raise Stuck(f"the type of {name!r} is not known")
    value.name = graph.fresh_name(f"{name}_cut")
    made = graph.add_initializer(name, known) if known is not None else graph.add_input(name, kind)
    if made.name != name:
        made.name = name
    value.replace_all_uses(made)
    for inner in list(graph.walk_graphs()) if value.is_graph_output else ():
        if inner is not graph and value in inner.outputs:
            inner.set_outputs([made if item is value else item for item in inner.outputs])


def keep_outputs(model: Model, outputs: Sequence[Value]) -> None:
    """Let the model have only these outputs."""
    if not outputs:
        raise Stuck("a model has outputs")
    model.graph.set_outputs(outputs)
    tidy(model)


def tidy(model: Model) -> None:
    """Remove what nothing reads: nodes, constants, inputs, functions."""
    for graph in list(model.walk_graphs()):
        for node in reversed(graph):
            named = [value for value in node.outputs if value.name]
            if named and not any(value.is_used for value in named):
                graph.remove(node)
        for value in list(graph.initializers.values()):
            if not value.is_used and not value.is_graph_input:
                graph.remove_initializer(value)
    used = [value for value in model.graph.inputs if value.is_used]
    if len(used) < len(model.graph.inputs):
        defaults = [value for value in model.graph.inputs if value.is_initializer and not value.is_used]
        model.graph.set_inputs(used)
        for value in defaults:
            model.graph.remove_initializer(value)


def bypass(model: Model, nodes: Sequence[Node], choice: int = 0) -> None:
    """Let what reads the nodes read values that go into them, of the same type. They are neighbours in one graph.

    `choice` tells which, where several could be read. In the place of an output of a nested graph stands a copy, so
    there may be no fewer nodes than before.
    """
    inside = set(nodes)
    graph = nodes[0].graph
    assert graph is not None
    entering = dict.fromkeys(
        value for node in nodes for value in node.inputs if value is not None and value.producer not in inside
    )
    for node in nodes:
        for value in node.outputs:
            if value.is_graph_output or any(user not in inside for user in value.users):
                twins = [item for item in entering if _is_twin(item, value)]
                if len(twins) <= choice:
                    raise Stuck(f"nothing of the type of {value.name!r} goes in")
                graph.replace_value(value, twins[choice])
    tidy(model)


def _is_twin(item: Value, value: Value) -> bool:
    return item.type is not None and item.type == value.type and item.constant is None


def freeze(model: Model, nodes: Sequence[Node]) -> None:
    """Put constants in the place of what nodes make: for graphs that cannot be given an input."""
    inside = set(nodes)
    for node in reversed(nodes):
        read = [value for value in node.outputs if value.is_graph_output or any(u not in inside for u in value.users)]
        if read:
            kinds = [value.type for value in node.outputs]
            replace_by_constants(node, [_splat(1.0, _static(kind)) for kind in kinds])
    tidy(model)


def _static(kind: ValueType | None) -> TensorType:
    if not isinstance(kind, TensorType) or not is_static(kind.shape) or kind.dtype == DType.STRING:
        raise Stuck("its shape is not known")
    return kind


def fill_input(model: Model, value: Value, number: float) -> None:
    """Put a constant of one repeated element in the place of an input."""
    kind = _static(value.type)
    if value.is_graph_output:
        raise Stuck("it is an output too")
    graph, name = model.graph, value.name
    value.name = graph.fresh_name(f"{name}_filled")
    made = graph.add_initializer(name, _splat(number, kind))
    value.replace_all_uses(made)
    tidy(model)


def fill_constant(value: Value, number: float) -> None:
    """Let all elements of a stored array of floats be one number."""
    if not can_be_filled(value):
        raise Stuck("it is no array of floats, or a simple one already")
    data = value.constant
    assert data is not None
    value.set_initializer(_splat(number, TensorType(data.dtype, data.shape)))


def can_be_filled(value: Value) -> bool:
    """Whether it is stored, and has many elements that are floats and not all the same."""
    data = value.constant
    if value.producer is not None or data is None or not data.dtype.is_float:
        return False
    return data.size > _KEPT_ELEMENTS and not data.is_splat


def _splat(number: float, kind: TensorType) -> Tensor:
    if not kind.dtype.is_native:
        raise Stuck("numpy has no such elements")
    shape = [dim for dim in kind.shape or () if isinstance(dim, int)]
    return Tensor.splat(number, shape, kind.dtype)


def sizes(model: Model) -> list[int]:
    """The sizes above 1 of dimensions of inputs and constants, largest first."""
    shapes = [value.shape or () for value in (*model.graph.inputs, *_arrays(model))]
    return sorted({dim for shape in shapes for dim in shape if isinstance(dim, int) and dim > 1}, reverse=True)


def _arrays(model: Model) -> Iterator[Value]:
    for graph in model.walk_graphs():
        yield from (value for value in graph.initializers.values() if value.constant is not None)


def symbols(model: Model) -> list[Value]:
    """Inputs with dimensions that are no numbers."""
    return [value for value in model.graph.inputs if value.shape is not None and not is_static(value.shape)]


def bind_symbols(model: Model) -> None:
    """Make 1 of every dimension of an input that is no number."""
    for value in model.graph.inputs:
        kind = value.type
        if isinstance(kind, TensorType) and kind.shape is not None:
            value.type = TensorType(kind.dtype, tuple(dim if isinstance(dim, int) else 1 for dim in kind.shape))
    _forget_types(model)


def _forget_types(model: Model) -> None:
    """Let the types of what nodes make be inferred again."""
    for node in list(model.walk()):
        for value in node.outputs:
            value.type = None


def resize(model: Model, old: int, new: int) -> None:
    """Make `new` of every size `old`, and of its multiples the same multiples, in inputs, constants and attributes.

    Types of inner values are forgotten, to be inferred again.
    """

    def other(dim: int) -> int:
        return dim // old * new if dim % old == 0 else dim

    for value in model.graph.inputs:
        kind = value.type
        if isinstance(kind, TensorType) and kind.shape is not None:
            value.type = TensorType(kind.dtype, tuple(other(d) if isinstance(d, int) else d for d in kind.shape))
    for value in list(_arrays(model)):
        _resize_data(value, other)
    for node in list(model.walk()):
        _resize_attributes(node, other)
    _forget_types(model)


def _resize_attributes(node: Node, other: Callable[[int], int]) -> None:
    """Counts of channels, and the size of a kernel, which goes with that of the weights."""
    for name in ("group", "hidden_size", "num_groups"):
        count = node.attr(name)
        if isinstance(count, int) and count > 1:
            node.set_attr(name, max(1, other(count)))
    weights = node.input(1)
    if "kernel_shape" in node.attrs and weights is not None and weights.constant is not None:
        node.set_attr("kernel_shape", list(weights.constant.shape[2:]))


def _resize_data(value: Value, other: Callable[[int], int]) -> None:
    import numpy as np

    data = value.constant
    if data is None or not data.dtype.is_native:
        return
    if data.rank == 1 and data.size <= _KEPT_ELEMENTS and data.dtype == DType.INT64:
        items = data.numpy()
        made = [other(int(item)) if item > 1 else int(item) for item in items]
        if made != items.tolist():
            value.set_initializer(Tensor.of(np.asarray(made, items.dtype)))
        return
    shape = tuple(other(dim) for dim in data.shape)
    if shape == data.shape:
        return
    if data.is_splat:
        value.set_initializer(Tensor.splat(data.splat_value, shape, data.dtype))
    elif all(size <= dim for size, dim in zip(shape, data.shape, strict=True)):
        value.set_initializer(Tensor.of(data.numpy()[tuple(slice(size) for size in shape)].copy(), data.dtype))
    else:
        raise Stuck("an array cannot grow")


def store_constants(model: Model) -> None:
    """Put stored data in the place of Constant nodes, which count as nodes."""
    nodes = [node for graph in model.walk_graphs() for node in graph if is_data(node)]
    for node in nodes:
        data = node.output.constant
        if data is not None and not node.output.is_graph_output:
            replace_by_constants(node, [data])
    tidy(model)


def forget_extras(model: Model) -> None:
    """Drop metadata, of nodes too, and operator sets that no node is of."""
    model.set_field("metadata", {})
    for node in model.walk():
        if node.metadata or node.extra.doc:
            node.extra = NodeExtra(overload=node.extra.overload, unknown=node.extra.unknown)
    domains = {node.domain for node in model.walk()} | {""}
    model.set_field("opset_imports", {key: item for key, item in model.opset_imports.items() if key in domains})


def fits_together(model: Model) -> bool:
    """Whether types fit together everywhere, and inputs and outputs have types that ONNX takes."""
    inference = Inference.of(model)
    inference.update()
    typed = all(_is_declarable(value.type) for value in (*model.graph.inputs, *model.graph.outputs))
    return typed and not inference.problems and _is_within_schemas(model.walk())


def _is_declarable(kind: ValueType | None) -> bool:
    """Whether an input or output may be of that type: ONNX wants the rank of tensors."""
    return kind is not None and not (isinstance(kind, TensorType) and kind.shape is None)


def _is_within_schemas(nodes: Iterable[Node]) -> bool:
    """Whether no node has fewer inputs than its operator takes."""
    for node in nodes:
        schema = ops.schema_of(node)
        if schema is not None and len(node.inputs) < schema.min_inputs:
            return False
    return True
