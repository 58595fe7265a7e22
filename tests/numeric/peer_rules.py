"""Rewrite rules that onnxscript, OnnxSlim and TI's model optimizer ship, written for irkit from what they do.

The names are those of the peers, so that they are found there; `test_peer_rules.py` tells where, and how long they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import irkit
from irkit import Builder, DType, Match, Node, Pattern, PatternOps, Refusal, Value

Answer = Refusal | None


def numbers(value: Value | None) -> Any:
    """The data of a constant."""
    assert value is not None
    assert value.constant is not None
    return value.constant.numpy()


def open_shape(match: Match) -> list[int]:
    """The shape of what is replaced, with -1 for the dimensions that are not known."""
    shape = match.outputs[0].shape or (None, None)
    return [dim if isinstance(dim, int) else -1 for dim in shape]


# onnxscript


class SqueezeReshape(irkit.Rule):
    """Reshape(Squeeze(x), [-1]) of a vector is the vector."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Reshape(op.Squeeze(x.rank(1)), [-1])

    def replace(self, x: Value) -> Value:
        return x


class CastIdentity(irkit.Rule):
    """A Cast to the type that the value has."""

    def pattern(self, op: PatternOps, x: Pattern, to: Pattern) -> Pattern:
        return op.Cast(x, to=to)

    def replace(self, x: Value, to: int) -> Value | Refusal:
        return x if x.dtype == to else irkit.refuse(f"it makes {DType(to).label} of it")


class CastCast(irkit.Rule):
    """Two Casts are one where the first loses nothing that the second keeps."""

    def pattern(self, op: PatternOps, x: Pattern, to: Pattern) -> Pattern:
        half = op.Cast(op.Cast(x, to=DType.FLOAT32), to=to)
        return half.such_that(lambda node: node.attr("to") in (DType.FLOAT16, DType.BFLOAT16), "keeps more")

    def replace(self, op: Builder, x: Value, to: int) -> Value:
        return op.Cast(x, to=to)


class ExpandIdentity(irkit.Rule):
    """An Expand to the shape that the value has."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Expand(x.where(lambda value: None not in (value.shape or (None,)), "has no known shape"), op.rest())

    def replace(self, x: Value, match: Match) -> Value | Refusal:
        return x if match.outputs[0].shape == x.shape else irkit.refuse("it makes the value larger")


class ReshapeReshape(irkit.Rule):
    """Of two Reshapes only the last counts."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Reshape(op.Reshape(x, op.rest()), op.rest())

    def replace(self, op: Builder, x: Value, match: Match) -> Value | Refusal:
        shape = open_shape(match)
        return op.Reshape(x, shape) if shape.count(-1) < 2 and 0 not in shape else irkit.refuse("the shape is open")


class SlicesSplit(irkit.Rule):
    """Two Slices that share out an axis are one Split."""

    def pattern(self, op: PatternOps, x: Pattern, mid: Pattern, begin: Pattern, end: Pattern, axis: Pattern,
                other: Pattern) -> tuple[Pattern, Pattern]:  # fmt: skip
        first = op.Slice(x, [0], mid.constant(), axis.constant())
        return first, op.Slice(x, begin.constant(), end.constant(), other.constant())

    def replace(self, op: Builder, x: Value, mid: Value, begin: Value, end: Value, axis: Value, other: Value) -> Any:
        a, b, to, axes, others = (numbers(item).tolist() for item in (mid, begin, end, axis, other))
        size = x.shape[axes[0]] if x.shape is not None and len(axes) == 1 else None
        if [a, axes] != [b, others] or not isinstance(size, int) or not to[0] >= size > a[0] > 0:
            return irkit.refuse("the slices do not share out one axis")
        return op.Split(x, [a[0], size - a[0]], axis=axes[0], _outputs=2)


