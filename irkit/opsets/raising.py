"""Rules of changes that mean something else in the newer version: from the older one up to it.

Each is entered under the version at which the operator changed. Sources: the change log of ONNX's operators, and ONNX
Runtime where that leaves a choice open.
"""

from __future__ import annotations

import math

from irkit.opsets.step import Rule, Rules, Step, rule_for
from irkit.types import DType, is_static

RAISING: Rules = {}


def attr_to_input(name: str, index: int) -> Rule:
    """Rule of an integer-list attribute that became an input."""

    def rule(step: Step) -> None:
        values = step.take_attr(name)
        if values is not None:
            step.add_input(index, step.store(values, name))

    return rule


rule_for(RAISING, "Reshape", 5)(attr_to_input("shape", 1))
rule_for(RAISING, "ReduceSum Squeeze Unsqueeze", 13)(attr_to_input("axes", 1))
rule_for(RAISING, "Split", 13)(attr_to_input("split", 1))
rule_for(
    RAISING,
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare",
    18,
)(attr_to_input("axes", 1))


@rule_for(RAISING, "Cast", 6)
def cast_6(step: Step) -> None:
    """The type was written by its name."""
    to = step.attr("to")
    names = {"FLOAT": DType.FLOAT32, "DOUBLE": DType.FLOAT64}
    label = to.decode() if isinstance(to, bytes) else str(to)
    step.node.set_attr("to", int(names.get(label) or DType.parse(label)))


@rule_for(RAISING, "Add Sub Mul Div Pow And Or Xor Equal Greater Less", 7)
def broadcast_7(step: Step) -> None:
    """The second operand was laid along the first from `axis` on, now both are aligned at their ends."""
    axis, broadcast = step.take_attr("axis"), step.take_attr("broadcast")
    if not broadcast or axis is None or step.shape(1) == ():
        return
    trailing = step.rank(0) - (axis % step.rank(0)) - step.rank(1)
    if trailing > 0:
        first = step.rank(1)
        other = step.make("Unsqueeze", [step.node.input(1)], {"axes": tuple(range(first, first + trailing))})
        step.node.set_input(1, other)


@rule_for(RAISING, "Gemm", 7)
def gemm_7(step: Step) -> None:
    """Broadcasting of C was asked for."""
    step.take_attr("broadcast")


@rule_for(RAISING, "PRelu", 7)
def prelu_7(step: Step) -> None:
    """One slope a channel was a vector, now it is aligned at its end."""
    slope = step.shape(1)
    if slope is None or len(slope) != 1:
        step.refuse("the shape of its slope is not known")
    if slope != (1,) and step.rank() > 2:
        axes = tuple(range(1, step.rank() - 1))
        step.node.set_input(1, step.make("Unsqueeze", [step.node.input(1)], {"axes": axes}))


@rule_for(RAISING, "BatchNormalization Dropout", 7)
def is_test_7(step: Step) -> None:
    """The mode was an attribute; from here on an operator with one output does not train."""
    mode = step.node.attr("is_test")
    if mode == 0 or (mode is None and any(value.use_count for value in step.node.outputs[1:])):
        step.refuse("it is in training mode")
    step.node.set_attr("is_test", None)


@rule_for(RAISING, "Upsample", 7)
def upsample_7(step: Step) -> None:
    """Scales of height and width became one of each axis."""
    height, width = step.take_attr("height_scale"), step.take_attr("width_scale")
    step.node.set_attr("scales", (1.0, 1.0, float(height), float(width)))


@rule_for(RAISING, "BatchNormalization", 9)
def spatial_9(step: Step) -> None:
    """Statistics of each element, not of each channel, went away."""
    if not step.take_attr("spatial"):
        step.refuse("it has statistics of each element (spatial = 0)")


@rule_for(RAISING, "Scan", 9)
def scan_9(step: Step) -> None:
    """Its batch axis and sequence lengths went away."""
    step.refuse("it works on a batch axis")


@rule_for(RAISING, "Upsample", 9)
def upsample_9(step: Step) -> None:
    """Scales became an input."""
    step.add_input(1, step.store(step.take_attr("scales"), "scales", DType.FLOAT32))


@rule_for(RAISING, "Upsample", 10)
def upsample_10(step: Step) -> None:
    """It became Resize."""
    step.node.set_op("Resize")


@rule_for(RAISING, "Dropout", 10)
def dropout_10(step: Step) -> None:
    """The mask was a tensor of the data's type."""
    if any(value.use_count for value in step.node.outputs[1:]):
        step.refuse("its mask is used, which is of another type there")


@rule_for(RAISING, "Slice", 10)
def slice_10(step: Step) -> None:
    """Positions became inputs."""
    for index, name in enumerate(("starts", "ends", "axes"), 1):
        attr_to_input(name, index)(step)


