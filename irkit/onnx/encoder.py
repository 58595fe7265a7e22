"""Nodes, graphs, functions and models to the wire format, fields in the order of their numbers as protobuf has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

from irkit import edits
from irkit.errors import GraphError
from irkit.ir import Graph, Node, Value
from irkit.model import Function, Model
from irkit.onnx import wire
from irkit.onnx.attrs import LazyAttrs, encode_attribute, encode_plain
from irkit.onnx.extras import Annotation, GraphExtra, ModelExtra, encode_extra
from irkit.onnx.tensors import encode_sparse, encode_tensor
from irkit.onnx.typeinfo import TypeInfo, encode_info
from irkit.onnx.wire import Chunks, blob, key, varint
from irkit.tensor import SparseTensor, Tensor
from irkit.types import DType, TensorType

Placer: TypeAlias = "Callable[[Value, Tensor], bytes | None]"
"""Gives the TensorProto of an initializer whose data goes elsewhere; None for one that is written in place."""

_NO_EXTRA = (b"", b"", b"")

SPLAT_LIMIT = 1024
"""Splats of more bytes are written as a ConstantOfShape node."""

_SPLAT_TYPES = frozenset({
    DType.FLOAT16, DType.FLOAT32, DType.FLOAT64, DType.INT8, DType.INT16, DType.INT32, DType.INT64,
    DType.UINT8, DType.UINT16, DType.UINT32, DType.UINT64, DType.BOOL,
})  # fmt: skip
"""What ConstantOfShape makes since opset 9; later opsets added more."""


class Encoder:
    """Encodes one model.

    Args:
        roots: the graphs of the model, for names not yet taken.
        opset: version of ONNX's own operator set; 0 for none, then splats are written out.
        ir_version: below 4, initializers are listed among the inputs.
        place: decides where the data of initializers goes.
        outputs: what the main graph is to give instead of its own outputs.
    """

    def __init__(
        self,
        roots: Iterable[Graph] = (),
        opset: int = 0,
        ir_version: int = 8,
        place: Placer | None = None,
        outputs: Iterable[Value] | None = None,
    ) -> None:
        self._roots = list(roots)
        self._opset = opset
        self._ir_version = ir_version
        self._place = place
        self._outputs = None if outputs is None else list(outputs)
        self._known: dict[Value | None, bytes] = {None: b"\x0a\x00"}
        self._ops: dict[str, bytes] = {}
        self._taken: set[str] | None = None

    def model(self, model: Model) -> Chunks:
        """The ModelProto."""
        extra = model.extra if isinstance(model.extra, ModelExtra) else ModelExtra()
        out = Chunks(wire.integer(1, model.ir_version))
        for number, text in ((2, model.producer_name), (3, model.producer_version), (4, model.domain)):
            out.add(_text(number, text, extra.present))
        if model.model_version or 5 in extra.present:
            out.add(wire.integer(5, model.model_version))
        out.add(_text(6, model.doc, extra.present))
        out.message(7, self.graph(model.graph, self._outputs))
        out.add(_opsets(8, model.opset_imports, extra) + wire.entries(14, model.metadata.items()))
        _rest(out, extra, range(25))
        for function in model.functions.values():
            out.message(25, self.function(function))
        _rest(out, extra, range(25, 1 << 29))
        return out

    def function(self, function: Function) -> Chunks:
        """The FunctionProto."""
        graph = function.graph
        extra = function.extra if isinstance(function.extra, ModelExtra) else ModelExtra()
        out = Chunks(blob(1, function.name.encode()))
        for value in graph.inputs:
            self._enter(value)
            out.add(blob(4, value.name.encode()))
        body = self._sorted_nodes(graph, 7)
        out.add(b"".join([blob(5, value.name.encode()) for value in graph.outputs]))
        out.add(b"".join([blob(6, name.encode()) for name in function.attributes]))
        out.extend(body)
        out.add(_text(8, function.doc, extra.present) + _opsets(9, function.opset_imports, extra))
        out.add(_text(10, function.domain, extra.present))
        for attr in function.defaults:
            out.message(11, encode_attribute(attr, self.graph))
        out.add(b"".join([blob(12, info) for info in self._infos(graph, set())]))
        out.add(_text(13, function.overload, extra.present) + wire.entries(14, extra.metadata.items()))
        _rest(out, extra, range(1 << 29))
        return out

    def graph(self, graph: Graph, outputs: Iterable[Value] | None = None) -> Chunks:
        """The GraphProto; with these outputs, where given."""
        outputs = graph.outputs if outputs is None else outputs
        extra = graph.extra if isinstance(graph.extra, GraphExtra) else GraphExtra()
        # By name, so that a model whose nodes were folded to splats again comes out the same.
        splats = sorted(filter(self._is_node, graph.initializers.values()), key=lambda value: value.name)
        for value in (*graph.inputs, *graph.initializers.values()):
            self._enter(value)
        out = Chunks()
        shapes = [self._splat(out, value) for value in splats]
        out.extend(self._sorted_nodes(graph, 1))
        out.add(_text(2, graph.name, extra.present))
        self._initializers(out, graph, set(splats))
        for name, tensor in shapes:
            out.message(5, encode_tensor(tensor, name))
        out.add(_text(10, graph.doc, extra.present))
        out.add(b"".join([blob(11, info) for info in self._inputs(graph, extra, set(splats), shapes)]))
        out.add(b"".join([blob(12, self._output_info(value, extra)) for value in outputs]))
        out.add(b"".join([blob(13, info) for info in self._infos(graph, {*graph.inputs, *outputs})]))
        out.add(b"".join([_annotation(item, graph) for item in extra.annotations]))
        for value in graph.initializers.values():
            if isinstance(value.initializer, SparseTensor):
                out.message(15, encode_sparse(value.initializer, value.name))
        out.add(wire.entries(16, graph.metadata.items()) + extra.unknown)
        return out

    def node(self, node: Node) -> Chunks:
        """The NodeProto of a node, whatever graph it is in."""
        own = set(_nested(node))
        inner = [each for graph in own for each in graph]
        outside = [*node.inputs, *(value for graph in own for value in graph.outputs)]
        for value in (*outside, *(value for each in inner for value in each.inputs)):
            if value is not None and value.graph not in own:
                self._enter(value)
        body = self._node(node)
        return Chunks(body) if isinstance(body, bytes) else body

    def _enter(self, value: Value) -> bytes:
        """Note that the value is defined. Returns its name, encoded with its length."""
        name = value.name.encode()
        encoded = varint(len(name)) + name
        self._known[value] = b"\x0a" + encoded
        return encoded

    def _sorted_nodes(self, graph: Graph, number: int) -> Chunks:
        try:
            return self._nodes(graph, number)
        except KeyError:
            pass
        try:
            return self._nodes(list(edits.stable_order(graph)), number)
        except KeyError as error:
            raise GraphError(f"a node of graph {graph.name!r} reads {error.args[0]!r}, which nothing defines") from None

    def _nodes(self, nodes: Iterable[Node], number: int) -> Chunks:
        """The nodes as fields of that number. Raises `KeyError` where one reads a value not yet defined."""
        out = Chunks()
        tag = key(number)
        plain: list[bytes] = []
        for node in nodes:
            body = self._node(node)
            if isinstance(body, bytes):
                plain += (tag, varint(len(body)), body)
            else:
                out.add(b"".join(plain))
                plain.clear()
                out.message(number, body)
        out.add(b"".join(plain))
        return out

    def _node(self, node: Node) -> bytes | Chunks:
        known = self._known
        parts = [known[value] for value in node.inputs]
        for value in node.outputs:
            name = value.name.encode()
            length = varint(len(name))
            known[value] = b"\x0a" + length + name
            parts += (b"\x12", length, name)
        head, doc, rest = encode_extra(node._extra) if node._extra is not None else _NO_EXTRA
        op = self._ops.get(node.op) or self._op(node.op)
        parts += (head, wire.string(3, node.name), op)
        tail = doc + wire.string(7, node.domain) + rest if node.domain else doc + rest
        attrs = self._attributes(node)
        if isinstance(attrs, bytes):
            parts += (attrs, tail)
            return b"".join(parts)
        out = Chunks(b"".join(parts))
        out.extend(attrs)
        out.add(tail)
        return out

    def _op(self, name: str) -> bytes:
        encoded = self._ops[name] = blob(4, name.encode())
        return encoded

    def _attributes(self, node: Node) -> bytes | Chunks:
        lazy = node._lazy_attrs
        if lazy is None and not node._attrs:
            return b""
        if isinstance(lazy, LazyAttrs) and (node._attrs is None or node._attrs is lazy.decoded):
            if isinstance(lazy.raw, bytes):
                return lazy.raw
            out = Chunks()
            out.add_span(lazy.raw)
            return out
        plain = [encode_plain(attr) for attr in node.attrs.values()]
        if None not in plain:
            return b"".join([blob(5, body) for body in plain if body is not None])
        out = Chunks()
        for attr in node.attrs.values():
            out.message(5, encode_attribute(attr, self.graph))
        return out

    def _initializers(self, out: Chunks, graph: Graph, splats: set[Value]) -> None:
        for value in graph.initializers.values():
            data = value.initializer
            if value in splats or not isinstance(data, Tensor):
                continue
            placed = self._place(value, data) if self._place is not None else None
            if placed is not None:
                out.add(blob(5, placed))
            else:
                out.message(5, encode_tensor(data, value.name))

    def _is_node(self, value: Value) -> bool:
        data = value.initializer
        return (
            self._opset >= 9
            and isinstance(data, Tensor)
            and data.is_splat
            and data.dtype in _SPLAT_TYPES
            and data.nbytes > SPLAT_LIMIT
            and not value.is_graph_input
        )

    def _splat(self, out: Chunks, value: Value) -> tuple[str, Tensor]:
        """Append a ConstantOfShape node for the value. Returns name and data of the shape it reads."""
        data = value.initializer
        assert isinstance(data, Tensor)
        shape = self._fresh(f"{value.name}_shape")
        fill = encode_tensor(Tensor.of(data.splat_value.reshape(1), data.dtype), "")
        attr = Chunks(blob(1, b"value"))
        attr.message(5, fill)
        attr.add(wire.integer(20, 4))
        name = self._fresh(f"{value.name}_splat")
        node = Chunks(wire.string(1, shape) + wire.string(2, value.name) + wire.string(3, name))
        node.add(blob(4, b"ConstantOfShape"))
        node.message(5, attr)
        out.message(1, node)
        return shape, Tensor.of(list(data.shape), DType.INT64)

    def _fresh(self, base: str) -> str:
        if self._taken is None:
            self._taken = set(_all_names(self._roots))
        name, count = base, 0
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name

    def _inputs(
        self, graph: Graph, extra: GraphExtra, splats: set[Value], shapes: list[tuple[str, Tensor]]
    ) -> Iterable[bytes]:
        """The inputs; below IR version 4 the initializers too, where they stood or at the end."""
        listed = list(graph.inputs)
        added: list[tuple[str, Tensor]] = []
        if self._ir_version < 4 and graph.owner is None:
            for position, value in extra.inputs.items():
                if graph.initializers.get(value.name) is value:
                    listed.insert(position, value)
            done = {*listed, *extra.unlisted}
            listed += [value for value in graph.initializers.values() if value not in done]
            added = shapes
        for value in listed:
            if value not in splats:
                yield self._info(value, extra)
        for name, tensor in added:
            yield blob(1, name.encode()) + encode_info(TensorType(tensor.dtype, tensor.shape), None)

    def _info(self, value: Value, extra: GraphExtra) -> bytes:
        """The ValueInfoProto of a value: the recorded type, for data too as long as it was not replaced."""
        kind, info = value._type, value.info
        if value.is_initializer and value.initializer is extra.originals.get(value):
            kind = info
        return self._known[value] + encode_info(kind, info if isinstance(info, TypeInfo) else None)

    def _output_info(self, value: Value, extra: GraphExtra) -> bytes:
        info = extra.outputs.get(value)
        if info is not None and _is_as_read(value, extra):
            return self._known[value] + info.tail
        if value.info is None and not value.is_initializer:
            return self._known[value] + encode_info(value._type, extra.declared.get(value.name))
        return self._info(value, extra)

    def _infos(self, graph: Graph, known: set[Value]) -> Iterator[bytes]:
        """The recorded types of values that are neither input nor output, then those that irkit found."""
        extra = graph.extra if isinstance(graph.extra, GraphExtra) else GraphExtra()
        done = set(known)
        values = graph.values
        for item in extra.infos:
            if isinstance(item, tuple):
                name, info = item
                value = values.get(name)
                if value is None or _is_as_read(value, extra):
                    yield blob(1, name.encode()) + info.tail
            elif item not in done and values.get(item.name) is item:
                done.add(item)
                yield self._info(item, extra)
        for node in graph:
            for value in node.outputs:
                if value._type is not None and value.name and value not in done:
                    yield self._known[value] + encode_info(value._type, None)


def _nested(node: Node) -> Iterator[Graph]:
    """The graphs nested in a node, at all depths."""
    for graph in node.subgraphs:
        yield graph
        for inner in graph:
            yield from _nested(inner)


def _text(number: int, text: str, present: frozenset[int]) -> bytes:
    return blob(number, text.encode()) if text or number in present else b""


def _opsets(number: int, imports: Mapping[str, int], extra: ModelExtra) -> bytes:
    if imports == extra.opsets[0] and list(imports) == list(extra.opsets[0]):
        return extra.opsets[1]
    pairs = imports.items()
    return b"".join([blob(number, blob(1, name.encode()) + wire.integer(2, version)) for name, version in pairs])


def _rest(out: Chunks, extra: ModelExtra, numbers: range) -> None:
    for number, piece in extra.rest:
        if number in numbers:
            out.add_piece(piece)


def _is_as_read(value: Value, extra: GraphExtra) -> bool:
    """Whether the value still has the type it was read with."""
    if value.is_initializer:
        return value.initializer is extra.originals.get(value)
    info = value.info
    return value._type is None if info is None else value._type is info or value.type == info.decode()


def _annotation(annotation: Annotation, graph: Graph) -> bytes:
    """The field of an annotation, with the names its values have now; nothing where one is gone."""
    names = {name: value.name if graph.values.get(value.name) is value else name for name, value in annotation.values}
    if any(name not in graph.values for name in names.values()):
        return b""
    if all(old == new for old, new in names.items()):
        return blob(14, annotation.raw)
    out = b""
    for item in wire.fields(annotation.raw, 0, len(annotation.raw)):
        if item.tag == 0x0A:
            name = wire.text(annotation.raw, item.value, item.end)
            out += blob(1, names.get(name, name).encode())
        elif item.tag == 0x12:
            role, name = wire.entry(annotation.raw, item.value, item.end)
            out += wire.entries(2, [(role, names.get(name, name))])
        else:
            out += annotation.raw[item.begin : item.end]
    return blob(14, out)


def _all_names(roots: Iterable[Graph]) -> Iterator[str]:
    """Names of values and nodes, in nested graphs too."""
    for root in roots:
        yield from root.values
        for node in root.walk():
            yield node.name
            for graph in node.subgraphs:
                yield from graph.values
