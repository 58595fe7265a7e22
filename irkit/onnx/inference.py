"""Types of one node's outputs by the onnx package's own inference, with results kept for equal questions."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

from irkit.attributes import Attr
from irkit.errors import ModelError
from irkit.ir import Graph, Node
from irkit.onnx import wire
from irkit.onnx.attrs import encode_attribute
from irkit.onnx.schema import OpSchema
from irkit.onnx.tensors import encode_tensor
from irkit.onnx.typeinfo import decode_type, encode_type
from irkit.tensor import Tensor
from irkit.types import OptionalType, SequenceType, TensorType, ValueType

Types: TypeAlias = "tuple[ValueType | None, ...]"


class Inconsistent(Exception):  # noqa: N818  (an answer about the user's model, reported as a finding)
    """onnx finds that the node does not fit its inputs; the message says how."""


class AttributesKey:
    """Attributes of a node as a key: equal where they are equal in kind and value."""

    __slots__ = ("_hash", "_key", "attrs")

    def __init__(self, attrs: Mapping[str, Attr]) -> None:
        self.attrs = attrs
        self._key = tuple(sorted((name, int(attr.kind), _frozen(attr.value), attr.ref) for name, attr in attrs.items()))
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AttributesKey) and self._key == other._key


def _frozen(value: Any) -> Any:
    if isinstance(value, Tensor):
        return (int(value.dtype), value.shape, value.digest())
    if isinstance(value, tuple):
        return tuple(_frozen(item) for item in value)
    return repr(value)


class DataKey:
    """A small constant as a key."""

    __slots__ = ("_hash", "_key", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._key = (int(tensor.dtype), tensor.shape, tensor.tobytes())
        self._hash = hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataKey) and self._key == other._key


@functools.lru_cache(maxsize=1 << 14)
def infer_outputs(
    schema: OpSchema,
    version: int,
    attrs: AttributesKey,
    given: tuple[bool, ...],
    types: Types,
    data: tuple[DataKey | None, ...],
    outputs: tuple[bool, ...],
) -> Types:
    """Types of the outputs of a node of this operator, None where onnx does not say.

    Args:
        schema: of the operator.
        version: of its domain in force.
        attrs: without subgraphs.
        given: which inputs are given.
        types: of the inputs, None where unknown.
        data: constants among the inputs that its shape may hang on.
        outputs: which outputs are asked for.

    Raises `Inconsistent` where onnx says that the node is wrong.
    """
    node = _node_bytes(schema, attrs, given, outputs)
    known = {f"i{place}": encode_type(type) for place, type in enumerate(types) if type is not None and given[place]}
    values = {f"i{place}": encode_tensor(key.tensor, f"i{place}").tobytes() for place, key in enumerate(data) if key}
    try:
        # The public infer_node_outputs of onnx 1.16 fails on inputs left out; what it calls does not.
        found = schema.handle._infer_node_outputs(node, known, values, {}, {schema.domain: version}, 8)
    except Exception as error:  # noqa: BLE001  (its errors are of several classes, some of them plain RuntimeError)
        raise Inconsistent(_first_line(error)) from None
    return tuple(_decoded(found.get(f"o{place}")) for place in range(len(outputs)))


def _node_bytes(schema: OpSchema, attrs: AttributesKey, given: tuple[bool, ...], outputs: tuple[bool, ...]) -> bytes:
    """The NodeProto: input=1, output=2, op_type=4, attribute=5, domain=7."""
    parts = [wire.blob(1, f"i{place}".encode() if there else b"") for place, there in enumerate(given)]
    parts += [wire.blob(2, f"o{place}".encode() if there else b"") for place, there in enumerate(outputs)]
    parts.append(wire.blob(4, schema.op.encode()))
    parts += [wire.blob(5, encode_attribute(attr, _no_graph).tobytes()) for attr in attrs.attrs.values()]
    if schema.domain:
        parts.append(wire.blob(7, schema.domain.encode()))
    return b"".join(parts)


def _no_graph(_: Graph) -> Any:
    raise ModelError("types of nodes with subgraphs are inferred by irkit itself")


def _decoded(data: bytes | None) -> ValueType | None:
    found = decode_type(data) if data else None
    return found if found is None or _is_said(found) else None


def _is_said(type: ValueType) -> bool:
    if isinstance(type, TensorType):
        return bool(type.dtype)
    if isinstance(type, (SequenceType, OptionalType)):
        return type.element is not None
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def attributes_key(node: Node) -> AttributesKey:
    """The key of a node's attributes. Nodes of a file share the mapping of equal attributes, and so the key."""
    attrs = node.attrs
    found = _keys.get(id(attrs))
    if found is None or found.attrs is not attrs:
        if len(_keys) > _MOST_KEYS:
            _keys.clear()
        found = _keys[id(attrs)] = AttributesKey(attrs)
    return found


_MOST_KEYS = 1 << 14
_keys: dict[int, AttributesKey] = {}
"""By identity of the mapping, which is never changed in place and which the key keeps alive."""
