"""Taking down what a pattern function describes: its roots, what it captures, how deep it is."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from irkit.errors import PassError
from irkit.pattern import AnyOf, Maybe, NodePattern, OpPattern, Pattern, PatternOps, Rest, Var, parts


@dataclass(frozen=True)
class PatternGraph:
    """A pattern as the matcher takes it.

    Attributes:
        roots: the outputs that a rewrite replaces; matching starts at the first.
        root_ops: (domain, operator) the first root may be; None for any.
        feeders: for each operator that must make an input of the first root, the (domain, operator) it may be.
        beneath: the same for the inputs of those.
        captures: names of values, nodes and attributes that a match binds.
        depth: how many nodes lie on the longest path through it.
        repeated: what is captured, and which nodes stand, only in the pattern for each input of an `op.rest`.
    """

    roots: tuple[Pattern, ...]
    root_ops: frozenset[tuple[str, str]] | None
    feeders: tuple[frozenset[tuple[str, str]], ...]
    beneath: tuple[frozenset[tuple[str, str]], ...]
    captures: frozenset[str]
    depth: int
    repeated: Mapping[Rest, frozenset[str | NodePattern]]


def trace(function: Callable[..., Any]) -> PatternGraph:
    """Call a pattern function `(op, *captures)` and take down what it describes. Raises `PassError`."""
    names = list(inspect.signature(function).parameters)
    where = getattr(function, "__qualname__", "pattern")
    if not names or names[0] != "op":
        raise PassError(f"{where}: the first parameter of a pattern is `op` (after `self` in a class)")
    result = function(PatternOps(), *(Var(name) for name in names[1:]))
    roots = tuple(result) if isinstance(result, (tuple, list)) else (result,)
    for root in roots:
        _check_root(where, root)
    items = [item for root in roots for item in _items(root)]
    captured = {name for item in items for name, _ in _captured_by(item)}
    if unused := [name for name in names[1:] if name not in captured]:
        raise PassError(f"{where}: the pattern does not use its parameter {unused[0]!r}")
    _check_captures(where, roots, items)
    depth = max(map(_depth, roots))
    repeated = {item: _only_within(item, roots) for item in items if isinstance(item, Rest) and item.each is not None}
    makers = parts(roots[0]) if isinstance(roots[0], OpPattern) else ()
    beneath = tuple(dict.fromkeys(keys for item in makers for keys in _feeders(item)))
    feeders = tuple(dict.fromkeys(_feeders(roots[0])))
    return PatternGraph(roots, _root_ops(roots[0]), feeders, beneath, frozenset(captured), depth, repeated)


def _check_root(where: str, root: Any) -> None:
    alternatives = root.alternatives if isinstance(root, AnyOf) else (root,)
    if not all(isinstance(item, OpPattern) for item in alternatives):
        raise PassError(f"{where}: a pattern returns operators, such as op.Relu(x); found {root!r}")


def _root_ops(root: Pattern) -> frozenset[tuple[str, str]] | None:
    nodes = [item.node for item in _alternatives(root)]
    return frozenset().union(*map(_keys, nodes)) if all(node.ops for node in nodes) else None


def _feeders(root: Pattern) -> tuple[frozenset[tuple[str, str]], ...]:
    if not isinstance(root, OpPattern):
        return ()
    return tuple(_keys(item.node) for item in root.node.inputs if isinstance(item, OpPattern) and item.node.ops)


def _keys(node: NodePattern) -> frozenset[tuple[str, str]]:
    return frozenset((node.domain, op) for op in node.ops)


def _alternatives(root: Pattern) -> Iterator[OpPattern]:
    for item in root.alternatives if isinstance(root, AnyOf) else (root,):
        if isinstance(item, OpPattern):
            yield item


def _items(pattern: Pattern, leave_out: Rest | None = None) -> Iterator[Pattern]:
    """A pattern and all patterns in it, each once, outputs of one node apart."""
    seen: set[int] = set()
    stack = [pattern]
    while stack:
        item = stack.pop()
        if id(item) in seen or item is leave_out:
            continue
        seen.add(id(item))
        yield item
        stack.extend(parts(item))


def _captured_by(item: Pattern) -> Iterator[tuple[str, str]]:
    """Names that a pattern itself captures, and what they stand for."""
    if isinstance(item, Var):
        yield item.name, "a value"
    elif isinstance(item, Rest) and item.name:
        yield item.name, "several values"
    elif isinstance(item, OpPattern):
        if item.node.name:
            yield item.node.name, "a node"
        yield from ((value.name, "an attribute") for value in item.node.attrs.values() if isinstance(value, Var))


def _check_captures(where: str, roots: Sequence[Pattern], items: Sequence[Pattern]) -> None:
    """Raise `PassError` where a name stands for two kinds of things, or for two nodes that match together."""
    kinds: dict[str, str] = {}
    for item in items:
        for name, kind in _captured_by(item):
            if kinds.setdefault(name, kind) != kind:
                raise PassError(f"{where}: {name!r} captures {kinds[name]} and {kind}; give one of them another name")
    known: dict[int, dict[str, set[NodePattern]]] = {}

    def nodes_of(item: Pattern) -> dict[str, set[NodePattern]]:
        if id(item) not in known:
            own = {item.node.name: {item.node}} if isinstance(item, OpPattern) and item.node.name else {}
            known[id(item)] = together([own, *map(nodes_of, parts(item))], alternatives=isinstance(item, AnyOf))
        return known[id(item)]

    def together(groups: Sequence[dict[str, set[NodePattern]]], *, alternatives: bool) -> dict[str, set[NodePattern]]:
        found: dict[str, set[NodePattern]] = {}
        for group in groups:
            for name, nodes in group.items():
                if not alternatives and not found.get(name, nodes) & nodes:
                    raise PassError(f"{where}: two nodes of the pattern are named {name!r}; rename one")
                found[name] = found.get(name, set()) | nodes
        return found

    together([nodes_of(root) for root in roots], alternatives=False)


def _only_within(rest: Rest, roots: Sequence[Pattern]) -> frozenset[str | NodePattern]:
    """Captures and nodes of the pattern for each input that stand nowhere else."""

    def things(patterns: Iterator[Pattern]) -> set[str | NodePattern]:
        found: set[str | NodePattern] = set()
        for item in patterns:
            found.update(name for name, _ in _captured_by(item))
            if isinstance(item, OpPattern):
                found.add(item.node)
        return found

    assert rest.each is not None
    outside = things(item for root in roots for item in _items(root, leave_out=rest))
    return frozenset(things(_items(rest.each)) - outside)


def instance(pattern: Pattern, own: frozenset[str | NodePattern], number: int) -> Pattern:
    """A copy of the pattern for input `number` of an `op.rest`: its own captures are numbered, its own nodes new."""
    nodes: dict[NodePattern, NodePattern] = {}

    def named(name: str) -> str:
        return f"{name}[{number}]" if name in own else name

    def copied(item: Any) -> Any:
        if not isinstance(item, Pattern):
            return item
        fresh = copy.copy(item)
        if isinstance(fresh, (Var, Rest)):
            fresh.name = named(fresh.name)
        if isinstance(fresh, Rest):
            fresh.each = copied(fresh.each)
        elif isinstance(fresh, Maybe):
            fresh.inner = copied(fresh.inner)
        elif isinstance(fresh, AnyOf):
            fresh.alternatives = tuple(map(copied, fresh.alternatives))
        elif isinstance(fresh, OpPattern) and fresh.node in own:
            fresh.node = new_node(fresh.node)
        return fresh

    def new_node(node: NodePattern) -> NodePattern:
        if node not in nodes:
            attrs = {key: copied(item) for key, item in node.attrs.items()}
            fresh = NodePattern(node.ops, node.domain, list(map(copied, node.inputs)), node.outputs, attrs)
            fresh.name, fresh.may_be_shared, fresh.checks = named(node.name), node.may_be_shared, node.checks
            nodes[node] = fresh
        return nodes[node]

    copied_pattern: Pattern = copied(pattern)
    return copied_pattern


def _depth(pattern: Pattern) -> int:
    depths: dict[int, int] = {}

    def depth(item: Pattern) -> int:
        key = id(item.node) if isinstance(item, OpPattern) else id(item)
        if key not in depths:
            below = max((depth(part) for part in parts(item)), default=0)
            depths[key] = below + isinstance(item, OpPattern)
        return depths[key]

    return depth(pattern)
