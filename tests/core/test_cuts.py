"""Where networks are cut: detection heads, tails that a host runs, and what is none."""

from __future__ import annotations

import pytest

from irkit import Finding, parse_model
from irkit.checks import ALL_RULES
from irkit.checks.cuts import ends_before
from irkit.checks.heads import advice_to_cut, heads
from irkit.linter import Subject, run_rules
from irkit.target import load_target

WEIGHTS = """
  %deep: float32[8,8,2,2] = random(seed=1)
  %w64: float32[64,8,1,1] = random(seed=2)
  %w6: float32[6,8,1,1] = random(seed=3)
  %w4: float32[4,8,1,1] = random(seed=4)
  %half: float32[] = 0.5
"""


def subject(body: str, outputs: str, constants: str = "") -> Subject:
    """A network of two scales, `%x` of 8x8 and `%small` of 4x4 pixels, with this behind them."""
    start = "%small = Conv(%x, %deep) {kernel_shape=[2,2], strides=[2,2]} @down"
    text = f"graph(%x: float32[1,8,8,8]) -> ({outputs}) {{ {WEIGHTS} {constants} {start}\n{body} }}"
    return Subject(parse_model(text), load_target("hailo8"))


def ends(found: Subject) -> list[list[str]]:
    return [[node.name for node in head.ends] for head in heads(found)]


def findings(found: Subject) -> list[Finding]:
    return run_rules(found.model, found.target, ALL_RULES).findings


def conv(name: str, source: str, weight: str) -> str:
    return f"%{name} = Conv(%{source}, %{weight}) {{kernel_shape=[1,1]}} @{name}\n"


FLAT64 = "%flat: int64[3] = [1, 64, -1]\n"
FLAT = "%flat: int64[3] = [1, 6, -1]\n"
YOLO8 = (
    conv("box1", "x", "w64") + conv("box2", "small", "w64")
    + "%f1 = Reshape(%box1, %flat) @f1\n%f2 = Reshape(%box2, %flat) @f2\n%all = Concat(%f1, %f2) {axis=2} @all\n"
    "%bins = Reshape(%all, %four) @bins\n%turned = Transpose(%bins) {perm=[0,2,1,3]} @turned\n"
    "%soft = Softmax(%turned) {axis=1} @soft\n%y = Conv(%soft, %numbers) {kernel_shape=[1,1]} @integral\n"
)  # fmt: skip
BINS = FLAT64 + "%four: int64[4] = [1, 4, 16, 80]\n%numbers: float32[1,16,1,1] = iota\n"


def test_a_head_ends_at_the_last_convolution_of_each_scale() -> None:
    """The convolution that turns bins to distances belongs to the head."""
    found = subject(YOLO8, "%y", BINS)
    assert ends(found) == [["box1", "box2"]]
    [head] = heads(found)
    assert {node.name for node in head.nodes} == {"f1", "f2", "all", "bins", "turned", "soft", "integral"}
    assert [node.name for node in head.flattening] == ["f1", "f2"]


def test_what_is_computed_elementwise_stays_on_the_chip() -> None:
    body = (
        conv("box1", "x", "w6") + conv("box2", "small", "w6")
        + "%s1 = Sigmoid(%box1) @score1\n%s2 = Sigmoid(%box2) @s2\n%m2 = Mul(%box2, %s2) @silu2\n"
        "%f1 = Reshape(%s1, %flat) @f1\n%f2 = Reshape(%m2, %flat) @f2\n%y = Concat(%f1, %f2) {axis=2} @all\n"
    )  # fmt: skip
    assert ends(subject(body, "%y", FLAT)) == [["score1", "silu2"]]


def test_a_grid_of_positions_is_added_on_the_host() -> None:
    """A constant with a number for each pixel is none of a layer."""
    grid = FLAT + "%grid: float32[1,1,8,8] = random(seed=7)\n"
    body = (
        conv("box1", "x", "w6") + conv("box2", "small", "w6") + "%g1 = Add(%box1, %grid) @grid1\n"
        "%f1 = Reshape(%g1, %flat) @f1\n%f2 = Reshape(%box2, %flat) @f2\n%y = Concat(%f1, %f2) {axis=2} @all\n"
    )
    assert ends(subject(body, "%y", grid)) == [["box1", "box2"]]


