"""The graph IR: uses are kept by the IR, edits refuse what would break the graph, insertion while iterating."""

from __future__ import annotations

import numpy as np
import pytest

from irkit import (
    Attr,
    DType,
    Graph,
    GraphError,
    Model,
    Node,
    Tensor,
    TensorType,
    Value,
    parse_model,
    print_model,
    verify,
)
from irkit.ir import NodeExtra

FLOATS = TensorType(DType.FLOAT32, (2, 3))

CHAIN = """
graph(%x: float32[2,3]) -> (%y: float32[2,3]) {
  %a = Neg(%x) @neg
  %b = Abs(%a) @abs
  %y = Relu(%b) @relu
}
"""

NESTED = """
graph(%x: float32[2,3], %c: bool[]) -> (%y: float32[2,3]) {
  %a = Neg(%x) @neg
  %y = If(%c) {
    then_branch=graph() -> (%t) { %t = Abs(%a) @inner },
    else_branch=graph() -> (%e) {
      %e = If(%c) {
        then_branch=graph() -> (%p) { %p = Add(%a, %a) @deep },
        else_branch=graph() -> (%q) { %q = Exp(%x) @exp }
      } @if2
    }
  } @if1
}
"""


def value(model: Model, name: str) -> Value:
    return next(graph.values[name] for graph in model.walk_graphs() if name in graph.values)


def node(model: Model, name: str) -> Node:
    return next(item for item in model.walk() if item.name == name)


def test_a_value_knows_its_producer_and_every_use() -> None:
    model = parse_model(CHAIN)
    a = value(model, "a")
    assert (a.producer, a.index) == (node(model, "neg"), 0)
    assert a.users == (node(model, "abs"),)
    assert [(use.node.name, use.slot) for use in a.uses] == [("abs", 0)]
    assert (value(model, "y").use_count, value(model, "y").is_graph_output) == (1, True)
    assert value(model, "x").is_graph_input


def test_a_node_that_reads_a_value_twice_is_one_user_with_two_uses() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y: float32[2]) { %y = Mul(%x, %x) @m }")
    x = value(model, "x")
    assert x.users == (node(model, "m"),)
    assert [use.slot for use in x.uses] == [0, 1]
    node(model, "m").set_input(1, None)
    assert [use.slot for use in x.uses] == [0]


def test_uses_in_nested_graphs_count() -> None:
    model = parse_model(NESTED)
    a, x = value(model, "a"), value(model, "x")
    assert {user.name for user in a.users} == {"inner", "deep"}
    assert a.use_count == 3
    assert a.is_captured
    assert {user.name for user in x.users} == {"neg", "exp"}


def test_uses_in_nested_graphs_go_and_come_with_the_node_that_holds_them() -> None:
    model = parse_model(NESTED)
    a, outer = value(model, "a"), node(model, "if1")
    graph = model.graph
    graph.set_outputs([a])
    graph.remove(outer)
    assert a.users == ()
    assert a.use_count == 1
    model.journal.undo_to(0)
    assert a.use_count == 3
    verify(model)


def test_a_nested_graph_counts_no_uses_before_its_node_stands_in_a_graph() -> None:
    model = parse_model(CHAIN)
    a = value(model, "a")
    before = a.use_count
    branch = Graph("branch")
    branch.set_outputs([branch.append(Node("Abs", [a], outputs=["inner"])).output])
    holder = Node("Loop", [None, None], {"body": branch})
    assert a.use_count == before
    model.graph.append(holder)
    assert a.use_count == before + 1
    verify(model)


def test_setting_an_attribute_with_a_graph_moves_its_uses() -> None:
    model = parse_model(NESTED)
    a, outer = value(model, "a"), node(model, "if1")
    empty = Graph("empty")
    empty.set_outputs([empty.append(Node("Identity", [value(model, "x")], outputs=["same"])).output])
    old = outer.attrs["else_branch"]
    outer.set_attr("else_branch", empty)
    assert {user.name for user in a.users} == {"inner"}
    assert empty.owner is outer
    verify(model)
    outer.set_attr("else_branch", old)
    assert {user.name for user in a.users} == {"inner", "deep"}
    verify(model)


def test_replacing_an_output_moves_its_name() -> None:
    model = parse_model(CHAIN)
    new = model.graph.append(Node("Sigmoid", [value(model, "b")]))
    model.graph.replace_value(value(model, "y"), new.output)
    assert [output.name for output in model.graph.outputs] == ["y"]
    assert model.graph.outputs[0] is new.output
    assert new.output.type == FLOATS
    verify(model)


