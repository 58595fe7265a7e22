"""What a rule of inference sees of a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from irkit.ir import Node
from irkit.shapes.facts import Fact, numbers_of
from irkit.types import DType, Shape, TensorType, ValueType


class Unknown(Exception):  # noqa: N818  (an answer, not an error)
    """A rule cannot tell."""


class Conflict(Exception):  # noqa: N818
    """The types of the inputs do not fit the operator; the message says how."""


class Site:
    """A node with the types of its inputs and what is known of their values."""

    __slots__ = ("defaults", "facts", "node", "types", "version")

    def __init__(
        self, node: Node, types: Sequence[ValueType | None], facts: Sequence[Fact | None], version: int, defaults: Any
    ) -> None:
        self.node = node
        self.types = types
        self.facts = facts
        self.version = version
        self.defaults = defaults

    def attr(self, name: str) -> Any:
        """Value of an attribute or its schema's default; None where there is neither.

        Raises `Unknown` where it refers to an attribute of the enclosing function.
        """
        found = self.node.attrs.get(name)
        if found is not None:
            if found.ref:
                raise Unknown
            return found.value
        item = self.defaults.get(name)
        return item.default if item is not None else None

    def given(self, index: int) -> bool:
        """Whether that input is there."""
        return self.node.input(index) is not None

    def type(self, index: int) -> TensorType:
        """Type of a tensor input. Raises `Unknown`."""
        found = self.types[index] if index < len(self.types) else None
        if not isinstance(found, TensorType):
            raise Unknown
        return found

    def dtype(self, index: int) -> DType:
        """Element type of a tensor input. Raises `Unknown`."""
        return self.type(index).dtype

    def shape(self, index: int) -> Shape | None:
        """Shape of a tensor input, None where its rank is unknown. Raises `Unknown` where it is no tensor."""
        return self.type(index).shape

    def fact(self, index: int) -> Fact | None:
        """What is known of an input."""
        return self.facts[index] if index < len(self.facts) else None

    def ints(self, index: int, attr: str = "") -> tuple[int, ...] | None:
        """Known integers of an input, or of the attribute that older versions have; None where neither is given.

        Raises `Unknown` where the input is given and not known.
        """
        if self.given(index):
            found = numbers_of(self.fact(index))
            if found is None:
                raise Unknown
            return found
        value = self.attr(attr) if attr else None
        return None if value is None else tuple(value)
