"""Passes that work on objects of other packages: what they change is brought over, and nothing else is."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import irkit
from irkit.library import Library
from irkit.merging import merge
from irkit.onnx.interop import LOANS
from irkit.pass_spec import parse_passes
from irkit.pipeline import run_pipeline
from tests import corpus
from tests.core import onnx_models

PACKAGES = {"onnx": "onnx", "graphsurgeon": "onnx_graphsurgeon", "onnx_ir": "onnx_ir", "networkx": "networkx"}
VIEWS = [pytest.param(view, id=view) for view in PACKAGES]

SOURCES = ["chain", "attributes", "sparse_initializer", "all_types", "nested", "functions", "annotated", "overridable"]
NOT_TAKEN: dict[str, tuple[str, ...]] = {
    "onnx": (),
    "networkx": (),
    "graphsurgeon": ("attributes", "annotated"),
    "onnx_ir": ("attributes", "sparse_initializer", "annotated"),
}

TEXT = """
opset 17
metadata {"author": "me"}
graph(%x: float32[1,8,4,4]) -> (%y, %z) {
  %w: float32[8,8,3,3] = random(seed=1)
  %b: float32[8] = random(seed=2)
  %half: float32[] = 0.5
  %c = Conv(%x, %w, %b) {pads=[1,1,1,1]} @conv !doc "kept"
  %h = HardSwish(%c) @act !metadata {"line": "7"}
  %d = Dropout(%h) @drop
  %y = HardSwish(%d) @act2
  %s = Mul(%x, %half) @scale
  %z = Relu(%s) @relu
}"""


def needs(view: str) -> None:
    pytest.importorskip(PACKAGES[view], reason="pip install 'irkit-compiler[interop]'")


def defined(view: str, function: Callable[..., Any], effect: str = "exact") -> irkit.Pass:
    function.__doc__ = "A pass of a test."
    return irkit.define_pass("foreign", effect=effect, model_as=view)(function)()


def relu_in_onnx(model: Any) -> Any:
    for node in model.graph.node:
        if node.op_type == "HardSwish":
            node.op_type = "Relu"
    return model


def relu_in_graphsurgeon(graph: Any) -> None:
    for node in graph.nodes:
        if node.op == "HardSwish":
            node.op = "Relu"


def relu_in_onnx_ir(model: Any) -> None:
    for node in model.graph:
        if node.op_type == "HardSwish":
            node.op_type = "Relu"


def relu_in_networkx(view: Any) -> Any:
    for _, data in view.nodes(data=True):
        if data.get("op") == "HardSwish":
            data["op"] = "Relu"
    return view


RELU = {
    "onnx": relu_in_onnx,
    "graphsurgeon": relu_in_graphsurgeon,
    "onnx_ir": relu_in_onnx_ir,
    "networkx": relu_in_networkx,
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_change_is_brought_over_as_edits_that_can_be_undone(view: str) -> None:
    needs(view)
    model = irkit.parse_model(TEXT)
    before = {node.name: node for node in model.graph}
    mark = model.journal.position
    irkit.run_passes(model, [defined(view, RELU[view], "retrain")], verify="none")
    irkit.verify(model)
    assert [node.op for node in model.graph] == ["Conv", "Relu", "Dropout", "Relu", "Mul", "Relu"]
    assert all(before[node.name] is node for node in model.graph), "nodes are edited, not made anew"
    assert model.graph.node("act").metadata == {"line": "7"}
    assert model.graph.node("conv").extra.doc == "kept"
    assert model.metadata == {"author": "me"}
    groups = [str(edit.group) for edit in model.journal.since(mark) if edit.kind != "type"]
    assert groups == ["change at act", "change at act2"], "what does not hang together is a rewrite each"
    model.journal.undo_to(mark)
    assert irkit.equal(model, irkit.parse_model(TEXT), annotations=True)


@pytest.mark.parametrize(
    ("view", "source"), [(view, source) for view in PACKAGES for source in SOURCES if source not in NOT_TAKEN[view]]
)
def test_a_pass_that_changes_nothing_makes_no_edit(view: str, source: str) -> None:
    needs(view)
    model = irkit.from_proto(getattr(onnx_models, source)())
    mark = model.journal.position
    assert round_trip(model, view) == 0
    assert model.journal.since(mark) == []


def round_trip(model: irkit.Model, view: str) -> int:
    loan = LOANS[view](model)
    return merge(model, loan.before, loan.read(loan.given), _never)


def _never(region: Any) -> Any:
    raise AssertionError(f"{region} changed")


@pytest.mark.corpus
@pytest.mark.parametrize("view", VIEWS)
@corpus.each()
def test_real_models_go_there_and_back(entry: dict[str, Any], view: str) -> None:
    needs(view)
    with irkit.load(corpus.path_of(entry)) as model:
        digest = irkit.structural_hash(model, annotations=True) if entry["size_bytes"] < 1 << 20 else ""
        mark = model.journal.position
        round_trip(model, view)
        assert model.journal.since(mark) == []
        if digest:
            assert irkit.structural_hash(model, annotations=True) == digest


def scale_all(array: Any) -> Any:
    return np.asarray(array) * np.float32(2)


def double_in_onnx(model: Any) -> Any:
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            tensor.CopyFrom(onnx.numpy_helper.from_array(scale_all(onnx.numpy_helper.to_array(tensor)), tensor.name))


def double_in_graphsurgeon(graph: Any) -> Any:
    graph.tensors()["w"].values *= 2  # in place, as scripts do


def double_in_onnx_ir(model: Any) -> Any:
    import onnx_ir

    value = model.graph.initializers["w"]
    value.const_value = onnx_ir.Tensor(scale_all(value.const_value.numpy()), name="w")


def double_in_networkx(view: Any) -> Any:
    for vertex, data in view.nodes(data=True):
        if data["label"] == "w":
            data["data"] = scale_all(vertex.constant.numpy())


DOUBLE = {
    "onnx": double_in_onnx,
    "graphsurgeon": double_in_graphsurgeon,
    "onnx_ir": double_in_onnx_ir,
    "networkx": double_in_networkx,
}


@pytest.mark.parametrize("view", VIEWS)
def test_new_weights_are_brought_over_and_the_others_are_not_copied(view: str) -> None:
    needs(view)
    model = irkit.parse_model(TEXT)
    weight, bias = (model.graph.values[name].constant for name in ("w", "b"))
    assert weight is not None
    expected = scale_all(weight.numpy())
    irkit.run_passes(model, [defined(view, DOUBLE[view], "retrain")], verify="none")
    found = model.graph.values["w"].constant
    assert found is not None
    assert np.array_equal(found.numpy(), expected)
    assert model.graph.values["b"].constant is bias


@pytest.mark.parametrize("view", VIEWS)
def test_a_wrong_change_is_taken_back_and_a_right_one_stays(view: str) -> None:
    """Every view makes two changes: the Dropout goes, which is right, and Mul becomes Add, which is wrong."""
    needs(view)
    model = irkit.parse_model(TEXT)
    result = run_pipeline(model, [defined(view, TWO_CHANGES[view])], settle=True)
    assert [(taken.rule, taken.root) for taken in result.taken_back] == [("change", "scale")]
    assert [node.op for node in model.graph] == ["Conv", "HardSwish", "HardSwish", "Mul", "Relu"]
    irkit.verify(model)


def two_in_onnx(model: Any) -> Any:
    nodes = {node.name: node for node in model.graph.node}
    nodes["scale"].op_type = "Add"
    if "drop" in nodes:
        nodes["act2"].input[0] = nodes["drop"].input[0]
        model.graph.node.remove(nodes["drop"])


def two_in_graphsurgeon(graph: Any) -> Any:
    nodes = {node.name: node for node in graph.nodes}
    nodes["scale"].op = "Add"
    if "drop" in nodes:
        nodes["act2"].inputs[0] = nodes["drop"].inputs[0]
        graph.cleanup().toposort()


def two_in_onnx_ir(model: Any) -> Any:
    nodes = {node.name: node for node in model.graph}
    nodes["scale"].op_type = "Add"
    if "drop" in nodes:
        nodes["act2"].replace_input_with(0, nodes["drop"].inputs[0])
        model.graph.remove(nodes["drop"], safe=True)


def two_in_networkx(view: Any) -> Any:
    nodes = {data["name"]: vertex for vertex, data in view.nodes(data=True) if data["kind"] == "node"}
    view.nodes[nodes["scale"]]["op"] = "Add"
    if "drop" in nodes:
        drop, act = nodes["drop"], nodes["act2"]
        view.add_edge(drop.inputs[0], act, slot=0)
        view.remove_nodes_from([drop, drop.output])


TWO_CHANGES = {
    "onnx": two_in_onnx,
    "graphsurgeon": two_in_graphsurgeon,
    "onnx_ir": two_in_onnx_ir,
    "networkx": two_in_networkx,
}


def test_nodes_that_are_new_take_the_names_of_values_that_were() -> None:
    def fold(model: Any) -> None:
        """As constant folders do: a node's output becomes an initializer; and a chain in the place of a node."""
        graph = model.graph
        conv, act = graph.node[0], graph.node[1]
        made = [
            onnx.helper.make_node("HardSigmoid", ["c"], ["gate"], name="gate", alpha=1 / 6, beta=0.5),
            onnx.helper.make_node("Mul", ["c", "gate"], ["h"], name="act"),
        ]
        assert conv.name == "conv"
        graph.node.remove(act)
        for index, node in enumerate(made):
            graph.node.insert(1 + index, node)

    model = irkit.parse_model(TEXT)
    irkit.run_passes(model, [defined("onnx", fold)])
    assert [node.name for node in model.graph] == ["conv", "gate", "act", "drop", "act2", "scale", "relu"]
    assert model.graph.node("gate").origin == ("act",)
    assert "h" in model.graph.values
    irkit.verify(model)


