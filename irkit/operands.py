"""Element types while a replacement is built: what a number stands for beside its neighbours, what a node gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from irkit.ir import Node, Value
from irkit.opsets.signature import type_label
from irkit.types import DType, TensorType

if TYPE_CHECKING:
    from irkit.onnx.schema import Formal, OpSchema

DTypes = Mapping[Value, DType]
"""Element types of values whose type is not set yet."""


def dtype_of(value: object, known: DTypes) -> DType | None:
    """The element type of a value, as far as it is known."""
    if not isinstance(value, Value):
        return None
    return value.dtype or known.get(value)


def number_dtype(schema: OpSchema | None, slot: int, inputs: Sequence[Any], known: DTypes) -> DType | None:
    """What a plain number, or a list of them, at input `slot` is meant to be; None where nothing tells.

    The type of the operand it must agree with; else that of any operand, if it may have that; else the usual one.
    """
    found = [dtype_of(item, known) for item in inputs]
    nearest = next((dtype for dtype in found if dtype is not None), None)
    formal = schema.formal_input(slot) if schema is not None else None
    if schema is None or formal is None:
        return nearest
    for index, dtype in enumerate(found):
        other = schema.formal_input(index)
        if dtype is not None and other is not None and other.type_name == formal.type_name:
            return dtype
    if nearest is not None and type_label(TensorType(nearest, ())) in formal.types:
        return nearest
    return _usual(formal, inputs[slot])


def _usual(formal: Formal, item: Any) -> DType | None:
    """What a number is where no operand tells."""
    allowed = {dtype for label, dtype in _labels().items() if label in formal.types}
    if len(allowed) == 1:
        return allowed.pop()
    first = item[0] if isinstance(item, (list, tuple)) and item else item
    wanted = DType.BOOL if isinstance(first, bool) else DType.INT64 if isinstance(first, int) else DType.FLOAT32
    both = DType.FLOAT32 in allowed and wanted is DType.INT64
    return wanted if wanted in allowed and not both else None


def result_dtypes(node: Node, schema: OpSchema, known: DTypes) -> dict[Value, DType]:
    """The element types of a node's outputs that its schema and its operands tell."""
    bound: dict[str, DType] = {}
    for index, value in enumerate(node.inputs):
        formal, dtype = schema.formal_input(index), dtype_of(value, known)
        if formal is not None and dtype is not None:
            bound.setdefault(formal.type_name, dtype)
    found: dict[Value, DType] = {}
    for value in node.outputs:
        formal = schema.formal_output(value.index)
        if formal is None:
            continue
        dtype = bound.get(formal.type_name)
        if dtype is None and len(formal.types) == 1:
            dtype = _labels().get(next(iter(formal.types)))
        if dtype is None and node.op == "Cast" and not node.domain:
            dtype = DType(node.attr("to"))
        if dtype is not None:
            found[value] = dtype
    return found


@lru_cache(maxsize=1)
def _labels() -> dict[str, DType]:
    """Element types by the way schemas write them."""
    return {type_label(TensorType(dtype, ())) or "": dtype for dtype in DType if dtype is not DType.UNDEFINED}