@rule_for(RAISING, "TopK", 10)
def topk_10(step: Step) -> None:
    """K became an input."""
    step.add_input(1, step.store([step.take_attr("k")], "k"))


@rule_for(RAISING, "Clip", 11)
def clip_11(step: Step) -> None:
    """Bounds became inputs of the data's type. The old defaults, the largest floats, clip infinities only."""
    for index, name in enumerate(("min", "max"), 1):
        given = step.node.attr(name)
        bound = step.take_attr(name)
        if given is not None:
            step.add_input(index, step.store(bound, name, step.dtype()))


@rule_for(RAISING, "Pad", 11)
def pad_11(step: Step) -> None:
    """Widths and value became inputs."""
    attr_to_input("pads", 1)(step)
    value = step.take_attr("value")
    if value and step.attr("mode") == "constant":
        step.add_input(2, step.store(value, "value", step.dtype()))


@rule_for(RAISING, "Resize", 11)
def resize_11(step: Step) -> None:
    """Positions were scaled without a shift; ONNX Runtime rounds them up where it shrinks and down where it grows."""
    data, scales = step.node.inputs
    step.node.set_attr("coordinate_transformation_mode", "asymmetric")
    if step.attr("mode") == "nearest":
        step.node.set_attr("nearest_mode", _nearest_mode(step))
    step.node.set_inputs([data, step.store([], "roi", DType.FLOAT32), scales])


def _nearest_mode(step: Step) -> str:
    known = step.constant(1)
    if known is None:
        step.refuse("its scales are computed in the graph, and how it rounds depends on them")
    scales = [float(item) for item in known.numpy().reshape(-1)]
    if not any(scale < 1 for scale in scales):
        return "floor"
    if not any(scale > 1 for scale in scales):
        return "ceil"
    if any(scale < 1 and math.frexp(scale)[0] != 0.5 for scale in scales):  # halves, quarters, ... need no rounding
        step.refuse("it shrinks one axis and stretches another, which round in different ways")
    return "floor"


@rule_for(RAISING, "Scatter", 11)
def scatter_11(step: Step) -> None:
    """It was given another name."""
    step.node.set_op("ScatterElements")


@rule_for(RAISING, "Dropout", 12)
def dropout_12(step: Step) -> None:
    """The ratio became an input; without a third one it does not train."""
    step.add_input(1, step.store(step.take_attr("ratio"), "ratio", DType.FLOAT32))


@rule_for(RAISING, "Softmax LogSoftmax Hardmax", 13)
def softmax_13(step: Step) -> None:
    """It worked on all axes from `axis` on as if they were one; now on that one only."""
    axis, shape = step.attr("axis"), step.shape()
    if shape is not None:
        axis %= len(shape) or 1
        longer = [index for index in range(axis, len(shape)) if shape[index] != 1]
        if len(longer) <= 1:
            step.node.set_attr("axis", longer[0] if longer else axis)
            return
    elif axis == -1:
        step.node.set_attr("axis", axis)
        return
    data = step.node.input(0)
    flat = step.make("Flatten", [data], {"axis": axis})
    result = step.make(step.node.op, [flat], {"axis": -1})
    static = is_static(shape)
    step.replace(step.make("Reshape", [result, step.store(shape, "shape") if static else step.make("Shape", [data])]))


@rule_for(RAISING, "BatchNormalization", 14)
def batchnorm_14(step: Step) -> None:
    """More than one output meant that it trains."""
    if any(value.name for value in step.node.outputs[1:]):
        step.refuse("it is in training mode")


@rule_for(RAISING, "RoiAlign", 16)
def roi_align_16(step: Step) -> None:
    """Positions were not shifted by half a pixel."""
    step.node.set_attr("coordinate_transformation_mode", "output_half_pixel")


@rule_for(RAISING, "Split", 18)
def split_18(step: Step) -> None:
    """How many parts must be said."""
    if step.node.input(1) is None:
        step.node.set_attr("num_outputs", len(step.node.outputs))


@rule_for(RAISING, "DFT", 20)
def dft_20(step: Step) -> None:
    """The axis became an input."""
    step.add_input(2, step.store(step.take_attr("axis"), "axis"))


@rule_for(RAISING, "GridSample", 20)
def grid_sample_20(step: Step) -> None:
    """Modes were given other names."""
    step.node.set_attr("mode", {"bilinear": "linear", "bicubic": "cubic"}.get(step.attr("mode"), step.attr("mode")))


@rule_for(RAISING, "GroupNormalization", 21)
def group_norm_21(step: Step) -> None:
    """Scale and bias were of each group, now of each channel."""
    step.refuse("its scale and bias are of each group")
