"""A proof sees what changed, compares at the border of what was rewritten, and says what it could not tell."""

from __future__ import annotations

import numpy as np
import pytest

from irkit import DType, Model, Node, Tensor, TensorType, parse_model
from irkit.drift import measure
from irkit.errors import ExecutionError
from irkit.executor import open_session, plain_words
from irkit.inputs import draw, fillings, input_specs
from irkit.proof import Proof, ProofVerdict, fitting_inputs, prove
from tests.numeric.planting import scale_channel

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

NET = """
opset 17
graph(%x: float32[1,3,8,8]) -> (%y: float32[1,4,8,8]) {
  %w: float32[4,3,3,3] = random(seed=1)
  %c: float32[1,4,8,8] = Conv(%x, %w) {pads=[1,1,1,1]} @conv
  %r: float32[1,4,8,8] = Relu(%c) @relu
  %y = Sigmoid(%r) @sigmoid
}
"""


def edited(text: str, *, by: str, change: object = None) -> Proof:
    """The proof of one edit of the node of that name."""
    model = parse_model(text)
    start = model.journal.position
    node = model.graph.node(by)
    if callable(change):
        change(node)
    else:
        assert scale_channel(node)
    return prove(model, start, model.journal.position, ["test"])


def test_nothing_changed_is_proven_on_the_outputs() -> None:
    proof = edited(NET, by="conv", change=lambda node: node.set_attr("dilations", [1, 1]))
    assert proof.verdict is ProofVerdict.PROVEN
    assert (proof.values, proof.worst, proof.inputs) == (2, 0.0, 8)
    assert "ONNX Runtime" in proof.engine


def test_a_wrong_channel_is_found_at_the_border_and_at_the_output() -> None:
    proof = edited(NET, by="conv")
    assert proof.verdict is ProofVerdict.FAILED
    assert {fault.value for fault in proof.faults} == {"c", "y"}
    reasons = {fault.value: fault.reason for fault in proof.faults}
    assert "in channel 2; 1 of 4 channels of axis 1" in reasons["c"]


def test_what_the_end_of_the_network_hides_is_seen_at_the_border() -> None:
    hidden = NET.replace("%y = Sigmoid(%r) @sigmoid", "%z = Mul(%r, %zero) @mul\n %y = Sigmoid(%z) @sigmoid").replace(
        "%w:", "%zero: float32[] = [0]\n  %w:"
    )
    proof = edited(hidden, by="conv")
    assert [fault.value for fault in proof.faults] == ["c"]


def test_what_cannot_be_run_afterwards_is_a_fault() -> None:
    proof = edited(NET, by="conv", change=lambda node: node.set_attr("kernel_shape", [5, 5]))
    assert proof.verdict is ProofVerdict.FAILED
    assert "cannot be run" in proof.faults[0].reason


def test_what_cannot_be_run_before_is_not_verified() -> None:
    unknown = NET.replace("Sigmoid(", "my.domain::Curious(").replace("opset 17", "opset 17\nopset my.domain 1")
    proof = edited(unknown, by="conv")
    assert proof.verdict is ProofVerdict.NOT_VERIFIED
    assert "Curious" in proof.reason


def test_an_operator_set_without_kernels_is_run_by_the_reference_evaluator() -> None:
    old = """
    opset 6
    graph(%x: float32[2,3]) -> (%y: float32[2,4]) {
      %w: float32[3,4] = random(seed=1)
      %b: float32[4] = random(seed=2)
      %g = Gemm(%x, %w, %b) {broadcast=1} @gemm
      %y = Relu(%g) @relu
    }
    """
    assert "reference evaluator" in edited(old, by="relu", change=lambda node: None).engine
    assert edited(old, by="gemm").verdict is ProofVerdict.FAILED


def test_an_output_that_nothing_moves_proves_nothing() -> None:
    dead = NET.replace("%y = Sigmoid(%r)", "%n = Neg(%r)\n  %y = Relu(%n)")
    proof = edited(dead, by="conv", change=lambda node: node.set_attr("dilations", [1, 1]))
    assert proof.proves_nothing == ("y",)
    assert edited(NET, by="conv", change=lambda node: node.set_attr("dilations", [1, 1])).proves_nothing == ()


def test_a_value_that_is_nan_everywhere_proves_nothing() -> None:
    model = parse_model(NET.replace("%y = Sigmoid(%r)", "%q = Div(%r, %r)\n  %z = Sub(%q, %q)\n  %y = Div(%z, %z)"))
    proof = prove(model, 0, model.journal.position)
    assert proof.proves_nothing == ("y",)


