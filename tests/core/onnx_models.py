"""Hand-made ONNX models with all that is rare in them, for the tests of reader and writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from irkit.onnx import wire

FLOAT = TensorProto.FLOAT


def info(name: str, shape: Sequence[Any] = (2, 3), dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    initializers: Sequence[TensorProto] = (),
    inputs: Sequence[onnx.ValueInfoProto] | None = None,
    outputs: Sequence[onnx.ValueInfoProto] | None = None,
    ir_version: int = 9,
    opset: int = 18,
    **parts: Any,
) -> onnx.ModelProto:
    """A model from x to y; `parts` go to make_graph and, `functions`, to make_model."""
    functions = parts.pop("functions", ())
    graph = helper.make_graph(
        list(nodes),
        "main",
        [info("x")] if inputs is None else list(inputs),
        [info("y")] if outputs is None else list(outputs),
        list(initializers),
        **parts,
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions), ir_version=ir_version)
    made.producer_name, made.producer_version, made.domain, made.doc_string = "pytest", "1", "org.example", "a model"
    made.model_version = 7
    return made


def node(op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, name=f"{op}_{outputs[0]}", **attributes)


def chain() -> onnx.ModelProto:
    """Add and Relu, with optional inputs and outputs left out."""
    nodes = [
        node("Add", ["x", "w"], ["a"]),
        node("Clip", ["a", "", "top"], ["c"]),
        node("Dropout", ["c"], ["d", ""]),
        node("Mul", ["d", "d"], ["y"]),
    ]
    data = [
        numpy_helper.from_array(np.ones((2, 3), np.float32), "w"),
        numpy_helper.from_array(np.array(6, np.float32), "top"),
    ]
    return model(nodes, data, value_info=[info("c"), info("a", ("N", None)), info("gone")])


def attributes() -> onnx.ModelProto:
    """Attributes of every kind, on an operator nobody knows."""
    tensor = numpy_helper.from_array(np.arange(3, dtype=np.int64), "inner")
    made = node(
        "Everything", ["x"], ["y"], domain="org.example", a_float=0.1, an_int=-3, text="ä", octets=b"\xff\x00",
        t=tensor, floats=[0.5, -1.0], ints=[1, -(2**60)], texts=["a", b"\xfe"], tensors=[tensor, tensor],
        kind=helper.make_tensor_type_proto(FLOAT, [1, "N", None]),
        kinds=[helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))],
        sparse=sparse("s"), sparses=[sparse("s1"), sparse("s2")],
    )  # fmt: skip
    made.attribute.append(helper.make_attribute("none", [], attr_type=onnx.AttributeProto.INTS))
    made.attribute[0].doc_string = "documented"
    return model([made])


def sparse(name: str) -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.array([1.5, -2.5], np.float32), name)
    indices = numpy_helper.from_array(np.array([1, 5], np.int64), "places")
    return helper.make_sparse_tensor(values, indices, [2, 3])


def sparse_initializer() -> onnx.ModelProto:
    return model([node("Add", ["x", "s"], ["y"])], sparse_initializer=[sparse("s")])


VALUES: dict[str, Any] = {
    "FLOAT": [1.5, -0.0], "UINT8": [0, 255], "INT8": [-128, 127], "UINT16": [0, 65535], "INT16": [-32768, 1],
    "INT32": [-(2**31), 5], "INT64": [-(2**63), 9], "STRING": [b"a", b"\xff"], "BOOL": [1, 0], "FLOAT16": [1.5, -2.0],
    "DOUBLE": [1e300, -1.0], "UINT32": [2**32 - 1, 3], "UINT64": [2**64 - 1, 3], "COMPLEX64": [1 + 2j, -1j],
    "COMPLEX128": [1 + 2j, -1j], "BFLOAT16": [1.0, -2.0], "FLOAT8E4M3FN": [1.0, -2.0], "FLOAT8E4M3FNUZ": [1.0, -2.0],
    "FLOAT8E5M2": [1.0, -2.0], "FLOAT8E5M2FNUZ": [1.0, -2.0], "UINT4": [1, 15], "INT4": [-8, 7],
}  # fmt: skip
"""Two elements of each type that every supported version of the onnx package can write."""


def typed(label: str) -> TensorProto:
    """A tensor with its data in the typed field."""
    return helper.make_tensor(f"typed_{label}", getattr(TensorProto, label), [2], VALUES[label])


def raw(label: str) -> TensorProto:
    """The same with its data in raw_data."""
    other = TensorProto()
    other.CopyFrom(typed(label))
    for part in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        other.ClearField(part)
    if label in ("UINT4", "INT4"):
        low, high = (int(item) & 15 for item in VALUES[label])
        other.raw_data = bytes([low | high << 4])
    elif label.startswith(("BFLOAT", "FLOAT8")):
        width = 2 if label == "BFLOAT16" else 1
        other.raw_data = b"".join(int(item).to_bytes(width, "little") for item in typed(label).int32_data)
    else:
        other.raw_data = plain(label).tobytes()
    other.name = f"raw_{label}"
    return other


def plain(label: str) -> np.ndarray[Any, Any]:
    """The two elements as an array, for a type numpy has."""
    return np.array(VALUES[label], helper.tensor_dtype_to_np_dtype(getattr(TensorProto, label)))


def all_types() -> onnx.ModelProto:
    """Initializers of every element type, typed and raw."""
    data = [typed(label) for label in VALUES] + [raw(label) for label in VALUES if label != "STRING"]
    data[0].doc_string = "documented"
    return model([node("Identity", ["x"], ["y"])], data)


def nested() -> onnx.ModelProto:
    """Two levels of If; the inner one reads a value and an initializer of the main graph, and one of its holder's."""
    inner = helper.make_graph(
        [node("Add", ["outer", "w"], ["i1"]), node("Mul", ["i1", "middle"], ["i2"])], "inner", [], [info("i2")],
        [numpy_helper.from_array(np.array(2, np.float32), "own")], value_info=[info("i1")], doc_string="inside",
    )  # fmt: skip
    other = helper.make_graph([node("Identity", ["outer"], ["o1"])], "other", [], [info("o1")])
    middle = helper.make_graph(
        [node("Relu", ["outer"], ["middle"]), node("If", ["c"], ["m2"], then_branch=inner, else_branch=other)],
        "middle", [], [info("m2")],
    )  # fmt: skip
    flat = helper.make_graph([node("Neg", ["outer"], ["f1"])], "flat", [], [info("f1")])
    nodes = [node("Abs", ["x"], ["outer"]), node("If", ["c"], ["y"], then_branch=middle, else_branch=flat)]
    nodes[1].attribute[0].doc_string = "the branch"
    data = [numpy_helper.from_array(np.array(True), "c"), numpy_helper.from_array(np.array(1, np.float32), "w")]
    return model(nodes, data)