@pytest.mark.parametrize("new", ["x", "w", "z"], ids=["an input", "an initializer", "another output"])
def test_what_cannot_take_the_name_of_an_output_is_copied(new: str) -> None:
    model = parse_model("""
        graph(%x: float32[2,3]) -> (%y: float32[2,3], %z: float32[2,3], %y) {
          %w: float32[2,3] = iota
          %z = Neg(%x)
          %y = Relu(%x) @relu
        }
    """)
    model.graph.replace_value(value(model, "y"), value(model, new))
    assert [output.name for output in model.graph.outputs] == ["y", "z", "y"]
    copy = model.graph.outputs[0].producer
    assert copy is not None
    assert (copy.op, copy.inputs) == ("Identity", (value(model, new),))
    model.graph.remove(node(model, "relu"))
    verify(model)


def test_replacing_a_value_again_by_what_its_copy_copies_changes_nothing() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y: float32[2]) { %y = Identity(%x) }")
    model.graph.replace_value(value(model, "y"), value(model, "x"))
    assert model.journal.position == 0


def test_an_input_that_is_an_output_cannot_be_replaced() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%x, %y: float32[2]) { %y = Relu(%x) }")
    with pytest.raises(GraphError, match="'x': it is an input"):
        model.graph.replace_value(value(model, "x"), value(model, "y"))
    assert model.journal.position == 0


def test_replacing_a_value_spares_what_makes_the_new_one() -> None:
    model = parse_model(CHAIN)
    a = value(model, "a")
    wrapped = model.graph.insert(Node("Sigmoid", [a]), after=node(model, "neg"))
    model.graph.replace_value(a, wrapped.output)
    assert a.users == (wrapped,)
    verify(model)


def test_replacing_a_value_reaches_nested_graphs_and_their_outputs() -> None:
    model = parse_model("""
        graph(%x: float32[2], %c: bool[]) -> (%y: float32[2]) {
          %a = Neg(%x) @neg
          %y = If(%c) {
            then_branch=graph() -> (%t) { %t = Abs(%a) @inner },
            else_branch=graph() -> (%a) { }
          } @y_if
        }
    """)
    model.graph.replace_value(value(model, "a"), value(model, "x"))
    assert value(model, "a").use_count == 0
    assert node(model, "inner").inputs == (value(model, "x"),)
    branch = node(model, "y_if").attr("else_branch")
    (copy,) = branch
    assert (copy.op, copy.inputs, copy.output) == ("Identity", (value(model, "x"),), branch.outputs[0])
    verify(model)


def test_an_outer_value_is_replaced_from_a_nested_graph_too() -> None:
    model = parse_model(NESTED)
    branch = node(model, "inner").graph
    assert branch is not None
    branch.replace_value(value(model, "a"), value(model, "x"))
    assert value(model, "a").use_count == 0
    verify(model)


def test_removing_says_who_still_reads() -> None:
    model = parse_model(CHAIN)
    with pytest.raises(GraphError, match=r"'a' is used by Abs 'abs'"):
        model.graph.remove(node(model, "neg"))
    with pytest.raises(GraphError, match="'y' is used by the graph's outputs"):
        model.graph.remove(node(model, "relu"))
    weight = model.graph.add_initializer("w", Tensor.of(np.float32(1)))
    node(model, "abs").set_inputs([weight])
    with pytest.raises(GraphError, match=r"'w': .* Abs 'abs'"):
        model.graph.remove_initializer(weight)


@pytest.mark.parametrize("taken", ["x", "a", "y"])
def test_a_name_is_taken_once(taken: str) -> None:
    model = parse_model(CHAIN)
    graph = model.graph
    with pytest.raises(GraphError, match="already"):
        graph.append(Node("Neg", [value(model, "x")], outputs=[taken]))
    with pytest.raises(GraphError, match="already"):
        value(model, "b").name = taken
    with pytest.raises(GraphError, match="already"):
        graph.add_input(taken, FLOATS)
    with pytest.raises(GraphError, match="already"):
        node(model, "abs").add_output(taken)
    assert graph.add_initializer(taken, Tensor.of(np.float32(1))).name == f"{taken}_1"
    verify(model)


def test_names_given_by_hand_are_not_fresh_again() -> None:
    model = parse_model(NESTED)
    assert model.fresh_name("t") == "t_1"
    model.graph.append(Node("Neg", [value(model, "x")], outputs=["mine"], name="node"))
    value(model, "a").name = "renamed"
    model.graph.add_input("fed", FLOATS)
    branch = Graph("branch")
    branch.set_outputs([branch.append(Node("Neg", [value(model, "x")], outputs=["within"], name="inside")).output])
    model.graph.append(Node("Loop", [None, None], {"body": branch}))
    assert [model.fresh_name(name) for name in ("mine", "renamed", "fed", "within")] == [
        "mine_1", "renamed_1", "fed_1", "within_1",
    ]  # fmt: skip
    assert [model.fresh_node_name(name) for name in ("node", "inside")] == ["node_1", "inside_1"]


