"""Groups of nodes that are refused for what they stand behind, and their like that is not."""

from __future__ import annotations

import pytest

from irkit import parse_model
from irkit.checks.patterns import memberships
from irkit.linter import Subject
from irkit.target import load_target

CONV = "%c = Conv(%x, %w) {kernel_shape=[1,1]} @conv\n"
CONSTANTS = """
  %w: float32[8,8,1,1] = random(seed=1)
  %zero: int64[1] = [0]
  %one: int64[1] = [1]
  %two: int64[1] = [2]
  %four: int64[1] = [4]
"""


def members(body: str, constants: str = "", shape: str = "1,8,4,4") -> dict[str, str]:
    """The patterns of the nodes behind `%x`, by name of the node; a feature map of this shape."""
    text = f"graph(%x: float32[{shape}]) -> (%y) {{ {CONSTANTS} {constants}\n{body} }}"
    subject = Subject(parse_model(text), load_target("hailo8"))
    return {node.name: name for node, name in memberships(subject).items()}


def of(name: str, found: dict[str, str]) -> set[str]:
    return {node for node, pattern in found.items() if pattern == name}


FLAT = "%flat: int64[3] = [1, 8, 16]\n%pairs: int64[4] = [1, 4, 2, 16]\n"


def test_a_map_that_is_flattened_at_the_end() -> None:
    body = CONV + "%f = Reshape(%c, %flat) @flatten\n%y = Reshape(%f, %pairs) @pairs\n"
    assert of("flattened-tail", members(body, FLAT)) == {"flatten", "pairs"}


@pytest.mark.parametrize(
    ("body", "constants", "shape"),
    [
        pytest.param(
            CONV + "%f = Reshape(%c, %flat) @flatten\n%t = Transpose(%f) {perm=[0,2,1]} @t\n%y = MatMul(%t, %d) @d\n",
            FLAT + "%d: float32[8,64] = random(seed=2)\n", "1,8,4,4", id="a layer follows",
        ),
        pytest.param(
            CONV + "%p = GlobalAveragePool(%c) @pool\n%y = Flatten(%p) @flatten\n", "", "1,8,4,4", id="of one pixel",
        ),
        pytest.param("%y = Reshape(%x, %flat) @flatten\n", FLAT, "1,8,4,4", id="of an input"),
        pytest.param(
            CONV + "%y = Reshape(%c, %pairs) @regroup\n", "%pairs: int64[5] = [1, 2, 4, 4, 4]\n", "1,8,4,4",
            id="of channels only",
        ),
    ],
)  # fmt: skip
def test_what_is_no_flattened_tail(body: str, constants: str, shape: str) -> None:
    assert of("flattened-tail", members(body, constants, shape)) == set()


BINS = "%bins: int64[4] = [1, 2, 4, 16]\n%numbers: float32[1,4,1,1] = iota\n%dense: float32[4,4,1,1] = random(seed=3)\n"
DISTRIBUTION = CONV + (
    "%b = Reshape(%c, %bins) @bins\n%t = Transpose(%b) {perm=[0,2,1,3]} @turn\n"
    "%s = Softmax(%t) {axis=1} @softmax\n%y = Conv(%s, %numbers) {kernel_shape=[1,1]} @mean\n"
)


def test_the_mean_of_a_distribution_over_bins() -> None:
    assert of("box-distribution", members(DISTRIBUTION, BINS)) == {"bins", "turn"}


def test_a_convolution_with_more_outputs_or_without_a_softmax_is_none() -> None:
    assert of("box-distribution", members(DISTRIBUTION.replace("%numbers", "%dense"), BINS)) == set()
    assert of("box-distribution", members(DISTRIBUTION.replace("Softmax", "LogSoftmax"), BINS)) == set()


