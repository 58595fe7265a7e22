"""Per-channel affine maps and the linear layers that can take them in: the arithmetic of folding batch norms.

    affine      y[:, c, ...] = scale[c] * x[:, c, ...] + shift[c]
    batch norm  scale = gamma / sqrt(var + epsilon), shift = beta - mean * scale
    behind a linear layer   A(W x + b) = (scale_o W) x + (scale_o b + shift_o)       o: output channel
    before a linear layer   W A(x) + b = (W scale_i) x + (b + sum over i, taps of W shift_i)     i: input channel

The last line wants every output to see every tap: a convolution that pads with zeros sees no shift at the border, so it
holds there only where the shift is zero. All is computed in float64 and rounded once, large weights in pieces.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from irkit import ops, source
from irkit.ir import Node, Value
from irkit.refusal import Refusal, refuse
from irkit.tensor import Tensor

if TYPE_CHECKING:
    import numpy as np

    from irkit.builder import Builder

    Array = np.ndarray[Any, np.dtype[Any]]

LINEAR_OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators whose weight can take in an affine map."""

ARITHMETIC_OPS = ("Add", "Sub", "Mul", "Div")
"""Operators that are affine maps where one operand is a constant."""

_PIECE = 1 << 21  # elements computed at a time


@dataclass(frozen=True, eq=False)
class Affine:
    """The map `scale * x + shift` along axis 1; both are float64 of shape (channels,)."""

    scale: Array
    shift: Array

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return int(self.scale.size)

    @property
    def shifts(self) -> bool:
        """Whether any shift differs from zero."""
        return bool(self.shift.any())


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """A batch norm in inference mode with constant parameters, float64 of shape (channels,)."""

    node: Node
    gamma: Array
    beta: Array
    mean: Array
    deviation: Array
    """sqrt(variance + epsilon)"""

    @property
    def channels(self) -> int:
        """How many channels it has."""
        return int(self.gamma.size)

    @property
    def affine(self) -> Affine:
        """The map it is."""
        scale = self.gamma / self.deviation
        return Affine(scale, self.beta - self.mean * scale)

    def followed_by(self, outer: Affine) -> tuple[Array, Array]:
        """Gamma and beta of the batch norm, of same mean and variance, that is this one and then `outer`."""
        return self.gamma * outer.scale, self.beta * outer.scale + outer.shift

    def applied_to(self, inner: Affine) -> tuple[Array, Array]:
        """Gamma and beta of the batch norm, of same mean and variance, that is `inner` and then this one."""
        moved = inner.scale * self.mean + inner.shift - self.mean
        return self.gamma * inner.scale, self.beta + self.gamma / self.deviation * moved

    def rebuild(self, op: Builder, x: Value, gamma: Array, beta: Array) -> Value | Refusal:
        """The batch norm over `x` with another scale and bias."""
        operands: list[Any] = [x]
        for old, data in zip(self.node.inputs[1:3], (gamma, beta), strict=True):
            like = old.constant if old is not None else None
            assert like is not None  # it was read
            new = rounded(data, like)
            if new is None:
                return refuse(f"its folded parameters do not fit in {like.dtype.label}")
            operands.append(op.constant(new, folded_name(old)))
        return op.node("BatchNormalization", *operands, *self.node.inputs[3:5], like=self.node)


def read_batchnorm(node: Node, opset: int) -> BatchNorm | Refusal:
    """A BatchNormalization node as numbers, or why it cannot be folded."""
    import numpy as np

    if why := _trains(node, opset):
        return refuse(why)
    names = ("scale", "bias", "mean", "variance")
    found = [as_float64(node.input(slot)) for slot in range(1, 5)]
    for name, data in zip(names, found, strict=True):
        if data is None:
            return refuse(f"its {name} is no floating-point constant")
        if data.ndim != 1 or data.shape != found[0].shape:  # type: ignore[union-attr]  # the first was seen
            return refuse("its parameters are not one number a channel")
    gamma, beta, mean, variance = cast("list[Array]", found)
    squared = variance + float(ops.attribute(node, "epsilon"))
    if not (np.isfinite(squared) & (squared > 0)).all():
        channel = int(np.argmin(np.isfinite(squared) & (squared > 0)))
        return refuse(f"variance + epsilon of channel {channel} is {squared[channel]:g}, no positive number")
    return BatchNorm(node, gamma, beta, mean, np.sqrt(squared))


