"""A model as an object of another package, to be changed there and read back.

    loan = lend(model, "graphsurgeon")
    changed = loan.read(function(loan.given))     # a Model, to be held against `loan.before`

Large weights are not copied where the package can do without: it gets arrays over the mapped file, and what it gives
back untouched is known by its place, not by its content.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from irkit.errors import MissingDependencyError, ModelError
from irkit.model import Model
from irkit.onnx.external import ExternalFiles
from irkit.onnx.reader import MemorySource, read_bytes
from irkit.onnx.writer import lent
from irkit.source import SourceFile
from irkit.tensor import Tensor

if TYPE_CHECKING:
    import onnx


class LentSource(MemorySource):
    """The data of a tensor of the model, where another package's object only points to it."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(b"")
        self.tensor = tensor
        self.size = tensor.nbytes

    def view(self, offset: int = 0, length: int | None = None) -> memoryview:
        """Its bytes; copied only where they lie in no file and in no one piece."""
        import numpy as np

        location = self.tensor.location
        if location is not None:
            whole = location[0].view(location[1], self.size)
        else:
            whole = np.ascontiguousarray(self.tensor.numpy()).reshape(-1).view(np.uint8).data
        return whole[offset:] if length is None else whole[offset : offset + length]


class LentFiles(ExternalFiles):
    """Finds lent tensors by the locations under which they were lent."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__(None)
        self._lent = {location: LentSource(tensor) for location, tensor in tensors.items()}

    def _open(self, location: str, tensor: str) -> SourceFile:
        return self._lent[location] if location in self._lent else super()._open(location, tensor)


class Loan:
    """A model lent as a ModelProto, which is the form that other packages read; they are its subclasses.

    Attributes: `given` is the object to change; `before` is the model as that object holds it.
    """

    def __init__(self, model: Model) -> None:
        self._skeleton, self._tensors = lent(model)
        self._files = LentFiles(self._tensors)
        self.given = self._give(parsed(self._skeleton))
        self.before = self._before()

    def _give(self, skeleton: onnx.ModelProto) -> Any:
        for tensor in _initializers(skeleton.graph):
            if _place_of(tensor) in self._tensors:
                fill(tensor, self._tensors[_place_of(tensor)])
        return skeleton

    def _before(self) -> Model:
        return read_bytes(self._skeleton, self._files)

    def read(self, changed: Any) -> Model:
        """The model of what became of the object. Raises `ModelError` where that is no valid graph."""
        import onnx

        if not isinstance(changed, onnx.ModelProto):
            raise ModelError(f"a {type(changed).__name__} is no onnx.ModelProto")
        places = {name: place for place, name in self._names().items()}
        for tensor in _initializers(changed.graph):
            place = places.get(tensor.name)
            if place is not None and _holds(tensor, self._tensors[place]):
                point(tensor, place, self._tensors[place].nbytes)
        return read_bytes(changed.SerializeToString(), self._files)

    def _names(self) -> dict[str, str]:
        """The names of the lent tensors by where they were lent."""
        found = _initializers(parsed(self._skeleton).graph)
        return {_place_of(tensor): tensor.name for tensor in found if _place_of(tensor)}


class GraphSurgeonLoan(Loan):
    """A model lent as an `onnx_graphsurgeon.Graph`, whose constants load their data when asked for it."""

    def _give(self, skeleton: onnx.ModelProto) -> Any:
        self._surgeon = package("onnx_graphsurgeon", "onnx-graphsurgeon")
        self._whole = True
        with self._quiet():
            graph = self._surgeon.import_onnx(skeleton)
        lazy = self._lazy_values()
        for constant in _constants(graph, self._surgeon.Constant):
            proto: Any = getattr(constant._values, "tensor", None)
            place = _place_of(proto)
            if place in self._tensors:
                constant._values = lazy(proto, self._tensors[place])
                constant.data_location = None
        return graph

    def _before(self) -> Model:
        return self.read(self.given)

    def read(self, changed: Any) -> Model:
        """The model of what became of the object, or of a ModelProto that was exported from it."""
        if not isinstance(changed, self._surgeon.Graph):
            return super().read(changed)
        self._whole = False  # constants that nobody looked at go out as the places of their data
        try:
            with self._quiet():
                proto = self._surgeon.export_onnx(changed)
        finally:
            self._whole = True
        return read_bytes(proto.SerializeToString(), self._files)

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        """Without the package's warnings about the model, which the user did not ask it for."""
        logger = self._surgeon.logger.G_LOGGER
        severity = logger.severity
        logger.severity = logger.CRITICAL
        try:
            yield
        finally:
            logger.severity = severity

    def _lazy_values(self) -> Callable[[Any, Tensor], Any]:
        loan = self

        class Lent(self._surgeon.ir.tensor.LazyValues):  # type: ignore[name-defined, misc]  # imported when used
            def __init__(self, proto: onnx.TensorProto, tensor: Tensor) -> None:
                self._proto, self._data = proto, tensor
                self.shape, self.dtype, self.nbytes = list(tensor.shape), tensor.dtype.numpy, tensor.nbytes

            @property
            def tensor(self) -> onnx.TensorProto:
                made: onnx.TensorProto = type(self._proto).FromString(self._proto.SerializeToString())
                if loan._whole:
                    fill(made, self._data)
                return made

            def load(self) -> Any:
                import numpy as np

                return np.array(self._data.numpy())

        return Lent


