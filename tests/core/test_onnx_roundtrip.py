"""What was loaded goes out as it came in, whether somebody looked at it or not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import irkit
from irkit.ir import Node, Value
from irkit.onnx.attrs import LazyAttrs
from tests.core import onnx_models as models


def look_at_everything(model: irkit.Model) -> None:
    """Decode all that is decoded lazily."""
    for node in model.walk():
        for attr in node.attrs.values():
            if isinstance(attr.value, irkit.Tensor):
                attr.value.numpy()
        assert node.extra is not None
    for graph in model.walk_graphs():
        for value in graph.values.values():
            assert value.type is None or str(value.type)
            if isinstance(value.initializer, irkit.Tensor):
                value.initializer.numpy()


@pytest.mark.parametrize("name", models.CASES)
def test_an_untouched_model_goes_out_byte_by_byte(name: str) -> None:
    data = models.CASES[name]().SerializeToString()
    assert irkit.dumps(irkit.loads(data)) == data


@pytest.mark.parametrize("name", models.CASES)
def test_looking_changes_nothing(name: str) -> None:
    proto = models.CASES[name]()
    model = irkit.from_proto(proto)
    look_at_everything(model)
    assert irkit.to_proto(model) == _without_empty_fields(name, proto)


def _without_empty_fields(name: str, proto: onnx.ModelProto) -> onnx.ModelProto:
    """Decoding the rare fields of a node forgets that an empty one was spelled out."""
    if name == "spelled_out":
        for field in ("name", "domain"):
            proto.graph.node[0].ClearField(field)
    return proto


def test_unknown_fields_survive_everywhere() -> None:
    data = models.with_unknown_fields()
    model = irkit.loads(data)
    assert irkit.dumps(model) == data
    look_at_everything(model)
    assert irkit.dumps(model) == data


def test_a_type_of_a_later_onnx_survives_and_says_what_it_is_when_looked_at() -> None:
    proto = models.chain()
    proto.graph.initializer[1].data_type = 99
    proto.graph.input[0].type.tensor_type.elem_type = 99
    model = irkit.from_proto(proto)
    assert irkit.to_proto(model) == proto
    constant = model.graph.values["top"].constant
    assert constant is not None
    with pytest.raises(irkit.ModelError, match=r"'top'.*type 99"):
        constant.numpy()


def test_the_ir_sees_what_the_file_says() -> None:
    model = irkit.from_proto(models.chain())
    graph = model.graph
    add, clip, dropout, mul = graph
    assert [node.op for node in graph] == ["Add", "Clip", "Dropout", "Mul"]
    assert clip.inputs == (add.output, None, graph.values["top"])
    assert [value.name for value in dropout.outputs] == ["d", ""]
    assert mul.inputs == (dropout.output, dropout.output)
    assert dropout.output.uses == [irkit.Use(mul, 0), irkit.Use(mul, 1)]
    assert graph.values["a"].type == irkit.TensorType(irkit.DType.FLOAT32, ("N", None))
    assert graph.outputs == (mul.output,)
    assert mul.output.is_graph_output
    assert model.opset_imports == {"": 18, "local": 1}
    assert (model.producer_name, model.producer_version, model.domain) == ("pytest", "1", "org.example")
    assert (model.model_version, model.doc) == (7, "a model")


def test_nodes_are_built_complete() -> None:
    model = irkit.from_proto(models.nested())
    for node in model.walk():
        assert [slot for slot in Node.__slots__ if not hasattr(node, slot)] == []
        for value in node.outputs:
            assert [slot for slot in Value.__slots__ if not hasattr(value, slot)] == []
    irkit.verify(model)


@pytest.mark.parametrize("label", models.VALUES)
def test_typed_and_raw_data_mean_the_same(label: str) -> None:
    model = irkit.from_proto(models.all_types())
    typed = model.graph.values[f"typed_{label}"].constant
    assert typed is not None
    if label == "STRING":
        assert list(typed.numpy()) == models.VALUES[label]
        return
    assert typed == model.graph.values[f"raw_{label}"].constant
    if typed.dtype.is_native:
        assert np.array_equal(typed.numpy(), models.plain(label))


def test_data_that_is_not_packed_is_read_too() -> None:
    tensor = onnx.TensorProto(dims=[2], data_type=onnx.TensorProto.INT64, name="w")
    proto = models.model([models.node("Identity", ["x"], ["y"])], [tensor])
    packed = tensor.SerializeToString()
    loose = packed + bytes([7 << 3, 5, 7 << 3, 6])
    data = proto.SerializeToString().replace(bytes([42, len(packed)]) + packed, bytes([42, len(loose)]) + loose)
    length = len(proto.graph.SerializeToString())
    data = data.replace(b"\x3a" + bytes([length]), b"\x3a" + bytes([length + 4]), 1)
    constant = irkit.loads(data).graph.values["w"].constant
    assert constant is not None
    assert constant.numpy().tolist() == [5, 6]


def test_uses_in_nested_graphs_are_counted() -> None:
    model = irkit.from_proto(models.nested())
    outer = model.graph.values["outer"]
    assert sorted(node.name for node in outer.users) == ["Add_i1", "Identity_o1", "Neg_f1", "Relu_middle"]
    assert outer.is_captured
    assert model.graph.values["w"].use_count == 1
    assert [graph.name for graph in model.walk_graphs()] == ["main", "flat", "middle", "other", "inner"]


def test_attributes_stay_encoded_until_somebody_looks() -> None:
    model = irkit.from_proto(models.attributes())
    node = model.graph.node("Everything_y")
    assert node._attrs is None
    assert isinstance(node._lazy_attrs, LazyAttrs)
    assert node.attr("a_float") == np.float32(0.1)
    assert node.attr("ints") == (1, -(2**60))
    assert (node.attr("text"), node.attr("octets"), node.attr("texts")) == ("ä", b"\xff\x00", ("a", b"\xfe"))
    assert node.attr("none") == ()
    assert node.attrs["none"].kind == irkit.AttrKind.INTS
    assert node.attr("kind") == irkit.TensorType(irkit.DType.FLOAT32, (1, "N", None))
    assert node.attr("sparse").shape == (2, 3)


def test_a_changed_attribute_leaves_the_others_as_they_came() -> None:
    proto = models.attributes()
    model = irkit.from_proto(proto)
    model.graph.node("Everything_y").set_attr("an_int", 5)
    del proto.graph.node[0].attribute[1]
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("an_int", 5))
    by_name = sorted(irkit.to_proto(model).graph.node[0].attribute, key=lambda attribute: attribute.name)
    assert by_name == sorted(proto.graph.node[0].attribute, key=lambda attribute: attribute.name)


def test_functions_are_kept() -> None:
    model = irkit.from_proto(models.functions())
    assert list(model.functions) == [("local", "Leak", ""), ("local", "Leak", "fast")]
    function = model.functions["local", "Leak", "fast"]
    assert function.attributes == ("slope",)
    assert [attr.name for attr in function.defaults] == ["spare"]
    assert function.graph.node("inside").attrs["alpha"].ref == "slope"
    assert function.graph.outputs[0].type == irkit.TensorType(irkit.DType.FLOAT32, (2, 3))


def test_below_ir_version_4_listed_initializers_are_constants() -> None:
    model = irkit.from_proto(models.old())
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert model.graph.values["w1"].constant is not None


def test_below_ir_version_4_new_initializers_are_listed() -> None:
    model = irkit.from_proto(models.old())
    model.graph.add_initializer("w3", irkit.Tensor.of(np.ones(3, np.float32)))
    assert [value.name for value in irkit.to_proto(model).graph.input] == ["w1", "x", "w2", "w3"]


def test_from_ir_version_4_on_initializers_are_no_longer_listed() -> None:
    model = irkit.from_proto(models.old())
    model.set_field("ir_version", 8)
    assert [value.name for value in irkit.to_proto(model).graph.input] == ["x"]


def test_an_initializer_a_caller_may_override_is_no_constant() -> None:
    model = irkit.from_proto(models.overridable())
    value = model.graph.values["w"]
    assert value in model.graph.inputs
    assert value.constant is None
    assert value.initializer is not None
    assert value.type == irkit.TensorType(irkit.DType.FLOAT32, ("N", 3))


def test_annotations_follow_names_and_go_with_their_values() -> None:
    model = irkit.from_proto(models.annotated())
    model.graph.values["top"].name = "roof"
    annotation = irkit.to_proto(model).graph.quantization_annotation[0]
    assert annotation.quant_parameter_tensor_names[0].value == "roof"
    clip = model.graph.node("Clip_c")
    clip.set_input(2, None)
    model.graph.remove_initializer(model.graph.values["roof"])
    assert not irkit.to_proto(model).graph.quantization_annotation


def test_what_an_output_declares_goes_on_for_the_value_that_takes_its_place() -> None:
    proto = models.annotated()
    proto.graph.output[0].doc_string = "the result"
    proto.graph.output[0].type.denotation = "TENSOR"
    proto.graph.quantization_annotation[0].tensor_name = "y"
    model = irkit.from_proto(proto)
    mul = model.graph.node("Mul_y")
    new = model.graph.append(irkit.Node("Abs", mul.inputs[:1]))
    model.graph.replace_value(mul.output, new.output)
    model.graph.remove(mul)
    saved = irkit.to_proto(model)
    assert saved.graph.output[0] == proto.graph.output[0]
    assert saved.graph.quantization_annotation == proto.graph.quantization_annotation


def test_a_changed_type_replaces_the_recorded_one_and_keeps_its_doc() -> None:
    model = irkit.from_proto(models.annotated())
    model.graph.inputs[0].type = irkit.TensorType(irkit.DType.FLOAT32, (5, 3))
    first = irkit.to_proto(model).graph.input[0]
    assert [dim.dim_value for dim in first.type.tensor_type.shape.dim] == [5, 3]
    assert first.doc_string == "an input"


def test_types_found_later_are_written_after_the_recorded_ones() -> None:
    model = irkit.from_proto(models.chain())
    model.graph.values["d"].type = irkit.TensorType(irkit.DType.FLOAT32, (2, 3))
    assert [item.name for item in irkit.to_proto(model).graph.value_info] == ["c", "a", "gone", "d"]


def test_renaming_reaches_every_place() -> None:
    model = irkit.from_proto(models.nested())
    model.graph.values["outer"].name = "renamed"
    proto = irkit.to_proto(model)
    assert '"outer"' not in str(proto)
    onnx.checker.check_model(proto)


def test_a_model_built_by_hand_is_valid() -> None:
    graph = irkit.Graph("made")
    x = graph.add_input("x", irkit.TensorType(irkit.DType.FLOAT32, ("N", 4)))
    w = graph.add_initializer("w", irkit.Tensor.of(np.ones((4, 2), np.float32)))
    node = graph.append(irkit.Node("MatMul", [x, w], outputs=["y"], name="product"))
    node.output.type = irkit.TensorType(irkit.DType.FLOAT32, ("N", 2))
    graph.set_outputs([node.output])
    proto = irkit.to_proto(irkit.Model(graph, opset_imports={"": 17}))
    onnx.checker.check_model(proto, full_check=True)
    assert proto.ir_version == 8
