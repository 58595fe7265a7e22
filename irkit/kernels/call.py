"""What a kernel sees of a node, and the table the kernels are entered in."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from irkit.ir import Node
from irkit.ops import attribute, schema_of
from irkit.tensor import Tensor
from irkit.types import DType, TensorType

Array: TypeAlias = "np.ndarray[Any, np.dtype[Any]]"


class CannotEvaluate(Exception):  # noqa: N818  (a decision, not an error)
    """The kernel declines: the node is left to the runtime."""


class Exactness(enum.Enum):
    """How far a kernel's result is sure to be what every runtime computes."""

    EXACT = "exact"
    """Bit for bit: moved elements, integers, or one IEEE operation."""
    INTEGERS = "integers"
    """Exact on integers and booleans; float results carry rounding of their own."""
    ROUNDED = "rounded"
    """Floats that depend on the order of sums or on a math library."""


class Call:
    """A node with constant inputs."""

    __slots__ = ("_version", "inputs", "node")

    def __init__(self, node: Node, inputs: Sequence[Tensor | None]) -> None:
        self.node = node
        self.inputs = tuple(inputs)
        self._version: int | None = None

    @property
    def version(self) -> int:
        """Version since which the operator is as it is used here."""
        if self._version is None:
            found = schema_of(self.node)
            self._version = found.since_version if found is not None else 0
        return self._version

    def attr(self, name: str) -> Any:
        """Value of an attribute or its schema's default; None where there is neither."""
        found = self.node.attrs.get(name)
        if found is not None and found.ref:
            raise CannotEvaluate
        return attribute(self.node, name)

    def has(self, index: int) -> bool:
        """Whether that input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def tensor(self, index: int) -> Tensor:
        """An input that must be given."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise CannotEvaluate
        return found

    def array(self, index: int) -> Array:
        """Its data; bit patterns where numpy lacks the element type."""
        return self.tensor(index).numpy()

    def native(self, index: int) -> Array:
        """Its data where numpy computes in its element type; declines otherwise."""
        found = self.tensor(index)
        if not found.dtype.is_native:
            raise CannotEvaluate
        return found.numpy()

    def arrays(self) -> list[Array]:
        """All inputs, which must be of types numpy computes in."""
        return [self.native(index) for index in range(len(self.inputs))]

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of an input, constant or not. Declines where it is not static."""
        if self.has(index):
            return self.tensor(index).shape
        value = self.node.input(index)
        kind = value.type if value is not None else None
        if not isinstance(kind, TensorType) or kind.shape is None or not kind.is_static:
            raise CannotEvaluate
        return tuple(int(dim) for dim in kind.shape if dim is not None)

    def dtype(self, index: int) -> DType:
        """Element type of an input, constant or not."""
        if self.has(index):
            return self.tensor(index).dtype
        value = self.node.input(index)
        if value is None or not value.dtype:
            raise CannotEvaluate
        return value.dtype

    def ints(self, index: int, attr: str = "") -> tuple[int, ...] | None:
        """Integers of an input, or of the attribute that older versions have instead; None where neither is given."""
        if self.has(index):
            return tuple(int(item) for item in self.array(index).reshape(-1))
        value = self.attr(attr) if attr else None
        return None if value is None else tuple(value)

    def axis(self, default: int, rank: int) -> int:
        """The attribute `axis`, counted from the front."""
        value = self.attr("axis")
        return normal_axis(default if value is None else value, rank)


def normal_axis(axis: int, rank: int) -> int:
    """An axis counted from the front. Declines where there is no such axis."""
    if not -rank <= axis < rank:
        raise CannotEvaluate
    return axis % rank if rank else 0


def like(call: Call, array: Array, index: int = 0) -> Tensor:
    """A tensor of the element type of an input."""
    return Tensor.of(array, call.tensor(index).dtype)


@dataclass(frozen=True)
class Kernel:
    """How to compute an operator.

    Attributes: `data` numbers the inputs whose elements are moved to the output, so that a splat stays one (None: not a
    moving operator; empty: all inputs); `elementwise` tells that inputs are broadcast and treated alike.
    """

    run: Callable[[Call], Sequence[Tensor]]
    exactness: Exactness
    data: tuple[int, ...] | None = None
    elementwise: bool = False


KERNELS: dict[str, Kernel] = {}
"""Kernels of ONNX's own operators, by name; filled by the modules of this package."""

Run: TypeAlias = "Callable[[Call], Sequence[Tensor]]"


def kernel(
    *ops: str,
    exactness: Exactness = Exactness.EXACT,
    data: tuple[int, ...] | None = None,
    elementwise: bool = False,
) -> Callable[[Run], Run]:
    """Enter a function as the kernel of operators."""

    def decorate(run: Run) -> Run:
        for op in ops:
            KERNELS[op] = Kernel(run, exactness, data, elementwise)
        return run

    return decorate


def dtype_of_code(code: int) -> DType:
    """The element type an attribute such as `to` names. Declines what numpy cannot compute in."""
    dtype = DType(code)
    if not dtype.is_native:
        raise CannotEvaluate
    return dtype
