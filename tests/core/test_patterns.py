"""Recognisers of patterns: the forms that exporters write of networks which Hailo compiles, and near misses."""

from __future__ import annotations

from functools import cache

import pytest

from irkit import Severity, parse_model
from irkit.checks import ALL_RULES
from irkit.checks.judge import verdicts
from irkit.checks.patterns import memberships
from irkit.linter import Subject, run_rules
from irkit.table import PATTERNS, Status
from irkit.target import Target, load_target


@cache
def hailo8() -> Target:
    return load_target("hailo8")


ATTENTION = """
graph(%x: float32[1,9,16]) -> (%y) {
  %w: float32[16,48] = random(seed=1)  %wo: float32[16,16] = random(seed=2)
  %split: int64[5] = [1, 9, 3, 4, 4]  %whole: int64[3] = [1, 9, 16]  %zero: int64[1] = [0]
  %one: int64[1] = [1]  %two: int64[1] = [2]  %three: int64[1] = [3]  %scale: float32[] = 0.5
  %qkv = MatMul(%x, %w) @linear
  %r = Reshape(%qkv, %split) @heads
  %t = Transpose(%r) {perm=[2,0,3,1,4]} @turn
  PARTS
  %q = Squeeze(%q5, %zero) @q  %k = Squeeze(%k5, %zero) @k  %v = Squeeze(%v5, %zero) @v
  %qs = Mul(%q, %scale) @scale
  %kt = Transpose(%k) {perm=[0,1,3,2]} @kt
  %s = MatMul(%qs, %kt) @scores
  %p = Softmax(%s) {axis=-1} @softmax
  %o = MatMul(%p, %v) @mix
  %b = Transpose(%o) {perm=[0,2,1,3]} @back
  %m = Reshape(%b, %whole) @merge
  %y = MatMul(%m, %wo) @out
}"""
"""Attention of timm's ViT; PARTS takes queries, keys and values apart."""

SPLIT = "%q5, %k5, %v5 = Split(%t) {axis=0} @parts"
SLICES = """%q5 = Slice(%t, %zero, %one, %zero) @p0  %k5 = Slice(%t, %one, %two, %zero) @p1
  %v5 = Slice(%t, %two, %three, %zero) @p2"""

HUGGING_FACE = """
graph(%x: float32[1,9,16], %mask: float32[1,1,9,9]) -> (%y) {
  %wq: float32[16,16] = random(seed=1)  %wk: float32[16,16] = random(seed=2)  %wv: float32[16,16] = random(seed=3)
  %heads: int64[4] = [1, 9, 4, 4]  %whole: int64[3] = [1, 9, 16]  %scale: float32[] = 2.0
  %q0 = MatMul(%x, %wq) @q0  %k0 = MatMul(%x, %wk) @k0  %v0 = MatMul(%x, %wv) @v0
  %q1 = Reshape(%q0, %heads) @q1  %k1 = Reshape(%k0, %heads) @k1  %v1 = Reshape(%v0, %heads) @v1
  EARLY
  %qt = Transpose(%q2) {perm=[0,2,1,3]} @qt  %kt = Transpose(%k1) {perm=[0,2,3,1]} @kt
  %vt = Transpose(%v1) {perm=[0,2,1,3]} @vt
  %s = MatMul(%qt, %kt) @scores
  %d = Div(%s, %scale) @scale
  %a = Add(%d, %mask) @masked
  %p = Softmax(%a) {axis=-1} @softmax
  %o = MatMul(%p, %vt) @mix
  %b = Transpose(%o) {perm=[0,2,1,3]} @back
  %y = Reshape(%b, %whole) @merge
}"""

