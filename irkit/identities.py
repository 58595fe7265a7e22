"""Which nodes do nothing: `identity_source` tells the input that a node's output always equals.

Answers are exact: what holds for every input the node can get, by constants and types that are known. Two liberties are
taken, both float noise: `x + 0` may turn -0.0 into 0.0, and the payload of a NaN may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from irkit.ir import Node, Value
from irkit.ops import opset_imports
from irkit.tensor import Tensor
from irkit.types import DType, Shape

Source: TypeAlias = "Callable[[Node], Value | None]"

_ALL = 2**31 - 1
"""An end of a Slice that exporters write for "to the end" (or larger)."""


def identity_source(node: Node) -> Value | None:
    """The input that the node's first output equals, whatever is fed; None where there is none or none is known.

    The types of the node's inputs should be up to date.
    """
    rule = _RULES.get(node.op) if not node.domain and node.outputs else None
    source = rule(node) if rule is not None else None
    if source is None or any(value.use_count for value in node.outputs[1:]):
        return None
    return None if any(attr.ref for attr in node.attrs.values()) else source  # a function's attributes are open


def constant_integers(node: Node, name: str, index: int) -> tuple[int, ...] | None:
    """Integers given as attribute `name` or, in later versions, as constant input `index`; None where unknown."""
    attr = node.attrs.get(name)
    if attr is not None:
        return tuple(attr.value or ()) if not attr.ref else None
    value = node.input(index)
    data = value.constant if value is not None else None
    return None if data is None else tuple(int(item) for item in data.numpy().reshape(-1))


def is_given(node: Node, name: str, index: int) -> bool:
    """Whether the node has the attribute `name` or an input `index`."""
    return name in node.attrs or node.input(index) is not None


def permutation(node: Node) -> tuple[int, ...] | None:
    """Permutation of a Transpose, where it is known."""
    attr = node.attrs.get("perm")
    if attr is not None:
        return None if attr.ref else tuple(attr.value)
    rank = _rank(node)
    return None if rank is None else tuple(reversed(range(rank)))


def normal_axes(axes: Sequence[int], rank: int | None) -> tuple[int, ...] | None:
    """Axes counted from the front and sorted; None where that takes a rank that is not known."""
    if rank is None and any(axis < 0 for axis in axes):
        return None
    return tuple(sorted(axis + (rank or 0) if axis < 0 else axis for axis in axes))


def _opset(node: Node) -> int:
    return opset_imports(node.graph).get("", 1) if node.graph is not None else 1


def _shape(node: Node) -> Shape | None:
    value = node.input(0)
    return value.shape if value is not None else None


def _rank(node: Node) -> int | None:
    shape = _shape(node)
    return None if shape is None else len(shape)


def _always(node: Node) -> Value | None:
    return node.input(0)


def _single_input(node: Node) -> Value | None:
    return node.inputs[0] if len(node.inputs) == 1 else None


def _dropout(node: Node) -> Value | None:
    if _opset(node) < 7:
        return node.input(0) if node.attr("is_test", 0) else None
    training = node.input(2)
    if training is None:
        return node.input(0)
    data = training.constant
    return node.input(0) if data is not None and not data.item() else None


def _cast(node: Node) -> Value | None:
    """A cast to the type it is of already, or back from a wider type."""
    value = node.input(0)
    if value is None or value.dtype is None:
        return None
    to = _cast_type(node)
    if to is None or to == value.dtype:
        return value if to is not None else None
    inner = _inner(node, "Cast")
    source = inner.input(0) if inner is not None else None
    return source if source is not None and source.dtype == to and _holds(value.dtype, to) else None


def _cast_type(node: Node) -> DType | None:
    if node.op == "CastLike":
        like = node.input(1)
        return like.dtype if like is not None else None
    to = node.attr("to")
    return DType(to) if isinstance(to, int) and to in DType.__members__.values() else None


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of the narrow type goes through the wide one unchanged."""
    import numpy as np

    if not (wide.is_native and narrow.is_native):
        return False
    inexact = wide.is_float and narrow in (DType.INT64, DType.UINT64)  # numpy calls that safe
    return np.can_cast(narrow.numpy, wide.numpy, "safe") and not inexact


