"""Where the compiler's network has the borders of its layers: the tensors that are stored with 8 or 16 bits.

A layer is an operator that computes, with what the compiler takes into it: the batch norm behind it, and the activation
function, however that is written. Operators that only move numbers have no border of their own: a tensor is the same
grid before and after a Reshape or a max pool.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from irkit import ops
from irkit.elementwise import is_elementwise
from irkit.ir import Node, Value
from irkit.literals import uniform_number
from irkit.model import Model
from irkit.types import DType

MOVING_OPS = frozenset({
    "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Identity", "Dropout",
    "Expand", "DepthToSpace", "SpaceToDepth", "MaxPool", "GlobalMaxPool", "ReduceMax", "Pad", "Tile", "Cast",
})  # fmt: skip
"""Operators that hand numbers on as they are."""

WEIGHTED_OPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})

_LINEAR = frozenset({"Add", "Sub", "Mul", "Div", "Neg", "BatchNormalization", "Identity", "Cast"})
_SCALING = frozenset({"Mul", "Div"})
_LONGEST = 24
"""Nodes that an activation function is written in, at most."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of the compiler's network, as far as the graph tells.

    Attributes: `node` that computes; `nodes`, those taken into it as well; `border`, the tensor that is stored.
    """

    node: Node
    nodes: tuple[Node, ...]
    border: Value

    @property
    def name(self) -> str:
        """The name of the node that computes."""
        return self.node.name

    @property
    def has_weights(self) -> bool:
        """Whether it has a constant weight."""
        return self.node.op in WEIGHTED_OPS and weight_slot(self.node) is not None

    def read_borders(self, borders: Set[str]) -> set[str]:
        """The stored tensors it reads, seen through operators that only move numbers."""
        made = {value for node in self.nodes for value in node.outputs}
        pending = [value for node in self.nodes for value in node.reads() if value not in made]
        found: set[str] = set()
        seen: set[Value] = set()
        while pending:
            value = pending.pop()
            if value.name in borders:
                found.add(value.name)
            elif value.producer is not None and value not in seen:
                seen.add(value)
                pending += value.producer.reads()
        return found


def find_layers(model: Model) -> list[Layer]:
    """The layers of the main graph that make float32 tensors, in order."""
    taken: set[Node] = set()
    layers = []
    for node in model.graph:
        if node in taken or node.domain or node.op in MOVING_OPS or node.op == "Constant":
            continue
        if node.output.dtype != DType.FLOAT32 or not _computes(node):
            continue
        inside, border = _absorbed(node)
        taken.update(inside)
        layers.append(Layer(node, inside, border))
    return layers


def weight_slot(node: Node) -> int | None:
    """The input that is a constant weight; None where both operands are computed."""
    if node.op in ("Conv", "ConvTranspose", "Gemm"):
        return 1 if _is_constant(node.input(1)) else None
    return next((slot for slot in (1, 0) if _is_constant(node.input(slot))), None)


def _is_constant(value: Value | None) -> bool:
    return value is not None and value.constant is not None


def _computes(node: Node) -> bool:
    return any(value is not None and value.constant is None for value in node.inputs)


def _absorbed(node: Node) -> tuple[tuple[Node, ...], Value]:
    """The nodes the compiler takes into the layer, and the tensor behind the last of them.

    First a batch norm, or what amounts to one; then the smallest group of elementwise nodes that is a function of the
    layer's result alone and not linear; then factors, since a factor only renames the grid.
    """
    inside, border = [node], node.output
    if node.op in WEIGHTED_OPS:
        border = _through(inside, border, _LINEAR, per_channel=True)
    if not _is_activation(node):
        border = _activation(inside, border)
    border = _through(inside, border, _SCALING, per_channel=False)
    return tuple(inside), border


def _through(inside: list[Node], border: Value, chosen: frozenset[str], *, per_channel: bool) -> Value:
    """Follow a chain of operators whose other operands are constants."""
    while (user := _only_reader(border)) is not None and user.op in chosen and not user.domain:
        others = [value for value in user.inputs if value is not None and value is not border]
        if any(value.constant is None or not (per_channel or _is_number(value)) for value in others):
            break
        if user.op == "Div" and user.input(0) is not border:
            break
        inside.append(user)
        border = user.output
    return border


def _activation(inside: list[Node], x: Value) -> Value:
    """The end of the activation function that everything that reads `x` is part of; `x` where there is none."""
    group: list[Node] = []
    made = {x}
    curved = False
    pending = list(x.users)
    if x.is_graph_output or x.is_captured:
        return x
    while pending and len(group) < _LONGEST:
        node = next((one for one in pending if _depends_only_on(one, made)), None)
        if node is None:
            return x
        pending = [one for one in pending if one is not node]
        group.append(node)
        made.add(node.output)
        curved = curved or node.op not in _LINEAR
        open_ends = [value for value in made if _is_open(value, group)]
        if curved and open_ends == [node.output]:
            inside += group
            return node.output
        if node.output.is_graph_output:
            return x
        pending += [user for user in node.output.users if user not in pending]
    return x


def _is_open(value: Value, group: list[Node]) -> bool:
    return not value.use_count or value.is_graph_output or any(user not in group for user in value.users)


def _depends_only_on(node: Node, made: set[Value]) -> bool:
    if not is_elementwise(node):
        return False
    return all(value is None or value in made or _is_number(value) or _is_slope(node, value) for value in node.inputs)


def _is_slope(node: Node, value: Value) -> bool:
    return node.op == "PRelu" and value is node.input(1) and value.constant is not None


def _is_number(value: Value) -> bool:
    return value.constant is not None and uniform_number(value.constant) is not None


def _is_activation(node: Node) -> bool:
    """Whether the node itself is a function of one tensor that is not linear."""
    return (
        is_elementwise(node)
        and len([v for v in node.inputs if v is not None and v.constant is None]) == 1
        and (node.op not in _LINEAR)
    )


def _only_reader(value: Value) -> Node | None:
    users = value.users
    return users[0] if len(users) == 1 and not value.is_graph_output and not value.is_captured else None


def weight_groups(node: Node) -> int:
    """Groups of a convolution; 1 for other layers."""
    return int(ops.attribute(node, "group")) if node.op in ("Conv", "ConvTranspose") else 1
