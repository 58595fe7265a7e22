"""The journal: whatever is edited can be undone and done again, exactly."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from irkit import DType, Graph, GraphError, Model, Node, Tensor, TensorType, parse_model, structural_hash, verify
from irkit.ir import NodeExtra, Value
from irkit.journal import Edit
from tests.core.test_ir import CHAIN, NESTED, node, value


def state(model: Model) -> str:
    """All that undoing must bring back, types and origins included."""
    verify(model)
    return structural_hash(model, annotations=True)


def test_undo_and_redo_move_a_position() -> None:
    model = parse_model(CHAIN)
    journal = model.journal
    first = state(model)
    node(model, "abs").set_op("Exp")
    mark, second = journal.position, state(model)
    node(model, "relu").name = "other"
    third = state(model)
    journal.undo_to(mark)
    assert state(model) == second
    journal.undo_to(0)
    assert state(model) == first
    journal.redo_to(2)
    assert (state(model), journal.position) == (third, 2)


def test_a_new_edit_drops_what_was_undone() -> None:
    model = parse_model(CHAIN)
    node(model, "abs").set_op("Exp")
    model.journal.undo_to(0)
    node(model, "relu").set_op("Elu")
    with pytest.raises(ValueError, match="cannot redo"):
        model.journal.redo_to(2)
    with pytest.raises(ValueError, match="cannot undo"):
        model.journal.undo_to(2)


def test_edits_belong_to_the_group_they_are_made_in() -> None:
    model = parse_model(CHAIN)
    journal = model.journal
    node(model, "abs").set_op("Exp")
    with journal.group("a-pass", "a-rule", "abs") as outer:
        node(model, "abs").set_op("Sin")
        with journal.group("a-pass", "a-rule", "abs") as inner:
            node(model, "abs").set_op("Cos")
        node(model, "abs").set_op("Tan")
    assert [edit.group for edit in journal.since(0)] == [None, outer, inner, outer]
    assert outer is not inner
    assert outer != inner, "two rewrites at the same place are two groups"
    assert str(outer) == "a-rule at abs"


def test_listeners_hear_edits_made_undone_and_redone() -> None:
    model = parse_model(CHAIN)
    heard: list[Edit] = []
    with model.journal.listening(heard.append):
        node(model, "abs").set_op("Exp")
        model.journal.undo_to(0)
        model.journal.redo_to(1)
    node(model, "abs").set_op("Sin")
    assert [(edit.kind, edit.old, edit.new) for edit in heard] == [("op", ("Abs", ""), ("Exp", ""))] * 3


def test_clearing_forgets_edits_but_keeps_them_made() -> None:
    model = parse_model(CHAIN)
    node(model, "abs").set_op("Exp")
    model.journal.clear()
    assert (model.journal.position, model.journal.since(0)) == (0, [])
    assert node(model, "relu").inputs[0] is value(model, "b")
    assert node(model, "abs").op == "Exp"


def test_a_node_taken_out_changed_and_put_back_comes_back_as_it_was() -> None:
    model = parse_model(CHAIN)
    before = state(model)
    graph, relu = model.graph, node(model, "relu")
    graph.set_outputs([value(model, "b")])
    graph.remove(relu)
    relu.set_inputs([value(model, "a")])
    relu.output.name = "renamed"
    relu.set_attr("alpha", 0.5)
    graph.insert(relu, after=node(model, "neg"))
    graph.set_outputs([relu.output])
    after = state(model)
    model.journal.undo_to(0)
    assert state(model) == before
    model.journal.redo_to(len(model.journal._edits))
    assert state(model) == after


def test_nodes_moved_out_of_a_removed_branch_go_back_into_it() -> None:
    model = parse_model(NESTED)
    before = state(model)
    graph, holder, inner = model.graph, node(model, "if1"), node(model, "inner")
    branch = inner.graph
    assert branch is not None
    graph.replace_value(value(model, "y"), value(model, "x"))
    graph.remove(holder)
    branch.set_outputs([])
    branch.remove(inner)
    graph.append(inner)
    verify(model)
    model.journal.undo_to(0)
    assert state(model) == before


def test_undoing_brings_attributes_back_in_their_order() -> None:
    model = parse_model("graph(%x: float32[2]) -> (%y) { %y = Op(%x) {b=1, a=2, c=3} @op }")
    item = node(model, "op")
    item.set_attr("b", None)
    item.set_attr("a", "text")
    model.journal.undo_to(0)
    assert list(item.attrs) == ["b", "a", "c"]


# Random edits


class Editor:
    """Makes random edits, those a pass could make, valid ones as well as some the IR refuses."""

    def __init__(self, model: Model, seed: int) -> None:
        self.model = model
        self.random = random.Random(seed)
        self.removed: list[Node] = []
        self.actions: list[Callable[[], None]] = [
            self.insert, self.insert_branch, self.remove, self.put_back, self.replace, self.rename, self.rewire,
            self.set_attr, self.set_op, self.annotate, self.constants, self.signature, self.branch, self.outputs,
        ]  # fmt: skip

    def step(self) -> None:
        with contextlib.suppress(GraphError):  # refused, and so without effect, which the undo shows
            self.random.choice(self.actions)()

    def graph(self) -> Graph:
        return self.random.choice(list(self.model.walk_graphs()))

    def any_node(self) -> Node:
        return self.random.choice(list(self.model.walk()))

    def before(self, place: Node) -> list[Value]:
        """Values a node may read at a place without breaking the order."""
        found: list[Value] = []
        graph: Graph | None = place.graph
        step: Node | None = place
        while graph is not None and step is not None:
            found += [*graph.inputs, *(v for v in graph.initializers.values() if not v.is_graph_input)]
            earlier = step.prev
            while earlier is not None:
                found += [output for output in earlier.outputs if output.name]
                earlier = earlier.prev
            step = graph.owner
            graph = step.graph if step is not None else None
        return found

    def insert(self) -> None:
        place = self.any_node()
        assert place.graph is not None
        made = Node(
            self.random.choice(["Neg", "Add"]), self.random.choices(self.before(place), k=2), {"k": 1}, outputs=2
        )
        place.graph.insert(made, before=place)

    def insert_branch(self) -> None:
        place = self.any_node()
        assert place.graph is not None
        branch = Graph("branch")
        branch.set_outputs([branch.append(Node("Abs", [self.random.choice(self.before(place))])).output])
        place.graph.insert(Node("Loop", [None, None], {"body": branch}), before=place)

    def remove(self) -> None:
        item = self.any_node()
        assert item.graph is not None
        for output in item.outputs if self.random.random() < 0.7 else ():
            if output.name:
                item.graph.replace_value(output, self.random.choice(self.before(item)))
        item.graph.remove(item)
        self.removed.append(item)

    def put_back(self) -> None:
        """Change a node that was taken out, and sometimes put it in again, elsewhere."""
        if not self.removed:
            return
        place, item = self.any_node(), self.random.choice(self.removed)
        if item.graph is not None or place.graph is None or item.subgraphs:
            return
        item.set_inputs(self.random.choices(self.before(place), k=2))
        item.set_attr("k", self.random.random())
        item.outputs[0].name = self.model.fresh_name("back")
        if self.random.random() < 0.7:
            place.graph.insert(item, before=place)

    def replace(self) -> None:
        place = self.any_node()
        assert place.graph is not None
        for output in place.outputs:
            if output.name:
                place.graph.replace_value(output, self.random.choice(self.before(place)))

    def rename(self) -> None:
        values = [v for v in self.model.values() if not v.is_graph_output and not v.is_graph_input]
        if values:
            self.random.choice(values).name = self.model.fresh_name("renamed")

    def rewire(self) -> None:
        item = self.any_node()
        item.set_input(self.random.randrange(3), self.random.choice([None, *self.before(item)]))

    def set_attr(self) -> None:
        values = [None, 1, 0.5, "s", Tensor.of(np.float32(2))]
        self.any_node().set_attr("k", self.random.choice(values))

    def set_op(self) -> None:
        self.any_node().set_op(self.random.choice(["Exp", "Sin"]))

    def annotate(self) -> None:
        item = self.any_node()
        item.name = self.model.fresh_node_name("node")
        item.extra = NodeExtra("doc", {"key": str(self.random.random())})
        item.set_origin([item, self.any_node()])
        item.output.type = TensorType(DType.FLOAT32, (self.random.randrange(9),))

    def constants(self) -> None:
        graph = self.graph()
        graph.add_initializer("w", Tensor.of(np.float32(self.random.random())))
        stored = self.random.choice(list(graph.initializers.values()))
        stored.set_initializer(Tensor.of(np.zeros(2, np.float32)))
        graph.remove_initializer(self.random.choice(list(graph.initializers.values())))

    def signature(self) -> None:
        graph = self.model.graph
        added = graph.add_input(self.model.fresh_name("fed"), TensorType(DType.FLOAT32, ()))
        if self.random.random() < 0.5:
            graph.add_default(added, Tensor.of(np.float32(0)))
        graph.set_inputs([v for v in graph.inputs if v is not added or self.random.random() < 0.5])

    def branch(self) -> None:
        """Take the nested graphs of a node away, or exchange them."""
        holders = [item for item in self.model.walk() if item.subgraphs]
        if holders:
            item = self.random.choice(holders)
            name = self.random.choice([key for key, attr in item.attrs.items() if attr.graphs])
            item.set_attr(name, None)

    def outputs(self) -> None:
        graph = self.graph()
        made = [output for item in graph for output in item.outputs if output.name]
        if made:
            graph.set_outputs([*graph.outputs, self.random.choice(made)][-3:])
        item = self.any_node()
        item.add_output(self.model.fresh_name("more"))
        if self.random.random() < 0.5:
            item.drop_output()


@given(seed=st.integers(0, 2**32), text=st.sampled_from([CHAIN, NESTED]), steps=st.integers(1, 40))
@settings(max_examples=120, deadline=None)
def test_any_edits_are_undone_and_redone_exactly(seed: int, text: str, steps: int) -> None:
    model = parse_model(text)
    editor = Editor(model, seed)
    states = {0: state(model)}
    for _ in range(steps):
        editor.step()
        states[model.journal.position] = state(model)
    marks = sorted(states)
    for mark in reversed(marks):
        model.journal.undo_to(mark)
        assert state(model) == states[mark]
    for mark in marks:
        model.journal.redo_to(mark)
        assert state(model) == states[mark]


def test_the_random_edits_are_of_every_kind() -> None:
    kinds: set[str] = set()
    for seed in range(40):
        model = parse_model(NESTED)
        editor = Editor(model, seed)
        for _ in range(25):
            editor.step()
        kinds |= {edit.kind for edit in model.journal.since(0)}
    assert kinds >= {
        "rename", "type", "data", "op", "node-name", "inputs", "outputs", "attr", "extra", "origin", "insert", "remove",
        "initializer", "graph-inputs", "graph-outputs",
    }  # fmt: skip


def test_initializers_that_come_back_take_their_old_place() -> None:
    model = parse_model("""
        graph(%x: float32[2]) -> (%y) {
          %a: float32[2] = [1, 2]
          %b: float32[2] = [3, 4]
          %c: float32[2] = [5, 6]
          %y = Add(%x, %c)
        }
    """)
    graph, mark = model.graph, model.journal.position
    graph.remove_initializer(graph.initializers["a"])
    graph.initializers["b"].name = "renamed"
    graph.add_initializer("d", Tensor.of(np.zeros(2, np.float32)))
    assert list(graph.initializers) == ["renamed", "c", "d"]
    end = model.journal.position
    model.journal.undo_to(mark)
    assert list(graph.initializers) == ["a", "b", "c"]
    model.journal.redo_to(end)
    assert list(graph.initializers) == ["renamed", "c", "d"]
