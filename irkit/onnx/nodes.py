"""NodeProto becomes a node of a graph, and the nodes of a graph are linked and put in order.

Together with `graphs.py` this is the one place that builds graphs in bulk, writing the private fields of the IR instead
of going through the door of edits: no journal is attached yet, and a large model has to be there in a blink.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit import edits
from irkit.attributes import Attributes
from irkit.errors import GraphError, ModelError
from irkit.ir import Graph, Node, Value
from irkit.onnx.attrs import LazyAttrs, decode_attributes
from irkit.onnx.tensors import Origin
from irkit.onnx.wire import COPY_LIMIT, Buffer, Span, fields

if TYPE_CHECKING:
    from irkit.onnx.graphs import GraphReader

Scope: TypeAlias = "tuple[dict[str, Value], ...]"
"""Values of the enclosing graphs, innermost first."""

Range: TypeAlias = "tuple[int, int]"

_NO_ATTRS = Attributes()
_GRAPH_OPS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_MAY_BE_OPEN = re.compile(rb"\xa0\x01[\x05\x0a]|\x70\x01")
"""What "type: GRAPH(S)" and a tensor's "data_location: EXTERNAL" look like; other bytes may look so too."""


class NodeBuilder:
    """Builds the nodes of one graph, in two steps: nodes first, then what refers forward or is nested."""

    def __init__(self, reader: GraphReader, graph: Graph, outer: Scope) -> None:
        self._reader = reader
        self._graph = graph
        self._outer = outer
        self._pending: list[tuple[Node, list[Any]]] = []
        self._nested: list[tuple[Node, Buffer, Range]] = []

    def node(self, data: Buffer, pos: int, end: int) -> None:
        """Read one node and append it to the graph."""
        texts, values = self._reader.texts, self._graph._values
        inputs: list[Any] = []
        outputs: list[str] = []
        name = op = ""
        attrs: list[Range] = []
        rare: list[Range] = []
        unknown = False
        while pos < end:
            begin, tag, length = pos, data[pos], data[pos + 1]
            pos += 2
            if tag > 127 or length > 127:
                _, _, pos, length = next(fields(data, begin, end))
                length -= pos
            stop = pos + length if tag & 7 == 2 else next(fields(data, begin, end)).end
            if tag == 0x0A:
                text = data[pos:stop].decode()
                value = values.get(text)
                unknown = unknown or (value is None and text != "")
                inputs.append(value or text)
            elif tag == 0x12:
                outputs.append(data[pos:stop].decode())
            elif tag == 0x2A:
                attrs.append((begin, stop))
            elif tag == 0x22:
                op = texts.get(data[pos:stop]) or _shared(texts, data[pos:stop])
            elif tag == 0x1A and length:
                name = data[pos:stop].decode()
            else:
                rare.append((begin, stop))
            pos = stop
        if pos > end:
            raise ModelError(f"truncated or damaged: node {name!r}")
        node = self._append(op, name, outputs)
        if rare:
            self._set_rare(node, data, rare)
        if unknown:
            self._pending.append((node, inputs))
        else:
            _use(node, inputs)
        if attrs:
            self._set_attributes(node, data, attrs)

    def _set_rare(self, node: Node, data: Buffer, ranges: list[Range]) -> None:
        """Domain, doc string, metadata, an empty name or domain that is spelled out, and unknown fields."""
        head = doc = rest = b""
        for start, end in ranges:
            item = next(fields(data, start, end))
            if item.tag == 0x3A and item.value < end:
                node._domain = _shared(self._reader.texts, data[item.value : end])
            elif item.tag == 0x1A:
                head = data[start:end]
            elif item.tag in (0x32, 0x3A):
                doc += data[start:end]
            else:
                rest += data[start:end]
        if head or doc or rest:
            node._extra = self._reader.extra((head, doc, rest))

    def _append(self, op: str, name: str, outputs: list[str]) -> Node:
        graph = self._graph
        node: Node = _new_node(Node)
        node._op, node._domain, node._name = op, "", name
        node._attrs, node._lazy_attrs = _NO_ATTRS, None
        node._extra = node._origin = node._home = None
        node._inputs = node._outputs = ()
        node.graph = graph
        node._next = None
        last = node._prev = graph._last
        if last is None:
            graph._first = node
        else:
            last._next = node
        graph._last = node
        graph._length += 1
        made = []
        for index, text in enumerate(outputs):
            value = Value(text)
            value.producer, value.index = node, index
            made.append(value)
            if text:
                if text in graph._values:
                    raise ModelError(defined_twice(text, f"an output of node {node!r}"))
                graph._values[text] = value
        node._outputs = tuple(made)
        return node

    def _set_attributes(self, node: Node, data: Buffer, attrs: list[Range]) -> None:
        reader = self._reader
        start, end = attrs[0][0], attrs[-1][1]
        if end - start != sum(b - a for a, b in attrs):  # not in a row
            data = b"".join([data[a:b] for a, b in attrs])
            start, end = 0, len(data)
        if end - start > COPY_LIMIT and data is reader._data and reader._origin.source is not None:
            self._leave(node, LazyAttrs(Span(reader._origin.source, start, end), reader._origin), data, (start, end))
            return
        raw = data[start:end]
        lazy = reader._attrs.get(raw)
        if lazy is not None:
            node._attrs, node._lazy_attrs = None, lazy
            return
        lazy = LazyAttrs(raw, reader._origin)
        if self._reader._ir_version < 3 or node._op in _GRAPH_OPS or _MAY_BE_OPEN.search(raw):
            self._leave(node, lazy, data, (start, end))
        else:
            node._attrs, node._lazy_attrs = None, lazy
            reader._attrs[raw] = lazy

    def _leave(self, node: Node, lazy: LazyAttrs, data: Buffer, where: Range) -> None:
        """Leave the attributes encoded, unless they hold graphs or data of other files."""
        if _is_open(data, *where):
            self._nested.append((node, data, where))
        else:
            node._attrs, node._lazy_attrs = None, lazy

    def finish(self) -> None:
        """Resolve forward and outer references, read nested graphs, and put the nodes in order if they are not."""
        own, scope = self._graph._values, (self._graph._values, *self._outer)
        sorted_ = True
        for node, inputs in self._pending:
            for slot, item in enumerate(inputs):
                if isinstance(item, str) and item:
                    value = inputs[slot] = find(item, scope)
                    if value is None:
                        raise ModelError(f"node {node!r} reads {item!r}, which nothing defines")
                    sorted_ = sorted_ and item not in own
            _use(node, inputs)
        for node, data, where in self._nested:
            self._open(node, data, where, scope)
        if not (sorted_ and self._captures_in_order()):
            _sort(self._graph)

    def _open(self, node: Node, data: Buffer, where: Range, scope: Scope) -> None:
        reader = self._reader

        def nested(data: Buffer, start: int, end: int) -> Graph:
            graph = reader.graph(data, start, end, scope)
            graph.owner = node
            return graph

        node._attrs = decode_attributes(data, *where, Origin(reader.source_of(data), reader._origin.files), nested)

    def _captures_in_order(self) -> bool:
        """Whether nodes with nested graphs follow what those graphs read."""
        if not self._nested:
            return True
        place = {node: index for index, node in enumerate(self._graph)}
        return all(
            place[source] < place[node] for node, *_ in self._nested for source in edits.needed(node, self._graph)
        )


