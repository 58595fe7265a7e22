"""Rules of changes that mean something else in the older version: from the newer one down to it.

Each is entered under the version at which the operator changed. A change that has a rule up and none down cannot be
undone; one without any rule is undone by comparing schemas. What a rule refuses is tried with the operator's
official body.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from irkit.ir import Value
from irkit.opsets.step import Rule, Rules, Step, rule_for
from irkit.types import DType, OptionalType, SequenceType, TensorType, is_static

LOWERING: Rules = {}


def input_to_attr(name: str, index: int) -> Rule:
    """Rule of an integer-list input, the last one, that was an attribute."""

    def rule(step: Step) -> None:
        values = step.integers(index, name)
        step.keep_inputs(index)
        if values is not None:
            step.node.set_attr(name, values)

    return rule


rule_for(LOWERING, "Unsqueeze Squeeze", 13)(input_to_attr("axes", 1))
rule_for(LOWERING, "Split", 13)(input_to_attr("split", 1))


def none_of(name: str, *values: Any) -> Rule:
    """Rule of an attribute that has new values."""

    def rule(step: Step) -> None:
        if step.attr(name) in values:
            step.refuse(f"there is no {name} {step.attr(name)!r}")

    return rule


rule_for(LOWERING, "ScatterElements ScatterND", 18)(none_of("reduction", "min", "max"))


@rule_for(LOWERING, "Softmax LogSoftmax Hardmax", 13)
def softmax_13(step: Step) -> None:
    """It works on all axes from `axis` on as if they were one."""
    axis = step.attr("axis")
    if axis != -1 and axis % step.rank() != step.rank() - 1:
        step.refuse("it works on an axis that is not the last one")
    step.node.set_attr("axis", axis)


_PLAIN_REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")


@rule_for(
    LOWERING,
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare",
    18,
)
@rule_for(LOWERING, "ReduceSum", 13)
def reduce_axes(step: Step) -> None:
    """Axes are an attribute, and no axes mean all of them."""
    axes = step.integers(1, "axes")
    if not axes and step.attr("noop_with_empty_axes"):
        if step.node.op not in _PLAIN_REDUCTIONS:
            step.refuse("it reduces no axis, but changes each element")
        step.replace(step.make("Identity", [step.node.input(0)]))
        return
    step.keep_inputs(1)
    step.take_attr("noop_with_empty_axes")
    if axes:
        step.node.set_attr("axes", axes)


@rule_for(LOWERING, "Split", 18)
def split_18(step: Step) -> None:
    """Parts that are not equal must be listed."""
    count = step.take_attr("num_outputs")
    if count is None:
        return
    shape, axis = step.shape() or (), step.attr("axis")
    size = shape[axis] if -len(shape) <= axis < len(shape) else None  # out of range in a branch that is never taken
    if not isinstance(size, int):
        step.refuse("the length it splits is not known, so its parts are not")
    if size % count:
        part = -(-size // count)
        step.add_input(1, step.store([part] * (count - 1) + [size - part * (count - 1)], "split"))


@rule_for(LOWERING, "Pad", 18)
def pad_18(step: Step) -> None:
    """Widths are given for every axis."""
    axes = step.integers(3, "axes")
    if axes is None:
        return
    pads = step.integers(1, "widths") or ()
    widths = [0] * (2 * step.rank())
    for index, axis in enumerate(axes):
        widths[axis % step.rank()] = pads[index]
        widths[axis % step.rank() + step.rank()] = pads[index + len(axes)]
    step.keep_inputs(3)
    step.node.set_input(1, step.store(widths, "pads"))


@rule_for(LOWERING, "Pad", 19)
def pad_19(step: Step) -> None:
    """Wrapping around is spelt out, axis by axis, as a Concat of slices."""
    if step.attr("mode") != "wrap":
        return
    pads, axes = step.integers(1, "widths") or (), step.integers(3, "axes")
    axes = tuple(range(step.rank())) if axes is None else tuple(axis % step.rank() for axis in axes)
    value, shape = step.node.input(0), step.shape() or ()
    for index, axis in enumerate(axes):
        before, after, size = pads[index], pads[index + len(axes)], shape[axis]
        if (before, after) == (0, 0):
            continue
        if not isinstance(size, int) or not 0 <= before <= size or not 0 <= after <= size:
            step.refuse("it wraps around an axis of unknown length, or more than once")
        spans = [(size - before, size), (0, size), (0, after)]
        parts = [
            step.make("Slice", [value, *(step.store([item], "at") for item in (start, end, axis))])
            for start, end in spans
            if start < end
        ]
        value = step.make("Concat", parts, {"axis": axis})
    step.replace(value)


@rule_for(LOWERING, "Resize", 18)
def resize_18(step: Step) -> None:
    """Every axis is scaled, shapes are never kept in proportion, and nothing is smoothed."""
    shape, scales, sizes = step.shape(), _numbers(step, 2), _numbers(step, 3)
    axes = step.take_attr("axes")
    rank = step.rank() if axes is not None else 0
    where = [axis % rank for axis in axes] if axes is not None else list(range(len(scales or sizes or ())))
    policy = step.take_attr("keep_aspect_ratio_policy")
    if policy != "stretch" and sizes:
        scales, sizes = None, _proportional(step, sizes, where, policy)
    if axes is not None or policy != "stretch":
        _give_all_axes(step, scales, sizes, where)
    if step.take_attr("antialias") and not _only_grows(shape, where, scales, sizes):
        step.refuse("it smooths what it shrinks (antialias = 1)")


def _numbers(step: Step, index: int) -> list[float] | None:
    data = step.constant(index)
    return None if data is None or not data.size else [item.item() for item in data.numpy().reshape(-1)]


def _proportional(step: Step, sizes: Sequence[float], where: Sequence[int], policy: str) -> list[float]:
    """The sizes that a policy makes of those asked for. Refuses rounded ones, whose scale would be another."""
    shape = step.shape()
    if shape is None or not all(isinstance(dim, int) and dim for dim in shape):
        step.refuse("its size depends on the proportions of its input, which are not known")
    lengths = [dim for dim in shape if isinstance(dim, int)]
    factors = [Fraction(int(size), lengths[axis]) for size, axis in zip(sizes, where, strict=True)]
    factor = min(factors) if policy == "not_larger" else max(factors)
    scaled = [factor * lengths[axis] for axis in where]
    if any(length.denominator != 1 for length in scaled):
        step.refuse(f"its lengths are rounded to keep their proportions ({policy})")
    return [int(length) for length in scaled]


def _give_all_axes(
    step: Step, scales: Sequence[float] | None, sizes: Sequence[float] | None, where: Sequence[int]
) -> None:
    rank, shape = step.rank(), step.shape() or ()
    inputs = [*step.node.inputs, None, None, None][:4]
    roi = _numbers(step, 1)
    if inputs[1] is not None and roi is not None:
        starts, ends = _spread(roi[: len(where)], where, [0.0] * rank), _spread(roi[len(where) :], where, [1.0] * rank)
        inputs[1] = step.store([*starts, *ends], "roi", DType.FLOAT32)
    if sizes is not None:
        if not all(isinstance(dim, int) for axis, dim in enumerate(shape) if axis not in where):
            step.refuse("it keeps axes whose length is not known")
        inputs[2:] = [None, step.store(_spread(sizes, where, list(shape)), "sizes")]
    elif scales is not None:
        inputs[2:] = [step.store(_spread(scales, where, [1.0] * rank), "scales", DType.FLOAT32)]
    else:
        step.refuse("its scales or sizes are computed in the graph, for some of the axes")
    step.node.set_inputs(inputs)


def _spread(values: Sequence[Any], where: Sequence[int], others: list[Any]) -> list[Any]:
    for axis, value in zip(where, values, strict=True):
        others[axis] = value
    return others


def _only_grows(
    shape: Sequence[Any] | None, where: Sequence[int], scales: Sequence[float] | None, sizes: Sequence[float] | None
) -> bool:
    if scales:
        return all(scale >= 1 for scale in scales)
    if not sizes or shape is None:
        return False
    return all(isinstance(shape[axis], int) and size >= shape[axis] for axis, size in zip(where, sizes, strict=True))


@rule_for(LOWERING, "Resize", 19)
def resize_19(step: Step) -> None:
    """One way to map positions is new; it differs only where a scaled length is no whole number."""
    if step.attr("coordinate_transformation_mode") != "half_pixel_symmetric":
        return
    shape, scales = step.shape(), _numbers(step, 2)
    where = step.attr("axes") or range(len(scales or ()))
    if step.node.input(3) is None:
        lengths = [shape[axis] if shape is not None else None for axis in where]
        pairs = zip(lengths, scales or (), strict=False)
        if not lengths or not all(isinstance(dim, int) and (dim * scale).is_integer() for dim, scale in pairs):
            step.refuse("positions are mapped by half_pixel_symmetric")
    step.node.set_attr("coordinate_transformation_mode", "half_pixel")


@rule_for(LOWERING, "OptionalGetElement", 18)
def optional_get_18(step: Step) -> None:
    """What is no optional must not be unpacked."""
    if isinstance(_known_type(step), (TensorType, SequenceType)):
        step.replace(step.make("Identity", [step.node.input(0)]))


@rule_for(LOWERING, "OptionalHasElement", 18)
def optional_has_18(step: Step) -> None:
    """What is no optional must not be asked for its element."""
    present = step.node.input(0) is not None
    if not present or isinstance(_known_type(step), (TensorType, SequenceType)):
        step.replace(step.store(present, "present", DType.BOOL))


def _known_type(step: Step) -> Any:
    value = step.node.input(0)
    if value is None or value.type is None:
        step.refuse("the type of its input is not known")
    return value.type if not isinstance(value.type, OptionalType) else None


@rule_for(LOWERING, "DFT", 20)
def dft_20(step: Step) -> None:
    """The axis is an attribute, counted from the front."""
    axes = step.integers(2, "axis")
    axis = axes[0] if axes else -2
    if step.attr("onesided") and step.attr("inverse"):
        step.refuse("there is no inverse of a one-sided transform")
    step.keep_inputs(2)
    step.node.set_attr("axis", axis % step.rank())


@rule_for(LOWERING, "GridSample", 20)
def grid_sample_20(step: Step) -> None:
    """Images only, and other names of the modes."""
    if step.rank() != 4:
        step.refuse("it samples a volume")
    step.node.set_attr("mode", {"linear": "bilinear", "cubic": "bicubic"}.get(step.attr("mode"), step.attr("mode")))


@rule_for(LOWERING, "Gelu", 20)
def gelu_20(step: Step) -> None:
    """The form that PyTorch's exporter writes, which compilers know better than ONNX's body."""
    x, dtype = step.node.input(0), step.dtype()

    def number(value: float, name: str) -> Value:
        return step.store(value, name, dtype)

    if not dtype.is_native:
        step.refuse(f"{dtype.label} has no constants")
    if step.attr("approximate") == "none":
        inner = step.make("Erf", [step.make("Div", [x, number(math.sqrt(2), "sqrt2")])])
        gate = step.make("Add", [inner, number(1.0, "one")])
        step.replace(step.make("Mul", [step.make("Mul", [x, gate]), number(0.5, "half")]))
        return
    cubed = step.make("Mul", [step.make("Pow", [x, number(3.0, "three")]), number(0.044715, "cubic")])
    scaled = step.make("Mul", [step.make("Add", [x, cubed]), number(math.sqrt(2 / math.pi), "slope")])
    gate = step.make("Add", [step.make("Tanh", [scaled]), number(1.0, "one")])
    step.replace(step.make("Mul", [step.make("Mul", [x, number(0.5, "half")]), gate]))


@rule_for(LOWERING, "GroupNormalization", 21)
def group_norm_21(step: Step) -> None:
    """An InstanceNormalization of the groups, then scale and bias of the channels, as PyTorch's exporter writes it."""
    x, scale, bias = step.node.inputs
    groups, rank, shape = step.attr("num_groups"), step.rank(), step.shape() or ()
    if step.dtype() != DType.FLOAT32:
        step.refuse("it computes in float32 on other data")
    grouped = step.make("Reshape", [x, step.store([0, groups, -1], "groups")])
    one, zero = (step.store([value] * groups, name, DType.FLOAT32) for value, name in ((1, "ones"), (0, "zeros")))
    normal = step.make("InstanceNormalization", [grouped, one, zero], {"epsilon": step.attr("epsilon")})
    whole = step.store(shape, "shape") if is_static(shape) else step.make("Shape", [x])
    result = step.make("Reshape", [normal, whole])
    axes = step.store(range(1, rank - 1), "axes")
    wide = [step.make("Unsqueeze", [value, axes]) if rank > 2 else value for value in (scale, bias)]
    step.replace(step.make("Add", [step.make("Mul", [result, wide[0]]), wide[1]]))