def test_a_constant_takes_the_place_of_a_node_and_a_node_of_a_constant() -> None:
    text = """graph(%x: float32[2]) -> (%y) {
      %a: float32[2] = [1, 2]
      %b = Neg(%a) @neg
      %y = Add(%x, %b) @add
    }"""

    def swap(model: Any) -> None:
        graph = model.graph
        (neg,) = [node for node in graph.node if node.name == "neg"]
        graph.node.remove(neg)
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, -2], np.float32), "b"))
        graph.initializer.remove(graph.initializer[0])
        graph.node.insert(0, onnx.helper.make_node("Neg", ["b"], ["a"], name="other"))
        graph.node.append(onnx.helper.make_node("Neg", ["a"], ["unused"], name="unused"))

    model = irkit.parse_model(text)
    mark = model.journal.position
    irkit.run_passes(model, [defined("onnx", swap)])
    assert [(node.name, node.op) for node in model.graph] == [("other", "Neg"), ("add", "Add"), ("unused", "Neg")]
    assert list(model.graph.initializers) == ["b"]
    irkit.verify(model)
    model.journal.undo_to(mark)
    assert irkit.equal(model, irkit.parse_model(text))


def test_nested_graphs_functions_and_fields_are_brought_over() -> None:
    model = irkit.parse_model(
        """graph(%x: float32[2], %keep: bool[]) -> (%y) {
          %w: float32[2] = [1, 2]
          %h = Neg(%x) @neg
          %y = If(%keep) {
            then_branch=graph() -> (%t) { %t = Mul(%h, %w) @t },
            else_branch=graph() -> (%e) { %e = Identity(%h) @e }
          } @branch
        }"""
    )

    def change(model: Any) -> None:
        node = next(node for node in model.graph.node if node.op_type == "If")
        branch = next(attribute.g for attribute in node.attribute if attribute.name == "else_branch")
        branch.node[0].op_type = "Abs"
        model.graph.node[0].op_type = "Exp"
        model.metadata_props.add(key="who", value="me")
        model.ir_version = 9

    irkit.run_passes(model, [defined("onnx", change, "retrain")], verify="none")
    irkit.verify(model)
    assert [node.op for node in model.walk()] == ["Exp", "If", "Mul", "Abs"]
    assert (dict(model.metadata), model.ir_version) == ({"who": "me"}, 9)