def test_a_mean_over_disparities_is_none() -> None:
    """Of a cost volume whose axis of 1 is dropped before the softmax: StereoNet, which is compiled whole."""
    body = (
        "%v = Reshape(%x, %map) @drop\n%s = Softmax(%v) {axis=1} @soft\n%y = Conv(%s, %n) {kernel_shape=[1,1]} @mean\n"
    )
    constants = "%map: int64[4] = [1, 8, 4, 4]\n%n: float32[1,8,1,1] = iota\n"
    assert of("box-distribution", members(body, constants, "1,1,8,4,4")) == set()


UNFOLD = (
    "%a = Slice(%x, %zero, %two, %two) @a\n%b = Slice(%x, %two, %four, %two) @b\n"
    "%at = Transpose(%a) {perm=[0,1,3,2]} @at\n%bt = Transpose(%b) {perm=[0,1,3,2]} @bt\n"
    "%au = Unsqueeze(%at, %two) @au\n%bu = Unsqueeze(%bt, %two) @bu\n%y = Concat(%au, %bu) {axis=2} @join\n"
)


def test_an_unfold_written_with_slices() -> None:
    assert of("unfold", members(UNFOLD)) == {"at", "bt", "au", "bu"}


def test_pieces_of_two_tensors_are_no_unfold() -> None:
    two = "%z = Relu(%x) @relu\n" + UNFOLD.replace("Slice(%x, %two", "Slice(%z, %two")
    assert of("unfold", members(two)) == set()


def test_slices_joined_again_are_no_unfold() -> None:
    shift = UNFOLD.replace("%y = Concat(%au, %bu)", "%y = Concat(%a, %b)")
    stack = UNFOLD.replace("Unsqueeze(%at", "Unsqueeze(%a").replace("Unsqueeze(%bt", "Unsqueeze(%b")
    assert of("unfold", members(stack)) == set()
    assert of("unfold", members(shift)) == set()


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (CONV + "%y = Softmax(%c) {axis=3} @soft\n", {"soft"}),
        (CONV + "%y = Softmax(%c) {axis=1} @soft\n", set()),
        ("%y = Softmax(%x) {axis=3} @soft\n", set()),
        ("%k = MatMul(%x, %x) @scores\n%m = Mul(%k, %k) @scale\n%y = Softmax(%m) {axis=-1} @soft\n", set()),
    ],
)
def test_a_softmax_over_the_width_is_none_over_keys(body: str, found: set[str]) -> None:
    assert of("width-softmax", members(body)) == found


def test_what_takes_the_directions_of_a_recurrent_layer_apart() -> None:
    weights = "%u: float32[2,16,8] = random(seed=2)\n%r: float32[2,16,4] = random(seed=3)\n"
    body = (
        '%all = LSTM(%x, %u, %r) {direction="bidirectional", hidden_size=4} @lstm\n'
        "%f = Slice(%all, %zero, %one, %one) @forward\n%y = Slice(%f, %zero, %one, %zero) @first\n"
    )
    assert of("recurrent-direction", members(body, weights, "6,1,8")) == {"forward"}


def test_what_changes_the_layout_of_what_was_selected() -> None:
    body = CONV + "%f = Flatten(%c) @before\n%y, %i = TopK(%f, %two) @best\n"
    body = body.replace("%y, %i", "%best, %i") + "%y = Reshape(%best, %rows) @rows\n"
    found = members(body, "%rows: int64[3] = [1, 2, 1]\n")
    assert of("behind-selection", found) == {"rows"}


def test_a_selection_with_layers_behind_it_is_no_tail() -> None:
    weights = "%rows: int64[4] = [1, 2, 1, 1]\n%v: float32[64,2,1,1] = random(seed=4)\n"
    body = CONV + "%f = Flatten(%c) @before\n%best, %i = TopK(%f, %two) @best\n%r = Reshape(%best, %rows) @rows\n"
    assert of("behind-selection", members(body + "%y = Conv(%r, %v) {kernel_shape=[1,1]} @next\n", weights)) == set()