YOLO = """
graph(%x: float32[1,8,4,4]) -> (%y) {
  %w: float32[16,8,1,1] = random(seed=1)  %heads: int64[4] = [1, 2, 8, 16]  %map: int64[4] = [1, 8, 4, 4]
  %sizes: int64[3] = [2, 2, 4]  %scale: float32[] = 0.5  %wp: float32[8,1,3,3] = random(seed=2)
  %c = Conv(%x, %w) {kernel_shape=[1,1]} @qkv
  %r = Reshape(%c, %heads) @heads
  %q, %k, %v = Split(%r, %sizes) {axis=2} @parts
  %qs = Mul(%q, %scale) @scale
  %qt = Transpose(%qs) {perm=[0,1,3,2]} @qt
  %s = MatMul(%qt, %k) @scores
  %p = Softmax(%s) {axis=-1} @softmax
  %pt = Transpose(%p) {perm=[0,1,3,2]} @pt
  %o = MatMul(%v, %pt) @mix
  %m = Reshape(%o, %map) @merge
  %vm = Reshape(%v, %map) @value_map
  %pe = Conv(%vm, %wp) {kernel_shape=[3,3], pads=[1,1,1,1], group=8} @position
  %y = Add(%m, %pe) @sum
}"""

MODULE = """
graph(%x: float32[1,9,16]) -> (%y) {
  %w: float32[16,48] = random(seed=1)  %three: int64[4] = [9, 1, 3, 16]  %zero: int64[1] = [0]  %m2: int64[1] = [3]
  %heads: int64[3] = [9, 4, 4]  %full: int64[4] = [1, 4, 9, 4]  %rows: int64[2] = [9, 16]
  %i0: int64[] = 0  %i1: int64[] = 1  %i2: int64[] = 2
  %first = Transpose(%x) {perm=[1,0,2]} @first
  %l = MatMul(%first, %w) @linear
  %r = Reshape(%l, %three) @packed
  %u = Unsqueeze(%r, %zero) @unsqueeze
  %t = Transpose(%u) {perm=[3,1,2,0,4]} @turn
  %n = Squeeze(%t, %m2) @squeeze
  %q0 = Gather(%n, %i0) @q0  %k0 = Gather(%n, %i1) @k0  %v0 = Gather(%n, %i2) @v0
  %q1 = Reshape(%q0, %heads) @q1  %k1 = Reshape(%k0, %heads) @k1  %v1 = Reshape(%v0, %heads) @v1
  %q2 = Transpose(%q1) {perm=[1,0,2]} @q2  %k2 = Transpose(%k1) {perm=[1,0,2]} @k2
  %v2 = Transpose(%v1) {perm=[1,0,2]} @v2
  %q = Reshape(%q2, %full) @q  %k = Reshape(%k2, %full) @k  %v = Reshape(%v2, %full) @v
  %kt = Transpose(%k) {perm=[0,1,3,2]} @kt
  %s = MatMul(%q, %kt) @scores
  %p = Softmax(%s) {axis=-1} @softmax
  %o = MatMul(%p, %v) @mix
  %b = Transpose(%o) {perm=[2,0,1,3]} @back
  %y = Reshape(%b, %rows) @merge
}"""

WINDOWS = """
graph(%x: float32[1,8,8,6]) -> (%y) {
  %cut: int64[6] = [1, 2, 4, 2, 4, 6]  %win: int64[4] = [4, 4, 4, 6]  %tok: int64[3] = [4, 16, 6]
  %joined: int64[6] = [1, 2, 2, 4, 4, 6]  %map: int64[4] = [1, 8, 8, 6]  %w: float32[6,6] = random(seed=1)
  %a = Reshape(%x, %cut) @cut
  %b = Transpose(%a) {perm=[0,1,3,2,4,5]} @turn
  %c = Reshape(%b, %win) @windows
  %d = Reshape(%c, %tok) @tokens
  %e = MatMul(%d, %w) @linear
  %f = Reshape(%e, %win) @again
  %g = Reshape(%f, %joined) @grid
  %h = Transpose(%g) {perm=[0,1,3,2,4,5]} @turn_back
  %y = Reshape(%h, %map) @whole
}"""

PATCHES = """
graph(%x: float32[1,3,16,16]) -> (%y) {
  %w: float32[8,3,4,4] = random(seed=1)  %t: int64[3] = [1, 8, 16]  %m: int64[4] = [1, 8, 4, 4]
  %gain: float32[8] = splat(1.0)
  %c = Conv(%x, %w) {kernel_shape=[4,4], strides=[4,4]} @patches
  %r = Reshape(%c, %t) @flatten
  %k = Transpose(%r) {perm=[0,2,1]} @tokens
  BETWEEN
  %b = Transpose(%n) {perm=[0,2,1]} @back
  %g = Reshape(%b, %m) @map
  %wc: float32[8,8,3,3] = random(seed=3)
  %y = Conv(%g, %wc) {kernel_shape=[3,3]} @conv
}"""

