"""The matcher: holds a pattern against a place in the graph.

One matcher tries the permutations of commutative operands by backtracking; there are no copies of rules. The work is
bounded: after some steps, pairs of pattern and value that can never match are remembered, so that chains of commutative
operators take linear time; a match that still takes too many steps is given up.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit import ops
from irkit.ir import Node
from irkit.pattern import AnyOf, Maybe, NodePattern, Number, Numbers, OpPattern, Pattern, PatternGraph, Rest, Var
from irkit.types import DType, TensorType

if TYPE_CHECKING:
    from irkit.ir import Graph, Value
    from irkit.tensor import Tensor

_Pairs: TypeAlias = "list[tuple[Pattern, Value | None]]"
"""Patterns and the inputs of a node they are held against."""

_Goal: TypeAlias = "tuple[Pattern, Value | None, Node | None, Any] | None"
"""A pattern to hold against a value that a node reads, and the goals after it: a linked list."""

_MEMO_AFTER = 200
_STEPS = 20_000
_PERMUTED_INPUTS = 4

_BROADCASTING = frozenset({
    "Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max", "Sum", "Mean", "And", "Or", "Xor", "Equal", "Greater",
    "Less", "GreaterOrEqual", "LessOrEqual", "PRelu", "Where", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitShift",
})  # fmt: skip

_TOLERANCE = {DType.BFLOAT16: 1e-2, DType.FLOAT16: 2e-3}


@dataclass(frozen=True, eq=False)
class Match:
    """A place where a pattern matched.

    Attributes: `outputs` are the values a rewrite replaces, `nodes` all nodes matched (the root first), `captures` the
    values, nodes and tuples of values by name (None for those left out); `shareable` nodes may have other readers.
    """

    outputs: tuple[Value, ...]
    nodes: tuple[Node, ...]
    captures: Mapping[str, Any]
    shareable: frozenset[Node] = frozenset()

    @property
    def root(self) -> Node:
        """The node that makes the first output."""
        return self.nodes[0]

    def __getitem__(self, name: str) -> Any:
        return self.captures[name]


@dataclass(frozen=True)
class Miss:
    """Why a pattern did not match: `matched` nodes had been found when `reason` stood in the way at `place`."""

    matched: int
    part: str
    place: Node | Value | None
    reason: str
    touched: frozenset[Node] = field(default=frozenset(), repr=False)

    def __str__(self) -> str:
        where = f" at {self.place!r}" if self.place is not None else ""
        return f"{self.reason}{where} (where the rule wants {self.part}; {self.matched} nodes matched)"


class Matcher:
    """Holds one pattern against places of a graph.

    Args:
        pattern: what to look for.
        explain: keep the closest miss in `miss`, at the price of speed.

    Attributes: `steps` counts the work of the last match.
    """

    def __init__(self, pattern: PatternGraph, *, explain: bool = False) -> None:
        self._pattern = pattern
        self._explain = explain
        self.miss: Miss | None = None
        self._graph: Graph | None = None
        self._bound: dict[Any, Any] = {}
        self._trail: list[Any] = []
        self.steps = 0
        self._possible: dict[tuple[int, Value], bool] = {}

    def match(self, root: Node) -> Match | None:
        """The match whose first output is one of the node's, or None."""
        self._graph = root.graph
        self._bound, self._trail, self.steps, self._possible, self.miss = {}, [], 0, {}, None
        first = self._pattern.roots[0]
        if isinstance(first, OpPattern):
            starts = [root.outputs[first.index]] if first.index < len(root.outputs) else []
        else:
            starts = list(root.outputs)
        for value in starts:
            if self._solve((first, value, None, None), 1):
                return self._result()
        return None

    def _result(self) -> Match:
        bound = self._bound
        nodes = {node: pattern for pattern, node in bound.items() if isinstance(pattern, NodePattern)}
        outputs = tuple(bound[index] for index in range(len(self._pattern.roots)))
        shareable = frozenset(node for node, pattern in nodes.items() if pattern.may_be_shared)
        captures: dict[str, Any] = dict.fromkeys(self._pattern.captures)
        captures.update((key, item) for key, item in bound.items() if isinstance(key, str))
        captures.update((pattern.name, node) for node, pattern in nodes.items() if pattern.name)
        return Match(outputs, tuple(nodes), captures, shareable)

    # Backtracking. Goals are solved one after the other; only where there is a choice does `_solve` call itself.

    def _solve(self, goals: _Goal, next_root: int) -> bool:
        while goals is not None:
            self.steps += 1
            if self.steps > _STEPS:
                return self._fail(goals[0], goals[1], f"gave up after {_STEPS} steps")
            pattern, value, reader, goals = goals
            if isinstance(pattern, AnyOf):
                rest = goals
                return self._first(((item, value, reader, rest) for item in pattern.alternatives), next_root)
            if isinstance(pattern, Maybe):
                goals = (pattern.inner, value, reader, goals)
                continue
            if value is None:
                return self._fail(pattern, reader, "an input is left out")
            if not self._check_value(pattern, value, reader):
                return False
            if isinstance(pattern, OpPattern):
                orders = self._enter(pattern, value)
                if orders is None:
                    return False
                node, rest = value.producer, goals
                if len(orders) > 1:
                    return self._first((_push(order, node, rest) for order in orders), next_root)
                goals = _push(orders[0], node, rest)
        return self._next_root(next_root)

    def _first(self, choices: Iterator[_Goal], next_root: int) -> bool:
        """Whether one of the choices can be solved; the first that can stays bound."""
        mark = len(self._trail)
        for goals in choices:
            if self._solve(goals, next_root):
                return True
            while len(self._trail) > mark:
                del self._bound[self._trail.pop()]
        return False

    def _bind(self, key: Any, item: Any) -> bool:
        """Bind a capture or a node of the pattern; whether it is free or bound to the same already."""
        bound = self._bound.get(key)
        if bound is None:
            self._bound[key] = item
            self._trail.append(key)
            return True
        return bound is item

    def _check_value(self, pattern: Pattern, value: Value, reader: Node | None) -> bool:
        for predicate, reason in pattern.checks:
            if not predicate(value):
                return self._fail(pattern, value, reason)
        if isinstance(pattern, Var):
            return self._bind(pattern.name, value) or self._fail(pattern, value, f"{pattern.name!r} is another value")
        if isinstance(pattern, (Number, Numbers)):
            reason = number_mismatch(pattern, value, reader)
            return not reason or self._fail(pattern, value, reason)
        return True

    def _enter(self, pattern: OpPattern, value: Value) -> list[_Pairs] | None:
        """Bind the node that makes the value, and tell in which orders its inputs may be matched; None on a miss."""
        node, wanted = value.producer, pattern.node
        if node is None:
            self._fail(pattern, value, "is made by no node")
            return None
        if self._bound.get(wanted) is node and value.index == pattern.index:
            return [[]]
        if reason := self._node_mismatch(pattern, node, value):
            self._fail(pattern, node, reason)
            return None
        if self.steps > _MEMO_AFTER and not self._may_match(pattern, value):
            return None
        if not self._bind(wanted, node):
            self._fail(pattern, node, "is another node")
            return None
        orders = self._orders(wanted, node)
        if not orders:
            self._fail(pattern, node, "has inputs that do not fit")
        return orders or None

    def _node_mismatch(self, pattern: OpPattern, node: Node, value: Value) -> str:
        wanted = pattern.node
        if (wanted.ops and node.op not in wanted.ops) or node.domain != wanted.domain:
            return f"is no {' or '.join(sorted(wanted.ops)) or wanted.domain}"
        if value.index != pattern.index:
            return f"is output {value.index}"
        if node.graph is not self._graph:
            return "stands in an outer graph"
        for name, expected in wanted.attrs.items():
            found = ops.attribute(node, name)
            if not _attribute_fits(found, expected):
                return f"has {name}={found!r}"
        return next((reason for predicate, reason in wanted.checks if not predicate(node)), "")

    def _orders(self, wanted: NodePattern, node: Node) -> list[_Pairs]:
        """The ways to pair the inputs of the pattern with those of the node, constants first."""
        straight = self._pair(wanted.inputs, node)
        if straight is None:
            return []
        count = len(wanted.inputs)
        if not ops.is_commutative(node) or not 2 <= count <= _PERMUTED_INPUTS or len(set(node.inputs)) == 1:
            return [straight]
        pairings = (self._pair(order, node) for order in itertools.permutations(wanted.inputs))
        return [pairs for pairs in pairings if pairs is not None and self._literals_fit(pairs, node)]

    def _literals_fit(self, pairs: _Pairs, node: Node) -> bool:
        """A cheap look ahead that drops most permutations."""
        for pattern, value in pairs:
            literal = isinstance(pattern, (Number, Numbers)) and value is not None
            if literal and (reason := number_mismatch(pattern, value, node)):  # type: ignore[arg-type]  # just seen
                return self._fail(pattern, value, reason)
            if isinstance(pattern, OpPattern) and (value is None or value.producer is None):
                return self._fail(pattern, value, "is made by no node")
        return True

    def _pair(self, inputs: Sequence[Pattern | None], node: Node) -> _Pairs | None:
        given = list(node.inputs)
        while given and given[-1] is None:
            given.pop()
        pairs: _Pairs = []
        for index, pattern in enumerate(inputs):
            if isinstance(pattern, Rest):
                return self._pair_rest(pattern, given[index:], pairs)
            value = given[index] if index < len(given) else None
            if pattern is None:
                if value is not None:
                    return None
            elif value is not None:
                pairs.append((pattern, value))
            elif not isinstance(pattern, Maybe):
                return None
        return pairs if len(given) <= len(inputs) else None

    def _pair_rest(self, rest: Rest, values: list[Value | None], pairs: _Pairs) -> _Pairs | None:
        bound = self._bound.get(rest.name)
        if bound is None:
            self._bind(rest.name, tuple(values))
        elif bound != tuple(values):
            return None
        if rest.each is not None:
            pairs += [(rest.each, value) for value in values]
        return pairs

    # Several roots: the others are found over what is bound already.

    def _next_root(self, index: int) -> bool:
        if index == 1 and 0 not in self._bound:
            first = self._pattern.roots[0]
            self._bind(0, self._output_of(first))
        if index == len(self._pattern.roots):
            return True
        mark = len(self._trail)
        pattern = self._pattern.roots[index]
        for value in self._candidates(pattern):
            if value not in [self._bound[i] for i in range(index)]:
                self._bind(index, value)
                if self._solve((pattern, value, None, None), index + 1):
                    return True
                while len(self._trail) > mark:
                    del self._bound[self._trail.pop()]
        return self._fail(pattern, None, "found nowhere near the rest")

    def _output_of(self, root: Pattern) -> Value:
        for item in root.alternatives if isinstance(root, AnyOf) else (root,):
            if isinstance(item, OpPattern) and item.node in self._bound:
                value: Value = self._bound[item.node].outputs[item.index]
                return value
        raise AssertionError("a solved root is bound")

    def _candidates(self, pattern: Pattern) -> Iterator[Value]:
        """Values that may match an output of the pattern, by way of what is bound already."""
        if isinstance(pattern, AnyOf):
            for item in pattern.alternatives:
                yield from self._candidates(item)
        elif isinstance(pattern, OpPattern):
            wanted = pattern.node
            known = self._bound.get(wanted)
            nodes = [known] if known is not None else self._candidate_nodes(wanted)
            yield from (node.outputs[pattern.index] for node in nodes if pattern.index < len(node.outputs))

    def _candidate_nodes(self, wanted: NodePattern) -> list[Node]:
        for part in wanted.inputs:
            if isinstance(part, Var) and part.name in self._bound:
                sources = [self._bound[part.name]]
            elif isinstance(part, OpPattern):
                sources = list(self._candidates(part))
            else:
                continue
            readers = {node: None for value in sources for node in value.users}
            if readers:
                return [node for node in readers if not wanted.ops or node.op in wanted.ops]
        return []

    # Pairs that cannot match whatever is captured. Asked only in long matches.

    def _may_match(self, pattern: Pattern, value: Value | None) -> bool:
        if isinstance(pattern, Maybe):
            return value is None or self._may_match(pattern.inner, value)
        if isinstance(pattern, AnyOf):
            return any(self._may_match(item, value) for item in pattern.alternatives)
        if value is None:
            return False
        if not isinstance(pattern, OpPattern):
            return all(predicate(value) for predicate, _ in pattern.checks)
        key = (id(pattern), value)
        known = self._possible.get(key)
        if known is None:
            known = self._possible[key] = self._may_match_node(pattern, value)
        return known

    def _may_match_node(self, pattern: OpPattern, value: Value) -> bool:
        node = value.producer
        if node is None or self._node_mismatch(pattern, node, value):
            return False
        if any(isinstance(item, Rest) for item in pattern.node.inputs):
            return True
        return any(
            all(self._may_match(part, item) for part, item in pairs) for pairs in self._orders(pattern.node, node)
        )

    # Misses.

    def _fail(self, pattern: Pattern, place: Node | Value | None, reason: str) -> bool:
        """Record the miss where somebody wants to know; always false."""
        if self._explain:
            nodes = (item for key, item in self._bound.items() if isinstance(key, NodePattern))
            touched: frozenset[Node] = frozenset(nodes)
            if self.miss is None or len(touched) > self.miss.matched:
                node = place if place is None or isinstance(place, Node) else place.producer
                near = touched if node is None else touched | {node}
                self.miss = Miss(len(touched), repr(pattern), place, reason, near)
        return False


