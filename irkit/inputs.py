"""Inputs to run a model on: seeded, and such as the model can take.

Floats are drawn from a normal distribution for even seeds and uniformly from 0 to 1 for odd ones. Integers stay where
the graph uses them sensibly: an index into a table stays within the table, a number that is compared with constants is
one of these. The same spec and seed give the same arrays on every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from irkit.errors import ExecutionError
from irkit.ir import Node, Value
from irkit.model import Model
from irkit.types import Dim, DType, Shape, TensorType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_PASSES_VALUES_ON = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand"})


@dataclass(frozen=True)
class InputSpec:
    """What to feed to one input: floats, or integers from `low` up to but not including `high`, or one of `choices`."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    low: int = 0
    high: int = 2
    choices: tuple[int, ...] = ()

    def draw(self, seed: int) -> Array:
        """An array of this spec."""
        import numpy as np

        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode())])
        if self.dtype.is_float:
            real = rng.random(self.shape) if seed % 2 else rng.standard_normal(self.shape)
            return np.asarray(real).astype(self.dtype.numpy)
        if self.dtype == DType.BOOL:
            mask = np.asarray(rng.random(self.shape) < 0.75)
            if mask.ndim:
                mask[..., :1] = True  # a mask that hides everything turns attention into NaN
            return mask
        if self.dtype == DType.STRING:
            return np.asarray(np.asarray(["a", "b", "c"], object)[rng.integers(0, 3, self.shape)])
        if self.choices:
            picks = rng.integers(0, len(self.choices), self.shape)
            return np.asarray(np.asarray(self.choices, self.dtype.numpy)[picks])
        return np.asarray(rng.integers(self.low, self.high, self.shape)).astype(self.dtype.numpy)


def fed_inputs(model: Model) -> list[Value]:
    """The inputs a caller must feed: those without stored data."""
    return [value for value in model.graph.inputs if not value.is_initializer]


def fillings(shapes: Mapping[str, Shape | None], sizes: Sequence[int]) -> Iterator[dict[str, Shape | None]]:
    """The shapes with numbers for the dimensions that have none: all the same, then one of them larger than the others.

    Dimensions with the same symbol get the same number. Where all are numbers, the shapes as they are, once.
    """
    dims = [_key(name, axis, dim) for name, shape in shapes.items() for axis, dim in enumerate(shape or ())]
    unknown = list(dict.fromkeys(key for key in dims if key is not None))
    if not unknown:
        yield dict(shapes)
        return
    choices = [dict.fromkeys(unknown, size) for size in sizes]
    choices += [{**dict.fromkeys(unknown, 1), key: size} for size in sizes[1:] for key in unknown if len(unknown) > 1]
    for choice in choices:
        yield {name: _filled(name, shape, choice) for name, shape in shapes.items()}


def _key(name: str, axis: int, dim: Dim) -> Dim | tuple[str, int]:
    """What stands for an unknown dimension; None for a number."""
    return None if isinstance(dim, int) and dim >= 0 else dim if isinstance(dim, str) else (name, axis)


def _filled(name: str, shape: Shape | None, choice: Mapping[Any, int]) -> Shape | None:
    if shape is None:
        return None
    return tuple(choice.get(_key(name, axis, dim), dim) for axis, dim in enumerate(shape))


def input_specs(model: Model, shapes: Mapping[str, Shape | None], free: int = 1) -> list[InputSpec]:
    """What to feed to a model.

    Args:
        model: the model.
        shapes: shapes that are known better from elsewhere, by input name.
        free: the number that stands for every dimension that is no number there either.

    Raises:
        ExecutionError: an input is of a type that no numbers can be drawn for.
    """
    return [_spec(value, shapes.get(value.name), free) for value in fed_inputs(model)]


def draw(specs: list[InputSpec], seed: int) -> dict[str, Array]:
    """Inputs by name."""
    return {spec.name: spec.draw(seed) for spec in specs}


def _spec(value: Value, known: Shape | None, free: int) -> InputSpec:
    type_ = value.type
    if not isinstance(type_, TensorType) or not (type_.dtype.is_native or type_.dtype == DType.STRING):
        raise ExecutionError(f"no numbers can be drawn for input {value.name!r} of type {type_}")
    dims = type_.shape if known is None else known
    if dims is None:
        raise ExecutionError(f"the rank of input {value.name!r} is not known")
    shape = tuple(dim if isinstance(dim, int) and dim >= 0 else free for dim in dims)
    if not type_.dtype.is_integer:
        return InputSpec(value.name, type_.dtype, shape)
    if type_.dtype in (DType.UINT8, DType.INT8):
        low = 0 if type_.dtype == DType.UINT8 else -128
        return InputSpec(value.name, type_.dtype, shape, low, low + 256)
    choices, highs = set[int](), list[int]()
    for use in _meaningful_uses(value):
        _learn(*use, choices, highs)
    if highs:
        return InputSpec(value.name, type_.dtype, shape, high=max(1, min(highs)))
    return InputSpec(value.name, type_.dtype, shape, choices=tuple(sorted(choices)))


def _meaningful_uses(value: Value) -> Iterator[tuple[Node, int]]:
    """Uses of an integer by operators that do more than pass it on, nested graphs included."""
    stack, seen = [value], {value}
    while stack:
        for use in stack.pop().uses:
            yield use
            if use.node.op in _PASSES_VALUES_ON and use.slot == 0:
                fresh = [output for output in use.node.outputs if output not in seen]
                seen.update(fresh)
                stack.extend(fresh)


def _learn(node: Node, slot: int, choices: set[int], highs: list[int]) -> None:
    """What the use of an integer tells of the numbers it may be."""
    inputs = node.inputs
    if node.op in ("Gather", "GatherElements") and slot == 1 and inputs[0] is not None:
        shape, axis = inputs[0].shape, node.attr("axis", 0)
        size = shape[axis] if shape and -len(shape) <= axis < len(shape) else None
        if isinstance(size, int):
            highs.append(size)
    elif node.op == "OneHot" and slot == 0 and inputs[1] is not None and inputs[1].constant is not None:
        highs.append(int(inputs[1].constant.numpy().reshape(-1)[0]))
    elif node.op == "Equal":
        other = inputs[1 - slot]
        constant = other.constant if other is not None else None
        if constant is not None and constant.size <= 16 and constant.dtype.is_integer:
            choices.update(int(item) for item in constant.numpy().reshape(-1))