_new_node = object.__new__


def _shared(texts: dict[bytes, str], raw: bytes) -> str:
    """The text, one object for equal ones."""
    text = texts.get(raw)
    if text is None:
        text = texts[raw] = raw.decode()
    return text


def _use(node: Node, inputs: list[Any]) -> None:
    """Let the node read these values; "" is one left out."""
    node._inputs = tuple([value or None for value in inputs])
    for value in inputs:
        if value:
            users = value._users
            users[node] = users.get(node, 0) + 1


def find(name: str, scope: Scope) -> Value | None:
    """The value of that name in the innermost graph that has one."""
    for values in scope:
        if name in values:
            return values[name]
    return None


def _sort(graph: Graph) -> None:
    try:
        order = list(edits.stable_order(graph))
    except GraphError as error:
        raise ModelError(f"graph {graph.name!r}: {error}") from None
    for before, after in zip([None, *order], [*order, None], strict=True):
        edits.join(graph, before, after)


def defined_twice(name: str, what: str) -> str:
    """The message for a value that has another one's name, or none."""
    return f"{what} is called {name!r}, as another value is" if name else f"{what} has no name"


def _is_open(data: Buffer, start: int, end: int) -> bool:
    """Whether an attribute between two offsets holds a graph, or a tensor whose data is in another file."""
    return any(_holds_graph_or_file(data, item.value, item.end) for item in fields(data, start, end))


def _holds_graph_or_file(data: Buffer, start: int, end: int) -> bool:
    for item in fields(data, start, end):
        number = item.tag >> 3
        if number in (6, 11):
            return True
        if number in (5, 10):
            parts = fields(data, item.value, item.end)
            if any(part.tag == 0x70 and part.value == 1 for part in parts):
                return True
        if number in (22, 23) and data[item.value : item.end].find(b"\x70\x01") >= 0:
            return True
        if number in (2, 3, 4, 7, 8, 9, 14, 15):  # plain values, perhaps very many
            return False
    return False
