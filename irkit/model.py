"""Models and functions: what a file holds around its main graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from irkit import edits
from irkit.attributes import Attr
from irkit.ir import Graph, Node, Value
from irkit.journal import Journal
from irkit.source import SourceFile


class Function:
    """A function a model defines: a graph that nodes call by (domain, name, overload).

    Args:
        domain, name, overload: how nodes call it.
        graph: its body; inputs and outputs are the function's.
        attributes: names of attributes a call must give.
        defaults: attributes a call may leave out.
        opset_imports: operator sets its body is written in.
        extra: encoded fields the reader left as they are.
    """

    def __init__(
        self,
        domain: str,
        name: str,
        graph: Graph,
        *,
        overload: str = "",
        attributes: Sequence[str] = (),
        defaults: Sequence[Attr] = (),
        opset_imports: Mapping[str, int] | None = None,
        doc: str = "",
        extra: Any = None,
    ) -> None:
        self.domain = domain
        self.name = name
        self.overload = overload
        self.graph = graph
        self.attributes = tuple(attributes)
        self.defaults = tuple(defaults)
        self.opset_imports = dict(opset_imports or {})
        self.doc = doc
        self.extra = extra

    @property
    def key(self) -> tuple[str, str, str]:
        """How nodes call it."""
        return self.domain, self.name, self.overload

    def __repr__(self) -> str:
        return f"Function({self.domain}::{self.name})"


class Model:
    """An ONNX model: the main graph, functions, operator sets, and what else the file records.

    A model may hold files open, from which it reads weights when they are asked for; `close` it, or use it as a
    context manager, to let them go. Fields are set with `set_field`, so that the journal knows of it.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        opset_imports: Mapping[str, int],
        ir_version: int = 8,
        functions: Sequence[Function] = (),
        metadata: Mapping[str, str] | None = None,
        producer_name: str = "",
        producer_version: str = "",
        domain: str = "",
        model_version: int = 0,
        doc: str = "",
        extra: Any = None,
        sources: Sequence[SourceFile] = (),
    ) -> None:
        self.graph = graph
        self.opset_imports: Mapping[str, int] = {_domain(key): version for key, version in opset_imports.items()}
        self.ir_version = ir_version
        self.functions: Mapping[tuple[str, str, str], Function] = {function.key: function for function in functions}
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.producer_name = producer_name
        self.producer_version = producer_version
        self.domain = domain
        self.model_version = model_version
        self.doc = doc
        self.extra = extra
        self.sources = list(sources)
        self.journal = Journal()
        self._names: _Names | None = None
        self._node_names: _Names | None = None
        for root in self.roots:
            root._model = self

    @property
    def opset(self) -> int:
        """Version of ONNX's own operator set; 1 where the model does not import it."""
        return self.opset_imports.get("", 1)

    @property
    def roots(self) -> list[Graph]:
        """The main graph and the bodies of the functions."""
        return [self.graph, *(function.graph for function in self.functions.values())]

    def walk_graphs(self) -> Iterator[Graph]:
        """Every graph: roots, each followed by what is nested in it."""
        for root in self.roots:
            yield from root.walk_graphs()

    def walk(self) -> Iterator[Node]:
        """Every node of every graph, function bodies included."""
        for root in self.roots:
            yield from root.walk()

    def values(self) -> Iterator[Value]:
        """Every named value of every graph."""
        for graph in self.walk_graphs():
            yield from graph.values.values()

    def set_field(self, name: str, value: Any) -> None:
        """Set `opset_imports`, `ir_version`, `metadata`, `functions` or a text field, through the journal."""
        if not hasattr(self, name) or name in ("graph", "journal", "sources"):
            raise AttributeError(f"a model has no settable field {name!r}")
        old = getattr(self, name)
        if value != old:
            edits.edit(self.graph, "model", _set_field, self, (name, old), (name, value))

    def fresh_name(self, base: str) -> str:
        """A value name nobody in the model uses, and none has used since it was loaded."""
        if self._names is None:
            self._names = _Names(name for graph in self.walk_graphs() for name in graph.values)
        return self._names.fresh(base)

    def fresh_node_name(self, base: str) -> str:
        """The same for node names."""
        if self._node_names is None:
            self._node_names = _Names(node.name for node in self.walk())
        return self._node_names.fresh(base)

    def reserve(self, name: str) -> None:
        """Never give out this value name as fresh."""
        if self._names is not None:
            self._names.add(name)

    def name_node(self, node: Node) -> None:
        """Name a node that enters the model, or never give its name out as fresh."""
        if not node.name:
            node._name = self.fresh_node_name(node.op)
        elif self._node_names is not None:
            self._node_names.add(node.name)

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Take back every edit made inside, as if it had not been: names it took are free again."""
        mark, names = self.journal.position, (self._names, self._node_names)
        self._names = self._node_names = None
        try:
            yield
        finally:
            self.journal.undo_to(mark)
            self._names, self._node_names = names

    def close(self) -> None:
        """Let go of the files it reads from. Weights not yet read can no longer be."""
        for source in self.sources:
            source.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Model({self.graph.name!r}, opset {self.opset}, {len(self.graph)} nodes)"


def _set_field(model: Model, state: tuple[str, Any]) -> None:
    setattr(model, *state)
    for root in model.roots:
        root._model = model


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


class _Names:
    """Names that were ever taken; they only grow, so that an undone edit can be redone."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def add(self, name: str) -> None:
        self._taken.add(name)

    def fresh(self, base: str) -> str:
        name = base
        count = self._next.get(base, 0)
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._next[base] = count
        self._taken.add(name)
        return name
