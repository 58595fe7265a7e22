"""Batch norms and other per-channel affine maps, folded into the linear layers beside them.

    Conv|ConvTranspose|Gemm|MatMul -> affine              ->  the layer, its output channels scaled, its bias moved
    BatchNorm -> Conv|ConvTranspose|Gemm|MatMul           ->  the layer, its input channels scaled, its bias moved
    BatchNorm -> affine, arithmetic -> BatchNorm          ->  one BatchNorm
    BatchNorm that is left                                ->  a depthwise 1x1 Conv, with `standalone`

where affine is a batch norm or arithmetic: Add, Sub, Mul or Div with one constant a channel. The algebra is stated in
`irkit/affine.py`: float64, one rounding.

Not: in training mode; where the value between is read elsewhere or is a graph output; where a parameter is no constant;
before a convolution that pads with zeros, unless there is no shift; where a folded weight would leave its element type.
Each batch norm that stays has its reason among the refusals.
"""

from __future__ import annotations

import irkit
from irkit import Builder, Node, Pattern, PatternOps, Refusal, Value


def arithmetic_over(op: PatternOps, inner: Pattern, c: Pattern) -> Pattern:
    """Arithmetic of `inner` with a constant, captured as `affine`."""
    return op.any_of(
        op.any_op(*irkit.ARITHMETIC_OPS)(inner, c.constant()).named("affine"),
        op.Sub(c.constant(), inner).named("affine"),
    )


class IntoLayerBefore(irkit.Rule):
    """An affine map behind a linear layer goes into its weight and bias. (MatMul with a bias is no affair of ours.)"""

    def pattern(self, op: PatternOps, x: Pattern, w: Pattern, c: Pattern, params: Pattern) -> Pattern:
        layer = op.any_op(*irkit.LINEAR_OPS)(x, op.rest(w)).named("layer")
        biased = op.any_op("Conv", "ConvTranspose", "Gemm")(x, op.rest(w)).named("layer")
        norm = op.BatchNormalization(layer, op.rest(params)).named("affine")
        return op.any_of(norm, arithmetic_over(op, biased, c))

    def replace(self, op: Builder, x: Value, layer: Node, affine: Node) -> Value | Refusal:
        linear = irkit.read_linear(layer)
        if isinstance(linear, Refusal):
            return linear
        found = irkit.read_affine(affine, layer.output, linear.outputs, op.opset, linear.weight.rank)
        if isinstance(found, Refusal):
            return found
        folded = linear.behind(found)
        return folded if isinstance(folded, Refusal) else linear.rebuild(op, x, *folded)


class IntoLayerBehind(irkit.Rule):
    """A batch norm goes into the linear layers behind it, if all that read it can take it in."""

    def pattern(self, op: PatternOps, x: Pattern, params: Pattern, w: Pattern) -> Pattern:
        norm = op.BatchNormalization(x, op.rest(params)).named("norm").shared()
        return op.any_op(*irkit.LINEAR_OPS)(norm, op.rest(w)).named("layer")

    def check(self, norm: Node) -> Refusal | None:
        found = self.obstacle(norm)
        if found is not None:
            self.context.refuse(self.label, norm.name or norm.output.name, found.reason)
        return found

    def obstacle(self, norm: Node) -> Refusal | None:
        """Why some reader of the batch norm cannot take it in."""
        value = norm.output
        if value.is_graph_output or value.name in self.context.protected:
            return irkit.refuse("its output is an output of the graph, or kept by the declared cut")
        found = irkit.read_batchnorm(norm, self.model.opset)
        if isinstance(found, Refusal):
            return found
        for reader in value.users:
            if reader.graph is not norm.graph or reader.op not in irkit.LINEAR_OPS or value in reader.inputs[1:]:
                return irkit.refuse(f"{reader!r} reads it, which cannot take it in")
            linear = irkit.read_linear(reader)
            refused = linear if isinstance(linear, Refusal) else linear.obstacle_before(found.affine)
            if refused is not None:
                return irkit.refuse(f"{reader!r} behind it cannot take it in: {refused.reason}")
        return None

    def replace(self, op: Builder, x: Value, norm: Node, layer: Node) -> Value | Refusal:
        linear, found = irkit.read_linear(layer), irkit.read_batchnorm(norm, op.opset)
        if isinstance(linear, Refusal) or isinstance(found, Refusal):
            return irkit.refuse("see the batch norm")  # `check` saw both already
        folded = linear.before(found.affine)
        return folded if isinstance(folded, Refusal) else linear.rebuild(op, x, *folded)


