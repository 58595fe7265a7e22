"""What is known of a value besides its type.

A fact is a constant (`Tensor`), or a `Partial`: a scalar or vector of integers or booleans of which some elements are
known. An element is a number, the name of a dimension (whose value it is, so it is not negative), or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from irkit.tensor import Tensor
from irkit.types import Dim, DType, Shape

MOST_ELEMENTS = 1 << 12
"""Constants of more elements are not followed by inference."""

MOST_DIMS = 64
"""Vectors of more elements are not followed element by element."""


@dataclass(frozen=True)
class Partial:
    """A scalar (`is_scalar`, one item) or a vector of which some elements are known."""

    items: Shape
    dtype: DType = DType.INT64
    is_scalar: bool = False


Fact: TypeAlias = "Tensor | Partial"


def fact_of(items: Sequence[Dim], dtype: DType = DType.INT64, *, is_scalar: bool = False) -> Fact | None:
    """The fact that states these items: a constant where all are known, None where none is."""
    if all(item is None for item in items) and items:
        return None
    if all(isinstance(item, int) for item in items):
        array = np.asarray(items, dtype.numpy)
        return Tensor.of(array.reshape(()) if is_scalar else array)
    return Partial(tuple(items), dtype, is_scalar)


def items_of(fact: Fact | None) -> Shape | None:
    """The items of an integer or boolean scalar or vector; None for anything else."""
    if isinstance(fact, Partial):
        return fact.items
    if fact is None or fact.rank > 1 or fact.size > MOST_DIMS:
        return None
    if not (fact.dtype.is_integer or fact.dtype == DType.BOOL) or not fact.dtype.is_native:
        return None
    return tuple(int(item) for item in fact.numpy().reshape(-1))


def is_scalar(fact: Fact) -> bool:
    """Whether it has rank 0."""
    return fact.is_scalar if isinstance(fact, Partial) else fact.rank == 0


def numbers_of(fact: Fact | None) -> tuple[int, ...] | None:
    """The items where all are numbers."""
    items = items_of(fact)
    if items is None or not all(isinstance(item, int) for item in items):
        return None
    return items  # type: ignore[return-value]  # just seen


def merge_facts(left: Fact | None, right: Fact | None) -> Fact | None:
    """What holds whichever of the two holds."""
    if left is None or right is None:
        return None
    if isinstance(left, Tensor) and isinstance(right, Tensor) and left == right:
        return left
    ours, theirs = items_of(left), items_of(right)
    if ours is None or theirs is None or len(ours) != len(theirs) or is_scalar(left) != is_scalar(right):
        return None
    if left.dtype != right.dtype:
        return None
    return fact_of(
        [a if a == b else None for a, b in zip(ours, theirs, strict=True)], left.dtype, is_scalar=is_scalar(left)
    )