def _trains(node: Node, opset: int) -> str:
    """Why the node does not run in inference mode, by what its opset says of that; "" where it does."""
    if opset >= 14:
        return "it runs in training mode" if node.attr("training_mode", 0) else ""
    if opset < 7 and not node.attr("is_test", 0):
        return "it runs in training mode (is_test is 0)"
    if any(value.name for value in node.outputs[1:]):
        return "it runs in training mode: it has outputs for running statistics"
    if opset < 9 and not node.attr("spatial", 1) and len(node.output.shape or ()) != 2:
        return "it has statistics for each position (spatial is 0)"
    return ""


def read_arithmetic(node: Node, operand: Value, channels: int, rank: int | None = None) -> Affine | Refusal:
    """An Add, Sub, Mul or Div of `operand` and a constant as an affine map, or why it is none.

    Args:
        node: the node.
        operand: the input that is no constant; the map goes along its axis 1.
        channels: size of its axis 1.
        rank: number of its dimensions; those of its type where not given.
    """
    import numpy as np

    left = node.inputs[0] is operand
    other = node.input(1 if left else 0)
    known = operand.shape
    shape = _aligned(node, other, rank if rank is not None or known is None else len(known))
    if shape is None or any(dim != 1 for axis, dim in enumerate(shape) if axis != 1) or shape[1] not in (1, channels):
        return refuse("its other operand is no constant with one number a channel")
    if shape[1] > 1 and known is not None and known[1] != shape[1]:
        return refuse("it may add channels")
    constant = as_float64(other)
    if constant is None:
        return refuse("its other operand is no floating-point constant")
    vector = np.broadcast_to(constant.reshape(-1), (channels,))
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op == "Add":
        return Affine(ones, vector)
    if node.op == "Mul":
        return Affine(vector, zeros)
    if node.op == "Sub":
        return Affine(ones, -vector) if left else Affine(-ones, vector)
    if not left or not vector.all():
        return refuse("it divides by a value" if not left else "it divides by zero")
    return Affine(1.0 / vector, zeros)


def _aligned(node: Node, value: Value | None, rank: int | None) -> tuple[int, ...] | None:
    """Shape of a constant, filled up to that rank as broadcasting does it; None where it is none or is larger."""
    tensor = value.constant if value is not None else None
    if tensor is None or (rank is None and (tensor.size != 1 or tensor.rank > 2)):
        return None
    rank, shape = rank or 2, tensor.shape
    axis = node.attr("axis")
    if axis is not None and tensor.size > 1:  # before opset 7: the axis of the operand at which the constant starts
        shape += (1,) * (rank - axis % rank - len(shape))
    return (1,) * (rank - len(shape)) + shape if len(shape) <= rank else None


def read_affine(node: Node, operand: Value, channels: int, opset: int, rank: int | None = None) -> Affine | Refusal:
    """The map that a batch norm or arithmetic applies to `operand`; see `read_batchnorm` and `read_arithmetic`."""
    if node.op != "BatchNormalization":
        return read_arithmetic(node, operand, channels, rank)
    norm = read_batchnorm(node, opset)
    return norm if isinstance(norm, Refusal) else norm.affine


