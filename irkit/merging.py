"""Bringing the changes that were made to a copy of a model into the model itself, as edits that can be undone.

The copy went through an object of another package, which may hold less than the model: what differs between the copy
before and after the change is brought over, and nothing else. Nodes are known by the names of their outputs, values by
their names.

Changes that hang together form a *region*: nodes and constants that read what another changed one makes, or made. Each
region can be brought over without the others, so that a wrong one can be taken back by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeAlias

from irkit.copying import Copier
from irkit.errors import GraphError
from irkit.ir import Graph, Node, Value
from irkit.model import Function, Model

Grouping: TypeAlias = "Callable[[Region], AbstractContextManager[bool]]"
"""Opens the journal's group of a region; gives False where it must not be brought over."""

_FIELDS = (
    "opset_imports",
    "ir_version",
    "metadata",
    "producer_name",
    "producer_version",
    "domain",
    "model_version",
    "doc",
)


@dataclass
class Region:
    """Changes that hang together: node pairs before and after (None where there is none), and names of constants."""

    nodes: list[tuple[Node | None, Node | None]] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        """The name of its first node, that of the model where there is one."""
        names = [old or new for old, new in self.nodes]
        named = [node.name or node.output.name for node in names if node is not None]
        return named[0] if named else self.constants[0]

    @property
    def lost(self) -> set[str]:
        """Names of values that are made before and not after."""
        made = [{name for node in nodes if node is not None for name in _names(node.outputs)} for nodes in self._sides]
        return made[0] - made[1]

    @property
    def _sides(self) -> tuple[list[Node | None], list[Node | None]]:
        return [old for old, _ in self.nodes], [new for _, new in self.nodes]


def merge(model: Model, before: Model, after: Model, group: Grouping) -> int:
    """Bring what became of `before` in `after` into `model`, of which `before` is a copy (or which it is).

    Returns how many regions were brought over. Raises `GraphError` where inputs or outputs are others, or the changes
    cannot stand in the model.
    """
    _check_signature(before, after)
    _merge_fields(model, before, after)
    olds, news = _by_output(before.graph), _by_output(after.graph)
    pairs = {key: (olds.get(key), news.get(key)) for key in [*olds, *news]}
    changed = {key: pair for key, pair in pairs.items() if not _same(*pair)}
    constants = _changed_constants(before.graph, after.graph)
    merger, done = _Merger(model, after), 0
    for region in _regions(changed, constants):
        with group(region) as allowed:
            if allowed:
                merger.bring(region)
                done += 1
    _merge_annotations(model, [pair for key, pair in pairs.items() if key not in changed])
    if done:
        model.graph.sort()
    return done


def _check_signature(before: Model, after: Model) -> None:
    """Raise `GraphError` unless inputs and outputs are the same, in the same order."""
    for what, old, new in (
        ("inputs", *(_fed(model.graph) for model in (before, after))),
        ("outputs", *([value.name for value in model.graph.outputs] for model in (before, after))),
    ):
        if old != new:
            raise GraphError(f"the {what} {old} became {new}; a pass keeps their names and order")


def _fed(graph: Graph) -> list[str]:
    return [value.name for value in graph.inputs if not value.is_initializer]


def _merge_fields(model: Model, before: Model, after: Model) -> None:
    for name in _FIELDS:
        if getattr(before, name) != getattr(after, name):
            model.set_field(name, getattr(after, name))
    if not _same_functions(before.functions, after.functions):
        model.set_field("functions", dict(after.functions))
    for old, new in zip(
        [*before.graph.inputs, *before.graph.outputs], [*after.graph.inputs, *after.graph.outputs], strict=False
    ):
        if old.name == new.name and old.type != new.type and new.type is not None and old.name in model.graph.values:
            model.graph.values[old.name].type = new.type


def _same_functions(old: Mapping[tuple[str, str, str], Function], new: Mapping[tuple[str, str, str], Function]) -> bool:
    return old.keys() == new.keys() and all(
        old[key].attributes == new[key].attributes
        and list(old[key].defaults) == list(new[key].defaults)
        and old[key].opset_imports == new[key].opset_imports
        and _same_graph(old[key].graph, new[key].graph)
        for key in old
    )


