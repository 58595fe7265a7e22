"""Conversion between operator sets keeps the function: ONNX's own operator tests down, hand-made models up.

Every operator test of ONNX whose operator is another one in opset 17 is taken there (and to 13 and back) and run in
ONNX Runtime against the outputs that ONNX expects. What is refused is listed by operator, so that nothing can slip into
the refusals unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from irkit import Context, Model, OptionError, ops, parse_model, print_model
from irkit.infer import Inference
from irkit.library import get_pass
from irkit.onnx.reader import loads
from irkit.onnx.writer import dumps
from irkit.opsets.converter import needs_conversion, newest_opset
from irkit.testing import different

TARGET = 17

NOT_IN_17 = {
    "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Col2Im", "CumProd", "DeformConv",
    "ImageDecoder", "RegexFullMatch", "StringConcat", "StringSplit", "TensorScatter",
}  # fmt: skip
"""Operators without an equivalent in opset 17 (BitShift: of signed integers)."""

PARTLY_IN_17 = {
    "AffineGrid": "a size that is fed",
    "AveragePool": "dilations",
    "CausalConvWithState": "newer operators in its body",
    "Celu": "float16",
    "CenterCropPad": "sizes that the graph computes",
    "DFT": "an axis that the graph computes; the inverse of a one-sided transform",
    "Equal": "strings",
    "GridSample": "volumes",
    "IsInf": "float16",
    "LinearAttention": "newer operators in its body",
    "LpPool": "dilations",
    "Mod": "floats with fmod = 0",
    "Pad": "wrapping by widths that the graph computes",
    "QLinearMatMul": "float16 scales",
    "RMSNormalization": "axes that the graph computes",
    "ReduceMax": "axes that the graph computes; bool",
    "ReduceMean": "axes that the graph computes",
    "ReduceMin": "axes that the graph computes; bool",
    "ReduceProd": "axes that the graph computes",
    "Resize": "smoothing; half_pixel_symmetric; scales that the graph computes, of some axes",
    "Scan": "opset 8: a batch axis",
    "ScatterElements": "reduction max and min",
    "ScatterND": "reduction max and min",
    "Upsample": "scales that the graph computes",
}
"""Operators with uses that opset 17 has no equivalent of."""


def operator_tests() -> Iterator[Any]:
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases(None):
        if case.data_sets is None or case.model is None or case.model.opset_import[0].domain:
            continue
        if case.name.endswith("_expanded"):  # the same again as bodies of functions
            continue
        model = loads(case.model.SerializeToString())
        if any(needs_conversion(node, model.opset, TARGET) for node in model.walk()):
            yield case


def baked(proto: onnx.ModelProto, inputs: Sequence[Any], all_inputs: bool) -> tuple[bytes, dict[str, Any]]:
    """The model with its inputs, or with all but the first one stored in it."""
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    formals = list(model.graph.input)
    del model.graph.input[:]
    feeds = {}
    for index, (formal, data) in enumerate(zip(formals, inputs, strict=True)):
        if all_inputs or index == 0 or not isinstance(data, np.ndarray):
            model.graph.input.append(formal)
            feeds[formal.name] = data
        else:
            model.graph.initializer.append(numpy_helper.from_array(data, formal.name))
    return model.SerializeToString(), feeds


def run(data: bytes, feeds: Mapping[str, Any]) -> list[Any] | None:
    """The outputs, or None where ONNX Runtime has no kernel for the model."""
    ort = pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    try:
        outputs: list[Any] = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feeds)
    except Exception:  # noqa: BLE001  (ONNX Runtime raises its own types, unrelated to each other)
        return None
    return outputs


def convert(model: Model, opset: int) -> Context:
    inference = Inference.of(model)
    inference.update()
    context = Context(pass_name="lower-opset", update_types=inference.update)
    get_pass("lower-opset", opset=opset).run(model, context)
    inference.update()
    return context


def same(expected: Any, found: Any, rtol: float, atol: float) -> bool:
    if isinstance(expected, (list, tuple)):
        parts = zip(expected, found, strict=False)
        return len(expected) == len(found) and all(same(left, right, rtol, atol) for left, right in parts)
    left, right = np.asarray(expected), np.asarray(found)
    if left.dtype.kind in "OSU":
        return left.shape == right.shape and bool((left.astype(str) == right.astype(str)).all())
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind in "biu":
        return bool((left == right).all())
    spare = 4 if left.dtype == np.float16 else 1
    return bool(np.allclose(left, right, rtol=max(rtol, 1e-4) * spare, atol=max(atol, 1e-6) * spare, equal_nan=True))


OLDER = {
    "bounds and pads": """
        opset 7
        graph(%x: float32[2,3,4]) -> (%a, %b, %c, %d) {
          %a = Clip(%x) {min=-0.25}
          %b = Clip(%x)
          %c = Pad(%x) {pads=[0,1,0,0,1,2], mode="reflect"}
          %d = Pad(%x) {pads=[0,0,0,0,0,-1], value=0.5}
        }""",
    "softmax over several axes": """
        opset 8
        graph(%x: float32[2,3,4], %v: float32[2,3,1,1], %n: float32[N,3,4]) -> (%a, %b, %c, %d, %e) {
          %a = Softmax(%x)
          %b = LogSoftmax(%x) {axis=2}
          %c = Hardmax(%x) {axis=0}
          %d = Softmax(%v)
          %e = Softmax(%n)
        }""",
    "softmax counted from the end": """
        opset 11
        graph(%x: float32[2,3,4]) -> (%a, %b) {
          %a = Softmax(%x) {axis=-1}
          %b = Softmax(%x) {axis=-2}
        }""",
    "upsample": """
        opset 8
        graph(%x: float32[1,2,4,5]) -> (%a, %b) {
          %a = Upsample(%x) {scales=[1.0,1.0,2.0,3.0]}
          %b = Upsample(%x) {scales=[1.0,1.0,2.5,1.5], mode="linear"}
        }""",
    "upsample with an input": """
        opset 9
        graph(%x: float32[1,2,4,5]) -> (%a) {
          %s: float32[4] = [1.0, 1.0, 1.5, 2.25]
          %a = Upsample(%x, %s) {mode="nearest"}
        }""",
    "resize": """
        opset 10
        graph(%x: float32[1,2,7,9]) -> (%a, %b, %c, %d) {
          %grow: float32[4] = [1.0, 1.0, 1.5, 2.5]
          %shrink: float32[4] = [1.0, 1.0, 0.6, 0.7]
          %both: float32[4] = [1.0, 1.0, 2.5, 0.5]
          %a = Resize(%x, %grow)
          %b = Resize(%x, %shrink)
          %c = Resize(%x, %shrink) {mode="linear"}
          %d = Resize(%x, %both)
        }""",
    "attributes that became inputs": """
        opset 9
        graph(%x: float32[4,6]) -> (%s, %v, %i, %u, %q, %r, %a, %b) {
          %s = Slice(%x) {starts=[1,-3], ends=[3,100]}
          %v, %i = TopK(%x) {k=3, axis=0}
          %u = Unsqueeze(%x) {axes=[0,2]}
          %q = Squeeze(%u) {axes=[2]}
          %r = ReduceSum(%x) {axes=[1], keepdims=0}
          %a, %b = Split(%x) {axis=1, split=[2,4]}
        }""",
    "scatter": """
        opset 9
        graph(%x: float32[3,3]) -> (%y) {
          %i: int64[2,2] = [0, 1, 2, 0]
          %u: float32[2,2] = [1.0, 2.0, 3.0, 4.0]
          %y = Scatter(%x, %i, %u) {axis=1}
        }""",
    "recurrent": """
        opset 7
        graph(%x: float32[3,1,4]) -> (%h, %y) {
          %w: float32[1,8,4] = random(seed=1)
          %r: float32[1,8,2] = random(seed=2)
          %gw: float32[1,6,4] = random(seed=3)
          %gr: float32[1,6,2] = random(seed=4)
          _, %h = LSTM(%x, %w, %r) {hidden_size=2}
          %y = GRU(%x, %gw, %gr) {hidden_size=2, linear_before_reset=1}
        }""",
    "region of interest": """
        opset 10
        graph(%x: float32[1,2,8,8]) -> (%y) {
          %r: float32[1,4] = [1.0, 1.0, 6.0, 6.0]
          %i: int64[1] = [0]
          %y = RoiAlign(%x, %r, %i) {output_height=2, output_width=3, sampling_ratio=2}
        }""",
    "dropout and pools": """
        opset 10
        graph(%x: float32[1,2,6,6]) -> (%d, %m, %a) {
          %d = Dropout(%x) {ratio=0.25}
          %m = MaxPool(%d) {kernel_shape=[2,2], ceil_mode=1}
          %a = AveragePool(%x) {kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1}
        }""",
    "nested graphs": """
        opset 11
        graph(%x: float32[2,3], %go: bool[]) -> (%y) {
          %y = If(%go) {
            then_branch=graph() -> (%t) { %u = Unsqueeze(%x) {axes=[0]} %t = ReduceSum(%u) {axes=[2]} },
            else_branch=graph() -> (%e) { %v = Unsqueeze(%x) {axes=[0]} %e = Softmax(%v) {axis=1} }
          }
        }""",
}

OLDEST = {
    "broadcasting": (
        """
        opset 6
        graph(%x: float32[2,3,4]) -> (%y, %z, %e) {
          %b: float32[3] = [1.0, 2.0, 3.0]
          %s: float32[1] = [0.5]
          %a = Add(%x, %b) {broadcast=1, axis=1}
          %m = Mul(%a, %s) {broadcast=1}
          %n = Neg(%m) {consumed_inputs=[0]}
          %y = Sub(%n, %x)
          %z = PRelu(%x, %b)
          %e = PRelu(%x, %s)
        }""",
        """
        graph(%x: float32[2,3,4]) -> (%y, %z, %e) {
          %b: float32[3,1] = [1.0, 2.0, 3.0]
          %s: float32[] = 0.5
          %a = Add(%x, %b)
          %m = Mul(%a, %s)
          %n = Neg(%m)
          %y = Sub(%n, %x)
          %z = PRelu(%x, %b)
          %e = LeakyRelu(%x) {alpha=0.5}
        }""",
    ),
    "modes as attributes": (
        """
        opset 6
        graph(%x: float32[1,3,4,4]) -> (%d, %u) {
          %s: float32[3] = [1.0, 2.0, 3.0]
          %b: float32[3] = [0.5, 0.25, 0.0]
          %n = BatchNormalization(%x, %s, %b, %b, %s) {is_test=1, epsilon=0.001}
          %r = Dropout(%n) {is_test=1, ratio=0.25}
          %w: float32[2,48] = random(seed=3)
          %c: float32[2] = [1.0, -1.0]
          %f = Flatten(%r)
          %y = Gemm(%f, %w, %c) {transB=1, broadcast=1}
          %t = Cast(%y) {to=11}
          %d = Cast(%t) {to=1}
          %u = Upsample(%x) {height_scale=2.0, width_scale=3.0}
        }""",
        """
        graph(%x: float32[1,3,4,4]) -> (%y, %u) {
          %s: float32[3] = [1.0, 2.0, 3.0]
          %b: float32[3] = [0.5, 0.25, 0.0]
          %n = BatchNormalization(%x, %s, %b, %b, %s) {epsilon=0.001}
          %w: float32[2,48] = random(seed=3)
          %c: float32[2] = [1.0, -1.0]
          %f = Flatten(%n)
          %y = Gemm(%f, %w, %c) {transB=1}
          %k: float32[4] = [1.0, 1.0, 2.0, 3.0]
          %u = Resize(%x, _, %k) {mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"}
        }""",
    ),
    "the versions before": (
        """
        opset 4
        graph(%x: float32[2,6]) -> (%y) {
          %r = Reshape(%x) {shape=[3,4], consumed_inputs=[0]}
          %c = Cast(%r) {to="DOUBLE"}
          %y = Cast(%c) {to="FLOAT"}
        }""",
        "graph(%x: float32[2,6]) -> (%y) { %s: int64[2] = [3, 4] %y = Reshape(%x, %s) }",
    ),
}
"""Models that ONNX Runtime has no kernels for, and what they mean, in opset 17."""

KEPT = {
    "opset 6 graph(%x: float32[2,3]) -> (%y) { %s: float32[3] = ones"
    " %y = BatchNormalization(%x, %s, %s, %s, %s) {is_test=0} @n }": "training mode",
    "opset 7 graph(%x: float32[2,3]) -> (%y) { %s: float32[3] = ones"
    " %y = BatchNormalization(%x, %s, %s, %s, %s) {spatial=0} @n }": "statistics of each element",
    "opset 9 graph(%x: float32[2,3]) -> (%y, %m) { %s: float32[3] = ones"
    " %y, %m, %v, %p, %q = BatchNormalization(%x, %s, %s, %s, %s) @n }": "training mode",
    "opset 7 graph(%x: float32[2,3]) -> (%y, %m) { %y, %m = Dropout(%x) @n }": "its mask is used",
    "opset 9 graph(%x: float32[1,1,4,4], %s: float32[4]) -> (%y) { %y = Upsample(%x, %s) @n }": "how it rounds",
    "opset 10 graph(%x: float32[1,1,8,8]) -> (%y) { %s: float32[4] = [1.0, 1.0, 0.7, 1.3]"
    " %y = Resize(%x, %s) @n }": "round in different ways",
    "opset 18 graph(%x: float32[2,3], %a: int64[1]) -> (%y) { %y = ReduceMean(%x, %a) @n }": "computed in the graph",
    "opset 18 graph(%x: int32[2]) -> (%y) { %y = BitwiseNot(%x) @n }": "no such operator",
    "opset 18 graph(%x: float32[1,1,8,8]) -> (%y) { %s: float32[4] = [1.0, 1.0, 0.5, 0.5]"
    ' %y = Resize(%x, _, %s) {antialias=1, mode="linear"} @n }': "smooths",
    "opset 20 graph(%x: float32[1,1,2,2,2], %g: float32[1,2,2,2,3]) -> (%y) { %y = GridSample(%x, %g) @n }": "volume",
    "opset 20 graph(%x: float32[1,2,3]) -> (%y) { %s: int64[4] = [1,3,4,5] %y = AffineGrid(%x, %s) @n }": "it splits",
    "opset 22 graph(%x: bfloat16[2]) -> (%y) { %y = Sin(%x) @n }": "must not be tensor(bfloat16)",
}
"""Models that have no equivalent in opset 17, and what the finding says."""


@pytest.mark.parametrize("text", OLDER.values(), ids=list(OLDER))
def test_older_models(text: str) -> None:
    model = parse_model(text)
    assert convert(model, TARGET).findings == []
    assert model.opset == TARGET
    onnx.checker.check_model(onnx.load_from_string(dumps(model)))
    assert different(parse_model(text), model) == ""


@pytest.mark.parametrize(("text", "meaning"), OLDEST.values(), ids=list(OLDEST))
def test_oldest_models(text: str, meaning: str) -> None:
    model, expected = parse_model(text), parse_model(meaning)
    assert convert(model, TARGET).findings == []
    onnx.checker.check_model(onnx.load_from_string(dumps(model)))
    for value, other in zip(model.graph.outputs, expected.graph.outputs, strict=True):
        other.name = value.name
    assert different(expected, model) == ""


@pytest.mark.parametrize(("text", "reason"), KEPT.items(), ids=list(KEPT.values()))
def test_a_model_that_cannot_be_converted_stays_as_it_is(text: str, reason: str) -> None:
    if parse_model(text).opset > newest_opset():
        pytest.skip("that operator set is newer than the installed onnx")
    model = parse_model(text)
    findings = convert(model, TARGET).findings
    assert [finding.node for finding in findings] == ["n"]
    assert reason in findings[0].message
    untouched = parse_model(text)
    Inference.of(untouched).update()
    assert print_model(model) == print_model(untouched)


def test_a_node_that_was_proven_wrong_is_not_rewritten_again() -> None:
    model = parse_model("opset 18 graph(%x: float32[2,3]) -> (%y) { %a: int64[1] = [1] %y = ReduceMax(%x, %a) @n }")
    context = Context(pass_name="lower-opset", banned={("ReduceMax to opset 17", "n")})
    get_pass("lower-opset").run(model, context)
    assert model.opset == 18
    assert "proven wrong" in context.findings[0].message


@pytest.mark.parametrize("opset", [3, 10, 999])
def test_unknown_targets_are_refused(opset: int) -> None:
    with pytest.raises(OptionError, match="opset must be 11"):
        convert(parse_model("graph(%x: float32[2]) -> (%y) { %y = Relu(%x) }"), opset)


def test_a_model_of_an_unknown_opset_is_refused() -> None:
    model = parse_model("opset 999 graph(%x: float32[2]) -> (%y) { %y = Relu(%x) }")
    context = Context(pass_name="lower-opset")
    get_pass("lower-opset").run(model, context)
    assert "the installed onnx knows" in context.findings[0].message
    assert model.opset == 999


def test_there_and_back() -> None:
    """Down to opset 13 and up to 17 again gives what ONNX expects: the rules of the versions between, both ways."""
    count = 0
    wrong = []
    for case in operator_tests():
        inputs, expected = case.data_sets[0]
        data, feeds = baked(case.model, inputs, all_inputs=False)
        model = loads(data)
        if convert(model, 13).findings or convert(model, TARGET).findings or is_random(model):
            continue
        before, after = run(data, feeds), run(dumps(model), feeds)
        close = after is not None and any(
            same(wanted, after, case.rtol, case.atol) for wanted in (expected, before) if wanted is not None
        )
        count += close
        wrong += [] if close or before is None else [case.name]
    assert wrong == []
    assert count >= 200


def is_random(model: Model) -> bool:
    return any(ops.is_random(node) for node in model.walk())


@pytest.mark.skipif(newest_opset() < 21, reason="an onnx of that age has few of these tests")
def test_operator_tests_of_onnx() -> None:
    count: Counter[str] = Counter()
    refused: set[str] = set()
    wrong: list[str] = []
    for case in operator_tests():
        inputs, expected = case.data_sets[0]
        for all_inputs in (True, False) if len(inputs) > 1 else (True,):
            data, feeds = baked(case.model, inputs, all_inputs)
            before = run(data, feeds)
            if before is None:
                continue
            model = loads(data)
            context = convert(model, TARGET)
            if context.findings:
                count["refused"] += 1
                refused |= {finding.op for finding in context.findings}
                continue
            converted = dumps(model)
            onnx.checker.check_model(onnx.load_from_string(converted))
            after = run(converted, feeds)
            close = after is not None and (
                is_random(model)
                or same(expected, after, case.rtol, case.atol)
                or same(before, after, case.rtol, case.atol)
            )
            count["right" if close else "wrong"] += 1
            wrong += [] if close else [case.name]
    assert wrong == []
    assert refused <= NOT_IN_17 | set(PARTLY_IN_17)
    assert count["right"] >= 3 * count["refused"]
    assert count["right"] >= 300
