"""Building the replacement of a match: `op.Conv(x, w, b, strides=[2, 2])` makes a node and returns its output.

Nothing enters the graph until the rule has returned, so a rule may refuse at any point. A node is held against the
schema of its operator as soon as it is made: mistakes are raised at the line of the rule.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from irkit import ops
from irkit.attributes import Attr, AttrKind
from irkit.errors import PassError
from irkit.ir import Graph, Node, Value
from irkit.signatures import fits_kind, signature, unknown_attribute, unknown_operator, wrong_count
from irkit.tensor import Tensor
from irkit.typed_ops import TypedBuilder, TypedMlBuilder
from irkit.types import DType, TensorType

if TYPE_CHECKING:
    from irkit.model import Model
    from irkit.onnx.schema import OpSchema

Operand: TypeAlias = "Value | Tensor | float | int | Any | None"
"""An input of a new node: a value, data that becomes a constant (numbers take their neighbours' dtype), or None."""


class BuildCall:
    """An operator to be called with operands and attributes."""

    def __init__(self, builder: Builder, op: str, domain: str) -> None:
        self._builder = builder
        self._op = op
        self._domain = domain

    @overload
    def __call__(self, *inputs: Operand, _outputs: Literal[1] = 1, _name: str = "", **attrs: Any) -> Value: ...
    @overload
    def __call__(self, *inputs: Operand, _outputs: int, _name: str = "", **attrs: Any) -> tuple[Value, ...]: ...
    def __call__(self, *inputs: Operand, _outputs: int = 1, _name: str = "", **attrs: Any) -> Value | tuple[Value, ...]:
        """A new node. Attributes are plain values or `Attr`s; None leaves one out (`Builder.node` copies a node's).

        Args:
            inputs: see `Operand`.
            _outputs: how many outputs; more than one are returned as a tuple.
            _name: node name; made from the name of the node that is replaced where not given.
            attrs: attributes.
        """
        node = self._builder._make(self._op, self._domain, inputs, attrs, _outputs, _name)
        return node.outputs[0] if _outputs == 1 else node.outputs


class DomainBuilder:
    """The operators of one domain, to be called in a replacement."""

    def __init__(self, builder: Builder, domain: str) -> None:
        self._builder = builder
        self._domain = "" if domain == "ai.onnx" else domain

    def __getattr__(self, name: str) -> BuildCall:
        if name.startswith("__"):
            raise AttributeError(name)
        return BuildCall(self._builder, name, self._domain)


class Builder(TypedBuilder):
    """The `op` of a replacement.

    Attributes:
        model: the model they are made for.
        nodes: the nodes made so far, in order.
        constants: the initializers made so far.
        domains: domains of the nodes that the model does not import yet.
    """

    def __init__(self, model: Model, graph: Graph) -> None:
        self.model = model
        self._graph = graph
        self._in_function = _root_of(graph) is not model.graph
        self.nodes: list[Node] = []
        self.constants: dict[Value, str] = {}
        self.domains: set[str] = set()
        self._lines: dict[Node, str] = {}
        self._dtypes: dict[Value, DType] = {}

    if not TYPE_CHECKING:  # irkit/typed_ops.pyi declares the operators

        def __getattr__(self, name: str) -> BuildCall:
            if name.startswith("_"):
                raise AttributeError(name)
            return BuildCall(self, name, "")

    @property
    def opset(self) -> int:
        """Version of ONNX's own operator set that the new nodes are written in."""
        return ops.opset_imports(self._graph).get("", 1)

    @overload
    def domain(self, domain: Literal["ai.onnx.ml"]) -> TypedMlBuilder: ...  # type: ignore[overload-overlap]
    @overload
    def domain(self, domain: str) -> DomainBuilder: ...
    def domain(self, domain: str) -> Any:
        """Operators of another domain: `op.domain("com.microsoft").Gelu(x)`."""
        if not isinstance(domain, str):
            raise PassError(f"a domain is a text such as 'com.microsoft'; found {domain!r}")
        return DomainBuilder(self, domain)

    def node(self, op: str, *inputs: Operand, like: Node, **attrs: Any) -> Value:
        """A node with the name, domain and attributes of another one, but for those given (None leaves one out)."""
        return self._make(op, like.domain, inputs, {**like.attrs, **attrs}, 1, like.name).output

    def constant(self, data: Any, name: str = "constant", dtype: DType | None = None) -> Value:
        """A new constant: an initializer of the graph that holds the replaced node (a Constant node in a function).

        Args:
            data: a `Tensor`, or anything `numpy.asarray` takes.
            name: the name it gets, made fresh where it is taken.
            dtype: element type; that of `data` where not given.
        """
        tensor = data if isinstance(data, Tensor) else _tensor(data, dtype)
        if self._in_function:
            return self._make("Constant", "", (), {"value": tensor}, 1, "").output
        value = Value(name, TensorType(tensor.dtype, tensor.shape))
        value._constant = tensor
        self.constants[value] = name
        return value

    def _make(
        self, op: str, domain: str, inputs: Sequence[Operand], attrs: Mapping[str, Any], outputs: int, name: str
    ) -> Node:
        if [type(name), type(outputs)] != [str, int]:
            raise PassError(f"{op}: _name is a text and _outputs a number; found {name!r} and {outputs!r}")
        schema = self._schema(op, domain)
        given = {key: item for key, item in attrs.items() if item is not None}
        if schema is not None:
            _check_counts(schema, len(inputs), outputs)
            given = {key: _typed(schema, key, item) for key, item in given.items()}
        values = [self._operand(schema, op, slot, inputs) for slot in range(len(inputs))]
        node = Node(op, values, given, outputs, domain=domain, name=name)
        if schema is not None:
            from irkit.operands import result_dtypes
            from irkit.opsets.signature import problems  # imports onnx

            if problem := next(problems(node, schema), ""):
                raise PassError(f"{op}: {problem}")
            self._dtypes.update(result_dtypes(node, schema, self._dtypes))
        self.nodes.append(node)
        self._lines[node] = _calling_line()
        return node

    def line_of(self, node: Node | None) -> str:
        """`FILE:LINE` where a node was made; "" for one that was not made here."""
        return self._lines.get(node, "") if node is not None else ""

    def _schema(self, op: str, domain: str) -> OpSchema | None:
        """The operator as the model's operator sets have it; None in a domain that is not known.

        Raises `PassError` for an operator that the domain does not have, or not in that version.
        """
        version = ops.opset_imports(self._graph).get(domain)
        if version is None:
            self.domains.add(domain)
            version = ops.newest_version(domain)
        if not version:
            return None
        schema = ops.schema(op, domain, version)
        if schema is not None and not schema.deprecated:
            return schema
        found = signature(op, domain)
        if found is not None and (found.since > version or found.until):
            span = f"from opset {found.since} on" if found.since > version else f"up to opset {found.until}"
            raise PassError(f"{domain or 'ONNX'} has {op} {span}; this model is in opset {version}")
        if reason := unknown_operator(op, domain):
            raise PassError(reason)
        return None

    def _operand(self, schema: OpSchema | None, op: str, slot: int, inputs: Sequence[Operand]) -> Value | None:
        item = inputs[slot]
        if item is None or isinstance(item, Value):
            return item
        if not isinstance(item, (bool, int, float, list, tuple)):
            return self.constant(item)
        from irkit.operands import number_dtype  # imports onnx

        dtype = number_dtype(schema, slot, inputs, self._dtypes)
        if dtype is None and not isinstance(item, (list, tuple)):
            raise PassError(f"{op}: no operand tells the type of {item}; give op.constant({item}, dtype=...)")
        return self.constant(item, dtype=dtype)


def _calling_line() -> str:
    """`FILE:LINE` of the code that calls this file."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""


def _root_of(graph: Graph) -> Graph:
    while graph.owner is not None and graph.owner.graph is not None:
        graph = graph.owner.graph
    return graph


def _tensor(data: Any, dtype: DType | None) -> Tensor:
    import numpy as np

    array = np.asarray(data)
    if array.dtype == object and not all(isinstance(item, (str, bytes)) for item in array.flat):
        what = type(data[0] if isinstance(data, (list, tuple)) else data).__name__
        raise PassError(f"no constant can be made of a {what}; values are given one by one, as in op.Concat(a, b)")
    if dtype == DType.BFLOAT16 and not isinstance(data, np.ndarray):
        bits = array.astype(np.float32).view(np.uint32)
        return Tensor.of(
            ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16), dtype
        )  # to nearest, ties to even
    if dtype is not None and not dtype.is_native:
        if array.dtype != dtype.numpy:
            raise PassError(f"no number can be made a {dtype.label} here; give a Tensor of its bits")
        return Tensor.of(array, dtype)
    if dtype is None and array.dtype == np.float64 and not isinstance(data, np.ndarray):
        dtype = DType.FLOAT32  # Python floats are meant as ONNX's usual type
    return Tensor.of(array if dtype is None or array.dtype == dtype.numpy else _cast(array, dtype))


def _cast(array: Any, dtype: DType) -> Any:
    """The array in another element type. Raises `PassError` for a number that this type cannot hold."""
    import numpy as np

    with np.errstate(all="ignore"):
        made = array.astype(dtype.numpy)
        lost = np.isfinite(array) & ~np.isfinite(made) if made.dtype.kind == "f" else made != array
    if np.any(lost):
        raise PassError(f"{array[lost].flat[0]} is no {dtype.label}, which this constant is to be")
    return made


def _check_counts(schema: OpSchema, inputs: int, outputs: int) -> None:
    reason = wrong_count(schema.op, "inputs", schema.min_inputs, schema.max_inputs, inputs)
    reason = reason or wrong_count(schema.op, "outputs", schema.min_outputs, schema.max_outputs, outputs)
    if reason:
        raise PassError(reason)


def _typed(schema: OpSchema, name: str, item: Any) -> Attr:
    """The attribute in the kind its schema wants. Raises `PassError` where it is another or there is none such."""
    known = schema.attributes.get(name)
    if known is None:
        raise PassError(unknown_attribute(schema.op, name, schema.attributes, f" (opset {schema.since_version})"))
    if isinstance(item, Attr):
        fits = item.ref or item.kind == known.kind
    else:
        item = item.tolist() if hasattr(item, "tolist") and known.kind != AttrKind.TENSOR else item
        fits = fits_kind(known.kind, item)
    if not fits:
        found = item.value if isinstance(item, Attr) else item
        raise PassError(f"{schema.op}: attribute {name!r} is of kind {known.kind.name.lower()}; found {found!r}")
    return item if isinstance(item, Attr) else _converted(known.kind, name, item)


def _converted(kind: AttrKind, name: str, item: Any) -> Attr:
    if kind == AttrKind.INT:
        item = int(item)
    elif kind == AttrKind.FLOAT:
        item = float(item)
    elif kind == AttrKind.FLOATS:
        item = [float(number) for number in item]
    elif kind == AttrKind.TENSOR and not isinstance(item, Tensor):
        item = _tensor(item, None)
    try:
        return Attr(name, item, kind)
    except TypeError as error:
        raise PassError(str(error)) from None
