"""The golden tests can fail: a wrong text, a wrong rewrite and a restless pass are each found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import irkit
from irkit import Context, Model, ModelError, Pass, Tensor, parse_model
from irkit.testing import different, run_pass
from tests.golden import test_golden
from tests.golden.cases import Case

TEXT = """# a comment
# options: {"factor": 0.9}
# print: types
graph(%x: float32[2,3]) -> (%y: float32[2,3]) {
  %w: float32[3] = [1, 2, 3]
  %a = Neg(%x) @neg
  %y = Mul(%a, %w) @mul
}
"""


@irkit.define_pass("scale-channel", effect="exact")
class ScaleChannel(Pass):
    """Wrong on purpose: scales the last channel."""

    factor: float = 0.9

    def run(self, model: Model, context: Context) -> None:
        weight = model.graph.initializers["w"]
        assert weight.constant is not None
        scaled = weight.constant.numpy() * np.array([1, 1, self.factor], np.float32)
        weight.set_initializer(Tensor.of(scaled.astype(np.float32)))
        context.find("IRK000", "a-rule", "scaled", model.graph.node("mul"))
        context.refuse("a-rule", "neg", "not this one")


def case_of(folder: Path, text: str) -> Case:
    folder.mkdir(exist_ok=True)
    (folder / "case.irkit").write_text(text, encoding="utf-8")
    return Case.read(folder / "case.irkit")


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    def make(case: Case) -> Pass:
        return ScaleChannel(0.9)

    monkeypatch.setattr(Case, "make_pass", make)
    return case_of(tmp_path / "scale-channel", TEXT)


def test_updating_writes_what_then_passes(case: Case) -> None:
    test_golden.test_structure(case, True)
    written = Case.read(case.path)
    assert written.before.strip() == TEXT.strip()
    assert "%a: float32[2,3] = Neg(%x) @neg\n" in written.after
    assert written.after.endswith("# finding a-rule mul: scaled\n# refused neg: a-rule: not this one\n")
    test_golden.test_structure(written, False)


@pytest.mark.parametrize(
    ("old", "new"), [("@neg", "@other"), ("2.6999998", "2.7"), ("# refused", "#"), ("Mul(", "Div(")]
)
def test_another_text_fails(case: Case, old: str, new: str) -> None:
    test_golden.test_structure(case, True)
    written = Case.read(case.path)
    assert old in written.after
    with pytest.raises(AssertionError):
        test_golden.test_structure(case_of(case.path.parent, f"{TEXT}----\n{written.after.replace(old, new)}"), False)


def test_a_missing_text_fails(case: Case) -> None:
    with pytest.raises(AssertionError):
        test_golden.test_structure(case, False)


def test_a_wrong_rewrite_fails_by_numbers(case: Case) -> None:
    with pytest.raises(AssertionError, match="output 'y'"):
        test_golden.test_numbers(case)


def test_a_pass_that_changes_something_each_time_fails(case: Case) -> None:
    with pytest.raises(AssertionError):
        test_golden.test_again_changes_nothing(case)


def test_a_model_that_does_not_parse_is_told_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"case\.irkit, line 1, column 1"):
        case_of(tmp_path, "grap\n----\n").model()


def test_numbers_tell_shapes_outputs_and_values_apart() -> None:
    base = parse_model("graph(%x: float32[N,3]) -> (%y) { %y = Relu(%x) }")
    same = parse_model("graph(%x: float32[2,3]) -> (%y) { %a = Neg(%x) %b = Neg(%a) %y = Relu(%b) }")
    renamed = parse_model("graph(%x: float32[N,3]) -> (%z) { %z = Relu(%x) }")
    other = parse_model("graph(%x: float32[N,3]) -> (%y) { %y = Abs(%x) }")
    shape = parse_model("graph(%x: float32[N,3]) -> (%y) { %r = Relu(%x) %y = Flatten(%r) {axis=0} }")
    assert different(base, same) == ""
    assert "became ['z']" in different(base, renamed)
    assert "output 'y'" in different(base, other)
    assert "shape" in different(base, shape)


def test_a_pass_is_run_with_types() -> None:
    @irkit.define_pass("look-at-types", effect="exact")
    class LookAtTypes(Pass):
        """Reads a type, edits, and reads the new one."""

        def run(self, model: Model, context: Context) -> None:
            context.note(str(model.graph.values["a"].type))
            model.graph.node("t").set_attr("perm", [1, 0])
            context.update_types()
            context.note(str(model.graph.values["a"].type))

    model = parse_model("graph(%x: float32[2,3]) -> (%y) { %a = Transpose(%x) {perm=[0,1]} @t %y = Relu(%a) }")
    assert run_pass(LookAtTypes(), model).notes == {"look-at-types": ["float32[2,3]", "float32[3,2]"]}
