"""Operator schemas, as plain data: what the onnx package knows of an operator in a version of its operator set."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx
import onnx.defs
import onnx.helper

from irkit.attributes import AttrKind


@dataclass(frozen=True)
class Formal:
    """A declared input or output.

    Attributes: `types` are ONNX's type strings, such as `tensor(float)`; `type_name` is the variable they stand for,
    which formals of one type share.
    """

    name: str
    type_name: str
    types: frozenset[str]
    optional: bool = False
    variadic: bool = False


@dataclass(frozen=True)
class AttributeSchema:
    """A declared attribute; `default` is None where leaving it out means something of its own."""

    name: str
    kind: AttrKind
    required: bool
    default: Any


@dataclass(frozen=True, eq=False)
class OpSchema:
    """An operator as it stands since version `since_version` of its domain.

    Attributes: `min_inputs` ... `max_outputs` bound the counts; `has_function` tells that onnx knows a body of simpler
    operators for it, `has_inference` that it can infer types; `handle` is onnx's own object.
    """

    op: str
    domain: str
    since_version: int
    inputs: tuple[Formal, ...]
    outputs: tuple[Formal, ...]
    min_inputs: int
    max_inputs: int
    min_outputs: int
    max_outputs: int
    attributes: Mapping[str, AttributeSchema]
    deprecated: bool
    has_function: bool
    has_inference: bool
    handle: Any = field(repr=False)

    def formal_input(self, index: int) -> Formal | None:
        """The declared input that input `index` of a node is; the last one where it is variadic."""
        return _formal(self.inputs, index)

    def formal_output(self, index: int) -> Formal | None:
        """The same for outputs."""
        return _formal(self.outputs, index)


def _formal(formals: Sequence[Formal], index: int) -> Formal | None:
    if index < len(formals):
        return formals[index]
    return formals[-1] if formals and formals[-1].variadic else None


@functools.lru_cache(maxsize=4096)
def find_schema(op: str, domain: str, version: int) -> OpSchema | None:
    """The schema of an operator in a version of its domain, or None where onnx knows none."""
    try:
        found = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return None
    return _describe(found)


def latest_version(domain: str) -> int:
    """The newest version of a domain that the installed onnx knows; 0 where it does not know the domain."""
    newest = onnx.defs.onnx_opset_version() if domain == "" else 0
    return int(newest or _versions().get(domain, 0))


@functools.lru_cache(maxsize=1)
def _versions() -> dict[str, int]:
    versions: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        versions[schema.domain] = max(versions.get(schema.domain, 0), schema.since_version)
    return versions


@functools.lru_cache(maxsize=4096)
def _described(op: str, domain: str, since_version: int) -> OpSchema:
    return _build(onnx.defs.get_schema(op, since_version, domain))


def _describe(found: Any) -> OpSchema:
    """One object for all versions in which the schema is the same, so that `is` tells whether it changed."""
    return _described(found.name, found.domain, found.since_version)


def _build(found: Any) -> OpSchema:
    return OpSchema(
        op=found.name,
        domain=found.domain,
        since_version=found.since_version,
        inputs=tuple(_describe_formal(item) for item in found.inputs),
        outputs=tuple(_describe_formal(item) for item in found.outputs),
        min_inputs=found.min_input,
        max_inputs=found.max_input,
        min_outputs=found.min_output,
        max_outputs=found.max_output,
        attributes={name: _describe_attribute(name, item) for name, item in found.attributes.items()},
        deprecated=bool(found.deprecated),
        has_function=bool(found.has_function or found.has_context_dependent_function),
        has_inference=bool(found.has_type_and_shape_inference_function),
        handle=found,
    )


def _describe_formal(item: Any) -> Formal:
    option = item.option.name
    type_name = getattr(item, "type_str", None) or item.typeStr
    return Formal(item.name, type_name, frozenset(item.types), option == "Optional", option == "Variadic")


def _describe_attribute(name: str, item: Any) -> AttributeSchema:
    default = item.default_value
    value = onnx.helper.get_attribute_value(default) if default.type else None
    if isinstance(value, bytes):
        value = value.decode()
    elif isinstance(value, list):
        value = tuple(entry.decode() if isinstance(entry, bytes) else entry for entry in value)
    elif isinstance(value, onnx.TensorProto):  # ConstantOfShape and the like say in words what they mean by none
        value = None
    return AttributeSchema(name, _kind(item.type.name), bool(item.required), value)


def _kind(name: str) -> AttrKind:
    return AttrKind.TYPE if name == "TYPE_PROTO" else AttrKind[name]
