"""The matcher: holds a pattern against a place in the graph.

One matcher tries the permutations of commutative operands by backtracking; there are no copies of rules. The work is
bounded: after some steps, pairs of pattern and value that can never match are remembered, until the model is edited, so
that chains of commutative operators take linear time; a match that still takes too many steps is given up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit import ops
from irkit.ir import Node, Value
from irkit.literals import number_mismatch
from irkit.pattern import (
    AnyOf,
    Maybe,
    NodePattern,
    Number,
    Numbers,
    OpPattern,
    Pattern,
    Rest,
    Var,
)
from irkit.pattern_graph import PatternGraph, instance

if TYPE_CHECKING:
    from irkit.ir import Graph

_Found: TypeAlias = "Value | tuple[Value | None, ...] | None"
"""An input of a node, None where it is left out; for an `op.rest` those it stands for."""

_Pairs: TypeAlias = "list[tuple[Pattern, _Found]]"
"""Patterns and the inputs of a node they are held against."""

_Goal: TypeAlias = "tuple[Pattern, Any, Node | None, Any] | None"
"""A pattern to hold against what a node reads (see `_Found`), and the goals after it: a linked list."""

_MEMO_AFTER = 50
_STEPS = 20_000
_PERMUTED_INPUTS = 4
_MOST_PAIRINGS = 2_000


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

    Attributes: `steps` counts the work of the last match; `gave_up` tells that it took too many, so that a match may
    have been missed.
    """

    def __init__(self, pattern: PatternGraph, *, explain: bool = False) -> None:
        self._pattern = pattern
        self._explain = explain
        self.miss: Miss | None = None
        self._graph: Graph | None = None
        self._bound: dict[Any, Any] = {}
        self._trail: list[Any] = []
        self.steps = 0
        self.gave_up = False
        self._possible: dict[tuple[int, Value], bool] = {}
        self._position = -1
        self._instances: dict[tuple[Rest, int], Pattern] = {}

    def match(self, root: Node) -> Match | None:
        """The match whose first output is one of the node's, or None."""
        self._graph = root.graph
        self._bound, self._trail, self.steps, self.miss, self.gave_up = {}, [], 0, None, False
        model = root.graph.model if root.graph is not None else None
        position = model.journal.position if model is not None else -1
        if self._explain or position < 0 or position != self._position:
            self._possible.clear()
            self._position = position
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
        found: dict[str, Any] = {key: item for key, item in bound.items() if isinstance(key, str)}
        found.update((pattern.name, node) for node, pattern in nodes.items() if pattern.name)
        captures: dict[str, Any] = {name: found.get(name) for name in self._pattern.captures}
        for rest, own in self._pattern.repeated.items():
            count = bound.get(rest, 0)
            names = (name for name in own if isinstance(name, str))
            captures.update((name, tuple(found.get(f"{name}[{i}]") for i in range(count))) for name in names)
        return Match(outputs, tuple(nodes), captures, shareable)

    # Backtracking. Goals are solved one after the other; only where there is a choice does `_solve` call itself.

    def _solve(self, goals: _Goal, next_root: int) -> bool:
        while goals is not None:
            self.steps += 1
            if self.steps > _STEPS:
                self.gave_up = True
                return self._fail(goals[0], goals[1], f"gave up after {_STEPS} steps")
            pattern, value, reader, goals = goals
            if isinstance(pattern, AnyOf):
                rest = goals
                return self._first(((item, value, reader, rest) for item in pattern.alternatives), next_root)
            if isinstance(pattern, Maybe):
                goals = (pattern.inner, value, reader, goals)
                continue
            if isinstance(pattern, Rest):
                if not self._bind_rest(pattern, value):
                    return self._fail(pattern, reader, "other inputs were captured before")
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

    def _bind_rest(self, rest: Rest, values: tuple[Value | None, ...]) -> bool:
        if rest.each is not None:
            self._bind(rest, len(values))
        if not rest.name or self._bind(rest.name, values):
            return True
        return bool(self._bound[rest.name] == values)

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
        if (self._possible or self.steps > _MEMO_AFTER) and not self._may_match(pattern, value):
            return None
        if not self._bind(wanted, node):
            self._fail(pattern, node, "is another node")
            return None
        for name, capture in wanted.captured_attrs:
            found = ops.attribute(node, name)
            if found is not None and not self._bind(capture, found) and self._bound[capture] != found:
                self._fail(pattern, node, f"has {name}={found!r}, which is not {capture!r}")
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
        for name, expected in wanted.wanted_attrs:
            found = ops.attribute(node, name)
            if not _attribute_fits(found, expected):
                return f"has {name}={found!r}"
        return next((reason for predicate, reason in wanted.checks if not predicate(node)), "")

    def _orders(self, wanted: NodePattern, node: Node) -> list[_Pairs]:
        """The ways to pair the inputs of the pattern with those of the node, constants first."""
        given = list(node.inputs)
        while given and given[-1] is None:
            given.pop()
        if wanted.rests:
            return self._orders_with_rest(wanted, node, given)
        straight = _pair(wanted.inputs, given)
        if straight is None:
            return []
        count = len(wanted.inputs)
        if not ops.is_commutative(node) or not 2 <= count <= _PERMUTED_INPUTS or len(set(node.inputs)) == 1:
            return [straight]
        pairings = (_pair(order, given) for order in itertools.permutations(wanted.inputs))
        return [pairs for pairs in pairings if pairs is not None and self._literals_fit(pairs, node)]

    def _orders_with_rest(self, wanted: NodePattern, node: Node, given: list[Value | None]) -> list[_Pairs]:
        """The same where an `op.rest` takes any number of inputs.

        Operands of a commutative operator may stand anywhere among the rest, which keeps its order.
        """
        fixed = [item for item in wanted.inputs if not isinstance(item, Rest)]
        places: Iterator[tuple[int, ...]]
        if len(wanted.rests) == 1 and ops.is_commutative(node):
            places = itertools.permutations(range(len(given)), len(fixed))
        else:
            places = _places_in_order(wanted.inputs, len(given))
        orders: list[_Pairs] = []
        for chosen in itertools.islice(places, _MOST_PAIRINGS):
            pairs = self._pair_with_rest(wanted, given, fixed, chosen)
            if pairs is not None and self._literals_fit(pairs, node):
                orders.append(pairs)
        return orders

    def _pair_with_rest(
        self, wanted: NodePattern, given: list[Value | None], fixed: list[Pattern | None], chosen: tuple[int, ...]
    ) -> _Pairs | None:
        """Pair the fixed inputs with those at the `chosen` places, and each rest with what lies between."""
        pairs: _Pairs = []
        for pattern, place in zip(fixed, chosen, strict=True):
            value = given[place] if place < len(given) else None
            if value is None and pattern is not None and not isinstance(pattern, Maybe):
                return None
            if pattern is None and value is not None:
                return None
            if pattern is not None and value is not None:
                pairs.append((pattern, value))
        if len(wanted.rests) == 1:
            groups = [tuple(value for place, value in enumerate(given) if place not in chosen)]
        else:
            groups = _between(wanted.inputs, given, chosen)
        for rest, values in zip(wanted.rests, groups, strict=True):
            pairs.append((rest, values))
            if rest.each is not None:
                pairs += [(self._instance(rest, number), value) for number, value in enumerate(values)]
        return pairs

    def _instance(self, rest: Rest, number: int) -> Pattern:
        """The pattern for one of the inputs of a rest: what only it captures is captured anew for each."""
        assert rest.each is not None
        own = self._pattern.repeated.get(rest)
        if not own:
            return rest.each
        found = self._instances.get((rest, number))
        if found is None:
            found = self._instances[rest, number] = instance(rest.each, own, number)
        return found

    def _literals_fit(self, pairs: _Pairs, node: Node) -> bool:
        """A cheap look ahead that drops most permutations."""
        for pattern, value in pairs:
            if isinstance(pattern, (Number, Numbers)) and isinstance(value, Value):
                if reason := number_mismatch(pattern, value, node):
                    return self._fail(pattern, value, reason)
            elif isinstance(pattern, OpPattern) and (not isinstance(value, Value) or value.producer is None):
                return self._fail(pattern, value if isinstance(value, Value) else node, "is made by no node")
        return True

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

    def _may_match(self, pattern: Pattern, value: _Found) -> bool:
        if isinstance(pattern, Rest):
            return True
        if isinstance(pattern, Maybe):
            return value is None or self._may_match(pattern.inner, value)
        if isinstance(pattern, AnyOf):
            return any(self._may_match(item, value) for item in pattern.alternatives)
        if not isinstance(value, Value):
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


