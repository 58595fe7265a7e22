"""The command line: results on stdout, messages on stderr, exit codes, a verdict and the next command at the end."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

import irkit
from irkit import compiler, linting
from irkit.cli import main
from tests.whole.sources import ROOT

MODELS = ROOT / "examples" / "01_imu_classifier" / "models"
PLAIN = MODELS / "imu_classifier_bn.onnx"
DYNAMIC = MODELS / "imu_classifier_dynamo.onnx"
GELU = MODELS / "imu_classifier_gelu.onnx"
BUNDLE = {
    "model.onnx", "model.alls", "script.json", "compile.py", "compile_for_hailo8.sh", "preprocess.json", "io_map.json",
    "golden", "selftest.py", "DEPLOYMENT_README.md", "report.json", "report.md", "manifest.json",
}  # fmt: skip


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def shell(command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(["bash", "-c", command], check=False, capture_output=True, text=True, env=environment)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- what is printed -------------------------------------------------------------------------------------------------


def test_optimize_writes_the_folder_and_tells_what_it_did(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, err = run(capsys, "optimize", PLAIN)
    assert (code, err) == (0, "")
    folder = here / "imu_classifier_bn-hailo8"
    assert {item.name for item in folder.iterdir()} == BUNDLE
    assert "fold-batchnorm  17 -> 14 nodes" in out
    assert "\n  proof        equal: " in out
    assert "its function is proven to be kept" in out
    last = out.splitlines()[-1]
    assert last == f"next: irkit optimize {PLAIN} --calib PATH -o imu_classifier_bn-hailo8 --force"
    assert os.listdir(here) == [folder.name]


def test_optimize_as_json_is_the_report_and_nothing_else(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    _, out, _ = run(capsys, "optimize", PLAIN, "-o", "out", "--format", "json")
    told, written = json.loads(out), json.loads((here / "out" / "report.json").read_text(encoding="utf-8"))
    assert {key: told[key] for key in written} == written
    assert told["output"] == "out"
    assert told["proofs"][0]["verdict"] == "proven"


def test_drift_is_an_error_until_it_is_accepted_or_left_out(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    code, out, _ = run(capsys, "optimize", GELU, "-o", "drift")
    assert code == 1
    assert "--accept-drift gelu-to-relu" in out
    assert {item.name for item in (here / "drift").iterdir()} == BUNDLE
    for flags, drift in ((["--accept-drift", "gelu-to-relu"], "accepted"), (["--exact"], "none")):
        assert run(capsys, "optimize", GELU, "-o", drift, *flags)[0] == 0
        assert json.loads((here / drift / "manifest.json").read_text(encoding="utf-8"))["drift"] == drift


def test_without_proof_the_verdict_says_so(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    _, out, _ = run(capsys, "optimize", PLAIN, "--no-verify", "--cut", "none")
    assert "proof was switched off" in out
    assert "is not proven" in out


def test_without_onnx_runtime_the_verdict_says_so(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, _ = run(capsys, "optimize", PLAIN)
    assert code == 0
    told = " ".join(out.split())
    assert "not verified: a proof runs the model in ONNX Runtime, which is not installed: pip install" in told
    assert "is not proven" in out


def test_shapes_are_bound(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = "graph(%x: float32[N,3,H,W]) -> (%y: float32[N,3,H,W]) {\n  %y = Relu(%x) @relu\n}"
    irkit.save(irkit.parse_model(text), here / "m.onnx")
    assert run(capsys, "optimize", "m.onnx", "-o", "a", "--bind", "H=8,W=6")[0] == 0
    assert run(capsys, "optimize", "m.onnx", "-o", "b", "--shape", "x=1,3,8,6")[0] == 0
    for name in "ab":
        with irkit.load(here / name / "model.onnx") as model:
            assert [value.shape for value in model.graph.outputs] == [(1, 3, 8, 6)]


def test_passes_are_picked(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    run(capsys, "optimize", PLAIN, "-o", "only", "--only", "lower-opset{opset=15},remove-dead")
    run(capsys, "optimize", PLAIN, "-o", "skip", "--skip", "fold-batchnorm,fold-constants")
    with irkit.load(here / "only" / "model.onnx") as only, irkit.load(here / "skip" / "model.onnx") as skipped:
        assert only.opset == 15
        for model in (only, skipped):
            assert "BatchNormalization" in [node.op for node in model.graph]
    report = json.loads((here / "only" / "report.json").read_text(encoding="utf-8"))
    assert [item["spec"] for item in report["passes"]] == ["lower-opset{opset=15}", "remove-dead"]
    run(capsys, "optimize", PLAIN, "-o", "wide", "--pass", "align-channels{multiple=48}")
    run(capsys, "optimize", PLAIN, "-o", "same", "--multiple", "48")
    for name in ("wide", "same"):
        with irkit.load(here / name / "model.onnx") as wide:
            widths = [node.output.shape[1] for node in wide.graph if node.op == "Conv" and node.output.shape]
        assert widths == [48, 96, 144]


def test_passes_of_ones_own_run_before_the_lowering(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "mine.py").write_text(
        "import irkit\n\n@irkit.define_pass('mine')\nclass Mine(irkit.Pass):\n"
        "    'Note that it ran.'\n    def run(self, model, context):\n        context.note('was here')\n",
        encoding="utf-8",
    )
    run(capsys, "optimize", PLAIN, "-o", "out", "--passes", "mine.py")
    names = [item["name"] for item in json.loads((here / "out" / "report.json").read_text(encoding="utf-8"))["passes"]]
    assert names.index("mine") == names.index("lower-opset") - 1
    _, out, _ = run(capsys, "passes", "mine", "--passes", "mine.py")
    assert "Note that it ran." in out


def test_show_prints_the_model_or_a_neighbourhood(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "show", PLAIN)
    assert code == 0
    assert "= Conv(" in out
    assert len(out) < 20_000, "weights are left out"
    assert f"next: irkit lint {PLAIN}" in err
    _, out, _ = run(capsys, "show", PLAIN, "--node", "/features/features.0/features.0.0/Conv")
    assert [line[0] for line in out.splitlines()] == [">", " "]
    code, _, err = run(capsys, "show", PLAIN, "--node", "/features/features.0/features.0.0/Con")
    assert code == 2
    assert "did you mean `/features/features.0/features.0.0/Conv`?" in err


def test_passes_are_listed_and_told_about(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "passes")
    assert code == 0
    for cls in irkit.all_passes():
        assert f"{cls.name} " in out
    _, out, _ = run(capsys, "passes", "lower-opset")
    assert "opset: int = 17" in out
    assert out.rstrip().endswith("lower_opset.py")
    assert json.loads(run(capsys, "passes", "lower-opset", "--format", "json")[1])["effect"] == "exact"
    assert {item["name"] for item in json.loads(run(capsys, "passes", "--format", "json")[1])} >= {"fold-batchnorm"}


# --- what goes wrong -------------------------------------------------------------------------------------------------


def cyclic() -> bytes:
    import onnx

    nodes = [onnx.helper.make_node("Relu", [a], [b], name=b) for a, b in (("b", "a"), ("a", "b"))]
    value = onnx.helper.make_tensor_value_info("a", 1, [1])
    graph = onnx.helper.make_graph(nodes, "g", [], [value])
    return encoded(graph)


def encoded(graph: Any) -> bytes:
    import onnx

    opset = [onnx.helper.make_opsetid("", 17)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def undefined() -> bytes:
    import onnx

    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["nowhere"], ["y"], name="relu")],
        "g",
        [],
        [onnx.helper.make_tensor_value_info("y", 1, [1])],
    )
    return encoded(graph)


def without_its_data() -> bytes:
    import onnx

    model = onnx.load(str(PLAIN))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="not_there.bin")
    return bytes(model.SerializeToString())


BAD_FILES: dict[str, tuple[Any, str]] = {
    "empty": (b"", "empty"),
    "truncated": (PLAIN.read_bytes()[:5000], ""),
    "noise": (bytes(range(255, 0, -1)) * 20, ""),
    "text": (b"these are notes about a model\n" * 20, ""),
    "cyclic": (cyclic, "cycle"),
    "undefined": (undefined, "nowhere"),
    "without its data": (without_its_data, "not_there.bin"),
}


def assert_one_message(code: int, out: str, err: str) -> None:
    assert code == 2, err
    assert out == ""
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert "bug" not in err


@pytest.mark.parametrize("command", ["lint", "optimize", "show"])
@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_model(capsys: pytest.CaptureFixture[str], here: Path, kind: str, command: str) -> None:
    content, expected = BAD_FILES[kind]
    (here / "bad.onnx").write_bytes(content() if callable(content) else content)
    code, out, err = run(capsys, command, "bad.onnx")
    assert_one_message(code, out, err)
    assert "bad.onnx" in err
    assert expected in err
    assert os.listdir(here) == ["bad.onnx"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere.onnx", "nowhere.onnx"),
        (".", "directory"),
        ("model.pt", "torch.onnx.export("),
        ("model.pth", "torch.onnx.export("),
        ("model.hef", "torch.onnx.export("),
        ("model.tflite", "tf2onnx"),
    ],
)
def test_what_is_no_model_file(capsys: pytest.CaptureFixture[str], here: Path, name: str, expected: str) -> None:
    for command in ("lint", "optimize", "show"):
        code, out, err = run(capsys, command, name)
        assert_one_message(code, out, err)
        assert expected in err


def test_an_operator_set_that_is_not_imported(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = "graph(%x: float32[1,3,4,4]) -> (%y: float32[1,3,4,4]) {\n  %a = other::Strange(%x) @n\n  %y = Relu(%a)\n}"
    model = irkit.parse_model(text)
    model.set_field("opset_imports", {"": 17})
    irkit.save(model, here / "m.onnx")
    code, out, err = run(capsys, "optimize", "m.onnx")
    assert_one_message(code, out, err)
    assert "no operator set is imported for the domain of other::Strange 'n'" in err
    assert os.listdir(here) == ["m.onnx"]


def test_a_model_without_outputs(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    model = irkit.parse_model("graph(%x: float32[1,3]) -> (%y) {\n  %y = Relu(%x)\n}")
    model.graph.set_outputs([])
    irkit.save(model, here / "m.onnx")
    for command in ("lint", "optimize"):
        code, out, err = run(capsys, command, "m.onnx")
        assert_one_message(code, out, err)
        assert "the model has no outputs" in err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--target", "hailo9"], "there is no target `hailo9` (did you mean hailo8?)"),
        (["--target", "hailo8@9"], "versions"),
        (["--bind", "N"], "--bind takes NAME=NUMBER, such as N=1; found `N`"),
        (["--bind", "N=0"], "--bind takes NAME=NUMBER"),
        (["--bind", "N=1,N=2"], "--bind gives N two numbers"),
        (["--bind", "nobody=1"], "nobody"),
        (["--bind", "batch=99999999999999999999"], "--bind takes NAME=NUMBER"),
        (["--shape", "imu_input"], "--shape takes INPUT=NUMBERS"),
        (["--shape", "nobody=1,2"], "nobody"),
        (["--shape", "imu_input=1,2"], "imu_input"),
        (["--shape", "imu_input=99999999999999999999,9,2,100"], "--shape takes INPUT=NUMBERS"),
        (["--shape", "imu_input=1,9,2,100", "--shape", "imu_input=2,9,2,100"], "--shape gives imu_input two shapes"),
        (["--only", "nothing"], "there is no pass `nothing`"),
        (["--only", "lower-opset{opset=x}"], "takes a number"),
        (["--only", "fold-batchnorms"], "`fold-batchnorms` (did you mean `fold-batchnorm`?); there are: align-"),
        (["--only", ""], "--only names no pass"),
        (["--skip", "nothing"], "there is no pass `nothing`"),
        (["--pass", "align-channels{multipl=16}"], "has no option 'multipl'"),
        (["--pass", "align-channels{multiple=16}", "--skip", "align-channels"], "which does not run"),
        (["--multiple", "-8"], "cannot be negative"),
        (["--passes", "nowhere"], "nowhere: no such file or folder of passes"),
        (["--accept-drift", "fold-batchnorm"], "that pass is exact"),
        (["--accept-drift", "gelu-to-relu", "--exact"], "does not run"),
        (["--exact", "--only", "gelu-to-relu"], "is not exact"),
        (["--verify", "maybe"], "invalid choice: 'maybe'"),
        (["--cut", "somewhere"], "--cut somewhere: the model has no node of that name"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
    ],
)
def test_wrong_flags(capsys: pytest.CaptureFixture[str], here: Path, flags: list[str], expected: str) -> None:
    code, out, err = run(capsys, "optimize", DYNAMIC, "-o", "out", *flags)
    assert_one_message(code, out, err)
    assert expected in err
    assert os.listdir(here) == []


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys)
    assert code == 2
    assert "COMMAND" in err


# --- what is written, and where not ----------------------------------------------------------------------------------


def test_an_existing_folder_is_replaced_only_when_forced(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    assert run(capsys, "optimize", PLAIN, "-o", "out")[0] == 0
    before = (here / "out" / "manifest.json").read_bytes()
    code, out, err = run(capsys, "optimize", PLAIN, "-o", "out", "--no-verify")
    assert_one_message(code, out, err)
    assert "--force" in err
    assert (here / "out" / "manifest.json").read_bytes() == before
    assert run(capsys, "optimize", PLAIN, "-o", "out", "--no-verify", "--force")[0] == 0
    assert (here / "out" / "manifest.json").read_bytes() != before
    assert os.listdir(here) == ["out"]


def test_what_irkit_did_not_write_is_never_replaced(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "photos").mkdir()
    (here / "photos" / "cat.jpg").touch()
    code, out, err = run(capsys, "optimize", PLAIN, "-o", "photos", "--force")
    assert_one_message(code, out, err)
    assert "cat.jpg" in err
    assert (here / "photos" / "cat.jpg").exists()
    (here / "file").touch()
    assert_one_message(*run(capsys, "optimize", PLAIN, "-o", "file", "--force"))
    assert (here / "file").read_bytes() == b""


def test_nothing_is_written_over_or_around_the_input(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    (here / "in").mkdir()
    shutil.copy(PLAIN, here / "in" / "model.onnx")
    before = (here / "in" / "model.onnx").read_bytes()
    for folder in ("in", ".", "in/model.onnx"):
        code, out, err = run(capsys, "optimize", "in/model.onnx", "-o", folder, "--force")
        assert_one_message(code, out, err)
    assert os.listdir(here / "in") == ["model.onnx"]
    assert (here / "in" / "model.onnx").read_bytes() == before


def test_a_full_disk_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    run(capsys, "optimize", PLAIN, "-o", "old")
    before = _contents(here / "old")
    monkeypatch.setattr(os, "fsync", full)
    for folder in ("new", "deep/er/new"):
        code, out, err = run(capsys, "optimize", PLAIN, "-o", folder)
        assert_one_message(code, out, err)
        assert "No space left on device" in err
    assert_one_message(*run(capsys, "optimize", PLAIN, "-o", "old", "--force"))
    assert os.listdir(here) == ["old"]
    assert _contents(here / "old") == before


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_message(here: Path) -> None:
    command = f"{sys.executable} -m irkit lint {PLAIN} > /dev/full"
    done = shell(command)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr


def test_an_unwritable_folder(capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(tempfile, "mkdtemp", denied)
    code, out, err = run(capsys, "optimize", PLAIN, "-o", "deep/out")
    assert_one_message(code, out, err)
    assert "Permission denied" in err
    assert os.listdir(here) == []


def test_a_model_that_is_rewritten_meanwhile(
    capsys: pytest.CaptureFixture[str], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(PLAIN, here / "m.onnx")
    plan = compiler.plan_passes

    def rewrite_file(*arguments: Any, **options: Any) -> Any:
        time.sleep(0.01)
        (here / "m.onnx").write_bytes(b"")
        return plan(*arguments, **options)

    monkeypatch.setattr(compiler, "plan_passes", rewrite_file)
    code, out, err = run(capsys, "optimize", "m.onnx", "-o", "out")
    assert_one_message(code, out, err)
    assert "m.onnx was rewritten" in err
    assert os.listdir(here) == ["m.onnx"]


def test_a_bug_is_confessed_without_a_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(linting, "lint_model", broken)
    code, out, err = run(capsys, "lint", PLAIN)
    assert (code, out) == (70, "")
    assert "this is a bug of irkit in test_cli.py, line" in err
    assert "Traceback" not in err
    monkeypatch.setenv("IRKIT_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["lint", str(PLAIN)])


def test_an_interrupt_is_one_word(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(linting, "lint_model", interrupted)
    assert run(capsys, "lint", PLAIN) == (128 + signal.SIGINT, "", "irkit: interrupted\n")


def test_a_closed_stdout_is_no_error() -> None:
    done = shell(f"{sys.executable} -m irkit lint {PLAIN} >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"set -o pipefail; {sys.executable} -m irkit show {PLAIN} | head -c 1"
    done = shell(command)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_a_model_that_may_be_refused_is_not_waved_through(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    text = "opset 17\ngraph(%x: float32[1,8,4,4]) -> (%y) { %a = Relu(%x) @a  %y = Softplus(%a) @odd }"
    irkit.save(irkit.parse_model(text), here / "odd.onnx")
    code, out, _ = run(capsys, "optimize", "odd.onnx", "-o", "out")
    assert code == 0
    assert "The compiler may refuse the model at 1 place" in out
    assert "Nothing that is known stands" not in out
