"""Write a model in the operator set that the compiler takes, up or down, node by node.

A node whose operator is the same in both versions stays as it is. Others follow irkit's rules from change to change
of their operator; where there is no way down by rules, ONNX's official body of the operator takes its place. All or
nothing: if one node cannot be said in the other version, the model keeps its own, and a finding names the node and
the reason.
"""

from __future__ import annotations

import irkit


@irkit.define_pass("lower-opset", effect="exact")
class LowerOpset(irkit.Pass):
    """Convert the model to an operator set (17 unless said) and IR version (8)."""

    opset: int = 17
    ir_version: int = 8

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        if not irkit.OLDEST_OPSET <= self.opset <= irkit.newest_opset():
            found = f"{irkit.OLDEST_OPSET}..{irkit.newest_opset()}"
            raise irkit.OptionError(f"lower-opset: opset must be {found} with the installed onnx; found {self.opset}")
        mark = model.journal.position
        known = len(context.findings)
        if model.opset != self.opset and "" in model.opset_imports:
            self._convert(model, context)
        if len(context.findings) > known:
            model.journal.undo_to(mark)
            return
        if model.opset != self.opset and "" in model.opset_imports:
            model.set_field("opset_imports", {**model.opset_imports, "": self.opset})
        if model.ir_version != self.ir_version:
            model.set_field("ir_version", self.ir_version)

    def _convert(self, model: irkit.Model, context: irkit.Context) -> None:
        """Convert every node; each that cannot be is a finding."""
        source = model.opset
        if source > irkit.newest_opset():
            _tell(
                context, f"the installed onnx knows operator sets up to {irkit.newest_opset()}; the model uses {source}"
            )
            return
        for function in model.functions.values():
            _tell(
                context, f"the function {function.domain}::{function.name} is not inlined, so it keeps its operator set"
            )
        for node in list(model.graph.walk()):
            if not irkit.needs_conversion(node, source, self.opset):
                continue
            with context.rewriting(model, f"{node.op} to opset {self.opset}", node.name) as allowed:
                if not allowed:
                    _tell(context, f"the {node.op} rewritten for opset {self.opset} was proven wrong", node)
                    continue
                here = model.journal.position
                try:
                    irkit.convert_node(node, source, self.opset)
                except irkit.ConversionError as error:
                    model.journal.undo_to(here)
                    _tell(context, f"{node.op_id} cannot be written in opset {self.opset}: {error}", node)


def _tell(context: irkit.Context, message: str, node: irkit.Node | None = None) -> None:
    context.find(
        "IRK020", "cannot-lower", message, node, advice="export the model with a lower opset, or replace the operator"
    )
