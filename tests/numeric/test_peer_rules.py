"""Rules that peers ship, as irkit rules: in no more lines than there, with the same or a better result.

Where a peer is installed, its own rule is run on the same models. TI's optimizer is no package; its results are those
its source says: how many nodes it makes of each model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import irkit
from irkit import Model, Rule, parse_model
from irkit.testing import different, run_pass
from irkit.verifier import verify
from tests.numeric import peer_rules as rules

TI = "TexasInstruments/edgeai-tidl-tools scripts/osrt_model_tools/onnx_tools/tidl-onnx-model-optimizer"
SCRIPT = "onnxscript 0.7.2 rewriter/rules/common"
SLIM = "OnnxSlim 0.1.98 onnxslim/core/pattern"


@dataclass(frozen=True)
class Peer:
    """A rule and where it comes from.

    Attributes: `where` is the peer's file, `lines` how long its rule is there with what only it uses (from `def` or
    `class` to the end); `models` are inputs with the operators irkit makes of them; `theirs` names the peer's own rule,
    `nodes` how many nodes the peer makes of each model where it cannot be run.
    """

    rule: type[Rule]
    where: str
    lines: int
    models: tuple[tuple[str, str], ...]
    theirs: str = ""
    nodes: tuple[int, ...] = ()


def graph(nodes: str, inputs: str = "%x: float32[2,6]", constants: str = "", outputs: str = "%y") -> str:
    return f"opset 18 graph({inputs}) -> ({outputs}) {{ {constants} {nodes} }}"


IMAGE = "%x: float32[1,4,9,9]"
KERNEL = "%w: float32[4,4,3,3] = random(seed=1)"
BIAS = "%b: float32[4] = random(seed=2)"
ROW = "%c: float32[1,4,1,1] = random(seed=3, low=0.5, high=2)"


def constants(**values: str) -> str:
    return " ".join(f"%{name}: {value}" for name, value in values.items())


PEERS = (
    Peer(rules.SqueezeReshape, f"{SCRIPT}/_basic_rules.py", 21, (
        (graph("%s = Squeeze(%x) %r = Reshape(%s, %k) %y = Relu(%r)", "%x: float32[5]", "%k: int64[1] = [-1]"), "Relu"),
    ), "_basic_rules.squeeze_reshape_1d_rule"),
    Peer(rules.CastIdentity, f"{SCRIPT}/_basic_rules.py", 14, (
        (graph("%s = Cast(%x) {to=1} %y = Relu(%s)"), "Relu"),
        (graph("%s = Cast(%x) {to=10} %y = Relu(%s)"), "Cast Relu"),
    ), "_basic_rules.no_op_cast_rule"),
    Peer(rules.CastCast, f"{SCRIPT}/_basic_rules.py", 31, (
        (graph("%s = Cast(%x) {to=1} %r = Cast(%s) {to=10} %y = Relu(%r)", "%x: int32[2,6]"), "Cast Relu"),
        (graph("%s = Cast(%x) {to=10} %r = Cast(%s) {to=1} %y = Relu(%r)"), "Cast Cast Relu"),
    ), "_basic_rules.cast_cast_rule"),
    Peer(rules.ExpandIdentity, f"{SCRIPT}/_basic_rules.py", 22, (
        (graph("%e = Expand(%x, %s) %y = Relu(%e)", constants="%s: int64[2] = [2, 6]"), "Relu"),
        (graph("%e = Expand(%x, %s) %y = Relu(%e)", constants="%s: int64[1] = [1]"), "Relu"),  # theirs leaves it
        (graph("%e = Expand(%x, %s) %y = Relu(%e)", constants="%s: int64[3] = [3, 1, 1]"), "Expand Relu"),
    ), "_basic_rules.no_op_expand_rule"),
    Peer(rules.ReshapeReshape, f"{SCRIPT}/_basic_rules.py", 43, (
        (graph("%a = Reshape(%x, %s) %b = Reshape(%a, %t) %y = Relu(%b)",
               constants="%s: int64[1] = [-1] %t: int64[2] = [3, 4]"), "Reshape Relu"),
        (graph("%a = Reshape(%x, %s) %b = Reshape(%a, %t) %y = Relu(%b)", "%x: float32[N,6]",
               constants="%s: int64[1] = [-1] %t: int64[2] = [-1, 3]"), "Reshape Relu"),
    ), "_basic_rules.reshape_reshape_rule"),
    Peer(rules.SlicesSplit, f"{SCRIPT}/_basic_rules.py", 55, (
        (graph("%a = Slice(%x, %o, %m, %i) %b = Slice(%x, %m, %e, %i) %y = Mul(%a, %b)",
               constants="%o: int64[1] = [0] %m: int64[1] = [3] %e: int64[1] = [6] %i: int64[1] = [1]"), "Split Mul"),
    ), "_basic_rules.slice_split_rule"),
    Peer(rules.TransposeIdentity, f"{SCRIPT}/_basic_rules.py", 20, (
        (graph("%t = Transpose(%x) {perm=[0,1]} %y = Relu(%t)"), "Relu"),
        (graph("%t = Transpose(%x) {perm=[1,0]} %y = Relu(%t)"), "Transpose Relu"),
    ), "_basic_rules.no_op_transpose_rule"),
    Peer(rules.TransposeTranspose, f"{SCRIPT}/_basic_rules.py", 36, (
        (graph("%t = Transpose(%x) {perm=[1,2,0]} %u = Transpose(%t) {perm=[1,2,0]} %y = Relu(%u)",
               "%x: float32[2,3,4]"), "Transpose Relu"),
        (graph("%t = Transpose(%x) {perm=[1,2,0]} %u = Transpose(%t) {perm=[2,0,1]} %y = Relu(%u)",
               "%x: float32[2,3,4]"), "Relu"),
    ), "_basic_rules.transpose_transpose_rule"),
    Peer(rules.UnsqueezeUnsqueeze, f"{SCRIPT}/_basic_rules.py", 24, (
        (graph("%t = Unsqueeze(%x, %i) %u = Unsqueeze(%t, %j) %y = Relu(%u)",
               constants="%i: int64[1] = [1] %j: int64[1] = [0]"), "Unsqueeze Relu"),
        (graph("%t = Unsqueeze(%x, %i) %u = Unsqueeze(%t, %j) %y = Relu(%u)",
               constants="%i: int64[1] = [0] %j: int64[1] = [3]"), "Unsqueeze Relu"),
    ), "_basic_rules.unsqueeze_unsqueeze_rule"),
    Peer(rules.Flatten2Reshape, f"{SCRIPT}/_basic_rules.py", 47, (
        (graph("%f = Flatten(%x) %y = Relu(%f)", "%x: float32[2,3,4]"), "Reshape Relu"),
        (graph("%f = Flatten(%x) {axis=-1} %y = Relu(%f)", "%x: float32[2,3,4]"), "Reshape Relu"),
        (graph("%f = Flatten(%x) %y = Relu(%f)", "%x: float32[N,3,4]"), "Reshape Relu"),
    ), "_basic_rules.flatten_to_reshape_rule"),
    Peer(rules.MatMulAddToGemm, f"{SCRIPT}/_matmul_add_to_gemm.py", 53, (
        (graph("%m = MatMul(%x, %w) %y = Add(%m, %b)", constants="%w: float32[6,3] = random(seed=1) \
%b: float32[3] = random(seed=2)"), "Gemm"),
        (graph("%t = Transpose(%w) {perm=[1,0]} %m = MatMul(%x, %t) %y = Add(%b, %m)", "%x: float32[2,6], \
%w: float32[3,6]", "%b: float32[3] = random(seed=2)"), "Gemm"),
        (graph("%s = Transpose(%x) {perm=[1,0]} %t = Transpose(%w) {perm=[1,0]} %m = MatMul(%s, %t) %y = Add(%m, %b)",
               "%x: float32[6,2], %w: float32[3,6]", "%b: float32[3] = random(seed=2)"), "Gemm"),
    ), "_matmul_add_to_gemm.rules"),
    Peer(rules.HardSwishFusion, f"{SCRIPT}/_fuse_hardswish.py", 53, (
        (graph("%a = Add(%x, %k) %c = Clip(%a, %o, %s) %m = Mul(%c, %x) %y = Div(%m, %s)",
               constants="%k: float32[] = 3.0 %o: float32[] = 0.0 %s: float32[] = 6.0"), "HardSwish"),
        (graph("%a = Add(%k, %x) %c = Clip(%a, %o, %s) %m = Mul(%x, %c) %y = Div(%m, %s)",
               constants="%k: float32[] = 3.0 %o: float32[] = 0.0 %s: float32[] = 6.0"), "HardSwish"),
    ), "_fuse_hardswish.fuse_hardswish_rules()"),
    Peer(rules.HardSwishFusionFromHardSigmoid, f"{SCRIPT}/_fuse_hardswish.py", 27, (
        (graph("%h = HardSigmoid(%x) {alpha=0.16666667, beta=0.5} %y = Mul(%h, %x)"), "HardSwish"),
        (graph("%h = HardSigmoid(%x) {alpha=0.2, beta=0.5} %y = Mul(%h, %x)"), "HardSigmoid Mul"),
    ), "_fuse_hardswish.fuse_hardswish_rules()"),
    Peer(rules.FuseSuccessiveRelu, f"{SCRIPT}/_fuse_relus_clips.py", 8, (
        (graph("%a = Relu(%x) %b = Relu(%a) %y = Relu(%b)"), "Relu"),
    ), "_fuse_relus_clips.successive_relu_rule"),
    Peer(rules.FuseMinMaxToClip, f"{SCRIPT}/_min_max_to_clip.py", 112, (
        (graph("%a = Max(%x, %o) %y = Min(%a, %s)", constants="%o: float32[] = 0.0 %s: float32[] = 6.0"), "Clip"),
        (graph("%a = Max(%x, %o, %i) %y = Min(%a, %s)",
               constants="%o: float32[] = 0.0 %i: float32[] = -1.0 %s: float32[] = 6.0"), "Clip"),
    ), "_min_max_to_clip.rules"),
    Peer(rules.RemoveOptionalBias, f"{SCRIPT}/_remove_optional_bias.py", 41, (
        (graph("%h = Conv(%x, %w, %z) %y = Relu(%h)", IMAGE, f"{KERNEL} %z: float32[4] = splat(0)"), "Conv Relu"),
        (graph("%y = Gemm(%x, %w, %z)", constants="%w: float32[6,3] = random(seed=1) %z: float32[3] = splat(0)"),
         "Gemm"),
    ), "_remove_optional_bias.rules"),
    Peer(rules.CollapseSlice, f"{SCRIPT}/_collapse_slices.py", 73, (
        (graph("%s = Slice(%x, %o, %e, %i, %p) %y = Relu(%s)", constants="%o: int64[1] = [0] %e: int64[1] = [9] \
%i: int64[1] = [1] %p: int64[1] = [1]"), "Relu"),
        (graph("%s = Slice(%x, %o, %e, %i, %p) %y = Relu(%s)", constants="%o: int64[1] = [-1] %e: int64[1] = [-9] \
%i: int64[1] = [1] %p: int64[1] = [-1]"), "Slice Relu"),
    ), "_collapse_slices.rules"),
    Peer(rules.CastConstantOfShape, f"{SCRIPT}/_cast_constant_of_shape.py", 14, (
        (graph("%c = ConstantOfShape(%x) {value=int64[1] [3]} %y = Cast(%c) {to=1}", "%x: int64[2]"),
         "ConstantOfShape"),
        (graph("%c = ConstantOfShape(%x) %y = Cast(%c) {to=7}", "%x: int64[2]"), "ConstantOfShape"),
    ), "_cast_constant_of_shape.rules"),
    Peer(rules.ConvAdd, f"{SLIM}/fusion/convadd.py", 68, (
        (graph("%h = Conv(%x, %w, %b) %a = Add(%h, %c) %y = Relu(%a)", IMAGE, f"{KERNEL} {BIAS} {ROW}"), "Conv Relu"),
        (graph("%h = Conv(%x, %w) %a = Add(%c, %h) %y = Relu(%a)", IMAGE, f"{KERNEL} {ROW}"), "Conv Relu"),
        (graph("%h = Conv(%x, %w) %a = Add(%h, %c) %y = Relu(%a)", IMAGE,
               f"{KERNEL} %c: float32[1,1,7,7] = random(seed=3)"), "Conv Add Relu"),
    ), "slim"),
    Peer(rules.ConvMul, f"{SLIM}/fusion/convmul.py", 58, (
        (graph("%h = Conv(%x, %w, %b) %a = Mul(%h, %c) %y = Relu(%a)", IMAGE, f"{KERNEL} {BIAS} {ROW}"), "Conv Relu"),
    ), "slim"),
    Peer(rules.PadConv, f"{SLIM}/fusion/padconv.py", 92, (
        (graph("%p = Pad(%x, %a) %h = Conv(%p, %w, %b) {pads=[1,0,0,1]} %y = Relu(%h)", IMAGE,
               f"{KERNEL} {BIAS} %a: int64[8] = [0,0,1,2,0,0,3,4]"), "Conv Relu"),
        (graph("%p = Pad(%x, %a) {mode=\"reflect\"} %h = Conv(%p, %w, %b) %y = Relu(%h)", IMAGE,
               f"{KERNEL} {BIAS} %a: int64[8] = [0,0,1,1,0,0,1,1]"), "Pad Conv Relu"),
    ), "slim"),
    Peer(rules.ConcatConcat, f"{SLIM}/elimination/concat.py", 55, (
        (graph("%a = Concat(%x, %z) {axis=1} %b = Concat(%z, %a, %x) {axis=1} %y = Relu(%b)",
               "%x: float32[2,6], %z: float32[2,3]"), "Concat Relu"),
        (graph("%a = Concat(%x, %x) {axis=0} %b = Concat(%a, %a) {axis=1} %y = Relu(%b)"), "Concat Concat Relu"),
    ), "slim"),
    Peer(rules.GatherToSlice, f"{TI}/src/gather.py", 50, (
        (graph("%g = Gather(%x, %i) {axis=1} %y = Relu(%g)", "%x: float32[2,6,3]", "%i: int64[] = 4"),
         "Slice Reshape Relu"),
        (graph("%g = Gather(%x, %i) {axis=1} %y = Relu(%g)", "%x: float32[2,6,3]", "%i: int64[] = -1"),
         "Slice Reshape Relu"),
    ), nodes=(3, 3)),
    Peer(rules.MaxPoolToCascade, f"{TI}/src/maxpool.py", 45, (
        (graph("%y = MaxPool(%x) {kernel_shape=[7,7], pads=[3,3,3,3], strides=[1,1]}", IMAGE),
         "MaxPool MaxPool MaxPool"),
        (graph("%y = MaxPool(%x) {kernel_shape=[5,5], pads=[2,2,2,2], strides=[2,2]}", IMAGE), "MaxPool"),
    ), nodes=(3, 2)),
    Peer(rules.GemmToMatMul, f"{TI}/src/gemm.py", 62, (
        (graph("%y = Gemm(%x, %w, %b) {transB=1}", constants="%w: float32[3,6] = random(seed=1) \
%b: float32[3] = random(seed=2)"), "MatMul Add"),
        (graph("%y = Gemm(%x, %w)", constants="%w: float32[6,3] = random(seed=1)"), "MatMul"),
        (graph("%y = Gemm(%x, %w) {alpha=2.0}", constants="%w: float32[6,3] = random(seed=1)"), "Gemm"),
    ), nodes=(2, 1, 1)),
    Peer(rules.LargeAveragePoolToMatMul, f"{TI}/src/global_avg_pool.py", 64, (
        (graph("%y = GlobalAveragePool(%x)", "%x: float32[1,3,32,40]"), "Reshape MatMul Reshape"),
        (graph("%y = GlobalAveragePool(%x)", IMAGE), "GlobalAveragePool"),
    ), nodes=(3, 1)),
    Peer(rules.UnsqueezeToReshape, f"{TI}/src/unsqueeze.py", 37, (
        (graph("%u = Unsqueeze(%x, %i) %y = Relu(%u)", constants="%i: int64[2] = [-1, 0]"), "Reshape Relu"),
    ), nodes=(2,)),
    Peer(rules.NegToMul, f"{TI.replace('-', '_')}/src/neg.py", 14, (
        (graph("%n = Neg(%x) %y = Relu(%n)"), "Mul Relu"),
    ), nodes=(2,)),
)  # fmt: skip

CASES = [(peer, index) for peer in PEERS for index in range(len(peer.models))]


def label(case: object) -> str:
    return case.rule.__name__ if isinstance(case, Peer) else str(case)


def ops(model: Model) -> list[str]:
    return [node.op for node in model.graph]


@pytest.mark.parametrize(("peer", "index"), CASES, ids=label)
def test_a_rule_of_a_peer_gives_what_it_is_meant_to(peer: Peer, index: int) -> None:
    text, expected = peer.models[index]
    model = parse_model(text)
    run_pass([peer.rule], model)
    verify(model)
    assert " ".join(ops(model)) == expected
    assert different(parse_model(text), model) == ""


@pytest.mark.parametrize("peer", PEERS, ids=label)
def test_a_rule_is_no_longer_than_the_peers(peer: Peer) -> None:
    source = inspect.getsource(peer.rule).rstrip().splitlines()
    assert len(source) <= peer.lines


def test_there_are_rules_of_all_three_peers() -> None:
    kinds = [peer.where.split()[0] for peer in PEERS]
    assert len(PEERS) >= 12
    assert {kind for kind in kinds if kinds.count(kind) >= 4} == {TI.split()[0], "onnxscript", "OnnxSlim"}


def by_onnxscript(model: Model, name: str) -> int:
    """How many nodes onnxscript's own rule leaves, Identities of outputs aside."""
    ir = pytest.importorskip("onnx_ir")
    module, _, attribute = name.partition(".")
    found: Any = pytest.importorskip(f"onnxscript.rewriter.rules.common.{module}")
    made = getattr(found, attribute.removesuffix("()"))
    rule: Any = made() if attribute.endswith("()") else made
    theirs = ir.from_proto(irkit.to_proto(model))
    rule.apply_to_model(theirs)
    pytest.importorskip("onnxscript.optimizer").remove_unused_nodes(theirs)
    return sum(node.op_type not in ("Identity", "Constant") for node in theirs.graph)


def by_onnxslim(model: Model) -> int:
    """How many nodes OnnxSlim leaves, with all it does."""
    slim: Callable[..., Any] = pytest.importorskip("onnxslim").slim
    return sum(node.op_type != "Identity" for node in slim(irkit.to_proto(model)).graph.node)


@pytest.mark.parametrize(("peer", "index"), CASES, ids=label)
def test_the_result_is_as_good_as_the_peers(peer: Peer, index: int) -> None:
    text, expected = peer.models[index]
    model = parse_model(text)
    irkit.Inference.of(model).update()
    if peer.nodes:
        theirs = peer.nodes[index]
    else:
        theirs = by_onnxslim(model) if peer.theirs == "slim" else by_onnxscript(model, peer.theirs)
    assert len(expected.split()) <= theirs
