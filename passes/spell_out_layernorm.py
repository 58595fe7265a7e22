"""Write LayerNormalization as the operators it stands for, as exporters did before opset 17.

    LayerNormalization(x, scale, bias)    becomes    d / sqrt(mean(d^2) + epsilon) * scale + bias,  d = x - mean(x)

In this spelling networks with layer norms are known to compile for Hailo-8; the fused operator was refused by some
versions of the compiler. The function is the same but for float noise.

Not: in half precision, where the operator computes in single precision; where mean or deviation are read by others.
"""

from __future__ import annotations

import irkit
from irkit import Builder, Node, Pattern, PatternOps, Refusal, Value


@irkit.rewrite("spell-out-layernorm", effect="exact")
class SpellOutLayerNorm:
    """Write LayerNormalization as means, a difference, a square root and a division."""

    def pattern(self, op: PatternOps, x: Pattern, scale: Pattern, bias: Pattern) -> Pattern:
        return op.LayerNormalization(x, scale, op.maybe(bias)).named("norm")

    def check(self, x: Value) -> Refusal | None:
        if x.dtype not in (irkit.DType.FLOAT32, irkit.DType.FLOAT64):
            found = x.dtype.label if x.dtype is not None else "no known type"
            return irkit.refuse(f"it must compute in single or double precision; found {found}")
        if x.shape is None:
            return irkit.refuse("the rank is not known")
        return None

    def replace(self, op: Builder, x: Value, scale: Value, bias: Value | None, norm: Node) -> Value:
        rank = len(x.shape or ())
        axes = [axis - rank for axis in range(norm.attr("axis", -1) % rank, rank)]
        centred = op.Sub(x, self.mean(op, x, axes))
        variance = self.mean(op, op.Pow(centred, 2.0), axes)
        normed = op.Div(centred, op.Sqrt(op.Add(variance, norm.attr("epsilon", 1e-5))))
        scaled = op.Mul(normed, scale)
        return scaled if bias is None else op.Add(scaled, bias)

    def mean(self, op: Builder, x: Value, axes: list[int]) -> Value:
        """The mean over some axes, which are kept; an input since opset 18."""
        return op.ReduceMean(x, axes=axes) if op.opset < 18 else op.ReduceMean(x, op.constant(axes, "axes"))
