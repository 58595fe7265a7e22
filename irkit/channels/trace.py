"""What walking a graph collects about its channels: steps, sizes tied together, barriers, and the edits to make."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from irkit.channels.steps import Axis, Blocks, Concat, Ratio, Relation, Reshape, Same, Source, Spread, Step, Sum
from irkit.ir import Graph, Node, Value
from irkit.tensor import Tensor

FINITE = "finite"
BROKEN = "non-finite"

Content: TypeAlias = "float | str"
"""What added lanes hold: one number, `FINITE` (numbers that vary) or `BROKEN` (maybe Inf or NaN)."""


@dataclass(frozen=True)
class PadConstant:
    """Dimension `axis` of constant input `slot` follows the channels of `follows`; added lanes are `fill`."""

    node: Node
    slot: int
    axis: int
    follows: Axis
    fill: float = 0.0


@dataclass(frozen=True)
class PadGrouped:
    """The weights of a Conv in groups: each group's own rows and columns follow the lanes of its block."""

    node: Node
    source: Axis
    target: Axis
    groups: int
    transposed: bool


@dataclass(frozen=True)
class SetSizes:
    """Constant input `where` (or the attribute of that name) lists the sizes of these dimensions."""

    node: Node
    where: int | str
    axes: tuple[Axis, ...]
    scalar: bool = False


@dataclass(frozen=True)
class SetBounds:
    """Slice `node` takes of `whole`, behind the dimensions `before`, the dimensions `takes`."""

    node: Node
    position: int
    whole: Axis
    before: tuple[Axis, ...]
    takes: tuple[Axis, ...]


Edit: TypeAlias = "PadConstant | PadGrouped | SetSizes | SetBounds"

Transfer: TypeAlias = "Callable[[int, dict[int, Content]], Content]"
"""Content of the lanes added to output dimension `axis` from that of the inputs', by input slot."""


