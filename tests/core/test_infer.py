"""Inference: types and known values, family by family; partial values; control flow; keeping up with edits."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import irkit
from irkit import DType, Graph, Inference, Model, Node, Tensor, TensorType, parse_model
from irkit.ops import schema_of
from irkit.shapes import rules
from irkit.shapes.site import Conflict, Site, Unknown


def infer(text: str) -> tuple[Model, Inference]:
    model = parse_model(text)
    inference = Inference(model)
    inference.run()
    return model, inference


def types(text: str, *names: str) -> list[str]:
    model, inference = infer(text)
    values = {value.name: value for value in model.values()}
    return [str(inference.type_of(values[name])) for name in names]


CASES = [
    ("%y = Relu(%x)", "float32[N,3,4,W]"),
    ("%y = Shape(%x)", "int64[4]"),
    ("%y = Shape(%x) {start=1, end=-1}", "int64[2]"),
    ("%y = Cast(%x) {to=7}", "int64[N,3,4,W]"),
    ("%b: float32[4,1] = zeros %y = Add(%x, %b)", "float32[N,3,4,W]"),
    ("%b: float32[5,1,1,1,1] = zeros %y = Less(%b, %x)", "bool[5,N,3,4,W]"),
    ("%y = Transpose(%x) {perm=[3,1,2,0]}", "float32[W,3,4,N]"),
    ("%y = Flatten(%x) {axis=1}", "float32[N,?]"),
    ("%t: int64[3] = [0, -1, 0] %y = Reshape(%x, %t)", "float32[N,?,4]"),
    ("%t: int64[4] = [0, 12, 1, -1] %y = Reshape(%x, %t)", "float32[N,12,1,W]"),
    ("%t: int64[3] = [0, 0, -1] %m = ReduceMax(%x) {axes=[3]} %y = Reshape(%m, %t)", "float32[N,3,4]"),
    ("%s: int64[2] = [1, 0] %e: int64[2] = [9, 2] %a: int64[2] = [2, 1] %y = Slice(%x, %s, %e, %a)",
     "float32[N,2,3,W]"),
    ("%s: int64[1] = [-1] %e: int64[1] = [-9] %a: int64[1] = [1] %p: int64[1] = [-2] %y = Slice(%x, %s, %e, %a, %p)",
     "float32[N,2,4,W]"),
    ("%r: int64[4] = [1, 2, 3, 1] %y = Tile(%x, %r)", "float32[N,6,12,W]"),
    ("%p: int64[8] = [0, 1, 0, 0, 0, 1, 2, 0] %y = Pad(%x, %p)", "float32[N,5,6,W]"),
    ("%w: float32[8,3,3,3] = zeros %y = Conv(%x, %w) {strides=[2,2]}", "float32[N,8,1,?]"),
    ("%y = Concat(%x, %x) {axis=1}", "float32[N,6,4,W]"),
    ("%c: int64[2] = [1, 2] %y, %z = Split(%x, %c) {axis=1}", "float32[N,1,4,W]"),
    ("%i: int64[2,2] = zeros %y = Gather(%x, %i) {axis=2}", "float32[N,3,2,2,W]"),
    ("%k: int64[1] = [2] %y, %z = TopK(%x, %k) {axis=1}", "float32[N,2,4,W]"),
    ("%a: int64[2] = [0, 5] %y = Unsqueeze(%x, %a)", "float32[1,N,3,4,W,1]"),
    ("%y = GlobalAveragePool(%x)", "float32[N,3,1,1]"),
    ("%s: float32[4] = [1.0, 1.0, 2.0, 2.0] %y = Resize(%x, _, %s)", "float32[N,3,8,?]"),
    ("%y = NonZero(%x)", "int64[4,?]"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), CASES, ids=[body.split(" = ")[-1].split("(")[0] for body, _ in CASES])
def test_types(body: str, expected: str) -> None:
    assert types(f"graph(%x: float32[N,3,4,W]) -> (%y) {{ {body} }}", "y") == [expected]


PARTLY = [
    # what torch writes for x.view(x.size(0), -1)
    (("%i: int64[] = 0 %n = Gather(%s, %i) %a: int64[1] = [0] %u = Unsqueeze(%n, %a) %m: int64[1] = [-1]"
     "%t = Concat(%u, %m) {axis=0} %y = Reshape(%x, %t)"), "float32[N,12]"),
    # and for expand(-1, ...): Where(Equal(shape, -1), ones, shape)
    (("%v: int64[1] = [7] %l: int64[1] = [0] %h: int64[1] = [1] %n = Slice(%s, %l, %h) %t = Concat(%v, %n) {axis=0}"
     "%m: int64[1] = [-1] %e = Equal(%t, %m) %o: int64[2] = [1, 1] %w = Where(%e, %o, %t) %z: float32[7,1] = zeros"
     "%y = Expand(%z, %w)"), "float32[7,N]"),
    (("%l: int64[1] = [1] %h: int64[1] = [3] %p = Slice(%s, %l, %h) %two: int64[1] = [2] %d = Mul(%p, %two)"
     "%z: int64[1] = [0] %n = Slice(%s, %z, %l) %t = Concat(%n, %d) {axis=0} %y = ConstantOfShape(%t)"),
     "float32[N,6,8]"),
    (("%two: int64[2] = [1, 2] %a, %b = Split(%s, %two) %c = Cast(%a) {to=6} %d = Cast(%c) {to=7}"
     "%y = ConstantOfShape(%d)"), "float32[N]"),
    (("%one: int64[] = 1 %n = Size(%x) %k = Mul(%n, %one) %q: int64[1] = [-1] %r = Reshape(%k, %q)"
     "%y = ConstantOfShape(%r)"), "float32[?]"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), PARTLY, ids=range(len(PARTLY)))
def test_partly_known_values(body: str, expected: str) -> None:
    assert types(f"graph(%x: float32[N,3,4]) -> (%y) {{ %s = Shape(%x) {body} }}", "y") == [expected]


def test_known_values() -> None:
    model, inference = infer(
        "graph(%x: float32[2,3]) -> (%y) { %s = Shape(%x) %f = Cast(%s) {to=1} %h: float32[] = 0.5 %m = Mul(%f, %h)"
        "%l = Floor(%m) %y = Cast(%l) {to=7} }"
    )
    known = inference.known(model.graph.values["y"])
    assert known is not None
    assert known.numpy().tolist() == [1, 1]
    assert inference.known(model.graph.values["x"]) is None


def test_values_without_a_name_for_their_dimension_are_not_equal() -> None:
    # "?" twice is not one dimension: what is known of one must not be believed of the other
    graph = Graph("g")
    model = Model(graph, opset_imports={"": 17})
    x = graph.add_input("x", TensorType(DType.FLOAT32, ("?", "?")))
    y = graph.append(Node("Add", [x, x])).output
    found = Inference(model)
    found.run()
    assert str(found.type_of(y)) == "float32[?,?]"
    assert found.shape_of(y) == (None, None)


def test_if_gives_what_both_branches_have_in_common() -> None:
    text = """graph(%x: float32[2,3], %c: bool[]) -> (%y) {
      %y = If(%c) { then_branch=graph() -> (%a) { %a = Relu(%x) },
                    else_branch=graph() -> (%b) { %k: float32[4,3] = zeros %b = Neg(%k) } } }"""
    assert types(text, "y") == ["float32[?,3]"]
    known = text.replace("%c: bool[]", "%q: bool[]").replace("{\n", "{ %c: bool[] = true\n", 1)
    assert types(known, "y") == ["float32[2,3]"]


LOOP = """graph(%x: float32[2,1]) -> (%y, %all) {
  %n: int64[] = 3  %on: bool[] = true
  %y, %all = Loop(%n, %on, %x) { body=graph(%i: int64[], %c: bool[], %v: float32[?,?]) -> (%go, %w, %out) {
    %go = Identity(%c)
    %w = BODY
    %out = ReduceSum(%w) {keepdims=0}
  } } }"""


def test_loop_that_keeps_its_shape_keeps_its_type() -> None:
    assert types(LOOP.replace("BODY", "Relu(%v)"), "y", "all", "v") == ["float32[2,1]", "float32[3]", "float32[2,1]"]


def test_loop_that_grows_is_not_believed_to_keep_its_shape() -> None:
    grown = LOOP.replace("BODY", "Concat(%v, %v) {axis=1}")
    assert types(grown, "y", "v", "all") == ["float32[2,?]", "float32[2,?]", "float32[3]"]


def test_loop_that_may_stop_early_collects_no_known_number() -> None:
    stops = LOOP.replace("%go = Identity(%c)", "%s = ReduceMax(%v) {keepdims=0} %t: float32[] = 9.0 %go = Less(%s, %t)")
    assert types(stops.replace("BODY", "Relu(%v)"), "all") == ["float32[?]"]


def test_counters_of_loops_are_not_constant() -> None:
    model, inference = infer(
        """graph(%x: int64[]) -> (%y) { %n: int64[] = 3 %on: bool[] = true %zero: int64[] = 0
        %y = Loop(%n, %on, %zero) { body=graph(%i: int64[], %c: bool[], %v: int64[]) -> (%go, %w) {
          %go = Identity(%c) %one: int64[] = 1 %w = Add(%v, %one) } } }"""
    )
    assert inference.known(model.graph.values["y"]) is None


def test_scan() -> None:
    text = """graph(%s: float32[4], %x: float32[4,T]) -> (%f, %c) {
      %f, %c = Scan(%s, %x) { num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1],
        body=graph(%a, %b) -> (%d, %e) { %d = Add(%a, %b) %e = Identity(%d) } } }"""
    assert types(text, "f", "c", "b") == ["float32[4]", "float32[4,T]", "float32[4]"]


def test_recorded_types_are_believed_only_behind_unknown_operators() -> None:
    text = """opset 17 opset my 1 graph(%x: float32[2]) -> (%z) {
      %y: float32[9] = Relu(%x)  %u: float32[5] = my::Mystery(%y)  %z = Neg(%u) }"""
    assert types(text, "y", "u", "z") == ["float32[2]", "float32[5]", "float32[5]"]


def test_declared_outputs_stay_and_contradictions_are_told() -> None:
    model, inference = infer("graph(%x: float32[2]) -> (%y: float32[3], %z: float32[N]) { %y = Relu(%x) %z = Neg(%x) }")
    assert [str(value.type) for value in model.graph.outputs] == ["float32[3]", "float32[N]"]
    (problem,) = inference.problems
    assert problem.declared
    assert "declared as float32[3], but Relu gives float32[2]" in problem.message
    inference.specialise_outputs()
    assert [str(value.type) for value in model.graph.outputs] == ["float32[3]", "float32[2]"]
    inference.specialise_outputs(redeclare=True)
    assert [str(value.type) for value in model.graph.outputs] == ["float32[2]", "float32[2]"]


def test_a_node_that_does_not_fit_is_a_problem_not_a_crash() -> None:
    _, inference = infer("graph(%x: float32[2,3]) -> (%y) { %w: float32[4,5] = zeros %y = MatMul(%x, %w) }")
    assert [problem.node.op for problem in inference.problems] == ["MatMul"]
    _, inference = infer("graph(%x: float32[2,3]) -> (%y) { %w: float32[4,5] = zeros %y = Add(%x, %w) }")
    assert "cannot be broadcast" in inference.problems[0].message


CHAIN = """graph(%x: float32[2,3,4]) -> (%y) {
  %p = Transpose(%x) {perm=[0,2,1]}  %s = Shape(%p)  %q = Relu(%p)  %y = Reshape(%q, %s) }"""


def test_update_redoes_what_an_edit_touches() -> None:
    model, inference = infer(CHAIN)
    mark = model.journal.position
    model.graph.node(next(iter(model.graph)).name).set_attr("perm", (2, 1, 0))
    inference.update()
    assert str(inference.type_of(model.graph.values["y"])) == "float32[4,3,2]"
    known = inference.known(model.graph.values["s"])
    assert known is not None
    assert known.numpy().tolist() == [4, 3, 2]
    model.journal.undo_to(mark)
    inference.update()
    assert str(inference.type_of(model.graph.values["y"])) == "float32[2,4,3]"


def test_update_equals_a_run_from_scratch() -> None:
    model, inference = infer(CHAIN)
    graph = model.graph
    old = graph.values["p"]
    new = graph.insert(Node("Concat", [old, old], {"axis": 0}), after=old.producer)
    for user in old.users:
        if user is not new:
            user.set_inputs([new.output if value is old else value for value in user.inputs])
    graph.inputs[0].type = TensorType(DType.FLOAT32, (5, 3, 4))
    inference.update()
    fresh = Inference(model)
    fresh.run()
    assert {v.name: inference.type_of(v) for v in model.values()} == {v.name: fresh.type_of(v) for v in model.values()}
    assert str(fresh.type_of(graph.values["y"])) == "float32[10,4,3]"


def test_edits_in_branches_reach_what_reads_the_if() -> None:
    model, inference = infer(
        """graph(%x: float32[2,3], %c: bool[]) -> (%z) {
          %y = If(%c) { then_branch=graph() -> (%a) { %a = Transpose(%x) },
                        else_branch=graph() -> (%b) { %b = Transpose(%x) } }
          %z = Relu(%y) }"""
    )
    assert str(inference.type_of(model.graph.values["z"])) == "float32[3,2]"
    for branch in next(iter(model.graph)).subgraphs:
        next(iter(branch)).set_op("Relu")
    inference.update()
    assert str(inference.type_of(model.graph.values["z"])) == "float32[2,3]"


def test_one_inference_for_each_model_and_none_left_behind() -> None:
    model = parse_model(CHAIN)
    assert Inference.of(model) is Inference.of(model)
    listeners = len(model.journal._listeners)
    own = Inference(model)
    assert len(model.journal._listeners) == listeners + 1
    del own
    gc.collect()
    assert len(model.journal._listeners) == listeners


DIMS = st.one_of(st.sampled_from([1, 2, 3]), st.sampled_from(["N", "M", None]))
SHAPES = st.lists(DIMS, max_size=3).map(tuple)
UNARY = ("Relu", "Identity", "Cast", "Softmax", "IsNaN", "Clip", "Shape", "Size")
BINARY = ("Add", "Mul", "Equal", "PRelu", "Pow", "CastLike", "Expand", "Where")


@settings(max_examples=300, deadline=None)
@given(op=st.sampled_from(UNARY + BINARY), left=SHAPES, right=SHAPES)
def test_own_rules_agree_with_onnx(op: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    """What irkit's rule and onnx both say of a dimension is the same, and they refuse the same shapes."""
    from irkit.onnx.inference import Inconsistent, attributes_key, infer_outputs

    graph = Graph("g")
    Model(graph, opset_imports={"": 17})
    kinds = [TensorType(DType.FLOAT32, left), TensorType(DType.FLOAT32, right)][: 1 if op in UNARY else 2]
    if op == "Where":
        kinds.insert(0, TensorType(DType.BOOL, (1,)))
    if op == "Expand":
        kinds[1] = TensorType(DType.INT64, (len(right),))
    values = [graph.add_input(f"i{i}", kind) for i, kind in enumerate(kinds)]
    node = graph.append(Node(op, values, {"to": 7} if op == "Cast" else {}))
    schema = schema_of(node)
    assert schema is not None
    site = Site(node, kinds, [None] * len(kinds), schema.since_version, schema.attributes)
    try:
        ours = rules.RULES[op](site)[0]
    except Unknown:
        return
    except Conflict:
        ours = None
    count = len(kinds)
    try:
        asked = (schema, 17, attributes_key(node), (True,) * count, tuple(kinds), (None,) * count, (True,))
        theirs = infer_outputs(*asked)[0]
    except Inconsistent:
        theirs = None
    if op == "PRelu" or theirs is None:
        return  # onnx does not check the slope's shape; and some shapes only one of them knows to be wrong
    assert isinstance(ours, TensorType)
    assert isinstance(theirs, TensorType)
    assert ours.dtype == theirs.dtype
    if theirs.shape is not None and ours.shape is not None:
        assert len(ours.shape) == len(theirs.shape)
        assert all(a == b for a, b in zip(ours.shape, theirs.shape, strict=True) if isinstance(b, int))


