"""Multi-head attention as PyTorch exports it, recognised from its Softmax outwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from irkit import ops
from irkit.checks.cuts import producer
from irkit.checks.reading import computed_operand, is_op, shapes_of, sizes, turns, users
from irkit.ir import Node, Value
from irkit.linter import Subject

_SPLITS = ("Split", "Slice", "Gather", "Squeeze", "Unsqueeze")
_LAYOUT = ("Reshape", "Transpose", "Flatten", *_SPLITS)
_SCALES = ("Mul", "Div")
_ODD = ("Expand", "Tile", "Concat", "Neg", "Where")
"""What reads like repeated, rotated or joined heads: forms that were refused."""

_MOST_STEPS = 12
_MERGES = ((0, 2, 1, 3), (0, 3, 1, 2))
"""Transposes that bring the heads beside their width: of (N, heads, L, d), and of (N, heads, d, L)."""

_MODULE_MERGE = (2, 0, 1, 3)
"""The same to (L, N, heads, d)."""


@dataclass
class _Walk:
    """What is found on the way back from one operand.

    Attributes: `nodes` up to where the heads are split off; `splits_heads`: whether that was found, in tokens or a map
    that are no repeated or rotated heads; `is_scaled_early`: whether heads of tokens are scaled before they are turned.
    """

    nodes: list[Node] = field(default_factory=list)
    splits_heads: bool = False
    is_scaled_early: bool = False


def attentions(subject: Subject) -> dict[Node, str]:
    """The nodes of attention blocks, from the splitting of heads to their merging.

    They are `attention` as heads are split by view and permute in PyTorch, and `attention-module` as its
    MultiheadAttention does it, the sequence first. `attention-of-keras`, where heads are scaled before they are turned,
    is told of the Reshapes, the Transposes and the Softmax.
    """
    found: dict[Node, str] = {}
    for softmax in subject.of("Softmax"):
        members, name = _around(subject, softmax)
        if name == "attention-of-keras":
            members = [node for node in members if is_op(node, "Reshape", "Transpose", "Softmax")]
        found.update(dict.fromkeys((node for node in members if not _is_of_batch(node)), name))
    return found


def _is_of_batch(node: Node) -> bool:
    """Whether a Gather takes q, k or v from axis 0: that is judged as any Gather, Split and Squeeze are known there."""
    return is_op(node, "Gather") and ops.attribute(node, "axis") == 0


def _around(subject: Subject, softmax: Node) -> tuple[list[Node], str]:
    """The nodes of the attention around a Softmax and the name of its spelling.

    There are none where it is not all there in a form that is known.
    """
    scores = _product_before(subject, softmax.inputs[0], _MOST_STEPS)
    mixing = _product_behind(subject, softmax)
    if not scores or not mixing:
        return [], ""
    query_key, value_product = scores[-1], mixing[-1]
    values = [value for value in value_product.inputs if not _comes_from(subject, value, (*mixing, softmax))]
    walks = [_heads(subject, value) for value in (*query_key.inputs, *values)]
    merging = _merging(subject, value_product)
    if len(walks) != 3 or not merging or not all(walk.splits_heads for walk in walks):
        return [], ""
    members = [node for walk in walks for node in walk.nodes]
    members += _beside(subject, members)
    is_module = any(turns(node, _MODULE_MERGE) for node in merging)
    is_as_keras = any(walk.is_scaled_early for walk in walks)
    name = "attention-of-keras" if is_as_keras else "attention-module" if is_module else "attention"
    return [*members, *scores, softmax, *mixing, *merging], name


def _product_before(subject: Subject, value: Value | None, steps: int) -> list[Node]:
    """The nodes from a Softmax back to the product of query and key: scales, biases, masks."""
    node = producer(subject, value)
    if node is None or steps == 0:
        return []
    if is_op(node, "MatMul"):
        return [node] if not any(subject.is_constant(item) for item in node.reads()) else []
    if not is_op(node, "Mul", "Div", "Add", "Reshape"):
        return []
    for operand in node.inputs[: 1 if node.op == "Reshape" else 2]:
        found = _product_before(subject, operand, steps - 1)
        if found:
            return [node, *found]
    return []


def _product_behind(subject: Subject, softmax: Node) -> list[Node]:
    """The nodes from a Softmax to the product with the values."""
    path: list[Node] = []
    node = softmax
    for _ in range(2):
        readers = users(subject, node.output)
        if len(readers) != 1:
            return []
        node = readers[0]
        path.append(node)
        if is_op(node, "MatMul"):
            return path if not any(subject.is_constant(item) for item in node.reads()) else []
        if not turns(node, (0, 1, 3, 2)):
            return []
    return []


def _comes_from(subject: Subject, value: Value | None, nodes: tuple[Node, ...]) -> bool:
    return producer(subject, value) in nodes


def _heads(subject: Subject, value: Value | None) -> _Walk:
    """Back from an operand to where its heads are split off."""
    walk = _Walk()
    node = producer(subject, value)
    is_scaled = False
    for _ in range(_MOST_STEPS):
        if node is None or not is_op(node, *_LAYOUT, *_SCALES):
            break
        if node.op in _SCALES:
            if walk.splits_heads or computed_operand(subject, node) is None:
                break
            is_scaled = True
        elif node.op == "Transpose":
            is_scaled = False
        elif node.op == "Reshape" and (_splits_tokens(subject, node) or _splits_map(subject, node)):
            walk.is_scaled_early = is_scaled and not _splits_map(subject, node)
            walk.splits_heads = True
        walk.nodes.append(node)
        node = producer(subject, _operand(subject, node))
    walk.splits_heads = walk.splits_heads and not is_op(node, *_ODD)
    return walk


def _operand(subject: Subject, node: Node) -> Value | None:
    return computed_operand(subject, node) if node.op in _SCALES else node.input(0)


def _splits_tokens(subject: Subject, node: Node) -> bool:
    """Whether the channels of tokens, their last axis, become heads and their width."""
    shapes = shapes_of(subject, node)
    if shapes is None or len(shapes[1]) not in (4, 5):
        return False
    before, after = shapes
    return after[-1] < before[-1] and before[-1] in (math.prod(after[-2:]), math.prod(after[-3:]))


def _splits_map(subject: Subject, node: Node) -> bool:
    """Whether the channels of a map, its axis 1, become heads and their width, and height and width one axis."""
    shapes = shapes_of(subject, node)
    if shapes is None or len(shapes[0]) not in (3, 4) or len(shapes[1]) != 4:
        return False
    before, after = shapes
    return math.prod(before[2:]) == after[3] and after[1] * after[2] == before[1]


def _merging(subject: Subject, product: Node) -> list[Node]:
    """The nodes behind the last product that put the heads beside each other again."""
    readers = users(subject, product.output)
    turned = [node for node in readers if turns(node, *_MERGES, _MODULE_MERGE)]
    if turned:
        readers = [reader for node in turned for reader in users(subject, node.output)]
    merges = [node for node in readers if is_op(node, "Reshape", "Flatten") and _shrinks(subject, node, bool(turned))]
    return [*turned, *merges] if merges and len(merges) == len(readers) else []


def _shrinks(subject: Subject, node: Node, of_tokens: bool) -> bool:
    """Whether (N, L, heads, d) becomes tokens, or (N, heads, d, L) a map again."""
    shapes = shapes_of(subject, node)
    if shapes is None or len(shapes[0]) != 4:
        return False
    before, after = shapes
    if of_tokens:
        return before[2] * before[3] == after[-1] and len(after) in (2, 3)
    return len(after) in (3, 4) and before[1] * before[2] == after[1]


def _beside(subject: Subject, members: list[Node]) -> list[Node]:
    """Other Reshapes of the parts, such as the one that makes a map of the values for a position encoding."""
    found = []
    for node in members:
        if node.op not in _SPLITS:
            continue
        for output in node.outputs:
            found += [user for user in users(subject, output) if user not in members and _folds_up(subject, user)]
    return found


def _folds_up(subject: Subject, node: Node) -> bool:
    before, after = sizes(subject, node.input(0)), sizes(subject, node.output)
    if not is_op(node, "Reshape") or before is None or after is None or len(before) != 4 or len(after) != 4:
        return False
    return before[1] * before[2] == after[1] and before[3] == after[2] * after[3]
