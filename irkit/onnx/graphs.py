"""GraphProto and NodeProto become graphs and nodes.

This is the one place that builds graphs in bulk, writing the private fields of the IR instead of going through the door
of edits: no journal is attached yet, and a large model has to be there in a blink.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

from irkit import edits
from irkit.attributes import Attr
from irkit.errors import GraphError, ModelError
from irkit.ir import Graph, Node, Value
from irkit.onnx import wire
from irkit.onnx.attrs import LazyAttrs, decode_attributes
from irkit.onnx.extras import Annotation, GraphExtra, LazyExtra
from irkit.onnx.tensors import Origin, decode_sparse, decode_tensor
from irkit.onnx.typeinfo import TypeInfo
from irkit.onnx.wire import COPY_LIMIT, Buffer, Span, fields, read_varint
from irkit.source import SourceFile
from irkit.types import SparseTensorType, TensorType

Scope: TypeAlias = "tuple[dict[str, Value], ...]"
"""Values of the enclosing graphs, innermost first."""

Range: TypeAlias = "tuple[int, int]"

_NO_ATTRS: dict[str, Attr] = {}
_GRAPH_OPS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_MAY_BE_OPEN = re.compile(rb"\xa0\x01[\x05\x0a]|\x70\x01")
"""Attributes that say "type: GRAPH(S)", or a tensor that says "data_location: EXTERNAL"; other bytes may look so too."""


@dataclass
class _Parts:
    """Where the fields of a GraphProto lie, by field number."""

    found: dict[int, list[Range]]
    unknown: bytes

    def get(self, number: int) -> list[Range]:
        return self.found[number]


class GraphReader:
    """Reads the graphs of one model.

    Args:
        data: the whole file.
        origin: where it comes from.
        ir_version: below 4, initializers listed among the inputs are constants.
    """

    def __init__(self, data: Buffer, origin: Origin, ir_version: int) -> None:
        self._data = data
        self._origin = origin
        self._ir_version = ir_version
        self._infos: dict[tuple[bytes | None, bytes], TypeInfo] = {}
        self._attrs: dict[bytes, LazyAttrs] = {}
        self._extras: dict[tuple[bytes, bytes, bytes], LazyExtra] = {}
        self.texts: dict[bytes, str] = {b"ai.onnx": ""}
        self._tensor_types: dict[Any, TensorType] = {}

    def graph(self, data: Buffer, start: int, end: int, outer: Scope = ()) -> Graph:
        """The graph of a GraphProto; `outer` are the values it sees. Raises `ModelError`."""
        parts = _split(data, start, end)
        graph = Graph("")
        extra = graph.extra = GraphExtra()
        self._texts_of(data, parts, graph)
        self._add_initializers(data, parts, graph)
        self._add_inputs(data, parts.get(11), graph, constants=self._ir_version < 4 and not outer)
        self.add_nodes(data, parts.get(1), graph, outer)
        self._add_outputs(data, parts.get(12), graph, outer)
        self.add_infos(data, parts.get(13), graph)
        extra.annotations = [_annotation(data[a:b], graph) for a, b in parts.get(14)]
        extra.unknown = parts.unknown
        return graph

    def _texts_of(self, data: Buffer, parts: _Parts, graph: Graph) -> None:
        name, doc = (wire.text(data, *(parts.get(number) or [(0, 0)])[-1]) for number in (2, 10))
        graph.name, graph.doc = name, doc
        graph.extra.present = frozenset(number for number in (2, 10) if parts.get(number))
        graph.metadata = dict(wire.entry(data, a, b) for a, b in parts.get(16))

    def _add_initializers(self, data: Buffer, parts: _Parts, graph: Graph) -> None:
        origin = Origin(self.source_of(data), self._origin.files)
        values = graph._values
        for start, end in parts.get(5):
            name, tensor = decode_tensor(data, start, end, origin)
            key = tensor.dtype, tensor.shape
            known = self._tensor_types.get(key)
            if known is None:
                known = self._tensor_types[key] = TensorType(*key)
            value = Value(name, known)
            value._constant = tensor
            value._graph = graph
            if name in values or not name:
                raise ModelError(_defined_twice(name, "an initializer"))
            values[name] = graph._initializers[name] = value
        for start, end in parts.get(15):
            name, sparse = decode_sparse(data, start, end, origin)
            value = Value(name, SparseTensorType(sparse.dtype, sparse.shape))
            value._constant = sparse
            value._graph = graph
            if name in values or not name:
                raise ModelError(_defined_twice(name, "an initializer"))
            values[name] = graph._initializers[name] = value

    def _add_inputs(self, data: Buffer, ranges: list[Range], graph: Graph, constants: bool) -> None:
        extra: GraphExtra = graph.extra
        inputs: list[Value] = []
        for position, (start, end) in enumerate(ranges):
            name, info = self.value_info(data, start, end)
            value = graph._initializers.get(name)
            if value is None:
                if name in graph._values or not name:
                    raise ModelError(_defined_twice(name, "an input"))
                inputs.append(self.new_input(graph, name, info))
                continue
            value.info = info
            if constants:
                extra.inputs[position] = value
                extra.originals[value] = value._constant  # type: ignore[assignment]
            else:
                value._type = info
                inputs.append(value)
        graph._inputs = tuple(inputs)
        graph._input_set = frozenset(inputs)
        if constants:
            extra.unlisted = set(graph._initializers.values()).difference(extra.inputs.values())

    def extra(self, raw: tuple[bytes, bytes, bytes]) -> LazyExtra:
        """The rare fields of a node, one object for equal ones."""
        found = self._extras.get(raw)
        if found is None:
            found = self._extras[raw] = LazyExtra(raw)
        return found

    def source_of(self, data: Buffer) -> SourceFile | None:
        """The file the buffer is the mapping of, if it is."""
        return self._origin.source if data is self._data else None

    def new_input(self, graph: Graph, name: str, info: TypeInfo | None) -> Value:
        """An input of the graph."""
        value = Value(name, info)
        value.info = info
        value._graph = graph
        graph._values[name] = value
        return value

    def add_nodes(self, data: Buffer, ranges: list[Range], graph: Graph, outer: Scope) -> None:
        """Read and link the nodes, then the graphs nested in them."""
        builder = _NodeBuilder(self, graph, outer)
        for start, end in ranges:
            if end - start > COPY_LIMIT or data is not self._data:
                builder.node(data, start, end)
            else:
                builder.node(data[start:end], 0, end - start)
        builder.finish()

    def _add_outputs(self, data: Buffer, ranges: list[Range], graph: Graph, outer: Scope) -> None:
        outputs = []
        for start, end in ranges:
            name, info = self.value_info(data, start, end)
            value = find(name, (graph._values, *outer))
            if value is None:
                raise ModelError(f"output {name!r} of graph {graph.name!r} is defined nowhere")
            if value.info is None and value.producer is not None and value.producer.graph is graph:
                value.info = value._type = info
            elif value.info is not info:
                graph.extra.outputs[value] = info
                if value._constant is not None:
                    graph.extra.originals[value] = value._constant
            outputs.append(value)
        self.set_outputs(graph, outputs)

    def set_outputs(self, graph: Graph, outputs: list[Value]) -> None:
        """Make these the outputs of a graph that has none yet."""
        graph._outputs = tuple(outputs)
        edits.count_outputs(graph, 1)

    def add_infos(self, data: Buffer, ranges: list[Range], graph: Graph) -> None:
        """Give values the types recorded for them."""
        extra: GraphExtra = graph.extra
        values, infos = graph._values, extra.infos
        for start, end in ranges:
            name, info = self.value_info(data, start, end)
            value = values.get(name)
            if value is None or value.info is not None:
                infos.append((name, info))
                continue
            value.info = info
            if value._constant is None:
                value._type = info
            else:
                extra.originals[value] = value._constant
            infos.append(value)

    def value_info(self, data: Buffer, start: int, end: int) -> tuple[str, TypeInfo]:
        """Name and type of a ValueInfoProto."""
        length = data[start + 1] if end - start > 1 else 128
        middle = start + 2 + length
        if length < 128 and data[start] == 0x0A and middle + 1 < end and data[middle] == 0x12:  # name, type, no more
            size = data[middle + 1]
            if size < 128 and middle + 2 + size == end:
                raw = data[middle + 2 : end]
                return data[start + 2 : middle].decode(), self._infos.get((raw, b"")) or self._info(raw, b"")
        return self._rare_info(data, start, end)

    def _rare_info(self, data: Buffer, start: int, end: int) -> tuple[str, TypeInfo]:
        name, raw, rest = "", None, b""
        for item in fields(data, start, end):
            if item.tag == 0x0A:
                name = wire.text(data, item.value, item.end)
            elif item.tag == 0x12:
                raw = (raw or b"") + data[item.value : item.end]
            else:
                rest += data[item.begin : item.end]
        return name, self._info(raw, rest)

    def _info(self, raw: bytes | None, rest: bytes) -> TypeInfo:
        """What a ValueInfoProto says, one object for equal ones."""
        info = self._infos.get((raw, rest))
        if info is None:
            info = self._infos[raw, rest] = TypeInfo(raw, rest)
        return info


class _NodeBuilder:
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
        node._extra = node._origin = None
        node._inputs = ()
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
                    raise ModelError(_defined_twice(text, f"an output of node {node!r}"))
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
        if before is None:
            graph._first = after
        else:
            before._next = after
        if after is None:
            graph._last = before
        else:
            after._prev = before


def _defined_twice(name: str, what: str) -> str:
    return f"{what} is called {name!r}, as another value is" if name else f"{what} has no name"


def _split(data: Buffer, pos: int, end: int) -> _Parts:
    found: dict[int, list[Range]] = {number: [] for number in (1, 2, 5, 10, 11, 12, 13, 14, 15, 16)}
    known = {number << 3 | 2: ranges for number, ranges in found.items() if number < 16}
    unknown = b""
    while pos < end:
        tag = data[pos]
        ranges = known.get(tag)
        if ranges is None:
            item = next(fields(data, pos, end))
            if item.tag == 0x82:
                found[16].append((item.value, item.end))
            else:
                unknown += data[item.begin : item.end]
            pos = item.end
            continue
        length = data[pos + 1]
        start = pos + 2
        if length > 127:
            length, start = read_varint(data, pos + 1)
        pos = start + length
        ranges.append((start, pos))
    if pos > end:
        raise ModelError("truncated or damaged: a graph does not fit into the file")
    return _Parts(found, unknown)


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


def _annotation(raw: bytes, graph: Graph) -> Annotation:
    names: list[str] = []
    for item in fields(raw, 0, len(raw)):
        if item.tag == 0x0A:
            names.append(wire.text(raw, item.value, item.end))
        elif item.tag == 0x12:
            names.append(wire.entry(raw, item.value, item.end)[1])
    return Annotation(raw, [(name, graph._values[name]) for name in names if name in graph._values])