def _pair(inputs: Sequence[Pattern | None], given: Sequence[Value | None]) -> _Pairs | None:
    """The patterns with the inputs they are held against, one by one; None where their number does not fit."""
    pairs: _Pairs = []
    for index, pattern in enumerate(inputs):
        value = given[index] if index < len(given) else None
        if pattern is None:
            if value is not None:
                return None
        elif value is not None:
            pairs.append((pattern, value))
        elif not isinstance(pattern, Maybe):
            return None
    return pairs if len(given) <= len(inputs) else None


def _places_in_order(inputs: Sequence[Pattern | None], count: int) -> Iterator[tuple[int, ...]]:
    """Where the fixed inputs among `count` may stand, the rests taking what lies between, in front and behind."""
    fixed = sum(not isinstance(item, Rest) for item in inputs)
    glued = [  # whether an input stands right behind the one before it, or at the start
        index == 0 or not isinstance(inputs[index - 1], Rest)
        for index, item in enumerate(inputs)
        if not isinstance(item, Rest)
    ]
    optional = 0  # those left out at the end of what stands before the only rest
    if isinstance(inputs[-1], Rest) and all(glued):
        optional = fixed
    for places in itertools.combinations(range(max(count, optional)), fixed):
        expected = (-1, *places)
        if any(glue and place != before + 1 for glue, place, before in zip(glued, places, expected, strict=False)):
            continue
        if not isinstance(inputs[-1], Rest) and places[-1:] != (count - 1,):
            continue
        yield places


def _between(
    inputs: Sequence[Pattern | None], given: Sequence[Value | None], chosen: Sequence[int]
) -> list[tuple[Value | None, ...]]:
    """What lies between the chosen places, for each rest; of neighbouring rests the first takes all."""
    groups: list[tuple[Value | None, ...]] = []
    places = iter(chosen)
    start = 0
    for index, item in enumerate(inputs):
        if not isinstance(item, Rest):
            start = next(places) + 1
            continue
        ahead = sum(not isinstance(other, Rest) for other in inputs[:index])
        end = chosen[ahead] if ahead < len(chosen) else len(given)
        groups.append(tuple(given[start:end]))
        start = end
    return groups


def _push(pairs: _Pairs, node: Node | None, goals: _Goal) -> _Goal:
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
