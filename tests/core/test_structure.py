"""Structural hash and equality: what counts, what does not, and the first difference in words."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from irkit import (
    DType,
    Graph,
    Model,
    Node,
    SparseTensor,
    Tensor,
    TensorType,
    difference,
    equal,
    parse_model,
    structural_hash,
)
from irkit.ir import NodeExtra
from irkit.source import SourceFile
from tests.core.test_ir import node, value

TEXT = """
opset 17
metadata {"k": "v"}
function local::F {n} (%p) -> (%q) { %q = Neg(%p) }
graph main(%x: float32[2,N], %c: bool[]) -> (%y: float32[2,N]) {
  %w: float32[4,10] = iota
  %b: float32[4] = [1, 2, 3, 4]
  %a = Conv(%x, %w, %b) {pads=[1,1], k=1} @conv
  %y = If(%c) {
    then_branch=graph() -> (%t) { %t = Abs(%a) @abs },
    else_branch=graph() -> (%e) { %e = Neg(%a) @neg }
  } @if
}
"""


def same(left: Model, right: Model, *, names: bool = True, annotations: bool = False) -> bool:
    """Whether the models are equal; hash, equality and difference must agree."""
    hashes = [structural_hash(model, names=names, annotations=annotations) for model in (left, right)]
    found = difference(left, right, names=names, annotations=annotations)
    assert (hashes[0] == hashes[1]) == (found is None) == equal(left, right, names=names, annotations=annotations)
    return found is None


def model_with(data: Tensor | SparseTensor) -> Model:
    graph = Graph()
    graph.set_outputs([graph.add_initializer("w", data)])
    return Model(graph, opset_imports={"": 17})


CHANGES: dict[str, Callable[[Model], object]] = {
    "op": lambda m: node(m, "conv").set_op("ConvTranspose"),
    "domain": lambda m: node(m, "conv").set_op("Conv", "other"),
    "attribute": lambda m: node(m, "conv").set_attr("k", 2),
    "kind of attribute": lambda m: node(m, "conv").set_attr("k", 1.0),
    "no attribute": lambda m: node(m, "conv").set_attr("k", None),
    "inputs": lambda m: node(m, "abs").set_inputs([value(m, "x")]),
    "input left out": lambda m: node(m, "conv").set_input(2, None),
    "outputs": lambda m: node(m, "conv").add_output("more"),
    "graph outputs": lambda m: m.graph.set_outputs([value(m, "y"), value(m, "y")]),
    "type of an input": lambda m: setattr(value(m, "x"), "type", TensorType(DType.FLOAT32, (2, 3))),
    "one element": lambda m: value(m, "b").set_initializer(Tensor.of(np.array([1, 2, 3, 5], np.float32))),
    "one element of many": lambda m: value(m, "w").set_initializer(Tensor.of(np.ones((4, 10), np.float32))),
    "nested graph": lambda m: node(m, "abs").set_op("Exp"),
    "function": lambda m: next(iter(m.functions.values())).graph.node("").set_op("Abs"),
    "no function": lambda m: m.set_field("functions", {}),
    "opset": lambda m: m.set_field("opset_imports", {"": 18}),
    "ir version": lambda m: m.set_field("ir_version", 9),
    "metadata": lambda m: m.set_field("metadata", {}),
    "metadata of a node": lambda m: setattr(node(m, "conv"), "extra", NodeExtra(metadata={"a": "b"})),
    "unknown fields of a node": lambda m: setattr(node(m, "conv"), "extra", NodeExtra(unknown=b"\x01")),
    "one node more": lambda m: m.graph.append(Node("Op", outputs=0)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_counts(change: Callable[[Model], object]) -> None:
    before, after = parse_model(TEXT), parse_model(TEXT)
    assert same(before, after)
    change(after)
    assert not same(before, after)
    assert not same(before, after, names=False)
    after.journal.undo_to(0)
    assert same(before, after)


def rename_all(model: Model) -> None:
    for item in model.walk():
        item.name = model.fresh_node_name("other")
        item.set_origin([])
    for graph in model.walk_graphs():
        graph.name = "other"
        for each in list(graph.values.values()):
            if graph is not model.graph or not (each.is_graph_output or each.is_graph_input):
                each.name = model.fresh_name("other")


def test_names_inside_count_unless_told_not_to() -> None:
    before, after = parse_model(TEXT), parse_model(TEXT)
    rename_all(after)
    assert not same(before, after)
    assert same(before, after, names=False)


@pytest.mark.parametrize("name", ["x", "y"])
def test_names_of_inputs_and_outputs_always_count(name: str) -> None:
    before, after = parse_model(TEXT), parse_model(TEXT)
    value(after, name).name = "other"
    assert not same(before, after, names=False)


def test_types_inside_and_origins_count_only_when_asked() -> None:
    before, typed, traced = parse_model(TEXT), parse_model(TEXT), parse_model(TEXT)
    value(typed, "a").type = TensorType(DType.FLOAT32, (1,))
    node(traced, "conv").set_origin([node(traced, "conv"), node(traced, "abs")])
    for after in (typed, traced):
        assert same(before, after)
        assert not same(before, after, annotations=True)


def test_order_of_attributes_and_constants_does_not_count() -> None:
    one = parse_model("graph() -> (%y) { %a: int64[] = 1 %b: int64[] = 2 %y = Op(%a, %b) {k=1, l=2} }")
    two = parse_model("graph() -> (%y) { %b: int64[] = 2 %a: int64[] = 1 %y = Op(%a, %b) {l=2, k=1} }")
    three = parse_model("graph() -> (%y) { %b: int64[] = 2 %a: int64[] = 1 %y = Op(%b, %a) {l=2, k=1} }")
    assert same(one, two)
    assert same(one, two, names=False)
    assert not same(one, three, names=False)


def test_unused_constants_count_whatever_their_order() -> None:
    one = parse_model("graph() -> () { %a: int64[] = 1 %b: int64[] = 2 }")
    two = parse_model("graph() -> () { %c: int64[] = 2 %d: int64[] = 1 }")
    three = parse_model("graph() -> () { %c: int64[] = 2 %d: int64[] = 2 }")
    assert same(one, two, names=False)
    assert not same(one, three, names=False)


def test_how_a_constant_is_held_does_not_count(tmp_path: Path) -> None:
    array = np.full((600, 700), 0.5, np.float32)
    (tmp_path / "w.bin").write_bytes(b"xy" + array.tobytes())
    source = SourceFile(tmp_path / "w.bin")
    held = [
        Tensor.of(array),
        Tensor.of(np.ascontiguousarray(array.T).T),
        Tensor.splat(0.5, array.shape, DType.FLOAT32),
        Tensor(DType.FLOAT32, array.shape, file=(source, 2)),
        Tensor(DType.FLOAT32, array.shape, load=lambda: array.reshape(-1)),
    ]
    models = [model_with(tensor) for tensor in held]
    assert all(same(models[0], other) for other in models[1:])
    assert all(same(models[3], other) for other in models)
    source.close()


def test_the_same_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(400))
    source = SourceFile(tmp_path / "w.bin")
    one, two = (model_with(Tensor(DType.FLOAT32, (100,), file=(source, 0))) for _ in range(2))
    source.close()
    assert equal(one, two)


def test_bits_count_not_values() -> None:
    positive, negative = np.zeros(2, np.float32), np.array([0.0, -0.0], np.float32)
    assert not same(model_with(Tensor.of(positive)), model_with(Tensor.of(negative)))
    nan, other = (np.array([bits, 0], np.uint32).view(np.float32) for bits in (0x7FC00000, 0x7FC00001))
    assert same(model_with(Tensor.of(nan)), model_with(Tensor.of(nan.copy())))
    assert not same(model_with(Tensor.of(nan)), model_with(Tensor.of(other)))


def test_type_and_shape_of_a_constant_count() -> None:
    base = model_with(Tensor.of(np.zeros((2, 3), np.float32)))
    assert not same(base, model_with(Tensor.of(np.zeros((3, 2), np.float32))))
    assert not same(base, model_with(Tensor.of(np.zeros((2, 3), np.int32))))


def test_sparse_and_string_constants_count() -> None:
    def sparse(number: int) -> Model:
        return model_with(SparseTensor(Tensor.of(np.array([number])), Tensor.of(np.array([1])), (3,)))

    def words(*items: bytes) -> Model:
        return model_with(Tensor.strings(items, (len(items),)))

    assert same(sparse(1), sparse(1))
    assert not same(sparse(1), sparse(2))
    assert same(words(b"ab", b"c"), words(b"ab", b"c"))
    assert not same(words(b"ab", b"c"), words(b"a", b"bc"))
    assert not same(words(b"a", b"a"), words(b"aa", b"aa"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("op", ["after %w: float32[4,10] = ...", "- %a = Conv(%x, %w, %b)", "+ %a = ConvTranspose(%x, %w, %b)"]),
        ("nested graph", ["after %a = Conv(%x, %w, %b)", "- %t = Abs(%a) @abs", "+ %t = Exp(%a) @abs"]),
        (
            "one element",
            ["the data of Tensor(float32[4]) differs at element 3: 4.0 became 5.0", "%b: float32[4] = ..."],
        ),
        ("opset", ["after the start", "- opset 17", "+ opset 18"]),
    ],
)
def test_the_first_difference_in_words(change: str, told: list[str]) -> None:
    before, after = parse_model(TEXT), parse_model(TEXT)
    CHANGES[change](after)
    found = difference(before, after)
    assert found is not None
    for part in told:
        assert part in found


def test_the_hash_does_not_depend_on_the_process(root: Path) -> None:
    program = "import irkit, sys; print(irkit.structural_hash(irkit.parse_model(sys.argv[1])))"
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        found = subprocess.run(
            [sys.executable, "-c", program, TEXT], env=environment, check=True, capture_output=True, text=True
        )
        assert found.stdout.strip() == structural_hash(parse_model(TEXT))
