"""Which values a stretch of edits may have changed: what the nodes it touched make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from irkit.ir import Graph, Node, Value
from irkit.journal import Edit
from irkit.model import Model
from irkit.ops import schema

_HARMLESS = frozenset({"name", "extra", "origin", "move"})
"""Edits of nodes that cannot change what they compute."""


class Touched:
    """Values of the main graph, in the order they were touched. `everything`: there is no telling which."""

    def __init__(self, main: Graph) -> None:
        self.main = main
        self.values: dict[Value, None] = {}
        self.everything = False

    def __contains__(self, value: Value) -> bool:
        return self.everything or value in self.values

    def add_node(self, node: Node) -> None:
        """The outputs of a node, or of the node of the main graph that it is nested in."""
        while node.graph is not None and node.graph.owner is not None:
            node = node.graph.owner
        if node.graph is self.main:
            self.values.update(dict.fromkeys(node.outputs))
        elif node.graph is not None:
            self.everything = True  # the body of a function, which any node may call

    def add_edit(self, edit: Edit) -> None:
        """What one edit that is in force may have changed."""
        target = edit.target
        if isinstance(target, Node) and edit.kind not in _HARMLESS:
            self.add_node(target)
        elif isinstance(target, Value) and edit.kind != "type":
            self.values[target] = None
            for user in target.users:
                self.add_node(user)
        elif isinstance(target, Graph) and target.owner is not None:
            self.add_node(target.owner)

    def add_opsets(self, model: Model, old: Mapping[str, int]) -> None:
        """The nodes that mean something else in the operator sets that the model imports now."""
        new = model.opset_imports
        for node in model.walk():
            versions = old.get(node.domain), new.get(node.domain)
            if versions[0] != versions[1] and not _same_schema(node, *versions):
                self.add_node(node)


def touched_values(model: Model, edits: Iterable[Edit]) -> Touched:
    """What these edits, which are the last ones in force, may have changed."""
    touched = Touched(model.graph)
    opsets: Mapping[str, int] | None = None
    for edit in edits:
        if edit.kind == "model":
            if edit.new[0] == "opset_imports" and opsets is None:
                opsets = edit.old[1]
        else:
            touched.add_edit(edit)
    if opsets is not None:
        touched.add_opsets(model, opsets)
    return touched


def _same_schema(node: Node, old: int | None, new: int | None) -> bool:
    if old is None or new is None:
        return False
    before, after = schema(node.op, node.domain, old), schema(node.op, node.domain, new)
    return before is not None and after is not None and before.since_version == after.since_version