def test_a_constant_is_held_against_what_the_node_gave() -> None:
    text = """
    opset 17
    graph(%x: float32[4]) -> (%y: float32[4]) {
      %a: float32[4] = [1, 2, 3, 4]
      %s = Sqrt(%a) @sqrt
      %y = Mul(%x, %s) @mul
    }
    """

    def fold(node: Node, wrong: float) -> None:
        graph, old = node.graph, node.output
        assert graph is not None
        data = np.sqrt(np.array([1, 2, 3, 4], np.float32)) * np.float32(wrong)
        old.name = "s_old"
        new = graph.add_initializer("s", Tensor.of(data))
        old.replace_all_uses(new)
        graph.remove(node)

    assert edited(text, by="sqrt", change=lambda node: fold(node, 1)).verdict is ProofVerdict.PROVEN
    wrong = edited(text, by="sqrt", change=lambda node: fold(node, 1.01))
    assert {fault.value for fault in wrong.faults} == {"s", "y"}


def test_an_error_in_a_nested_graph_is_seen_at_the_node_that_holds_it() -> None:
    text = """
    opset 17
    graph(%x: float32[2,2], %k: bool[]) -> (%y: float32[2,2]) {
      %two: float32[] = [2]
      %three: float32[] = [3]
      %a = If(%k) {
        then_branch=graph() -> (%t) { %t = Mul(%x, %two) @inner },
        else_branch=graph() -> (%e) { %e = Mul(%x, %two) }
      } @cond
      %y = Relu(%a)
    }
    """
    model = parse_model(text)
    inner = next(node for node in model.walk() if node.name == "inner")
    inner.set_inputs([inner.inputs[0], model.graph.values["three"]])
    proof = prove(model, 0, model.journal.position)
    assert {fault.value: fault.node for fault in proof.faults}["a"] == "cond"


def test_open_dimensions_get_numbers_that_fit() -> None:
    text = NET.replace("float32[1,3,8,8]) ->", "float32[N,3,H,W]) ->").replace("float32[1,4,8,8]", "float32[N,4,H,W]")
    text = text.replace("%y = Sigmoid(%r)", "%q = MaxPool(%r) {kernel_shape=[5,5]} @pool\n  %y = Sigmoid(%q)")
    proof = edited(text.replace("pads=[1,1,1,1]", ""), by="conv")
    assert proof.verdict is ProofVerdict.FAILED
    assert "[8, 3, 8, 8]" in proof.reason  # at 1 and so on the pool has no room


def test_a_dimension_that_was_bound_is_fed_as_bound_and_the_others_as_they_fit() -> None:
    text = """
    opset 17
    graph(%x: float32[N,S]) -> (%y: float32[N,T]) {
      %k: int64[1] = [20]
      %zero: int64[1] = [0]
      %axis: int64[1] = [1]
      %r = Relu(%x) @relu
      %w: float32[20,4] = random(seed=1)
      %s = Slice(%r, %zero, %k, %axis)
      %y = MatMul(%s, %w)
    }
    """
    model = parse_model(text)
    (value,) = model.graph.inputs
    value.type = TensorType(DType.FLOAT32, (1, "S"))
    model.graph.node("relu").set_op("Sigmoid")
    proof = prove(model, 0, model.journal.position)
    assert proof.verdict is ProofVerdict.FAILED
    assert "x [1, 32]" in proof.reason


def test_integers_are_drawn_so_that_the_graph_can_take_them() -> None:
    text = """
    opset 17
    graph(%ids: int64[1,5], %mode: int64[], %mask: bool[1,5]) -> (%y: float32[1,5,3], %same: bool[]) {
      %table: float32[11,3] = random(seed=1)
      %rate: int64[] = [16000]
      %i = Cast(%ids) {to=7}
      %y = Gather(%table, %i)
      %same = Equal(%mode, %rate)
      %n = Not(%mask)
    }
    """
    specs = {spec.name: spec for spec in input_specs(parse_model(text), {})}
    assert (specs["ids"].low, specs["ids"].high) == (0, 11)
    assert specs["mode"].choices == (16000,)
    feeds = draw(list(specs.values()), 3)
    assert feeds["mode"] == 16000
    assert isinstance(feeds["mode"], np.ndarray)
    assert feeds["mask"][0, 0]
    assert all(np.array_equal(feeds[name], draw(list(specs.values()), 3)[name]) for name in feeds)


def test_the_journal_stands_where_it_stood() -> None:
    model = parse_model(NET)
    model.graph.node("conv").set_attr("dilations", [1, 1])
    model.graph.node("relu").set_attr("never", 1)
    end = model.journal.position
    prove(model, 0, 1)
    assert model.journal.position == end
    assert model.graph.node("relu").attr("never") == 1


