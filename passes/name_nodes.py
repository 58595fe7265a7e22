"""Give every node a name of its own.

Reports, cuts and the compiler's end nodes go by names, and some exporters write none, or the same one twice. A node
without a name is called after its operator and its first output; of nodes that share a name, the first keeps it.
"""

from __future__ import annotations

import irkit


@irkit.define_pass("name-nodes", effect="exact")
class NameNodes(irkit.Pass):
    """Give every node a unique name."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        seen: set[str] = set()
        for node in model.walk():
            if not node.name or node.name in seen:
                with context.rewriting(model, "name", node.name):
                    node.name = model.fresh_node_name(node.name or _name_for(node))
            seen.add(node.name)


def _name_for(node: irkit.Node) -> str:
    output = next((value.name for value in node.outputs if value.name), "")
    return f"{node.op}_{output}" if output else node.op
