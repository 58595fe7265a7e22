"""Recorded types: what of them to believe, and how they go together with inferred ones."""

from __future__ import annotations

from irkit.types import Shape, TensorType, ValueType

UNNAMED = frozenset({"?", "None", "-1", "unk", "unknown"})
"""Symbols exporters write for "not known": two of them need not be equal."""


def cleaned(type: ValueType | None) -> ValueType | None:
    """A recorded type without symbols that name nothing."""
    if isinstance(type, TensorType) and type.shape is not None and any(dim in UNNAMED for dim in type.shape):
        return TensorType(type.dtype, tuple([None if dim in UNNAMED else dim for dim in type.shape]))
    return type


def first_known(type: ValueType | None, recorded: ValueType | None) -> ValueType | None:
    """The inferred type, or as much of the recorded one as it leaves open."""
    if type is None:
        return recorded
    if isinstance(type, TensorType) and isinstance(recorded, TensorType) and type.shape is None:
        return TensorType(type.dtype, recorded.shape)
    return type


def fits(declared: TensorType, found: TensorType) -> bool:
    """Whether both types can be true of one value."""
    if declared.dtype != found.dtype:
        return False
    if declared.shape is None or found.shape is None:
        return True
    if len(declared.shape) != len(found.shape):
        return False
    pairs = zip(declared.shape, found.shape, strict=True)
    return all(a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in pairs)


def specialised(declared: Shape | None, found: Shape | None, redeclare: bool = False) -> Shape | None:
    """A declared shape with the numbers that inference found in the place of what is no number, or of all."""
    if declared is None or found is None:
        return declared if found is None else found
    if len(declared) != len(found):
        return declared
    pairs = zip(declared, found, strict=True)
    return tuple([b if isinstance(b, int) and (redeclare or not isinstance(a, int)) else a for a, b in pairs])
