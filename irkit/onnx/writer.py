"""Writing ONNX models: untouched bytes are streamed from where they lie, the file appears whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import GraphError, OutputError
from irkit.ir import Value
from irkit.model import Model
from irkit.onnx.encoder import Encoder, Placer
from irkit.onnx.storage import OutputFile, write_all
from irkit.onnx.tensors import add_data, encode_external
from irkit.onnx.wire import Chunks
from irkit.tensor import Tensor
from irkit.types import DType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

PROTOBUF_LIMIT = (1 << 31) - 1
"""Bytes of the largest message that protobuf reads."""

EXTERNAL_LIMIT = 1024
"""Tensors of more bytes go to the data file, where there is one."""

_PAGE = 4096

_REPLACES_OPEN_FILES = os.name != "nt"
"""Windows replaces no file that somebody has mapped, not even we ourselves."""


def save(model: Model, path: str | os.PathLike[str], *, external_data: bool | None = None) -> None:
    """Write a model as an ONNX file, whole or not at all.

    The file the model was loaded from may be written over. Weights are streamed, not read into memory.

    Args:
        model: the model; it is not changed.
        path: the file to write. The data file, if there is one, is put beside it as `<stem>.<hash of content>.data`.
        external_data: write larger weights to a data file; None does where the model has 2 GB and more, which protobuf
            cannot read from one file.

    Raises `OutputError` where it cannot be written, `SourceChangedError` where weights have changed on disk.
    """
    for source in model.sources:
        source.check()
    message = None if external_data else _encoder(model).model(model)
    if message is not None and message.size > PROTOBUF_LIMIT:
        if external_data is False:
            raise OutputError(f"cannot write {path}: {message.size} bytes are too many for one file; use external data")
        message = None
    if message is None:
        _save_in_two(model, path)
        return
    with OutputFile(path) as file:
        write_all(file, message.pieces)
        file.commit(before=lambda: _let_go(model, file.path))


def _let_go(model: Model, path: Path) -> None:
    """Where a file in use cannot be replaced, let the model read from a private copy of it from now on."""
    if _REPLACES_OPEN_FILES:
        return
    for source in model.sources:
        if path.exists() and source.path.exists() and path.samefile(source.path):
            source.detach()


def dumps(model: Model) -> bytes:
    """The encoded ModelProto of a model. Raises `SourceChangedError`, and `OutputError` above protobuf's 2 GB."""
    message = _encoder(model).model(model)
    if message.size > PROTOBUF_LIMIT:
        raise OutputError(f"a model of {message.size} bytes is too large for one protobuf message; save it to a file")
    return message.tobytes()


def skeleton(model: Model, extra_outputs: Iterable[str] = ()) -> tuple[bytes, dict[str, Array]]:
    """The model without its larger weights, and these as arrays by name, for a runtime that takes both.

    Args:
        model: the model; it is not changed.
        extra_outputs: values of the main graph that are to be outputs too.

    Returns the bytes of a ModelProto whose initializers above a kilobyte say that their data is elsewhere, and the
    read-only arrays for `SessionOptions.add_external_initializers`. Raises `GraphError` for a value that is not there.
    """
    arrays: dict[str, Array] = {}

    def place(value: Value, tensor: Tensor) -> bytes | None:
        if value.graph is not model.graph or value.is_graph_input or not tensor.dtype.is_native:
            return None
        if tensor.nbytes <= EXTERNAL_LIMIT:
            return None
        arrays[value.name] = tensor.numpy()
        return encode_external(tensor, value.name, "weights", 0)

    outputs = list(model.graph.outputs)
    for name in extra_outputs:
        if name not in model.graph.values:
            raise GraphError(f"the main graph has no value {name!r}")
        if model.graph.values[name] not in outputs:
            outputs.append(model.graph.values[name])
    encoder = _encoder(model, place, outputs)
    return encoder.model(model).tobytes(), arrays


def lent(model: Model) -> tuple[bytes, dict[str, Tensor]]:
    """The model without its larger weights, and these by the location that stands in the place of their data."""
    tensors: dict[str, Tensor] = {}

    def place(value: Value, tensor: Tensor) -> bytes | None:
        if not tensor.dtype.is_native or tensor.nbytes <= EXTERNAL_LIMIT or tensor.is_splat:
            return None
        location = f"lent.{len(tensors)}"
        tensors[location] = tensor
        return encode_external(tensor, value.name, location, 0)

    return _encoder(model, place).model(model).tobytes(), tensors


def _encoder(model: Model, place: Placer | None = None, outputs: Iterable[Value] | None = None) -> Encoder:
    return Encoder(model.roots, model.opset, model.ir_version, place, outputs)


def _save_in_two(model: Model, path: str | os.PathLike[str]) -> None:
    """Write the larger weights to a data file, then the rest."""
    target = Path(os.path.realpath(path))
    with OutputFile(target) as file, OutputFile(target.with_name(f"{target.stem}.new.data")) as data:
        data_name, offsets = _write_weights(model, data, target.stem)

        def place(value: Value, tensor: Tensor) -> bytes | None:
            if value not in offsets:
                return None
            return encode_external(tensor, value.name, data_name, offsets[value])

        message = _encoder(model, place).model(model)
        if message.size > PROTOBUF_LIMIT:
            raise OutputError(f"cannot write {path}: without its weights the model still has {message.size} bytes")
        write_all(file, message.pieces)
        if not offsets:
            file.commit(before=lambda: _let_go(model, file.path))
            return
        data.rename(data_name)
        fresh = not data.path.exists()
        try:
            file.commit(before=lambda: _commit_data(model, file, data))
        except BaseException:
            if fresh:
                data.path.unlink(missing_ok=True)
            raise


def _commit_data(model: Model, file: OutputFile, data: OutputFile) -> None:
    data.commit(before=lambda: _let_go(model, data.path))
    _let_go(model, file.path)


def _write_weights(model: Model, data: OutputFile, stem: str) -> tuple[str, dict[Value, int]]:
    """Write the larger initializers. Returns the name of the file by its content, and where each lies."""
    digest = data.hash_content()
    offsets: dict[Value, int] = {}
    position = 0
    for graph in model.walk_graphs():
        for value in graph.initializers.values():
            tensor = value.initializer
            if not isinstance(tensor, Tensor) or not _goes_out(tensor):
                continue
            padding = -position % _PAGE
            data.write(bytes(padding))
            offsets[value] = position + padding
            message = Chunks()
            add_data(message, tensor)
            write_all(data, message.pieces)
            position += padding + tensor.nbytes
    return f"{stem}.{digest.hexdigest()[:16]}.data", offsets


def _goes_out(tensor: Tensor) -> bool:
    known = tensor.dtype not in (DType.STRING, DType.UNDEFINED)
    return known and tensor.nbytes > EXTERNAL_LIMIT and not tensor.is_splat
