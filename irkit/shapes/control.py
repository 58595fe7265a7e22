"""If, Loop and Scan: types and facts of their outputs from those of their bodies.

What a loop carries has in each turn the type it was left with in the turn before. So the body is inferred with what
goes in at first; where something else comes out, what holds for both is tried, until what comes out is no news.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from irkit.ir import Graph, Node
from irkit.shapes.facts import Fact, fact_of, merge_facts, numbers_of
from irkit.shapes.site import Unknown
from irkit.tensor import Tensor
from irkit.types import Dim, DType, OptionalType, SequenceType, Shape, TensorType, ValueType

State: TypeAlias = "tuple[ValueType | None, Fact | None]"
"""Type and fact of a value."""


class Engine(Protocol):
    """What these rules need of the inference that calls them."""

    def state(self, value: object) -> State:
        """Type and fact of a value."""

    def skip(self, graph: Graph) -> None:
        """Leave a body alone that never runs."""

    def sweep(self, graph: Graph, inputs: Sequence[State]) -> list[State]:
        """Infer a body whose inputs are so; returns what its outputs are."""


def merge_types(left: ValueType | None, right: ValueType | None) -> ValueType | None:
    """What holds whichever of the two holds."""
    if left == right or left is None or right is None:
        return left if left == right else None
    if isinstance(left, TensorType) and isinstance(right, TensorType):
        if left.dtype != right.dtype:
            return None
        return TensorType(left.dtype, _merge_shapes(left.shape, right.shape))
    for kind in (SequenceType, OptionalType):
        if isinstance(left, kind) and isinstance(right, kind):
            return kind(merge_types(left.element, right.element))
    return None


def _merge_shapes(left: Shape | None, right: Shape | None) -> Shape | None:
    if left is None or right is None or len(left) != len(right):
        return None
    return tuple([a if a == b else None for a, b in zip(left, right, strict=True)])


def merge(left: State, right: State) -> State:
    """What holds whichever of the two holds."""
    return merge_types(left[0], right[0]), merge_facts(left[1], right[1])


def infer_if(engine: Engine, node: Node) -> list[State]:
    """Outputs of an If: those of the branch taken where the condition is known, else what both have in common."""
    then_branch, else_branch = _graphs(node, "then_branch", "else_branch")
    chosen = numbers_of(engine.state(node.inputs[0])[1])
    if chosen is not None and len(chosen) == 1:
        engine.skip(else_branch if chosen[0] else then_branch)  # it need not even fit
        return engine.sweep(then_branch if chosen[0] else else_branch, ())
    branches = [engine.sweep(graph, ()) for graph in (then_branch, else_branch)]
    return [merge(yes, no) for yes, no in zip(*branches, strict=True)]


def _graphs(node: Node, *names: str) -> list[Graph]:
    found = [node.attr(name) for name in names]
    if not all(isinstance(graph, Graph) for graph in found):
        raise Unknown
    return found


def infer_loop(engine: Engine, node: Node) -> list[State]:
    """Outputs of a Loop: what it carries, then what it collects, stacked."""
    (body,) = _graphs(node, "body")
    first = [engine.state(value) for value in node.inputs[2:]]
    if len(body.inputs) != len(first) + 2 or len(body.outputs) < len(first) + 1:
        raise Unknown
    turn: State = (TensorType(DType.INT64, ()), None)
    # A turn is only begun where the condition holds.
    go_on: State = (TensorType(DType.BOOL, ()), fact_of([True], DType.BOOL, is_scalar=True))
    carried, outputs = _settle(engine, body, [turn, go_on], first, 1)
    turns = _turns(engine, node, outputs[0])
    last = [merge(a, b) for a, b in zip(first, outputs[1:], strict=False)] if turns != 0 else first
    collected = [_stacked(state[0], turns, 0) for state in outputs[1 + len(carried) :]]
    return [*last, *collected]


def _settle(
    engine: Engine, body: Graph, before: Sequence[State], first: Sequence[State], skip: int
) -> tuple[list[State], list[State]]:
    """Infer a body until what it carries is no news: (what goes in, all that comes out)."""
    carried = list(first)
    while True:
        outputs = engine.sweep(body, [*before, *carried])
        merged = [merge(a, b) for a, b in zip(carried, outputs[skip:], strict=False)]
        if merged == carried:
            return carried, outputs
        carried = merged  # each turn knows strictly less, so this ends


def _turns(engine: Engine, node: Node, go_on: State) -> Dim:
    """How often a Loop runs, where it is told by a constant count alone."""
    count = engine.state(node.inputs[0])[1] if node.inputs[0] is not None else None
    start = node.input(1)
    if start is not None and numbers_of(engine.state(start)[1]) != (1,):
        return 0 if numbers_of(engine.state(start)[1]) == (0,) else None
    if numbers_of(go_on[1]) != (1,):
        return None
    found = numbers_of(count) if isinstance(count, Tensor) else None
    return max(found[0], 0) if found else None


def _stacked(type: ValueType | None, length: Dim, axis: int) -> State:
    if not isinstance(type, TensorType):
        return None, None
    if type.shape is None:
        return type, None
    place = axis % (len(type.shape) + 1)
    return TensorType(type.dtype, (*type.shape[:place], length, *type.shape[place:])), None


def infer_scan(engine: Engine, node: Node) -> list[State]:
    """Outputs of a Scan (since opset 9): what it carries, then what it collects along an axis."""
    (body,) = _graphs(node, "body")
    scanned = node.attr("num_scan_inputs")
    if not scanned or len(body.inputs) != len(node.inputs):
        raise Unknown  # the first version, which has a batch dimension, is told by an input more
    split = len(node.inputs) - scanned
    axes = node.attr("scan_input_axes") or (0,) * scanned
    first = [engine.state(value) for value in node.inputs[:split]]
    items, length = [], None
    for value, axis in zip(node.inputs[split:], axes, strict=True):
        item, dim = _item(engine.state(value)[0], axis)
        items.append((item, None))
        length = dim if length is None else length
    carried = list(first)
    while True:
        outputs = engine.sweep(body, [*carried, *items])
        merged = [merge(a, b) for a, b in zip(carried, outputs, strict=False)]
        if merged == carried:
            break
        carried = merged
    count = len(outputs) - split
    axes = node.attr("scan_output_axes") or (0,) * count
    collected = [_stacked(state[0], length, axis) for state, axis in zip(outputs[split:], axes, strict=True)]
    return [*(merge(a, b) for a, b in zip(first, outputs, strict=False)), *collected]


def _item(type: ValueType | None, axis: int) -> tuple[ValueType | None, Dim]:
    """What a Scan takes of an input in each turn, and how many turns that makes."""
    if not isinstance(type, TensorType):
        return None, None
    if type.shape is None or not -len(type.shape) <= axis < len(type.shape):
        return TensorType(type.dtype), None
    place = axis % len(type.shape)
    return TensorType(type.dtype, type.shape[:place] + type.shape[place + 1 :]), type.shape[place]


RULES = {"If": infer_if, "Loop": infer_loop, "Scan": infer_scan}
