"""How two models differ: nodes are paired by structure, name and origin, and each kind of difference is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import irkit
from irkit import GraphDiff, Model, Node, Tensor, parse_model

BASE = """opset 17
graph(%x: float32[1,4,8,8]) -> (%y: float32[1,4,8,8]) {
%w: float32[4,4,1,1] = random(seed=1)
%v: float32[4,4,1,1] = random(seed=2)
%a: float32[1,4,8,8] = Conv(%x, %w) {strides=[1,1]} @conv
%b: float32[1,4,8,8] = Relu(%a) @act
%c: float32[1,4,8,8] = Conv(%b, %v) @conv2
%y = Add(%c, %x) @add
}"""


def base() -> Model:
    return parse_model(BASE)


def changed(edit: Callable[[Model], object]) -> GraphDiff:
    right = base()
    edit(right)
    return irkit.diff(base(), right)


def kinds(found: GraphDiff) -> list[tuple[str, str, str]]:
    return [(change.kind, change.node, change.other) for change in found.changes]


def node(model: Model, name: str) -> Node:
    return model.graph.node(name)


def test_a_model_equals_itself_and_what_was_saved() -> None:
    assert irkit.diff(base(), base()).is_equal
    found = irkit.diff(base(), irkit.loads(irkit.dumps(base())))
    assert found.is_equal
    assert found.same == 4


def test_an_attribute() -> None:
    found = changed(lambda model: node(model, "conv").set_attr("dilations", [2, 2]))
    assert kinds(found) == [("changed", "conv", "conv")]
    assert found.changes[0].details == ("dilations: (left out) -> [2, 2]",)
    assert found.same == 3


def test_an_attribute_that_says_its_default_is_no_difference() -> None:
    assert changed(lambda model: node(model, "conv").set_attr("group", 1)).is_equal
    assert not changed(lambda model: node(model, "conv").set_attr("group", 2)).is_equal


def test_another_operator_and_what_else_reads_on() -> None:
    found = changed(lambda model: node(model, "act").set_op("Neg"))
    assert kinds(found) == [("changed", "act", "act")]
    assert found.changes[0].details == ("operator Relu -> Neg",)


def test_weights_tell_how_many_and_by_how_much() -> None:
    def edit(model: Model) -> None:
        value = model.graph.initializers["w"]
        data = value.constant
        assert data is not None
        array = data.numpy().copy()
        array[0, 0] += 0.5
        value.set_initializer(Tensor.of(array))

    (change,) = changed(edit).changes
    assert (change.kind, change.node) == ("changed", "conv")
    assert "1 of 16 elements, largest difference 0.5" in change.details[0]


def test_weights_of_another_shape() -> None:
    def edit(model: Model) -> None:
        model.graph.initializers["w"].set_initializer(Tensor.of(np.zeros((4, 4, 3, 3), np.float32)))

    assert changed(edit).changes[0].details == ("input 1 (w): float32[4, 4, 1, 1] -> float32[4, 4, 3, 3]",)


def test_renamed_nodes_are_renamed_not_removed_and_added() -> None:
    def edit(model: Model) -> None:
        for index, item in enumerate(model.graph):
            item.name = f"n{index}"
        node(model, "n0").output.name = "other"

    found = changed(edit)
    assert kinds(found) == [("renamed", old, f"n{i}") for i, old in enumerate(["conv", "act", "conv2", "add"])]
    assert found.changes[0].details == ("value a -> other",)


def test_names_that_moved_to_other_nodes_do_not_mislead() -> None:
    """Exporters number nodes: one that is put in front shifts all names behind it."""
    left = parse_model(
        "opset 17\ngraph(%x: float32[4]) -> (%y: float32[4]) {\n%a = Neg(%x) @n0\n%b = Abs(%a) @n1\n%y = Neg(%b) @n2\n}"
    )
    right = parse_model(
        "opset 17\ngraph(%x: float32[4]) -> (%y: float32[4]) {\n%a = Neg(%x) @n0\n%i = Relu(%a) @n1\n"
        "%b = Abs(%i) @n2\n%y = Neg(%b) @n3\n}"
    )
    found = irkit.diff(left, right)
    assert ("added", "", "n1") in kinds(found)
    assert ("changed", "n1", "n2") in kinds(found)
    assert ("renamed", "n2", "n3") in kinds(found)


def test_an_added_and_a_removed_node_and_the_wires_around_it() -> None:
    def edit(model: Model) -> None:
        act = node(model, "act")
        source = act.inputs[0]
        assert source is not None
        act.output.replace_all_uses(source)
        model.graph.remove(act)

    gone = changed(edit)
    assert kinds(gone) == [("removed", "act", ""), ("changed", "conv2", "conv2")]
    assert gone.changes[1].details == ("input 0: %b -> %a",)
    right = base()
    edit(right)
    assert [change.kind for change in irkit.diff(right, base()).changes] == ["changed", "added"]


def test_inputs_and_outputs_by_name_type_and_order() -> None:
    left = parse_model("opset 17\ngraph(%p: float32[4], %q: float32[4]) -> (%y: float32[4]) {\n%y = Sub(%p, %q) @s\n}")
    right = parse_model("opset 17\ngraph(%q: float32[4], %p: float32[N]) -> (%z: float32[4]) {\n%z = Sub(%p, %q) @s\n}")
    found = irkit.diff(left, right)
    assert set(found.ends) == {
        "inputs in another order: q, p", "input p: float32[4] -> float32[N]", "output y is called z",
    }  # fmt: skip


def test_swapped_operands_and_rewired_outputs() -> None:
    head = "opset 17\ngraph(%p: float32[4], %q: float32[4]) -> (%y: float32[4], %z: float32[4]) {\n"
    left = parse_model(head + "%y = Sub(%p, %q) @s\n%z = Abs(%p) @a\n}")
    swapped = irkit.diff(left, parse_model(head + "%y = Sub(%q, %p) @s\n%z = Abs(%p) @a\n}"))
    assert swapped.changes[0].details == ("input 0: %p -> %q", "input 1: %q -> %p")
    crossed = irkit.diff(left, parse_model(head + "%z = Sub(%p, %q) @s\n%y = Abs(%p) @a\n}"))
    assert "output y is made by Abs 'a', was by Sub 's'" in crossed.ends


def test_what_a_nested_graph_holds() -> None:
    def branches(op: str) -> Model:
        return parse_model(
            "opset 17\ngraph(%c: bool[], %x: float32[2]) -> (%y: float32[2]) {\n%y = If(%c) {"
            "then_branch=graph() -> (%t: float32[2]) {\n%t = Neg(%x) @neg\n}, "
            f"else_branch=graph() -> (%e: float32[2]) {{\n%e = {op}(%x) @other\n}}}} @if\n}}"
        )

    found = irkit.diff(branches("Abs"), branches("Relu"))
    assert [(change.title, change.details) for change in found.changes] == [
        ("Relu other in else_branch of if", ("operator Abs -> Relu",))
    ]
    assert irkit.diff(branches("Abs"), branches("Abs")).is_equal


def test_the_model_around_the_graph() -> None:
    def edit(model: Model) -> None:
        model.set_field("opset_imports", {"": 18})
        model.set_field("metadata", {"classes": "3"})

    assert changed(edit).model == ("operator set ai.onnx: 17 -> 18", "metadata classes: (none) -> 3")


def test_data_in_a_node_or_stored_is_told() -> None:
    left = parse_model(
        "opset 17\ngraph(%x: float32[2]) -> (%y: float32[2]) {\n%c: float32[2] = [1, 2]\n%y = Add(%x, %c) @a\n}"
    )
    right = parse_model(
        "opset 17\ngraph(%x: float32[2]) -> (%y: float32[2]) {\n%c = Constant() {value=float32[2] [1, 2]}\n"
        "%y = Add(%x, %c) @a\n}"
    )
    assert irkit.diff(left, right).changes[0].details == ("input 1 (c): stored data -> a Constant node",)


def test_what_optimize_did_is_seen_as_it_is() -> None:
    left, right = base(), base()
    irkit.optimize(right, only="name-nodes,fold-constants,remove-dead", verify="none")
    assert irkit.diff(left, right).is_equal


@pytest.mark.parametrize("count", [3000])
def test_large_models_are_paired_in_one_sweep(count: int) -> None:
    """A chain of equal nodes is the worst for pairing by looking around: every node is like every other."""
    lines = "\n".join(f"%v{i + 1} = Relu(%v{i}) @n{i}" for i in range(count))
    left = parse_model(f"opset 17\ngraph(%v0: float32[2]) -> (%v{count}: float32[2]) {{\n{lines}\n}}")
    right = irkit.loads(irkit.dumps(left))
    right.graph.node(f"n{count // 2}").set_op("Neg")
    found = irkit.diff(left, right)
    assert kinds(found) == [("changed", f"n{count // 2}", f"n{count // 2}")]
