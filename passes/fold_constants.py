"""Compute what hangs on constants alone.

    f(c1, c2, ...)  =  c            c stored under the name of f's output
    If(true, a, b)  =  a            the branch's nodes in the place of the If
    Shape(x)        =  c            and what is computed of it, where inference knows the integers

What moves elements, works on integers, or is one IEEE operation (+ - * / sqrt) is exact. Other float operators carry
rounding of their own: they are computed only where an operator that runs on data reads the result, and each is noted.
Quantization stays as it is written; random operators, loops and unknown operators are never computed.

A result is stored if it has at most `limit` bytes or is no larger than what it is computed from. Whether another result
is stored does not count, so folding twice is folding once. Weights, biases and what batch norms hold may have up to
`parameter_limit` bytes, since compilers take them only as constants. Uniform tensors take no space and always qualify.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import irkit

_KEPT = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


@irkit.define_pass("fold-constants", effect="exact")
class FoldConstants(irkit.Pass):
    """Compute nodes whose inputs are all constant, and take the branch of an If whose condition is."""

    limit: int = 1 << 20
    parameter_limit: int = 1 << 28

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        irkit.take_known_branches(model, context)
        irkit.fold_shape_arithmetic(model, context)
        plan = _Plan.of(model)
        for graph in list(model.graph.walk_graphs()):
            for node in graph:
                if node in plan.constant:
                    self._fold(node, model, context, plan)

    def _fold(self, node: irkit.Node, model: irkit.Model, context: irkit.Context, plan: _Plan) -> None:
        inputs = [None if value is None else value.constant for value in node.inputs]
        if any(inputs[slot] is None for slot in irkit.data_slots(node)):
            return  # something on the way was too large
        exact = irkit.is_exact(node)
        if not exact and node not in plan.needed:
            return
        if not self._fits(node, _bytes_of_types(node), inputs, plan):
            return
        outputs = irkit.evaluate(node, inputs)
        if outputs is None or not self._fits(node, max(map(_stored_bytes, outputs)), inputs, plan):
            return
        with context.rewriting(model, "constant", node.name) as allowed:
            if not allowed:
                return
            if not exact:
                context.note(f"{node.name} ({node.op}): computed in float64, rounded once")
            size = max(map(_stored_bytes, outputs))
            if not self._fits(node, size, inputs, _Plan()):
                context.note(f"{node.name} ({node.op}): {size} bytes stored, since a weight or bias is made of them")
            irkit.replace_by_constants(node, outputs)

    def explain(self, model: irkit.Model, context: irkit.Context, node: irkit.Node) -> str:  # noqa: ARG002
        read = [node.inputs[slot] for slot in irkit.data_slots(node)]
        if not read or any(value is None or value.constant is None for value in read):
            return ""
        if node.op in _KEPT:
            return "all it reads is constant, but quantization stays as it is written"
        if not irkit.can_evaluate(node) or not irkit.is_deterministic(node):
            return "all it reads is constant, but it is random, or irkit does not know how to compute it"
        if not irkit.is_exact(node):
            return "all it reads is constant, but it rounds in its own way, and no operator that runs reads it"
        return f"all it reads is constant, but the result is larger than that, and than {self.limit} bytes"

    def _fits(self, node: irkit.Node, size: int, inputs: list[irkit.Tensor | None], plan: _Plan) -> bool:
        if node.op == "Constant" or size <= max(self.limit, sum(map(_stored_bytes, filter(None, inputs)))):
            return True
        return node in plan.parameters and size <= self.parameter_limit


def _bytes_of_types(node: irkit.Node) -> int:
    """Bytes of the largest output as far as its type tells; 0 where uniform inputs may make it a splat."""
    given = [node.inputs[slot].constant for slot in irkit.data_slots(node)]  # type: ignore[union-attr]  # given
    if all(tensor is not None and (tensor.is_splat or tensor.size <= 64) for tensor in given):
        return 0
    elements = [math.prod(dim for dim in value.shape or () if isinstance(dim, int)) for value in node.outputs]
    bits = [value.dtype.bits if value.dtype is not None else 0 for value in node.outputs]
    return max((count * width // 8 for count, width in zip(elements, bits, strict=True)), default=0)


def _stored_bytes(tensor: irkit.Tensor) -> int:
    return 0 if tensor.is_splat else tensor.nbytes


@dataclass
class _Plan:
    """What hangs on constants alone, whether it will be stored or not.

    Attributes: `constant` nodes; those of them that a running operator reads, directly or through others (`needed`);
    those that a weight, bias or the like is computed from (`parameters`).
    """

    constant: set[irkit.Node] = field(default_factory=set)
    needed: set[irkit.Node] = field(default_factory=set)
    parameters: set[irkit.Node] = field(default_factory=set)

    @classmethod
    def of(cls, model: irkit.Model) -> _Plan:
        plan = cls()
        nodes = list(model.graph.walk())
        plan.constant.update(node for node in nodes if plan._is_constant(node))
        for node in reversed(nodes):
            for value in node.outputs if node in plan.constant else ():
                for user, slot in value.uses:
                    if user not in plan.constant or user in plan.needed:
                        plan.needed.add(node)
                    if slot in irkit.parameter_slots(user) or user in plan.parameters:
                        plan.parameters.add(node)
        return plan

    def _is_constant(self, node: irkit.Node) -> bool:
        if node.op == "Constant" and not node.domain:
            return node.output.constant is not None and not node.output.is_graph_output
        if node.op == "ConstantOfShape" and node.output.is_graph_output:
            return False  # it has no shorter form
        if node.op in _KEPT or not irkit.can_evaluate(node) or not irkit.is_deterministic(node):
            return False
        inputs = [node.inputs[slot] for slot in irkit.data_slots(node)]
        return all(value and (value.producer in self.constant or value.constant is not None) for value in inputs)
