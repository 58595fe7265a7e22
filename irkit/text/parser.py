"""The parser of the text form; see docs/text_form.md for the grammar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from irkit.attributes import Attr, AttrKind
from irkit.errors import ModelError
from irkit.ir import Graph, Node, NodeExtra, Value
from irkit.model import Function, Model
from irkit.tensor import Tensor
from irkit.text import tensors as elements
from irkit.text.cursor import TensorReader
from irkit.text.lexer import Token
from irkit.text.printer import BUILDERS, DEFAULT_IR_VERSION, DEFAULT_OPSET, SINGLE, SMALL
from irkit.types import DType, SparseTensorType, TensorType, ValueType


def parse_model(text: str, weights: Mapping[str, Tensor] | Model | None = None, *, source: str = "text") -> Model:
    """The model a text stands for.

    Args:
        text: the text form, see docs/text_form.md.
        weights: where tensors given by their SHA-256 are found: by digest, or in a model that has them.
        source: what to call the text in error messages, such as a file name.

    Raises `ModelError` with line, column and what was expected.
    """
    found = digests_of(weights) if isinstance(weights, Model) else weights or {}
    try:
        return _Parser(text, source, found).model()
    except RecursionError:
        raise ModelError(f"{source}: graphs, lists or types are nested too deeply") from None


def digests_of(model: Model) -> dict[str, Tensor]:
    """The constants of a model that its text form shows as digests, by digest."""
    return {tensor.digest(): tensor for tensor in _constants(model) if tensor.size > SMALL}


def _constants(model: Model) -> list[Tensor]:
    found: list[Any] = [value.initializer for graph in model.walk_graphs() for value in graph.initializers.values()]
    found += [attr.value for node in model.walk() for attr in node.attrs.values() if attr.kind == AttrKind.TENSOR]
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def dtype_of(type: ValueType | None) -> DType | None:
    """The element type of a tensor type."""
    return type.dtype if isinstance(type, (TensorType, SparseTensorType)) else None


@dataclass
class _Marks:
    """What stands behind `!`."""

    doc: str = ""
    overload: str = ""
    unknown: bytes = b""
    metadata: dict[str, str] = field(default_factory=dict)
    opset: dict[str, int] = field(default_factory=dict)
    origin: tuple[str, ...] | None = None


class _Parser(TensorReader):
    def __init__(self, text: str, source: str, weights: Mapping[str, Tensor]) -> None:
        super().__init__(text, source, weights)
        self.scopes: list[Graph] = []
        self.domains: set[str] = set()

    def model(self) -> Model:
        fields: dict[str, Any] = {}
        functions: list[tuple[Function, Token]] = []
        graph: Graph | None = None
        while self.token.kind != "end":
            start = self.token
            if self.skip("function"):
                functions.append((self.function(), start))
            elif self.has("graph"):
                if graph is not None:
                    raise self.wrong("a model has one graph; this is a second one", start)
                graph = self.graph()
            else:
                self.header(fields)
        if graph is None:
            raise self.expected("a graph: graph(%x: float32[1]) -> (%y) { ... }")
        fields.setdefault("opset_imports", {"": DEFAULT_OPSET, **dict.fromkeys(sorted(self.domains), 1)})
        fields.setdefault("ir_version", DEFAULT_IR_VERSION)
        for function, at in functions:
            function.opset_imports = function.opset_imports or dict(fields["opset_imports"])
            if any(other.key == function.key for other, where in functions if where.start < at.start):
                raise self.wrong("this function is defined already", at)
        return Model(graph, functions=[function for function, _ in functions], **fields)

    def header(self, fields: dict[str, Any]) -> None:
        token = self.token
        if token.kind != "name":
            raise self.expected("graph, function, opset or another word of the header")
        self.next()
        if token.text == "opset":
            domain, version = self.opset()
            fields.setdefault("opset_imports", {})[domain] = version
        elif token.text in ("ir_version", "model_version"):
            fields[token.text] = self.integer()
        elif token.text == "producer":
            fields["producer_name"] = self.string()
            fields["producer_version"] = self.string()
        elif token.text in ("domain", "doc"):
            fields[token.text] = self.string()
        elif token.text == "metadata":
            fields["metadata"] = self.texts()
        else:
            expected = "graph, function, ir_version, opset, producer, domain, model_version, doc or metadata"
            raise self.expected(expected, token)

    def opset(self) -> tuple[str, int]:
        domain = "" if self.token.kind == "number" else self.word("a domain or a version")
        return domain, self.integer()

    def function(self) -> Function:
        domain, name = self.op("a function's name: domain::Name")
        attributes, defaults = self.function_attributes()
        inputs = self.signature_inputs()
        graph, marks = self.rest_of_graph(Graph(name), inputs)
        graph.doc = ""
        return Function(
            domain, name, graph, overload=marks.overload, attributes=attributes, defaults=defaults,
            opset_imports=marks.opset, doc=marks.doc,
        )  # fmt: skip

    def function_attributes(self) -> tuple[list[str], list[Attr]]:
        names: list[str] = []
        defaults: list[Attr] = []
        if self.skip("{"):
            while self.listed("}"):
                name = self.word("an attribute's name")
                if self.skip("="):
                    defaults.append(self.attr(name))
                else:
                    names.append(name)
        return names, defaults

    def graph(self) -> Graph:
        """Read a graph, its word `graph` included."""
        self.expect("graph")
        graph = Graph(self.word("a graph's name") if not self.has("(") else "graph")
        return self.rest_of_graph(graph, self.signature_inputs())[0]

    def signature_inputs(self) -> list[tuple[Token, ValueType | None]]:
        self.expect("(")
        inputs = []
        while self.listed(")"):
            inputs.append(self.typed_value())
        return inputs

    def typed_value(self) -> tuple[Token, ValueType | None]:
        token = self.take("value", "a value such as %x")
        return token, self.value_type() if self.skip(":") else None

    def rest_of_graph(self, graph: Graph, inputs: list[tuple[Token, ValueType | None]]) -> tuple[Graph, _Marks]:
        for token, type in inputs:
            graph.add_input(self.new_name(token, graph), type)
        self.expect("->")
        self.expect("(")
        outputs = []
        while self.listed(")"):
            outputs.append(self.typed_value())
        marks = self.marks()
        graph.doc, graph.metadata = marks.doc, marks.metadata
        self.expect("{")
        self.scopes.append(graph)
        while not self.skip("}"):
            self.statement(graph)
        graph.set_outputs([self.output(token, type) for token, type in outputs])
        self.scopes.pop()
        return graph, marks

    def output(self, token: Token, type: ValueType | None) -> Value:
        value = self.value(token)
        if type is not None and value.type is not None and type != value.type:
            raise self.wrong(f"%{value.name} is {value.type} where it is made, and {type} here", token)
        if type is not None:
            value.type = type
        return value

    def new_name(self, token: Token, graph: Graph) -> str:
        """The name of a value that is being made."""
        name = self.text_of(token)
        if not name:
            raise self.wrong("a value needs a name; an output that is left out is written _", token)
        if name in graph.values:
            raise self.wrong(f"%{token.text} is defined already in this graph", token)
        return name

    def value(self, token: Token) -> Value:
        """The value a token names, in this graph or one around it."""
        name = self.text_of(token)
        for graph in reversed(self.scopes):
            if name in graph.values:
                return graph.values[name]
        raise self.wrong(f"%{token.text} is not defined above this line", token)

    def statement(self, graph: Graph) -> None:
        """Read an initializer or a node."""
        outputs: list[tuple[Token, ValueType | None] | None] = []
        if self.token.kind == "value" or self.has("_"):
            while not outputs or self.skip(","):
                outputs.append(None if self.skip("_") else self.typed_value())
            self.expect("=")
            first = outputs[0]
            if first is not None and len(outputs) == 1 and not self.at_operator():
                self.initializer(graph, *first)
                return
        self.node(graph, outputs)

    def at_operator(self) -> bool:
        """Whether a node is called here, as opposed to data."""
        token, after = self.token, self.tokens[self.index + 1]
        if token.kind not in ("string", "name") or after.kind != "punctuation":
            return False
        return after.text == "::" or (after.text == "(" and (token.kind == "string" or token.text not in BUILDERS))

    def initializer(self, graph: Graph, token: Token, type: ValueType | None) -> None:
        name = self.text_of(token)
        default_of = graph.values.get(name)
        if default_of is not None and default_of.is_graph_input and not default_of.is_initializer:
            type = type or default_of.type
            if default_of.type is not None and dtype_of(default_of.type) != dtype_of(type):
                raise self.wrong(f"input %{token.text} is {default_of.type}; this default is {type}", token)
        else:
            default_of = None
            self.new_name(token, graph)
        if self.has("sparse"):
            data: Any = self.sparse_tensor()
        else:
            if not isinstance(type, TensorType) or not type.is_static:
                raise self.wrong("constant data needs a type with a shape of numbers, such as float32[2,3]", token)
            data = self.tensor(type)
        if default_of is not None:
            graph.add_default(default_of, data)
        else:
            graph.add_initializer(name, data)

    def node(self, graph: Graph, outputs: list[tuple[Token, ValueType | None] | None]) -> None:
        names = ["" if item is None else self.new_name(item[0], graph) for item in outputs]
        domain, op = self.op("an operator")
        self.expect("(")
        inputs: list[Value | None] = []
        while self.listed(")"):
            inputs.append(None if self.skip("_") else self.value(self.take("value", "a value such as %x, or _")))
        attrs: dict[str, Attr] = {}
        if self.skip("{"):
            while self.listed("}"):
                name = self.word("an attribute's name")
                self.expect("=")
                attrs[name] = self.attr(name)
        name = self.text_of(self.next()) if self.token.kind == "label" else ""
        types = [None if item is None else item[1] for item in outputs]
        node = Node(op, inputs, attrs, names, domain=domain, name=name, types=types)
        self.add_marks(node, self.marks())
        if len(set(filter(None, names))) != len(list(filter(None, names))):
            token = next(item[0] for item in outputs if item is not None)
            raise self.wrong("two outputs of one node have the same name", token)
        graph.append(node)

    @staticmethod
    def add_marks(node: Node, marks: _Marks) -> None:
        if marks.doc or marks.metadata or marks.overload or marks.unknown:
            node.extra = NodeExtra(marks.doc, marks.metadata, marks.overload, marks.unknown)
        if marks.origin is not None:
            node._origin = marks.origin

    def op(self, expected: str) -> tuple[str, str]:
        name = self.word(expected)
        if not self.skip("::"):
            return "", name
        self.domains.add(name)
        return name, self.word(expected)

    def marks(self) -> _Marks:
        marks = _Marks()
        while self.token.kind == "mark":
            token = self.next()
            if token.text in ("doc", "overload"):
                setattr(marks, token.text, self.string())
            elif token.text == "metadata":
                marks.metadata = self.texts()
            elif token.text == "unknown":
                marks.unknown = self.hex_bytes()
            elif token.text == "opset":
                domain, version = self.opset()
                marks.opset[domain] = version
            elif token.text == "origin":
                marks.origin = self.origin()
            else:
                raise self.expected("!doc, !metadata, !origin, !overload, !opset or !unknown", token)
        return marks

    def origin(self) -> tuple[str, ...]:
        self.expect("[")
        names = []
        while self.listed("]"):
            names.append(self.string())
        return tuple(names)

    def attr(self, name: str) -> Attr:
        """Read what stands behind an attribute's `=`."""
        if self.token.kind == "label":
            ref = self.text_of(self.next())
            kind = self.kind() if self.skip(":") else AttrKind.UNDEFINED
            return Attr(name, None, kind, ref=ref)
        kind, value = self.attr_value()
        return Attr(name, value, kind)

    def kind(self) -> AttrKind:
        token = self.take("name", "a kind of attribute such as int or floats")
        try:
            return AttrKind[token.text.upper()]
        except KeyError:
            raise self.expected("a kind of attribute such as int or floats", token) from None

    def attr_value(self) -> tuple[AttrKind, Any]:
        token = self.token
        if token.kind == "number":
            self.next()
            try:
                return AttrKind.INT, int(token.text, 0)
            except ValueError:
                return AttrKind.FLOAT, elements.float_of(token.text, 32)
        if token.kind == "string":
            return AttrKind.STRING, self.string()
        if token.kind == "bytes":
            return AttrKind.STRING, elements.unstring(self.next().text)
        if self.skip("["):
            return self.attr_list(token)
        if self.has("graph"):
            return AttrKind.GRAPH, self.graph()
        if self.has("sparse"):
            return AttrKind.SPARSE_TENSOR, self.sparse_tensor()
        if token.kind != "name":
            raise self.expected(
                "a value: a number, a string, a list, a tensor such as float32[2] [0.5, 1.0], graph, type(...)"
            )
        if self.tokens[self.index + 1].text == "(":
            return self.attr_call()
        return AttrKind.TENSOR, self.tensor(self.static_type())

    def attr_call(self) -> tuple[AttrKind, Any]:
        """Read `type(...)`, or a kind with nothing in it such as `ints()`."""
        if self.skip("type"):
            self.expect("(")
            type = self.value_type()
            self.expect(")")
            return AttrKind.TYPE, type
        kind = self.kind()
        self.expect("(")
        self.expect(")")
        return kind, () if kind in SINGLE else None

    def attr_list(self, start: Token) -> tuple[AttrKind, Any]:
        kinds: set[AttrKind] = set()
        values = []
        while self.listed("]"):
            kind, value = self.attr_value()
            kinds.add(kind)
            values.append(value)
        if kinds == {AttrKind.INT, AttrKind.FLOAT}:
            kinds, values = {AttrKind.FLOAT}, [float(value) for value in values]
        plural = {single: kind for kind, single in SINGLE.items()}
        if len(kinds) != 1 or (kind := kinds.pop()) not in plural:
            raise self.wrong(
                "a list holds values of one kind; an empty one names it: ints(), floats(), strings()", start
            )
        return plural[kind], tuple(values)
