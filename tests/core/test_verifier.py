"""Each invariant: a graph that breaks it on purpose is found, and told by the name of the check and the place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from irkit import Attr, AttrKind, DType, Graph, GraphError, Model, Node, Tensor, TensorType, Value, parse_model, verify
from irkit.verifier import CHECKS
from tests.core.test_ir import node, value

TEXT = """
function local::F {n} (%p) -> (%q) { %q = Neg(%p) {k=@n: int} @in_function }
graph(%x: float32[2,3], %c: bool[]) -> (%y: float32[2,3]) {
  %w: float32[3] = [1, 2, 3]
  %a = Add(%x, %w) @add
  %b = Exp(%a) @exp
  %y = If(%c) {
    then_branch=graph() -> (%t) { %t = Abs(%a) @abs },
    else_branch=graph() -> (%e) { %e = Neg(%b) @neg  %f = Sin(%e) @sin }
  } @if
}
"""

Break = Callable[[Model], object]


def branch(model: Model) -> Graph:
    graph = node(model, "abs").graph
    assert graph is not None
    return graph


def lose_a_node(model: Model) -> None:
    node(model, "add")._next = node(model, "if")


def link_a_node_of_another_graph(model: Model) -> None:
    node(model, "exp").graph = Graph()


def count_wrong(model: Model) -> None:
    model.graph._length += 1


def orphan_a_branch(model: Model) -> None:
    branch(model).owner = node(model, "add")


def stop_counting(model: Model) -> None:
    branch(model)._live = False


def share_a_branch(model: Model) -> None:
    holder = node(model, "if")
    holder._attrs = {**holder.attrs, "else_branch": Attr("else_branch", branch(model))}


def own_a_root(model: Model) -> None:
    model.graph.owner = node(model, "if")


def repeat_an_input(model: Model) -> None:
    model.graph._inputs = (*model.graph._inputs, model.graph._inputs[0])


def feed_a_made_value(model: Model) -> None:
    model.graph._inputs = (*model.graph._inputs, value(model, "a"))
    model.graph._input_set = frozenset(model.graph._inputs)


def forget_a_producer(model: Model) -> None:
    value(model, "b").producer = node(model, "add")


def number_an_output_wrong(model: Model) -> None:
    value(model, "b").index = 1


def name_two_alike(model: Model) -> None:
    value(model, "b")._name = "a"


def rename_behind_the_back(model: Model) -> None:
    value(model, "b")._name = "other"


def keep_a_dead_name(model: Model) -> None:
    model.graph._values["dead"] = Value("dead")


def output_of_nowhere(model: Model) -> None:
    model.graph.set_outputs([Value("nowhere")])


def output_of_a_branch(model: Model) -> None:
    model.graph.set_outputs([value(model, "t")])


def read_a_removed_value(model: Model) -> None:
    removed = model.graph.append(Node("Abs", [value(model, "x")]))
    model.graph.remove(removed)
    node(model, "exp").set_inputs([removed.output])


def read_a_branch(model: Model) -> None:
    node(model, "if").set_input(1, value(model, "t"))


def read_the_other_branch(model: Model) -> None:
    node(model, "sin").set_inputs([value(model, "t")])


def read_what_is_left_out(model: Model) -> None:
    node(model, "exp").set_inputs([node(model, "add").add_output("")])


def hide_a_captured_value(model: Model) -> None:
    value(model, "t").name = "a"


def read_ahead(model: Model) -> None:
    node(model, "add").set_inputs([value(model, "b")])


def read_itself(model: Model) -> None:
    node(model, "add").set_inputs([value(model, "a")])


def read_ahead_in_a_branch(model: Model) -> None:
    node(model, "neg").set_inputs([value(model, "f")])


def read_ahead_from_a_branch(model: Model) -> None:
    late = model.graph.append(Node("Abs", [value(model, "x")]))
    node(model, "neg").set_inputs([late.output])


def read_the_holder_from_its_branch(model: Model) -> None:
    node(model, "neg").set_inputs([value(model, "y")])


def forget_a_use(model: Model) -> None:
    value(model, "a")._users.popitem()


def invent_a_use(model: Model) -> None:
    value(model, "x")._users[node(model, "neg")] = 1


def forget_an_output(model: Model) -> None:
    value(model, "y")._output_count = 0


def lose_data(model: Model) -> None:
    value(model, "w")._constant = None


def mistype_data(model: Model) -> None:
    value(model, "w").type = TensorType(DType.FLOAT32, (4,))


def swap_data(model: Model) -> None:
    value(model, "w")._constant = Tensor.of(np.zeros(3, np.int32))


def misplace_an_attribute(model: Model) -> None:
    node(model, "add").set_attr("k", Attr("l", 1))


def refer_from_the_main_graph(model: Model) -> None:
    node(model, "add").set_attr("k", Attr("k", None, AttrKind.INT, ref="n"))


def refer_to_nothing(model: Model) -> None:
    node(model, "in_function").set_attr("k", Attr("k", None, AttrKind.INT, ref="other"))


def use_a_domain_that_is_not_imported(model: Model) -> None:
    node(model, "abs").set_op("Op", "nobody.knows")


def take_the_operator_away(model: Model) -> None:
    node(model, "abs").set_op("")


BROKEN: dict[str, list[Break]] = {
    "nodes-linked": [lose_a_node, link_a_node_of_another_graph, count_wrong],
    "graphs-owned": [orphan_a_branch, stop_counting, share_a_branch, own_a_root],
    "signature-sane": [repeat_an_input, feed_a_made_value],
    "producers-match": [forget_a_producer, number_an_output_wrong],
    "names-unique": [name_two_alike],
    "values-registered": [rename_behind_the_back, keep_a_dead_name],
    "outputs-defined": [output_of_nowhere, output_of_a_branch],
    "values-in-scope": [read_a_removed_value, read_a_branch, read_the_other_branch, read_what_is_left_out],
    "captures-visible": [hide_a_captured_value],
    "order-topological": [
        read_ahead, read_itself, read_ahead_in_a_branch, read_ahead_from_a_branch, read_the_holder_from_its_branch,
    ],
    "uses-match": [forget_a_use, invent_a_use, forget_an_output],
    "constants-typed": [lose_data, mistype_data, swap_data],
    "attributes-sane": [misplace_an_attribute, refer_from_the_main_graph, refer_to_nothing],
    "operators-imported": [use_a_domain_that_is_not_imported, take_the_operator_away],
}  # fmt: skip

CASES = [(check, breaks) for check, cases in BROKEN.items() for breaks in cases]


def test_every_check_has_a_case_that_breaks_it() -> None:
    assert [check.name for check in CHECKS] == list(BROKEN)
    assert all(check.doc.endswith(".") for check in CHECKS)


def test_a_sound_model_passes() -> None:
    verify(parse_model(TEXT))


@pytest.mark.parametrize(("check", "breaks"), CASES, ids=[f"{check}-{breaks.__name__}" for check, breaks in CASES])
def test_a_broken_invariant_is_named(check: str, breaks: Break) -> None:
    model = parse_model(TEXT)
    breaks(model)
    with pytest.raises(GraphError) as caught:
        verify(model)
    assert str(caught.value).startswith(f"{check}: ")
    assert "\nin Graph(" in str(caught.value)


def test_the_nodes_around_are_shown() -> None:
    lines = "\n".join(f"%v{i + 1} = Neg(%v{i}) @n{i}" for i in range(20))
    model = parse_model(f"graph(%v0: float32[2]) -> (%v20) {{ {lines} }}")
    node(model, "n10").set_inputs([value(model, "v15")])
    with pytest.raises(GraphError) as caught:
        verify(model)
    assert str(caught.value).split("\n") == [
        "order-topological: Neg 'n10' reads %v15, which Neg 'n14' makes only later",
        "in Graph('graph', 20 nodes)",
        "  %v8 = Neg(%v7) @n7",
        "  %v9 = Neg(%v8) @n8",
        "  %v10 = Neg(%v9) @n9",
        "> %v11 = Neg(%v15) @n10",
        "  %v12 = Neg(%v11) @n11",
        "  %v13 = Neg(%v12) @n12",
        "  %v14 = Neg(%v13) @n13",
    ]


def test_the_type_of_an_input_with_a_default_may_have_symbols() -> None:
    model = parse_model(TEXT)
    model.graph.set_inputs([*model.graph.inputs, value(model, "w")])
    value(model, "w").type = TensorType(DType.FLOAT32, ("N",))
    verify(model)