def _push(pairs: Sequence[tuple[Pattern, Value | None]], node: Node | None, goals: _Goal) -> _Goal:
    """The goals with those pairs put before them; what can fail soonest comes first."""
    for pattern, value in reversed(pairs):
        if isinstance(pattern, Var):
            goals = (pattern, value, node, goals)
    for pattern, value in reversed(pairs):
        if not isinstance(pattern, Var):
            goals = (pattern, value, node, goals)
    return goals


def _attribute_fits(found: Any, expected: Any) -> bool:
    if callable(expected):
        return bool(expected(found))
    if isinstance(expected, float) and isinstance(found, (int, float)):
        return math.isclose(found, expected, rel_tol=1e-6)
    return bool(found == (tuple(expected) if isinstance(expected, list) else expected))


def number_mismatch(pattern: Number | Numbers, value: Value, reader: Node | None) -> str:
    """Why a value is not that constant, or "".

    A uniform constant with more than one element, or of some rank, only counts as a number where `reader` broadcasts it
    without making its result larger.
    """
    tensor = value.constant
    if tensor is None:
        return "is no constant"
    if isinstance(pattern, Numbers):
        same = tensor.shape == (len(pattern.values),) and tensor.dtype.is_native
        return "" if same and tuple(tensor.numpy().tolist()) == pattern.values else f"is not {list(pattern.values)}"
    found = uniform_number(tensor)
    if found is None or not _is_about(found, pattern, tensor.dtype):
        return f"is not {pattern.value:g}"
    return "" if not tensor.rank or _keeps_shape(tensor, value, reader) else "may make the result larger"


