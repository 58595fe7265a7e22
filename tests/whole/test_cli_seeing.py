"""The command line for seeing what passes do, and for finding what went wrong: optimize --why, diff, bisect, reduce."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import irkit
from irkit import diff, load, parse_model, save
from tests.whole.sources import ROOT
from tests.whole.test_cli import DYNAMIC, GELU, PLAIN, run

WRONG = '''"""Passes that go wrong."""

import irkit


@irkit.rewrite("leak", effect="exact")
class Leak:
    """Relu leaks, which changes the function."""

    def pattern(self, op, x):
        return op.Relu(x)

    def replace(self, op, x):
        return op.LeakyRelu(x, alpha=0.1)
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    return tmp_path


def fails_with(mark: str, code: int = 3) -> str:
    """A command that fails on models that hold a word."""
    return f"{sys.executable} -c \"import sys; sys.exit({code} * (b'{mark}' in open(sys.argv[1], 'rb').read()))\" {{}}"


# --- passes of one's own are held to what they declare ---------------------------------------------------------------


def test_a_wrong_pass_is_taken_back_and_named_with_its_line(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = run(capsys, "optimize", PLAIN, "--passes", "wrong.py", "-o", "out", "--format", "json")
    told = json.loads(out)
    assert code == 1
    assert {(item["pass"], item["rule"]) for item in told["taken_back"]} == {("leak", "leak")}
    assert told["next"] == f"irkit bisect {PLAIN} --passes wrong.py"
    (finding, *_) = [item for item in told["findings"] if item["rule"] == "wrong-rewrite"]
    assert f"{here / 'wrong.py'}:" in finding["message"]
    assert (finding["severity"], "leak" in finding["message"]) == ("error", True)
    assert {item["verdict"] for item in told["proofs"]} == {"proven"}
    with load(here / "out" / "model.onnx") as model:
        ops = [node.op for node in model.graph]
    assert "LeakyRelu" not in ops
    assert ops.count("Relu") == 4
    assert "BatchNormalization" not in ops  # what was right is still done


def test_the_verdict_on_a_wrong_pass_does_not_blame_the_model(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "wrong.py").write_text(WRONG, encoding="utf-8")
    code, out, _ = run(capsys, "optimize", PLAIN, "--passes", "wrong.py", "-o", "out")
    assert code == 1
    assert "A pass was wrong and was taken back; nothing else that is known" in out


def test_why_does_not_point_at_errors_it_does_not_show(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    save(parse_model("graph(%x: float32[N,3,8,8]) -> (%y) { %y = Relu(%x) @act }"), here / "open.onnx")
    code, out, _ = run(capsys, "optimize", "open.onnx", "--only", "remove-dead", "--why", "act")
    assert code == 1
    assert "the errors that are told without --why need your hand" in out
    assert out.rstrip().endswith("irkit optimize open.onnx --only remove-dead --trace")


def test_an_approximate_pass_is_measured_and_has_to_be_accepted(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "wrong.py").write_text(WRONG.replace('"exact"', '"approximate"'), encoding="utf-8")
    words = ["optimize", PLAIN, "--passes", "wrong.py", "-o", "out", "--force", "--format", "json"]
    code, out, _ = run(capsys, *words)
    told = json.loads(out)
    (drift,) = told["drifts"]
    assert (code, told["drift"], told["taken_back"]) == (1, "unaccepted", [])
    assert (drift["pass_name"], drift["effect"], drift["reason"]) == ("leak", "approximate", "")
    assert drift["outputs"][0]["error"] > 0
    code, out, _ = run(capsys, *words, "--accept-drift", "leak")
    assert (code, json.loads(out)["drift"]) == (0, "accepted")


# --- optimize --------------------------------------------------------------------------------------------------------


def test_why_tells_of_one_node_and_writes_nothing(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    node = "/features/features.0/features.0.1/BatchNormalization"
    code, out, err = run(capsys, "optimize", PLAIN, "--why", node)
    assert (code, err) == (0, "")
    assert out.startswith(f"why {node}\n  was: ")
    assert "  fold-batchnorm rewrote it: into-layer-before at " in out
    assert out.rstrip().splitlines()[-1].startswith("next: irkit optimize ")
    assert [path.name for path in here.iterdir()] == ["wrong.py"]


def test_why_with_a_folder_writes_it_too(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = run(capsys, "optimize", PLAIN, "--why", "/Reshape", "-o", "out", "--format", "json")
    told = json.loads(out)
    assert code == 0
    assert (here / "out" / "model.onnx").exists()
    assert [history["node"] for history in told["why"]] == ["/Reshape"]
    assert set(told["why"][0]) == {"node", "before", "after", "entries", "silent"}


def test_why_of_a_node_that_is_not_there_names_the_nearest(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, err = run(capsys, "optimize", PLAIN, "--why", "/Reshap")
    assert (code, out) == (2, "")
    assert err == "irkit optimize: there is no node `/Reshap`; did you mean `/Reshape`?\n"


def test_trace_stands_in_the_text_and_in_the_report(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = run(capsys, "optimize", PLAIN, "--trace", "-o", "out")
    assert code == 0
    assert "\nfold-batchnorm: into-layer-before at /features/" in out
    trace = json.loads((here / "out" / "report.json").read_text(encoding="utf-8"))["trace"]
    folded = [step for step in trace if step["pass"] == "fold-batchnorm"]
    assert folded
    assert all(len(step["before"]) == 2 and len(step["after"]) == 1 for step in folded)
    run(capsys, "optimize", PLAIN, "-o", "plain")
    assert "trace" not in json.loads((here / "plain" / "report.json").read_text(encoding="utf-8"))


def test_dumps_go_into_a_folder_of_their_own(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = run(capsys, "optimize", PLAIN, "--dump-after", "fold-batchnorm", "-o", "out")
    assert code == 0
    assert "written: out-passes/" in out
    names = sorted(path.name for path in (here / "out-passes").iterdir())
    assert [name.split("-", 1)[1] for name in names] == ["fold-batchnorm.onnx", "fold-batchnorm.txt"] * (
        len(names) // 2
    )
    code, _, err = run(capsys, "optimize", PLAIN, "--dump-after", "all", "-o", "other", "--dump-dir", "out-passes")
    assert (code, err) == (2, "irkit optimize: out-passes exists; --force writes into it, --dump-dir DIR elsewhere\n")
    code, _, err = run(capsys, "optimize", PLAIN, "--dump-after", "fold", "-o", "third")
    assert (code, (here / "third").exists()) == (2, False)
    assert "--dump-after fold: that pass does not run" in err


# --- diff ------------------------------------------------------------------------------------------------------------


def test_diff_of_equal_models(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "diff", PLAIN, PLAIN)
    assert (code, err) == (0, "")
    assert out.startswith("The models are equal: 20 nodes.\nnext: irkit lint ")


def test_diff_tells_what_changed_and_how_much(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "diff", PLAIN, GELU, "--limit", "1")
    assert code == 1
    assert "more (--limit 0 shows them)" in out
    assert "The models differ; nodes: " in out
    assert out.rstrip().splitlines()[-1].startswith("next: irkit show ")
    code, out, _ = run(capsys, "diff", PLAIN, GELU, "--format", "json")
    told = json.loads(out)
    assert (code, told["equal"]) == (1, False)
    with load(PLAIN) as left, load(GELU) as right:
        assert told["summary"] == diff(left, right).to_json()["summary"]


def test_diff_of_what_cannot_be_read(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, err = run(capsys, "diff", PLAIN, here / "wrong.py")
    assert (code, out) == (2, "")
    assert "not an ONNX model" in err


# --- bisect ----------------------------------------------------------------------------------------------------------


def test_bisect_names_the_pass_its_line_and_the_rewrite(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    pipeline = "name-nodes,fold-constants,leak,remove-dead"
    code, out, err = run(capsys, "bisect", PLAIN, "--pipeline", pipeline, "--passes", "wrong.py")
    assert (code, err) == (1, "")
    assert f"bad: leak (exact), {here / 'wrong.py'}:13" in out
    assert "1 of 4 rewrites show it" in out
    assert "smallest model: 1 of 17 nodes" in out
    assert "leak is the first bad pass." in out
    folder = here / "imu_classifier_bn-culprit"
    assert sorted(path.name for path in folder.iterdir()) == ["after.onnx", "before.onnx", "culprit.json", "inputs.npz"]
    again = out.rstrip().splitlines()[-1].removeprefix("next: irkit ").split()
    code, out, _ = run(capsys, *again, "-o", "again")
    assert code == 1
    assert "wrong-rewrite" in out


def test_bisect_of_a_pipeline_that_is_right(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = run(capsys, "bisect", DYNAMIC, "--format", "json")
    told = json.loads(out)
    assert (code, told["culprit"], told["verdict"]) == (0, None, "No pass is bad.")
    assert "lower-opset" in told["judged"]
    assert [path.name for path in here.iterdir()] == ["wrong.py"]


def test_bisect_with_a_command(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    words = ["--pipeline", "leak", "--passes", "wrong.py", "--check", fails_with("LeakyRelu")]
    code, out, _ = run(capsys, "bisect", PLAIN, *words)
    assert code == 1
    assert "bad: exit code 3" in out
    code, out, err = run(capsys, "bisect", PLAIN, "--pipeline", "name-nodes", "--check", fails_with("Conv"), "-o", "x")
    assert (code, out) == (2, "")
    assert "no pass is to blame" in err


# --- reduce ----------------------------------------------------------------------------------------------------------


def test_reduce_writes_the_smallest_model_that_fails(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, err = run(capsys, "reduce", PLAIN, "--check", fails_with("MaxPool"))
    assert (code, err) == (0, "")
    assert "Reduced from 24 to 1 nodes; it fails as before: exit code 3." in out
    assert out.endswith("written: imu_classifier_bn-small.onnx\nnext: irkit show imu_classifier_bn-small.onnx\n")
    with load("imu_classifier_bn-small.onnx") as model:
        assert [node.op for node in model.graph] == ["MaxPool"]
    code, _, err = run(capsys, "reduce", PLAIN, "--check", fails_with("MaxPool"))
    assert (code, "exists; --force replaces it" in err) == (2, True)


def test_reduce_for_a_pipeline(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    words = ["--pipeline", "fold-constants,leak", "--passes", "wrong.py", "-o", "small.onnx", "--format", "json"]
    code, out, _ = run(capsys, "reduce", PLAIN, *words)
    told = json.loads(out)
    assert (code, told["outcome"], told["nodes_after"]) == (0, "leak: wrong", 1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--check", "true"], "finds nothing wrong with the model as it is"),
        (["--check", "no-such-command-here"], "cannot run `no-such-command-here`"),
        ([], "give --check CMD or --pipeline"),
        (["--check", "false", "--pipeline", "default"], "one of them"),
        (["--check", "false", "-o", "no/such/folder.onnx"], "there is no folder"),
        (["--check", "false", "--max-runs", "0"], "numbers above 0"),
        (["--check", "false", "--fail-text", "("], "no regular expression"),
        (["--pipeline", ""], "--pipeline names no pass"),
        (["--pipeline", "no-such-pass"], "there is no pass `no-such-pass`"),
    ],
)
def test_reduce_tells_what_is_wrong_and_writes_nothing(
    capsys: pytest.CaptureFixture[str], here: Path, words: list[str], message: str
) -> None:
    code, out, err = run(capsys, "reduce", PLAIN, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert [path.name for path in here.iterdir()] == ["wrong.py"]


def test_reduce_never_writes_over_the_model(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    irkit.save(irkit.load(PLAIN), here / "model.onnx")
    before = (here / "model.onnx").read_bytes()
    code, _, err = run(capsys, "reduce", "model.onnx", "--check", "false", "-o", "model.onnx", "--force")
    assert (code, "is the model itself" in err) == (2, True)
    assert (here / "model.onnx").read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="signals are sent as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_reduce_keeps_what_it_has_when_it_is_interrupted(here: Path, number: signal.Signals) -> None:
    """The check writes a mark after some runs and then hangs; it is ended with the command."""
    script = here / "check.py"
    script.write_text(
        "import pathlib, sys, time\ncount = pathlib.Path('count')\n"
        "runs = int(count.read_text()) if count.exists() else 0\n"
        "count.write_text(str(runs + 1))\nif runs == 6:\n    pathlib.Path('mark').touch()\n    time.sleep(60)\n"
        "sys.exit(b'MaxPool' in open(sys.argv[1], 'rb').read())\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "irkit", "reduce", str(PLAIN), "--check", f"{sys.executable} check.py {{}}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=here, env=environment, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (here / "mark").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in out
    with load(here / "imu_classifier_bn-small.onnx") as model:
        assert len(model.graph) < 24
        assert any(node.op == "MaxPool" for node in model.graph)
