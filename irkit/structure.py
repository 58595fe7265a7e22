"""Structural hash, equality and first difference of models, on decoded canonical content.

What counts is what the text form says: operators, wiring, attributes in any order, constants by content in any order,
names, functions, operator sets, metadata, types of inputs and outputs. What does not: how a constant is held (in a
file, as an array, as one repeated element), what has been decoded so far, and, unless `annotations` is set, types of
values inside of graphs and origins of nodes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from irkit.ir import Graph, Node, Value
from irkit.model import Model
from irkit.tensor import SparseTensor, Tensor
from irkit.text.printer import Printer
from irkit.types import DType


def structural_hash(model: Model, *, names: bool = True, annotations: bool = False) -> str:
    """A hash, in hex, of all that counts. Reads every weight once.

    Args:
        model: what to hash.
        names: whether names inside of graphs count; those of the model's inputs and outputs always do.
        annotations: whether types of values inside of graphs, and origins of nodes, count.
    """
    state = hashlib.sha256()
    for text, constants in _Canonical(names, annotations).statements(model):
        state.update(text.encode("utf-8", "surrogatepass"))
        for tensor in constants:
            state.update(_content(tensor))
        state.update(b"\n")
    return state.hexdigest()


def equal(left: Model, right: Model, *, names: bool = True, annotations: bool = False) -> bool:
    """Whether all that counts is the same; see `structural_hash`. Weights at the same place of a file are not read."""
    return difference(left, right, names=names, annotations=annotations) is None


def difference(left: Model, right: Model, *, names: bool = True, annotations: bool = False) -> str | None:
    """The first difference, to be read; None where the models are equal. See `structural_hash`."""
    olds = _Canonical(names, annotations).statements(left)
    news = _Canonical(names, annotations).statements(right)
    end = Statement("(nothing more)", ())
    place = "the start"
    while True:
        old, new = next(olds, end), next(news, end)
        if old is end and new is end:
            return None
        if old.text != new.text:
            return f"after {place}:\n" + _line_difference(old.text, new.text)
        for before, after in zip(old.constants, new.constants, strict=True):
            if before != after:
                return f"the data of {before!r} differs{_element_difference(before, after)} in:\n  {old.text.strip()}"
        place = old.text.strip().partition("\n")[0]


def statements(model: Model, *, names: bool = True, annotations: bool = False) -> Statements:
    """The model in the canonical text that is hashed and compared, statement by statement; see `structural_hash`."""
    return _Canonical(names, annotations).statements(model)


class Statement(NamedTuple):
    """A line of the canonical text (or several, where a node has nested graphs), and the constants it stands for."""

    text: str
    constants: tuple[Tensor, ...]


Statements: TypeAlias = "Iterator[Statement]"


class _Canonical(Printer):
    """The text form without data, and with initializers in an order of its own; inner names may be numbers."""

    def __init__(self, names: bool, annotations: bool) -> None:
        super().__init__("elide", annotations, annotations)
        self.names = names
        self.constants: list[Tensor] = []
        self.numbers: dict[Value, str] = {}

    def statements(self, model: Model) -> Statements:
        """The model, statement by statement."""
        for value in (*model.graph.inputs, *model.graph.outputs):
            self.numbers[value] = super().ref(value)
        yield from map(self.statement, self.header(model))
        for key in sorted(model.functions):
            yield from map(self.statement, self.function(model.functions[key]))
        yield from map(self.statement, self.graph(model.graph, "graph", ""))

    def statement(self, text: str) -> Statement:
        constants, self.constants = self.constants, []
        return Statement(text, tuple(constants))

    def body(self, graph: Graph) -> Iterator[Value | Node]:
        """Initializers by name; where names do not count, after the nodes, by first use, then by content."""
        if self.names:
            yield from (graph.initializers[name] for name in sorted(graph.initializers))
            yield from graph
            return
        yield from graph
        first_use = {value: index for index, value in enumerate(self.numbers)}
        used = [value for value in graph.initializers.values() if value in first_use]
        unused = [value for value in graph.initializers.values() if value not in first_use]
        yield from sorted(used, key=first_use.__getitem__)
        yield from sorted(unused, key=_content_of)

    def ref(self, value: Value) -> str:
        if self.names:
            return super().ref(value)
        return self.numbers.setdefault(value, f"%{len(self.numbers)}")

    def graph_name(self, graph: Graph) -> str:
        return graph.name if self.names else "graph"

    def node_name(self, node: Node) -> str:
        return node.name if self.names else ""

    def constant(self, data: Tensor | SparseTensor) -> str:
        if isinstance(data, SparseTensor):
            return super().constant(data)
        self.constants.append(data)
        return "..."


def _content(tensor: Tensor) -> bytes:
    """Bytes that tell the data apart, the same however it is held."""
    element = tensor.uniform()
    if element is None:
        return tensor.digest().encode()
    bits: bytes = element if tensor.dtype == DType.STRING else element.tobytes()
    return b"uniform " + bits


def _content_of(value: Value) -> tuple[str, bytes]:
    data = value.initializer
    tensors = (data.values, data.indices) if isinstance(data, SparseTensor) else (data,)
    return repr(value.type), b"".join(_content(tensor) for tensor in tensors if tensor is not None)


def _line_difference(old: str, new: str) -> str:
    """The first pair of lines that differ."""
    olds, news = old.splitlines(), new.splitlines()
    for before, after in zip(olds, news, strict=False):
        if before != after:
            return f"- {before.strip()}\n+ {after.strip()}"
    return f"- {len(olds)} lines\n+ {len(news)} lines"


def _element_difference(old: Tensor, new: Tensor) -> str:
    """Where the first element differs."""
    for index, (before, after) in enumerate(zip(old.numpy().flat, new.numpy().flat, strict=False)):
        if before != after:
            return f" at element {index}: {before} became {after}"
    return " in the bits of a NaN or a zero"
