"""Mistakes in passes of a user's own: what is said of each, and that nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import irkit
from irkit.cli import main
from irkit.errors import UserPassError
from tests.whole.mistakes import DESCRIBED, EDITED, LOADED, MODEL, REPLACED, Mistake, rule, run

ALL = (*REPLACED, *DESCRIBED, *EDITED, *LOADED)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    irkit.save(irkit.parse_model(MODEL), path)
    return path


def optimize(model: Path, source: str, *more: str) -> tuple[int, Path]:
    """Run a pass file over the model by the command line; returns the exit code and the file."""
    file = model.parent / "my_passes.py"
    file.write_text(source, encoding="utf-8")
    out = str(model.parent / "out")
    return main(["optimize", str(model), "--passes", str(file), "-o", out, *more]), file


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.name.replace(" ", "-"))
def test_a_mistake_is_told_with_pass_line_and_node_and_nothing_is_written(
    mistake: Mistake, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model.read_bytes()
    code, file = optimize(model, mistake.source)
    told = capsys.readouterr().err
    assert code == 2, told
    assert mistake.says in told
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) == 1
    assert "mine" in told or not mistake.names_pass
    assert mistake.node in told
    assert (f"{file}:{mistake.line}" if mistake.line else str(file)) in told
    assert model.read_bytes() == before
    assert sorted(path.name for path in model.parent.iterdir() if path.name != "__pycache__") == [
        "model.onnx",
        "my_passes.py",
    ]


def test_the_list_is_long_and_has_no_mistake_twice() -> None:
    assert len({mistake.source for mistake in ALL}) == len(ALL) >= 25


# What is wrong is told in the same way wherever the pass comes from.


def test_mistakes_are_told_from_python_too_and_the_model_is_as_before() -> None:
    @irkit.define_pass("mine")
    class Mine(irkit.Pass):
        """Breaks off half way."""

        def run(self, model: irkit.Model, context: irkit.Context) -> None:
            node = model.graph.node("act")
            node.set_attr("alpha", 1.0)
            raise ZeroDivisionError("oops")

    model = irkit.parse_model(MODEL)
    before = irkit.print_model(model)
    line = Mine.run.__code__.co_firstlineno + 3
    with pytest.raises(UserPassError, match=rf"pass 'mine' \(.*test_mistakes\.py:{line}\): at HardSwish 'act': Zero"):
        irkit.run_passes(model, [Mine()])
    assert irkit.print_model(model) == before
    with pytest.raises(UserPassError, match="ZeroDivisionError: oops"):
        irkit.optimize(model, only=[Mine()])
    assert irkit.print_model(model) == before


def test_an_error_of_irkits_that_a_pass_causes_names_the_pass() -> None:
    @irkit.define_pass("mine")
    class Mine(irkit.Pass):
        """Asks for what is not there."""

        def run(self, model: irkit.Model, context: irkit.Context) -> None:
            irkit.get_pass("nosuch")

    with pytest.raises(UserPassError, match=r"pass 'mine' \(.*:\d+\): there is no pass `nosuch`"):
        irkit.run_passes(irkit.parse_model(MODEL), [Mine()])


# What is not exact.


def test_a_wrong_effect_is_proven_wrong_told_as_an_error_and_taken_back(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = rule("def replace(self, op, x):  # here\n    return op.Relu(x)")
    code, file = optimize(model, source, "--only", "mine", "--format", "json")
    told = json.loads(capsys.readouterr().out)
    (finding,) = [item for item in told["findings"] if item["code"] == "IRK032"]
    line = Mistake("", source, "").line
    assert code == 1
    assert (finding["severity"], finding["node"]) == ("error", "act")
    assert f"pass 'mine' ({file}:{line}): the rewrite 'mine' was proven wrong" in finding["message"]
    with irkit.load(model.parent / "out" / "model.onnx") as result:
        assert result.graph.node("act").op == "HardSwish"


# What is no mistake.


def test_what_a_pass_prints_does_not_get_into_the_result(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = optimize(model, run("print('hello')"), "--only", "mine", "--format", "json")
    told = capsys.readouterr()
    json.loads(told.out)
    assert code == 0
    assert "hello" in told.err


def test_an_interruption_goes_through_and_writes_nothing(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = optimize(model, run("raise KeyboardInterrupt"))
    assert code == 130
    assert "interrupted" in capsys.readouterr().err
    assert not (model.parent / "out").exists()


def test_an_option_of_a_wrong_type_names_the_pass_and_the_option(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = rule("def replace(self, x):\n    return x", more="alpha: float = 0.5\n")
    assert optimize(model, source, "--pass", "mine{alpha=much}")[0] == 2
    assert "option `alpha` of pass `mine` takes a number (float); found `much`" in capsys.readouterr().err
    assert optimize(model, source, "--pass", "mine{beta=1}")[0] == 2
    assert "pass 'mine' has no option 'beta'; its options: alpha" in capsys.readouterr().err


HARDSWISH = '''import irkit


@irkit.rewrite("hardswish-to-relu", effect="retrain")
class HardSwishToRelu:
    """Replace HardSwish by Relu."""
    def pattern(self, op, x):
        return op.HardSwish(x)
    def replace(self, op, x):
        return op.Relu(x)
'''


def test_the_rule_people_write_first_fits_in_ten_lines(model: Path) -> None:
    assert len(HARDSWISH.splitlines()) <= 10
    code, _ = optimize(model, HARDSWISH, "--accept-drift", "hardswish-to-relu", "--only", "hardswish-to-relu")
    assert code == 0
    with irkit.load(model.parent / "out" / "model.onnx") as result:
        assert [node.op for node in result.graph] == ["Relu", "Mul", "Relu", "Neg"]
        assert result.graph.node("act").output.name == "h"
