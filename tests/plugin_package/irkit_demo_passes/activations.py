"""Passes over activations."""

from __future__ import annotations

from typing import Any

import irkit

from ._limits import SIX  # noqa: TID252  (a package of its own: it imports as packages do)


@irkit.rewrite("relu6-to-relu", effect="retrain")
class Relu6ToRelu:
    """Replace a Clip between 0 and `limit` by Relu."""

    limit: float = SIX

    def pattern(self, op: Any, x: Any, most: Any) -> Any:
        return op.Clip(x, 0.0, most.constant())

    def check(self, most: Any) -> irkit.Refusal | None:
        found = float(most.constant.item())
        return None if found == self.limit else irkit.refuse(f"it clips at {found:g}, not at {self.limit:g}")

    def replace(self, op: Any, x: Any) -> Any:
        return op.Relu(x)


@irkit.define_pass("doc-nodes", model_as="onnx")
def doc_nodes(model: Any, *, text: str = "seen by the plug-in") -> None:
    """Write a doc string at every node, as a script over an onnx.ModelProto does."""
    for node in model.graph.node:
        node.doc_string = text
