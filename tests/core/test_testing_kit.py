"""The testing kit: right rewrites pass, and each kind of wrong one fails with a message that says what is wrong."""

from __future__ import annotations

import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import irkit
from irkit import testing
from irkit.testing import check_rewrite, check_same_function, check_same_structure, check_unchanged, models
from tests.whole.sources import ROOT

HARD = "graph(%x: float32[1,8]) -> (%y) { %y = HardSwish(%x) }"
RELU = "graph(%x: float32[1,8]) -> (%y) { %y = Relu(%x) }"
SCALED = "graph(%x: float32[4,8]) -> (%y) { %two: float32[] = 2.0  %a = Mul(%x, %two) @mul  %y = Neg(%a) @neg }"


@irkit.rewrite("hardswish-to-relu", effect="retrain")
class HardswishToRelu(irkit.RewritePass):
    """Relu for HardSwish."""

    def pattern(self, op: Any, x: Any) -> Any:
        return op.HardSwish(x)

    def replace(self, op: Any, x: Any) -> Any:
        return op.Relu(x)


def replacing(build: Callable[..., Any], effect: str = "exact") -> irkit.Pass:
    """A pass that puts what `build(op, x)` makes in the place of Mul(x, 2)."""

    @irkit.rewrite("under-test", effect=effect)
    class UnderTest(irkit.RewritePass):
        """A rewrite of a test."""

        def pattern(self, op: Any, x: Any) -> Any:
            return op.Mul(x, 2.0)

        def replace(self, op: Any, x: Any) -> Any:
            return build(op, x)

    return UnderTest()


def right(op: Any, x: Any) -> Any:
    return op.Add(x, x)


def off_by_a_thousandth(op: Any, x: Any) -> Any:
    return op.Mul(x, 2.002)


def wrong_far_from_zero(op: Any, x: Any) -> Any:
    return op.Clip(op.Add(x, x), op.constant(-12.0, dtype=irkit.DType.FLOAT32))


def wrong_on_nan(op: Any, x: Any) -> Any:
    doubled = op.Add(x, x)
    return op.Where(op.Equal(x, x), doubled, op.Sub(op.constant(np.zeros((4, 8), np.float32)), 1.0))


def wrong_in_one_channel(op: Any, x: Any) -> Any:
    factors = np.full(8, 2.0, np.float32)
    factors[3] += 1e-3
    return op.Mul(x, factors)


def of_another_type(op: Any, x: Any) -> Any:
    return op.Cast(op.Add(x, x), to=int(irkit.DType.FLOAT16))


AFTER = "graph(%x: float32[4,8]) -> (%y) { %a = Add(%x, %x) %y = Neg(%a) }"


def test_right_rewrites_pass() -> None:
    check_rewrite(replacing(right), SCALED, AFTER)
    check_rewrite(replacing(right), SCALED)
    check_rewrite(HardswishToRelu, HARD, RELU)
    check_rewrite("remove-identity", "graph(%x: float32[2]) -> (%y) { %i = Identity(%x) %y = Neg(%i) }")
    check_unchanged(HardswishToRelu(), RELU)


@pytest.mark.parametrize("wrong", [off_by_a_thousandth, wrong_far_from_zero, wrong_on_nan, wrong_in_one_channel])
def test_a_rewrite_with_other_numbers_fails(wrong: Callable[..., Any]) -> None:
    with pytest.raises(AssertionError, match=r"under-test changed what the model computes: output 'y': .*(off by|NaN)"):
        check_rewrite(replacing(wrong), SCALED)


def test_what_is_wrong_on_nan_alone_is_found_by_the_nan() -> None:
    check_rewrite(replacing(wrong_on_nan), SCALED, nan=False)
    with pytest.raises(AssertionError, match="a NaN in 'x'"):
        check_rewrite(replacing(wrong_on_nan), SCALED)


def test_what_is_wrong_far_from_zero_is_found_by_the_wide_input() -> None:
    with pytest.raises(AssertionError, match="ten times wider"):
        check_rewrite(replacing(wrong_far_from_zero), SCALED, nan=False)


def test_a_tolerance_allows_what_it_says() -> None:
    check_rewrite(replacing(off_by_a_thousandth), SCALED, tolerance=2e-3)
    with pytest.raises(AssertionError, match=r"off by 1\.0e-03 of its scale, where 5e-04 is allowed"):
        check_rewrite(replacing(off_by_a_thousandth, "approximate"), SCALED, tolerance=5e-4)
    check_rewrite(replacing(off_by_a_thousandth, "approximate"), SCALED)