def _by_output(graph: Graph) -> dict[tuple[str, ...], Node]:
    """The nodes by the names of their outputs."""
    return {tuple(value.name for value in node.outputs): node for node in graph}


def _names(values: Sequence[Value | None]) -> list[str]:
    return ["" if value is None else value.name for value in values]


def _same(old: Node | None, new: Node | None) -> bool:
    """Whether two nodes compute the same from values of the same names."""
    if old is None or new is None:
        return False
    return (
        (old.op, old.domain, old.extra.overload) == (new.op, new.domain, new.extra.overload)
        and _names(old.inputs) == _names(new.inputs)
        and _names(old.outputs) == _names(new.outputs)
        and old.attrs.keys() == new.attrs.keys()
        and all(_same_attr(old, new, name) for name in old.attrs)
    )


def _same_attr(old: Node, new: Node, name: str) -> bool:
    one, other = old.attrs.get(name), new.attrs.get(name)
    if one is None or other is None:
        return one is other
    if one.kind != other.kind or len(one.graphs) != len(other.graphs):
        return False
    return all(map(_same_graph, one.graphs, other.graphs)) if one.graphs else one == other


def _same_graph(old: Graph, new: Graph) -> bool:
    return (
        _names(old.inputs) == _names(new.inputs)
        and _names(old.outputs) == _names(new.outputs)
        and not _changed_constants(old, new)
        and len(old) == len(new)
        and all(map(_same, old, new))
    )


def _changed_constants(old: Graph, new: Graph) -> list[str]:
    """Names of stored constants that came, went, or hold other data."""
    names = dict.fromkeys([*old.initializers, *new.initializers])
    return [name for name in names if not _same_data(old.initializers.get(name), new.initializers.get(name))]


def _same_data(old: Value | None, new: Value | None) -> bool:
    return old is not None and new is not None and bool(old.initializer == new.initializer)