def functions() -> onnx.ModelProto:
    """Two overloads of a function, with attributes, defaults, recorded types and metadata."""
    made = []
    for overload in ("", "fast"):
        body = helper.make_node("LeakyRelu", ["a"], ["b"], name="inside")
        body.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
        function = helper.make_function(
            "local", "Leak", ["a"], ["b"], [body], [helper.make_opsetid("", 18)], ["slope"],
            [helper.make_attribute("spare", 2)], doc_string="leaks",
        )  # fmt: skip
        function.overload = overload
        function.value_info.append(info("b"))
        function.metadata_props.append(onnx.StringStringEntryProto(key="k", value="v"))
        made.append(function)
    nodes = [node("Leak", [a], [b], domain="local", slope=0.2) for a, b in ("xm", "my")]
    nodes[1].overload = "fast"
    return model(nodes, functions=made, ir_version=10)


def annotated() -> onnx.ModelProto:
    """Metadata at all places, quantization annotations, training information, types other than tensors."""
    made = chain()
    for holder in (made, made.graph, made.graph.node[0], made.graph.input[0], made.graph.initializer[0]):
        holder.metadata_props.append(onnx.StringStringEntryProto(key="k", value="v"))
    made.graph.doc_string = "a graph"
    made.graph.node[0].doc_string = "a node"
    made.graph.input[0].doc_string = "an input"
    made.graph.input[0].type.denotation = "TENSOR"
    made.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    annotation = made.graph.quantization_annotation.add(tensor_name="a")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="top")
    training = made.training_info.add()
    training.algorithm.CopyFrom(helper.make_graph([node("Neg", ["w"], ["w2"])], "train", [], [info("w2")]))
    training.update_binding.add(key="w", value="w2")
    element = helper.make_tensor_type_proto(FLOAT, ["N"])
    kinds = {
        "s": helper.make_sequence_type_proto(element),
        "o": helper.make_optional_type_proto(helper.make_sequence_type_proto(element)),
        "m": helper.make_map_type_proto(TensorProto.INT64, element),
        "sp": helper.make_sparse_tensor_type_proto(FLOAT, [3, 4]),
        "any": onnx.TypeProto(),
    }
    made.graph.input.extend(helper.make_value_info(name, kind) for name, kind in kinds.items())
    made.graph.input.add(name="untyped")
    return made


