"""Values and nodes of the graph IR.

A value knows its type, its producer and its users; the IR keeps users right by itself, users inside nested graphs
included. Every edit goes through `irkit.edits.edit`, which enters it in the journal of the model the graph belongs to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from irkit import edits
from irkit.attributes import Attr, Attributes, AttrKind
from irkit.errors import GraphError
from irkit.tensor import SparseTensor, Tensor
from irkit.types import VALUE_TYPES, DType, Shape, SparseTensorType, TensorType, ValueType

if TYPE_CHECKING:
    from irkit.graph import Graph


class Lazy(Protocol):
    """Something the reader left encoded; `raw` goes out as it came in, `decode` tells what it means."""

    raw: Any

    def decode(self) -> Any:
        """What it means."""


class Use(NamedTuple):
    """Input number `slot` of `node`."""

    node: Node
    slot: int


class NodeExtra:
    """What a node carries besides its computation. `unknown` are encoded fields irkit does not know."""

    __slots__ = ("doc", "metadata", "overload", "unknown")

    def __init__(
        self, doc: str = "", metadata: Mapping[str, str] | None = None, overload: str = "", unknown: bytes = b""
    ) -> None:
        self.doc = doc
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.overload = overload
        self.unknown = unknown


_NO_EXTRA = NodeExtra()
_GRAPH, _GRAPHS = AttrKind.GRAPH, AttrKind.GRAPHS


class Value:
    """An edge of the graph: a graph input, an initializer, or an output of a node.

    Attributes: `producer` and `index` (output number) where a node makes it. A value with the name "" is an optional
    output that was left out.
    """

    __slots__ = (
        "_constant", "_graph", "_name", "_output_count", "_rank", "_type", "_users", "index", "info", "producer",
    )  # fmt: skip

    def __init__(self, name: str | None = None, type: ValueType | Lazy | None = None) -> None:
        self._name = name
        self._type: Any = type
        self.producer: Node | None = None
        self.index = 0
        self.info: Any = None
        self._users: dict[Node, int] = {}
        self._output_count = 0
        self._graph: Graph | None = None
        self._constant: Tensor | SparseTensor | None = None
        self._rank = 0

    @property
    def name(self) -> str:
        """Name, unique in its graph; setting it renames the value everywhere at once."""
        return self._name or ""

    @name.setter
    def name(self, name: str) -> None:
        if name != self._name:
            if self.graph is not None:
                self.graph._take_name(name)
            edits.edit(self._journaled_in, "rename", edits.value_name, self, self._name, name)

    @property
    def type(self) -> ValueType | None:
        """Its type, or None where it is not known."""
        if self._type is not None and hasattr(self._type, "decode"):
            self._type = self._type.decode()
        return self._type  # type: ignore[no-any-return]

    @type.setter
    def type(self, type: ValueType | None) -> None:
        if type is not None and not isinstance(type, VALUE_TYPES):
            raise TypeError(f"the type of a value is an irkit.TensorType or another ValueType; found {type!r}")
        if type != self.type:
            edits.edit(self._journaled_in, "type", edits.value_type, self, self._type, type)

    @property
    def dtype(self) -> DType | None:
        """Element type where it is a tensor of known type."""
        type = self.type
        return type.dtype if isinstance(type, (TensorType, SparseTensorType)) else None

    @property
    def shape(self) -> Shape | None:
        """Shape where it is a tensor of known rank."""
        type = self.type
        return type.shape if isinstance(type, (TensorType, SparseTensorType)) else None

    @property
    def graph(self) -> Graph | None:
        """The graph it belongs to; None when its node is in no graph."""
        return self.producer.graph if self.producer is not None else self._graph

    @property
    def _journaled_in(self) -> Graph | None:
        return self.producer.journaled_in if self.producer is not None else self._graph

    @property
    def users(self) -> tuple[Node, ...]:
        """The nodes that read it, in nested graphs too, each once."""
        return tuple(self._users)

    @property
    def uses(self) -> list[Use]:
        """Every input that reads it."""
        return [Use(node, i) for node in self._users for i, value in enumerate(node._inputs) if value is self]

    @property
    def use_count(self) -> int:
        """How many inputs and graph outputs read it."""
        return sum(self._users.values()) + self._output_count

    @property
    def is_used(self) -> bool:
        """Whether anything reads it; `use_count` has to count."""
        return bool(self._users) or self._output_count > 0

    @property
    def is_graph_input(self) -> bool:
        """Whether the caller feeds it (or, for an initializer, may override it)."""
        return self.producer is None and self._graph is not None and self in self._graph._input_set

    @property
    def is_graph_output(self) -> bool:
        """Whether it is an output of its graph, or of a nested one."""
        return self._output_count > 0

    @property
    def is_initializer(self) -> bool:
        """Whether it is stored data of the graph."""
        return self.producer is None and self._constant is not None

    @property
    def is_captured(self) -> bool:
        """Whether a node of a nested graph reads it."""
        graph = self.graph
        return any(node.graph is not graph for node in self._users)

    @property
    def constant(self) -> Tensor | None:
        """Its data where it is a dense constant: an initializer nobody can override, or the output of a Constant."""
        data = self._constant
        if data is None and self.producer is not None and self.producer.op == "Constant" and not self.producer.domain:
            data = self._constant = _constant_of(self.producer)
        return data if isinstance(data, Tensor) and not self.is_graph_input else None

    @property
    def initializer(self) -> Tensor | SparseTensor | None:
        """Stored data, be it sparse or the default of an input."""
        return self._constant if self.producer is None else None

    def set_initializer(self, data: Tensor | SparseTensor) -> None:
        """Replace the stored data of an initializer, and its type with it."""
        if not self.is_initializer:
            raise GraphError(f"{self.name!r} is no initializer")
        edits.edit(self.graph, "data", edits.value_data, self, self._constant, data)
        self.type = type_of_data(data)

    def replace_all_uses(self, new: Value) -> None:
        """Make every node that reads this value read `new`; graph outputs stay. See `Graph.replace_value`."""
        for node in self.users:
            node.set_inputs([new if value is self else value for value in node._inputs])

    def __repr__(self) -> str:
        return f"%{self.name}"


class Node:
    """One operation.

    Args:
        op: operator, such as "Conv".
        inputs: values, None where an optional input is left out.
        attrs: attributes; plain Python values or `Attr`.
        outputs: how many, or their names. Names not given are made when the node enters a graph.
        domain: operator set; "" is ONNX's own.
        name: made when the node enters a graph, if not given.
        types: types of the outputs, where known.

    A node takes part in use lists only while it is in a graph.
    """

    __slots__ = (
        "_attrs", "_domain", "_extra", "_home", "_inputs", "_lazy_attrs", "_name", "_next", "_op", "_origin",
        "_outputs", "_prev", "graph",
    )  # fmt: skip

    def __init__(
        self,
        op: str,
        inputs: Iterable[Value | None] = (),
        attrs: Mapping[str, Any] | None = None,
        outputs: int | Sequence[str] = 1,
        *,
        domain: str = "",
        name: str = "",
        types: Sequence[ValueType | None] = (),
    ) -> None:
        self._op = op
        self._domain = "" if domain == "ai.onnx" else domain
        self._name = name
        self._inputs: tuple[Value | None, ...] = tuple(inputs)
        names: Sequence[str | None] = [None] * outputs if isinstance(outputs, int) else outputs
        self._outputs: tuple[Value, ...] = tuple(Value(name) for name in names)
        for index, value in enumerate(self._outputs):
            value.producer, value.index = self, index
            value._type = types[index] if index < len(types) else None
        self._attrs: dict[str, Attr] | None = Attributes(
            (key, item if isinstance(item, Attr) else Attr(key, item)) for key, item in (attrs or {}).items()
        )
        self._lazy_attrs: Lazy | None = None
        self._extra: NodeExtra | Lazy | None = None
        self._origin: tuple[str, ...] | None = None
        self.graph: Graph | None = None
        self._home: Graph | None = None
        self._prev: Node | None = None
        self._next: Node | None = None
        for graph in self.subgraphs:
            graph.owner = self
            edits.set_live(graph, False)

    @property
    def journaled_in(self) -> Graph | None:
        """The graph it is in or was taken from: its edits are undone together with the edit that took it out."""
        return self.graph if self.graph is not None else self._home

    @property
    def op(self) -> str:
        """Operator name."""
        return self._op

    @property
    def domain(self) -> str:
        """Operator set; "" is ONNX's own."""
        return self._domain

    @property
    def op_id(self) -> str:
        """`Conv`, or `com.microsoft::Gelu` outside ONNX's own domain."""
        return f"{self._domain}::{self._op}" if self._domain else self._op

    def set_op(self, op: str, domain: str = "") -> None:
        """Make it another operator with the same inputs, outputs and attributes."""
        if (op, domain) != (self._op, self._domain):
            edits.edit(self.journaled_in, "op", edits.node_op, self, (self._op, self._domain), (op, domain))

    @property
    def name(self) -> str:
        """Node name; "" where the file gave none."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        if name != self._name:
            if self._origin is None:
                self._origin = self.origin
            edits.edit(self.journaled_in, "node-name", edits.node_name, self, self._name, name)

    @property
    def inputs(self) -> tuple[Value | None, ...]:
        """Values it reads; None where an optional one is left out."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Values it makes."""
        return self._outputs

    @property
    def output(self) -> Value:
        """Its first output."""
        return self._outputs[0]

    def input(self, index: int) -> Value | None:
        """Input `index`, or None where it is left out."""
        return self._inputs[index] if index < len(self._inputs) else None

    def set_input(self, index: int, value: Value | None) -> None:
        """Read `value` at `index`; inputs between are left out if there were fewer."""
        inputs = [*self._inputs, *[None] * (index + 1 - len(self._inputs))]
        inputs[index] = value
        self.set_inputs(inputs)

    def set_inputs(self, inputs: Iterable[Value | None]) -> None:
        """Read these values."""
        new = tuple(inputs)
        if new != self._inputs:
            edits.edit(self.journaled_in, "inputs", edits.node_inputs, self, self._inputs, new)

    def add_output(self, name: str = "") -> Value:
        """A new last output; "" names one that is left out, fresh names come from `Model.fresh_name`."""
        if self.graph is not None:
            self.graph._take_name(name)
        value = Value(name)
        value.producer, value.index = self, len(self._outputs)
        edits.edit(self.journaled_in, "outputs", edits.node_outputs, self, self._outputs, (*self._outputs, value))
        return value

    def drop_output(self) -> None:
        """Take the last output away. Raises `GraphError` while it is used."""
        value = self._outputs[-1]
        if value.use_count:
            raise GraphError(f"cannot drop output {value.name!r} of {self.name or self.op!r}: {readers_of(value)}")
        edits.edit(self.journaled_in, "outputs", edits.node_outputs, self, self._outputs, self._outputs[:-1])

    @property
    def attrs(self) -> Mapping[str, Attr]:
        """Its attributes by name; change them with `set_attr`."""
        if self._attrs is None:
            assert self._lazy_attrs is not None
            self._attrs = self._lazy_attrs.decode()
        return self._attrs

    def attr(self, name: str, default: Any = None) -> Any:
        """Value of an attribute, or `default` (the schema's default is in `irkit.ops.attribute`)."""
        attr = self.attrs.get(name)
        return default if attr is None else attr.value

    def set_attr(self, name: str, value: Any, kind: AttrKind | None = None) -> None:
        """Set an attribute to a Python value or `Attr`; None removes it."""
        old = self.attrs.get(name)
        new = value if value is None or isinstance(value, Attr) else Attr(name, value, kind)
        if new != old:
            if new is not None and self.graph is not None:
                for graph in new.graphs:
                    self.graph._adopt(graph)
            attrs = {key: attr for key, attr in self.attrs.items() if key != name or new is not None}
            if new is not None:
                attrs[name] = new
            edits.edit(self.journaled_in, "attr", edits.node_attrs, self, self.attrs, Attributes(attrs))

    @property
    def subgraphs(self) -> tuple[Graph, ...]:
        """Graphs nested in its attributes."""
        attrs = self._attrs
        if not attrs:  # the reader leaves no attribute with a graph undecoded
            return ()
        held = [attr for attr in attrs.values() if attr._kind is _GRAPH or attr._kind is _GRAPHS]
        return tuple(graph for attr in held for graph in attr.graphs) if held else ()

    @property
    def extra(self) -> NodeExtra:
        """Doc string, metadata, overload and unknown fields."""
        if self._extra is None:
            return _NO_EXTRA
        if not isinstance(self._extra, NodeExtra):
            self._extra = self._extra.decode()
        return self._extra  # type: ignore[return-value]

    @extra.setter
    def extra(self, extra: NodeExtra) -> None:
        edits.edit(self.journaled_in, "extra", edits.node_extra, self, self._extra, extra)

    @property
    def metadata(self) -> Mapping[str, str]:
        """Metadata the exporter recorded; goes out with the node."""
        return self.extra.metadata

    @property
    def origin(self) -> tuple[str, ...]:
        """Names of the nodes of the source model it stands for."""
        if self._origin is None:
            return (self._name,) if self._name else ()
        return self._origin

    def set_origin(self, sources: Iterable[Node]) -> None:
        """Let it stand for these nodes: their origins and metadata (the first's where they differ) become its own."""
        nodes = list(sources)
        origin = tuple(dict.fromkeys(name for node in nodes for name in node.origin))
        metadata = {key: text for node in reversed(nodes) for key, text in node.metadata.items()}
        doc = next((node.extra.doc for node in nodes if node.extra.doc), "")
        if metadata or doc:
            self.extra = NodeExtra(doc, metadata, self.extra.overload, self.extra.unknown)
        if origin != self.origin:
            edits.edit(self.journaled_in, "origin", edits.node_origin, self, self._origin, origin)

    def reads(self) -> Iterator[Value]:
        """Values it reads, and those that graphs nested in it read or return, their own included."""
        yield from (value for value in self._inputs if value is not None)
        for graph in self.subgraphs:
            yield from graph.outputs
            for inner in graph:
                yield from inner.reads()

    @property
    def successors(self) -> list[Node]:
        """Nodes that read one of its outputs, each once."""
        return list(dict.fromkeys(node for value in self._outputs for node in value._users))

    @property
    def next(self) -> Node | None:
        """The node after it."""
        return self._next

    @property
    def prev(self) -> Node | None:
        """The node before it."""
        return self._prev

    def __repr__(self) -> str:
        if self._name or not self._outputs:
            return f"{self.op_id} {self._name!r}"
        return f"{self.op_id} (makes {self.output.name!r})"