LAYER_NORM = """
graph(%x: float32[INPUT]) -> (%y) {
  %eps: float32[] = 1e-5  %two: float32[] = 2.0  RESHAPE
  %m = ReduceMean(%z) {axes=[AXES]} @mean
  %d = Sub(%z, %m) @centred
  %q = Pow(%d, %two) @square
  %v = ReduceMean(%q) {axes=[AXES]} @variance
  %e = Add(%v, %eps) @eps
  %s = Sqrt(%e) @root
  %y = Div(%d, %s) @normed
}"""
CONVNEXT = """
graph(%x: float32[1,8,6,6]) -> (%y) {
  %dw: float32[8,1,7,7] = random(seed=1)  %scale: float32[8] = random(seed=2)  %up: float32[8,32] = random(seed=3)
  %down: float32[32,8] = random(seed=4)  %gamma: float32[8] = random(seed=5)
  %d = Conv(%x, %dw) {kernel_shape=[7,7], pads=[3,3,3,3], group=8} @depthwise
  %t = Transpose(%d) {perm=[0,2,3,1]} @there
  %n = LayerNormalization(%t, %scale, %scale) @norm
  BETWEEN
  %g = Mul(%w, %gamma) @gamma
  %b = Transpose(%g) {perm=[0,3,1,2]} @back
  %y = Add(%b, %x) @add
}"""
PLAIN = "%z = Relu(%x) @relu"
GROUPS = "%g: int64[3] = [1, 2, 128]  %z = Reshape(%x, %g) @groups"
NORMED = {"mean", "centred", "square", "variance", "root", "normed"}

GELU = """
graph(%x: float32[1,4,8]) -> (%y) {
  %root: float32[] = 1.4142135  %inverse: float32[] = 0.70710677  %one: float32[] = 1.0  %half: float32[] = 0.5
  BODY
}"""
TORCHSCRIPT = """%a = Div(%x, %root) @a  %e = Erf(%a) @erf  %b = Add(%e, %one) @b  %c = Mul(%x, %b) @c
  %y = Mul(%c, %half) @d"""
DYNAMO = """%a = Mul(%x, %inverse) @a  %e = Erf(%a) @erf  %b = Add(%e, %one) @b  %h = Mul(%half, %x) @h
  %y = Mul(%h, %b) @d"""
KERAS = """%a = Div(%x, %root) @a  %e = Erf(%a) @erf  %b = Add(%e, %one) @b  %h = Mul(%half, %x) @h
  %y = Mul(%h, %b) @d"""

