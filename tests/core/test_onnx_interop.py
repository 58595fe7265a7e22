"""Models and their parts to and from the objects of onnx, onnx-graphsurgeon and networkx."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import irkit
from irkit.onnx import proto
from tests.core import onnx_models as models

FLOAT32, INT64 = irkit.DType.FLOAT32, irkit.DType.INT64


@pytest.mark.parametrize(
    "kind",
    [
        irkit.TensorType(FLOAT32, (1, "N", None)),
        irkit.TensorType(INT64),
        irkit.TensorType(FLOAT32, ()),
        irkit.SequenceType(irkit.TensorType(FLOAT32, ())),
        irkit.SequenceType(None),
        irkit.MapType(INT64, irkit.TensorType(irkit.DType.STRING)),
        irkit.OptionalType(irkit.SequenceType(irkit.TensorType(irkit.DType.BFLOAT16, (2,)))),
        irkit.OpaqueType("org.example", "thing"),
        irkit.SparseTensorType(irkit.DType.FLOAT64, (3, 4)),
    ],
    ids=str,
)
def test_types_survive_the_way_there_and_back(kind: Any) -> None:
    assert proto.type_from_proto(proto.type_proto(kind)) == kind


def test_a_type_is_what_onnx_makes_of_it() -> None:
    kind = irkit.TensorType(FLOAT32, (1, "N", None))
    assert proto.type_proto(kind) == helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [1, "N", None])
    assert proto.type_from_proto(onnx.TypeProto()) is None


def test_a_negative_dimension_means_any() -> None:
    kind = helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [-1, 3])
    assert proto.type_from_proto(kind) == irkit.TensorType(FLOAT32, (None, 3))


@pytest.mark.parametrize("array", [np.arange(6.0).reshape(2, 3), np.array(3), np.zeros((0, 3), np.float16)])
def test_tensors_survive_the_way_there_and_back(array: Any) -> None:
    tensor = irkit.Tensor.of(array)
    made = proto.tensor_proto(tensor, "name")
    assert made.name == "name"
    assert np.array_equal(numpy_helper.to_array(made), array)
    assert proto.tensor_from_proto(made) == tensor


@pytest.mark.parametrize("label", models.VALUES)
def test_a_renamed_tensor_keeps_all_else(label: str) -> None:
    source = models.typed(label)
    source.doc_string = "documented"
    renamed = proto.tensor_proto(proto.tensor_from_proto(source), "another")
    source.name = "another"
    assert renamed == source


def test_a_node_made_by_hand_is_what_onnx_makes_of_it() -> None:
    attributes = {"group": 2, "pads": [1, 1], "auto_pad": "SAME", "scale": 0.5}
    inputs = [irkit.Value("x"), None, irkit.Value("b")]
    made = irkit.Node("Conv", inputs, attributes, ["y", ""], name="n", domain="d")
    expected = helper.make_node("Conv", ["x", "", "b"], ["y", ""], name="n", domain="d")
    expected.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    assert proto.node_proto(made) == expected


def test_a_node_with_a_nested_graph_is_converted_whole() -> None:
    source = models.nested()
    holder = irkit.from_proto(source).graph.node("If_y")
    assert proto.node_proto(holder) == source.graph.node[1]


def test_graphsurgeon_there_and_back() -> None:
    surgeon = pytest.importorskip("onnx_graphsurgeon")
    graph = irkit.to_graphsurgeon(irkit.from_proto(models.chain()))
    assert isinstance(graph, surgeon.Graph)
    assert [each.op for each in graph.nodes] == ["Add", "Clip", "Dropout", "Mul"]
    graph.nodes[0].op = "Sub"
    back = irkit.from_graphsurgeon(graph)
    assert [each.op for each in back.graph] == ["Sub", "Clip", "Dropout", "Mul"]
    assert [value.name for value in back.graph.outputs] == ["y"]
    assert back.graph.values["w"].constant == irkit.from_proto(models.chain()).graph.values["w"].constant


@pytest.mark.parametrize(("call", "name"), [("to_graphsurgeon", "onnx_graphsurgeon"), ("to_networkx", "networkx")])
def test_a_package_that_is_missing_is_named(call: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(irkit.InputError, match="pip install"):
        getattr(irkit, call)(irkit.from_proto(models.chain()))


def test_networkx_keeps_both_edges_of_a_square() -> None:
    networkx = pytest.importorskip("networkx")
    model = irkit.from_proto(models.chain())
    view = irkit.to_networkx(model)
    mul, d = model.graph.node("Mul_y"), model.graph.values["d"]
    assert sorted(data["slot"] for data in view.get_edge_data(d, mul).values()) == [0, 1]
    assert networkx.is_bipartite(view.to_undirected())
    assert networkx.is_directed_acyclic_graph(view)
    kinds = [data["kind"] for _, data in view.nodes(data=True)]
    assert (kinds.count("node"), kinds.count("value")) == (4, 8)
    slots = [data["slot"] for *_, data in view.in_edges(model.graph.node("Clip_c"), data=True)]
    assert slots == [0, 2]


def test_networkx_shows_what_nested_graphs_read() -> None:
    pytest.importorskip("networkx")
    model = irkit.from_proto(models.nested())
    view = irkit.to_networkx(model)
    holder = model.graph.node("If_y")
    captured = {value.name for value, _, data in view.in_edges(holder, data=True) if data.get("captured")}
    assert captured == {"outer", "w", "c"}
    branch = irkit.to_networkx(holder.subgraphs[1])
    assert model.graph.values["outer"] in branch


def test_a_proto_with_external_data_needs_its_folder(tmp_path: Any) -> None:
    whole = irkit.from_proto(models.chain())
    whole.graph.values["w"].set_initializer(irkit.Tensor.of(np.ones((2, 300), np.float32)))
    irkit.save(whole, tmp_path / "m.onnx", external_data=True)
    bare = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    with pytest.raises(irkit.ModelError, match="folder"):
        irkit.from_proto(bare)
    loaded = irkit.from_proto(bare, folder=tmp_path)
    assert loaded.graph.values["w"].constant == whole.graph.values["w"].constant
