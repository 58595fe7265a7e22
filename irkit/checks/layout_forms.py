"""Reshape and Transpose where the compiler knows what they mean: tokens, windows, shuffles, classifiers, rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

from irkit import ops
from irkit.checks.conditions import worked_axes
from irkit.checks.cuts import is_layer, producer
from irkit.checks.reading import behind_idle, is_op, made_by, only_user, shapes_of, sizes, turns, users
from irkit.identities import constant_integers, permutation
from irkit.ir import Node, Value
from irkit.linter import Subject

_SHUFFLES = frozenset({
    (0, 2, 1, 3, 4),  # channels of groups, channel shuffle
    (0, 1, 4, 2, 5, 3), (0, 3, 4, 1, 5, 2),  # depth to space, CRD and DCR
    (0, 1, 3, 4, 2, 5),  # patch merging of Swin, channels last
})  # fmt: skip
"""Permutations between two Reshapes that split and merge axes of a feature map."""

_UNSHUFFLES = frozenset({(0, 1, 3, 5, 2, 4), (0, 3, 5, 1, 2, 4)})
"""The same of space to depth, CRD and DCR."""

_ON_MAPS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "BatchNormalization")
"""Operators whose operand has its channels as axis 1."""

_POOLS = ("GlobalAveragePool", "GlobalMaxPool", "AveragePool", "MaxPool", "ReduceMean", "Conv")

_WINDOWS = (0, 1, 3, 2, 4, 5)
_FLATTENING = ("Reshape", "Flatten")


def layouts(subject: Subject) -> dict[Node, str]:
    """The nodes that change the layout in a way that is known, by the name of the pattern."""
    found: dict[Node, str] = {}
    for node in subject.of("Reshape", "Flatten"):
        for name, is_so in _ALONE.items():
            if is_so(subject, node):
                found.setdefault(node, name)
    for squeeze in subject.of("Squeeze"):
        if _is_squeeze_of_pooled(subject, squeeze):
            found[squeeze] = "classifier-flatten"
    for transpose in subject.of("Transpose"):
        for name, members in _AROUND.items():
            found.update(dict.fromkeys(members(subject, transpose), name))
        if transpose not in found and _changes_format(subject, transpose):
            found[transpose] = "format-change"
        found.update(dict.fromkeys(_map_of_tokens(subject, transpose), "map-of-tokens"))
    for one_hot in subject.of("OneHot"):
        found.update(dict.fromkeys(_one_hot(subject, one_hot), "one-hot"))
    for turned in subject.of("Concat"):
        if ops.attribute(turned, "axis") != 1:
            found.update(dict.fromkeys(_rotation(subject, turned), "rope"))
    return found


# --- a single Reshape ------------------------------------------------------------------------------------------------


def _is_classifier_flatten(subject: Subject, node: Node) -> bool:
    """Whether a pooled map, or a map before a dense layer, becomes a row."""
    shapes = shapes_of(subject, node)
    if shapes is None or len(shapes[0]) < 4 or len(shapes[1]) != 2:
        return False
    before, row = shapes
    space = before[2:]
    if before[0] != row[0] or math.prod(before[1:]) != row[1] or (1 in space and math.prod(space) > 1):
        return False
    readers = users(subject, node.output)
    return math.prod(space) == 1 or all(is_layer(subject, user) for user in readers)


def _is_squeeze_of_pooled(subject: Subject, node: Node) -> bool:
    """Whether axes of height and width are dropped that pooling made 1, at once or one after the other."""
    axes, rank = worked_axes(node), subject.rank(node.input(0))
    if axes is None or rank is None or any(axis % rank < 2 for axis in axes):
        return False
    first: Node | None = node
    while first is not None and (before := made_by(subject, first.input(0), "Squeeze")) is not None:
        first = before
    shape = sizes(subject, first.input(0)) if first is not None else None
    pool = made_by(subject, first.input(0), *_POOLS) if first is not None else None
    return pool is not None and shape is not None and len(shape) == 4 and shape[2:] == (1, 1)


def _is_sequence_flatten(subject: Subject, node: Node) -> bool:
    """Whether a map with a height (or width) of 1 becomes a row."""
    shapes = shapes_of(subject, node)
    if shapes is None or len(shapes[0]) != 4 or len(shapes[1]) != 2:
        return False
    before, row = shapes
    return before[0] == row[0] and 1 in before[2:] and math.prod(before[2:]) > 1


def _is_token_grid(subject: Subject, node: Node) -> bool:
    """(N, H, W, C) to (N, H * W, C), or back, channels last as in Swin, DaViT and LeViT."""
    shapes = shapes_of(subject, node)
    if shapes is None:
        return False
    short, long = sorted(shapes, key=len)
    is_merge = len(short) == 3 and len(long) == 4 and short == (long[0], long[1] * long[2], long[3])
    return is_merge and min(long[1:3]) > 1 and not _comes_from_map(subject, node)


def _comes_from_map(subject: Subject, node: Node) -> bool:
    """Whether it takes apart what a convolution made: the boxes, scores and points of detection heads."""
    before = producer(subject, node.input(0))
    if is_op(before, *_FLATTENING) and before is not None:
        return _flattens_map(subject, before)
    return turns(before, (0, 2, 3, 1)) and before is not None and _reads_convolution(subject, before)


def _reads_convolution(subject: Subject, node: Node) -> bool:
    """Whether a node reads the result of a convolution."""
    return made_by(subject, node.input(0), "Conv") is not None


def _is_norm_rows(subject: Subject, node: Node) -> bool:
    """(1, L, C) to (L, C) before a batch norm, or back behind it."""
    return _is_rows(subject, node, "BatchNormalization")


def _is_dense_rows(subject: Subject, node: Node) -> bool:
    """(1, L, C) to (L, C) before a dense layer, or back behind it."""
    return _is_rows(subject, node, "Gemm", "MatMul", "Add")


def _is_rows(subject: Subject, node: Node, *operators: str) -> bool:
    shapes = shapes_of(subject, node)
    if shapes is None:
        return False
    before, after = shapes
    if len(before) == 3 and after == (before[0] * before[1], before[2]):
        return all(is_op(user, *operators) for user in users(subject, node.output))
    if len(after) == 3 and before == (after[0] * after[1], after[2]):
        return is_op(producer(subject, node.input(0)), *operators)
    return False


_ALONE = {
    "classifier-flatten": _is_classifier_flatten,
    "sequence-flatten": _is_sequence_flatten,
    "tokens": _is_token_grid,
    "norm-rows": _is_norm_rows,
    "dense-rows": _is_dense_rows,
}


# --- a Transpose and what is around it -------------------------------------------------------------------------------


def _shuffle(subject: Subject, transpose: Node) -> list[Node]:
    """The Reshape, Transpose, Reshape of a channel shuffle, of a pixel shuffle, or of patch merging."""
    return _between_views(subject, transpose) if permutation(transpose) in _SHUFFLES else []


def _unshuffle(subject: Subject, transpose: Node) -> list[Node]:
    """The same of space to depth."""
    return _between_views(subject, transpose) if permutation(transpose) in _UNSHUFFLES else []


def _between_views(subject: Subject, transpose: Node) -> list[Node]:
    split, merge = made_by(subject, transpose.input(0), "Reshape"), only_user(subject, transpose, "Reshape")
    if split is None or merge is None:
        return []
    before, after = sizes(subject, split.input(0)), sizes(subject, merge.output)
    is_map = before is not None and after is not None and len(before) == len(after) == 4 and before[0] == after[0]
    return [split, transpose, merge] if is_map else []


def _windows(subject: Subject, transpose: Node) -> list[Node]:
    """The windows of Swin and DaViT, channels last: (N, H, W, C) to (N * windows, h, w, C) or back, and to tokens."""
    split, merge = made_by(subject, transpose.input(0), "Reshape"), only_user(subject, transpose, "Reshape")
    if permutation(transpose) != _WINDOWS or split is None or merge is None:
        return []
    cut, joined = shapes_of(subject, split), shapes_of(subject, merge)
    if cut is None or joined is None or cut[0][-1] != cut[1][-1] or joined[0][-1] != joined[1][-1]:
        return []
    return [*_window_tokens(subject, split, merge), split, transpose, merge]


def _window_tokens(subject: Subject, split: Node, merge: Node) -> Iterator[Node]:
    """The Reshapes between windows (n, h, w, C) and tokens (n, h * w, C), before the split or behind the merge."""
    before = made_by(subject, split.input(0), "Reshape")
    for node in (before, *users(subject, merge.output)):
        shapes = shapes_of(subject, node) if node is not None and is_op(node, "Reshape") else None
        if node is not None and shapes is not None and sorted(map(len, shapes)) == [3, 4]:
            yield node


def _tokens(subject: Subject, transpose: Node) -> list[Node]:
    """(N, C, H, W) to (N, H * W, C) by flattening and turning, or back; a dense layer alone between them excepted."""
    if not turns(transpose, (0, 2, 1)):
        return []
    flatten = made_by(subject, transpose.input(0), *_FLATTENING)
    if flatten is not None and _flattens_map(subject, flatten) and not _ends_as_map(subject, transpose):
        return [flatten, transpose]
    unfolding = [user for user in users(subject, transpose.output) if is_op(user, "Reshape")]
    grids = [node for node in unfolding if _unfolds_map(subject, node)]
    begins_as_map = _begins_as_map(subject, transpose)
    return [transpose, *grids] if grids and len(grids) == len(unfolding) and not begins_as_map else []


def _flattens_map(subject: Subject, node: Node) -> bool:
    shapes = shapes_of(subject, node)
    return shapes is not None and len(shapes[0]) == 4 and shapes[1] == (*shapes[0][:2], math.prod(shapes[0][2:]))


def _unfolds_map(subject: Subject, node: Node) -> bool:
    shapes = shapes_of(subject, node)
    return shapes is not None and len(shapes[1]) == 4 and shapes[0] == (*shapes[1][:2], math.prod(shapes[1][2:]))


def _ends_as_map(subject: Subject, transpose: Node) -> bool:
    """Whether nothing but a dense layer comes before the tokens are a map again."""
    node = only_user(subject, transpose, "MatMul")
    node = only_user(subject, node, "Add", "Transpose") if node is not None and is_layer(subject, node) else None
    node = only_user(subject, node, "Transpose") if is_op(node, "Add") and node is not None else node
    return turns(node, (0, 2, 1))


def _begins_as_map(subject: Subject, transpose: Node) -> bool:
    """The same, seen from behind."""
    node = made_by(subject, transpose.input(0), "Add", "MatMul")
    if node is not None and node.op == "Add":
        layers = [made_by(subject, value, "MatMul") for value in node.inputs]
        node = next((layer for layer in layers if layer is not None), None)
    turned = producer(subject, node.input(0)) if node is not None and is_layer(subject, node) else None
    flatten = made_by(subject, turned.input(0), *_FLATTENING) if turned is not None else None
    return turns(turned, (0, 2, 1)) and flatten is not None and _flattens_map(subject, flatten)


def _map_dense(subject: Subject, transpose: Node) -> list[Node]:
    """A dense layer on a flattened map, before the map is folded up again: what a 1x1 convolution does."""
    if not turns(transpose, (0, 2, 1)):
        return []
    flatten = made_by(subject, transpose.input(0), *_FLATTENING)
    if flatten is not None and _flattens_map(subject, flatten) and _ends_as_map(subject, transpose):
        return [flatten, transpose]
    grids = [user for user in users(subject, transpose.output) if is_op(user, "Reshape")]
    return [transpose, *grids] if _begins_as_map(subject, transpose) else []


_MOST_MIXING = 8


def _token_mixing(subject: Subject, transpose: Node) -> list[Node]:
    """The two Transposes around dense layers that work along the tokens, as in ResMLP and MLP-Mixer."""
    if not turns(transpose, (0, 2, 1)):
        return []
    node: Node | None = transpose
    has_layer = False
    for _ in range(_MOST_MIXING):
        node = next(iter(users(subject, node.output)), None) if node is not None else None
        if node is None or turns(node, (0, 2, 1)):
            break
        has_layer = has_layer or is_layer(subject, node)
        if not is_op(node, "MatMul", "Add", "Relu", "Erf", "Div", "Mul"):
            return []
    flatten = made_by(subject, transpose.input(0), *_FLATTENING)
    return [transpose, node] if node is not None and turns(node, (0, 2, 1)) and has_layer and flatten is None else []


def _sequence_first(subject: Subject, transpose: Node) -> list[Node]:
    """(1, L, C) to (L, 1, C) or back: nothing moves in memory."""
    shapes = shapes_of(subject, transpose)
    return [transpose] if turns(transpose, (1, 0, 2)) and shapes is not None and 1 in shapes[0][:2] else []


def _token_pooling(subject: Subject, transpose: Node) -> list[Node]:
    """Tokens turned and averaged, before a classifier: AdaptiveAvgPool1d of Swin in Hugging Face."""
    pool = only_user(subject, transpose, "GlobalAveragePool", "AveragePool")
    shapes = shapes_of(subject, pool) if pool is not None else None
    row = only_user(subject, pool, *_FLATTENING, "Squeeze") if pool is not None else None
    is_pooling = turns(transpose, (0, 2, 1)) and shapes is not None and len(shapes[1]) == 3 and shapes[1][2] == 1
    return [transpose, pool, row] if is_pooling and pool is not None and row is not None else []


_AROUND = {
    "token-pooling": _token_pooling,
    "sequence-first": _sequence_first,
    "token-mixing": _token_mixing,
    "tokens": _tokens,
    "map-dense": _map_dense,
    "shuffle": _shuffle,
    "unshuffle": _unshuffle,
    "window-partition": _windows,
}


def _map_of_tokens(subject: Subject, transpose: Node) -> list[Node]:
    """Tokens folded up to a map with its channels last, which a Transpose makes one of channels first for a layer."""
    view = made_by(subject, transpose.input(0), "Reshape")
    if view is None or not turns(transpose, (0, 3, 1, 2)) or not _is_token_grid(subject, view):
        return []
    is_for_a_layer = any(is_op(user, "Conv", "ConvTranspose") for user in users(subject, transpose.output))
    return [view, transpose] if is_for_a_layer and len(sizes(subject, view.input(0)) or ()) == 3 else []


def _changes_format(subject: Subject, transpose: Node) -> bool:
    """Whether a map is brought to channels last or back, as the chip itself does; heads that a view made are no map."""
    if not turns(transpose, (0, 2, 3, 1), (0, 3, 1, 2)):
        return False
    view = made_by(subject, transpose.input(0), "Reshape")
    if view is None:
        return True
    if turns(transpose, (0, 2, 3, 1)):
        return _unfolds_map(subject, view) and turns(producer(subject, view.input(0)), (0, 2, 1))
    return _is_token_grid(subject, view) or any(is_op(user, *_ON_MAPS) for user in users(subject, transpose.output))


# --- chains ----------------------------------------------------------------------------------------------------------


def _one_hot(subject: Subject, one_hot: Node) -> list[Node]:
    """OneHot over the last axis, Transpose, Squeeze, with nothing between."""
    transpose = only_user(subject, one_hot, "Transpose")
    squeeze = only_user(subject, transpose, "Squeeze") if transpose is not None else None
    is_chain = turns(transpose, (0, 4, 2, 3, 1)) and one_hot.attr("axis") in (None, -1, 4)
    return [one_hot, transpose, squeeze] if is_chain and transpose is not None and squeeze is not None else []


def _rotation(subject: Subject, turned: Node) -> list[Node]:
    """The rotary position embedding x * cos + concat(-x2, x1) * sin, from the halves to the sum and what is joined on.

    The sign may stand in a factor: concat(x2, x1) * sign.
    """
    halves = [_half(subject, value) for value in turned.inputs]
    weighed = only_user(subject, turned, "Mul")
    if weighed is None or len(halves) != 2 or halves[0] is None or halves[1] is None:
        return []
    if not _is_swapped(subject, halves[0], halves[1]):
        return []
    factors = [weighed]
    while (again := only_user(subject, factors[-1], "Mul")) is not None:
        factors.append(again)
    total = only_user(subject, factors[-1], "Add")
    if total is None:
        return []
    others = [made_by(subject, value, "Mul") for value in total.inputs]
    joined = only_user(subject, total, "Concat")
    negated = [made_by(subject, value, "Neg") for value in turned.inputs]
    members = (*halves, *negated, turned, *factors, *others, total, joined)
    return [node for node in dict.fromkeys(members) if node is not None]


def _half(subject: Subject, value: Value | None) -> Node | None:
    """What cuts a half off, negated or not."""
    negated = made_by(subject, value, "Neg")
    return made_by(subject, negated.input(0) if negated is not None else value, "Slice", "Split", "Gather")


def _is_swapped(subject: Subject, first: Node, second: Node) -> bool:
    """Whether two halves are of one tensor, the back one first."""
    if first is second:
        return True  # the parts of a Split; in their order they would be no rotation
    if first.op != second.op or behind_idle(subject, first.input(0)) is not behind_idle(subject, second.input(0)):
        return False
    if first.op == "Gather":
        return True
    starts = [constant_integers(node, "starts", 1) for node in (first, second)]
    return starts[0] is not None and starts[1] is not None and starts[0] > starts[1]
