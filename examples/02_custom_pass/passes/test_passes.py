"""What the three passes do to models as exporters write them, and what they leave alone."""

from __future__ import annotations

import re

import pytest
from hardswish_to_relu import HardswishToRelu
from make_models import HARDSWISH, MODELS, VOCABULARY, unfold_text
from split_wide_matmul import SplitWideMatMul
from unfold_to_space_to_depth import UnfoldToSpaceToDepth

import irkit
from irkit import testing

UNFOLDED = """
opset 17
graph(%x: float32[1,1,16,24]) -> (%y) {
  %conv: float32[8,64,1,1] = random(seed=1)
  %one: float32[1] = ones
  %zero: float32[1] = zeros
  %n = InstanceNormalization(%x, %one, %zero)
  %s = SpaceToDepth(%n) {blocksize=8}
  %y = Conv(%s, %conv) {kernel_shape=[1,1]}
}
"""

GATHERED = """
opset 20
graph(%x: float32[1,CHANNELS,4,6]) -> (%y) {
  %rows: int64[2,2] = [0, 1, 2, 3]
  %columns: int64[3,2] = [0, 1, 2, 3, 4, 5]
  %blocks: int64[5] = [1, CHANNELS, 2, 3, 4]
  %flat: int64[4] = [1, -1, 2, 3]
  %g = Gather(%x, %rows) {axis=2}
  %u = Transpose(%g) {perm=[0,1,2,4,3]}
  %h = Gather(%u, %columns) {axis=3}
  %v = Transpose(%h) {perm=[0,1,2,3,5,4]}
  %r = Reshape(%v, %blocks)
  %p = Transpose(%r) {perm=[0,1,4,2,3]}
  %y = Reshape(%p, %flat)
}
"""


def ops(model: irkit.Model) -> list[str]:
    return [node.op for node in model.walk()]


def test_every_hardswish_becomes_relu() -> None:
    testing.check_rewrite(HardswishToRelu, HARDSWISH, HARDSWISH.replace("HardSwish(", "Relu("), names=True)


def test_the_unfold_of_torchscript_is_one_space_to_depth() -> None:
    testing.check_rewrite(UnfoldToSpaceToDepth, unfold_text(16, 24), UNFOLDED)


def test_the_unfold_of_xfeat_is_one_space_to_depth() -> None:
    model = irkit.parse_model(MODELS["xfeat_unfold"])
    assert [ops(model).count(op) for op in ("Transpose", "Slice", "Unsqueeze")] == [71, 70, 70]
    irkit.run_passes(model, [UnfoldToSpaceToDepth()])  # which proves it
    assert ops(model) == ["InstanceNormalization", "SpaceToDepth", "Conv"]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_unfold_of_dynamo_keeps_the_order_of_channels(channels: int) -> None:
    text = GATHERED.replace("CHANNELS", str(channels))
    testing.check_rewrite(UnfoldToSpaceToDepth, text)
    model = irkit.parse_model(text)
    testing.run_pass(UnfoldToSpaceToDepth(), model)
    expected = ["SpaceToDepth"] if channels == 1 else ["Split", *["SpaceToDepth"] * channels, "Concat"]
    assert ops(model) == expected


def test_an_unfold_before_opset_13_is_split_by_an_attribute() -> None:
    text = unfold_text(16, 16, channels=2).replace("opset 17", "opset 12")
    text = re.sub(r"Unsqueeze\((%\w+), %k(\d+)\)", r"Unsqueeze(\1) {axes=[\2]}", text)
    testing.check_rewrite(UnfoldToSpaceToDepth, text)


def test_other_movements_are_left_and_told() -> None:
    swapped = GATHERED.replace("CHANNELS", "1").replace("[0, 1, 2, 3]", "[2, 3, 0, 1]")
    testing.check_unchanged(UnfoldToSpaceToDepth, swapped, refused="elements go elsewhere than SpaceToDepth puts them")
    many = GATHERED.replace("CHANNELS", "5")
    testing.check_unchanged(UnfoldToSpaceToDepth, many, refused="5 channels are more than 4")
    testing.check_unchanged(UnfoldToSpaceToDepth, "graph(%x: float32[N,1,4,4]) -> (%y) { %y = Transpose(%x) }")


def test_an_unfold_that_is_read_elsewhere_stays_for_its_readers() -> None:
    text = GATHERED.replace("CHANNELS", "1").replace("-> (%y)", "-> (%y, %u)")
    testing.check_rewrite(UnfoldToSpaceToDepth, text)


def test_a_wide_projection_is_split_in_four() -> None:
    model = irkit.parse_model(VOCABULARY)
    testing.check_rewrite(SplitWideMatMul(widest=256), VOCABULARY)
    testing.run_pass(SplitWideMatMul(widest=256), model)
    assert ops(model) == ["MatMul", "Relu", *["MatMul"] * 4, "Concat"]
    widths = [node.output.shape[-1] for node in model.walk() if node.op == "MatMul"][1:]
    assert widths == [250, 250, 250, 250]


@pytest.mark.parametrize(("widest", "parts", "pieces"), [(200, 4, 5), (999, 2, 2), (500, 3, 3)])
def test_no_piece_is_too_wide(widest: int, parts: int, pieces: int) -> None:
    model = irkit.parse_model(VOCABULARY)
    testing.run_pass(SplitWideMatMul(widest=widest, parts=parts), model)
    found = [node.output.shape[-1] for node in model.walk() if node.op == "MatMul"][1:]
    assert (len(found), sum(found)) == (pieces, 1000)
    assert max(found) <= widest


@pytest.mark.parametrize("trans", [0, 1])
@pytest.mark.parametrize("bias", ["", "%b: float32[300] = random(seed=3)", "%b: float32[1] = [0.5]"])
def test_a_gemm_is_split_with_its_bias(trans: int, bias: str) -> None:
    shape = "300,16" if trans else "16,300"
    text = f"""graph(%x: float32[2,16]) -> (%y) {{
      %w: float32[{shape}] = random(seed=1)
      {bias}
      %y = Gemm(%x, %w{", %b" if bias else ""}) {{transB={trans}, alpha=0.5, beta=2.0}} @fc
    }}"""
    testing.check_rewrite(SplitWideMatMul(widest=100), text)
    model = irkit.parse_model(text)
    testing.run_pass(SplitWideMatMul(widest=100), model)
    assert ops(model) == ["Gemm"] * 4 + ["Concat"]


def test_what_is_narrow_or_not_constant_is_left() -> None:
    testing.check_unchanged(SplitWideMatMul(), VOCABULARY, refused="it is narrow enough")
    text = "graph(%x: float32[2,16], %w: float32[16,300]) -> (%y) { %y = MatMul(%x, %w) }"
    testing.check_unchanged(SplitWideMatMul(widest=100), text)
