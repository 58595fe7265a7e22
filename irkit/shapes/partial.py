"""How facts pass through shape arithmetic when only some elements are known.

Nodes whose inputs are all constant are computed by `irkit.fold`; these rules are for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from irkit.kernels.indexing import shape_slice
from irkit.kernels.moving import slice_of
from irkit.shapes.facts import MOST_DIMS, Fact, fact_of, is_scalar, items_of, numbers_of
from irkit.shapes.site import Site, Unknown
from irkit.types import Dim, DType, Shape

Rule: TypeAlias = "Callable[[Site], Sequence[Fact | None]]"

RULES: dict[str, Rule] = {}
"""Rules by operator of ONNX's own domain."""


def _rule(*ops: str) -> Callable[[Rule], Rule]:
    def decorate(rule: Rule) -> Rule:
        for op in ops:
            RULES[op] = rule
        return rule

    return decorate


def _items(site: Site, index: int) -> Shape:
    found = items_of(site.fact(index))
    if found is None:
        raise Unknown
    return found


def _dtype(site: Site, index: int) -> DType:
    fact = site.fact(index)
    assert fact is not None
    return fact.dtype


def _is_scalar(site: Site, index: int) -> bool:
    fact = site.fact(index)
    assert fact is not None
    return is_scalar(fact)


@_rule("Shape")
def _shape(site: Site) -> list[Fact | None]:
    dims = site.shape(0)
    if dims is None:
        return [None]
    return [fact_of(dims[shape_slice(site.attr("start"), site.attr("end"), len(dims))])]


@_rule("Size")
def _size(site: Site) -> list[Fact | None]:
    dims = site.shape(0)
    if dims is None:
        return [None]
    total: Dim = 1
    for dim in dims:
        total = _times(total, dim)
    return [fact_of([total], is_scalar=True)]


@_rule("Identity")
def _identity(site: Site) -> list[Fact | None]:
    return [site.fact(0)]


@_rule("Cast")
def _cast(site: Site) -> list[Fact | None]:
    items, target = _items(site, 0), DType(site.attr("to"))
    if target not in (DType.INT64, DType.INT32) or _dtype(site, 0) not in (DType.INT64, DType.INT32):
        raise Unknown
    return [fact_of(items, target, is_scalar=_is_scalar(site, 0))]


@_rule("Gather")
def _gather(site: Site) -> list[Fact | None]:
    items, places = _items(site, 0), numbers_of(site.fact(1))
    if places is None or _is_scalar(site, 0) or any(not -len(items) <= place < len(items) for place in places):
        raise Unknown
    return [fact_of([items[place] for place in places], _dtype(site, 0), is_scalar=_is_scalar(site, 1))]


@_rule("Slice")
def _slice(site: Site) -> list[Fact | None]:
    items = _items(site, 0)
    starts, ends = site.ints(1, "starts"), site.ints(2, "ends")
    steps = site.ints(4) or (1,)
    if starts is None or ends is None or len(starts) != 1 or len(ends) != 1:
        raise Unknown
    return [fact_of(items[slice_of(starts[0], ends[0], steps[0], len(items))], _dtype(site, 0))]


@_rule("Concat")
def _concat(site: Site) -> list[Fact | None]:
    parts: list[Dim] = []
    for index, fact in enumerate(site.facts):
        items = items_of(fact)
        if items is None:  # of an unknown vector of known length, at least the length counts
            shape = site.shape(index)
            if shape is None or len(shape) != 1 or not isinstance(shape[0], int):
                raise Unknown
            items = (None,) * shape[0]
        parts += items
        if len(parts) > MOST_DIMS:
            raise Unknown
    return [fact_of(parts, site.dtype(0))]


@_rule("Unsqueeze", "Squeeze", "Reshape", "Flatten")
def _reshaped(site: Site) -> list[Fact | None]:
    """Between scalars and vectors of one element, or not at all."""
    items = _items(site, 0)
    op = site.node.op
    if op == "Reshape":
        target = site.ints(1, "shape")
        if target is None or len(target) > 1:
            raise Unknown
        return [fact_of(items, _dtype(site, 0), is_scalar=not target)]
    axes = site.ints(1, "axes")
    if op == "Unsqueeze" and _is_scalar(site, 0) and axes in ((0,), (-1,)):
        return [fact_of(items, _dtype(site, 0))]
    if op == "Squeeze" and len(items) == 1:
        return [fact_of(items, _dtype(site, 0), is_scalar=True)]
    raise Unknown


