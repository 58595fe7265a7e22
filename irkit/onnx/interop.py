"""Whole models to and from the objects of other packages: onnx, onnx-graphsurgeon, onnx-ir, networkx."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from irkit.model import Model
from irkit.onnx.bipartite import from_networkx as from_networkx, to_networkx as to_networkx
from irkit.onnx.lending import GraphSurgeonLoan, Loan, OnnxIrLoan, package
from irkit.onnx.reader import loads
from irkit.onnx.writer import dumps

if TYPE_CHECKING:
    import onnx


def from_proto(proto: onnx.ModelProto, *, folder: str | os.PathLike[str] | None = None) -> Model:
    """The model of a ModelProto, which is copied. Raises `ModelError` where it is no valid graph.

    Args:
        proto: at most 2 GB, as protobuf has it; larger models are read from files (`irkit.load`).
        folder: where the files of external data are, if it has some.
    """
    return loads(proto.SerializeToString(), folder=folder)


def to_proto(model: Model) -> onnx.ModelProto:
    """The ModelProto of a model, its weights included. Raises `OutputError` above protobuf's 2 GB."""
    import onnx

    proto: onnx.ModelProto = onnx.ModelProto.FromString(dumps(model))
    return proto


def from_graphsurgeon(graph: Any) -> Model:
    """The model of an `onnx_graphsurgeon.Graph`. Raises `MissingDependencyError` where that is not installed."""
    return from_proto(package("onnx_graphsurgeon", "onnx-graphsurgeon").export_onnx(graph))


def to_graphsurgeon(model: Model) -> Any:
    """The `onnx_graphsurgeon.Graph` of a model.

    It holds nodes, attributes, constants, functions and opset imports. It has no place for metadata, doc strings,
    recorded types of the insides of functions, quantization annotations and training information: these are lost.

    Raises `MissingDependencyError` where onnx-graphsurgeon is not installed.
    """
    return package("onnx_graphsurgeon", "onnx-graphsurgeon").import_onnx(to_proto(model))


def from_onnx_ir(model: Any) -> Model:
    """The model of an `onnx_ir.Model`. Raises `MissingDependencyError` where that is not installed."""
    return from_proto(package("onnx_ir", "onnx-ir").to_proto(model))


def to_onnx_ir(model: Model) -> Any:
    """The `onnx_ir.Model` of a model; larger weights are arrays over the model's own data, so it must stay open.

    Raises `MissingDependencyError` where onnx-ir is not installed.
    """
    return OnnxIrLoan(model).given


class NetworkxLoan:
    """A model lent as a networkx graph of its values and nodes."""

    def __init__(self, model: Model) -> None:
        self.given = to_networkx(model)
        self.before = from_networkx(self.given)

    def read(self, changed: Any) -> Model:
        """The model of what became of the graph."""
        return from_networkx(changed)


LOANS: dict[str, type[Loan] | type[NetworkxLoan]] = {
    "onnx": Loan,
    "graphsurgeon": GraphSurgeonLoan,
    "onnx_ir": OnnxIrLoan,
    "networkx": NetworkxLoan,
}
"""What a model can be lent as."""