def _regions(
    changed: Mapping[tuple[str, ...], tuple[Node | None, Node | None]], constants: Sequence[str]
) -> Iterator[Region]:
    """What changed, in regions, in the order of their first nodes."""
    items: list[tuple[tuple[Node | None, Node | None] | str, set[str], set[str]]] = []
    for pair in changed.values():
        nodes = [node for node in pair if node is not None]
        made = {name for node in nodes for name in _names(node.outputs) if name}
        items.append((pair, made, {value.name for node in nodes for value in node.reads()}))
    items += [(name, {name}, set()) for name in constants]
    parent = list(range(len(items)))

    def find(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    makers: dict[str, int] = {}
    for index, (_, made, _) in enumerate(items):
        for name in made:
            parent[find(index)] = find(makers.setdefault(name, index))
    for index, (_, _, read) in enumerate(items):
        for name in read & makers.keys():
            parent[find(index)] = find(makers[name])
    regions: dict[int, Region] = {}
    for index, (item, _, _) in enumerate(items):
        region = regions.setdefault(find(index), Region())
        if isinstance(item, str):
            region.constants.append(item)
        else:
            region.nodes.append(item)
    yield from regions.values()


class _Merger:
    """What all regions ask of the model and of the changed copy."""

    def __init__(self, model: Model, after: Model) -> None:
        self.model = model
        self.graph = model.graph
        self.after = after.graph
        self.live = _by_output(model.graph)
        self.node_names = {node.name for node in model.graph}
        self.place = {node: index for index, node in enumerate(after.graph)}

    def node(self, old: Node) -> Node:
        """The model's node for one of the copy before the change."""
        return self.live[_key(old)]

    def bring(self, region: Region) -> None:
        """Bring a region over."""
        _RegionMerge(self, region).run()


class _RegionMerge:
    """Brings one region into the model."""

    def __init__(self, merger: _Merger, region: Region) -> None:
        self.merger = merger
        self.graph = merger.graph
        self.after = merger.after
        pairs = region.nodes
        self.edited = [(merger.node(old), old, new) for old, new in pairs if old is not None and new is not None]
        self.removed = [merger.node(old) for old, new in pairs if old is not None and new is None]
        self.added = sorted(
            (new for old, new in pairs if old is None and new is not None), key=merger.place.__getitem__
        )
        self.stored = [name for name in region.constants if name in self.after.initializers]
        gone = (self.graph.initializers.get(name) for name in region.constants if name not in self.after.initializers)
        self.gone = [value for value in gone if value is not None]
        self.copier = Copier(self._known)

    def run(self) -> None:
        """Free the names that are given anew, put in what is new, let readers read it, and take out what is gone."""
        replaced = self._free_names()
        for name in self.stored:
            self._store(name)
        for node in self.added:
            self._insert(node)
        for node, old, new in self.edited:
            self._edit(node, new)
            _annotate(node, old, new)
        self._rewire(replaced)
        for node in reversed(self.removed):  # as they stood in the graph, readers last
            self.graph.remove(node)
        for value in self.gone:
            self.graph.remove_initializer(value)

    def _known(self, value: Value) -> Value:
        """The model's value of that name."""
        found = self.graph.values.get(value.name)
        if found is None:
            raise GraphError(f"the value {value.name!r} is read, and nothing makes it")
        return found

    def _free_names(self) -> dict[str, Value]:
        """Rename values whose names something new has; by their names before."""
        wanted = [*self.stored, *(value.name for node in self.added for value in node.outputs if value.name)]
        replaced = {}
        for name in wanted:
            old = self.graph.values.get(name)
            if old is None or (old.is_initializer and name in self.stored):
                continue
            if old.is_graph_input:
                raise GraphError(f"{name!r} is an input, and a node or constant of that name is new")
            old.name = self.graph.fresh_name(f"{name}_replaced")
            replaced[name] = old
        return replaced

    def _store(self, name: str) -> None:
        data = self.after.initializers[name].initializer
        assert data is not None
        old = self.graph.initializers.get(name)
        if old is not None:
            old.set_initializer(data)
            return
        added = self.graph.add_initializer(name, data)
        added.name = name  # which was another value's before, and is free by now

    def _insert(self, node: Node) -> None:
        copy = self.copier.node(node)
        if copy.name in self.merger.node_names - {other.name for other in self.removed}:
            copy.name = self.merger.model.fresh_node_name(copy.name)
        copy.set_origin([*self.removed, *(edited for edited, *_ in self.edited)])
        self.graph.insert(copy, before=self._anchor(node))

    def _anchor(self, node: Node) -> Node | None:
        """The next node of the changed graph that the model has."""
        follower = node.next
        while follower is not None:
            value = self.graph.values.get(follower.output.name) if follower.outputs else None
            if value is not None and value.producer is not None and value.producer.graph is self.graph:
                return value.producer
            follower = follower.next
        return None

    def _edit(self, node: Node, new: Node) -> None:
        node.set_op(new.op, new.domain)
        for name in {**node.attrs, **new.attrs}:
            if name not in new.attrs:
                node.set_attr(name, None)
            elif not _same_attr(node, new, name):
                node.set_attr(name, self.copier.attr(new.attrs[name]))
        node.set_inputs([self.copier.value(value) for value in new.inputs])

    def _rewire(self, replaced: Mapping[str, Value]) -> None:
        """Let all that reads a replaced value by its name read the new one; graph outputs too."""
        for name, old in replaced.items():
            new = self.graph.values[name]
            new.type = new.type or old.type
            old.replace_all_uses(new)
        if any(value in replaced.values() for value in self.graph.outputs):
            self.graph.set_outputs([self.graph.values.get(value.name, value) for value in self.after.outputs])


def _key(node: Node) -> tuple[str, ...]:
    return tuple(value.name for value in node.outputs)


def _merge_annotations(model: Model, pairs: Sequence[tuple[Node | None, Node | None]]) -> None:
    """Bring over new names, doc strings and metadata of nodes that compute what they did."""
    live = _by_output(model.graph)
    for old, new in pairs:
        assert old is not None
        assert new is not None
        node = live.get(_key(old))
        if node is not None:
            _annotate(node, old, new)


def _annotate(node: Node, old: Node, new: Node) -> None:
    """Bring over what a node was given as its name, doc string, metadata and overload."""
    if new.name and new.name != old.name:
        node.name = new.name
    if _carried(old) != _carried(new):
        node.extra = new.extra


def _carried(node: Node) -> tuple[str, dict[str, str], str]:
    return node.extra.doc, dict(node.metadata), node.extra.overload