def old() -> onnx.ModelProto:
    """IR version 3: initializers are listed among the inputs, and yet are constants."""
    data = [numpy_helper.from_array(np.full((2, 3), n, np.float32), f"w{n}") for n in (1, 2)]
    nodes = [node("Add", ["x", "w1"], ["a"]), node("Add", ["a", "w2"], ["y"])]
    return model(nodes, data, [info("w1"), info("x"), info("w2")], ir_version=3, opset=7)


def overridable() -> onnx.ModelProto:
    """IR version 8: an initializer among the inputs is a default that a caller may override."""
    data = [numpy_helper.from_array(np.ones((2, 3), np.float32), "w")]
    return model([node("Add", ["x", "w"], ["y"])], data, [info("x"), info("w", ("N", 3))], ir_version=8)


def spelled_out() -> onnx.ModelProto:
    """Fields that are there and empty, and outputs that are inputs, initializers, or stand twice."""
    made = model(
        [node("Relu", ["x"], ["y"])], [numpy_helper.from_array(np.ones((2, 3), np.float32), "w")],
        outputs=[info("y"), info("x", ("N", 3)), info("w"), info("y")],
    )  # fmt: skip
    made.graph.node[0].name = made.graph.node[0].domain = made.graph.doc_string = made.doc_string = ""
    made.model_version = 0
    return made


CASES: dict[str, Callable[[], onnx.ModelProto]] = {
    case.__name__: case
    for case in (
        chain, attributes, sparse_initializer, all_types, nested, functions, annotated, old, overridable, spelled_out,
    )
}  # fmt: skip


def with_unknown_fields() -> bytes:
    """A model as a later ONNX might write it: fields nobody knows in model, graph, node, attribute, tensor and type."""
    made = attributes()
    made.graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), "w"))
    extra = wire.integer(99, 300) + wire.blob(98, b"later") + wire.key(97, wire.FIXED32) + b"abcd"
    graph = made.graph
    first = graph.node[0].attribute[0].SerializeToString() + extra
    others = [wire.blob(5, attribute.SerializeToString()) for attribute in graph.node[0].attribute[1:]]
    bare = onnx.NodeProto()
    bare.CopyFrom(graph.node[0])
    bare.ClearField("attribute")
    domain, bare.domain = bare.domain, ""
    bare.ClearField("domain")
    body = bare.SerializeToString() + wire.blob(5, first) + b"".join(others) + wire.blob(7, domain.encode()) + extra
    whole = (
        wire.blob(1, body)
        + wire.blob(2, b"main")
        + wire.blob(5, graph.initializer[0].SerializeToString() + extra)
        + wire.blob(11, graph.input[0].SerializeToString() + extra)
        + wire.blob(12, graph.output[0].SerializeToString())
        + extra
    )
    opset = wire.blob(8, wire.blob(1, b"org.example") + wire.integer(2, 3) + extra)
    return wire.integer(1, 9) + wire.blob(7, whole) + opset + extra
