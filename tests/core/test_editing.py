"""Editing calls: what they change, what they keep, and that each is one rewrite that can be undone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import irkit
from irkit import GraphError, Model, Node, PassError, parse_model, print_model
from irkit.testing import different
from irkit.verifier import verify

TEXT = """
opset 17
graph(%x: float32[1,4]) -> (%y, %z) {
  %c: float32[4] = [1, 2, 3, 4]
  %h: float32[1,4] = HardSwish(%x) @act
  %m: float32[1,4] = Mul(%h, %c) @scale
  %y: float32[1,4] = Relu(%m) @last
  %z: float32[1,4] = Neg(%h) @other
}"""


@pytest.fixture
def model() -> Model:
    return parse_model(TEXT)


def ops(model: Model) -> list[str]:
    return [node.op for node in model.graph]


def inputs(model: Model, name: str) -> list[str]:
    return [value.name if value is not None else "" for value in model.graph.node(name).inputs]


def test_before_a_node_only_that_input_changes(model: Model) -> None:
    new = irkit.insert_before(model.graph.node("scale"), lambda op, h: op.Tanh(h))
    assert ops(model) == ["HardSwish", "Tanh", "Mul", "Relu", "Neg"]
    assert inputs(model, "scale") == [new.name, "c"]
    assert inputs(model, "other") == ["h"]
    irkit.insert_before(model.graph.node("scale"), lambda op, c: op.Neg(c), slot=1)
    assert inputs(model, "scale")[1] != "c"
    verify(model)


def test_after_a_node_all_its_readers_change(model: Model) -> None:
    new = irkit.insert_after(model.graph.node("act"), lambda op, h: op.Add(op.Tanh(h), h))
    assert inputs(model, "scale") == [new.name, "c"]
    assert inputs(model, "other") == [new.name]
    assert [value.name for value in model.graph.node("act").outputs] == ["h"]
    assert ops(model) == ["HardSwish", "Tanh", "Add", "Mul", "Relu", "Neg"]
    verify(model)


def test_after_a_node_chosen_readers_change(model: Model) -> None:
    new = irkit.insert_after(model.graph.node("act"), lambda op, h: op.Tanh(h), [model.graph.node("other")])
    assert (inputs(model, "scale"), inputs(model, "other")) == (["h", "c"], [new.name])


def test_after_an_output_of_the_graph_its_name_goes_to_the_new_value(model: Model) -> None:
    new = irkit.insert_after(model.graph.values["y"], lambda op, y: op.Clip(y, 0.0, 6.0))
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    assert model.graph.outputs[0] is new
    assert new.producer is not None
    assert new.producer.op == "Clip"
    verify(model)


def test_after_an_input_of_the_graph(model: Model) -> None:
    new = irkit.insert_after(model.graph.values["x"], lambda op, x: op.Div(op.Sub(x, 0.5), 0.25))
    assert inputs(model, "act") == [new.name]
    assert [value.name for value in model.graph.inputs] == ["x"]
    verify(model)


def test_a_node_is_replaced_with_its_names_and_origins(model: Model) -> None:
    (new,) = irkit.replace_node(model.graph.node("act"), lambda op, x: op.Mul(x, op.HardSigmoid(x, alpha=1 / 6)))
    assert ops(model) == ["HardSigmoid", "Mul", "Mul", "Relu", "Neg"]
    assert (new.name, new.producer.name if new.producer else "") == ("h", "act")
    assert model.graph.node("act").origin == ("act",)
    assert different(parse_model(TEXT), model) == ""


def test_outputs_that_nothing_reads_need_no_replacement() -> None:
    text = "opset 17 graph(%x: float32[1,1,4,4]) -> (%y) { %y, %i = MaxPool(%x) {kernel_shape=[4,4]} @pool }"
    model = parse_model(text)
    irkit.replace_node(model.graph.node("pool"), lambda op, x: op.GlobalMaxPool(x))
    assert ops(model) == ["GlobalMaxPool"]
    assert different(parse_model(text), model) == ""


def test_names_stay_unique(model: Model) -> None:
    act = model.graph.node("act")
    irkit.replace_node(act, lambda op, x: op.Add(op.node("HardSwish", x, like=act), op.node("HardSwish", x, like=act)))
    scale = model.graph.node("scale")
    irkit.insert_before(scale, lambda op, h: op.node("Mul", h, h, like=scale))
    irkit.insert_after(scale, lambda op, m: op.Relu(m, _name="last"))
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)
    assert "act" in names


def test_a_subgraph_is_replaced_between_values(model: Model) -> None:
    irkit.replace_subgraph(model, ["x"], ["m"], lambda op, x: op.Add(x, x))
    assert ops(model) == ["HardSwish", "Add", "Relu", "Neg"]  # HardSwish stays for its other reader
    irkit.replace_subgraph(
        model, ["x"], ["y", "z"], lambda op, x: op.Split(op.Concat(x, x, axis=0), _outputs=2, axis=0)
    )
    assert ops(model) == ["Concat", "Split"]
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    verify(model)


def test_a_node_is_taken_out(model: Model) -> None:
    kept = irkit.remove_node(model.graph.node("scale"))
    assert kept.name == "h"
    assert ops(model) == ["HardSwish", "Relu", "Neg"]
    irkit.remove_node(model.graph.node("last"))
    assert [value.name for value in model.graph.outputs] == ["y", "z"]
    assert ops(model)[-1] in ("Identity", "Neg")
    verify(model)


def test_what_stands_between_an_input_and_an_output_becomes_an_identity() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y) { %y = Relu(%x) @act }")
    irkit.remove_node(model.graph.node("act"))
    assert ops(model) == ["Identity"]
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_nodes_may_be_edited_while_walking_over_them(model: Model) -> None:
    for node in model.graph:
        if node.op in ("HardSwish", "Relu"):
            irkit.replace_node(node, lambda op, x: op.Clip(x, 0.0, 6.0))
        elif node.op == "Mul":
            irkit.remove_node(node)
    assert ops(model) == ["Clip", "Clip", "Neg"]


CALLS: list[Callable[[Model], object]] = [
    lambda model: irkit.insert_before(model.graph.node("scale"), lambda op, h: op.Tanh(h)),
    lambda model: irkit.insert_after(model.graph.values["y"], lambda op, y: op.Neg(y)),
    lambda model: irkit.insert_after(model.graph.values["c"], lambda op, c: op.domain("my").Round(c, bits=8)),
    lambda model: irkit.replace_node(model.graph.node("act"), lambda op, x: op.Mul(x, op.Sigmoid(x))),
    lambda model: irkit.replace_subgraph(model, ["h"], ["y"], lambda op, h: op.Neg(h)),
    lambda model: irkit.remove_node(model.graph.node("scale")),
]


@pytest.mark.parametrize("call", CALLS)
def test_each_call_is_one_rewrite_that_can_be_undone(model: Model, call: Callable[[Model], object]) -> None:
    before = print_model(model)
    call(model)
    verify(model)
    assert print_model(model) != before
    assert len({edit.group for edit in model.journal.since(0)}) == 1
    assert None not in {edit.group for edit in model.journal.since(0)}
    model.journal.undo_to(0)
    assert print_model(model) == before


def nothing(*_: object) -> None:
    return None


WRONG: list[tuple[Callable[[Model], object], type[Exception], str]] = [
    (lambda m: irkit.insert_before(m.graph.node("act"), lambda op, x: op.Tanh(x), 3), GraphError, "has no input 3"),
    (lambda m: irkit.insert_before(m.graph.node("act"), nothing), PassError, "`build` returned nothing"),  # type: ignore[arg-type]
    (lambda m: irkit.insert_after(m.graph.node("act"), lambda op, x: x), PassError, "was there before"),
    (lambda m: irkit.replace_node(m.graph.node("act"), lambda op, x: (x, x)), PassError, "returned 2 values for 1"),
    (lambda m: irkit.replace_node(m.graph.node("act"), lambda op, x: op.Rulu(x)), PassError, "did you mean Relu?"),
    (lambda m: irkit.replace_subgraph(m, ["x"], ["q"], nothing), GraphError, "has no value 'q'"),  # type: ignore[arg-type]
    (lambda m: irkit.replace_subgraph(m, ["m"], ["z"], nothing), GraphError, "'x' is needed too"),  # type: ignore[arg-type]
    (lambda m: irkit.remove_node(Node("Relu", [m.graph.values["x"]])), GraphError, "is in no model"),
    (lambda m: m.graph.add_output(m.graph.values["y"]), GraphError, "cannot be a new output"),
]


@pytest.mark.parametrize(("call", "error", "says"), WRONG)
def test_what_cannot_be_done_is_told_and_changes_nothing(
    model: Model, call: Callable[[Model], object], error: type[Exception], says: str
) -> None:
    before = print_model(model)
    with pytest.raises(error, match=says.replace("?", r"\?")):
        call(model)
    assert print_model(model) == before


# Parts of a model.


def test_a_part_between_values_is_a_model(model: Model) -> None:
    part = irkit.extract(model, ["h"], ["y"])
    assert ops(part) == ["Mul", "Relu"]
    assert [(value.name, str(value.type)) for value in part.graph.inputs] == [("h", "float32[1,4]")]
    assert [value.name for value in part.graph.outputs] == ["y"]
    assert list(part.graph.initializers) == ["c"]
    verify(part)
    assert print_model(model) == print_model(parse_model(TEXT))
    irkit.loads(irkit.dumps(part))


def test_a_part_begins_at_the_inputs_where_none_are_named(model: Model) -> None:
    assert ops(irkit.extract(model, outputs=["m"])) == ["HardSwish", "Mul"]
    assert different(irkit.extract(model), model) == ""


def test_parts_compute_what_the_whole_does(model: Model) -> None:
    first, second = irkit.extract(model, outputs=["h"]), irkit.extract(model, ["h"], ["y", "z"])
    whole = parse_model(TEXT)
    session = pytest.importorskip("onnxruntime").InferenceSession

    def run(item: Model, **feeds: object) -> list[object]:
        return list(session(irkit.dumps(item), providers=["CPUExecutionProvider"]).run(None, feeds))

    x = np.linspace(-4, 4, 4, dtype=np.float32).reshape(1, 4)
    np.testing.assert_array_equal(run(second, h=run(first, x=x)[0])[0], run(whole, x=x)[0])


def test_chosen_nodes_are_a_model_with_what_they_read_and_what_is_read_of_them(model: Model) -> None:
    part = irkit.extract_nodes(model, [model.graph.node("act"), model.graph.node("scale")])
    assert [value.name for value in part.graph.inputs] == ["x"]
    assert [value.name for value in part.graph.outputs] == ["h", "m"]
    assert ops(part) == ["HardSwish", "Mul"]
    verify(part)


def test_what_nested_graphs_read_is_an_input_too() -> None:
    model = parse_model("""
        graph(%x: float32[3], %k: bool[]) -> (%y) {
          %r = Relu(%x) @relu
          %y = If(%k) {
            then_branch=graph() -> (%a) { %a = Neg(%r) },
            else_branch=graph() -> (%b) { %b = Abs(%r) }
          } @choice
        }""")
    part = irkit.extract_nodes(model, [model.graph.node("choice")])
    assert {value.name for value in part.graph.inputs} == {"k", "r"}
    verify(part)
    with pytest.raises(GraphError, match="'x' is needed too"):
        irkit.extract(model, ["k"], ["y"])


def test_functions_come_along() -> None:
    model = parse_model("""
        opset 17 opset my 1
        function my::f (%a) -> (%b) { %b = HardSwish(%a) }
        graph(%x: float32[3]) -> (%y) { %h = Neg(%x) %y = my::f(%h) @call }""")
    part = irkit.extract_nodes(model, [model.graph.node("call")])
    verify(part)
    assert [node.op for node in part.walk()] == ["f", "HardSwish"]
    verify(model)
