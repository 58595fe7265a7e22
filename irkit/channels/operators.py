"""What each operator does to channels, told to a `Trace`.

An operator that is not here, and a dimension an operator does not mention, keeps its size: padding stops there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from irkit.channels.elementwise import ELEMENTWISE, elementwise, keep_zero, passes, varies, zero_channels
from irkit.channels.slices import slice_channels
from irkit.channels.trace import FINITE, Content, PadGrouped, SetSizes, Trace, constant_of, integers, rank_of, wrap
from irkit.ir import Node, Value


def trace_node(node: Node, trace: Trace) -> None:
    """Tell what the node does to channels; say nothing of dimensions that must stay."""
    if node.domain or any(value is not None and trace.static(value) is None for value in (*node.inputs, node.output)):
        return
    if node.op in ELEMENTWISE:
        elementwise(node, trace)
    elif node.op in _HANDLERS:
        _HANDLERS[node.op](node, trace)


def channel_axis(node: Node) -> int | None:
    """The output dimension whose channels a layer with constant weights makes; None for any other node."""
    operands = [value for value in node.inputs[:2] if value is not None]
    fixed = [value.constant is not None for value in operands]
    if len(fixed) < 2 or True not in fixed or node.domain:
        return None
    if node.op in ("Conv", "ConvTranspose", "Gemm"):
        return 1 if fixed[1] else None
    rank = rank_of(node.output)
    return (rank - 1 if fixed[1] else rank - 2) if node.op == "MatMul" and rank >= 2 else None


def _operands(node: Node) -> tuple[Value, Value] | None:
    """Data and constant weights of a linear layer; None where they are something else, or the bias is computed."""
    data, weights, bias = node.input(0), node.input(1), node.input(2)
    if data is None or weights is None or weights.constant is None or (bias is not None and bias.constant is None):
        return None
    return data, weights


def _conv(node: Node, trace: Trace) -> None:
    operands = _operands(node)
    if operands is None:
        return
    data = operands[0]
    transposed = node.op == "ConvTranspose"
    source, target, groups = (data, 1), (node.output, 1), node.attr("group", 1)
    trace.same(node, 0, data, node.output, {0: 0})
    trace.transfer(node, keep_zero if node.input(2) is None else varies)
    if groups == 1:
        trace.absorb(node, data, 1)
        trace.pad(node, 1, 0 if transposed else 1, source)
        trace.source(node, node.output, 1)
        trace.pad(node, 1, 1 if transposed else 0, target)
    elif trace.is_active(data, 1) and _adds_groups(node, trace, data, groups):
        _whole_groups(node, trace, data, groups, 0 if transposed else None)
    else:
        trace.blocks(node, data, 1, groups, "in")
        trace.source(node, node.output, 1)
        trace.blocks(node, node.output, 1, groups, "out")
        trace.edits.append(PadGrouped(node, source, target, groups, transposed))
    if node.input(2) is not None:
        trace.pad(node, 2, 0, target)


def _adds_groups(node: Node, trace: Trace, data: Value, groups: int) -> bool:
    """Whether adding whole groups costs fewer weights than growing each group."""
    inner, outer = trace.size((data, 1)) // groups, trace.size((node.output, 1)) // groups
    if inner == 1:
        return True
    multiple = trace.multiple
    unit = multiple // math.gcd(groups, multiple)
    growing = groups * (-(-inner // unit) * unit) * (-(-outer // unit) * unit)
    step = math.lcm(multiple // math.gcd(inner, multiple), multiple // math.gcd(outer, multiple))
    return -(-groups // step) * step * inner * outer < growing


def _whole_groups(node: Node, trace: Trace, data: Value, groups: int, weights_follow_input: int | None) -> None:
    """Groups are the channels, each of several lanes in and out: a depthwise Conv has one lane in."""
    source, target, count = (data, 1), (node.output, 1), (node, 0)
    inner, outer = trace.size(source) // groups, trace.size(target) // groups
    trace.old[count] = groups
    trace.spread(node, 0, count, source, 1, inner, narrows=True)
    trace.spread(node, 0, count, target, 1, outer)
    trace.parts[target] = None  # to be aligned by itself: a group may have an odd number of outputs
    trace.pad(node, 1, 0, source if weights_follow_input is not None else target)
    trace.edits.append(SetSizes(node, "group", (count,), scalar=True))
    trace.transfer(node, zero_channels)


def _gemm(node: Node, trace: Trace) -> None:
    operands = _operands(node)
    if operands is None or node.attr("transA", 0):
        return
    data = operands[0]
    rows, columns = (1, 0) if node.attr("transB", 0) else (0, 1)
    trace.absorb(node, data, 1)
    trace.pad(node, 1, rows, (data, 1))
    bias = constant_of(node.input(2))
    content: Content = 0.0
    if bias is not None and bias.shape[-1:] == (trace.size((node.output, 1)),):
        trace.pad(node, 2, bias.rank - 1, (node.output, 1))
    elif bias is not None:
        content = float(bias.item()) * node.attr("beta", 1.0) if bias.size == 1 else FINITE
    if bias is None or bias.rank < 2 or bias.shape[0] == 1:
        trace.same(node, 0, data, node.output, {0: 0})
        trace.transfer(node, keep_zero if bias is None else varies)
    trace.source(node, node.output, 1, content)
    trace.pad(node, 1, columns, (node.output, 1))


def _matmul(node: Node, trace: Trace) -> None:
    left, right = node.inputs[:2]
    assert left is not None
    assert right is not None
    trace.transfer(node, keep_zero)
    if right.constant is not None and rank_of(right) == 2 and rank_of(left) >= 2:
        _matmul_side(node, trace, left, 0, rank_of(left) - 1, 0)
    elif left.constant is not None and rank_of(left) == 2 and rank_of(right) >= 2:
        _matmul_side(node, trace, right, 1, rank_of(right) - 2, 1)


def _matmul_side(node: Node, trace: Trace, data: Value, slot: int, axis: int, sums: int) -> None:
    """MatMul with constant weights in the other slot, which sum over their axis `sums`."""
    trace.absorb(node, data, axis)
    trace.pad(node, 1 - slot, sums, (data, axis))
    trace.same(node, slot, data, node.output, {other: other for other in range(rank_of(data)) if other != axis})
    trace.source(node, node.output, axis)
    trace.pad(node, 1 - slot, 1 - sums, (node.output, axis))


def _batch_norm(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    constants = [constant_of(value) for value in node.inputs[1:]]
    if data is None or None in constants or node.attr("training_mode", 0) or len(node.outputs) > 1:
        return
    trace.same(node, 0, data, node.output, {axis: axis for axis in range(rank_of(data))})
    for slot, fill in ((1, 0.0), (2, 0.0), (3, 0.0), (4, 1.0)):
        trace.pad(node, slot, 0, (node.output, 1), fill)
    trace.transfer(node, zero_channels)


def _instance_norm(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    if data is None or constant_of(node.input(1)) is None or constant_of(node.input(2)) is None:
        return
    trace.same(node, 0, data, node.output, {0: 0, 1: 1})
    trace.pad(node, 1, 0, (node.output, 1))
    trace.pad(node, 2, 0, (node.output, 1))
    trace.transfer(node, zero_channels)


def _pool(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    if data is None or any(value.use_count for value in node.outputs[1:]):
        return
    trace.same(node, 0, data, node.output, {0: 0, 1: 1})
    steady = node.op in ("MaxPool", "GlobalMaxPool", "GlobalAveragePool")
    steady = steady or (node.op == "AveragePool" and not any(node.attr("pads", ())))
    trace.transfer(node, passes if steady else keep_zero)


def _pad(node: Node, trace: Trace) -> None:
    data, pads = node.inputs[0], integers(node, "pads", 1)
    axes = integers(node, "axes", 3)
    if data is None or pads is None or (node.input(3) is not None and axes is None):
        return
    listed = [wrap(axis, data) for axis in axes] if axes is not None else list(range(rank_of(data)))
    moved = {axis for i, axis in enumerate(listed) if pads[i] or pads[i + len(listed)]}
    trace.same(node, 0, data, node.output, {axis: axis for axis in range(rank_of(data)) if axis not in moved})
    value = constant_of(node.input(2))
    border = float(value.item()) if value is not None else float(node.attr("value", 0.0))
    constant = node.attr("mode", "constant") == "constant"
    trace.transfer(node, lambda _, contents: contents[0] if not constant or contents[0] == border else FINITE)


def _resize(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    if data is None or node.attr("coordinate_transformation_mode") == "tf_crop_and_resize":
        return
    kept = {axis: axis for axis in range(rank_of(data)) if trace.size((data, axis)) == trace.size((node.output, axis))}
    trace.same(node, 0, data, node.output, kept)
    trace.transfer(node, passes if node.attr("mode", "nearest") == "nearest" else keep_zero)
    sizes = node.input(3)
    if sizes is not None:
        listed = node.attr("axes") or range(rank_of(data))
        trace.edits.append(SetSizes(node, 3, tuple((node.output, wrap(axis, data)) for axis in listed)))


def _transpose(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    if data is not None:
        perm = node.attr("perm") or tuple(reversed(range(rank_of(data))))
        trace.same(node, 0, data, node.output, {source: target for target, source in enumerate(perm)})


def _reshape(node: Node, trace: Trace) -> None:
    data, out = node.inputs[0], node.output
    if data is None or (node.op == "Reshape" and constant_of(node.input(1)) is None):
        return
    if math.prod(data.shape or ()) == 0:  # type: ignore[arg-type]  # trace_node saw to it that dimensions are numbers
        return
    for inputs, outputs in _blocks(data, out, trace):
        if len(inputs) == len(outputs) == 1:
            trace.same(node, 0, data, out, {inputs[0]: outputs[0]})
        elif inputs and outputs:
            trace.reshape(node, data, out, inputs, outputs)
    if node.op == "Reshape":
        trace.edits.append(SetSizes(node, 1, tuple((out, axis) for axis in range(rank_of(out)))))


def _blocks(data: Value, out: Value, trace: Trace) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of dimensions on both sides that hold the same number of elements."""
    rows: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < rank_of(data) and j < rank_of(out):
        inputs, outputs = [i], [j]
        left, right = trace.size((data, i)), trace.size((out, j))
        while left != right:
            if left < right:
                inputs.append(inputs[-1] + 1)
                left *= trace.size((data, inputs[-1]))
            else:
                outputs.append(outputs[-1] + 1)
                right *= trace.size((out, outputs[-1]))
        rows.append((inputs, outputs))
        i, j = inputs[-1] + 1, outputs[-1] + 1
    return rows