def failing(view: str, body: Callable[[Any], Any], text: str = TEXT) -> str:
    model = irkit.parse_model(text)
    mark = model.journal.position
    with pytest.raises((irkit.PassError, irkit.InputError)) as caught:
        irkit.run_passes(model, [defined(view, body, "retrain")], verify="none")
    model.journal.undo_to(mark)
    assert irkit.equal(model, irkit.parse_model(text))
    return str(caught.value)


def divide(_: Any) -> Any:
    return 1 // 0


def yields(model: Any) -> Any:
    """Is no ordinary function."""
    yield model


def helper_fails(model: Any) -> Any:
    return onnx.helper.make_node("Relu", [], ["y"], bad=object())


@pytest.mark.parametrize("view", VIEWS)
def test_an_error_in_the_users_function_names_its_file_and_line(view: str) -> None:
    needs(view)
    line = divide.__code__.co_firstlineno + 1
    assert f"({__file__}:{line}): ZeroDivisionError" in failing(view, divide)


def test_an_error_below_the_users_function_names_the_users_line() -> None:
    line = helper_fails.__code__.co_firstlineno + 1
    assert f"({__file__}:{line}): " in failing("onnx", helper_fails)


def rename_output(model: Any) -> None:
    model.graph.output[0].name = model.graph.node[3].output[0] = "other"


def drop_input(model: Any) -> None:
    model.graph.node[0].input[0] = "half"
    model.graph.node[4].input[0] = "half"
    del model.graph.input[0]


def cycle(model: Any) -> None:
    model.graph.node[0].input[0] = "d"


def reads_nothing(model: Any) -> None:
    model.graph.node[0].input[0] = "nowhere"