def type_of_data(data: Tensor | SparseTensor) -> ValueType:
    """The type of a constant."""
    kind = TensorType if isinstance(data, Tensor) else SparseTensorType
    return kind(data.dtype, data.shape)


def readers_of(value: Value) -> str:
    """Who stands in the way of removing a value."""
    readers = [repr(node) for node in value.users[:3]]
    if value.is_graph_output:
        readers.append("the graph's outputs")
    if value.is_graph_input:
        readers.append("the graph's inputs")
    return f"its value {value.name!r} is used by {', '.join(readers) or 'nothing'}"


_LISTS = {"value_floats": DType.FLOAT32, "value_ints": DType.INT64}
_SCALARS = {"value_float": DType.FLOAT32, "value_int": DType.INT64}


def _constant_of(node: Node) -> Tensor | None:
    """What a Constant node holds, where it is a dense tensor."""
    import numpy as np

    for name, attr in node.attrs.items():
        if attr.ref:
            return None
        if name == "value" and isinstance(attr.value, Tensor):
            return attr.value
        if name in _SCALARS or name in _LISTS:
            dtype = _SCALARS.get(name) or _LISTS[name]
            return Tensor.of(np.asarray(attr.value, dtype.numpy))
        if name in ("value_string", "value_strings"):
            texts = (attr.value,) if name == "value_string" else attr.value
            shape = () if name == "value_string" else (len(texts),)
            return Tensor.strings([text if isinstance(text, bytes) else text.encode() for text in texts], shape)
    return None
