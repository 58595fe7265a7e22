"""What irkit asks of operators: their schemas, defaults of attributes, and a few facts no schema states.

A node's operator is looked up in the version of the operator set that its model, or the function it stands in, imports.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from irkit.ir import Graph, Node

if TYPE_CHECKING:
    from irkit.onnx.schema import OpSchema

COMMUTATIVE = frozenset({
    "Add", "Mul", "Sum", "Mean", "Max", "Min", "And", "Or", "Xor", "Equal", "BitwiseAnd", "BitwiseOr", "BitwiseXor",
})  # fmt: skip

_ANY_VERSION = (1 << 31) - 1

_RANDOM = frozenset({
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli",
})  # fmt: skip

_PARAMETERS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "ConvInteger": (1, 3), "QLinearConv": (1, 2, 3, 4, 5, 6, 7, 8),
    "DeformConv": (1, 3), "Gemm": (1, 2), "MatMul": (1,),
    "MatMulInteger": (1, 3), "QLinearMatMul": (1, 2, 3, 4, 5, 6, 7),
    "LSTM": (1, 2, 3, 7), "GRU": (1, 2, 3), "RNN": (1, 2, 3),
    "BatchNormalization": (1, 2, 3, 4), "InstanceNormalization": (1, 2), "GroupNormalization": (1, 2),
    "LayerNormalization": (1, 2), "RMSNormalization": (1,), "PRelu": (1,),
    "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2),
}  # fmt: skip


def schema(op: str, domain: str, version: int) -> OpSchema | None:
    """The schema of an operator in a version of its domain; None where it is not known."""
    from irkit.onnx.schema import find_schema

    return find_schema(op, domain, version)


def is_known(op: str, domain: str) -> bool:
    """Whether the installed onnx knows the operator, in any version."""
    return schema(op, domain, _ANY_VERSION) is not None


def newest_version(domain: str) -> int:
    """The newest version of a domain's operator set that the installed onnx knows; 0 where it knows none."""
    from irkit.onnx.schema import latest_version

    return latest_version(domain)


def opset_imports(graph: Graph) -> Mapping[str, int]:
    """The operator sets that nodes of the graph are written in: its model's or its function's; none without a model."""
    root = graph
    while root.owner is not None and root.owner.graph is not None:
        root = root.owner.graph
    model = root.model
    if model is None:
        return {}
    if root is model.graph:
        return model.opset_imports
    for function in model.functions.values():
        if function.graph is root:
            # A function that imports nothing of a domain follows its model.
            return {**model.opset_imports, **function.opset_imports}
    return model.opset_imports


def schema_of(node: Node) -> OpSchema | None:
    """The schema of a node's operator; None for an operator that is not known, or a node without a model."""
    if node.graph is None:
        return None
    version = opset_imports(node.graph).get(node.domain)
    return schema(node.op, node.domain, version) if version is not None else None


def attribute(node: Node, name: str) -> Any:
    """Value of an attribute, or the default its operator's schema gives it; None where there is neither.

    None too where the attribute refers to one of the enclosing function, whose value nobody knows here.
    """
    found = node.attrs.get(name)
    if found is not None:
        return found.value
    described = schema_of(node)
    item = described.attributes.get(name) if described is not None else None
    return item.default if item is not None else None


def is_commutative(node: Node) -> bool:
    """Whether the operands may be put in any order."""
    return not node.domain and node.op in COMMUTATIVE


def is_random(node: Node) -> bool:
    """Whether two runs may differ: random operators, Dropout in training, and what holds such a node in a subgraph."""
    if any(is_random(inner) for graph in node.subgraphs for inner in graph):
        return True
    if node.domain:
        return False
    return node.op in _RANDOM or (node.op == "Dropout" and _drops(node))


def is_deterministic(node: Node) -> bool:
    """Whether the node is known to give the same result each time: false for random and for unknown operators."""
    if schema_of(node) is None or is_random(node):
        return False
    return all(is_deterministic(inner) for graph in node.subgraphs for inner in graph)


def parameter_slots(node: Node) -> tuple[int, ...]:
    """Numbers of the inputs that hold parameters: weight, bias, scale, mean, ... Compilers want them constant."""
    return _PARAMETERS.get(node.op, ()) if not node.domain else ()


def _drops(node: Node) -> bool:
    """Whether a Dropout may drop: since opset 12 by an input, before 7 by an attribute, never between."""
    if node.input(2) is not None:
        mode = node.inputs[2].constant  # type: ignore[union-attr]  # just seen
        return mode is None or bool(mode.item())
    described = schema_of(node)
    if described is not None and "is_test" in described.attributes:
        return not attribute(node, "is_test")
    return False
