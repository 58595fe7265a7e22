"""Parts of the IR to and from the message classes of the onnx package.

Whole models are in `irkit.onnx.interop`.
"""

from __future__ import annotations

import onnx

from irkit.ir import Node
from irkit.onnx.encoder import Encoder
from irkit.onnx.external import ExternalFiles
from irkit.onnx.tensors import Origin, decode_tensor, encode_tensor
from irkit.onnx.typeinfo import decode_type, encode_type
from irkit.tensor import Tensor
from irkit.types import ValueType


def node_proto(node: Node) -> onnx.NodeProto:
    """The NodeProto of a node, with the graphs nested in it."""
    proto: onnx.NodeProto = onnx.NodeProto.FromString(Encoder().node(node).tobytes())
    return proto


def type_proto(kind: ValueType) -> onnx.TypeProto:
    """The TypeProto of a type."""
    proto: onnx.TypeProto = onnx.TypeProto.FromString(encode_type(kind))
    return proto


def type_from_proto(proto: onnx.TypeProto) -> ValueType | None:
    """The type a TypeProto tells; None where it says nothing."""
    return decode_type(proto.SerializeToString())


def tensor_proto(tensor: Tensor, name: str = "") -> onnx.TensorProto:
    """The TensorProto of a tensor. Raises `SourceChangedError` where the file under it changed."""
    proto: onnx.TensorProto = onnx.TensorProto.FromString(encode_tensor(tensor, name).tobytes())
    return proto


def tensor_from_proto(proto: onnx.TensorProto) -> Tensor:
    """The tensor of a TensorProto. Raises `ModelError` where its data is not in it or is of the wrong size."""
    data = proto.SerializeToString()
    return decode_tensor(data, 0, len(data), Origin(None, ExternalFiles(None)))[1]