def _reordered(node: Node, trace: Trace) -> None:
    """Squeeze and Unsqueeze."""
    data, out = node.inputs[0], node.output
    axes = integers(node, "axes", 1)
    if data is None:
        return
    longer = data if node.op == "Squeeze" else out
    if axes is None:
        axes = [axis for axis in range(rank_of(longer)) if trace.size((longer, axis)) == 1]
    gone = {wrap(axis, longer) for axis in axes}
    kept = [axis for axis in range(rank_of(longer)) if axis not in gone]
    pairs = {axis: i for i, axis in enumerate(kept)} if node.op == "Squeeze" else dict(enumerate(kept))
    trace.same(node, 0, data, out, pairs)


def _reduce(node: Node, trace: Trace) -> None:
    data, out = node.inputs[0], node.output
    axes = integers(node, "axes", 1) if not node.op.startswith("Arg") else [node.attr("axis", 0)]
    if data is None or (node.input(1) is not None and axes is None):
        return
    if not axes:
        axes = [] if node.attr("noop_with_empty_axes", 0) else list(range(rank_of(data)))
    gone = {wrap(axis, data) for axis in axes}
    kept = [axis for axis in range(rank_of(data)) if axis not in gone]
    stay = node.attr("keepdims", 1)
    trace.same(node, 0, data, out, {axis: axis if stay else i for i, axis in enumerate(kept)})
    for axis in gone:
        if node.op in _SUMS:
            trace.absorb(node, data, axis, zeros=True)
        else:
            trace.freeze(data, axis, f"{node.op} over channels at {node.name}")
    trace.transfer(node, passes if node.op in ("ReduceMean", "ReduceMax", "ReduceMin") else keep_zero)


