"""GraphProto becomes a graph. Like `nodes.py` it builds in bulk, past the door of edits: no journal is attached yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from irkit import edits
from irkit.errors import ModelError
from irkit.ir import Graph, Value
from irkit.onnx import wire
from irkit.onnx.attrs import LazyAttrs
from irkit.onnx.extras import Annotation, GraphExtra, LazyExtra
from irkit.onnx.nodes import NodeBuilder, Range, Scope, defined_twice, find
from irkit.onnx.tensors import Origin, decode_sparse, decode_tensor
from irkit.onnx.typeinfo import TypeInfo
from irkit.onnx.wire import COPY_LIMIT, Buffer, fields, read_varint
from irkit.source import SourceFile
from irkit.types import SparseTensorType, TensorType


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
                raise ModelError(defined_twice(name, "an initializer"))
            values[name] = graph._initializers[name] = value
        for start, end in parts.get(15):
            name, sparse = decode_sparse(data, start, end, origin)
            value = Value(name, SparseTensorType(sparse.dtype, sparse.shape))
            value._constant = sparse
            value._graph = graph
            if name in values or not name:
                raise ModelError(defined_twice(name, "an initializer"))
            values[name] = graph._initializers[name] = value

    def _add_inputs(self, data: Buffer, ranges: list[Range], graph: Graph, constants: bool) -> None:
        extra: GraphExtra = graph.extra
        inputs: list[Value] = []
        for position, (start, end) in enumerate(ranges):
            name, info = self.value_info(data, start, end)
            value = graph._initializers.get(name)
            if value is None:
                if name in graph._values or not name:
                    raise ModelError(defined_twice(name, "an input"))
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
        builder = NodeBuilder(self, graph, outer)
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
            graph.extra.declared[name] = info
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


def _annotation(raw: bytes, graph: Graph) -> Annotation:
    names: list[str] = []
    for item in fields(raw, 0, len(raw)):
        if item.tag == 0x0A:
            names.append(wire.text(raw, item.value, item.end))
        elif item.tag == 0x12:
            names.append(wire.entry(raw, item.value, item.end)[1])
    return Annotation(raw, [(name, graph._values[name]) for name in names if name in graph._values])
