"""The matcher finds what trying everything finds: on random small graphs and patterns, against a plain search."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings, strategies as st

from irkit import Model, Node, Pattern, PatternOps, Value, parse_model
from irkit.matcher import Matcher
from irkit.pattern_graph import trace

ONE, TWO, MANY = ("Neg", "Relu"), ("Add", "Mul", "Sub"), ("Sum", "Concat")
COMMUTATIVE = {"Add", "Mul", "Sum"}


@dataclass(frozen=True, eq=False)
class Part:
    """A pattern as plain data: a variable `name`, an operator `op` over parts, `any` of parts, or a `rest`."""

    kind: str
    name: str = ""
    parts: tuple[Part, ...] = ()


@st.composite
def graphs(draw: st.DrawFn) -> Model:
    """A few nodes that read each other; every value may be read anywhere behind it."""
    values, lines = ["x", "z"], []
    for index in range(draw(st.integers(2, 7))):
        op = draw(st.sampled_from(ONE + TWO + MANY))
        count = 1 if op in ONE else 2 if op in TWO else draw(st.integers(1, 3))
        read = ", ".join(f"%{draw(st.sampled_from(values))}" for _ in range(count))
        lines.append(f"%v{index} = {op}({read}){' {axis=0}' if op == 'Concat' else ''}")
        values.append(f"v{index}")
    return parse_model(f"opset 17 graph(%x: float32[2], %z: float32[2]) -> (%{values[-1]}) {{ {' '.join(lines)} }}")


@st.composite
def patterns(draw: st.DrawFn, depth: int = 3) -> Part:
    """A pattern over those operators, in which parts may stand twice."""
    made: list[Part] = []

    def part(left: int) -> Part:
        kinds = ["var", "op", "op", "any", *(["again"] if made else [])] if left else ["var"]
        kind = draw(st.sampled_from(kinds))
        if kind == "again":
            return draw(st.sampled_from(made))
        if kind == "var":
            return Part("var", draw(st.sampled_from("abc")))
        if kind == "any":
            return Part("any", parts=(part(left - 1), part(left - 1)))
        return operator(left)

    def operator(left: int) -> Part:
        op = draw(st.sampled_from(ONE + TWO + MANY))
        count = 1 if op in ONE else 2 if op in TWO else draw(st.integers(1, 3))
        parts = [part(left - 1) for _ in range(count)]
        if op in MANY and draw(st.booleans()):
            parts.insert(draw(st.integers(0, count)), Part("rest", draw(st.sampled_from("rs"))))
        found = Part("op", op, tuple(parts))
        made.append(found)
        return found

    return operator(depth)


@st.composite
def searches(draw: st.DrawFn) -> tuple[Model, Part]:
    """A graph, and a pattern cut out of it and then changed here and there, so that large parts of it match."""
    model = draw(graphs())
    letters = {value: draw(st.sampled_from("abcdefghijkl")) for value in model.graph.values.values()}
    made: dict[Value, Part] = {}

    def cut(value: Value, left: int) -> Part:
        node = value.producer
        if value in made and draw(st.booleans()):
            return made[value]
        if node is None or not left or not draw(st.integers(0, 6)):
            return Part("var", letters[value])
        if not draw(st.integers(0, 6)):
            pair = (draw(patterns(1)), cut(value, left - 1))
            return Part("any", parts=pair if draw(st.booleans()) else pair[::-1])
        parts = [cut(item, left - 1) for item in node.inputs if item is not None]
        if node.op in COMMUTATIVE:
            parts = draw(st.permutations(parts))
        if node.op in MANY and draw(st.booleans()):
            parts[draw(st.integers(0, len(parts) - 1))] = Part("rest", draw(st.sampled_from("rs")))
            parts = [item for index, item in enumerate(parts) if item.kind != "rest" or item not in parts[:index]]
        made[value] = Part("op", node.op, tuple(parts))
        return made[value]

    value = draw(st.sampled_from([node.output for node in model.graph][-3:]))
    found = cut(value, 4)
    return model, found if found.kind == "op" else draw(patterns())


def names_of(part: Part) -> set[str]:
    own = {part.name} if part.kind in ("var", "rest") else set()
    return own.union(*(names_of(item) for item in part.parts)) if part.parts else own


def traced(part: Part) -> Any:
    """The pattern as irkit takes it."""
    names = sorted(names_of(part))
    known: dict[int, Pattern] = {}

    def build(op: PatternOps, variables: dict[str, Pattern], item: Part) -> Pattern:
        if id(item) not in known:
            parts = [build(op, variables, inner) for inner in item.parts]
            if item.kind == "op":
                known[id(item)] = op.any_op(item.name)(*parts)
            elif item.kind == "any":
                known[id(item)] = op.any_of(*parts)
            else:
                variable = variables[item.name]
                known[id(item)] = variable if item.kind == "var" else op.rest(variable)
        return known[id(item)]

    def function(op: PatternOps, *variables: Pattern) -> Pattern:
        return build(op, dict(zip(names, variables, strict=True)), part)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in ["op", *names]])  # type: ignore[attr-defined]
    return trace(function)


Bound = dict[Any, Any]


def bind(bound: Bound, key: Any, item: Any) -> Iterator[Bound]:
    if key not in bound:
        yield {**bound, key: item}
    elif bound[key] == item:
        yield bound


def solutions(part: Part, value: Value, bound: Bound) -> Iterator[Bound]:
    """Every way in which a value matches, by trying all."""
    if part.kind == "var":
        yield from bind(bound, part.name, value)
    elif part.kind == "any":
        for item in part.parts:
            yield from solutions(item, value, bound)
    elif value.producer is not None and value.producer.op == part.name:
        for found in bind(bound, id(part), value.producer):
            if id(part) in bound:
                yield found
            else:
                for pairs in pairings(part, value.producer):
                    yield from all_of(pairs, found)


def all_of(pairs: list[tuple[Part, Any]], bound: Bound) -> Iterator[Bound]:
    if not pairs:
        yield bound
        return
    (part, item), *others = pairs
    found = bind(bound, part.name, item) if part.kind == "rest" else solutions(part, item, bound)
    for each in found:
        yield from all_of(others, each)


def pairings(part: Part, node: Node) -> Iterator[list[tuple[Part, Any]]]:
    """Every way to pair the parts of an operator with the inputs of a node."""
    inputs, fixed = list(node.inputs), [item for item in part.parts if item.kind != "rest"]
    rests = [item for item in part.parts if item.kind == "rest"]
    if len(inputs) < len(fixed) or (not rests and len(inputs) != len(fixed)):
        return
    before = next((index for index, item in enumerate(part.parts) if item.kind == "rest"), len(fixed))
    places = range(len(inputs))
    straight = (*places[:before], *places[len(inputs) - (len(fixed) - before) :])
    orders = itertools.permutations(places, len(fixed)) if node.op in COMMUTATIVE else [straight]
    for order in orders:
        left = tuple(inputs[place] for place in places if place not in order)
        yield [*zip(fixed, (inputs[place] for place in order), strict=True), *((rest, left) for rest in rests)]


@given(st.one_of(searches(), st.tuples(graphs(), patterns())))
@settings(max_examples=300, deadline=None)
def test_the_matcher_finds_what_trying_everything_finds(search: tuple[Model, Part]) -> None:
    model, part = search
    names = names_of(part)
    matcher = Matcher(traced(part))
    for node in model.graph:
        expected = [{name: found.get(name) for name in names} for found in solutions(part, node.output, {})]
        match = matcher.match(node)
        assert (match is not None) == bool(expected), node
        assert not matcher.gave_up
        if match is not None:
            assert dict(match.captures) in expected


@given(searches())
@settings(max_examples=100, deadline=None)
def test_remembering_what_cannot_match_changes_nothing(search: tuple[Model, Part]) -> None:
    model, part = search
    fresh = {node: Matcher(traced(part)).match(node) for node in model.graph}
    matcher = Matcher(traced(part))
    matcher._possible[-1, next(iter(model.graph)).output] = False  # so that it remembers from the first step on
    matcher._position = model.journal.position
    for node in model.graph:
        found, expected = matcher.match(node), fresh[node]
        assert (found is None) == (expected is None)
        assert found is None or expected is None or dict(found.captures) == dict(expected.captures)


def test_the_plain_search_finds_and_rejects() -> None:
    model = parse_model("opset 17 graph(%x: float32[2]) -> (%y) { %n = Neg(%x) %y = Add(%x, %n) }")
    wanted = Part("op", "Add", (Part("op", "Neg", (Part("var", "a"),)), Part("var", "a")))
    output = model.graph.values["y"]
    assert [found["a"].name for found in solutions(wanted, output, {})] == ["x"]
    assert list(solutions(Part("op", "Sub", wanted.parts), output, {})) == []