@rule_for(LOWERING, "QuantizeLinear", 21)
def quantize_21(step: Step) -> None:
    """The zero point says the output's type."""
    dtype = step.take_attr("output_dtype")
    if step.node.input(2) is None and dtype and dtype != DType.UINT8:
        scale = step.shape(1)
        if scale is None or not is_static(scale):
            step.refuse("the shape of its scale is not known")
        zeros = [0] * scale[0] if scale and isinstance(scale[0], int) else 0
        step.add_input(2, step.store(zeros, "zero_point", DType(dtype)))


@rule_for(LOWERING, "QuantizeLinear", 23)
def quantize_23(step: Step) -> None:
    """The precision of the division is that of the data."""
    precision = step.take_attr("precision")
    if precision and precision != step.dtype():
        step.refuse("it divides in a precision of its own")


@rule_for(LOWERING, "DequantizeLinear", 23)
def dequantize_23(step: Step) -> None:
    """The output is of the scale's type."""
    dtype = step.take_attr("output_dtype")
    if dtype and dtype != step.dtype(1):
        step.refuse("its output is of another type than its scale")


@rule_for(LOWERING, "Mod", 28)
def mod_28(step: Step) -> None:
    """Floats have the remainder of C only."""
    if not step.attr("fmod") and step.dtype().is_float:
        step.refuse("floats have no remainder with the sign of the divisor (fmod = 0)")


@rule_for(LOWERING, "Cast CastLike", 19)
def cast_19(step: Step) -> None:
    """Saturation concerns 8-bit floats only, which are not there."""
    step.take_attr("saturate")


@rule_for(LOWERING, "Cast CastLike", 24)
def cast_24(step: Step) -> None:
    """The rounding mode concerns float8e8m0 only, which is not there."""
    step.take_attr("round_mode")
