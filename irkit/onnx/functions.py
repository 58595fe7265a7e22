"""Bodies that ONNX itself gives for operators: what the operator computes, written in simpler ones."""

from __future__ import annotations

from typing import Any

import onnx
import onnx.helper

from irkit.ir import Node
from irkit.model import Function
from irkit.onnx.proto import node_proto, type_proto
from irkit.onnx.reader import loads
from irkit.onnx.schema import find_schema


def official_function(node: Node, version: int) -> Function | None:
    """The body of a node's operator as a function that the node can call; None where ONNX has none for it.

    Args:
        node: a node of ONNX's own domain. Many bodies are made for its attributes and the types of its inputs; where
            such a type is not known there is no body.
        version: version of the operator set it is written in. What the body is written in is `Function.opset_imports`.
    """
    schema = find_schema(node.op, "", version)
    if schema is None or not schema.has_function:
        return None
    found = _plain_body(schema.handle) or _body_for(schema.handle, node)
    if found is None or not _makes_all(found, node):
        return None
    found.name, found.domain = node.op, "ai.onnx.functions"
    imports = [onnx.helper.make_opsetid(found.domain, 1), *found.opset_import]
    model = onnx.ModelProto(ir_version=8, functions=[found], opset_import=imports, graph=onnx.GraphProto(name="none"))
    return next(iter(loads(model.SerializeToString()).functions.values()))


def _makes_all(body: onnx.FunctionProto, node: Node) -> bool:
    """Whether the body makes every output that the node has. It may list others; those get the name of one it makes."""
    made = {name for inner in body.node for name in inner.output}
    missing = [index for index, name in enumerate(body.output) if name not in made]
    for index in missing:
        body.output[index] = next((name for name in body.output if name in made), "")
    return bool(body.node) and not any(node.outputs[index].name for index in missing if index < len(node.outputs))


def _plain_body(schema: Any) -> onnx.FunctionProto | None:
    versions = schema.function_opset_versions
    return _parsed(schema.get_function_with_opset_version(min(versions))) if versions else None


def _body_for(schema: Any, node: Node) -> onnx.FunctionProto | None:
    versions = schema.context_dependent_function_opset_versions
    given = [value.type if value is not None else None for value in node.inputs]
    if not versions or any(value is not None and value.type is None for value in node.inputs):
        return None
    types = [type_proto(type).SerializeToString() if type is not None else b"" for type in given]
    encoded = node_proto(node).SerializeToString()
    return _parsed(schema.get_context_dependent_function_with_opset_version(min(versions), encoded, types))


def _parsed(data: bytes) -> onnx.FunctionProto:
    body = onnx.FunctionProto()
    body.ParseFromString(data)
    return body
