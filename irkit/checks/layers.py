"""HAI116 to HAI122: layers in forms that the compiler refuses, misreads, or was not seen to take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from irkit import ops
from irkit.checks.conditions import worked_axes
from irkit.checks.reading import integers, shape_in
from irkit.checks.telling import told
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, rule
from irkit.types import format_shape


@rule("HAI116", "one-dimensional-layer", Severity.WARNING)
def one_dimensional_layer(subject: Subject) -> Iterator[Found]:
    """A convolution or pooling along one axis.

    Why: the compiler works on (height, width, channels); 1-D layers were misread, with channels taken for positions.
    Example: `torch.nn.Conv1d(4, 8, 3)`.
    Fix: give the tensor a height of 1 (`x.unsqueeze(2)`) and use the 2-D layer with a kernel of height 1; weights stay
    the same numbers. The advice spells it out.
    """
    yield from told(subject, "one-dimensional-layer", advice=_in_two_dimensions)


def _in_two_dimensions(subject: Subject, node: Node) -> str:
    """The 2-D layer that does the same."""
    kernel = _kernel(subject, node)
    if len(kernel) != 1:
        return ""
    parts = [f"kernel (1, {kernel[0]})"]
    for name, neutral in (("strides", 1), ("dilations", 1)):
        value = integers(node, name)
        if len(value) == 1 and value[0] != neutral:
            parts.append(f"{name} (1, {value[0]})")
    pads = integers(node, "pads")
    if len(pads) == 2 and any(pads):
        parts.append(f"pads (0, {pads[0]}, 0, {pads[1]})")
    shape = shape_in(subject, node)
    on = f" on {format_shape((*shape[:2], 1, shape[2]))}" if shape is not None and len(shape) == 3 else ""
    return f"the same in 2-D: {node.op} of {', '.join(parts)}{on}"


def _kernel(subject: Subject, node: Node) -> Sequence[Any]:
    given = integers(node, "kernel_shape")
    if given:
        return given
    weight = node.input(1)
    shape = subject.shape(weight) if weight is not None and node.op.startswith("Conv") else None
    return shape[2:] if shape is not None else ()


@rule("HAI117", "three-dimensional-layer", Severity.WARNING)
def three_dimensional_layer(subject: Subject) -> Iterator[Found]:
    """A convolution or pooling over time, height and width.

    Why: one network with 3-D convolutions is known to be compiled for Hailo-8 (r3d_18); other forms are not known.
    Example: `torch.nn.Conv3d(3, 64, (3, 7, 7))`.
    Fix: put the frames into the channels and use 2-D layers, or keep to the kernels of r3d_18.
    """
    yield from told(subject, "three-dimensional-layer", detail=_kernel_size)


def _kernel_size(subject: Subject, node: Node) -> str:
    kernel = _kernel(subject, node)
    return f"kernel {'x'.join(map(str, kernel))}" if kernel else ""


@rule("HAI118", "missing-kernel-shape", Severity.ERROR)
def missing_kernel_shape(subject: Subject) -> Iterator[Found]:
    """A convolution without the attribute `kernel_shape`.

    Why: ONNX lets it be left out, as the dynamo exporter of PyTorch does; the parser then ended in an IndexError.
    Fix: irkit optimize adds it, taken from the shape of the weight.
    """
    yield from told(subject, "missing-kernel-shape")


@rule("HAI119", "computed-weights", Severity.WARNING)
def computed_weights(subject: Subject) -> Iterator[Found]:
    """Weights that are computed while the network runs.

    Why: the chip holds weights; a kernel that comes out of another layer is none, and crashed the parser.
    Example: dynamic convolutions, `F.conv2d(x, self.controller(x))`, and weights behind QuantizeLinear.
    Fix: fold what does not depend on the input (irkit optimize), or write the product as MatMul or Mul of activations.
    """
    yield from told(subject, "computed-weights")


@rule("HAI120", "resize-form", Severity.WARNING)
def resize_form(subject: Subject) -> Iterator[Found]:
    """A Resize in a form that the networks known to compile do not have.

    Why: nearest and linear with constant scales are known; sizes in place of scales failed, cubic, antialiased and
    cropping forms were not seen.
    Example: `F.interpolate(x, size=(h, w), mode="bicubic")`.
    Fix: use `scale_factor=` with `mode="nearest"` or `"bilinear"`.
    """
    yield from told(subject, "resize-form", detail=_resize_words, advice=_as_scales)


def _resize_words(_subject: Subject, node: Node) -> str:
    names = ("mode", "coordinate_transformation_mode")
    words = [str(ops.attribute(node, name) or "") for name in names]
    antialias = "antialiased" if node.attr("antialias") else ""
    return ", ".join(word for word in (*words, antialias) if word)


def _as_scales(subject: Subject, node: Node) -> str:
    """The scales that the sizes come to."""
    before = shape_in(subject, node)
    after = subject.shape(node.output)
    if node.input(3) is None or before is None or after is None or len(before) != len(after):
        return ""
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if isinstance(a, int) and isinstance(b, int) and a > 0]
    if len(pairs) != len(before):
        return ""
    return f"as scales: {', '.join(f'{b / a:g}' for a, b in pairs)}"


@rule("HAI121", "reduction-form", Severity.ERROR)
def reduction_form(subject: Subject) -> Iterator[Found]:
    """A maximum, sum or mean over axes that the compiler does not reduce.

    Why: it reduces over the channels with the axis kept, and averages over height and width; "Reduce max is only
    supported on the features axis, and with keepdim=True" is one of its messages.
    Example: `x.amax(dim=(2, 3))`, which is a max pooling over the whole map.
    Fix: reduce over axis 1 with `keepdim=True`; over height and width use a pooling of the size of the map.
    """
    yield from told(subject, "reduction-form", detail=_reduced, advice=_as_pooling)


def _reduced(_subject: Subject, node: Node) -> str:
    axes = worked_axes(node)
    over = f"over axes {_listed(axes)}" if axes else "over every axis"
    return over if ops.attribute(node, "keepdims") else f"{over}, not kept"


def _as_pooling(subject: Subject, node: Node) -> str:
    """The pooling that a reduction over height and width is."""
    shape = shape_in(subject, node)
    axes = worked_axes(node)
    pooling = {"ReduceMax": "MaxPool", "ReduceMean": "AveragePool"}.get(node.op)
    if pooling is None or shape is None or len(shape) != 4 or axes is None or {axis % 4 for axis in axes} != {2, 3}:
        return ""
    reshape = "" if ops.attribute(node, "keepdims") else ", then Flatten"
    return f"write it as {pooling} with kernel ({shape[2]}, {shape[3]}){reshape}"


@rule("HAI122", "normalization-form", Severity.WARNING)
def normalization_form(subject: Subject) -> Iterator[Found]:
    """A layer, group or instance norm in a form that is not known to be taken.

    Why: they compute statistics of each frame on the chip; layer norm over the last axis is known, the others were
    taken for it and then failed, or were not seen.
    Example: `torch.nn.GroupNorm(8, 64)`, `torch.nn.InstanceNorm2d(64)`.
    Fix: train with batch norm, which folds into the convolutions, or use layer norm over the channels.
    """
    yield from told(subject, "normalization-form", detail=_norm_words)


def _norm_words(subject: Subject, node: Node) -> str:
    shape = shape_in(subject, node)
    groups, axis = ops.attribute(node, "num_groups"), ops.attribute(node, "axis")
    parts = [
        f"{groups} groups" if groups else "",
        f"axis {axis}" if axis is not None else "",
        f"on {format_shape(shape)}" if shape is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _listed(axes: Sequence[int]) -> str:
    return f"({', '.join(str(axis) for axis in axes)})"
