"""HAI115 and HAI123 to HAI133: axes, operands and places that operators must not have."""

from __future__ import annotations

from collections.abc import Iterator

from irkit import ops
from irkit.checks.conditions import worked_axes
from irkit.checks.reading import shape_in
from irkit.checks.telling import told
from irkit.diagnostics import Severity
from irkit.ir import Node
from irkit.linter import Found, Subject, rule
from irkit.types import format_shape


@rule("HAI115", "batch-axis", Severity.ERROR)
def batch_axis(subject: Subject) -> Iterator[Found]:
    """An operator that works along the batch.

    Why: the compiler builds the network for one frame, and has no layer across frames: "Unsupported concat over axis
    batch", "Gather operation on the batch dimension is not supported".
    Example: `torch.cat([x, x.flip(-1)], dim=0)`, `x[0]`, `x.squeeze(0)`.
    Fix: work along another axis, or feed the frames one by one; HailoRT makes batches by itself.
    """
    yield from told(subject, "batch-axis")


@rule("HAI123", "softmax-axis", Severity.ERROR)
def softmax_axis(subject: Subject) -> Iterator[Found]:
    """A softmax over an axis that is not the channels.

    Why: the compiler sums over the features, which are axis 1 of a feature map and the last axis in attention.
    Example: `x.softmax(dim=2)` of a feature map.
    Fix: lay the tensor out so that the axis is the channels, or take the softmax on the host.
    """
    yield from told(subject, "softmax-axis")


@rule("HAI130", "argmax-form", Severity.WARNING)
def argmax_form(subject: Subject) -> Iterator[Found]:
    """An ArgMax that is not the last operator, or not over the channels.

    Why: it is known as the last layer of segmentation networks, over the classes; what it makes are indices, with
    which no layer goes on.
    Example: `logits.argmax(1).float() / 19`.
    Fix: end the network at the ArgMax, or before it, and go on on the host.
    """
    yield from told(subject, "argmax-form", detail=_axis_words)


def _axis_words(subject: Subject, node: Node) -> str:
    shape = shape_in(subject, node)
    on = f" of {format_shape(shape)}" if shape is not None else ""
    return f"axis {ops.attribute(node, 'axis')}{on}"


@rule("HAI131", "split-at-output", Severity.WARNING)
def split_at_output(subject: Subject) -> Iterator[Found]:
    """A part of a Split that is an output of the network.

    Why: Split becomes a layer that hands its parts to other layers; it cannot be an output.
    Example: `return x.chunk(2, dim=1)`.
    Fix: return the whole tensor and take it apart on the host, or use slices.
    """
    yield from told(subject, "split-at-output")


@rule("HAI132", "sampling", Severity.ERROR)
def sampling(subject: Subject) -> Iterator[Found]:
    """Values are read at positions that the network computes.

    Why: the chip streams rows through its layers; reading at computed positions needs the whole map at once.
    Example: `F.grid_sample(features, keypoints)`, deformable convolution, RoIAlign.
    Fix: end the network at the feature maps and sample on the host; a fixed grid can be a Resize or a convolution.
    """
    yield from told(subject, "sampling")


@rule("HAI133", "slice-form", Severity.WARNING)
def slice_form(subject: Subject) -> Iterator[Found]:
    """A Slice or Gather that is no plain cut along height, width or channels of a feature map.

    Why: cuts with constant bounds of tensors of rank 4 are known; of other ranks some were refused ("Slice on axis 1
    is not supported"), and bounds that are computed cannot be laid out.
    Example: `x[:, ::2]` of a tensor of shape (batch, time, features).
    Fix: keep the tensor at rank 4 there, with constant bounds; or cut it apart on the host.
    """
    yield from told(subject, "slice-form", detail=_cut_words)


def _cut_words(subject: Subject, node: Node) -> str:
    shape = shape_in(subject, node)
    axes = worked_axes(node) if node.op == "Slice" else None
    parts = [
        f"axes ({', '.join(map(str, axes))})" if axes is not None else "",
        f"axis {ops.attribute(node, 'axis')}" if node.op == "Gather" else "",
        f"of {format_shape(shape)}" if shape is not None else "",
    ]
    return " ".join(part for part in parts if part)
