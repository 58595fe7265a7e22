"""The difference of two models, node by node: added, removed, changed, renamed; inputs, outputs, weights.

What is told apart: operators, attributes, wiring, constants, names, types of inputs and outputs, types of results where
both models record them, operator sets, metadata, functions. What is not: the order of nodes, who produced the file, doc
strings, attributes that say what they would mean if left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irkit.attributes import Attr, AttrKind
from irkit.ir import Graph, Node, Value
from irkit.model import Model
from irkit.pairing import Pairs, computing_nodes, pair_nodes, said
from irkit.tensor import SparseTensor, Tensor
from irkit.text import print_node

_CHUNK = 1 << 22
_ONLY_TYPE = "result "


@dataclass(frozen=True)
class Change:
    """A node that is not the same in both models.

    Attributes:
        kind: `added`, `removed`, `changed` or `renamed` (which is nothing but that).
        node, other: its names in the left and in the right model; "" where it is not there.
        op: its operator, that of the right model where both have it.
        graph: the nested graph or function it is in; "" for the main graph.
        details: what changed, one thing an entry; for a node that is in one model only, the node as text.
    """

    kind: str
    node: str
    other: str
    op: str
    graph: str
    details: tuple[str, ...] = ()

    @property
    def is_only_type(self) -> bool:
        """Whether nothing but types and shapes of results differ."""
        return self.kind == "changed" and all(text.startswith(_ONLY_TYPE) for text in self.details)

    @property
    def title(self) -> str:
        """`Conv conv1`, `Conv conv1 -> conv_a`."""
        names = dict.fromkeys(name for name in (self.node, self.other) if name)
        return f"{self.op} {' -> '.join(names)}".rstrip() + (f" in {self.graph}" if self.graph else "")


@dataclass(frozen=True)
class GraphDiff:
    """The difference of two models.

    Attributes:
        model: differences of the models as such: operator sets, metadata, functions.
        ends: of inputs and outputs.
        changes: of nodes, in the order of the graphs.
        same: how many nodes are the same in both, their names too.
    """

    model: tuple[str, ...]
    ends: tuple[str, ...]
    changes: tuple[Change, ...]
    same: int

    @property
    def is_equal(self) -> bool:
        """Whether there is no difference at all."""
        return not (self.model or self.ends or self.changes)

    def of_kind(self, kind: str) -> list[Change]:
        """The changes of one kind."""
        return [change for change in self.changes if change.kind == kind]

    def to_json(self) -> dict[str, Any]:
        """The difference as plain data."""
        changes = [{**vars(change), "details": list(change.details)} for change in self.changes]
        counts = {kind: len(self.of_kind(kind)) for kind in ("added", "removed", "changed", "renamed")}
        plain = {"equal": self.is_equal, "model": list(self.model), "ends": list(self.ends), "nodes": changes}
        return {**plain, "summary": {**counts, "same": self.same}}


def diff(left: Model, right: Model) -> GraphDiff:
    """Compare two models node by node. Neither is changed; weights at the same place of one file are not read."""
    differ = _Differ()
    differ.graph(left.graph, right.graph, "")
    for key in left.functions.keys() & right.functions.keys():
        differ.graph(left.functions[key].graph, right.functions[key].graph, f"function {key[1]}")
    return GraphDiff(tuple(_model_lines(left, right)), tuple(differ.ends), tuple(differ.changes), differ.same)


def _model_lines(left: Model, right: Model) -> Iterator[str]:
    if left.ir_version != right.ir_version:
        yield f"IR version {left.ir_version} -> {right.ir_version}"
    yield from _entries("operator set", left.opset_imports, right.opset_imports, "ai.onnx")
    yield from _entries("metadata", left.metadata, right.metadata)
    for one, other, sign in ((left, right, "-"), (right, left, "+")):
        yield from (f"{sign} function {'::'.join(key[:2])}" for key in one.functions.keys() - other.functions.keys())


def _entries(what: str, left: Mapping[str, Any], right: Mapping[str, Any], unnamed: str = "") -> Iterator[str]:
    for key in dict.fromkeys((*left, *right)):
        if left.get(key) != right.get(key):
            yield f"{what} {key or unnamed}: {left.get(key, '(none)')} -> {right.get(key, '(none)')}"


class _Differ:
    def __init__(self) -> None:
        self.pairs: Pairs = {}
        self.inputs: dict[Value, Value] = {}
        self.ends: list[str] = []
        self.changes: list[Change] = []
        self.same = 0

    def graph(self, left: Graph, right: Graph, where: str) -> None:
        """Compare two graphs, and what is nested in nodes of both."""
        self.pairs.update(pair_nodes(left, right, self.pairs))
        prefix = f"{where}: " if where else ""
        self._ends("input", left.inputs, right.inputs, prefix)
        self._ends("output", left.outputs, right.outputs, prefix)
        self.ends += [prefix + text for text in self._rewired_outputs(left, right)]
        self.ends += [prefix + text for text in _unread_data(left, right)]
        paired = set(self.pairs.values())
        for node in computing_nodes(left):
            if node in self.pairs:
                self._pair(node, self.pairs[node], where)
            else:
                self.changes.append(Change("removed", _name(node), "", node.op_id, where, (print_node(node),)))
        for node in computing_nodes(right):
            if node not in paired:
                self.changes.append(Change("added", "", _name(node), node.op_id, where, (print_node(node),)))

    def _ends(self, what: str, left: Sequence[Value], right: Sequence[Value], prefix: str) -> None:
        """Inputs or outputs: by name, and where both have as many that the other has not, by place."""
        others = {value.name: value for value in right}
        known = {value.name for value in left}
        gone = [value for value in left if value.name not in others]
        come = [value for value in right if value.name not in known]
        pairs = [(value, others[value.name]) for value in left if value.name in others]
        if len(gone) == len(come):
            pairs += zip(gone, come, strict=True)
            self.ends += [f"{prefix}{what} {a.name} is called {b.name}" for a, b in zip(gone, come, strict=True)]
        else:
            self.ends += [f"{prefix}- {what} {value.name}: {value.type}" for value in gone]
            self.ends += [f"{prefix}+ {what} {value.name}: {value.type}" for value in come]
        if not gone and not come and [value.name for value in left] != [value.name for value in right]:
            self.ends.append(f"{prefix}{what}s in another order: {', '.join(value.name for value in right)}")
        for one, other in pairs:
            if what == "input":
                self.inputs[one] = other
            if one.type is not None and other.type is not None and one.type != other.type:
                self.ends.append(f"{prefix}{what} {other.name}: {one.type} -> {other.type}")

    def _rewired_outputs(self, left: Graph, right: Graph) -> Iterator[str]:
        others = {value.name: value for value in right.outputs}
        for value in left.outputs:
            other = others.get(value.name)
            if other is not None and not self._is_one(value, other):
                yield f"output {value.name} is made by {_maker(other)}, was by {_maker(value)}"

    def _is_one(self, one: Value, other: Value) -> bool:
        """Whether two values are the same thing, their data aside."""
        if one.constant is not None or other.constant is not None:
            return one.constant is not None and other.constant is not None
        if one.producer is not None and one.producer in self.pairs:
            return self.pairs[one.producer] is other.producer and one.index == other.index
        if one.producer is None and other.producer is None:
            return self.inputs.get(one) is other or (one not in self.inputs and one.name == other.name)
        return False

    def _pair(self, one: Node, other: Node, where: str) -> None:
        details = [*self._kind(one, other), *self._inputs_of(one, other), *_result_types(one, other)]
        names = [(a.name, b.name) for a, b in zip(one.outputs, other.outputs, strict=False) if a.name != b.name]
        if details:
            change = Change("changed", _name(one), _name(other), other.op_id, where, tuple(details))
            self.changes.append(change)
        elif one.name != other.name or names:
            told = tuple(f"value {a} -> {b}" for a, b in names)
            self.changes.append(Change("renamed", _name(one), _name(other), other.op_id, where, told))
        else:
            self.same += 1
        for attr in one.attrs.values():
            twin = other.attrs.get(attr.name)
            pairs = zip(attr.graphs, twin.graphs if twin is not None else (), strict=False)
            for a, b in pairs:
                inside = f"{attr.name} of {_name(other)}"
                self.graph(a, b, f"{where}, {inside}" if where else inside)

    def _kind(self, one: Node, other: Node) -> Iterator[str]:
        """Operator and attributes."""
        if one.op_id != other.op_id:
            yield f"operator {one.op_id} -> {other.op_id}"
        left, right = ({attr.name: attr for attr in said(node)} for node in (one, other))
        for name in sorted({*left, *right}):
            a, b = left.get(name), right.get(name)
            held = [attr for attr in (a, b) if attr is not None]
            if len(held) == 2 and all(attr.kind in (AttrKind.GRAPH, AttrKind.GRAPHS) for attr in held):
                continue
            if len(held) == 2 and all(isinstance(attr.value, Tensor) for attr in held):
                reason = data_difference(held[0].value, held[1].value)
                if reason:
                    yield f"{name}: {reason}"
            elif a != b:
                yield f"{name}: {_attr_text(a)} -> {_attr_text(b)}"

    def _inputs_of(self, one: Node, other: Node) -> Iterator[str]:
        if len(one.inputs) != len(other.inputs):
            yield f"{len(one.inputs)} inputs -> {len(other.inputs)}"
        for slot, (a, b) in enumerate(zip(one.inputs, other.inputs, strict=False)):
            if a is None or b is None:
                if a is not b:
                    yield f"input {slot}: {_value_text(a)} -> {_value_text(b)}"
            elif not self._is_one(a, b):
                yield f"input {slot}: {_value_text(a)} -> {_value_text(b)}"
            elif a.constant is not None and b.constant is not None:
                reason = data_difference(a.constant, b.constant)
                stored = (a.producer is None, b.producer is None)
                if reason:
                    yield f"input {slot} ({b.name}): {reason}"
                elif stored[0] != stored[1]:
                    yield f"input {slot} ({b.name}): {_held(stored[0])} -> {_held(stored[1])}"


def _held(is_stored: bool) -> str:
    return "stored data" if is_stored else "a Constant node"


def _result_types(one: Node, other: Node) -> Iterator[str]:
    if len(one.outputs) != len(other.outputs):
        yield f"{len(one.outputs)} outputs -> {len(other.outputs)}"
    for a, b in zip(one.outputs, other.outputs, strict=False):
        if a.type is not None and b.type is not None and a.type != b.type:
            yield f"{_ONLY_TYPE}{b.name}: {a.type} -> {b.type}"


def _unread_data(left: Graph, right: Graph) -> Iterator[str]:
    """Stored constants that no node reads, and that only one of the graphs has."""
    names = [{name for name, value in graph.initializers.items() if not value.is_used} for graph in (left, right)]
    yield from (f"- constant {name}, which nothing reads" for name in sorted(names[0] - set(right.initializers)))
    yield from (f"+ constant {name}, which nothing reads" for name in sorted(names[1] - set(left.initializers)))


def data_difference(one: Tensor | SparseTensor, other: Tensor | SparseTensor) -> str:
    """How two constants differ: in type, in shape, or by how much; "" where they do not."""
    if one == other:
        return ""
    if (one.dtype, one.shape) != (other.dtype, other.shape) or type(one) is not type(other):
        return f"{one.dtype.label}{list(one.shape)} -> {other.dtype.label}{list(other.shape)}"
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or not one.dtype.is_native:
        return f"other data ({one.dtype.label}{list(one.shape)})"
    count, largest = _largest_difference(one, other)
    where = f"{count} of {one.size} elements" if one.size > 1 else f"{one.item()} -> {other.item()}"
    return f"other data ({one.dtype.label}{list(one.shape)}): {where}, largest difference {largest:.3g}"


def _largest_difference(one: Tensor, other: Tensor) -> tuple[int, float]:
    """How many elements differ, and by how much at most; NaN and booleans count as 1."""
    import numpy as np

    a, b = one.numpy().reshape(-1), other.numpy().reshape(-1)
    count, largest = 0, 0.0
    for start in range(0, a.size, _CHUNK):
        x, y = a[start : start + _CHUNK], b[start : start + _CHUNK]
        apart = (x != y) & ~((x != x) & (y != y))
        if apart.any():
            count += int(apart.sum())
            with np.errstate(all="ignore"):
                gap = np.abs(x[apart].astype(np.complex128) - y[apart].astype(np.complex128))
            largest = max(largest, float(np.nan_to_num(gap, nan=1.0, posinf=np.inf).max()))
    return count, largest


def _name(node: Node) -> str:
    return node.name or next((value.name for value in node.outputs if value.name), "")


def _maker(value: Value) -> str:
    return repr(value.producer) if value.producer is not None else f"%{value.name}"


def _value_text(value: Value | None) -> str:
    if value is None:
        return "(left out)"
    return f"constant {value.name}" if value.constant is not None else f"%{value.name}"


def _attr_text(attr: Attr | None) -> str:
    if attr is None:
        return "(left out)"
    text = str(list(attr.value) if isinstance(attr.value, tuple) else attr.value)
    return text if len(text) <= 60 else text[:57] + "..."