_SUMS = ("ReduceSum", "ReduceL1", "ReduceL2", "ReduceSumSquare")


def _concat(node: Node, trace: Trace) -> None:
    out, axis = node.output, wrap(node.attr("axis", 0), node.output)
    inputs = [value for value in node.inputs if value is not None]
    for other in range(rank_of(out)):
        if other == axis or not any(trace.is_active(value, other) for value in inputs):
            continue
        for slot, value in enumerate(inputs):
            if value.constant is not None:
                trace.pad(node, slot, other, (out, other))
            else:
                trace.meet(node, value, other, trace.size((out, other)))
    for slot, value in enumerate(inputs):
        trace.same(node, slot, value, out, {other: other for other in range(rank_of(out)) if other != axis})
    trace.concat(node, inputs, out, axis)


def _split(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    if data is None:
        return
    axis = wrap(node.attr("axis", 0), data)
    parts = [((value, axis), trace.static(value)) for value in node.outputs]
    if any(shape is None for _, shape in parts):
        return
    for value in node.outputs:
        trace.same(node, 0, data, value, {other: other for other in range(rank_of(data)) if other != axis})
    sizes = [(key, shape[axis]) for key, shape in parts if shape is not None]
    trace.split(node, data, axis, sizes, [(value, axis) for value in node.outputs if not value.use_count])
    where: int | str = 1 if trace.opset >= 13 else "split"
    trace.edits.append(SetSizes(node, where, tuple(key for key, _ in parts)))


def _softmax(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    if data is None:
        return
    axis = wrap(node.attr("axis", -1 if trace.opset >= 13 else 1), data)
    last = axis + 1 if trace.opset >= 13 else rank_of(data)  # before 13 it ran over all dimensions from `axis` on
    trace.same(node, 0, data, node.output, {other: other for other in range(rank_of(data)) if not axis <= other < last})
    for other in range(axis, last):
        trace.freeze(data, other, f"{node.op} over channels at {node.name}")
    trace.transfer(node, varies)


def _layer_norm(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    if data is None or any(value.use_count for value in node.outputs[1:]):
        return
    axis = wrap(node.attr("axis", -1), data)
    trace.same(node, 0, data, node.output, {other: other for other in range(axis)})
    for other in range(axis, rank_of(data)):
        trace.freeze(data, other, f"{node.op} over channels at {node.name}")
    trace.transfer(node, varies)


def _lp_norm(node: Node, trace: Trace) -> None:
    data = node.inputs[0]
    axis = wrap(node.attr("axis", -1), node.output)
    if data is not None:
        trace.same(node, 0, data, node.output, {axis: axis})
        if trace.is_active(data, axis):
            trace.zeros.append(((data, axis), node))


def _space_depth(node: Node, trace: Trace) -> None:
    data, out = node.inputs[0], node.output
    if data is None:
        return
    square = node.attr("blocksize") ** 2
    trace.same(node, 0, data, out, {0: 0})
    if node.op == "SpaceToDepth":
        trace.spread(node, 0, (data, 1), (out, 1), square, 1)
    elif node.attr("mode", "DCR") == "DCR":
        trace.spread(node, 0, (out, 1), (data, 1), square, 1, narrows=True)
    else:
        trace.spread(node, 0, (out, 1), (data, 1), 1, square, narrows=True)


def _expand(node: Node, trace: Trace) -> None:
    data, out = node.inputs[0], node.output
    if data is None or constant_of(node.input(1)) is None:
        return
    trace.joined(node, [(0, data)], out)
    trace.edits.append(SetSizes(node, 1, tuple((out, axis) for axis in range(rank_of(out)))))


def _tile(node: Node, trace: Trace) -> None:
    data, repeats = node.inputs[0], integers(node, "repeats", 1)
    if data is not None and repeats is not None:
        trace.same(node, 0, data, node.output, {axis: axis for axis, count in enumerate(repeats) if count == 1})


def _gather(node: Node, trace: Trace) -> None:
    data, index = node.inputs[0], node.input(1)
    if data is None or index is None or data.constant is not None:
        return
    axis = wrap(node.attr("axis", 0), data)
    shift = rank_of(index) - 1
    trace.same(
        node,
        0,
        data,
        node.output,
        {other: other if other < axis else other + shift for other in range(rank_of(data)) if other != axis},
    )


def _grid_sample(node: Node, trace: Trace) -> None:
    if node.inputs[0] is not None:
        trace.same(node, 0, node.inputs[0], node.output, {0: 0, 1: 1})
        trace.transfer(node, keep_zero)


_Handler = Callable[[Node, Trace], None]


def _table(*rows: tuple[_Handler, Sequence[str]]) -> dict[str, _Handler]:
    return {op: handler for handler, ops in rows for op in ops}


_HANDLERS = _table(
    (_conv, ["Conv", "ConvTranspose"]),
    (_gemm, ["Gemm"]),
    (_matmul, ["MatMul"]),
    (_batch_norm, ["BatchNormalization"]),
    (_instance_norm, ["InstanceNormalization"]),
    (_pool, ["MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"]),
    (_pad, ["Pad"]),
    (_resize, ["Resize"]),
    (_transpose, ["Transpose"]),
    (_reshape, ["Reshape", "Flatten"]),
    (_reordered, ["Squeeze", "Unsqueeze"]),
    (
        _reduce,
        [
            *_SUMS,
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceProd",
            "ReduceLogSum",
            "ReduceLogSumExp",
            "ArgMax",
            "ArgMin",
        ],
    ),
    (_concat, ["Concat"]),
    (_split, ["Split"]),
    (slice_channels, ["Slice"]),
    (_softmax, ["Softmax", "LogSoftmax", "Hardmax"]),
    (_layer_norm, ["LayerNormalization"]),
    (_lp_norm, ["LpNormalization"]),
    (_space_depth, ["SpaceToDepth", "DepthToSpace"]),
    (_expand, ["Expand"]),
    (_tile, ["Tile"]),
    (_gather, ["Gather"]),
    (_grid_sample, ["GridSample"]),
)