CASES = {
    "attention, Split": (ATTENTION.replace("PARTS", SPLIT), {"attention": {
        "heads", "turn", "parts", "q", "k", "v", "scale", "kt", "scores", "softmax", "mix", "back", "merge"}}),
    "attention, Slices of the dynamo exporter": (ATTENTION.replace("PARTS", SLICES), {"attention": {
        "heads", "turn", "p0", "p1", "p2", "q", "k", "v", "scale", "kt", "scores", "softmax", "mix", "back", "merge"}}),
    "attention, heads apart": (HUGGING_FACE.replace("EARLY", "%q2 = Identity(%q1) @none"), {"attention": {
        "q1", "k1", "v1", "qt", "kt", "vt", "scores", "scale", "masked", "softmax", "mix", "back", "merge"}}),
    "attention of Keras": (HUGGING_FACE.replace("EARLY", "%q2 = Mul(%q1, %scale) @early"), {"attention-of-keras": {
        "q1", "k1", "v1", "qt", "kt", "vt", "softmax", "back", "merge"}}),
    "attention of YOLO11": (YOLO, {"attention": {
        "heads", "parts", "scale", "qt", "scores", "softmax", "pt", "mix", "merge", "value_map"}}),
    "attention of nn.MultiheadAttention": (MODULE, {"sequence-first": {"first"}, "attention-module": {
        "packed", "unsqueeze", "turn", "squeeze", "q1", "k1", "v1", "q2", "k2", "v2", "q", "k", "v",
        "kt", "scores", "softmax", "mix", "back", "merge"}}),
    "block of ConvNeXt": (
        CONVNEXT.replace("BETWEEN", "%u = MatMul(%n, %up) @up  %r = Relu(%u) @relu  %w = MatMul(%r, %down) @down"),
        {"channels-last-block": {"there", "gamma", "back"}}),
    "a norm alone between Transposes": (
        CONVNEXT.replace("BETWEEN", "%w = Relu(%n) @relu"), {"format-change": {"there", "back"}}),
    "a dense layer, its norm, and logits that are flattened": ("""
graph(%x: float32[1,8]) -> (%y, %z) {
  %w: float32[8,4] = random(seed=1)  %k: float32[4] = splat(1.0)  %v: float32[2,8,1,1] = random(seed=2)
  %map: int64[4] = [1, 8, 1, 1]
  %l = MatMul(%x, %w) @dense  %y = BatchNormalization(%l, %k, %k, %k, %k) @norm
  %m = Reshape(%x, %map) @map  %c = Conv(%m, %v) {kernel_shape=[1,1]} @conv  %z = Flatten(%c) @flatten
}""", {"dense-norm": {"norm"}, "flattened-logits": {"flatten"}}),
    "attention of one head": ("""
graph(%q: float32[1,6,4], %k: float32[1,4,6], %v: float32[1,6,4]) -> (%y) {
  %mask: float32[1,1,6,6] = random(seed=1)
  %s = MatMul(%q, %k) @scores  %m = Add(%s, %mask) @masked  %p = Softmax(%m) @softmax  %y = MatMul(%p, %v) @mix
}""", {"attention-of-one-head": {"scores", "masked", "softmax", "mix"}}),
    "rotated halves, the sign in a factor": ("""
graph(%x: float32[1,2,6,8], %cos: float32[1,2,6,8], %sin: float32[1,2,6,8]) -> (%y) {
  %sign: float32[8] = random(seed=1)
  %a, %b = Split(%x) {axis=-1} @halves  %t = Concat(%b, %a) {axis=-1} @swapped  %g = Mul(%t, %sign) @sign
  %h = Mul(%g, %sin) @sin  %c = Mul(%x, %cos) @cos  %y = Add(%c, %h) @rotated
}""", {"rope": {"halves", "swapped", "sign", "sin", "cos", "rotated"}}),
    "space to depth": ("""
graph(%x: float32[1,3,8,8]) -> (%y) {
  %cut: int64[6] = [1, 3, 4, 2, 4, 2]  %map: int64[4] = [1, 12, 4, 4]
  %r = Reshape(%x, %cut) @cut  %t = Transpose(%r) {perm=[0,1,3,5,2,4]} @turn  %y = Reshape(%t, %map) @merge
}""", {"unshuffle": {"cut", "turn", "merge"}}),
    "a dense layer behind a recurrent one": ("""
graph(%x: float32[6,1,4]) -> (%y) {
  %w: float32[1,32,4] = random(seed=1)  %r: float32[1,32,8] = random(seed=2)  %d: float32[8,3] = random(seed=3)
  %b: float32[3] = random(seed=4)  %one: int64[1] = [1]
  %l = LSTM(%x, %w, %r) {hidden_size=8} @lstm  %s = Squeeze(%l, %one) @squeeze  %m = MatMul(%s, %d) @dense
  %y = Add(%b, %m) @bias
}""", {"behind-recurrence": {"dense", "bias"}}),
    "a pooled map without its axes": ("""
graph(%x: float32[1,8,4,4]) -> (%y) {
  %last: int64[1] = [-1]
  %p = GlobalAveragePool(%x) @pool  %s = Squeeze(%p, %last) @once  %y = Squeeze(%s, %last) @twice
}""", {"classifier-flatten": {"once", "twice"}}),
    "windows": (WINDOWS, {"window-partition": {
        "cut", "turn", "windows", "tokens", "again", "grid", "turn_back", "whole"}}),
    "tokens and back": (PATCHES.replace("BETWEEN", "%n = LayerNormalization(%k, %gain) @norm"), {"tokens": {
        "flatten", "tokens", "back", "map"}}),
    "a dense layer on a map": (
        PATCHES.replace("BETWEEN", "%wd: float32[8,8] = random(seed=2)  %n = MatMul(%k, %wd) @dense"),
        {"map-dense": {"flatten", "tokens", "back", "map"}}),
    "tokens, channels last": ("""
graph(%x: float32[1,4,4,8]) -> (%y) {
  %t: int64[3] = [1, 16, 8]  %r = Relu(%x) @relu  %y = Reshape(%r, %t) @merge }""", {"tokens": {"merge"}}),
    "tokens folded up for a layer": ("""
graph(%x: float32[1,16,8]) -> (%y) {
  %m: int64[4] = [1, 4, 4, 8]  %w: float32[2,8,1,1] = random(seed=1)
  %r = Reshape(%x, %m) @fold  %t = Transpose(%r) {perm=[0,3,1,2]} @turn  %y = Conv(%t, %w) {kernel_shape=[1,1]} @conv
}""", {"map-of-tokens": {"fold", "turn"}}),
    "token mixing": ("""
graph(%x: float32[1,16,8]) -> (%y) {
  %w: float32[16,16] = random(seed=1)
  %t = Transpose(%x) {perm=[0,2,1]} @there  %l = MatMul(%t, %w) @linear  %y = Transpose(%l) {perm=[0,2,1]} @back
}""", {"token-mixing": {"there", "back"}}),
    "rows of a batch norm": ("""
graph(%x: float32[1,9,8]) -> (%y) {
  %rows: int64[2] = [9, 8]  %back: int64[3] = [1, 9, 8]  %c: float32[8] = splat(1.0)
  %r = Reshape(%x, %rows) @rows  %n = BatchNormalization(%r, %c, %c, %c, %c) @norm  %y = Reshape(%n, %back) @back
}""", {"norm-rows": {"rows", "back"}}),
    "rows of a dense layer": ("""
graph(%x: float32[1,9,8]) -> (%y) {
  %rows: int64[2] = [9, 8]  %back: int64[3] = [1, 9, 8]  %w: float32[8,8] = random(seed=1)
  %r = Reshape(%x, %rows) @rows  %n = Gemm(%r, %w) @dense  %y = Reshape(%n, %back) @back
}""", {"dense-rows": {"rows", "back"}}),
    "classifier": ("""
graph(%x: float32[N,8,4,4]) -> (%y) {
  %w: float32[8,3] = random(seed=1)
  %p = GlobalAveragePool(%x) @pool  %f = Flatten(%p) {axis=1} @flatten  %y = Gemm(%f, %w) @dense
}""", {"classifier-flatten": {"flatten"}}),
    "a map before a dense layer": ("""
graph(%x: float32[1,8,4,4]) -> (%y) {
  %w: float32[128,3] = random(seed=1)  %f = Flatten(%x) {axis=1} @flatten  %y = Gemm(%f, %w) @dense
}""", {"classifier-flatten": {"flatten"}}),
    "a sequence before a dense layer": ("""
graph(%x: float32[1,8,1,16]) -> (%y) {
  %w: float32[128,3] = random(seed=1)  %f = Flatten(%x) {axis=1} @flatten  %y = Gemm(%f, %w) @dense
}""", {"sequence-flatten": {"flatten"}}),
    "pooled tokens": ("""
graph(%x: float32[1,9,8]) -> (%y) {
  %w: float32[8,3] = random(seed=1)
  %t = Transpose(%x) {perm=[0,2,1]} @turn  %p = GlobalAveragePool(%t) @pool  %f = Flatten(%p) {axis=1} @row
  %y = Gemm(%f, %w) @dense
}""", {"token-pooling": {"turn", "pool", "row"}}),
    "channel shuffle": ("""
graph(%x: float32[1,8,4,4]) -> (%y) {
  %g: int64[5] = [1, 2, 4, 4, 4]  %m: int64[4] = [1, 8, 4, 4]
  %a = Reshape(%x, %g) @split  %b = Transpose(%a) {perm=[0,2,1,3,4]} @turn  %y = Reshape(%b, %m) @merge
}""", {"shuffle": {"split", "turn", "merge"}}),
    "patch merging": ("""
graph(%x: float32[1,8,8,6]) -> (%y) {
  %g: int64[6] = [1, 4, 2, 4, 2, 6]  %m: int64[4] = [1, 4, 4, 24]
  %a = Reshape(%x, %g) @split  %b = Transpose(%a) {perm=[0,1,3,4,2,5]} @turn  %y = Reshape(%b, %m) @merge
}""", {"shuffle": {"split", "turn", "merge"}}),
    "layer norm": (
        LAYER_NORM.replace("INPUT", "1,9,16").replace("AXES", "-1").replace("RESHAPE", PLAIN), {"layer-norm": NORMED}),
    "layer norm of a map": (
        LAYER_NORM.replace("INPUT", "1,4,8,8").replace("AXES", "1,2,3").replace("RESHAPE", PLAIN),
        {"layer-norm-map": NORMED}),
    "group norm": (
        LAYER_NORM.replace("INPUT", "1,4,8,8").replace("AXES", "2").replace("RESHAPE", GROUPS), {"group-norm": NORMED}),
    "RMS norm": ("""
graph(%x: float32[1,9,16]) -> (%y) {
  %eps: float32[] = 1e-6  %two: float32[] = 2.0
  %q = Pow(%x, %two) @square  %v = ReduceMean(%q) {axes=[-1]} @mean  %e = Add(%v, %eps) @eps  %s = Sqrt(%e) @root
  %r = Reciprocal(%s) @inverse  %n = Mul(%x, %r) @normed  %gain: float32[16] = random(seed=1)  %y = Mul(%n, %gain) @gain
}""", {"rms-norm": {"square", "mean", "root", "inverse", "normed", "gain"}}),
    "L2 norm": ("""
graph(%x: float32[1,8,4,4]) -> (%y) {
  %small: float32[] = 1e-12
  %n = ReduceL2(%x) {axes=[1]} @norm  %c = Clip(%n, %small) @clip  %y = Div(%x, %c) @divide
}""", {"l2-normalize": {"norm", "clip", "divide"}}),
    "L2 norm of tokens": ("""
graph(%x: float32[1,9,16]) -> (%y) {
  %n = ReduceL2(%x) {axes=[-1]} @norm  %y = Div(%x, %n) @divide
}""", {"l2-normalize-rows": {"norm", "divide"}}),
    "SiLU": ("graph(%x: float32[1,4,8,8]) -> (%y) { %s = Sigmoid(%x) @s  %y = Mul(%s, %x) @m }", {"silu": {"s", "m"}}),
    "SiLU of an Identity": (
        "graph(%x: float32[1,4,8,8]) -> (%y) { %i = Identity(%x) @i  %s = Sigmoid(%i) @s  %y = Mul(%x, %s) @m }",
        {"silu": {"s", "m"}}),
    "quick GELU": ("""
graph(%x: float32[1,4,8]) -> (%y) {
  %c: float32[] = 1.702  %a = Mul(%x, %c) @a  %s = Sigmoid(%a) @s  %y = Mul(%x, %s) @m
}""", {"quick-gelu": {"a", "s", "m"}}),
    "GELU of TorchScript": (GELU.replace("BODY", TORCHSCRIPT), {"gelu-erf": {"erf"}}),
    "GELU of dynamo": (GELU.replace("BODY", DYNAMO), {"gelu-erf-reordered": {"erf"}}),
    "GELU of Keras": (GELU.replace("BODY", KERAS), {"gelu-erf-halved-first": {"erf"}}),
    "GELU by tanh": ("""
graph(%x: float32[1,4,8]) -> (%y) {
  %three: float32[] = 3.0  %c: float32[] = 0.044715  %r: float32[] = 0.7978846  %one: float32[] = 1.0
  %half: float32[] = 0.5
  %p = Pow(%x, %three) @cube  %w = Mul(%p, %c) @weighed  %s = Add(%x, %w) @sum  %k = Mul(%s, %r) @scaled
  %t = Tanh(%k) @tanh  %a = Add(%t, %one) @shifted  %m = Mul(%x, %a) @product  %y = Mul(%m, %half) @halved
}""", {"gelu-tanh": {"cube", "weighed", "sum", "scaled", "tanh", "shifted", "product", "halved"}}),
    "HardSwish, opset 11": (
        "graph(%x: float32[1,4,8,8]) -> (%y) { %h = HardSigmoid(%x) {alpha=0.16666667} @h  %y = Mul(%x, %h) @m }",
        {"hard-swish": {"h", "m"}}),
    "HardSwish by ReLU6": ("""
graph(%x: float32[1,4,8,8]) -> (%y) {
  %three: float32[] = 3.0  %zero: float32[] = 0.0  %six: float32[] = 6.0
  %a = Add(%x, %three) @a  %c = Clip(%a, %zero, %six) @c  %m = Mul(%x, %c) @m  %y = Div(%m, %six) @d
}""", {"hard-swish": {"a", "c", "m", "d"}}),
    "softmax by hand": ("""
graph(%x: float32[1,9,16]) -> (%y) {
  %t = ReduceMax(%x) {axes=[-1]} @top  %s = Sub(%x, %t) @shift  %e = Exp(%s) @exp
  %axes: int64[1] = [-1]  %n = ReduceSum(%e, %axes) @sum  %y = Div(%e, %n) @divide
}""", {"softmax": {"top", "shift", "exp", "sum", "divide"}}),
    "squeeze and excite": ("""
graph(%x: float32[1,8,4,4]) -> (%y) {
  %a: float32[2,8,1,1] = random(seed=1)  %b: float32[8,2,1,1] = random(seed=2)
  %p = GlobalAveragePool(%x) @pool  %c = Conv(%p, %a) {kernel_shape=[1,1]} @less  %r = Relu(%c) @relu
  %d = Conv(%r, %b) {kernel_shape=[1,1]} @more  %s = Sigmoid(%d) @gate  %y = Mul(%x, %s) @weigh
}""", {"squeeze-excite": {"pool", "weigh"}}),
    "rotary embedding": ("""
graph(%x: float32[1,4,8,16]) -> (%y) {
  %cos: float32[1,1,8,16] = random(seed=2)  %sin: float32[1,1,8,16] = random(seed=3)
  %zero: int64[1] = [0]  %half: int64[1] = [8]  %end: int64[1] = [16]  %axis: int64[1] = [3]
  %a = Mul(%x, %cos) @straight  %l = Slice(%x, %zero, %half, %axis) @low  %h = Slice(%x, %half, %end, %axis) @high
  %n = Neg(%h) @neg  %t = Concat(%n, %l) {axis=3} @turned  %b = Mul(%t, %sin) @weighed  %y = Add(%a, %b) @sum
}""", {"rope": {"straight", "low", "high", "neg", "turned", "weighed", "sum"}}),
    "one hot": ("""
graph(%x: int64[1,1,4,4]) -> (%y) {
  %depth: int64[] = 8  %values: float32[2] = [0.0, 1.0]  %axes: int64[1] = [4]
  %o = OneHot(%x, %depth, %values) @hot  %t = Transpose(%o) {perm=[0,4,2,3,1]} @turn  %y = Squeeze(%t, %axes) @squeeze
}""", {"one-hot": {"hot", "turn", "squeeze"}}),
}  # fmt: skip
"""Model -> members by pattern. Patterns of detection heads and of refused forms are tested with their rules."""