class TransposeIdentity(irkit.Rule):
    """A Transpose that leaves every dimension where it is."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Transpose(x, perm=lambda perm: perm is not None and list(perm) == sorted(perm))

    def replace(self, x: Value) -> Value:
        return x


class TransposeTranspose(irkit.Rule):
    """Two Transposes are one, or none."""

    def pattern(self, op: PatternOps, x: Pattern, a: Pattern, b: Pattern) -> Pattern:
        return op.Transpose(op.Transpose(x, perm=a), perm=b)

    def replace(self, op: Builder, x: Value, a: tuple[int, ...] | None, b: tuple[int, ...] | None) -> Any:
        if a is None or b is None:
            return irkit.refuse("a permutation is left to its default")
        both = [a[axis] for axis in b]
        return x if both == sorted(both) else op.Transpose(x, perm=both)


class UnsqueezeUnsqueeze(irkit.Rule):
    """Two Unsqueezes are one."""

    def pattern(self, op: PatternOps, x: Pattern, a: Pattern, b: Pattern) -> Pattern:
        return op.Unsqueeze(op.Unsqueeze(x, a.constant()), b.constant())

    def replace(self, op: Builder, a: Value, b: Value, x: Value, match: Match) -> Value | Refusal:
        if match.outputs[0].shape is None:
            return irkit.refuse("the rank is not known")
        rank = len(match.outputs[0].shape)
        outer = {axis % rank for axis in numbers(b).tolist()}
        left = [axis for axis in range(rank) if axis not in outer]
        return op.Unsqueeze(x, sorted(outer | {left[axis] for axis in numbers(a).tolist()}))


class Flatten2Reshape(irkit.Rule):
    """A Flatten is a Reshape."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Flatten(x)

    def replace(self, op: Builder, x: Value, match: Match) -> Value | Refusal:
        shape = open_shape(match)
        return op.Reshape(x, shape) if shape.count(-1) < 2 and 0 not in shape else irkit.refuse("the shape is open")


class MatMulAddToGemm(irkit.Rule):
    """A MatMul and an Add are a Gemm, which takes Transposes in."""

    def pattern(self, op: PatternOps, a: Pattern, b: Pattern, c: Pattern) -> Pattern:
        left = op.any_of(op.Transpose(a.rank(2), perm=[1, 0]).named("ta"), a.rank(2))
        right = op.any_of(op.Transpose(b.rank(2), perm=[1, 0]).named("tb"), b.rank(2))
        return op.Add(op.MatMul(left, right).named("product"), c)

    def check(self, product: Node, match: Match) -> Answer:
        return None if product.output.shape == match.outputs[0].shape else irkit.refuse("the Add makes it larger")

    def replace(self, op: Builder, a: Value, b: Value, c: Value, ta: Node | None, tb: Node | None) -> Value:
        return op.Gemm(a, b, c, transA=int(ta is not None), transB=int(tb is not None))


class HardSwishFusion(irkit.Rule):
    """x * clip(x + 3, 0, 6) / 6 is HardSwish."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Div(op.Mul(op.Clip(op.Add(x, 3), 0, 6), x), 6)

    def replace(self, op: Builder, x: Value) -> Value:
        return op.HardSwish(x)


class HardSwishFusionFromHardSigmoid(irkit.Rule):
    """x * HardSigmoid(x) is HardSwish."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Mul(op.HardSigmoid(x, alpha=1 / 6, beta=0.5), x)

    def replace(self, op: Builder, x: Value) -> Value:
        return op.HardSwish(x)