@_rule("Split")
def _split(site: Site) -> list[Fact | None]:
    items, sizes = _items(site, 0), site.ints(1, "split")
    if sizes is None or sum(sizes) != len(items):
        raise Unknown
    ends = [sum(sizes[: place + 1]) for place in range(len(sizes))]
    return [fact_of(items[end - size : end], _dtype(site, 0)) for end, size in zip(ends, sizes, strict=True)]


def _plus(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return left if right == 0 else right if left == 0 else None


def _minus(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return left - right
    if left is not None and left == right:
        return 0
    return left if right == 0 else None


def _times(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    if 0 in (left, right):
        return 0
    return left if right == 1 else right if left == 1 else None


def _over(left: Dim, right: Dim) -> Dim:
    if isinstance(left, int) and isinstance(right, int):
        if right == 0:
            return None
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    return left if right == 1 else None


def _choose(pick: Callable[[int, int], int]) -> Callable[[Dim, Dim], Dim]:
    def choose(left: Dim, right: Dim) -> Dim:
        if isinstance(left, int) and isinstance(right, int):
            return pick(left, right)
        return left if left == right else None

    return choose


def _compare(test: Callable[[int, int], bool]) -> Callable[[Dim, Dim], Dim]:
    def compare(left: Dim, right: Dim) -> Dim:
        if isinstance(left, int) and isinstance(right, int):
            return test(left, right)
        if left is not None and left == right:
            return test(0, 0)
        # A dimension is never negative.
        for dim, number, swapped in ((left, right, False), (right, left, True)):
            if isinstance(dim, str) and isinstance(number, int) and number < 0:
                return test(number, 0) if swapped else test(0, number)
        return None

    return compare


_BINARY: dict[str, Callable[[Dim, Dim], Dim]] = {
    "Add": _plus, "Sub": _minus, "Mul": _times, "Div": _over, "Min": _choose(min), "Max": _choose(max),
    "Equal": _compare(lambda a, b: a == b), "Less": _compare(lambda a, b: a < b),
    "Greater": _compare(lambda a, b: a > b), "GreaterOrEqual": _compare(lambda a, b: a >= b),
    "LessOrEqual": _compare(lambda a, b: a <= b),
}  # fmt: skip

_TO_BOOL = frozenset({"Equal", "Less", "Greater", "GreaterOrEqual", "LessOrEqual"})


@_rule(*_BINARY)
def _binary(site: Site) -> list[Fact | None]:
    if len(site.facts) != 2:
        raise Unknown
    left, right = _items_or_unknown(site, 0), _items_or_unknown(site, 1)
    if all(item is None for item in (*left, *right)):
        raise Unknown
    (left, right), scalar = _aligned(site, [left, right])
    items = [_BINARY[site.node.op](a, b) for a, b in zip(left, right, strict=True)]
    return [fact_of(items, DType.BOOL if site.node.op in _TO_BOOL else site.dtype(0), is_scalar=scalar)]


@_rule("Where")
def _where(site: Site) -> list[Fact | None]:
    parts = [_items_or_unknown(site, index) for index in range(3)]
    (condition, yes, no), scalar = _aligned(site, parts)
    items = [
        a if test or (test is None and a == b) else None if test is None else b
        for test, a, b in zip(condition, yes, no, strict=True)
    ]
    return [fact_of(items, site.dtype(1), is_scalar=scalar)]


def _items_or_unknown(site: Site, index: int) -> Shape:
    """Items of an integer or boolean operand; of one that is not known, as many Nones."""
    items = items_of(site.fact(index))
    if items is not None:
        return items
    shape, dtype = site.shape(index), site.dtype(index)
    if shape is None or len(shape) > 1 or not (dtype.is_integer or dtype == DType.BOOL):
        raise Unknown
    length = shape[0] if shape else 1
    if not isinstance(length, int) or length > MOST_DIMS:
        raise Unknown
    return (None,) * length


def _aligned(site: Site, parts: list[Shape]) -> tuple[list[Shape], bool]:
    """The operands broadcast to one length, and whether all are scalars."""
    length = max(len(part) for part in parts)
    if not all(parts) or any(len(part) not in (1, length) for part in parts):
        raise Unknown
    shapes: list[Any] = [site.shape(index) for index in range(len(parts))]
    return [part * length if len(part) == 1 else part for part in parts], all(shape == () for shape in shapes)