def _is_about(found: float, pattern: Number, dtype: DType) -> bool:
    tolerance = pattern.tolerance if pattern.tolerance is not None else _TOLERANCE.get(dtype, 1e-4)
    return math.isclose(found, pattern.value, rel_tol=tolerance, abs_tol=1e-9)


def uniform_number(tensor: Tensor) -> float | None:
    """The number that all elements of a tensor are; None where they differ or are no numbers."""
    if tensor.dtype == DType.STRING or tensor.dtype.numpy.kind == "c":
        return None
    element = tensor.uniform()
    if element is None:
        return None
    if tensor.dtype == DType.BFLOAT16:
        return float(struct.unpack("<f", struct.pack("<I", int(element) << 16))[0])
    return float(element) if tensor.dtype.is_native else None


def _keeps_shape(tensor: Tensor, value: Value, reader: Node | None) -> bool:
    """Whether broadcasting the constant leaves the other operand's shape as it is."""
    if reader is None or reader.domain or reader.op not in _BROADCASTING:
        return False
    out = _known_shape(reader.output)
    for other in reader.inputs:
        if other is None or other is value:
            continue
        shape = _known_shape(other)
        if shape is None:
            continue
        if (tensor.size == 1 and tensor.rank <= len(shape)) or (shape == out and None not in shape):
            return True
    return False


def _known_shape(value: Value) -> tuple[int | str | None, ...] | None:
    return value.type.shape if isinstance(value.type, TensorType) else None