class FuseSuccessiveRelu(irkit.Rule):
    """A Relu of a Relu."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Relu(op.Relu(x))

    def replace(self, op: Builder, x: Value) -> Value:
        return op.Relu(x)


class FuseMinMaxToClip(irkit.Rule):
    """Min(Max(x, lows), highs) is a Clip."""

    def pattern(self, op: PatternOps, x: Pattern, lows: Pattern, highs: Pattern) -> Pattern:
        return op.Min(op.Max(x, op.rest(lows.constant().rank(0))), op.rest(highs.constant().rank(0)))

    def replace(self, op: Builder, x: Value, lows: tuple[Value, ...], highs: tuple[Value, ...]) -> Value:
        return op.Clip(x, float(max(map(numbers, lows))), float(min(map(numbers, highs))))


class RemoveOptionalBias(irkit.Rule):
    """A bias of zeros."""

    def pattern(self, op: PatternOps, x: Pattern, w: Pattern, b: Pattern) -> Pattern:
        zero = b.constant().where(lambda value: not numbers(value).any(), "is not zero")
        return op.any_op("Conv", "ConvTranspose", "Gemm")(x, w, zero).named("layer")

    def replace(self, op: Builder, x: Value, w: Value, layer: Node) -> Value:
        return op.node(layer.op, x, w, like=layer)


class CollapseSlice(irkit.Rule):
    """A Slice that takes all."""

    def pattern(
        self, op: PatternOps, x: Pattern, begin: Pattern, end: Pattern, axes: Pattern, steps: Pattern
    ) -> Pattern:
        forward = steps.constant().where(lambda value: (numbers(value) > 0).all(), "goes backwards")
        return op.Slice(x, begin, end, op.maybe(axes), op.maybe(forward))

    def replace(self, x: Value, match: Match) -> Value | Refusal:
        same = match.outputs[0].shape == x.shape and None not in (x.shape or (None,))
        return x if same else irkit.refuse("it may take a part")


class CastConstantOfShape(irkit.Rule):
    """A Cast of a filled tensor fills it with what it makes."""

    def pattern(self, op: PatternOps, shape: Pattern, value: Pattern, to: Pattern) -> Pattern:
        return op.Cast(op.ConstantOfShape(shape, value=value), to=to)

    def replace(self, op: Builder, shape: Value, value: irkit.Tensor | None, to: int) -> Value:
        fill = np.zeros(1, np.float32) if value is None else value.numpy()
        return op.ConstantOfShape(shape, value=fill.astype(DType(to).numpy))


# OnnxSlim


class ConvAdd(irkit.Rule):
    """A constant a channel, added behind a convolution, goes into its bias."""

    def pattern(self, op: PatternOps, x: Pattern, w: Pattern, b: Pattern, c: Pattern) -> Pattern:
        layer = op.any_op("Conv", "ConvTranspose")(x, w, op.maybe(b.constant())).named("layer")
        return op.Add(layer, c.constant())

    def replace(self, op: Builder, x: Value, w: Value, b: Value | None, c: Value, layer: Node) -> Value | Refusal:
        rank, channels = len(layer.output.shape or ()), (layer.output.shape or (None, None))[1]
        if list(numbers(c).shape) not in ([channels, *[1] * (rank - 2)], [1, channels, *[1] * (rank - 2)]):
            return irkit.refuse("it does not add one number a channel")
        return op.node(layer.op, x, w, numbers(c).reshape(-1) + (0 if b is None else numbers(b)), like=layer)


class ConvMul(irkit.Rule):
    """A constant a channel, multiplied behind a convolution, goes into its weight and bias."""

    def pattern(self, op: PatternOps, x: Pattern, w: Pattern, b: Pattern, c: Pattern) -> Pattern:
        return op.Mul(op.Conv(x, w.constant(), op.maybe(b.constant())).named("layer"), c.constant())

    def replace(self, op: Builder, x: Value, w: Value, b: Value | None, c: Value, layer: Node) -> Value | Refusal:
        weight, scale = numbers(w), numbers(c)
        if list(scale.shape) not in (
            [len(weight), *[1] * (weight.ndim - 2)],
            [1, len(weight), *[1] * (weight.ndim - 2)],
        ):
            return irkit.refuse("it does not multiply one number a channel")
        scaled = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
        return op.node("Conv", x, scaled, None if b is None else numbers(b) * scale.reshape(-1), like=layer)


class PadConv(irkit.Rule):
    """Zeros around the input of a convolution are padding of its own."""

    def pattern(self, op: PatternOps, x: Pattern, pads: Pattern, params: Pattern) -> Pattern:
        padded = op.Pad(x, pads.constant(), op.maybe(op.number(0)), mode="constant").named("pad")
        return op.Conv(padded, op.rest(params), auto_pad="NOTSET").named("conv")

    def replace(self, op: Builder, x: Value, pads: Value, params: tuple[Value, ...], conv: Node) -> Value | Refusal:
        around = numbers(pads).reshape(2, -1)
        if around[:, :2].any() or (around < 0).any():
            return irkit.refuse("it pads batch or channels, or cuts off")
        own = conv.attr("pads") or [0] * around[:, 2:].size
        return op.node("Conv", x, *params, like=conv, pads=around[:, 2:].reshape(-1) + own)


class ConcatConcat(irkit.Rule):
    """A Concat in a Concat."""

    def pattern(self, op: PatternOps, a: Pattern, b: Pattern, c: Pattern, axis: Pattern) -> Pattern:
        return op.Concat(op.rest(a), op.Concat(op.rest(b), axis=axis), op.rest(c), axis=axis)

    def replace(self, op: Builder, a: Any, b: Any, c: Any, axis: int) -> Value:
        return op.Concat(*a, *b, *c, axis=axis)


# TI's model optimizer


class GatherToSlice(irkit.Rule):
    """A Gather of one index is a Slice."""

    def pattern(self, op: PatternOps, x: Pattern, at: Pattern, axis: Pattern) -> Pattern:
        return op.Gather(x, at.constant().rank(0), axis=axis)

    def replace(self, op: Builder, x: Value, at: Value, axis: int, match: Match) -> Value | Refusal:
        begin, shape = int(numbers(at)), open_shape(match)
        if shape.count(-1) > 1 or 0 in shape:
            return irkit.refuse("the shape is open")
        return op.Reshape(op.Slice(x, [begin], [begin + 1 or 2**31], [axis]), shape)


class MaxPoolToCascade(irkit.Rule):
    """A large MaxPool with stride 1 is a row of 3x3 ones."""

    def pattern(self, op: PatternOps, x: Pattern, size: Pattern, pads: Pattern) -> Pattern:
        def ones(item: object) -> bool:
            return item in (None, (1, 1))

        return op.MaxPool(x, kernel_shape=size, pads=pads, ceil_mode=0, strides=ones, dilations=ones)

    def replace(self, op: Builder, x: Value, size: tuple[int, ...], pads: tuple[int, ...]) -> Value | Refusal:
        steps = size[0] // 2
        if set(size) != {2 * steps + 1} or pads != (steps,) * 4 or steps < 2:
            return irkit.refuse("it is no large odd square that keeps the size")
        for _ in range(steps):
            x = op.MaxPool(x, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
        return x


class GemmToMatMul(irkit.Rule):
    """A Gemm is a MatMul and an Add."""

    def pattern(self, op: PatternOps, a: Pattern, b: Pattern, c: Pattern, trans: Pattern) -> Pattern:
        return op.Gemm(a, b.constant(), op.maybe(c), alpha=1.0, beta=1.0, transA=0, transB=trans)

    def replace(self, op: Builder, a: Value, b: Value, c: Value | None, trans: int) -> Value:
        product = op.MatMul(a, np.ascontiguousarray(numbers(b).T) if trans else b)
        return product if c is None else op.Add(product, c)


class LargeAveragePoolToMatMul(irkit.Rule):
    """A large GlobalAveragePool is a MatMul."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.GlobalAveragePool(x.rank(4))

    def replace(self, op: Builder, x: Value) -> Value | Refusal:
        batch, channels, height, width = x.shape or ()
        if (
            not (isinstance(height, int) and isinstance(width, int) and isinstance(channels, int))
            or height * width < 1024
        ):
            return irkit.refuse("it is small enough, or of unknown size")
        size, mean = height * width, np.full((height * width, 1), 1 / (height * width), np.float32)
        flat = op.Reshape(x, [batch if isinstance(batch, int) else -1, 1, channels, size])
        return op.Reshape(op.MatMul(flat, mean), [batch if isinstance(batch, int) else -1, channels, 1, 1])


class UnsqueezeToReshape(irkit.Rule):
    """An Unsqueeze is a Reshape."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Unsqueeze(x, op.rest())

    def replace(self, op: Builder, x: Value, match: Match) -> Value | Refusal:
        shape = open_shape(match)
        return op.Reshape(x, shape) if shape.count(-1) < 2 and 0 not in shape else irkit.refuse("the shape is open")


class NegToMul(irkit.Rule):
    """A Neg is a Mul by -1."""

    def pattern(self, op: PatternOps, x: Pattern) -> Pattern:
        return op.Neg(x)

    def replace(self, op: Builder, x: Value) -> Value:
        return op.Mul(x, -1)
