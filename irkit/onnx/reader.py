"""Reading ONNX models: the file is mapped and scanned; weights stay where they are until somebody looks at them."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from irkit.errors import ModelError
from irkit.ir import Graph
from irkit.model import Function, Model
from irkit.onnx import wire
from irkit.onnx.attrs import decode_attribute
from irkit.onnx.explain import what_it_is
from irkit.onnx.external import ExternalFiles
from irkit.onnx.extras import GraphExtra, ModelExtra
from irkit.onnx.graphs import GraphReader
from irkit.onnx.nodes import Range, find
from irkit.onnx.tensors import Origin, mapping
from irkit.onnx.wire import Buffer, fields
from irkit.source import SourceFile


class MemorySource(SourceFile):
    """A model file held in memory, for models that come as bytes."""

    def __init__(self, data: bytes) -> None:
        self.path = Path("<memory>")
        self.size = len(data)
        self._data = data

    def check(self) -> None:
        """Nothing can have changed."""

    def view(self, offset: int = 0, length: int | None = None) -> memoryview:
        """Its bytes, not copied."""
        whole = memoryview(self._data)
        return whole[offset:] if length is None else whole[offset : offset + length]

    def fileno(self) -> int:
        """It has none."""
        raise OSError("a model in memory has no file")

    def close(self) -> None:
        """Nothing is held open."""


def load(path: str | os.PathLike[str]) -> Model:
    """Read an ONNX model, of any size, from a file.

    The file, and the data files beside it, stay open and mapped as long as the model may read weights from them.
    Raises `ModelError` where it cannot be read or is no valid graph.
    """
    source = SourceFile(path)
    files = ExternalFiles(source.path.parent)
    try:
        return _read(source, files)
    except ModelError as error:
        advice = what_it_is(source.path, source.view(0, 64).tobytes())
        files.close()
        source.close()
        raise ModelError(f"{source.path}: {advice or error}") from (None if advice else error)


def loads(data: bytes, *, folder: str | os.PathLike[str] | None = None) -> Model:
    """The model of an encoded ModelProto.

    Args:
        data: the bytes of an .onnx file.
        folder: where the files of external data are, if it has some.
    """
    return read_bytes(bytes(data), ExternalFiles(Path(folder) if folder is not None else None))


def read_bytes(data: bytes, files: ExternalFiles) -> Model:
    """The model of an encoded ModelProto whose external data is found in `files`."""
    return _read(MemorySource(data), files)


def _read(source: SourceFile, files: ExternalFiles) -> Model:
    with _no_collection():
        try:
            model = _ModelReader(source, files).read()
        except (IndexError, RecursionError, UnicodeDecodeError) as error:
            raise ModelError(f"not a valid ONNX model: truncated or damaged ({error})") from None
    source.check()
    return model


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection while many objects are made and none is dropped: it would take half of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _ModelReader:
    def __init__(self, source: SourceFile, files: ExternalFiles) -> None:
        self._source = source
        self._files = files
        self._data = mapping(source)
        self._texts = dict.fromkeys((2, 3, 4, 6), "")
        self._numbers = {1: 0, 5: 0}
        self._messages: dict[int, list[Range]] = {7: [], 8: [], 14: [], 25: []}
        self._extra = ModelExtra()

    def read(self) -> Model:
        """Scan the ModelProto."""
        data = self._data
        present = set()
        for item in fields(data, 0, self._source.size):
            number, kind = item.tag >> 3, item.tag & 7
            if number in self._texts and kind == wire.BYTES:
                self._texts[number] = wire.text(data, item.value, item.end)
            elif number in self._numbers and kind == wire.VARINT:
                self._numbers[number] = wire.signed(item.value)
            elif number in self._messages and kind == wire.BYTES:
                self._messages[number].append((item.value, item.end))
            else:
                self._extra.rest.append((number, wire.cut(data, item.begin, item.end, self._source)))
            present.add(number)
        self._extra.present = frozenset(present)
        if not self._messages[7]:
            raise ModelError("not an ONNX model: there is no graph in it" if self._source.size else "the file is empty")
        return self._model()

    def _model(self) -> Model:
        data, ir_version = self._data, self._numbers[1]
        imports = _opsets(data, self._messages[8])
        if not imports and ir_version >= 3:
            raise ModelError("truncated or damaged: the model names no operator set (opset_import)")
        raw = b"".join([wire.blob(8, data[a:b]) for a, b in self._messages[8]])
        reader = GraphReader(data, Origin(self._source, self._files), ir_version)
        graph = reader.graph(data, *self._messages[7][-1])
        functions = [_function(reader, data, start, end, self._files) for start, end in self._messages[25]]
        model = Model(
            graph,
            opset_imports=imports,
            ir_version=ir_version,
            functions=functions,
            metadata=dict(wire.entry(data, a, b) for a, b in self._messages[14]),
            producer_name=self._texts[2],
            producer_version=self._texts[3],
            domain=self._texts[4],
            model_version=self._numbers[5],
            doc=self._texts[6],
            extra=self._extra,
            sources=[self._source, *self._files.sources],
        )
        self._extra.opsets = (dict(model.opset_imports), raw)
        return model


def _opsets(data: Buffer, ranges: list[Range]) -> dict[str, int]:
    imports = {}
    for start, end in ranges:
        domain, version = "", 0
        for item in fields(data, start, end):
            if item.tag == 0x0A:
                domain = wire.text(data, item.value, item.end)
            elif item.tag == 0x10:
                version = wire.signed(item.value)
        imports[domain if domain != "ai.onnx" else ""] = version
    return imports


def _function(reader: GraphReader, data: Buffer, start: int, end: int, files: ExternalFiles) -> Function:
    """The function of a FunctionProto."""
    parts: dict[int, list[Range]] = {number: [] for number in (1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)}
    extra = ModelExtra()
    defaults = []
    for item in fields(data, start, end):
        number = item.tag >> 3
        if number == 11:
            origin = Origin(reader.source_of(data), files)
            defaults.append(decode_attribute(data, item, origin, reader.graph))
        elif number in parts and item.tag & 7 == wire.BYTES:
            parts[number].append((item.value, item.end))
        else:
            extra.rest.append((number, data[item.begin : item.end]))
    names = {number: [wire.text(data, a, b) for a, b in parts[number]] for number in (1, 4, 5, 6, 8, 10, 13)}
    last = {number: texts[-1] if texts else "" for number, texts in names.items()}
    graph = _body(reader, data, last[1], names, parts)
    imports = _opsets(data, parts[9])
    extra.opsets = (imports, b"".join([wire.blob(9, data[a:b]) for a, b in parts[9]]))
    extra.metadata = dict(wire.entry(data, a, b) for a, b in parts[14])
    extra.present = frozenset(number for number, found in parts.items() if found)
    return Function(
        last[10], last[1], graph, overload=last[13], attributes=names[6], defaults=defaults, opset_imports=imports,
        doc=last[8], extra=extra,
    )  # fmt: skip


def _body(
    reader: GraphReader, data: Buffer, name: str, names: dict[int, list[str]], parts: dict[int, list[Range]]
) -> Graph:
    graph = Graph(name)
    graph.extra = GraphExtra()
    for text in names[4]:
        if text in graph.values:
            raise ModelError(f"function {name!r} has two inputs {text!r}")
        reader.new_input(graph, text, None)
    graph._inputs = tuple(graph._values.values())
    graph._input_set = frozenset(graph._inputs)
    reader.add_nodes(data, parts[7], graph, ())
    outputs = []
    for text in names[5]:
        value = find(text, (graph._values,))
        if value is None:
            raise ModelError(f"output {text!r} of function {name!r} is defined nowhere")
        outputs.append(value)
    reader.set_outputs(graph, outputs)
    reader.add_infos(data, parts[12], graph)
    return graph