def _reshape(node: Node) -> Value | None:
    shape, target = _shape(node), constant_integers(node, "shape", 1)
    if shape is None or target is None or len(shape) != len(target):
        return None
    copies = not node.attr("allowzero", 0)
    same = [dim == size or (size == 0 and copies) for dim, size in zip(shape, target, strict=True)]
    if all(same):
        return node.input(0)
    # One -1 stands for the one dimension left, if the others cannot make the tensor empty.
    rest = [size for ok, size in zip(same, target, strict=True) if not ok]
    empty = any(dim == 0 for ok, dim in zip(same, shape, strict=True) if ok)
    return node.input(0) if rest == [-1] and not empty else None


def _flatten(node: Node) -> Value | None:
    return node.input(0) if _rank(node) == 2 and node.attr("axis", 1) in (1, -1) else None


def _expand(node: Node) -> Value | None:
    target = constant_integers(node, "", 1)
    return node.input(0) if target is not None and _keeps_shape(_shape(node), target) else None


def _keeps_shape(shape: Shape | None, other: Sequence[int | str | None]) -> bool:
    """Whether broadcasting a tensor of `shape` with `other` gives `shape`."""
    if all(dim == 1 for dim in other) and (not other or (shape is not None and len(other) <= len(shape))):
        return True
    if shape is None or len(other) > len(shape):
        return False
    aligned = shape[len(shape) - len(other) :]
    return all(size == 1 or (isinstance(dim, int) and dim == size) for dim, size in zip(aligned, other, strict=True))


def _transpose(node: Node) -> Value | None:
    perm = permutation(node)
    if perm is not None and perm == tuple(range(len(perm))):
        return node.input(0)
    inner = _inner(node, "Transpose")
    first = permutation(inner) if inner is not None else None
    if inner is None or perm is None or first is None or [first[axis] for axis in perm] != list(range(len(perm))):
        return None
    return inner.input(0)


def _squeeze(node: Node) -> Value | None:
    """A Squeeze of nothing, or of what an Unsqueeze put there."""
    if is_given(node, "axes", 1):
        return _cancelled(node, _inner(node, "Unsqueeze"), _rank(node))
    shape = _shape(node)
    ones = shape is None or any(not isinstance(dim, int) or dim == 1 for dim in shape)
    return None if ones else node.input(0)


def _unsqueeze(node: Node) -> Value | None:
    """An Unsqueeze of nothing, or of what a Squeeze took away."""
    if constant_integers(node, "axes", 1) == ():
        return node.input(0)
    inner = _inner(node, "Squeeze")
    return _cancelled(node, inner, _rank(inner) if inner is not None else None)


def _cancelled(node: Node, inner: Node | None, rank: int | None) -> Value | None:
    """What `inner` reads where both are about the same axes of a tensor of that rank."""
    if inner is None:
        return None
    axes, others = constant_integers(node, "axes", 1), constant_integers(inner, "axes", 1)
    if axes is None or others is None:
        return None
    same = normal_axes(axes, rank)
    return inner.input(0) if same is not None and same == normal_axes(others, rank) else None


def _pad(node: Node) -> Value | None:
    pads = constant_integers(node, "pads", 1)
    return node.input(0) if pads is not None and not any(pads) else None


def _slice(node: Node) -> Value | None:
    starts, ends = constant_integers(node, "starts", 1), constant_integers(node, "ends", 2)
    steps = constant_integers(node, "steps", 4) if is_given(node, "steps", 4) else ()
    if starts is None or ends is None or steps is None or any(starts) or any(step != 1 for step in steps):
        return None
    axes = constant_integers(node, "axes", 3) if is_given(node, "axes", 3) else tuple(range(len(starts)))
    if axes is None or len(axes) != len(ends):
        return None
    return node.input(0) if all(_is_whole(node, *item) for item in zip(axes, ends, strict=True)) else None


def _is_whole(node: Node, axis: int, end: int) -> bool:
    if end >= _ALL:
        return True
    shape = _shape(node)
    dim = shape[axis] if shape is not None and -len(shape) <= axis < len(shape) else None
    return isinstance(dim, int) and end >= dim


def _tile(node: Node) -> Value | None:
    repeats = constant_integers(node, "", 1) if _opset(node) >= 6 else None
    return node.input(0) if repeats is not None and all(count == 1 for count in repeats) else None