def returns_text(model: Any) -> Any:
    return "done"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (rename_output, r"the outputs \['y', 'z'\] became \['other', 'z'\]"),
        (drop_input, r"the inputs \['x'\] became \[\]"),
        (cycle, "cycle"),
        (reads_nothing, "nowhere"),
        (returns_text, "a str is no onnx.ModelProto"),
    ],
)
def test_what_cannot_stand_names_the_function(body: Callable[[Any], Any], expected: str) -> None:
    said = failing("onnx", body)
    assert f"{Path(__file__).name}:{body.__code__.co_firstlineno}" in said
    assert re.search(expected, said), said


def test_what_a_package_cannot_take_is_told() -> None:
    pytest.importorskip("onnx_ir", reason="pip install 'irkit-compiler[interop]'")
    for view, sources in NOT_TAKEN.items():
        for source in sources:
            model = irkit.from_proto(getattr(onnx_models, source)())
            with pytest.raises(irkit.PassError, match=f"{view} cannot take this model"):
                irkit.run_passes(model, [defined(view, lambda model: None)], verify="none")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx_graphsurgeon", None)
    assert "pip install 'irkit-compiler[interop]'" in failing("graphsurgeon", divide)


def test_scripts_that_export_or_fold_run_as_they_are() -> None:
    surgeon = pytest.importorskip("onnx_graphsurgeon", reason="pip install 'irkit-compiler[interop]'")
    pytest.importorskip("onnxruntime", reason="graphsurgeon folds with it")
    model = irkit.parse_model(
        """graph(%x: float32[1,400]) -> (%y) {
          %a: float32[400] = random(seed=1)
          %b = Neg(%a) @neg
          %y = Add(%x, %b) @add
        }"""
    )

    def main(graph: Any) -> Any:
        return surgeon.export_onnx(graph.fold_constants().cleanup())

    irkit.run_passes(model, [defined("graphsurgeon", main)])
    assert [node.op for node in model.graph] == ["Add"]
    irkit.verify(model)


def test_options_of_a_function_are_its_keyword_only_parameters(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        'import irkit\n\n\n@irkit.define_pass("swap-op", effect="retrain", model_as="onnx")\n'
        'def swap(model, context, *, old: str = "HardSwish", new: str = "Relu", most: int = 2):\n'
        '    """Put one operator in the place of another."""\n'
        "    for node in [n for n in model.graph.node if n.op_type == old][:most]:\n"
        "        node.op_type = new\n"
        "        context.note(node.name)\n",
        encoding="utf-8",
    )
    library = Library()
    library.add(file)
    (item,) = parse_passes("swap-op{new=Sigmoid,most=1}", library)
    assert str(item) == "swap-op{new=Sigmoid,most=1}"
    model = irkit.parse_model(TEXT)
    context = irkit.Context()
    irkit.run_passes(model, [item], verify="none", context=context)
    assert [node.op for node in model.graph][1:4] == ["Sigmoid", "Dropout", "HardSwish"]
    assert context.notes == {"swap-op": ["act"]}
    with pytest.raises(irkit.OptionError, match="has no option 'less'; its options: most, new, old"):
        parse_passes("swap-op{less=1}", library)


def test_a_list_may_be_an_option_of_a_function() -> None:
    @irkit.define_pass("listing", model_as="onnx")
    def listing(model: Any, *, ops: list[str] = ["Relu"]) -> None:  # noqa: B006  (scripts do that)
        """A list is an option."""

    assert vars(listing()) == {"ops": ["Relu"]}
    assert vars(listing())["ops"] is not vars(listing())["ops"]


@pytest.mark.parametrize(
    ("arguments", "item", "expected"),
    [
        ({"model_as": "tensorflow"}, divide, "model_as is one of irkit, onnx"),
        ({"effect": "maybe"}, divide, "effect is one of exact, approximate, retrain"),
        ({}, lambda model: None, "needs a docstring"),
        ({}, functools.partial(divide), "is made of a class or a function"),
        ({}, lambda: None, "takes"),
        ({"model_as": "onnx"}, yields, "without yield and async"),
    ],
)
def test_a_pass_that_is_defined_wrongly_is_told(arguments: dict[str, Any], item: Any, expected: str) -> None:
    if getattr(item, "__name__", "") == "<lambda>" and "takes" in expected:
        item.__doc__ = "No parameter."
    with pytest.raises(irkit.OptionError, match=expected):
        irkit.define_pass("wrong", **arguments)(item)


def test_a_declared_cut_is_kept() -> None:
    model = irkit.parse_model(TEXT)
    context = irkit.Context(protected=frozenset({"d"}))
    irkit.run_passes(model, [defined("onnx", two_in_onnx, "retrain")], verify="none", context=context)
    assert model.graph.node("drop").op == "Dropout"
    assert context.refusals == {"drop": ["change: the value 'd' is kept by the declared cut"]}