class IntoNormBefore(irkit.Rule):
    """An affine map behind a batch norm goes into its scale and bias."""

    def pattern(self, op: PatternOps, x: Pattern, p: Pattern, c: Pattern, params: Pattern) -> Pattern:
        norm = op.BatchNormalization(x, op.rest(p)).named("norm")
        return op.any_of(op.BatchNormalization(norm, op.rest(params)).named("affine"), arithmetic_over(op, norm, c))

    def replace(self, op: Builder, x: Value, norm: Node, affine: Node) -> Value | Refusal:
        inner = irkit.read_batchnorm(norm, op.opset)
        if isinstance(inner, Refusal):
            return inner
        outer = irkit.read_affine(affine, norm.output, inner.channels, op.opset)
        return outer if isinstance(outer, Refusal) else inner.rebuild(op, x, *inner.followed_by(outer))


class IntoNormBehind(irkit.Rule):
    """Arithmetic before a batch norm goes into its scale and bias."""

    def pattern(self, op: PatternOps, x: Pattern, c: Pattern, p: Pattern) -> Pattern:
        arithmetic = arithmetic_over(op, x, c)
        return op.BatchNormalization(arithmetic, op.rest(p)).named("norm")

    def replace(self, op: Builder, x: Value, affine: Node, norm: Node) -> Value | Refusal:
        outer = irkit.read_batchnorm(norm, op.opset)
        if isinstance(outer, Refusal):
            return outer
        inner = irkit.read_arithmetic(affine, x, outer.channels)
        return inner if isinstance(inner, Refusal) else outer.rebuild(op, x, *outer.applied_to(inner))


class Standalone(irkit.Rule):
    """A batch norm becomes a depthwise convolution with a 1x1 kernel."""

    def pattern(self, op: PatternOps, x: Pattern, params: Pattern) -> Pattern:
        return op.BatchNormalization(x.rank(3, 4, 5), op.rest(params)).named("norm")

    def replace(self, op: Builder, x: Value, norm: Node) -> Value | Refusal:
        found = irkit.read_batchnorm(norm, op.opset)
        if isinstance(found, Refusal):
            return found
        ones = [1] * (len(x.shape or ()) - 2)
        weight = op.constant(found.affine.scale.reshape(-1, 1, *ones), f"{norm.name}.weight", x.dtype)
        bias = op.constant(found.affine.shift, f"{norm.name}.bias", x.dtype)
        return op.Conv(x, weight, bias, group=found.channels, kernel_shape=ones, _name=norm.name)


@irkit.define_pass("fold-batchnorm")
class FoldBatchNorm(irkit.RewritePass):
    """Fold batch norms and per-channel Mul, Add, Sub and Div into the layers beside them."""

    standalone: bool = False
    rules = (IntoLayerBefore, IntoNormBefore, IntoNormBehind, IntoLayerBehind)

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        super().run(model, context)
        if self.standalone:
            irkit.apply_rules(model, context, [Standalone])
        for node in model.graph.walk():
            if node.op == "BatchNormalization" and not node.domain and not context.refusals.get(node.name):
                found = irkit.read_batchnorm(node, model.opset)
                reason = found.reason if isinstance(found, Refusal) else "no layer beside it can take it in"
                context.refuse(self.name, node.name or node.output.name, reason)
