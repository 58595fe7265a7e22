"""Nodes that the compiler speaks of are found in the model, however it spells them; in doubt none is."""

from __future__ import annotations

import pytest

from irkit import parse_model
from irkit.hailo.dfc_names import NodeNames

MODEL = parse_model("""
graph(%x: float32[1,8,16,16]) -> (%output0) {
  %w: float32[8,8,1,1] = random(seed=1)
  %/stem/Conv_output_0 = Conv(%x, %w) @/stem/Conv
  %/block.0/act/Sigmoid_output_0 = Sigmoid(%/stem/Conv_output_0) @/block.0/act/Sigmoid
  %/block.1/act/Sigmoid_output_0 = Sigmoid(%/stem/Conv_output_0) @/block.1/act/Sigmoid
  %a = Add(%/block.0/act/Sigmoid_output_0, %/block.1/act/Sigmoid_output_0) @"a node"
  %output0 = Softmax(%a)
}
""")


def found(name: str) -> str | None:
    node = NodeNames(MODEL.graph).find(name)
    return None if node is None else node.name or node.op


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("/stem/Conv", "/stem/Conv"),
        ("stem/Conv", "/stem/Conv"),
        ("/stem/Conv:0", "/stem/Conv"),
        ("/stem/Co nv", "/stem/Conv"),
        ("'/stem/Conv'", "/stem/Conv"),
        ("net/stem/Conv", "/stem/Conv"),
        ("net//stem/Conv", "/stem/Conv"),
        ("/stem/Conv_output_0", "/stem/Conv"),
        ("stem/Conv;stem/BiasAdd;stem/ReadVariableOp", "/stem/Conv"),
        ("block.1/act/Sigmoid", "/block.1/act/Sigmoid"),
        ("a node", "a node"),
        ("output0", "Softmax"),
        ("act/Sigmoid", None),  # two end so
        ("Sigmoid", None),
        ("/stem", None),
        ("", None),
        (":0", None),
    ],
)
def test_spellings_of_a_node(name: str, node: str | None) -> None:
    assert found(name) == node


@pytest.mark.parametrize(
    ("layer", "node"),
    [("net/conv41", "/stem/Conv"), ("softmax1", "Softmax"), ("ew_add3", "a node"), ("concat24", None), ("odd1", None)],
)
def test_a_layer_is_a_node_where_only_one_can_be_it(layer: str, node: str | None) -> None:
    made = NodeNames(MODEL.graph).of_layer(layer)
    assert (None if made is None else made.name or made.op) == node


def test_a_layer_that_two_nodes_can_be_is_none() -> None:
    model = parse_model("graph(%x: float32[1,4]) -> (%y) { %a = Softmax(%x) %y = Softmax(%a) }")
    assert NodeNames(model.graph).of_layer("softmax1") is None