def test_inputs_of_ones_own() -> None:
    small = {"x": np.full((4, 8), 0.5, np.float32)}
    check_rewrite(replacing(wrong_far_from_zero), SCALED, inputs=[small])
    with pytest.raises(AssertionError, match="inputs: 1"):
        check_rewrite(replacing(wrong_far_from_zero), SCALED, inputs=[small, {"x": -30 * small["x"]}])


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (
            "graph(%x: float32[4,8]) -> (%y) { %a = Sub(%x, %x) %y = Neg(%a) }",
            "-  %1 = Sub(%x, %x)\n+  %1 = Add(%x, %x)",
        ),
        ("graph(%x: float32[4,8]) -> (%y) { %y = Neg(%x) }", "+  %1 = Add(%x, %x)"),
        ("graph(%x: float32[4,8]) -> (%y: float16[4,8]) { %a = Add(%x, %x) %y = Neg(%a) }", "(%y: float16[4,8])"),
        ("graph(%x: float32[4,8]) -> (%z) { %a = Add(%x, %x) %z = Neg(%a) }", "(%z: float32[4,8])"),
        ("graph(%z: float32[4,8]) -> (%y) { %a = Add(%z, %z) %y = Neg(%a) }", "-graph(%z: float32[4,8])"),
        ("opset 16\ngraph(%x: float32[4,8]) -> (%y) { %a = Add(%x, %x) %y = Neg(%a) }", "-opset 16\n+opset 17"),
    ],
)
def test_another_graph_than_expected_fails_with_the_difference(after: str, expected: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_rewrite(replacing(right), SCALED, after)
    assert "under-test made another graph than expected:" in str(caught.value)
    assert expected.replace("%1", "%0") in str(caught.value).replace("%1", "%0").replace("%2", "%0")


def test_names_count_where_asked() -> None:
    check_same_structure(AFTER, AFTER.replace("%a", "%other"))
    with pytest.raises(AssertionError, match="%other"):
        check_same_structure(AFTER, AFTER.replace("%a", "%other"), names=True)


@pytest.mark.parametrize(
    ("data", "fits"),
    [("[0.1, 2.0]", True), ("[0.10000001, 2.0000002]", True), ("[0.1001, 2.0]", False), ("[nan, 2.0]", False)],
)
def test_constants_are_equal_but_for_rounding(data: str, fits: bool) -> None:
    text = "graph(%x: float32[2]) -> (%y) { %c: float32[2] = DATA  %y = Add(%x, %c) }"
    if fits:
        check_same_structure(text.replace("DATA", data), text.replace("DATA", "[0.1, 2.0]"))
        return
    with pytest.raises(AssertionError, match=r"expected a constant with 0\.1\d* at \[0\], found"):
        check_same_structure(text.replace("DATA", data), text.replace("DATA", "[0.1, 2.0]"))


def test_whole_numbers_of_constants_are_equal() -> None:
    text = "graph(%x: float32[1,6]) -> (%y) { %i: int64[2] = [0, 3]  %y = Gather(%x, %i) {axis=1} }"
    with pytest.raises(AssertionError, match=r"expected a constant with 3 at \[1\], found 4"):
        check_same_structure(text.replace("3]", "4]"), text)


def test_a_rewrite_to_another_type_or_shape_fails_even_where_numbers_may_change() -> None:
    @irkit.define_pass("retype", effect="retrain")
    class Retype(irkit.Pass):
        """Makes the output another type."""

        def run(self, model: irkit.Model, context: irkit.Context) -> None:
            output = model.graph.outputs[0]
            node = model.graph.append(irkit.Node("Cast", [output], {"to": int(irkit.DType.FLOAT16)}))
            output.name, node.output.name = "old", output.name
            model.graph.set_outputs([node.output])

    with pytest.raises(AssertionError, match=r"of float32 became \[4, 8\] of float16"):
        check_rewrite(Retype, SCALED, again=False)
    with pytest.raises(AssertionError, match="made another graph"):
        check_rewrite(Retype, SCALED, SCALED, again=False)


def test_a_pass_that_changes_nothing_tells_its_reasons() -> None:
    @irkit.rewrite("picky", effect="exact")
    class Picky(irkit.RewritePass):
        """Refuses."""

        def pattern(self, op: Any, x: Any) -> Any:
            return op.Mul(x, 2.0)

        def check(self, x: Any) -> Any:
            return irkit.refuse("the moon is not full")

        def replace(self, op: Any, x: Any) -> Any:
            return op.Add(x, x)

    with pytest.raises(AssertionError, match="picky changed nothing\nthe pass said:\n  mul: picky: the moon is not"):
        check_rewrite(Picky, SCALED)
    check_unchanged(Picky, SCALED, refused="the moon is not full")
    with pytest.raises(AssertionError, match="did not say 'no battery'"):
        check_unchanged(Picky, SCALED, refused="no battery")
    with pytest.raises(AssertionError, match="under-test changed the graph"):
        check_unchanged(replacing(right), SCALED)


@irkit.define_pass("restless", effect="exact")
class Restless(irkit.Pass):
    """Puts in one more Identity each time."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        node = next(iter(model.graph))
        model.graph.insert(irkit.Node("Identity", [model.graph.inputs[0]], name=""), before=node)


@irkit.define_pass("secretive", effect="exact")
class Secretive(irkit.Pass):
    """Edits around the journal."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        if model.doc != "secret":
            model.graph.node("mul").name = "other"
            model.doc = "secret"


@irkit.define_pass("breaking", effect="exact")
class Breaking(irkit.Pass):
    """Reads a value before it is made."""

    def run(self, model: irkit.Model, context: irkit.Context) -> None:
        model.graph.node("mul").set_input(0, model.graph.node("neg").output)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Restless, "restless finds something to do in its own result"),
        (Secretive, "secretive edits around the journal"),
        (Breaking, "breaking left a graph that is not valid"),
    ],
)
def test_a_pass_that_keeps_no_contract_fails(item: type[irkit.Pass], expected: str) -> None:
    with pytest.raises(AssertionError, match=expected):
        check_rewrite(item, SCALED)


