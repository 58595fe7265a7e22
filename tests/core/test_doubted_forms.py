"""Forms that no network shows which compiles: lint doubts each of them, and says nothing of its near miss."""

from __future__ import annotations

import pytest

from irkit import Severity, parse_model
from irkit.linting import lint

MAP = "%x: float32[1,4,8,8]"
LARGE = "%x: float32[1,4,64,64]"
TOKENS = "%x: float32[1,6,16]"
ROWS = "%x: float32[1,4,1,1]"
STEM = "  %k: float32[4,4,1,1] = random(seed=9)\n  %c = Conv(%x, %k) {kernel_shape=[1,1]} @stem\n"
W3 = "  %w: float32[4,4,3,3] = random(seed=1)\n"
W2 = "  %w: float32[4,4,2,2] = random(seed=1)\n"


def codes(inputs: str, body: str) -> set[str]:
    """The codes of warnings and errors at node `n`."""
    model = parse_model(f"opset 17\ngraph({inputs}) -> (%y) {{\n{body}\n}}")
    found = lint(model, "hailo8").findings
    return {one.code for one in found if one.node == "n" and one.severity >= Severity.WARNING}


def conv(attributes: str) -> str:
    return f"{W3}  %y = Conv(%x, %w) {{kernel_shape=[3,3], {attributes}}} @n"


def up(attributes: str) -> str:
    return f"{W2}  %y = ConvTranspose(%x, %w) {{kernel_shape=[2,2], {attributes}}} @n"


def pool(op: str, attributes: str) -> str:
    return f"{STEM}  %y = {op}(%c) {{{attributes}}} @n"


def padded(pads: str) -> str:
    return f"{STEM}  %p: int64[8] = {pads}\n  %y = Pad(%c, %p) @n"


def joined(other: str) -> str:
    return f"{STEM}  %zeros: float32[1,4,8,8] = zeros\n  %r = Relu(%c) @relu\n  %y = Concat(%c, %{other}) {{axis=1}} @n"


def times(op: str, shape: str) -> tuple[str, str]:
    return f"{MAP}, %z: float32[{shape}]", f"{STEM}  %r = Relu(%z) @relu\n  %y = {op}(%c, %r) @n"


def dense(input_shape: str, weight: str) -> tuple[str, str]:
    return f"%x: float32[{input_shape}]", f"  %w: float32[{weight}] = random(seed=1)\n  %y = MatMul(%x, %w) @n"


def widened(columns: str) -> tuple[str, str]:
    weight = "  %w: float32[256,4,1,1] = splat(0.5)\n  %c = Conv(%x, %w) {kernel_shape=[1,1]} @conv\n"
    return f"%x: float32[1,4,1,{columns}]", f"{weight}  %y = Relu(%c) @n"


