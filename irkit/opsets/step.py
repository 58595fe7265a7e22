"""One change of an operator that a node is taken across, and what a rule needs to do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from irkit import inlining
from irkit.errors import IrkitError
from irkit.infer import Inference
from irkit.ir import Graph, Node, Value
from irkit.onnx.schema import OpSchema
from irkit.tensor import Tensor
from irkit.types import DType, Shape


class ConversionError(IrkitError):
    """A node cannot be said in the other version; the message says why."""


class Step:
    """A node on its way from one version of its operator to the one before or after.

    Attributes: `node`; `old` and `new` are its schemas before and after the step (`new` is None where the operator is
    not there); `made` lists the nodes that the rule puts in its place, written in the new version.
    """

    def __init__(self, node: Node, old: OpSchema, new: OpSchema | None) -> None:
        assert node.graph is not None
        self.node = node
        self.old = old
        self.new = new
        self.graph: Graph = node.graph
        self.made: list[Node] = []

    def refuse(self, reason: str) -> NoReturn:
        """The node cannot take this step."""
        raise ConversionError(reason)

    def attr(self, name: str) -> Any:
        """Value of an attribute, or the default it has before the step."""
        found = self.node.attrs.get(name)
        if found is not None:
            return found.value
        declared = self.old.attributes.get(name)
        return declared.default if declared is not None else None

    def take_attr(self, name: str) -> Any:
        """The same, and the attribute is gone afterwards."""
        value = self.attr(name)
        self.node.set_attr(name, None)
        return value

    def constant(self, index: int) -> Tensor | None:
        """Data of an input where it is constant, stored or computed from what is."""
        value = self.node.input(index)
        if value is None or value.constant is not None or self.graph.model is None:
            return value.constant if value is not None else None
        return Inference.of(self.graph.model).known(value)

    def integers(self, index: int, what: str) -> tuple[int, ...] | None:
        """Integers of a constant input; None where it is left out. Refuses what is not constant."""
        if self.node.input(index) is None:
            return None
        data = self.constant(index)
        if data is None:
            self.refuse(f"its {what} are computed in the graph; that version wants them constant")
        return tuple(int(item) for item in data.numpy().reshape(-1))

    def shape(self, index: int = 0) -> Shape | None:
        """Shape of an input where the rank is known."""
        value = self.node.input(index)
        return value.shape if value is not None else None

    def rank(self, index: int = 0) -> int:
        """Rank of an input. Refuses where it is not known."""
        shape = self.shape(index)
        if shape is None:
            self.refuse(f"the rank of its input {index} is not known")
        return len(shape)

    def dtype(self, index: int = 0) -> DType:
        """Element type of an input. Refuses where it is not known."""
        value = self.node.input(index)
        if value is None or value.dtype is None:
            self.refuse(f"the element type of its input {index} is not known")
        return value.dtype

    def store(self, data: Any, name: str, dtype: DType = DType.INT64) -> Value:
        """A stored constant beside the node, named after it."""
        import numpy as np

        array = np.asarray(data, dtype.numpy)
        return self.graph.add_initializer(inlining.prefix_of(self.node) + name, Tensor.of(array, dtype))

    def make(
        self, op: str, inputs: Sequence[Value | None], attrs: Mapping[str, Any] | None = None, outputs: int = 1
    ) -> Value:
        """A node of the new version before this one, named after it. Returns its first output."""
        model = self.graph.model
        name = inlining.prefix_of(self.node) + op
        node = Node(op, inputs, attrs, outputs, name=model.fresh_node_name(name) if model is not None else name)
        node.set_origin([self.node])
        self.made.append(self.graph.insert(node, before=self.node))
        return node.output

    def replace(self, *values: Value | None) -> None:
        """Let values stand for the node's outputs; the node is gone afterwards."""
        self.made += inlining.replace_node(self.node, values, self.made)

    def add_input(self, index: int, value: Value | None) -> None:
        """Give the node one more input."""
        if value is not None:
            self.node.set_input(index, value)

    def keep_inputs(self, count: int) -> None:
        """Leave out the inputs from `count` on."""
        self.node.set_inputs(self.node.inputs[:count])


Rule: TypeAlias = "Callable[[Step], None]"
Rules: TypeAlias = "dict[tuple[str, int], Rule]"
"""Rules by operator and the version at which it changed."""


def rule_for(table: Rules, ops: str, *versions: int) -> Callable[[Rule], Rule]:
    """Enter a function in a table as the rule of these operators (a list with blanks) at these versions."""

    def enter(rule: Rule) -> Rule:
        table.update({(op, version): rule for op in ops.split() for version in versions})
        return rule

    return enter
