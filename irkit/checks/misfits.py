"""Groups of nodes that the compiler refuses for what they stand behind, by the name of the pattern."""

from __future__ import annotations

import math
from collections.abc import Iterator

from irkit import ops
from irkit.checks.cuts import FEW_WEIGHTS, feeding_layers, is_layer, producer, sources
from irkit.checks.reading import behind_idle, is_op, made_by, shapes_of, sizes, turns, users
from irkit.ir import Node, Value
from irkit.linter import Subject

_RECURRENT = ("LSTM", "GRU", "RNN")
_SELECTING = ("TopK", "GatherElements", "NonMaxSuppression")
_LAYOUT = ("Reshape", "Transpose", "Flatten")
_THROUGH = ("Add", "Sub", "Mul", "Div", "Where", "Reshape", "Clip", "Max", "Min", "Cast")
_ELEMENTWISE = (
    "Add", "Sub", "Mul", "Div", "Erf", "Pow", "Sqrt", "ReduceMean", "Relu", "Sigmoid", "Tanh", "HardSwish", "Gelu",
)  # fmt: skip
_MOST_IN_BLOCK = 32
"""How many nodes a block between two Transposes may have."""

_MOST_STEPS = 8
"""How many nodes back from a softmax a product of attention is looked for."""


def misfits(subject: Subject) -> dict[Node, str]:
    """The members of the patterns of this file."""
    found: dict[Node, str] = dict.fromkeys(_flattened_tails(subject), "flattened-tail")
    feeding = subject.once(feeding_layers)
    for node in subject.of(*_SELECTING):
        if node not in feeding:
            found.update(dict.fromkeys(_layout_behind(subject, node), "behind-selection"))
    for integral in subject.of("Conv"):
        found.update(dict.fromkeys(_box_distribution(subject, integral), "box-distribution"))
    for concat in subject.of("Concat"):
        found.update(dict.fromkeys(_unfold(subject, concat), "unfold"))
    for layer in subject.of(*_RECURRENT):
        found.update(dict.fromkeys(_behind_recurrence(subject, layer), "behind-recurrence"))
        found.update(dict.fromkeys(_directions(subject, layer), "recurrent-direction"))
    found.update(dict.fromkeys(_flattened_logits(subject), "flattened-logits"))
    for norm in subject.of("BatchNormalization"):
        if subject.rank(norm.input(0)) == 2 and made_by(subject, norm.input(0), "Gemm", "MatMul") is not None:
            found[norm] = "dense-norm"
    for transpose in subject.of("Transpose"):
        found.update(dict.fromkeys(_channels_last_block(subject, transpose), "channels-last-block"))
    for softmax in subject.of("Softmax"):
        found.update(dict.fromkeys(_one_head(subject, softmax), "attention-of-one-head"))
        if _is_over_width(subject, softmax):
            found[softmax] = "width-softmax"
    return found


def _box_distribution(subject: Subject, integral: Node) -> list[Node]:
    """What changes the layout around the mean of a distribution over bins, as YOLOv8 spells the sides of its boxes.

    A convolution with one output, and a number for each bin, of the softmax over the bins of a map.
    """
    weight = sizes(subject, integral.input(1))
    if not weight or weight[0] != 1 or not 1 < math.prod(weight) <= FEW_WEIGHTS:
        return []
    before = list(_layout_before(subject, integral))
    if not all(any(is_op(node, op) for node in before) for op in ("Softmax", "Transpose")):
        return []
    behind = [user for user in users(subject, integral.output) if is_op(user, *_LAYOUT)]
    return [node for node in (*before, *behind) if is_op(node, *_LAYOUT)]


def _layout_before(subject: Subject, node: Node) -> Iterator[Node]:
    """The softmaxes and layout nodes right before a node."""
    source = producer(subject, node.input(0))
    while source is not None and is_op(source, "Softmax", *_LAYOUT):
        yield source
        source = producer(subject, source.input(0))


def _unfold(subject: Subject, concat: Node) -> list[Node]:
    """Pieces of one tensor, turned, each with a new axis, and joined along it: how Tensor.unfold is exported."""
    members: list[Node] = []
    wholes: set[Value | None] = set()
    for value in concat.inputs:
        unsqueeze = made_by(subject, value, "Unsqueeze")
        turned = made_by(subject, unsqueeze.input(0), "Transpose") if unsqueeze is not None else None
        cut = made_by(subject, turned.input(0), "Slice") if turned is not None else None
        if unsqueeze is None or turned is None or cut is None:
            return []
        members += [turned, unsqueeze]
        wholes.add(behind_idle(subject, cut.input(0)))
    return members if len(concat.inputs) > 1 and len(wholes) == 1 else []


def _directions(subject: Subject, layer: Node) -> Iterator[Node]:
    """The Slice and Gather nodes that take the directions of a recurrent layer apart."""
    for output in layer.outputs:
        for user in users(subject, output):
            if is_op(user, "Slice", "Gather"):
                yield user