@pytest.mark.parametrize(
    ("code", "doubted", "known"),
    [
        ("HAI106", (MAP, conv("dilations=[2,2], strides=[2,2]")), (MAP, conv("dilations=[2,2]"))),
        ("HAI106", (MAP, conv("dilations=[2,1]")), (MAP, conv("dilations=[2,2]"))),
        ("HAI106", (MAP, conv('auto_pad="SAME_UPPER"')), (MAP, conv('auto_pad="NOTSET"'))),
        ("HAI106", (MAP, up("strides=[2,1]")), (MAP, up("strides=[2,2]"))),
        ("HAI106", (MAP, up('strides=[2,2], auto_pad="SAME_UPPER"')), (MAP, up("strides=[2,2]"))),
        ("HAI106", ("%x: float32[1,4,32,32]", pool("MaxPool", "kernel_shape=[15,15]")),
         ("%x: float32[1,4,32,32]", pool("MaxPool", "kernel_shape=[13,13]"))),
        ("HAI106", (MAP, pool("AveragePool", "kernel_shape=[3,3], ceil_mode=1")),
         (MAP, pool("AveragePool", "kernel_shape=[3,3]"))),
        ("HAI106", (MAP, pool("HardSigmoid", "alpha=0.25")), (MAP, pool("HardSigmoid", "alpha=0.16666667"))),
        ("HAI106", (MAP, padded("[0,0,-1,0,0,0,0,0]")), (MAP, padded("[0,0,1,0,0,0,0,0]"))),
        ("HAI106", (MAP, joined("zeros")), (MAP, joined("r"))),
        ("HAI103", ("%x: float32[1,4]", "  %r = Relu(%x) @r\n  %y = Concat(%x, %r) {axis=1} @n"), (MAP, joined("r"))),
        ("HAI129", times("Mul", "1,4,1,8"), times("Mul", "1,4,8,8")),
        ("HAI129", times("Div", "1,4,1,1"), times("Div", "1,4,8,8")),
        ("HAI129", (f"{TOKENS}, %z: float32[1,1,16]", "  %r = Relu(%z) @r\n  %y = Add(%x, %r) @n"),
         (f"{TOKENS}, %z: float32[1,6,16]", "  %r = Relu(%z) @r\n  %y = Add(%x, %r) @n")),
        ("HAI126", dense("1,16", "16,4"), dense("1,6,16", "16,4")),
        ("HAI126", dense("1,6,2,16", "1,6,16,4"), dense("1,6,2,16", "16,4")),
        ("HAI126", (MAP, f"{STEM}  %w: float32[8,4] = random(seed=1)\n  %y = MatMul(%c, %w) @n"),
         dense("1,6,2,16", "16,4")),
        ("HAI126", ("%x: float32[1,4,6,8], %z: float32[1,1,8,6]", "  %y = MatMul(%x, %z) @n"), dense("1,6,16", "16,4")),
        ("HAI133", ("%x: float32[1,6,16]", "  %a, %b = Split(%x) {axis=2} @n\n  %y = Add(%a, %b) @add"),
         (MAP, f"{STEM}  %a, %b = Split(%c) {{axis=1}} @n\n  %y = Add(%a, %b) @add")),
        ("HAI203", (ROWS, f"{STEM}  %y = Flatten(%c) {{axis=1}} @n"),
         (MAP, f"{STEM}  %g = GlobalAveragePool(%c) @g\n  %y = Flatten(%g) {{axis=1}} @n")),
        ("HAI408", (LARGE, conv("strides=[20,20]")), (LARGE, conv("strides=[2,2]"))),
        ("HAI403", ("%x: float32[1,51200]", "  %w: float32[51200,512] = splat(0.5)\n  %y = Gemm(%x, %w) @n"),
         ("%x: float32[1,5120]", "  %w: float32[5120,512] = splat(0.5)\n  %y = Gemm(%x, %w) @n")),
        ("HAI411", widened("2000"), widened("1000")),
        ("HAI413", ("%x: float32[1,4,8,4000], %z: float32[1,4,4000,8]", "  %y = MatMul(%x, %z) @n"),
         ("%x: float32[1,4,8,400], %z: float32[1,4,400,8]", "  %y = MatMul(%x, %z) @n")),
    ],
)  # fmt: skip
def test_a_form_is_doubted_and_its_near_miss_is_not(
    code: str, doubted: tuple[str, str], known: tuple[str, str]
) -> None:
    assert code in codes(*doubted)
    assert code not in codes(*known)


def test_as_many_scores_as_were_refused_are_an_error() -> None:
    graph = """graph(%q: float32[1,12,3601,64], %k: float32[1,12,64,3601]) -> (%y) {
      %s = MatMul(%q, %k) @scores  %y = Softmax(%s) {axis=-1} @softmax }"""
    found = [one for one in lint(parse_model(graph), "hailo8").findings if one.code == "HAI413" and one.op == "Softmax"]
    assert [one.severity for one in found] == [Severity.ERROR]
