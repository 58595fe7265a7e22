"""Reducing a model that fails: what is left is small, valid, fails as before, and is the same each time."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

import irkit
from irkit import Model, OptionError, Reduction, load, parse_model
from irkit.executor import open_session
from irkit.inputs import draw, input_specs
from irkit.structure import equal
from tests import corpus


def chain(length: int = 40, special: dict[int, str] | None = None) -> Model:
    """Operators in a row, each with a neighbour to add, some of them special."""
    lines, last = [], "x"
    for i in range(length):
        op = (special or {}).get(i) or ("Relu" if i % 3 else "Abs")
        shape = "float32[1,8,4,4]"
        lines.append(f"%v{i}: {shape} = {op}(%{last}) @n{i}")
        if i % 5 == 4:
            lines.append(f"%s{i}: {shape} = Add(%v{i}, %v{i - 3}) @a{i}")
        last = f"s{i}" if i % 5 == 4 else f"v{i}"
    body = "\n".join(lines)
    return parse_model(f"opset 17\ngraph(%x: float32[1,8,4,4]) -> (%{last}: float32[1,8,4,4]) {{\n{body}\n}}")


def operators(model: Model) -> list[str]:
    return [node.op for node in model.walk()]


def holding(*ops: str) -> Callable[[Path], bool]:
    """A model fails that holds these operators and can be read by onnx: what is not valid never fails."""

    def check(path: Path) -> bool:
        onnx.checker.check_model(str(path), full_check=True)
        with load(path) as model:
            return set(ops) <= set(operators(model))

    return check


def reduced(model: Model, check: Callable[[Path], bool | str] | str, max_runs: int = 5000) -> Reduction:
    found = irkit.reduce(model, check, max_runs=max_runs)
    onnx.checker.check_model(irkit.to_proto(found.model), full_check=True)
    return found


def test_only_what_fails_is_left() -> None:
    found = reduced(chain(special={11: "Erf", 29: "Sin"}), holding("Erf", "Sin"))
    assert sorted(operators(found.model)) == ["Erf", "Sin"]
    assert (found.nodes_before, found.nodes_after, found.outcome, found.stopped) == (48, 2, "fails", "")
    assert found.runs < 100


def feeds_into(path: Path) -> bool:
    """Whether an Erf is computed of a Sin."""
    with load(path) as model:
        stack = [node for node in model.graph if node.op == "Erf"]
        while stack:
            node = stack.pop()
            if node.op == "Sin":
                return True
            stack += [value.producer for value in node.inputs if value is not None and value.producer is not None]
        return False


def test_what_lies_between_is_bypassed() -> None:
    """Cutting alone cannot help here: the nodes between carry the value on."""
    found = reduced(chain(special={11: "Sin", 29: "Erf"}), feeds_into)
    assert operators(found.model) == ["Sin", "Erf"]
    assert found.model.graph.inputs[0].shape == (1, 1, 1, 1)


def test_either_operand_may_be_what_is_needed() -> None:
    """The Sin is the second operand of the Add between it and the Erf."""
    text = parse_model(
        "opset 17\ngraph(%x: float32[2], %z: float32[2]) -> (%y: float32[2]) {\n%a = Sin(%x) @sin\n"
        "%b = Add(%z, %a) @add\n%y = Erf(%b) @erf\n}"
    )
    assert operators(reduced(text, feeds_into).model) == ["Sin", "Erf"]


def test_the_result_is_the_same_each_time() -> None:
    first, second = (reduced(chain(special={11: "Erf", 29: "Sin"}), holding("Erf", "Sin")) for _ in range(2))
    assert equal(first.model, second.model)
    assert first.runs == second.runs


def test_a_thousand_nodes_take_few_runs() -> None:
    found = irkit.reduce(chain(1000, {700: "Erf"}), lambda path: b"Erf" in path.read_bytes())
    assert operators(found.model) == ["Erf"]
    assert found.runs < 60


def test_weights_become_simple_and_small_and_the_model_runs() -> None:
    text = parse_model(
        "opset 17\ngraph(%x: float32[N,16,32,32]) -> (%y: float32[N,16,32,32]) {\n"
        "%w: float32[32,16,3,3] = random(seed=1)\n%v: float32[16,32,1,1] = random(seed=2)\n"
        "%a = Conv(%x, %w) {pads=[1,1,1,1], kernel_shape=[3,3]} @c\n"
        "%b = Relu(%a) @r\n%y = Conv(%b, %v) @d\n}"
    )
    found = reduced(text, holding("Conv", "Relu"))
    assert sorted(operators(found.model)) == ["Conv", "Relu"]
    assert all(value.constant is None or value.constant.size <= 4 for value in found.model.graph.initializers.values())
    open_session(found.model).run(draw(input_specs(found.model, {}), 0))


def test_shape_arithmetic_is_cut_as_constants() -> None:
    text = parse_model(
        "opset 17\ngraph(%x: float32[2,12]) -> (%y: float32[2,3,4]) {\n%f: int64[1] = [0]\n%s = Shape(%x) @shape\n"
        "%c: int64[2] = [3, 4]\n%b = Gather(%s, %f) @gather\n%t = Concat(%b, %c) {axis=0} @concat\n"
        "%z = Neg(%x) @neg\n%y = Reshape(%z, %t) @reshape\n}"
    )
    found = reduced(text, holding("Reshape"))
    assert operators(found.model) == ["Reshape"]
    shape = found.model.graph.node("reshape").inputs[1]
    assert shape is not None
    assert shape.constant is not None


def test_an_if_gives_way_to_its_branch() -> None:
    text = parse_model(
        "opset 17\ngraph(%c: bool[], %x: float32[2]) -> (%y: float32[2]) {\n%y = If(%c) {"
        "then_branch=graph() -> (%t: float32[2]) {\n%t = Neg(%x) @neg\n}, "
        "else_branch=graph() -> (%e: float32[2]) {\n%h = Abs(%x) @abs\n%e = Erf(%h) @erf\n}} @if\n}"
    )
    assert operators(reduced(text, holding("Erf")).model) == ["Erf"]


def test_nodes_inside_a_nested_graph_go_too() -> None:
    def nested(path: Path) -> bool:
        with load(path) as model:
            return any(node.op == "Erf" for top in model.graph for graph in top.subgraphs for node in graph)

    text = parse_model(
        "opset 17\ngraph(%c: bool[], %x: float32[2]) -> (%y: float32[2]) {\n%z = Exp(%x) @exp\n%y = If(%c) {"
        "then_branch=graph() -> (%t: float32[2]) {\n%a = Neg(%z) @neg\n%t = Sin(%a) @sin\n}, "
        "else_branch=graph() -> (%e: float32[2]) {\n%h = Abs(%z) @abs\n%k = Cos(%h) @cos\n%e = Erf(%k) @erf\n}} @if\n}"
    )
    left = operators(reduced(text, nested).model)
    assert sorted(left) == ["Constant", "Erf", "If"]


def test_a_model_that_does_not_fail_is_told_and_left() -> None:
    with pytest.raises(OptionError, match="the check finds nothing wrong with the model as it is"):
        irkit.reduce(chain(), lambda path: False)


@pytest.mark.parametrize("bounds", [{"max_runs": 0}, {"timeout": 0}])
def test_bounds_are_checked(bounds: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="numbers above 0"):
        irkit.reduce(chain(), lambda path: True, **bounds)  # type: ignore[arg-type]


def test_bounds_leave_the_smallest_so_far() -> None:
    found = reduced(chain(special={11: "Erf"}), holding("Erf"), max_runs=5)
    assert found.runs == 5
    assert found.stopped == "the limit of 5 runs is reached"
    assert 1 < found.nodes_after < found.nodes_before


def test_an_interrupt_leaves_the_smallest_so_far() -> None:
    calls = itertools.count()

    def check(path: Path) -> bool:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return holding("Erf")(path)

    found = reduced(chain(special={11: "Erf"}), check)
    assert found.stopped == "interrupted"
    assert found.nodes_after < found.nodes_before
    assert "Erf" in operators(found.model)


def test_another_kind_of_failure_does_not_count() -> None:
    """Where cutting makes a model fail in another way, that is no smaller case of the same failure."""

    def check(path: Path) -> str:
        with load(path) as model:
            return "" if "Erf" not in operators(model) else "small" if len(model.graph) < 10 else "large"

    found = reduced(chain(special={11: "Erf"}), check)
    assert found.outcome == "large"
    assert found.nodes_after == 10


def test_the_file_that_was_given_is_never_touched(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    irkit.save(chain(special={11: "Erf"}), path)
    before = path.read_bytes()
    seen: set[Path] = set()

    def check(candidate: Path) -> bool:
        seen.add(candidate)
        return b"Erf" in candidate.read_bytes()

    found = irkit.reduce(path, check)
    assert path.read_bytes() == before
    assert path not in seen
    assert [candidate.name for candidate in seen] == ["model.onnx"]
    assert not any(candidate.exists() for candidate in seen)
    assert found.nodes_after == 1


# --- commands --------------------------------------------------------------------------------------------------------

FAILS_WITH = "import sys; data = open(sys.argv[1], 'rb').read(); print('bad Erf'); sys.exit(3 if b'Erf' in data else 0)"


def python(script: str, *words: str) -> str:
    return f'{sys.executable} -c "{script}" {" ".join(words)}'


def test_a_command_fails_by_its_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    irkit.save(chain(4, {1: "Erf"}), path)
    assert irkit.command_check(python(FAILS_WITH))(path) == "exit code 3"
    assert irkit.command_check(python(FAILS_WITH, "{}", "ignored"))(path) == "exit code 3"
    assert irkit.command_check(python(FAILS_WITH), text="bad E.f")(path) == "exit code 3"
    assert irkit.command_check(python(FAILS_WITH), text="other")(path) == ""
    irkit.save(chain(4), path)
    assert irkit.command_check(python(FAILS_WITH))(path) == ""


def test_a_command_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"import subprocess; subprocess.run(['sh', '-c', 'sleep 2; touch {mark}'])"
    assert irkit.command_check(python(script), timeout=0.3)(tmp_path) == "no end within 0.3 s"
    assert irkit.command_check("sleep 3", timeout=0.2)(tmp_path)  # long enough for what the first one started
    assert not mark.exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [("", "is empty"), ("'open", "cannot be split"), ("no-such-command-here {}", "cannot run `no-such-command-here`")],
)
def test_commands_that_cannot_be_run(command: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        irkit.reduce(chain(4), command)
    with pytest.raises(OptionError, match="no regular expression"):
        irkit.command_check("true", text="(")


@pytest.mark.corpus
@corpus.each(lambda entry: entry["name"] in ("silero_v6_if", "bert_tiny__ts13", "local_functions", "gru2__ts17-dseq"))
def test_real_models_stay_valid_at_every_step(entry: dict[str, str]) -> None:
    with load(corpus.path_of(entry)) as model:
        op = sorted(set(operators(model)) - {"Constant"})[0]
        found = reduced(model, holding(op), max_runs=200)
    assert found.nodes_after <= 2