def test_channels_may_be_brought_to_the_back_first() -> None:
    rows = "%rows: int64[3] = [1, -1, 3]\n"
    body = (
        conv("box1", "x", "w6") + conv("box2", "small", "w6")
        + "%t1 = Transpose(%box1) {perm=[0,2,3,1]} @t1\n%t2 = Transpose(%box2) {perm=[0,2,3,1]} @t2\n"
        "%f1 = Reshape(%t1, %rows) @f1\n%f2 = Reshape(%t2, %rows) @f2\n%y = Concat(%f1, %f2) {axis=1} @all\n"
    )  # fmt: skip
    found = subject(body, "%y", rows)
    assert ends(found) == [["box1", "box2"]]
    assert [node.name for node in heads(found)[0].flattening] == ["t1", "t2"]


@pytest.mark.parametrize(
    ("body", "constants"),
    [
        pytest.param(
            conv("a", "x", "w6") + conv("b", "x", "w6")
            + "%f1 = Reshape(%a, %flat) @f1\n%f2 = Reshape(%b, %flat) @f2\n%y = Concat(%f1, %f2) {axis=2} @all\n",
            FLAT, id="maps of one size",
        ),
        pytest.param(
            conv("a", "x", "w6") + conv("b", "small", "w6")
            + "%f1 = Reshape(%a, %flat) @f1\n%f2 = Reshape(%b, %flat) @f2\n%all = Concat(%f1, %f2) {axis=2} @all\n"
            "%t = Transpose(%all) {perm=[0,2,1]} @t\n%y = MatMul(%t, %dense) @dense\n",
            FLAT + "%dense: float32[6,16] = random(seed=8)\n", id="tokens of two scales before a layer",
        ),
        pytest.param(
            conv("a", "x", "w6") + "%up = Resize(%small, _, %scales) {mode=\"nearest\"} @up\n"
            + conv("b", "up", "w6") + "%y = Concat(%a, %b) {axis=1} @all\n",
            "%scales: float32[4] = [1.0, 1.0, 2.0, 2.0]\n", id="channels of maps",
        ),
    ],
)  # fmt: skip
def test_what_is_no_head(body: str, constants: str) -> None:
    assert ends(subject(body, "%y", constants)) == []


def test_the_advice_names_every_output_of_the_chips_part() -> None:
    """The ends of the head, and what makes the outputs beside it."""
    found = subject(YOLO8 + conv("mask", "x", "w4"), "%y, %mask", BINS)
    told = [item for item in findings(found) if item.rule == "detection-head"]
    assert {item.node for item in told} == {"f1", "f2", "all"}
    for item in told:
        assert "irkit optimize --cut box1,box2,mask;" in item.advice


def test_a_node_of_a_head_that_is_refused_anyway_is_told_for_itself() -> None:
    tail = YOLO8.replace("%y = Conv", "%d = Conv") + "%y, %i = TopK(%d, %k) @best\n"
    found = subject(tail, "%y", BINS + "%k: int64[1] = [3]\n")
    [best] = [item for item in findings(found) if item.node == "best"]
    assert best.rule == "postprocessing-operator"
    assert "--cut box1,box2;" in best.advice


def test_nothing_is_cut_where_layers_follow() -> None:
    """A refused node in the middle of the network: to cut before it would leave the layers behind it to the host."""
    body = conv("a", "x", "w6") + "%r = Round(%a) @round\n%y = Conv(%r, %w2) {kernel_shape=[3,3]} @next\n"
    found = subject(body, "%y", "%w2: float32[8,6,3,3] = random(seed=9)\n")
    [node] = [node for node in found.nodes if node.name == "round"]
    assert advice_to_cut(found, node) == ""
    assert [end.name for end in ends_before(found, [node])] == ["a"]


def test_a_branch_that_starts_at_the_input_has_no_end() -> None:
    found = subject("%y = Add(%x, %half) @add", "%y")
    assert ends_before(found, list(found.nodes)) == ()
