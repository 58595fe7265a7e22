"""What schemas alone tell: steps that need no rule, and whether a node fits its schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irkit.ir import Node, Value
from irkit.onnx.schema import AttributeSchema, Formal, OpSchema
from irkit.opsets.step import Step
from irkit.types import DType, OptionalType, SequenceType, TensorType, ValueType

_IGNORED = frozenset({"consumed_inputs", "output_sequence"})
"""Attributes of the first versions that told an executor how to run, not what to compute."""


def take_step(step: Step) -> None:
    """Take a node across a change that its schemas describe: attributes that came, went, or changed their default."""
    node, old, new = step.node, step.old, step.new
    if new is None or new.deprecated:
        step.refuse("there is no such operator")
    for name, attr in list(node.attrs.items()):
        if name in new.attributes:
            continue
        declared = old.attributes.get(name)
        if name not in _IGNORED and not (declared is not None and _says_nothing(attr.value, declared)):
            step.refuse(f"there is no attribute {name!r}, which is {attr.value!r} here")
        node.set_attr(name, None)
    for name, declared in new.attributes.items():
        before = old.attributes.get(name)
        if name not in node.attrs and before is not None and before.default != declared.default:
            if before.default is None:
                step.refuse(f"attribute {name!r} is left out, which means something else there")
            node.set_attr(name, before.default)
    _trim(node)
    for problem in _count_problems(node, new):
        step.refuse(problem)


def _says_nothing(value: object, declared: AttributeSchema) -> bool:
    """Whether an attribute is as if it were left out."""
    if declared.name == "dilations" and isinstance(value, tuple):
        return all(item == 1 for item in value)
    return declared.default is not None and value == declared.default


def _trim(node: Node) -> None:
    """Take away trailing inputs and outputs that are left out."""
    while node.outputs and not node.outputs[-1].name:
        node.drop_output()
    inputs = node.inputs
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    node.set_inputs(inputs)


def problems(node: Node, schema: OpSchema) -> Iterator[str]:
    """Why a node does not fit a schema: nothing where it does. Types are checked where they are known."""
    if schema.deprecated:
        yield "there is no such operator"
    for name in node.attrs:
        if name not in schema.attributes:
            yield f"there is no attribute {name!r}"
    for name, declared in schema.attributes.items():
        if declared.required and name not in node.attrs:
            yield f"attribute {name!r} is missing"
    yield from _count_problems(node, schema)
    yield from _type_problems(node, schema)


def _count_problems(node: Node, schema: OpSchema) -> Iterator[str]:
    if not schema.min_inputs <= len(node.inputs) <= schema.max_inputs:
        yield f"it has {len(node.inputs)} inputs, which must be {schema.min_inputs}..{schema.max_inputs}"
    if not schema.min_outputs <= len(node.outputs) <= schema.max_outputs:
        yield f"it has {len(node.outputs)} outputs, which must be {schema.min_outputs}..{schema.max_outputs}"
    for index, value in enumerate(node.inputs):
        formal = schema.formal_input(index)
        if value is None and formal is not None and not formal.optional:
            yield f"input {formal.name!r} is missing"


def _type_problems(node: Node, schema: OpSchema) -> Iterator[str]:
    bound: dict[str, tuple[str, str]] = {}
    formals = [*_pairs(node.inputs, schema.formal_input), *_pairs(node.outputs, schema.formal_output)]
    for value, formal in formals:
        label = type_label(value.type)
        if label is None:
            continue
        if label not in formal.types:
            yield f"{formal.name!r} must not be {label}"
        elif not formal.variadic:
            other, name = bound.setdefault(formal.type_name, (label, formal.name))
            if other != label:
                yield f"{formal.name!r} is {label} and {name!r} {other}; they must be of one type"


def _pairs(values: Sequence[Value | None], formal_of: object) -> Iterator[tuple[Value, Formal]]:
    assert callable(formal_of)
    for index, value in enumerate(values):
        formal = formal_of(index)
        if value is not None and value.name and formal is not None:
            yield value, formal


_LABELS = {DType.FLOAT32: "float", DType.FLOAT64: "double"}


def type_label(type: ValueType | None) -> str | None:
    """A type as schemas write it, such as `tensor(float)`; None where it is not known or not written so."""
    if isinstance(type, TensorType):
        return None if type.dtype == DType.UNDEFINED else f"tensor({_LABELS.get(type.dtype, type.dtype.label)})"
    if isinstance(type, (SequenceType, OptionalType)):
        element = type_label(type.element)
        kind = "seq" if isinstance(type, SequenceType) else "optional"
        return None if element is None else f"{kind}({element})"
    return None