def test_nodes_of_a_graph_that_enters_a_model_are_named() -> None:
    model = parse_model(CHAIN)
    branch = Graph("branch")
    branch.set_outputs([branch.append(Node("Neg", [value(model, "x")])).output])
    holder = model.graph.append(Node("Loop", [None, None], {"body": branch}))
    assert [holder.name, *(inner.name for inner in branch)] == ["Loop", "Neg"]


def test_renaming_reaches_every_reader_and_the_tables() -> None:
    model = parse_model(NESTED)
    weight = model.graph.add_initializer("w", Tensor.of(np.float32(1)))
    weight.name, value(model, "a").name = "scale", "hidden"
    assert model.graph.initializers["scale"] is weight
    assert "%p = Add(%hidden, %hidden)" in print_model(model)
    assert "a" not in model.graph.values
    verify(model)


def test_inserting_and_removing_while_iterating() -> None:
    model = parse_model(CHAIN)
    seen = []
    for item in model.graph:
        seen.append(item.op)
        if item.op == "Abs":
            later = model.graph.insert(Node("Sigmoid", [item.output]), after=item)
            model.graph.insert(Node("Exp", [value(model, "x")]), before=item)
            model.graph.replace_value(item.output, later.output)
        if item.op == "Neg":
            model.graph.replace_value(item.output, value(model, "x"))
            model.graph.remove(item)
    assert seen == ["Neg", "Abs", "Sigmoid", "Relu"]
    assert [item.op for item in model.graph] == ["Exp", "Abs", "Sigmoid", "Relu"]
    assert [item.op for item in reversed(model.graph)] == ["Relu", "Sigmoid", "Abs", "Exp"]
    verify(model)


def test_removing_the_next_nodes_while_iterating() -> None:
    graph = Graph()
    nodes = [graph.append(Node("Op", name=str(index))) for index in range(6)]
    seen = []
    for item in graph:
        seen.append(item.name)
        if item is nodes[1]:
            for gone in nodes[1:4]:
                graph.remove(gone)
    assert seen == ["0", "1", "4", "5"]
    assert len(graph) == 3


def test_a_node_is_in_one_graph() -> None:
    model = parse_model(CHAIN)
    with pytest.raises(GraphError, match="is in a graph already"):
        model.graph.append(node(model, "abs"))
    with pytest.raises(GraphError, match="not in graph"):
        model.graph.insert(Node("Neg", [value(model, "x")]), after=Node("Abs"))
    with pytest.raises(GraphError, match="not in graph"):
        model.graph.remove(Node("Abs"))


def test_sorting_keeps_the_order_where_it_can() -> None:
    model = parse_model(CHAIN + "")
    graph = model.graph
    late = graph.append(Node("Sin", [value(model, "x")], name="sin"))
    node(model, "abs").set_inputs([late.output])
    graph.sort()
    assert [item.name for item in graph] == ["neg", "sin", "abs", "relu"]
    verify(model)
    count = model.journal.position
    graph.sort()
    assert model.journal.position == count


def test_sorting_sees_what_nested_graphs_read_and_refuses_a_cycle() -> None:
    model = parse_model(NESTED)
    graph = model.graph
    late = graph.append(Node("Sin", [value(model, "x")], name="sin"))
    node(model, "deep").set_inputs([late.output, late.output])
    graph.sort()
    assert [item.name for item in graph] == ["neg", "sin", "if1"]
    node(model, "neg").set_inputs([value(model, "y")])
    with pytest.raises(GraphError, match="cycle"):
        graph.sort()


def test_an_input_may_have_a_default() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y: float32[2]) { %y = Relu(%x) }")
    graph, x = model.graph, value(model, "x")
    graph.add_default(x, Tensor.of(np.zeros(2, np.float32)))
    assert x.is_initializer
    assert x.is_graph_input
    assert x.constant is None, "a caller may override it"
    with pytest.raises(GraphError, match="the graph's inputs"):
        graph.remove_initializer(x)
    graph.set_inputs([])
    assert x.constant is not None
    model.journal.undo_to(0)
    assert (x.is_initializer, x.is_graph_input, graph.values["x"]) == (False, True, x)
    verify(model)