class OnnxIrLoan(Loan):
    """A model lent as an `onnx_ir.Model`, whose tensors are arrays over the model's own data."""

    def _give(self, skeleton: onnx.ModelProto) -> Any:
        self._ir = package("onnx_ir", "onnx-ir")
        self._markers: dict[int, Any] = {}
        self._made: list[Any] = []
        model = self._ir.from_proto(skeleton)
        for value in _stored(model):
            marker = value.const_value
            place = str(getattr(marker, "location", ""))
            if place in self._tensors:
                data = self._tensors[place].numpy()
                value.const_value = self._ir.Tensor(data, name=value.name, doc_string=marker.doc_string)
                self._made.append(value.const_value)
                self._markers[id(value.const_value)] = marker
        return model

    def read(self, changed: Any) -> Model:
        """The model of what became of the object, or of a ModelProto that was made from it."""
        if not isinstance(changed, self._ir.Model):
            return super().read(changed)
        swapped = [(value, value.const_value) for value in _stored(changed) if id(value.const_value) in self._markers]
        try:
            for value, tensor in swapped:
                value.const_value = self._markers[id(tensor)]
            return read_bytes(self._ir.to_proto(changed).SerializeToString(), self._files)
        finally:
            for value, tensor in swapped:
                value.const_value = tensor

    def _before(self) -> Model:
        return self.read(self.given)


def parsed(data: bytes) -> onnx.ModelProto:
    """The ModelProto of encoded bytes."""
    import onnx

    proto: onnx.ModelProto = onnx.ModelProto.FromString(data)
    return proto


def package(name: str, distribution: str) -> Any:
    """An optional package. Raises `MissingDependencyError`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        advice = "pip install 'irkit-compiler[interop]'"
        raise MissingDependencyError(f"{distribution} is not installed: {advice}") from error


def fill(proto: onnx.TensorProto, tensor: Tensor) -> None:
    """Put the data itself in the place of a pointer to it."""
    for name in ("external_data", "data_location"):
        proto.ClearField(name)
    proto.raw_data = tensor.tobytes()


def point(proto: onnx.TensorProto, place: str, nbytes: int) -> None:
    """Put a pointer in the place of data."""
    import onnx

    proto.ClearField("raw_data")
    proto.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", place), ("offset", "0"), ("length", str(nbytes))):
        proto.external_data.add(key=key, value=value)


def _place_of(proto: Any) -> str:
    """The location of the data of a TensorProto; "" where it has its own."""
    entries = {entry.key: entry.value for entry in getattr(proto, "external_data", ())}
    return str(entries.get("location", ""))


def _holds(proto: onnx.TensorProto, tensor: Tensor) -> bool:
    """Whether a proto still holds the data of the tensor."""
    same = tuple(proto.dims) == tensor.shape and proto.data_type == tensor.dtype
    return same and proto.HasField("raw_data") and proto.raw_data == LentSource(tensor).view()


def _initializers(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The initializers of a graph and of those nested in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            for nested in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
                yield from _initializers(nested)


def _constants(graph: Any, kind: type) -> Iterator[Any]:
    """The constants of a graphsurgeon graph and of those nested in it."""
    for part in (graph, *graph.subgraphs(recursive=True)):
        yield from (tensor for tensor in part.tensors().values() if isinstance(tensor, kind))


def _stored(model: Any) -> Iterator[Any]:
    """The initializers of an onnx_ir model and of the graphs nested in it."""
    for graph in (model.graph, *model.graph.subgraphs()):
        yield from graph.initializers.values()