def classifier(last: str) -> Model:
    return parse_model(
        f"""
        opset 17
        graph(%x: float32[1,16]) -> (%y: float32[1,8]) {{
          %w: float32[16,8] = random(seed=1)
          %m = MatMul(%x, %w) @matmul
          %y = {last}(%m) @last
        }}
        """
    )


def test_drift_is_measured_by_direction_size_and_label() -> None:
    model = classifier("Softmax")
    start = model.journal.position
    same = measure(model, start, model.journal.position, "p", "retrain")
    assert same.outputs[0].cosine == pytest.approx(1)
    assert (same.outputs[0].error, same.outputs[0].top1) == (0, 1)
    assert scale_channel(model.graph.node("matmul"))
    moved = measure(model, start, model.journal.position, "p", "retrain")
    assert moved.outputs[0].cosine < 1
    assert moved.outputs[0].error > 1e-3
    assert moved.inputs == 100


def test_drift_on_random_inputs_is_beyond_the_budget_until_it_is_accepted() -> None:
    model = classifier("Softmax")
    position = model.journal.position
    assert measure(model, position, position, "p", "retrain").state == "unaccepted"
    assert measure(model, position, position, "p", "retrain", accepted=True).state == "accepted"


def test_open_dimensions_are_filled_alike_and_then_one_apart() -> None:
    shapes = {"a": ("N", None, 3), "b": (2, "N")}
    filled = list(fillings(shapes, (1, 8)))
    assert filled == [
        {"a": (1, 1, 3), "b": (2, 1)},
        {"a": (8, 8, 3), "b": (2, 8)},
        {"a": (8, 1, 3), "b": (2, 8)},
        {"a": (1, 8, 3), "b": (2, 1)},
    ]
    assert list(fillings({"a": (1, 2), "b": None}, (1, 8))) == [{"a": (1, 2), "b": None}]


AT = "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running {} node. Name:'{}' Status Message: {}"
BROADCAST = "Attempting to broadcast an axis by a dimension other than 1. 2 by 3"
WHERE = "/src/core/element_wise_ops.h:563 void onnxruntime::BroadcastIterator::Init(ptrdiff_t, ptrdiff_t)"
NO_OP = 'This is an invalid model. In Node, ("c", Gurke, "", -1) : ("x": tensor(float),) -> ("y": ,) , Error No Op'


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        (
            AT.format("Add", "a", f"{WHERE} axis == 1 || axis == largest was false. {BROADCAST}"),
            f"at Add 'a': {BROADCAST}",
        ),
        (AT.format("MatMul", "", "matmul_helper.h:59 Compute mismatch"), "at MatMul '': mismatch"),
        (AT.format("Gather", "g", "idx=9 is outside"), "at Gather 'g': idx=9 is outside"),
        (f"[ONNXRuntimeError] : 10 : INVALID_GRAPH : {NO_OP} registered", "at Gurke 'c': No Op registered"),
        ("Type Error: Type (tensor(int64)) of y", "Type Error: Type (tensor(int64)) of y"),
    ],
)
def test_what_the_runtime_says_is_told_without_its_source(said: str, plain: str) -> None:
    assert plain_words(said) == plain


def test_a_model_that_cannot_be_run_names_the_node() -> None:
    text = parse_model(
        "opset 17\ngraph(%x: float32[a], %z: float32[b]) -> (%y: float32[c]) {\n%y = Add(%x, %z) @add\n}"
    )
    session = open_session(text)
    with pytest.raises(ExecutionError, match=r"at Add 'add': Attempting to broadcast") as caught:
        session.run({"x": np.zeros(2, np.float32), "z": np.zeros(3, np.float32)})
    assert "was false" not in str(caught.value)


def test_a_fault_tells_the_seed_of_the_inputs_that_show_it() -> None:
    """Abs in the place of Relu shows only where x is negative, which uniform draws (odd seeds) never are."""
    text = parse_model("opset 17\ngraph(%x: float32[1]) -> (%y: float32[1]) {\n%y = Relu(%x) @act\n}")
    start = text.journal.position
    text.graph.node("act").set_op("Abs")
    (fault,) = prove(text, start, text.journal.position).faults
    specs, _ = fitting_inputs(text, start, text.journal.position, open_session(text))
    assert draw(specs, fault.seed)["x"][0] < 0
    assert all(draw(specs, seed)["x"][0] >= 0 for seed in range(fault.seed))