def _neutral(number: int, *, both_sides: bool) -> Source:
    """Rule of a broadcasting operator that a constant of this number leaves alone."""

    def rule(node: Node) -> Value | None:
        if len(node.inputs) != 2 or _opset(node) < 7:
            return None
        pairs = [(0, 1), (1, 0)] if both_sides else [(0, 1)]
        for kept, other in pairs:
            value, constant = node.inputs[kept], node.inputs[other]
            data = constant.constant if constant is not None else None
            if value is None or data is None or not _all_are(data, number):
                continue
            if _keeps_shape(value.shape, data.shape):
                return value
        return None

    return rule


def _all_are(data: Tensor, number: int) -> bool:
    if data.size == 0 or not data.dtype.is_native:
        return False
    if data.is_splat:
        return bool(data.splat_value == number)
    array = data.numpy()
    return bool(array.flat[0] == number) and bool((array == number).all())


def _pool(node: Node) -> Value | None:
    kernel = node.attr("kernel_shape") or (0,)
    still = all(size == 1 for size in kernel) and all(size == 1 for size in node.attr("strides") or ())
    return node.input(0) if still and not any(node.attr("pads") or ()) else None


def _resize(node: Node) -> Value | None:
    # In these modes the sampled position is exactly that of the element; cubic and cropping are left alone.
    if node.attr("mode", "nearest") not in ("nearest", "linear", "bilinear"):
        return None
    if str(node.attr("coordinate_transformation_mode", "")).startswith("tf_"):
        return None
    scales = _scales(node)
    if scales:
        return node.input(0) if all(scale == 1 for scale in scales) else None
    sizes = constant_integers(node, "", 3)
    plain = "axes" not in node.attrs and node.attr("keep_aspect_ratio_policy", "stretch") == "stretch"
    return node.input(0) if sizes and plain and sizes == _shape(node) else None


def _scales(node: Node) -> tuple[float, ...]:
    attr = node.attrs.get("scales")
    if attr is not None:
        return tuple(attr.value or ())
    value = node.input(1 if _opset(node) < 11 or node.op == "Upsample" else 2)
    data = value.constant if value is not None else None
    return () if data is None else tuple(float(item) for item in data.numpy().reshape(-1))


def _clip(node: Node) -> Value | None:
    return node.input(0) if _opset(node) >= 11 and node.input(1) is None and node.input(2) is None else None


def _single_output(node: Node) -> Value | None:
    return node.input(0) if len(node.outputs) == 1 and not is_given(node, "split", 1) else None


def _undoes(node: Node) -> Value | None:
    """An operator that is its own inverse, twice."""
    inner = _inner(node, node.op)
    return inner.input(0) if inner is not None else None


def _idempotent(node: Node) -> Value | None:
    """An operator that changes nothing the second time, the second time."""
    return node.input(0) if _inner(node, node.op) is not None else None


def _inner(node: Node, op: str) -> Node | None:
    """The node that makes the first input, where it is that operator."""
    value = node.input(0)
    inner = value.producer if value is not None else None
    return inner if inner is not None and (inner.op, inner.domain) == (op, "") else None


_RULES: dict[str, Source] = {
    "Identity": _always,
    "Dropout": _dropout,
    "Cast": _cast,
    "CastLike": _cast,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Expand": _expand,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Pad": _pad,
    "Slice": _slice,
    "Tile": _tile,
    "Concat": _single_input,
    "Sum": _single_input,
    "Max": _single_input,
    "Min": _single_input,
    "Mean": _single_input,
    "Split": _single_output,
    "Add": _neutral(0, both_sides=True),
    "Sub": _neutral(0, both_sides=False),
    "Mul": _neutral(1, both_sides=True),
    "Div": _neutral(1, both_sides=False),
    "Pow": _neutral(1, both_sides=False),
    "AveragePool": _pool,
    "MaxPool": _pool,
    "Resize": _resize,
    "Upsample": _resize,
    "Clip": _clip,
    "Not": _undoes,
    "Neg": _undoes,
    "Relu": _idempotent,
    "Abs": _idempotent,
    "Ceil": _idempotent,
    "Floor": _idempotent,
    "Round": _idempotent,
    "Sign": _idempotent,
}