def _behind_recurrence(subject: Subject, layer: Node) -> Iterator[Node]:
    """The dense layers that read what a recurrent layer makes, with their biases, past changes of layout."""
    pending = [user for output in layer.outputs for user in users(subject, output)]
    seen: set[Node] = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        if is_op(node, "Gemm", "MatMul") and is_layer(subject, node):
            yield node
            yield from (user for user in users(subject, node.output) if is_op(user, "Add"))
        elif is_op(node, *_LAYOUT, "Squeeze", "Unsqueeze", "Slice", "Gather", "Concat"):
            pending += users(subject, node.output)


def _is_over_width(subject: Subject, softmax: Node) -> bool:
    """Whether a softmax over the last axis of a map is none of attention, where that axis counts the keys."""
    shape = sizes(subject, softmax.input(0))
    axis = ops.attribute(softmax, "axis")
    if shape is None or len(shape) != 4 or axis not in (-1, 3):
        return False
    node = producer(subject, softmax.input(0))
    for _ in range(_MOST_STEPS):
        if node is None or not is_op(node, *_THROUGH):
            break
        node = next(sources(subject, node), None)
    return is_op(node, "Conv", "ConvTranspose", "BatchNormalization", "Resize", "MaxPool", "AveragePool", "Relu")


def _channels_last_block(subject: Subject, turned: Node) -> list[Node]:
    """The Transposes around dense layers on a map with its channels last, and what scales their result: ConvNeXt."""
    if not turns(turned, (0, 2, 3, 1)):
        return []
    scales: list[Node] = []
    has_layer = False
    node: Node | None = turned
    for _ in range(_MOST_IN_BLOCK):
        readers = users(subject, node.output) if node is not None else []
        node = readers[-1] if readers else None
        if node is None or turns(node, (0, 3, 1, 2)):
            break
        if not is_op(node, "LayerNormalization", "MatMul", *_ELEMENTWISE):
            return []
        has_layer = has_layer or (is_layer(subject, node) and subject.rank(node.input(0)) == 4)
        scales = [*scales, node] if is_op(node, "Mul") and _is_by_channel(subject, node) else []
    return [turned, *scales[-1:], node] if node is not None and turns(node, (0, 3, 1, 2)) and has_layer else []


def _is_by_channel(subject: Subject, node: Node) -> bool:
    """Whether it multiplies by a constant with one number a channel."""
    constants = [value for value in node.inputs if value is not None and subject.is_constant(value)]
    return len(constants) == 1 and subject.rank(constants[0]) == 1


def _one_head(subject: Subject, softmax: Node) -> list[Node]:
    """The products of an attention of shape (1, tokens, width), without an axis of heads, and what is between them."""
    members = [softmax]
    while (source := producer(subject, members[0].input(0))) is not None and is_op(source, *_THROUGH):
        members.insert(0, source)
    mixing = [user for user in users(subject, softmax.output) if is_op(user, "MatMul")]
    if source is None or not is_op(source, "MatMul") or any(subject.is_constant(value) for value in source.reads()):
        return []
    shape = sizes(subject, source.output)
    if shape is None or len(shape) != 3 or shape[0] != 1:
        return []
    return [source, *members, *mixing]


def _flattened_tails(subject: Subject) -> Iterator[Node]:
    """Nodes that flatten a map of a convolution behind which no layer comes, and what changes the layout after them."""
    feeding = subject.once(feeding_layers)
    for node in subject.of("Reshape", "Flatten"):
        if node not in feeding and _flattens_map(subject, node):
            yield node
            yield from _layout_behind(subject, node)


def _flattened_logits(subject: Subject) -> Iterator[Node]:
    """Nodes that make a row of the one pixel that the last convolution leaves, as an output of the network."""
    for node in subject.of("Reshape", "Flatten", "Squeeze"):
        before = sizes(subject, node.input(0))
        is_pixel = before is not None and len(before) == 4 and before[2:] == (1, 1)
        if is_pixel and node.output.is_graph_output and made_by(subject, node.input(0), "Conv") is not None:
            yield node


def _flattens_map(subject: Subject, node: Node) -> bool:
    """Whether height and width of a map, or of one with its channels brought to the back, become one axis."""
    shapes = shapes_of(subject, node)
    turned = producer(subject, node.input(0))
    if shapes is None or len(shapes[0]) != 4 or turned is None:
        return False
    before, after = shapes
    is_back = is_op(turned, "Transpose") and turned.attr("perm") == (0, 2, 3, 1)
    space = before[1:3] if is_back else before[2:]
    layer = producer(subject, turned.input(0)) if is_back else turned
    area = math.prod(space)
    return is_op(layer, "Conv") and 1 not in space and any(size % area == 0 and size >= area for size in after[1:])


def _layout_behind(subject: Subject, node: Node) -> Iterator[Node]:
    """The nodes that change the layout of what is computed of a node's results."""
    pending, seen = [user for output in node.outputs for user in users(subject, output)], set[Node]()
    while pending:
        user = pending.pop()
        if user in seen:
            continue
        seen.add(user)
        pending += [later for output in user.outputs for later in users(subject, output)]
        if is_op(user, "Reshape", "Flatten"):
            yield user
