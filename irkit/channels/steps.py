"""How lanes pass from one dimension to another: the few index maps that all operators are made of.

A *lane* is one index of a channel dimension. Every step knows three things: which sizes it ties together (`relate`),
which lanes of its dimensions are the same thing (`label`), and where lanes come to lie once a layout is chosen
(`place`). A layout is an array over the new lanes that holds the old index of each, or -1 for an added lane.

A dimension that was reshaped into several, as in a channel shuffle, is held as a `Bundle` over several axes, of which
one grows and the others keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from irkit.ir import Node, Value

Axis: TypeAlias = "tuple[Value | Node, int]"
"""One dimension of a value; of a node where it is a count inside it, as its groups."""

Lanes: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"

Sizes: TypeAlias = "dict[Axis, int]"


class ConflictError(Exception):
    """Lanes cannot be laid out so that both sides agree; the axes involved stay as they are."""

    def __init__(self, axes: Sequence[Axis], reason: str) -> None:
        super().__init__(reason)
        self.axes = list(axes)
        self.reason = reason


@dataclass
class Bundle:
    """Lanes of one value: an array over `axes` (ascending), of which `grows` is the one that changes its size."""

    axes: tuple[int, ...]
    lanes: Lanes
    grows: int


class Classes:
    """Union-find over lanes, by integer label."""

    def __init__(self) -> None:
        self._parent = np.empty(0, np.int64)

    def new(self, count: int) -> Lanes:
        """Labels of `count` new lanes."""
        start = len(self._parent)
        labels = np.arange(start, start + count, dtype=np.int64)
        self._parent = np.concatenate([self._parent, labels])
        return labels

    def roots(self, labels: Lanes) -> Lanes:
        """The representative of each label."""
        found = self._parent[labels]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                self._parent[labels] = found
                return found
            found = above

    def union(self, left: Lanes, right: Lanes) -> None:
        """Lanes at the same place become one."""
        for a, b in zip(left.reshape(-1).tolist(), right.reshape(-1).tolist(), strict=True):
            a, b = self._root(a), self._root(b)
            if a != b:
                self._parent[max(a, b)] = min(a, b)

    def _root(self, label: int) -> int:
        while (above := int(self._parent[label])) != label:
            label = above
        return label


@dataclass
class Flow:
    """The lanes of every value while steps are run, at the old sizes or the new ones.

    With `classes` the arrays hold labels; without, they hold layouts (old indices).
    """

    old: Sizes
    sizes: Sizes
    classes: Classes | None
    bundles: dict[Value | Node, list[Bundle]] = field(default_factory=dict)
    marks: list[tuple[object, Lanes]] = field(default_factory=list)
    """What tells lanes apart besides the dimensions they appear in, such as the group of a Conv they belong to."""

    def size(self, axis: Axis) -> int:
        """Size of a dimension in this flow."""
        return self.sizes.get(axis, self.old[axis])

    def get(self, axis: Axis) -> Bundle | None:
        """The bundle a dimension is part of."""
        return next((bundle for bundle in self.bundles.get(axis[0], ()) if axis[1] in bundle.axes), None)

    def single(self, axis: Axis) -> Lanes:
        """Lanes of a dimension that is its own bundle; `ConflictError` where it is not."""
        bundle = self.get(axis)
        if bundle is None:
            return np.arange(self.old[axis], dtype=np.int64) if self.classes is None else self._anonymous(axis)
        if bundle.axes != (axis[1],):
            raise ConflictError([(axis[0], bundle.grows)], "its channels are spread over several dimensions here")
        return bundle.lanes

    def _anonymous(self, axis: Axis) -> Lanes:
        assert self.classes is not None
        self.put(axis[0], Bundle((axis[1],), self.classes.new(self.size(axis)), axis[1]))
        return self.single(axis)

    def put(self, owner: Value | Node, bundle: Bundle) -> None:
        """Enter lanes; where the dimension has some already, both must be the same lanes."""
        present = self.get((owner, bundle.axes[0]))
        if present is None:
            self.bundles.setdefault(owner, []).append(bundle)
            return
        axes: list[Axis] = [(owner, present.grows)]
        if present.axes != bundle.axes or present.lanes.shape != bundle.lanes.shape:
            raise ConflictError(axes, "two branches arrange their channels differently")
        if self.classes is not None:
            self.classes.union(present.lanes, bundle.lanes)
        elif not np.array_equal(present.lanes, bundle.lanes):
            raise ConflictError(axes, "two branches arrange their channels differently")


@dataclass
class Source:
    """A dimension whose lanes a layer makes from its weights: it may be laid out at will."""

    axis: Axis

    def run(self, flow: Flow) -> None:
        """Move lanes on."""
        if flow.classes is not None:
            flow.put(self.axis[0], Bundle((self.axis[1],), flow.classes.new(flow.size(self.axis)), self.axis[1]))


@dataclass
class Same:
    """Dimensions of `source` go on as dimensions of `target`: elementwise operators, pooling, Transpose."""

    source: Value
    target: Value
    axes: dict[int, int]

    def run(self, flow: Flow) -> None:
        """Move lanes on."""
        for bundle in flow.bundles.get(self.source, ()):
            if bundle.grows not in self.axes:
                continue
            if any(axis not in self.axes for axis in bundle.axes):
                raise ConflictError(
                    [(self.source, bundle.grows)], "its channels are spread over several dimensions here"
                )
            moved = [self.axes[axis] for axis in bundle.axes]
            order = sorted(range(len(moved)), key=moved.__getitem__)
            lanes = bundle.lanes.transpose(order)
            if flow.classes is None and order != list(range(len(order))):
                shape = [flow.old[(self.source, axis)] for axis in bundle.axes]
                lanes = _transposed(lanes, shape, order)
            flow.put(self.target, Bundle(tuple(sorted(moved)), lanes, self.axes[bundle.grows]))


def _transposed(lanes: Lanes, shape: Sequence[int], order: Sequence[int]) -> Lanes:
    """Old indices of a transposed bundle."""
    real = np.where(lanes < 0, 0, lanes)
    parts = np.unravel_index(real, tuple(shape))
    flat = np.ravel_multi_index(tuple(parts[i] for i in order), tuple(shape[i] for i in order))
    return np.where(lanes < 0, -1, flat).astype(np.int64)


@dataclass
class Concat:
    """Parts stand one after the other in `whole`. A part is (axis or None, start, stop) at the old sizes."""

    whole: Axis
    parts: list[tuple[Axis, int, int]]
    joins: bool
    """True where the parts make the whole (Concat), False where the whole is taken apart (Split, Slice)."""

    def run(self, flow: Flow) -> None:
        """Move lanes on."""
        if self.joins:
            self._join(flow)
        else:
            self._part(flow)

    def _join(self, flow: Flow) -> None:
        pieces = []
        for axis, start, _ in self.parts:
            lanes = flow.single(axis)
            pieces.append(lanes if flow.classes is not None else np.where(lanes < 0, -1, lanes + start))
        flow.put(self.whole[0], Bundle((self.whole[1],), np.concatenate(pieces), self.whole[1]))

    def _part(self, flow: Flow) -> None:
        lanes = flow.single(self.whole)
        at = 0
        for axis, start, stop in self.parts:
            piece = lanes[at : at + flow.size(axis)]
            at += flow.size(axis)
            if flow.classes is None:
                real = piece[piece >= 0]
                if real.size != stop - start or (real.size and (real.min() < start or real.max() >= stop)):
                    raise ConflictError([self.whole], "a part of it would get channels of another part")
                piece = np.where(piece < 0, -1, piece - start)
            flow.put(axis[0], Bundle((axis[1],), piece, axis[1]))


@dataclass
class Spread:
    """A lane of `small` is many of `large`: index (b, c, a) of `large`, seen as (before, channels, after), is lane c.

    Depthwise multipliers, SpaceToDepth (small to large) and DepthToSpace (large to small, `narrows`).
    """

    small: Axis
    large: Axis
    before: int
    after: int
    narrows: bool

    def run(self, flow: Flow) -> None:
        """Move lanes on."""
        if self.narrows:
            large = flow.single(self.large).reshape(self.before, flow.size(self.small), self.after)
            small = large[0, :, 0]
            if flow.classes is not None:
                flow.classes.union(np.broadcast_to(small[None, :, None], large.shape), large)
            else:
                small = self._narrow(flow, large)
            flow.put(self.small[0], Bundle((self.small[1],), small, self.small[1]))
            return
        small = flow.single(self.small)
        shape = (self.before, len(small), self.after)
        lanes = np.broadcast_to(small[None, :, None], shape)
        if flow.classes is None:
            lanes = np.where(lanes < 0, -1, self._index(flow, lanes))
        flow.put(self.large[0], Bundle((self.large[1],), lanes.reshape(-1), self.large[1]))

    def _index(self, flow: Flow, channel: Lanes) -> Lanes:
        before = np.arange(self.before, dtype=np.int64)[:, None, None]
        after = np.arange(self.after, dtype=np.int64)[None, None, :]
        return (before * flow.old[self.small] + channel) * self.after + after

    def _narrow(self, flow: Flow, large: Lanes) -> Lanes:
        small = np.where(large[0, :, 0] < 0, -1, large[0, :, 0] // self.after)
        expected = np.where(small[None, :, None] < 0, -1, self._index(flow, small[None, :, None]))
        if not np.array_equal(np.broadcast_to(expected, large.shape), large):
            raise ConflictError([self.large], "its channels belong together in a way that padding would break")
        return small


@dataclass
class Reshape:
    """Dimensions `inputs` of `source`, seen as one, become `outputs` of `target`, of which `grows` grows.

    `carries` are the output axes along which lanes differ; they are found in the first run, at the old sizes.
    """

    source: Value
    target: Value
    inputs: list[int]
    outputs: list[int]
    grows: int
    carries: tuple[int, ...] | None = None

    def run(self, flow: Flow) -> None:
        """Move lanes on."""
        bundles = [bundle for bundle in flow.bundles.get(self.source, ()) if set(bundle.axes) & set(self.inputs)]
        if not bundles:
            return
        if len(bundles) > 1 or not set(bundles[0].axes) <= set(self.inputs):
            raise ConflictError(
                [(self.source, bundle.grows) for bundle in bundles], "a Reshape mixes several channel dimensions"
            )
        lanes = self._flat(flow, bundles[0])
        out = lanes.reshape([flow.size((self.target, axis)) for axis in self.outputs])
        if flow.classes is None:
            self._unflatten(flow, out)
            return
        carries = tuple(axis for i, axis in enumerate(self.outputs) if out.shape[i] > 1 and _varies(out, i))
        carries = tuple(sorted({*carries, self.grows}))
        if self.carries is None:
            self.carries = carries
        if not set(carries) <= set(self.carries):
            raise ConflictError([(self.source, bundles[0].grows)], "a Reshape would mix added channels with others")
        flow.put(self.target, Bundle(self.carries, self._drop(out), self.grows))

    def _flat(self, flow: Flow, bundle: Bundle) -> Lanes:
        """The lanes over all input axes; in a layout, as old flat index over them."""
        shape = [flow.size((self.source, axis)) for axis in self.inputs]
        view = [size if axis in bundle.axes else 1 for axis, size in zip(self.inputs, shape, strict=True)]
        lanes = np.broadcast_to(bundle.lanes.reshape(view), shape)
        if flow.classes is not None:
            return lanes
        old = [flow.old[(self.source, axis)] for axis in self.inputs]
        held = [i for i, axis in enumerate(self.inputs) if axis in bundle.axes]
        parts = np.unravel_index(np.where(lanes < 0, 0, lanes), tuple(old[i] for i in held))
        index = list(np.indices(shape, dtype=np.int64))
        for i, part in zip(held, parts, strict=True):
            index[i] = part
        flat = np.ravel_multi_index(tuple(index), tuple(old))
        return np.where(lanes < 0, -1, flat).astype(np.int64)

    def _drop(self, out: Lanes) -> Lanes:
        assert self.carries is not None
        return out[tuple(slice(None) if axis in self.carries else 0 for axis in self.outputs)]

    def _unflatten(self, flow: Flow, out: Lanes) -> None:
        """Old flat indices over the outputs, reduced to the axes that carry lanes, checked against the others."""
        assert self.carries is not None
        old = [flow.old[(self.target, axis)] for axis in self.outputs]
        parts = np.unravel_index(np.where(out < 0, 0, out), tuple(old))
        held = [i for i, axis in enumerate(self.outputs) if axis in self.carries]
        lanes = np.ravel_multi_index(tuple(parts[i] for i in held), tuple(old[i] for i in held))
        lanes = np.where(out < 0, -1, lanes).astype(np.int64)
        small = self._drop(lanes)
        view = [out.shape[i] if i in held else 1 for i in range(out.ndim)]
        same = np.array_equal(np.broadcast_to(small.reshape(view), out.shape), lanes)
        places = np.indices(out.shape)
        if not same or any((parts[i] != places[i])[out >= 0].any() for i in range(out.ndim) if i not in held):
            raise ConflictError([(self.target, self.grows)], "a Reshape would mix added channels with others")
        flow.put(self.target, Bundle(self.carries, small, self.grows))


def _varies(array: Lanes, axis: int) -> bool:
    first = np.take(array, [0], axis)
    return not np.array_equal(np.broadcast_to(first, array.shape), array)


@dataclass
class Blocks:
    """The lanes of a dimension lie in `count` blocks of equal size, and none may leave its block (a grouped Conv)."""

    axis: Axis
    count: int
    key: object

    def run(self, flow: Flow) -> None:
        """Move lanes on."""
        lanes = flow.single(self.axis)
        block = np.arange(len(lanes), dtype=np.int64) // (len(lanes) // self.count)
        if flow.classes is not None:
            for number in range(self.count):
                flow.marks.append(((self.key, number), lanes[block == number]))
            return
        old = flow.old[self.axis] // self.count
        if ((lanes // old != block) & (lanes >= 0)).any():
            raise ConflictError([self.axis], "its channels would leave their group")


Step: TypeAlias = "Source | Same | Concat | Spread | Reshape | Blocks"


@dataclass
class Ratio:
    """Two sizes stay in the proportion they have: equal sizes stay equal."""

    left: Axis
    right: Axis

    @property
    def axes(self) -> list[Axis]:
        """The dimensions it ties together."""
        return [self.left, self.right]

    def grow(self, sizes: Sizes, old: Sizes) -> list[tuple[Axis, int]]:
        """The sizes it asks for, none below what is there."""
        common = math.gcd(old[self.left], old[self.right])
        units = [old[axis] // common for axis in self.axes]
        factor = max(-(-sizes[axis] // unit) for axis, unit in zip(self.axes, units, strict=True))
        return [(axis, factor * unit) for axis, unit in zip(self.axes, units, strict=True)]


@dataclass
class Sum:
    """A size is the sum of others."""

    whole: Axis
    parts: list[Axis]
    spare: list[Axis]
    """The parts to grow first where the whole grows: those nobody reads."""

    @property
    def axes(self) -> list[Axis]:
        """The dimensions it ties together."""
        return [self.whole, *self.parts]

    def grow(self, sizes: Sizes, frozen: Callable[[Axis], bool]) -> list[tuple[Axis, int]]:
        """The sizes it asks for."""
        missing = sizes[self.whole] - sum(sizes[part] for part in self.parts)
        if missing <= 0:
            return [(self.whole, sizes[self.whole] - missing)]
        order = [*self.spare, *(part for part in reversed(self.parts) if part not in self.spare)]
        part = next((part for part in order if not frozen(part)), None)
        if part is None:
            raise ConflictError([self.whole], "its parts cannot grow")
        return [(part, sizes[part] + missing)]


Relation: TypeAlias = "Ratio | Sum"