ELSEWHERE = {
    "behind-selection", "box-distribution", "flattened-tail", "recurrent-direction", "repeat-heads", "unfold",
    "width-softmax", "yolo-head",
}  # fmt: skip

NOT = {
    "a pooled row without its height": """
graph(%x: float32[1,8,1,4]) -> (%y) {
  %two: int64[1] = [2]  %y = Squeeze(%x, %two) @squeeze }""",
    "a squeeze of what was turned": """
graph(%x: float32[9,4,1]) -> (%y) {
  %two: int64[1] = [2]  %t = Transpose(%x) {perm=[2,1,0]} @turn  %y = Squeeze(%x, %two) @squeeze }""",
    "a product with the sigmoid of another": """
graph(%x: float32[1,4,8,8], %z: float32[1,4,8,8]) -> (%y) { %s = Sigmoid(%z) @s  %y = Mul(%x, %s) @m }""",
    "a sigmoid that is read elsewhere too": """
graph(%x: float32[1,4,8,8]) -> (%y, %s) { %s = Sigmoid(%x) @s  %y = Mul(%x, %s) @m }""",
    "an Erf by itself": "graph(%x: float32[1,4,8]) -> (%y) { %y = Erf(%x) @erf }",
    "GELU with another factor": GELU.replace("BODY", TORCHSCRIPT).replace("0.5", "0.4"),
    "heads of keys that are repeated": HUGGING_FACE.replace("EARLY", "%q2 = Identity(%q1) @none").replace(
        "%k1 = Reshape(%k0, %heads) @k1",
        "%n: int64[3] = [1, 1, 4]  %small: float32[16,4] = random(seed=4)  %k9 = MatMul(%x, %small) @k9"
        "  %kr = Tile(%k9, %n) @repeat  %k1 = Reshape(%kr, %heads) @k1",
    ),
    "heads that are not merged": HUGGING_FACE.replace("EARLY", "%q2 = Identity(%q1) @none").replace(
        "%y = Reshape(%b, %whole) @merge", "%y = Relu(%b) @merge"
    ),
    "a shuffle over the batch": """
graph(%x: float32[1,8,4,4]) -> (%y) {
  %g: int64[5] = [2, 1, 4, 4, 4]  %m: int64[4] = [2, 4, 4, 4]
  %a = Reshape(%x, %g) @split  %b = Transpose(%a) {perm=[0,2,1,3,4]} @turn  %y = Reshape(%b, %m) @merge
}""",
    "rows regrouped": """
graph(%x: float32[1,9,8]) -> (%y) {
  %rows: int64[2] = [18, 4]  %w: float32[4,4] = random(seed=1)  %r = Reshape(%x, %rows) @rows  %y = Gemm(%r, %w) @dense
}""",
    "a flatten of channels": """
graph(%x: float32[1,8,4,4]) -> (%y) { %f = Flatten(%x) {axis=2} @flatten  %y = Relu(%f) @relu }""",
}
"""Models without a member of any pattern."""


