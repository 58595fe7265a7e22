"""Decide which channel dimensions grow, to what size, and where the added lanes go.

Sizes are found by growing what is not aligned and following the relations to a fixed point. Then the index maps are
run twice with labels, at the old sizes and at the new ones: lanes that appear in the same dimensions (and groups) in
both runs may take each other's place, so every old lane is given a new place of its own kind and what is left over is
padding. The layouts that follow are checked by running the index maps a third time. What cannot be reconciled stays
as it is, with its reason, and the rest is planned again.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from irkit.channels.elementwise import join
from irkit.channels.operators import trace_node
from irkit.channels.steps import Axis, Bundle, Classes, ConflictError, Flow, Lanes, Ratio, Relation, Sizes, Source
from irkit.channels.trace import BROKEN, Content, Trace
from irkit.ir import Graph, Node, Value

Exclude: TypeAlias = "Callable[[Node, int], str | None]"
"""Why a layer with that many channels is to be left alone, or None."""


_ATTEMPTS = 40
"""How many enlarged sizes are tried before channels are left as they are."""


class CrowdedError(ConflictError):
    """More old lanes of one kind than new ones; `axes` are dimensions they share that could be made larger."""

    def __init__(self, axes: list[Axis]) -> None:
        super().__init__(axes, "no arrangement of its channels suits all layers that read them")


@dataclass(frozen=True)
class Plan:
    """What grows and how.

    Attributes: `sizes` of the dimensions that grow, `layouts` over their new lanes (old index, -1 for an added lane),
    `barriers` (reasons) for the channel dimensions that are no multiple, and the `trace` it was made from.
    """

    trace: Trace
    sizes: Mapping[Axis, int]
    layouts: Mapping[Axis, Lanes]
    barriers: Mapping[Axis, str]

    def size(self, axis: Axis) -> int:
        """Size a dimension will have."""
        return self.sizes.get(axis, self.trace.old[axis])

    @property
    def grown_values(self) -> list[Value]:
        """The values of the graph that change their shape."""
        return list(dict.fromkeys(owner for owner, _ in self.sizes if isinstance(owner, Value) and owner.graph))

    def places(self, value: Value) -> dict[int, list[int]]:
        """New index of each old one, by dimension that grows; empty where lanes are spread over several dimensions."""
        grown = [axis for owner, axis in self.sizes if owner is value]
        if any((value, axis) not in self.layouts for axis in grown):
            return {}
        return {axis: _inverse(self.layouts[(value, axis)]) for axis in grown}


def plan_channels(
    graph: Graph, multiple: int, *, opset: int, keep: Iterable[str] = (), exclude: Exclude | None = None
) -> Plan:
    """Plan to grow the channel dimensions of a graph to multiples.

    Args:
        graph: static shapes; nested graphs are left alone.
        multiple: at least 1.
        opset: version of ONNX's operators the graph is written in.
        keep: names of values whose shape must not change, besides the graph's inputs and outputs.
        exclude: layers to leave alone.
    """
    trace = _traced(graph, multiple, opset, set(keep))
    why = dict(trace.why)
    _exclude(trace, why, exclude)
    floors: Sizes = {}
    while True:
        frozen = _frozen(trace, why)
        try:
            sizes, layouts = _arranged(trace, frozen, floors)
        except ConflictError as conflict:
            alone = _arranged_alone(trace, frozen, conflict) if isinstance(conflict, CrowdedError) else {}
            if not alone.items() <= floors.items():
                floors.update(alone)
                continue
            _freeze(trace, why, frozen, conflict)
            floors.clear()
            continue
        grown = {axis: size for axis, size in sizes.items() if size != trace.old[axis]}
        barriers = {
            axis: frozen.get(axis) or _partial(trace, axis, frozen)
            for axis in trace.active
            if sizes[axis] % multiple and _is_real(axis)
        }
        return Plan(trace, grown, {axis: layouts[axis] for axis in grown if axis in layouts}, barriers)


def _inverse(layout: Lanes) -> list[int]:
    real = np.flatnonzero(layout >= 0)
    return [int(place) for place in real[np.argsort(layout[real])]]


def _is_real(axis: Axis) -> bool:
    """Whether it is a dimension of a value of the graph, and not a piece of one or a number of groups."""
    return isinstance(axis[0], Value) and axis[0].graph is not None


def _traced(graph: Graph, multiple: int, opset: int, keep: set[str]) -> Trace:
    trace = Trace(graph, multiple, opset)
    for value in (*graph.inputs, *graph.outputs):
        kind = "input" if value in graph.inputs else "output"
        _keep(trace, value, f"it is the network's {kind} {value.name}")
    for node in graph:
        trace_node(node, trace)
        for operand in node.inputs:
            _unmentioned(trace, node, operand)
        for inner in (inner for nested in node.subgraphs for inner in nested.walk()):
            for captured in inner.inputs:
                if captured is not None and captured.graph is graph:
                    _keep(trace, captured, f"it is read inside {node.op} at {node.name}")
        for made in node.outputs:
            if made.name in keep:
                _keep(trace, made, "the cut was declared here")
    return trace


def _keep(trace: Trace, value: Value, reason: str) -> None:
    for axis in range(len(value.shape or ())):
        trace.freeze(value, axis, reason)


def _unmentioned(trace: Trace, node: Node, value: Value | None) -> None:
    if value is None:
        return
    for axis in range(len(value.shape or ())):
        if trace.is_active(value, axis) and (node, value, axis) not in trace.seen:
            trace.freeze(value, axis, f"{node.op} at {node.name} cannot take added channels")


def _exclude(trace: Trace, why: dict[Axis, str], exclude: Exclude | None) -> None:
    for axis, node in trace.free.items():
        reason = exclude(node, trace.old[axis]) if exclude is not None else None
        if reason is not None:
            why.setdefault(axis, reason)


def _frozen(trace: Trace, why: Mapping[Axis, str]) -> dict[Axis, str]:
    """The dimensions that cannot grow, with what is tied to them."""
    frozen = {axis: reason for axis, reason in why.items() if axis in trace.active}
    touching = _touching(trace)
    queue = deque(frozen)
    while queue:
        axis = queue.popleft()
        for relation in touching.get(axis, ()):
            for other in _tied(relation, axis, frozen):
                if other not in frozen:
                    frozen[other] = frozen[axis]
                    queue.append(other)
    return frozen


def _tied(relation: Relation, axis: Axis, frozen: Mapping[Axis, str]) -> list[Axis]:
    """What cannot grow once `axis` cannot."""
    if isinstance(relation, Ratio):
        return relation.axes
    if axis == relation.whole:
        return relation.parts
    free = [other for other in relation.axes if other not in frozen]
    return free if len(free) == 1 else []


def _touching(trace: Trace) -> dict[Axis, list[Relation]]:
    touching: dict[Axis, list[Relation]] = {}
    for relation in trace.relations:
        for axis in set(relation.axes):
            touching.setdefault(axis, []).append(relation)
    return touching


def _arranged_alone(trace: Trace, frozen: Mapping[Axis, str], crowded: CrowdedError) -> Sizes:
    """Sizes for what hangs together with a conflict, found while nothing else grows; none where there are none.

    All at once, the tries are spent on sizes of dimensions that have nothing to do with one another.
    """
    here = set(_component(trace, crowded.axes))
    others = {axis: "it is not looked at" for axis in trace.active if axis not in here}
    try:
        sizes, _ = _arranged(trace, {**others, **frozen}, {})
    except ConflictError:
        return {}
    return {axis: size for axis, size in sizes.items() if axis in here and axis not in frozen}


def _arranged(trace: Trace, frozen: Mapping[Axis, str], start: Sizes) -> tuple[Sizes, dict[Axis, Lanes]]:
    """Sizes, the smallest from `start` on that have an arrangement of lanes, and that arrangement.

    Where lanes do not fit, each dimension they share is tried one multiple larger, cheapest first, a few times.
    """
    queue: list[tuple[int, int, Sizes]] = [(0, 0, start)]
    tried: set[frozenset[tuple[Axis, int]]] = set()
    first: CrowdedError | None = None
    while queue and len(tried) < _ATTEMPTS:
        floors = heapq.heappop(queue)[2]
        sizes = _grown(trace, frozen, floors)
        try:
            layouts = _laid_out(trace, sizes, frozen)
            _check_contents(trace, sizes)
        except CrowdedError as crowded:
            first = first or crowded
            for larger in _larger(trace, frozen, sizes, floors, crowded):
                key = frozenset(larger.items())
                cost = _cost(trace, frozen, larger)
                if key not in tried and cost:
                    tried.add(key)
                    heapq.heappush(queue, (cost, len(tried), larger))
        except ConflictError:
            if first is None:
                raise
        else:
            return sizes, layouts
    assert first is not None
    raise first


def _larger(
    trace: Trace, frozen: Mapping[Axis, str], sizes: Sizes, floors: Sizes, crowded: CrowdedError
) -> Iterator[Sizes]:
    for axis in crowded.axes:
        if axis not in frozen and sizes[axis] < 4 * (trace.old[axis] + trace.multiple):
            yield {**floors, axis: sizes[axis] + trace.multiple}


def _cost(trace: Trace, frozen: Mapping[Axis, str], floors: Sizes) -> int:
    """All lanes together; 0 where no sizes agree."""
    try:
        return sum(_grown(trace, frozen, floors).values())
    except ConflictError:
        return 0


def _grown(trace: Trace, frozen: Mapping[Axis, str], floors: Sizes) -> Sizes:
    """The smallest sizes that are aligned where there is a choice, and agree everywhere."""
    sizes = {axis: max(trace.old[axis], floors.get(axis, 0) if axis not in frozen else 0) for axis in trace.active}
    touching = _touching(trace)
    chosen = [axis for axis in (*trace.free, *trace.parts) if axis not in frozen]
    aligned = {axis: math.lcm(trace.multiple, trace.multiples.get(axis, 1)) for axis in chosen}
    units = {axis: unit for axis, unit in {**trace.multiples, **aligned}.items() if axis not in frozen}
    queue = deque({**units, **floors})
    while queue:
        axis = queue.popleft()
        asked = [(axis, -(-sizes[axis] // units[axis]) * units[axis])] if axis in units else []
        for relation in touching.get(axis, ()):
            asked += _asked(relation, sizes, trace, frozen)
        for other, size in asked:
            if size > sizes[other]:
                _may_grow(other, size, trace, frozen, relation_axes=touching.get(other, ()))
                sizes[other] = size
                queue.extend((other, axis))
    return sizes


def _asked(relation: Relation, sizes: Sizes, trace: Trace, frozen: Mapping[Axis, str]) -> list[tuple[Axis, int]]:
    if isinstance(relation, Ratio):
        return relation.grow(sizes, trace.old)
    return relation.grow(sizes, frozen.__contains__)


def _may_grow(
    axis: Axis, size: int, trace: Trace, frozen: Mapping[Axis, str], relation_axes: Iterable[Relation]
) -> None:
    if axis in frozen:
        tied = [other for relation in relation_axes for other in relation.axes if other not in frozen]
        raise ConflictError(tied, frozen[axis])
    if size > 8 * trace.old[axis] + 64 * trace.multiple:
        raise ConflictError([axis], "no sizes were found that suit all layers it is joined with")


def _laid_out(trace: Trace, sizes: Sizes, frozen: Mapping[Axis, str]) -> dict[Axis, Lanes]:
    """The layout of every dimension that is a bundle of its own."""
    if all(sizes[axis] == trace.old[axis] for axis in sizes):
        return {}
    before, after = Flow(trace.old, trace.old, Classes()), Flow(trace.old, sizes, Classes())
    for flow in (before, after):
        for _, step in trace.steps:
            step.run(flow)
    place = _matched(trace, before, after)
    final = Flow(trace.old, sizes, None)
    for node, step in trace.steps:
        del node
        if isinstance(step, Source):
            lanes = _source_layout(step.axis, before, after, place)
            final.put(step.axis[0], Bundle((step.axis[1],), lanes, step.axis[1]))
        else:
            step.run(final)
    layouts = {}
    for owner, bundles in final.bundles.items():
        for bundle in bundles:
            key = (owner, bundle.grows)
            if key in frozen and not np.array_equal(bundle.lanes.reshape(-1), np.arange(bundle.lanes.size)):
                raise ConflictError([key], frozen[key])
            if len(bundle.axes) == 1:
                layouts[key] = bundle.lanes
    return layouts


def _signatures(flow: Flow) -> tuple[Lanes, np.ndarray[tuple[int, ...], np.dtype[np.uint64]]]:
    """The classes of lanes, each with a hash of the dimensions and groups it appears in, and how often."""
    assert flow.classes is not None
    groups = [bundle.lanes for bundles in flow.bundles.values() for bundle in bundles]
    groups += [lanes for _, lanes in flow.marks]
    roots = [flow.classes.roots(lanes.reshape(-1)) for lanes in groups]
    if not roots:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    found = np.unique(np.concatenate(roots))
    signature = np.zeros(len(found), np.uint64)
    for number, labels in enumerate(roots):
        rng = np.random.default_rng(number)  # a fixed number for each dimension, the same in both flows
        key = rng.integers(1, 2**63, dtype=np.uint64)
        np.add.at(signature, np.searchsorted(found, labels), key)
    return found, signature


def _matched(trace: Trace, before: Flow, after: Flow) -> dict[int, int]:
    """Class of old lanes for each class of new lanes that takes one up."""
    old, new = _signatures(before), _signatures(after)
    waiting: dict[int, list[int]] = {}
    for root, signature in zip(new[0].tolist(), new[1].tolist(), strict=True):
        waiting.setdefault(signature, []).append(root)
    place: dict[int, int] = {}
    used: dict[int, int] = {}
    for root, signature in zip(old[0].tolist(), old[1].tolist(), strict=True):
        rooms, at = waiting.get(signature, []), used.get(signature, 0)
        if at >= len(rooms):
            raise CrowdedError(_holders((*trace.free, *trace.parts), before, root))
        place[rooms[at]] = root
        used[signature] = at + 1
    return place


def _holders(axes: Iterable[Axis], flow: Flow, root: int) -> list[Axis]:
    """The dimensions that the class of lanes appears in."""
    assert flow.classes is not None
    return [
        axis for axis in axes if flow.get(axis) is not None and (flow.classes.roots(flow.single(axis)) == root).any()
    ]


def _source_layout(axis: Axis, before: Flow, after: Flow, place: Mapping[int, int]) -> Lanes:
    assert before.classes is not None
    assert after.classes is not None
    old = before.classes.roots(before.single(axis)).tolist()
    new = after.classes.roots(after.single(axis)).tolist()
    where: dict[int, deque[int]] = {}
    for index, root in enumerate(old):
        where.setdefault(root, deque()).append(index)
    lanes = [where[place[root]].popleft() if root in place else -1 for root in new]
    return np.asarray(lanes, np.int64)


def _check_contents(trace: Trace, sizes: Sizes) -> None:
    """Raise `ConflictError` for added lanes that would hold Inf or NaN, or not zero where zero is needed."""
    grown = {axis for axis, size in sizes.items() if size > trace.old[axis]}
    contents: dict[Axis, Content] = {axis: content for axis, content in trace.starts.items() if axis in grown}
    incoming: dict[tuple[Node, Axis], dict[int, Content]] = {}
    broken: dict[Axis, str] = {}
    for node, slot, source, target in trace.reads:
        if source not in grown or target not in grown or target in trace.free:
            continue
        slots = incoming.setdefault((node, target), {})
        slots[slot] = contents.get(source, 0.0)
        transfer = trace.transfers.get(node)
        content = transfer(target[1], slots) if transfer is not None else join(slots)
        contents[target] = content
        if content == BROKEN:
            broken[target] = f"{node.op} at {node.name} would make added channels Inf or NaN"
        else:
            broken.pop(target, None)
    for axis, node in trace.zeros:
        if axis in grown and contents.get(axis, 0.0) != 0.0:
            broken.setdefault(axis, f"{node.op} at {node.name} sums over channels, and added ones would not be zero")
    if broken:
        axis, reason = next(iter(broken.items()))
        raise ConflictError([axis], reason)


def _freeze(trace: Trace, why: dict[Axis, str], frozen: Mapping[Axis, str], conflict: ConflictError) -> None:
    """Let the dimensions of a conflict stay; where they already do, all that is joined with them."""
    fresh = [axis for axis in conflict.axes if axis not in frozen]
    if not fresh:
        fresh = [axis for axis in _component(trace, conflict.axes) if axis not in frozen]
    if not fresh:
        fresh = [axis for axis in trace.active if axis not in frozen]
    for axis in fresh:
        why[axis] = conflict.reason


def _component(trace: Trace, axes: Iterable[Axis]) -> list[Axis]:
    touching = _touching(trace)
    found = dict.fromkeys(axes)
    queue = deque(found)
    while queue:
        for relation in touching.get(queue.popleft(), ()):
            for other in relation.axes:
                if other not in found:
                    found[other] = None
                    queue.append(other)
    return list(found)


def _partial(trace: Trace, axis: Axis, frozen: Mapping[Axis, str]) -> str:
    """Why a dimension that may grow is still no multiple: one of its parts cannot."""
    for other in _component(trace, [axis]):
        if other in frozen:
            return frozen[other]
    return "it follows from other dimensions"