def test_large_constants_are_known_where_they_are_stored() -> None:
    graph = Graph("g")
    model = Model(graph, opset_imports={"": 17})
    data = Tensor.of(np.zeros(10_000, np.float32))
    large = graph.add_initializer("w", data)
    graph.append(Node("Neg", [large]))
    inference = Inference(model)
    inference.run()
    assert inference.known(large) is data
    assert inference.known(next(iter(graph)).output) is None


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ('Softmax(%x) {axis="a"}', "attribute `axis` must be of kind INT; found STRING"),
        ("Softmax(%x) {axis=1.5}", "attribute `axis` must be of kind INT; found FLOAT"),
        ("Relu(%x)", ""),
        ("Slice(%x) {starts=[0, 0], ends=[1], axes=[0]}", "starts, ends, axes and steps of different lengths"),
        ('Slice(%x) {starts=[0], ends=[1], axes=["a"]}', "attribute `axes` must be of kind INTS; found STRINGS"),
    ],
)
def test_attributes_that_are_wrong_are_problems_of_the_node(node: str, said: str) -> None:
    model, inference = infer(f"opset 9\ngraph(%x: float32[1,4,8,8]) -> (%y) {{ %y = {node} @n }}")
    assert [problem.message for problem in inference.problems] == [said] * bool(said)
    assert [found.code for found in irkit.lint(model, select=["IRK015"]).findings] == ["IRK015"] * bool(said)