@dataclass
class Trace:
    """Collects what operators say; see `irkit.channels.operators`.

    Attributes: `active` are the dimensions that hang together with channels a layer makes, `why` the reasons of those
    that must stay as they are, `free` the dimensions layers make (and which layer), `parts` those a Split or
    DepthToSpace makes, `multiples` what a size must be a multiple of, `zeros` the dimensions whose added
    lanes must hold zero.
    """

    graph: Graph
    multiple: int = 8
    opset: int = 17
    steps: list[tuple[Node, Step]] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    old: dict[Axis, int] = field(default_factory=dict)
    active: dict[Axis, None] = field(default_factory=dict)
    why: dict[Axis, str] = field(default_factory=dict)
    free: dict[Axis, Node] = field(default_factory=dict)
    parts: dict[Axis, None] = field(default_factory=dict)
    multiples: dict[Axis, int] = field(default_factory=dict)
    zeros: list[tuple[Axis, Node]] = field(default_factory=list)
    edits: list[Edit] = field(default_factory=list)
    transfers: dict[Node, Transfer] = field(default_factory=dict)
    reads: list[tuple[Node, int, Axis, Axis]] = field(default_factory=list)
    starts: dict[Axis, Content] = field(default_factory=dict)
    seen: set[tuple[Node, Value, int]] = field(default_factory=set)
    pieces: dict[Axis, list[tuple[Axis, int]]] = field(default_factory=dict)
    """Dimensions that Slices cut, as (piece, its start)."""
    flats: dict[Axis, tuple[int, int]] = field(default_factory=dict)
    """Flattened dimensions, as (size before, size after) the channels in them."""

    # --- asking ---

    def is_active(self, value: Value | None, axis: int) -> bool:
        """Whether the dimension can grow."""
        return value is not None and (value, axis) in self.active

    def size(self, axis: Axis) -> int:
        """Size as it is."""
        return self.old[axis]

    def static(self, value: Value | None) -> tuple[int, ...] | None:
        """The shape where every dimension is a number; it is entered in `old`."""
        shape = value.shape if value is not None else None
        if value is None or shape is None or not all(isinstance(dim, int) for dim in shape):
            return None
        numbers = tuple(dim for dim in shape if isinstance(dim, int))
        for axis, dim in enumerate(numbers):
            self.old[(value, axis)] = dim
        return numbers

    # --- telling ---

    def freeze(self, value: Value | None, axis: int, reason: str) -> None:
        """The dimension must stay as it is."""
        if value is not None:
            self.why.setdefault((value, axis), reason)

    def source(self, node: Node, value: Value, axis: int, content: Content = 0.0) -> None:
        """The layer makes these channels from its weights, at will."""
        key = (value, axis)
        self._activate(key)
        self.free[key] = node
        self.starts[key] = content
        self.steps.append((node, Source(key)))

    def absorb(self, node: Node, value: Value, axis: int, *, zeros: bool = False) -> None:
        """The layer sums over these channels with weights it can set to zero (or without weights: `zeros`)."""
        self.seen.add((node, value, axis))
        if zeros and self.is_active(value, axis):
            self.zeros.append(((value, axis), node))

    def same(self, node: Node, slot: int, source: Value, target: Value, axes: dict[int, int]) -> None:
        """Dimensions of an input go on as dimensions of an output."""
        self.seen.update((node, source, axis) for axis in axes)
        live = {a: b for a, b in axes.items() if self.is_active(source, a)}
        for a, b in live.items():
            self._follow(node, slot, (source, a), (target, b))
            self.relations.append(Ratio((source, a), (target, b)))
        if live:
            self.steps.append((node, Same(source, target, axes)))

    def spread(
        self, node: Node, slot: int, small: Axis, large: Axis, before: int, after: int, *, narrows: bool = False
    ) -> None:
        """Each lane of `small` is before x after lanes of `large`; with `narrows`, `large` is the input."""
        source, target = (large, small) if narrows else (small, large)
        if isinstance(source[0], Value):
            self.seen.add((node, source[0], source[1]))
        if source in self.active:
            self._follow(node, slot, source, target)
            self.relations.append(Ratio(small, large))
            if narrows and isinstance(small[0], Value):
                self.parts[small] = None
            self.steps.append((node, Spread(small, large, before, after, narrows)))

    def concat(self, node: Node, inputs: Sequence[Value], out: Value, axis: int) -> None:
        """Inputs stand one after the other."""
        self.seen.update((node, value, axis) for value in inputs)
        if not any(self.is_active(value, axis) for value in inputs):
            return
        whole: Axis = (out, axis)
        parts: list[tuple[Axis, int, int]] = []
        at = 0
        for slot, value in enumerate(inputs):
            key: Axis = (value, axis)
            parts.append((key, at, at + self.old[key]))
            at += self.old[key]
            if key in self.active:
                self._follow(node, slot, key, whole)
            else:
                self._hold(key, f"it comes from no layer that irkit can pad (joined by {node.op} at {node.name})")
        self.relations.append(Sum(whole, [part for part, _, _ in parts], []))
        self.steps.append((node, Concat(whole, parts, True)))

    def split(
        self, node: Node, value: Value, axis: int, parts: Sequence[tuple[Axis, int]], spare: Sequence[Axis] = ()
    ) -> None:
        """The input is taken apart; parts are (dimension, old size), `spare` ones are those nobody reads."""
        self.seen.add((node, value, axis))
        if not self.is_active(value, axis):
            return
        whole: Axis = (value, axis)
        rows: list[tuple[Axis, int, int]] = []
        at = 0
        for key, size in parts:
            self.old[key] = size
            rows.append((key, at, at + size))
            at += size
            self._follow(node, 0, whole, key)
            if key not in spare:
                self.parts[key] = None
        self.relations.append(Sum(whole, [key for key, _ in parts], list(spare)))
        self.steps.append((node, Concat(whole, rows, False)))

    def take(self, node: Node, whole: Axis, parts: tuple[Axis, ...], out: Axis) -> None:
        """Pieces of a dimension that a Slice reads."""
        if isinstance(whole[0], Value):
            self.seen.add((node, whole[0], whole[1]))
        at, rows = 0, []
        for key in parts:
            rows.append((key, at, at + self.old[key]))
            at += self.old[key]
        self._follow(node, 0, whole, out)
        self.relations.append(Sum(out, list(parts), []))
        self.steps.append((node, Concat(out, rows, True)))

    def reshape(self, node: Node, source: Value, target: Value, inputs: list[int], outputs: list[int]) -> None:
        """Dimensions seen as one become others; the growing one is found among them."""
        self.seen.update((node, source, axis) for axis in inputs)
        grown = [axis for axis in inputs if self.is_active(source, axis)]
        if len(grown) > 1:
            for axis in grown:
                self.freeze(source, axis, f"Reshape at {node.name} mixes several channel dimensions")
        if len(grown) != 1:
            return
        key = (source, grown[0])
        grows = self._growing_output(key, inputs, target, outputs)
        place = outputs.index(grows)
        before = math.prod(self.old[(target, axis)] for axis in outputs[:place])
        after = math.prod(self.old[(target, axis)] for axis in outputs[place + 1 :])
        if len(outputs) == 1:
            at = inputs.index(grown[0])
            self.flats[(target, grows)] = (
                math.prod(self.old[(source, axis)] for axis in inputs[:at]),
                math.prod(self.old[(source, axis)] for axis in inputs[at + 1 :]),
            )
        elif before * after > 1 and len(inputs) == 1 and (before, after) != self.flats.get(key):
            self.multiples[key] = math.lcm(self.multiples.get(key, 1), before * after)
        self._follow(node, 0, key, (target, grows))
        self.relations.append(Ratio(key, (target, grows)))
        self.steps.append((node, Reshape(source, target, inputs, outputs, grows)))

    def _growing_output(self, key: Axis, inputs: list[int], target: Value, outputs: list[int]) -> int:
        flat = self.flats.get(key)
        if flat is not None and len(inputs) == 1:  # back to what was flattened before
            for place, axis in enumerate(outputs):
                before = math.prod(self.old[(target, other)] for other in outputs[:place])
                after = math.prod(self.old[(target, other)] for other in outputs[place + 1 :])
                if (before, after) == flat:
                    return axis
        return max(outputs, key=lambda axis: (self.old[(target, axis)], -axis))

    def blocks(self, node: Node, value: Value, axis: int, count: int, side: str) -> None:
        """Channels stay inside their group."""
        self.seen.add((node, value, axis))
        if self.is_active(value, axis):
            key = (value, axis)
            self.multiples[key] = math.lcm(self.multiples.get(key, 1), count)
            self.steps.append((node, Blocks(key, count, (node, side))))

    def pad(self, node: Node, slot: int, axis: int, follows: Axis, fill: float = 0.0) -> None:
        """A constant input grows with the dimension."""
        self.edits.append(PadConstant(node, slot, axis, follows, fill))

    def transfer(self, node: Node, function: Transfer) -> None:
        """What added lanes of the output hold."""
        self.transfers[node] = function

    def _follow(self, node: Node, slot: int, source: Axis, target: Axis) -> None:
        self._activate(target)
        self.reads.append((node, slot, source, target))

    def _activate(self, key: Axis) -> None:
        self.active[key] = None

    def _hold(self, key: Axis, reason: str) -> None:
        self.active[key] = None
        self.why.setdefault(key, reason)

    def joined(self, node: Node, operands: Iterable[tuple[int, Value]], out: Value) -> None:
        """Elementwise over several operands, aligned at their last dimensions; equal dimensions hang together."""
        rank = len(out.shape or ())
        rows = list(operands)
        for axis in range(rank):
            here = [(slot, value, axis - rank + len(value.shape or ())) for slot, value in rows]
            here = [(slot, value, at) for slot, value, at in here if at >= 0]
            self.seen.update((node, value, at) for _, value, at in here)
            if not any(self.is_active(value, at) for _, value, at in here):
                continue
            for _, value, at in here:
                self.meet(node, value, at, self.old[(out, axis)])
        for slot, value in rows:
            shift = rank - len(value.shape or ())
            axes = {
                at: at + shift
                for at in range(len(value.shape or ()))
                if self.old[(value, at)] == self.old[(out, at + shift)]
            }
            self.same(node, slot, value, out, axes)

    def meet(self, node: Node, value: Value, at: int, size: int) -> None:
        """An operand meets another one whose dimension can grow; `size` is that of the result."""
        key = (value, at)
        if self.old[key] != size:
            self.freeze(value, at, f"it is broadcast at {node.name} ({node.op})")
        elif key not in self.active:
            self._hold(key, f"it comes from no layer that irkit can pad (joined by {node.op} at {node.name})")


def constant_of(value: Value | None) -> Tensor | None:
    """The data of a constant operand."""
    return value.constant if value is not None else None


def integers(node: Node, name: str, slot: int) -> list[int] | None:
    """A list of integers given as an attribute, or as a constant input."""
    listed = node.attr(name)
    if listed is not None:
        return list(listed)
    data = constant_of(node.input(slot))
    return None if data is None else [int(item) for item in data.numpy().reshape(-1)]


def rank_of(value: Value) -> int:
    """Rank of a value of known shape."""
    return len(value.shape or ())


def wrap(axis: int, value: Value) -> int:
    """The axis counted from 0."""
    return axis + rank_of(value) if axis < 0 else axis