def test_inputs_are_new_named_values() -> None:
    model = parse_model(CHAIN)
    for wrong in (value(model, "a"), Value("", FLOATS), Value("a", FLOATS)):
        with pytest.raises(GraphError):
            model.graph.set_inputs([*model.graph.inputs, wrong])


def test_a_constant_follows_the_attributes_of_its_node() -> None:
    model = parse_model("graph() -> (%y: float32[]) { %k = Constant() {value_float=1.5} @k %y = Neg(%k) }")
    k = value(model, "k")
    data = k.constant
    assert data is not None
    assert data.item() == 1.5
    assert k.initializer is None, "a Constant node is no stored data"
    node(model, "k").set_attr("value_float", 2.5)
    assert k.constant is not None
    assert k.constant.item() == 2.5
    model.journal.undo_to(0)
    assert k.constant.item() == 1.5
    node(model, "k").set_op("Unknown", "x")
    assert k.constant is None


@pytest.mark.parametrize(
    ("attr", "expected"),
    [
        ("value_ints=[1,2]", np.array([1, 2], np.int64)),
        ("value_int=3", np.int64(3)),
        ("value_floats=[0.5]", np.array([0.5], np.float32)),
        ("value=float16[1] [0.5]", np.array([0.5], np.float16)),
    ],
)
def test_every_spelling_of_a_constant(attr: str, expected: np.ndarray) -> None:
    model = parse_model(f"graph() -> (%k) {{ %k = Constant() {{{attr}}} }}")
    data = value(model, "k").constant
    assert data is not None
    np.testing.assert_array_equal(data.numpy(), expected, strict=True)


def test_constants_of_strings_and_those_that_are_not_known() -> None:
    model = parse_model("""
        graph() -> (%k, %s, %u) {
          %k = Constant() {value_strings=["a", "b"]}
          %s = Constant() {value_string="c"}
          %u = x::Constant()
        }
    """)
    k, s = value(model, "k").constant, value(model, "s").constant
    assert k is not None
    assert s is not None
    assert (k.numpy().tolist(), k.shape, s.item(), s.shape) == ([b"a", b"b"], (2,), b"c", ())
    assert value(model, "u").constant is None


def test_attributes_are_what_a_file_would_give_back() -> None:
    assert Attr("a", 0.1).value == float(np.float32(0.1))
    assert Attr("a", [1, 2.5]).value == (1.0, 2.5)
    assert Attr("a", True).value == 1
    assert Attr("a", b"text").value == "text"
    assert Attr("a", b"\xff").value == b"\xff"
    assert Attr("a", 1e300).value == float("inf")
    assert Attr("a", float("nan")) == Attr("a", float("nan"))
    assert Attr("a", 0.0) != Attr("a", -0.0)
    assert Attr("a", 1) != Attr("a", 1.0)
    with pytest.raises(TypeError, match="needs kind"):
        Attr("a", [])


def test_a_node_without_a_change_makes_no_edit() -> None:
    model = parse_model(CHAIN)
    item = node(model, "abs")
    item.set_attr("k", None)
    item.set_inputs(list(item.inputs))
    item.name, item.output.name = item.name, item.output.name
    item.output.type = item.output.type
    item.set_op("Abs")
    item.set_origin([item])
    assert model.journal.position == 0


def test_origins_name_the_source_nodes() -> None:
    model = parse_model(CHAIN)
    neg, absolute = node(model, "neg"), node(model, "abs")
    neg.extra = NodeExtra("doc", {"k": "1", "only": "neg"})
    absolute.extra = NodeExtra("", {"k": "2"})
    neg.name = "renamed"
    new = model.graph.append(Node("Sum", [value(model, "x")]))
    new.set_origin([absolute, neg])
    assert new.origin == ("abs", "neg")
    assert new.metadata == {"k": "2", "only": "neg"}
    assert new.extra.doc == "doc"


def test_dropping_outputs() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y: float32[2]) { %y, %m = Dropout(%x) @d %z = Not(%m) @not }")
    item = node(model, "d")
    with pytest.raises(GraphError, match=r"'m'.*Not 'not'"):
        item.drop_output()
    model.graph.remove(node(model, "not"))
    item.drop_output()
    assert [output.name for output in item.outputs] == ["y"]
    verify(model)


def test_setting_model_fields_is_journaled() -> None:
    model = parse_model(CHAIN)
    model.set_field("opset_imports", {"": 18})
    assert model.opset == 18
    model.journal.undo_to(0)
    assert model.opset == 17
    with pytest.raises(AttributeError, match="no settable field"):
        model.set_field("journal", None)