@cache
def members(text: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for node, name in memberships(Subject(parse_model(text), hailo8())).items():
        found.setdefault(name, set()).add(node.name)
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_pattern_has_these_members(case: str) -> None:
    text, expected = CASES[case]
    assert members(text) == expected


def is_taken(expected: dict[str, set[str]]) -> bool:
    return all(hailo8().patterns[name].status is Status.SUPPORTED for name in expected)


@pytest.mark.parametrize("case", [case for case, (_, expected) in CASES.items() if is_taken(expected)])
def test_members_of_what_is_taken_are_taken(case: str) -> None:
    """Forms of networks that Hailo compiles are supported node by node, without a word against them."""
    target = hailo8()
    text, expected = CASES[case]
    model = parse_model(text)
    judged = {node.name: verdict.status for node, verdict in verdicts(Subject(model, target))}
    named = {name for members_of in expected.values() for name in members_of}
    assert {name for name in named if judged[name] is not Status.SUPPORTED} == set()
    found = [item for item in run_rules(model, target, ALL_RULES).findings if item.node in named]
    assert [item for item in found if item.code.startswith(("HAI1", "HAI203")) and item.severity > Severity.INFO] == []


@pytest.mark.parametrize("case", NOT)
def test_what_is_no_pattern(case: str) -> None:
    assert members(NOT[case]) == {}


def test_every_pattern_of_the_tables_is_recognised_somewhere() -> None:
    named = {name for _, expected in CASES.values() for name in expected}
    assert named | ELSEWHERE == set(hailo8().patterns) == PATTERNS
    assert set(load_target("hailo10h").patterns) == set(hailo8().patterns)
