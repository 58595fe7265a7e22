"""The printer of the text form; see docs/text_form.md for the grammar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from irkit.attributes import Attr, AttrKind
from irkit.ir import Graph, Node, Value
from irkit.model import Function, Model
from irkit.node import type_of_data
from irkit.tensor import SparseTensor, Tensor
from irkit.text import tensors
from irkit.text.lexer import bare, quote, quote_bytes, word
from irkit.types import (
    DType,
    MapType,
    OpaqueType,
    OptionalType,
    SequenceType,
    SparseTensorType,
    TensorType,
    ValueType,
)

Weights: TypeAlias = Literal["hash", "elide", "all"]
"""How tensors above 16 elements are printed: as their SHA-256, as `...` without reading them, or written out."""

SMALL = 16
"""Tensors of up to this many elements are always written out."""

BUILDERS = frozenset({"splat", "zeros", "ones", "iota", "random", "sparse"})
"""Words that build a tensor; an operator of such a name is printed in quotes."""

DEFAULT_OPSET = 17
DEFAULT_IR_VERSION = 8


def print_model(model: Model, *, weights: Weights = "hash", types: bool = True, origins: bool = True) -> str:
    """The model in text form.

    Args:
        model: what to print.
        weights: how larger tensors are printed; "elide" reads no weights, and the text does not parse back.
        types: whether types of inner values are printed; those of the model's inputs and outputs always are.
        origins: whether the origins of nodes are printed where they are not just the node's own name.
    """
    return Printer(weights, types, origins).model(model)


def print_graph(graph: Graph, *, weights: Weights = "hash", types: bool = True, origins: bool = True) -> str:
    """One graph in text form; see `print_model`."""
    return "\n".join(Printer(weights, types, origins).graph(graph, "graph", "")) + "\n"


def print_node(node: Node) -> str:
    """One node on one line, with types and with large tensors and nested graphs elided."""
    return Printer("elide", True, False, nested=False).node(node, "")


@lru_cache(maxsize=4096)
def type_text(type: ValueType | None) -> str:
    """A value type; `?` where it is not known."""
    if isinstance(type, TensorType):
        return type.dtype.label + _shape_text(type)
    if isinstance(type, SparseTensorType):
        return f"sparse({type.dtype.label}{_shape_text(type)})"
    if isinstance(type, SequenceType):
        return f"seq({type_text(type.element)})"
    if isinstance(type, OptionalType):
        return f"optional({type_text(type.element)})"
    if isinstance(type, MapType):
        return f"map({type.key.label}, {type_text(type.value)})"
    if isinstance(type, OpaqueType):
        return f"opaque({quote(type.domain)}, {quote(type.name)})"
    return "?"


def _shape_text(type: TensorType | SparseTensorType) -> str:
    if type.shape is None:
        return "[*]"
    dims = ("?" if dim is None else word(dim) if isinstance(dim, str) else str(dim) for dim in type.shape)
    return f"[{','.join(dims)}]"


def _op_text(domain: str, op: str) -> str:
    name = quote(op) if op in BUILDERS and not domain else word(op)
    return f"{word(domain)}::{name}" if domain else name


def _dict_text(mapping: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{quote(key)}: {quote(mapping[key])}" for key in sorted(mapping)) + "}"


class Printer:
    """Prints models; see `print_model` for the arguments. `nested` False leaves the bodies of nested graphs out."""

    def __init__(self, weights: Weights, types: bool, origins: bool, nested: bool = True) -> None:
        self.weights = weights
        self.types = types
        self.origins = origins
        self.nested = nested

    def model(self, model: Model) -> str:
        """The whole model."""
        parts = ["\n".join(self.header(model))]
        parts += ["\n".join(self.function(function)) for function in model.functions.values()]
        parts.append("\n".join(self.graph(model.graph, "graph", "")))
        return "\n\n".join(part for part in parts if part) + "\n"

    def header(self, model: Model) -> Iterator[str]:
        """What stands before the graphs, line by line."""
        if model.ir_version != DEFAULT_IR_VERSION:
            yield f"ir_version {model.ir_version}"
        yield from (f"opset {self.opset(domain, version)}" for domain, version in sorted(model.opset_imports.items()))
        if model.producer_name or model.producer_version:
            yield f"producer {quote(model.producer_name)} {quote(model.producer_version)}"
        if model.domain:
            yield f"domain {quote(model.domain)}"
        if model.model_version:
            yield f"model_version {model.model_version}"
        if model.doc:
            yield f"doc {quote(model.doc)}"
        if model.metadata:
            yield f"metadata {_dict_text(model.metadata)}"

    @staticmethod
    def opset(domain: str, version: int) -> str:
        """An import of an operator set, without its keyword."""
        return f"{word(domain)} {version}" if domain else str(version)

    def function(self, function: Function) -> Iterator[str]:
        """A function, line by line."""
        head = f"function {_op_text(function.domain, function.name)}"
        attributes = [word(name) for name in function.attributes]
        attributes += [self.attr(attr, "") for attr in function.defaults]
        head += f" {{{', '.join(attributes)}}} " if attributes else ""
        tail = ""
        if function.overload:
            tail += f" !overload {quote(function.overload)}"
        imports = sorted(function.opset_imports.items())
        tail += "".join(f" !opset {self.opset(domain, version)}" for domain, version in imports)
        if function.doc:
            tail += f" !doc {quote(function.doc)}"
        return self.graph(function.graph, head, "", tail)

    def graph(self, graph: Graph, head: str, indent: str, tail: str = "") -> Iterator[str]:
        """A graph, line by line."""
        if head == "graph" and (name := self.graph_name(graph)) != "graph":
            head += f" {word(name)}"
        signature = self.typed if self.types or graph.owner is None else self.ref
        inputs = ", ".join(signature(value) for value in graph.inputs)
        outputs = ", ".join(
            signature(value) if value.graph is graph and not value.is_graph_input else self.ref(value)
            for value in graph.outputs
        )
        tail += f" !doc {quote(graph.doc)}" if graph.doc else ""
        tail += f" !metadata {_dict_text(graph.metadata)}" if graph.metadata else ""
        yield f"{head}({inputs}) -> ({outputs}){tail} {{"
        inner = indent + "  "
        for item in self.body(graph):
            yield inner + (self.initializer(item) if isinstance(item, Value) else self.node(item, inner))
        yield indent + "}"

    def body(self, graph: Graph) -> Iterator[Value | Node]:
        """Initializers and nodes in the order they are printed in."""
        yield from graph.initializers.values()
        yield from graph

    def initializer(self, value: Value) -> str:
        """A stored constant."""
        data = value.initializer
        assert data is not None
        return f"{self.ref(value)}: {type_text(type_of_data(data))} = {self.constant(data)}"

    def ref(self, value: Value) -> str:
        """A value where it is made or read."""
        return f"%{bare(value.name)}"

    def graph_name(self, graph: Graph) -> str:
        """What to call a graph."""
        return graph.name

    def node_name(self, node: Node) -> str:
        """What to call a node; "" for nothing."""
        return node.name

    def typed(self, value: Value) -> str:
        """A value with its type, where that is known."""
        text = self.ref(value)
        return f"{text}: {type_text(value.type)}" if value.type is not None else text

    def output(self, value: Value) -> str:
        """A value where a node makes it."""
        if not value.name:
            return "_"
        graph = value.graph
        in_signature = value.is_graph_output and graph is not None and value in graph.outputs
        return self.typed(value) if self.types and not in_signature else self.ref(value)

    def node(self, node: Node, indent: str) -> str:
        """A node; graphs in its attributes make it several lines."""
        outputs = ", ".join([self.output(value) for value in node.outputs])
        inputs = ", ".join(["_" if value is None else self.ref(value) for value in node.inputs])
        line = f"{outputs}{' = ' if outputs else ''}{_op_text(node.domain, node.op)}({inputs})"
        attrs = node.attrs
        if attrs:
            line += " {" + ", ".join([self.attr(attrs[name], indent) for name in sorted(attrs)]) + "}"
        name = self.node_name(node)
        if name:
            line += f" @{bare(name)}"
        return line + self.marks(node)

    def marks(self, node: Node) -> str:
        """What a node carries besides its computation."""
        extra = node.extra
        text = f" !overload {quote(extra.overload)}" if extra.overload else ""
        if self.origins and node.origin != ((node.name,) if node.name else ()):
            text += f" !origin [{', '.join(quote(name) for name in node.origin)}]"
        if extra.doc:
            text += f" !doc {quote(extra.doc)}"
        if extra.metadata:
            text += f" !metadata {_dict_text(extra.metadata)}"
        return text + (f' !unknown x"{extra.unknown.hex()}"' if extra.unknown else "")

    def attr(self, attr: Attr, indent: str) -> str:
        """An attribute with its name."""
        if attr.ref:
            return f"{word(attr.name)}=@{bare(attr.ref)}: {attr.kind.name.lower()}"
        return f"{word(attr.name)}={self.attr_value(attr.kind, attr.value, indent)}"

    def attr_value(self, kind: AttrKind, value: Any, indent: str) -> str:
        """The value of an attribute."""
        single = SINGLE.get(kind)
        if single is not None:
            items = [self.attr_value(single, item, indent) for item in value]
            comma = "," if kind in (AttrKind.INTS, AttrKind.FLOATS) else ", "
            return f"[{comma.join(items)}]" if items else f"{kind.name.lower()}()"
        if kind == AttrKind.INT:
            return str(int(value))
        if kind == AttrKind.FLOAT:
            return tensors.float32_text(value)
        if kind == AttrKind.STRING:
            return quote(value) if isinstance(value, str) else quote_bytes(value)
        if kind == AttrKind.TENSOR:
            return f"{type_text(TensorType(value.dtype, value.shape))} {self.constant(value)}"
        if kind == AttrKind.SPARSE_TENSOR:
            return self.constant(value)
        if kind == AttrKind.TYPE:
            return f"type({type_text(value)})"
        if kind == AttrKind.GRAPH:
            return "\n".join(self.graph(value, "graph", indent)) if self.nested else f"graph {word(value.name)}(...)"
        return "undefined()"

    def constant(self, data: Tensor | SparseTensor) -> str:
        """Constant data, without its type."""
        if isinstance(data, SparseTensor):
            dense = type_text(TensorType(data.dtype, data.shape))
            parts = [self.attr_value(AttrKind.TENSOR, part, "") for part in (data.values, data.indices)]
            return f"sparse({dense}, {', '.join(parts)})"
        if data.is_splat and data.dtype not in UNSPLIT:
            return f"splat({tensors.scalar_text(data.splat_value, data.dtype)})"
        if data.size <= SMALL or self.weights == "all":
            return tensors.elements_text(data)
        if self.weights == "elide":
            return "..."
        element = data.uniform() if data.dtype not in UNSPLIT else None
        return f"sha256:{data.digest()}" if element is None else f"splat({tensors.scalar_text(element, data.dtype)})"


UNSPLIT = frozenset({DType.COMPLEX64, DType.COMPLEX128, DType.UNDEFINED})
"""Types whose elements have no text of their own."""

SINGLE = {
    AttrKind.FLOATS: AttrKind.FLOAT, AttrKind.INTS: AttrKind.INT, AttrKind.STRINGS: AttrKind.STRING,
    AttrKind.TENSORS: AttrKind.TENSOR, AttrKind.GRAPHS: AttrKind.GRAPH,
    AttrKind.SPARSE_TENSORS: AttrKind.SPARSE_TENSOR, AttrKind.TYPES: AttrKind.TYPE,
}  # fmt: skip
"""Kind of the items of a list attribute."""
