"""Attributes of nodes: immutable, typed, and decoded only when somebody looks.

An attribute that came from a file keeps its encoded bytes in `raw`; as long as it is not replaced, it goes out as it
came in. What it means is only decoded on first use of `kind` or `value`.
"""

from __future__ import annotations

import enum
import math
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from irkit.tensor import Tensor
from irkit.types import VALUE_TYPES


class Attributes(dict[str, "Attr"]):
    """The attributes of a node by name. Never changed in place: no journal would know, and nodes may share them."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("attributes are changed by node.set_attr(name, value); None takes one away")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


class AttrKind(enum.IntEnum):
    """Kind of an attribute. The number is that of ONNX's `AttributeProto.AttributeType`."""

    UNDEFINED = 0
    FLOAT = 1
    INT = 2
    STRING = 3
    TENSOR = 4
    GRAPH = 5
    FLOATS = 6
    INTS = 7
    STRINGS = 8
    TENSORS = 9
    GRAPHS = 10
    SPARSE_TENSOR = 11
    SPARSE_TENSORS = 12
    TYPE = 13
    TYPES = 14


class Attr:
    """One attribute of a node.

    Values by kind: float (rounded to the float32 that ONNX holds), int, str (bytes where it is not UTF-8), `Tensor`,
    `Graph`, `SparseTensor`, a value type, and tuples of these. `ref` names the attribute of the enclosing function that
    gives the value; then `value` is None.

    Args:
        name: the attribute's name.
        value: its value; see above.
        kind: needed only where the value does not tell, as for an empty tuple.
        ref: name of a function's attribute.
        raw: the encoded form it was read from, of which `decode` makes (kind, value, ref).
    """

    __slots__ = ("_decode", "_kind", "_ref", "_value", "name", "raw")

    def __init__(
        self,
        name: str,
        value: Any = None,
        kind: AttrKind | None = None,
        *,
        ref: str = "",
        raw: Any = None,
        decode: Callable[[Any], tuple[AttrKind, Any, str]] | None = None,
    ) -> None:
        self.name = name
        self.raw = raw
        self._decode = decode
        self._ref = ref
        self._value = tuple(value) if isinstance(value, list) else value
        self._kind = kind
        if decode is None:
            self._kind = _kind_of(name, self._value) if kind is None else kind
            self._value = _canonical(self._kind, self._value)

    def _resolve(self) -> None:
        if self._decode is not None:
            self._kind, self._value, self._ref = self._decode(self.raw)
            self._decode = None

    @property
    def kind(self) -> AttrKind:
        """What kind of value it holds."""
        if self._decode is not None:
            self._resolve()
        assert self._kind is not None
        return self._kind

    @property
    def value(self) -> Any:
        """The value, as described for the class."""
        if self._decode is not None:
            self._resolve()
        return self._value

    @property
    def ref(self) -> str:
        """Name of the function attribute this one refers to, or ''."""
        if self._decode is not None:
            self._resolve()
        return self._ref

    @property
    def graphs(self) -> tuple[Any, ...]:
        """The subgraphs it holds."""
        if self.kind == AttrKind.GRAPH and self._value is not None:
            return (self._value,)
        return self._value if self.kind == AttrKind.GRAPHS else ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Attr):
            return NotImplemented
        if (self.name, self.kind, self.ref) != (other.name, other.kind, other.ref):
            return False
        if self.kind in (AttrKind.FLOAT, AttrKind.FLOATS):  # NaN equals itself, 0.0 is not -0.0
            return repr(self.value) == repr(other.value)
        return bool(self.value == other.value)

    __hash__ = None  # type: ignore[assignment]  # values may be unhashable; nobody needs sets of attributes

    def __repr__(self) -> str:
        return f"Attr({self.name}={'@' + self.ref if self.ref else self.value!r})"


def _kind_of(name: str, value: Any) -> AttrKind:
    single = _KINDS.get(type(value)) or _single_kind(value)
    if single is not None:
        return single
    if isinstance(value, tuple) and value:
        types = set(map(type, value))
        kinds = {_KINDS.get(type_) for type_ in types}
        if None in kinds:
            kinds = {_single_kind(item) for item in value}
        if kinds == {AttrKind.INT, AttrKind.FLOAT}:
            kinds = {AttrKind.FLOAT}
        if len(kinds) == 1 and (kind := kinds.pop()) in _PLURAL:
            return _PLURAL[kind]
    if isinstance(value, tuple):
        raise TypeError(f"attribute {name!r}: an empty or mixed tuple needs kind=AttrKind...")
    raise TypeError(f"attribute {name!r}: {type(value).__name__} is not an ONNX attribute value")


def _canonical(kind: AttrKind, value: Any) -> Any:
    """The value as a file would give it back, so that building, saving and loading agree."""
    if value is None:
        return None
    if kind == AttrKind.FLOAT:
        return _float32(value)
    if kind == AttrKind.FLOATS:
        return tuple(map(_float32, value))
    if kind == AttrKind.INT:
        return int(value)
    if kind == AttrKind.INTS:
        return tuple(map(int, value))
    if kind == AttrKind.STRING:
        return _text(value)
    if kind == AttrKind.STRINGS:
        return tuple(_text(item) for item in value)
    return value


def _float32(value: float) -> float:
    try:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)
    return rounded


def _text(value: str | bytes) -> str | bytes:
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _single_kind(value: Any) -> AttrKind | None:
    if isinstance(value, (bool, int)):
        return AttrKind.INT
    if isinstance(value, float):
        return AttrKind.FLOAT
    if isinstance(value, (str, bytes)):
        return AttrKind.STRING
    if isinstance(value, Tensor):
        return AttrKind.TENSOR
    if isinstance(value, VALUE_TYPES):
        return AttrKind.TYPE
    # Graph and SparseTensor live above this module, and say what they are.
    kind = getattr(value, "attribute_kind", None)
    return AttrKind[kind] if kind is not None else None


_KINDS: dict[type, AttrKind | None] = {
    bool: AttrKind.INT, int: AttrKind.INT, float: AttrKind.FLOAT, str: AttrKind.STRING, bytes: AttrKind.STRING,
    Tensor: AttrKind.TENSOR,
}  # fmt: skip
"""Kinds of the usual types, without a search."""

_PLURAL: dict[AttrKind | None, AttrKind] = {
    AttrKind.FLOAT: AttrKind.FLOATS, AttrKind.INT: AttrKind.INTS, AttrKind.STRING: AttrKind.STRINGS,
    AttrKind.TENSOR: AttrKind.TENSORS, AttrKind.GRAPH: AttrKind.GRAPHS,
    AttrKind.SPARSE_TENSOR: AttrKind.SPARSE_TENSORS, AttrKind.TYPE: AttrKind.TYPES,
}  # fmt: skip