def test_models_and_passes_are_given_in_many_ways(tmp_path: Path) -> None:
    model = irkit.parse_model(HARD)
    irkit.save(model, tmp_path / "m.onnx")
    (tmp_path / "mine.py").write_text(
        "import irkit\n\n"
        '@irkit.rewrite("mine", effect="retrain")\n'
        "class Mine:\n"
        '    """Relu for HardSwish."""\n'
        "    def pattern(self, op, x): return op.HardSwish(x)\n"
        "    def replace(self, op, x): return op.Relu(x)\n",
        encoding="utf-8",
    )

    class AsRule(irkit.Rule):
        def pattern(self, op: Any, x: Any) -> Any:
            return op.HardSwish(x)

        def replace(self, op: Any, x: Any) -> Any:
            return op.Relu(x)

    for before in (HARD, model, tmp_path / "m.onnx", str(tmp_path / "m.onnx"), irkit.to_proto(model)):
        check_rewrite(HardswishToRelu, before, RELU, names=False)
    assert [node.op for node in model.graph] == ["HardSwish"], "the model that was given is left alone"
    check_rewrite(HardswishToRelu(), HARD, RELU)
    check_rewrite(tmp_path / "mine.py", HARD, RELU)
    for rule in (AsRule, AsRule(), [AsRule], (AsRule(),)):
        check_rewrite(rule, HARD, RELU, numbers=False)
    with pytest.raises(irkit.OptionError, match="names 2 passes"):
        check_rewrite("remove-dead,remove-identity", HARD)
    with pytest.raises(irkit.ModelError, match="line 1"):
        check_rewrite(HardswishToRelu, "graph(%x) -> (%y) { %y = HardSwish( }")


def test_header_lines_that_are_left_out_are_as_before() -> None:
    check_rewrite(HardswishToRelu, f'opset 15\nmetadata {{"who": "me"}}\n{HARD}', RELU)


def test_a_model_that_cannot_be_run_says_how_to_leave_numbers_out() -> None:
    odd = "graph(%x: float32[1,8]) -> (%y) { %a = com.example::Odd(%x) %y = HardSwish(%a) }"
    with pytest.raises(AssertionError, match="numbers=False compares the structure alone"):
        check_rewrite(HardswishToRelu, odd)
    check_rewrite(HardswishToRelu, odd, odd.replace("HardSwish", "Relu"), numbers=False)


def test_random_inputs_are_the_same_for_a_seed_and_run() -> None:
    inputs = testing.random_inputs(SCALED, seed=3)
    assert np.array_equal(inputs["x"], testing.random_inputs(SCALED, seed=3)["x"])
    assert not np.array_equal(inputs["x"], testing.random_inputs(SCALED, seed=4)["x"])
    assert np.array_equal(testing.run(SCALED, inputs)["y"], -2 * inputs["x"])


def test_without_onnx_runtime_the_reference_evaluator_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    check_rewrite(replacing(right), SCALED, AFTER)
    with pytest.raises(AssertionError, match="off by"):
        check_rewrite(replacing(off_by_a_thousandth), SCALED)


def test_two_models_by_what_they_compute() -> None:
    check_same_function(SCALED, AFTER)
    with pytest.raises(AssertionError, match="the models compute different things: output 'y'"):
        check_same_function(SCALED, AFTER.replace("Neg", "Abs"))


@given(model=models(max_steps=4))
@settings(max_examples=10, deadline=None)
def test_random_models_are_for_passes_of_ones_own(model: irkit.Model) -> None:
    before = [node.op for node in model.walk()]
    if "HardSwish" in before:
        check_rewrite(HardswishToRelu, model)
    else:
        check_unchanged(HardswishToRelu, model)
    assert [node.op for node in model.walk()] == before


def test_hypothesis_is_imported_only_for_the_strategy() -> None:
    script = (
        "import sys; from irkit import testing; assert 'hypothesis' not in sys.modules; testing.models(); "
        "print('hypothesis' in sys.modules, 'pytest' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("True False", "")


class TestInUnittest(unittest.TestCase):
    def test_checks_work_in_unittest_too(self) -> None:
        check_rewrite(HardswishToRelu, HARD, RELU)
        with self.assertRaisesRegex(AssertionError, "another graph"):  # noqa: PT027  (it is what unittest has)
            check_rewrite(HardswishToRelu, HARD, HARD.replace("HardSwish", "Abs"))
