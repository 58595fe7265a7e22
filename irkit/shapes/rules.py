"""Types of outputs: rules for operators whose output shape hangs on partly known values, and for frequent ones.

onnx's own inference answers for everything else (`irkit.onnx.inference`). It sees constants only, not partly known
vectors, and asking it costs some 50 microseconds a node.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from irkit.kernels.call import CannotEvaluate
from irkit.kernels.indexing import shape_slice
from irkit.kernels.moving import slice_of
from irkit.shapes.facts import items_of, numbers_of
from irkit.shapes.site import Conflict, Site, Unknown
from irkit.tensor import Tensor
from irkit.types import Dim, DType, Shape, TensorType, ValueType, format_shape

Rule: TypeAlias = "Callable[[Site], Sequence[ValueType | None]]"

RULES: dict[str, Rule] = {}
"""Rules by operator of ONNX's own domain."""


def _rule(*ops: str) -> Callable[[Rule], Rule]:
    def decorate(rule: Rule) -> Rule:
        for op in ops:
            RULES[op] = rule
        return rule

    return decorate


def broadcast_dims(left: Dim, right: Dim) -> Dim:
    """One dimension of two broadcast against each other. Raises `Conflict`."""
    if left == right:
        return left
    if left == 1:
        return right
    if right == 1:
        return left
    if isinstance(left, int) and isinstance(right, int):
        raise Conflict(f"dimensions {left} and {right} cannot be broadcast")
    if isinstance(left, int):
        return left  # the other can only be 1 or the same
    return right if isinstance(right, int) else None


def broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape that operands of these shapes are broadcast to; None where a rank is unknown. Raises `Conflict`."""
    out: Shape = ()
    for shape in shapes:
        if shape is None:
            return None
        if shape == out:
            continue
        rank = max(len(out), len(shape))
        ours, theirs = ((1,) * (rank - len(part)) + part for part in (out, shape))
        try:
            out = tuple([broadcast_dims(a, b) for a, b in zip(ours, theirs, strict=True)])
        except Conflict as conflict:
            shapes_told = " and ".join(format_shape(item) for item in shapes)
            raise Conflict(f"{conflict} (shapes {shapes_told})") from None
    return out


@_rule(
    "Relu", "LeakyRelu", "Sigmoid", "Tanh", "Exp", "Log", "Erf", "Sqrt", "Neg", "Abs", "Floor", "Ceil", "Round", "Sign",
    "Reciprocal", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Softplus",
    "Softsign", "HardSwish", "HardSigmoid", "Elu", "Selu", "Celu", "Gelu", "Mish", "ThresholdedRelu", "Clip",
    "Identity", "Not", "BitwiseNot", "LRN", "InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization",
    "LpNormalization", "Hardmax", "Swish", "CumSum", "Trilu", "Bernoulli", "ReverseSequence",
)  # fmt: skip
def _same(site: Site) -> list[ValueType | None]:
    found = site.types[0] if site.types else None
    if site.node.op == "Bernoulli" and site.attr("dtype") is not None:
        return [TensorType(DType(site.attr("dtype")), site.shape(0))]
    if found is None:
        raise Unknown
    return [found]


@_rule("Softmax", "LogSoftmax")
def _softmax(site: Site) -> list[ValueType | None]:
    shape, axis = site.shape(0), site.attr("axis")
    if shape is not None and axis is not None and not -len(shape) <= axis < max(len(shape), 1):
        raise Conflict(f"axis {axis} of rank {len(shape)}")
    return [site.type(0)]


@_rule("Cast")
def _cast(site: Site) -> list[ValueType | None]:
    to = site.attr("to")
    if to not in DType.__members__.values():  # a type of the future, or one written by its name as before opset 6
        raise Unknown
    return [TensorType(DType(to), site.shape(0))]


@_rule("CastLike")
def _cast_like(site: Site) -> list[ValueType | None]:
    return [TensorType(site.dtype(1), site.shape(0))]


@_rule("IsNaN", "IsInf")
def _tested(site: Site) -> list[ValueType | None]:
    return [TensorType(DType.BOOL, site.shape(0))]


_TO_BOOL = frozenset({"Equal", "Less", "Greater", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Xor"})


@_rule(
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift", *_TO_BOOL
)  # fmt: skip
def _binary(site: Site) -> list[ValueType | None]:
    if len(site.types) != 2:
        raise Unknown
    dtype = DType.BOOL if site.node.op in _TO_BOOL else site.dtype(0)
    if site.version < 7:  # the old way: the second is stretched
        return [TensorType(dtype, site.shape(0))]
    if site.node.op == "PRelu":
        return [site.type(0)]
    left = site.type(0)
    shape = left.shape if left.shape == site.shape(1) else broadcast([left.shape, site.shape(1)])
    return [left if (dtype, shape) == (left.dtype, left.shape) else TensorType(dtype, shape)]


@_rule("Sum", "Mean", "Max", "Min")
def _variadic(site: Site) -> list[ValueType | None]:
    shapes = [site.shape(index) for index in range(len(site.types))]
    if site.version < 8:
        return [TensorType(site.dtype(0), next((shape for shape in shapes if shape is not None), None))]
    return [TensorType(site.dtype(0), broadcast(shapes))]


@_rule("Where")
def _where(site: Site) -> list[ValueType | None]:
    return [TensorType(site.dtype(1), broadcast([site.shape(index) for index in range(3)]))]


@_rule("Shape")
def _shape(site: Site) -> list[ValueType | None]:
    dims = site.shape(0)
    length = None if dims is None else len(dims[shape_slice(site.attr("start"), site.attr("end"), len(dims))])
    return [TensorType(DType.INT64, (length,))]


@_rule("Size")
def _size(_: Site) -> list[ValueType | None]:
    return [TensorType(DType.INT64, ())]


def _rank_by_length(site: Site, index: int) -> Shape | None:
    """As many unknown dimensions as a shape vector has elements."""
    shape = site.shape(index)
    if shape is not None and len(shape) == 1 and isinstance(shape[0], int):
        return (None,) * shape[0]
    return None


@_rule("ConstantOfShape")
def _constant_of_shape(site: Site) -> list[ValueType | None]:
    value = site.attr("value")
    items = items_of(site.fact(0))
    shape = _rank_by_length(site, 0) if items is None else items
    return [TensorType(DType.FLOAT32 if value is None else value.dtype, shape)]


@_rule("Expand")
def _expand(site: Site) -> list[ValueType | None]:
    items = items_of(site.fact(1))
    target = _rank_by_length(site, 1) if items is None else items
    return [TensorType(site.dtype(0), broadcast([site.shape(0), target]))]


@_rule("Tile")
def _tile(site: Site) -> list[ValueType | None]:
    shape = site.shape(0)
    if site.version < 6 or shape is None:
        raise Unknown
    repeats = items_of(site.fact(1)) or (None,) * len(shape)
    if len(repeats) != len(shape):
        raise Conflict(f"{len(repeats)} repeats for rank {len(shape)}")
    return [TensorType(site.dtype(0), tuple(_product(a, b) for a, b in zip(shape, repeats, strict=True)))]


def _product(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    return left if right == 1 else right if left == 1 else None


@_rule("Reshape")
def _reshape(site: Site) -> list[ValueType | None]:
    if site.given(1):
        found = items_of(site.fact(1))
        target = _rank_by_length(site, 1) if found is None else found
    else:
        target = site.attr("shape")
    if target is None:
        return [TensorType(site.dtype(0), None)]
    shape = site.shape(0)
    dims = [_copied(shape, axis, dim, bool(site.attr("allowzero"))) for axis, dim in enumerate(target)]
    return [TensorType(site.dtype(0), _filled(shape, dims))]


def _copied(shape: Shape | None, axis: int, dim: Dim, allow_zero: bool) -> Dim:
    if dim != 0 or allow_zero:
        return dim
    if shape is None:
        return None
    if axis >= len(shape):
        raise Conflict(f"the target copies dimension {axis} of rank {len(shape)}")
    return shape[axis]


def _filled(shape: Shape | None, dims: list[Dim]) -> Shape:
    """The dimensions of a Reshape with its -1, or its one unknown, computed from the number of elements."""
    holes = [axis for axis, dim in enumerate(dims) if dim in (None, -1)]
    if len(holes) == 1:
        dims[holes[0]] = _left_over(shape, [dim for axis, dim in enumerate(dims) if axis != holes[0]])
    elif not holes and shape is not None and 0 not in (*shape, *dims) and _is_more(_left_over(shape, dims)):
        raise Conflict(f"{format_shape(shape)} cannot become {format_shape(dims)}")
    return tuple(None if dim == -1 else dim for dim in dims)


def _is_more(dim: Dim) -> bool:
    return isinstance(dim, int) and dim != 1


def _left_over(shape: Shape | None, dims: Sequence[Dim]) -> Dim:
    """The elements of a shape over those of other dimensions; symbols cancel."""
    if shape is None or None in shape or None in dims:
        return None
    names = [dim for dim in shape if isinstance(dim, str)]
    total = below = 1
    for dim in shape:
        total *= dim if isinstance(dim, int) else 1
    for dim in dims:
        if isinstance(dim, int):
            below *= dim
        elif dim in names:
            names.remove(dim)
        else:
            return None
    if below <= 0:
        return None
    if not names:
        if total % below:
            raise Conflict(f"{format_shape(shape)} cannot become {format_shape((*dims, -1))}")
        return total // below
    return names[0] if len(names) == 1 and total == below else None


@_rule("Slice")
def _slice(site: Site) -> list[ValueType | None]:
    shape = site.shape(0)
    if shape is None:
        return [TensorType(site.dtype(0), None)]
    starts, ends = _bounds(site, 1, "starts"), _bounds(site, 2, "ends")
    steps = _bounds(site, 4, "") if site.given(4) else None
    axes = numbers_of(site.fact(3)) if site.given(3) else site.attr("axes") if site.version < 10 else None
    lengths = {len(part) for part in (starts, ends, steps, axes) if part is not None}
    if len(lengths) > 1:
        raise Conflict("starts, ends, axes and steps of different lengths")
    length = next(iter(lengths), None)
    if length is None or (axes is None and site.given(3)):
        return [TensorType(site.dtype(0), (None,) * len(shape))]
    dims = list(shape)
    for place, axis in enumerate(axes if axes is not None else range(length)):
        if not -len(dims) <= axis < len(dims):
            raise Conflict(f"axis {axis} of rank {len(dims)}")
        step = steps[place] if steps is not None else None if site.given(4) else 1
        start, end = (part[place] if part is not None else None for part in (starts, ends))
        dims[axis] = _sliced(dims[axis], start, end, step)
    return [TensorType(site.dtype(0), tuple(dims))]


_FAR = 1 << 31
"""An end beyond this stands for "to the end"; exporters write the largest int32 or int64."""


def _bounds(site: Site, index: int, attr: str) -> Shape | None:
    if site.given(index):
        return items_of(site.fact(index))
    value = site.attr(attr) if attr else None
    return None if value is None else tuple(value)


def _sliced(dim: Dim, start: Dim, end: Dim, step: Dim) -> Dim:
    if step == 1 and start == 0 and (end == dim or (isinstance(end, int) and end >= _FAR - 1)):
        return dim
    if step == 1 and start == 0 and isinstance(end, str) and isinstance(dim, int):
        return None
    if not (isinstance(dim, int) and isinstance(start, int) and isinstance(end, int) and isinstance(step, int)):
        return 0 if step == 1 and start == 0 and end == 0 else None
    try:
        return len(range(*slice_of(start, end, step, dim).indices(dim)))
    except CannotEvaluate:
        raise Conflict("step 0") from None


@_rule("Resize")
def _resize(site: Site) -> list[ValueType | None]:
    """Where the sizes are partly known; constant sizes and scales are left to onnx."""
    shape = site.shape(0)
    items = items_of(site.fact(3))
    plain = site.attr("keep_aspect_ratio_policy") in (None, "stretch")
    if shape is None or not site.given(3) or items is None or None not in map(_number, items) or not plain:
        raise Unknown
    axes = site.attr("axes")
    where = range(len(shape)) if axes is None else [axis % len(shape) for axis in axes]
    if len(where) != len(items):
        raise Conflict(f"{len(items)} sizes for {len(where)} axes")
    dims = list(shape)
    for axis, item in zip(where, items, strict=True):
        dims[axis] = item
    return [TensorType(site.dtype(0), tuple(dims))]


def _number(item: Dim) -> int | None:
    return item if isinstance(item, int) else None


@_rule("Range")
def _range(site: Site) -> list[ValueType | None]:
    """Vectors of one element do for the scalars, as in ONNX Runtime; onnx refuses them."""
    facts = [site.fact(index) for index in range(3)]
    if not all(isinstance(fact, Tensor) and fact.size == 1 and fact.dtype.is_native for fact in facts):
        return [TensorType(site.dtype(0), (None,))]
    start, limit, delta = (fact.item() for fact in facts if isinstance(fact, Tensor))
    if delta == 0:
        raise Conflict("a step of 0")
    return [TensorType(site.dtype(0), (max(math.ceil((limit - start) / delta), 0),))]


@_rule("STFT")
def _stft(site: Site) -> list[ValueType | None]:
    """Here, onnx takes two-sided frequencies for granted where the window is a constant."""
    signal, window = site.shape(0), site.shape(2) if site.given(2) else None
    step, length = numbers_of(site.fact(1)), numbers_of(site.fact(3)) if site.given(3) else window
    if signal is None or not step or not length or not isinstance(length[0], int) or not isinstance(signal[1], int):
        return [TensorType(site.dtype(0), (signal[0] if signal else None, None, None, 2))]
    bins = length[0] // 2 + 1 if site.attr("onesided") else length[0]
    return [TensorType(site.dtype(0), (signal[0], (signal[1] - length[0]) // step[0] + 1, bins, 2))]


def refined(site: Site, found: Sequence[ValueType | None]) -> list[ValueType | None]:
    """What onnx inferred, with dimensions it does not follow: a Resize by 1 keeps even one that has only a name."""
    if site.node.op not in ("Resize", "Upsample") or site.node.domain or not found:
        return list(found)
    shape, kind = site.shape(0), found[0]
    facts = [fact for fact in site.facts[1:] if isinstance(fact, Tensor) and fact.dtype.is_float]
    scales = facts[-1].numpy().reshape(-1) if facts else site.attr("scales")
    if shape is None or scales is None or not isinstance(kind, TensorType) or kind.shape is None:
        return list(found)
    if site.given(3) or len(scales) != len(shape) or len(kind.shape) != len(shape):
        return list(found)
    triples = zip(shape, kind.shape, scales, strict=True)
    dims = [old if new is None and factor == 1 else new for old, new, factor in triples]
    return [TensorType(kind.dtype, tuple(dims)), *found[1:]]