@dataclass(frozen=True, eq=False)
class Linear:
    """A Conv, ConvTranspose, Gemm or MatMul with constant weight and bias.

    Attributes: `bias` is float64 of shape (outputs,), or None; `groups` as of a convolution, else 1.
    """

    node: Node
    weight: Tensor
    bias: Array | None
    groups: int
    inputs: int
    outputs: int

    def behind(self, affine: Affine) -> tuple[Tensor, Tensor] | Refusal:
        """Weight and bias of this layer and then the map."""
        if affine.channels != self.outputs:
            return refuse(f"it has {affine.channels} channels behind a layer of {self.outputs}")
        weight = scaled(self.weight, self._along_outputs(affine.scale))
        bias = affine.shift if self.bias is None else self.bias * affine.scale + affine.shift
        return self._checked(weight, bias)

    def obstacle_before(self, affine: Affine) -> Refusal | None:
        """Why `before` is not possible, as far as can be told without computing it."""
        if affine.channels != self.inputs:
            return refuse(f"it has {affine.channels} channels before a layer of {self.inputs}")
        if self.node.attr("transA", 0):
            return refuse(f"{self.node!r} reads its input transposed")
        return refuse(why) if affine.shifts and (why := self._border()) else None

    def before(self, affine: Affine) -> tuple[Tensor, Tensor] | Refusal:
        """Weight and bias of the map and then this layer."""
        if refused := self.obstacle_before(affine):
            return refused
        weight = scaled(self.weight, self._along_inputs(affine.scale))
        bias: Any = 0.0 if self.bias is None else self.bias
        if affine.shifts:
            bias = bias + float(self.node.attr("alpha", 1.0)) * self._summed(affine.shift)
        return self._checked(weight, bias)

    def _checked(self, weight: Tensor | None, bias: Any) -> tuple[Tensor, Tensor] | Refusal:
        import numpy as np

        vector = rounded(np.broadcast_to(bias, (self.outputs,)), self.weight)
        if weight is None or vector is None:
            return refuse(f"the folded weights do not fit in {self.weight.dtype.label}")
        return weight, vector

    def _border(self) -> str:
        """Why some outputs see less than all taps, so that a shift before the layer is no bias; "" where none do."""
        node = self.node
        if node.op not in ("Conv", "ConvTranspose"):
            return ""
        kernel = self.weight.shape[2:]
        if node.op == "ConvTranspose":
            plain = not any(node.attr("output_padding", (0,))) and not any(node.attr("output_shape", (0,)))
            one = max(kernel) == 1 and max(node.attr("strides", (1,))) == 1 and not any(node.attr("pads", (0,)))
            return "" if one and plain else "its shift does not reach every output of the transposed convolution alike"
        mode = node.attr("auto_pad", "NOTSET")
        padded = any(node.attr("pads", (0,))) if mode == "NOTSET" else mode != "VALID" and max(kernel) > 1
        return "the convolution pads with zeros, which its shift would not reach" if padded else ""

    def _along_outputs(self, scale: Array) -> Array:
        if self.node.op == "Conv":
            return scale.reshape(-1, *[1] * (self.weight.rank - 1))
        if self.node.op == "ConvTranspose":
            return self._spread(scale).reshape(self.inputs, -1, *[1] * (self.weight.rank - 2))
        return scale.reshape((-1, 1) if self.node.attr("transB", 0) else (1, -1))

    def _along_inputs(self, scale: Array) -> Array:
        if self.node.op == "Conv":
            return self._spread(scale).reshape(self.outputs, -1, *[1] * (self.weight.rank - 2))
        if self.node.op == "ConvTranspose":
            return scale.reshape(-1, *[1] * (self.weight.rank - 1))
        return scale.reshape((1, -1) if self.node.attr("transB", 0) else (-1, 1))

    def _spread(self, scale: Array) -> Array:
        """One row for each channel of the weight's first axis: the numbers of the channels that its group meets."""
        import numpy as np

        return np.repeat(scale.reshape(self.groups, -1), self.weight.shape[0] // self.groups, axis=0)

    def _summed(self, shift: Array) -> Array:
        """What a constant input of `shift` in each channel gives, of shape (outputs,)."""
        import numpy as np

        factor = self._along_inputs(shift)
        total = np.zeros(self.outputs)
        if self.node.op == "Conv" or self.node.attr("transB", 0):
            for rows, data in _pieces(self.weight):
                total[rows] = (data * factor[rows]).reshape(data.shape[0], -1).sum(axis=1)
            return total
        blocks = total.reshape(self.groups, -1)
        share = self.inputs // self.groups
        for rows, data in _pieces(self.weight):
            weighted = (data * factor[rows]).reshape(data.shape[0], -1)
            for row, line in enumerate(weighted, rows.start):
                blocks[row // share] += line
        return total

    def rebuild(self, op: Builder, x: Value, weight: Tensor, bias: Tensor) -> Value:
        """The layer with other weights; a MatMul that needs a bias becomes a Gemm (its input must be of rank 2)."""
        node, biased = self.node, self.bias is not None or _any(bias)
        operands: list[Any] = [x, op.constant(weight, folded_name(node.inputs[1]))]
        if not biased:
            return op.node(node.op, *operands, like=node)
        name = folded_name(node.input(2)) if node.input(2) is not None else f"{node.name or node.op}.bias_folded"
        operands.append(op.constant(bias, name))
        if node.op not in ("Gemm", "MatMul"):
            return op.node(node.op, *operands, like=node)
        return op.node("Gemm", *operands, like=node, beta=None, broadcast=1 if op.opset < 7 else None)


def read_linear(node: Node) -> Linear | Refusal:
    """A linear node as numbers, or why nothing can be folded into it."""
    weight = node.inputs[1].constant if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if weight is None:
        return refuse(f"the weight of {node!r} is no constant")
    if not weight.dtype.is_native or not weight.dtype.is_float:
        return refuse(f"the weight of {node!r} is {weight.dtype.label}")
    if node.op in ("Gemm", "MatMul"):
        return _read_matrix(node, weight)
    groups = int(node.attr("group", 1))
    first, second = weight.shape[:2]
    inputs, outputs = (second * groups, first) if node.op == "Conv" else (first, second * groups)
    bias = node.input(2)
    data = as_float64(bias)
    if bias is not None and (data is None or data.shape != (outputs,)):
        return refuse(f"the bias of {node!r} is no constant of {outputs} numbers")
    return Linear(node, weight, data, groups, inputs, outputs)


def _read_matrix(node: Node, weight: Tensor) -> Linear | Refusal:
    import numpy as np

    x = node.inputs[0]
    if weight.rank != 2 or (node.op == "MatMul" and len((x.shape if x is not None else None) or ()) != 2):
        return refuse(f"{node!r} does not multiply two matrices")
    inputs, outputs = reversed(weight.shape) if node.attr("transB", 0) else weight.shape
    bias = node.input(2) if node.op == "Gemm" else None
    data = as_float64(bias)
    if bias is not None:
        if data is None or data.size not in (1, outputs) or (data.size > 1 and data.shape[-1] != outputs):
            return refuse(f"the bias of {node!r} is no constant with one number a column")
        data = np.broadcast_to(data.reshape(-1) * float(node.attr("beta", 1.0)), (outputs,))
    return Linear(node, weight, data, 1, inputs, outputs)


def scaled(tensor: Tensor, factor: Array) -> Tensor | None:
    """The tensor times a float64 factor that broadcasts to it, rounded once; None where a product leaves its type.

    A splat with a uniform factor stays a splat; large results go to the scratch file.
    """
    import numpy as np

    if tensor.is_splat and (factor == factor.flat[0]).all():
        with np.errstate(over="ignore"):
            value = (np.float64(tensor.splat_value) * factor.flat[0]).astype(tensor.dtype.numpy)
        return Tensor.splat(value, tensor.shape, tensor.dtype) if np.isfinite(value) else None
    out = source.empty(tensor.shape, tensor.dtype.numpy)
    with np.errstate(over="ignore", invalid="ignore"):
        for rows, data in _pieces(tensor):
            out[rows] = data * (factor[rows] if factor.shape[0] > 1 else factor)
            if not np.isfinite(out[rows]).all():
                return None
    out.flags.writeable = False
    return Tensor.of(out)


def rounded(vector: Array, like: Tensor) -> Tensor | None:
    """A float64 vector in the type of another tensor (and a splat where that is one); None if it does not fit."""
    import numpy as np

    with np.errstate(over="ignore", invalid="ignore"):
        data = vector.astype(like.dtype.numpy)
    if not np.isfinite(data).all():
        return None
    if like.is_splat and (data == data[0]).all():
        return Tensor.splat(data[0], data.shape, like.dtype)
    return Tensor.of(data)


def _pieces(tensor: Tensor) -> Iterator[tuple[slice, Array]]:
    """Runs of rows in float64, small enough to keep memory low whatever the tensor's size."""
    import numpy as np

    data = tensor.numpy()
    count = tensor.shape[0]
    step = max(1, _PIECE // max(1, math.prod(tensor.shape[1:])))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        yield rows, data[rows].astype(np.float64)


def as_float64(value: Value | None) -> Array | None:
    """The data of a constant of a floating-point type numpy knows; None for anything else."""
    import numpy as np

    tensor = value.constant if value is not None else None
    if tensor is None or not tensor.dtype.is_native or not tensor.dtype.is_float:
        return None
    return tensor.numpy().astype(np.float64)


def folded_name(value: Value | None) -> str:
    """Name of the constant that stands for a changed one."""
    name = value.name if value is not None else "weight"
    return re.sub(r"_folded(_\d+)?$", "", name) + "_folded"


def _any(tensor: Tensor) -> bool:
    return bool(tensor.splat_value) if tensor.is_splat else bool(tensor.numpy().any())
