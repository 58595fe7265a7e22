"""The deployment checklist: every line passes, fails and stays open somewhere; none is green without a measurement."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from irkit.cli import main
from irkit.runtime.folder import add_file, open_bundle
from tests.whole.bundles import DOUBLES, IMU, PROJECT, channels_first, contents, in_float, optimize, read_json, samples

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

Array = np.ndarray[Any, np.dtype[Any]]
Lines = dict[str, dict[str, Any]]
NEEDS_DEVICE = {"end-to-end latency", "core latency", "right on the device"}
NEEDS_HEF = {"HEF size", "HEF is for the chip"}
NEEDS_DATA = {"accuracy", "calibration error", "conformal coverage", "accuracy in 8 bits"}
ON_A_LAPTOP = {
    "eval mode", "batch norms folded", "no dropout", "no dynamic shapes", "no unsupported operations",
    "weights are trained", "validated", "drift accepted", "simplified", "ONNX size", "compatibility", "calibration set",
    "compile script", "CPU latency baseline",
}  # fmt: skip
QUICK = "frames = 25\ncalibration_samples = 64\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, data that the network names rightly, and gates that are quick to measure."""
    folder = tmp_path_factory.mktemp("check")
    optimize(folder)
    for name, seed in (("test", 11), ("val", 12)):
        data = samples(160, seed)
        labels = in_float(IMU, data).argmax(1)
        np.savez(folder / f"{name}.npz", imu_input=channels_first(data), labels=labels)
    (folder / "gates.toml").write_text(QUICK, encoding="utf-8")
    return folder


@pytest.fixture
def work(home: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(home, tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def check(work: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Lines]]:
    """Runs irkit check in the folder; gives exit code and lines by name."""

    def run(*flags: str, gates: str = "") -> tuple[int, Lines]:
        (work / "gates.toml").write_text(QUICK + gates, encoding="utf-8")
        capsys.readouterr()
        given = [str(work / flag) if (work / flag).exists() and "." in flag else flag for flag in flags]
        code = main(["check", str(work / "bundle"), "--gates", str(work / "gates.toml"), "--format", "json", *given])
        plain = json.loads(capsys.readouterr().out)
        assert plain["passed"] + plain["failed"] + plain["not_checked"] == len(plain["lines"])
        assert code == int(plain["failed"] > 0)
        return code, {line["name"]: line for line in plain["lines"]}

    return run


Check = Callable[..., tuple[int, Lines]]


def states(lines: Lines, state: str) -> set[str]:
    return {name for name, line in lines.items() if line["state"] == state}


DATA = ("--data", "test.npz", "--validation", "val.npz")


# --- what a laptop can tell ------------------------------------------------------------------------------------------


def test_without_device_no_line_of_the_device_is_green(check: Check) -> None:
    code, lines = check(*DATA)
    assert code == 0
    assert states(lines, "not checked") == NEEDS_DEVICE | NEEDS_HEF
    assert states(lines, "pass") == ON_A_LAPTOP | NEEDS_DATA
    assert all("no Hailo device" in lines[name]["found"] for name in NEEDS_DEVICE)
    assert all(lines[name]["advice"] for name in NEEDS_DEVICE)


def test_without_data_nothing_is_said_of_accuracy(check: Check) -> None:
    code, lines = check()
    assert code == 0
    assert states(lines, "not checked") == NEEDS_DEVICE | NEEDS_HEF | NEEDS_DATA


def test_without_validation_data_there_is_no_coverage(check: Check, work: Path) -> None:
    _, lines = check("--data", "test.npz")
    assert lines["conformal coverage"]["state"] == "not checked"
    assert "without temperature" in lines["calibration error"]["found"]
    check(*DATA)
    fitted = read_json(work / "bundle" / "confidence.json")
    assert fitted["samples"] == 160
    open_bundle(work / "bundle")  # with its digest
    _, again = check("--data", "test.npz")
    assert again["conformal coverage"]["state"] == "pass"
    _, other = check("--data", "test.npz", gates="coverage = 0.8\n")
    assert other["conformal coverage"]["found"].startswith("the threshold is for 90%")


def test_limits_are_held(check: Check) -> None:
    code, lines = check(gates="onnx_mb = 0.001\n")
    assert code == 1
    assert states(lines, "fail") == {"ONNX size"}
    assert lines["ONNX size"]["advice"]


def test_a_calibration_set_that_is_too_small_or_drawn_fails(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", str(IMU), "-o", str(work / "drawn"), "--random-calib", "64"]) == 0
    for bundle, told in ((work / "bundle", "64 samples"), (work / "drawn", "drawn at random")):
        (work / "few.toml").write_text(f"frames = 5\ncalibration_samples = {65 if 'bundle' in bundle.name else 64}\n")
        capsys.readouterr()
        assert main(["check", str(bundle), "--gates", str(work / "few.toml"), "--format", "json"]) == 1
        lines = {line["name"]: line for line in json.loads(capsys.readouterr().out)["lines"]}
        assert states(lines, "fail") == {"calibration set"}
        assert told in lines["calibration set"]["found"]


def test_wrong_labels_fail_accuracy_calibration_and_coverage(check: Check, work: Path) -> None:
    with np.load(work / "test.npz") as found:
        inputs, labels = found["imu_input"], found["labels"]
    np.savez(work / "test.npz", imu_input=inputs, labels=(labels + 1) % 10)
    code, lines = check(*DATA)
    assert code == 1
    assert {"accuracy", "calibration error", "conformal coverage"} <= states(lines, "fail")
    assert lines["accuracy"]["value"] == 0.0


def test_what_8_bits_cost_is_measured(check: Check) -> None:
    """Labels are what the float model says, so that every sample that 8 bits change is lost."""
    _, lines = check(*DATA)
    lost = lines["accuracy in 8 bits"]["value"]
    assert "emulation" in lines["accuracy in 8 bits"]["found"]
    code, strict = check(*DATA, gates="int8_drop = 1e-9\n")
    assert (strict["accuracy in 8 bits"]["state"] == "fail") == (lost > 0) == (code == 1)


def test_a_cut_bundle_is_emulated_whole(check: Check, work: Path) -> None:
    optimize(work, "--cut", PROJECT)
    _, lines = check(*DATA)
    assert lines["accuracy in 8 bits"]["value"] is not None
    assert lines["accuracy"]["value"] == 1.0


# --- models that should not have come so far -------------------------------------------------------------------------


def _wrong_type(model: onnx.ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 11


def _batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]


def _behind_input(model: onnx.ModelProto, op: str, extra: list[str], **attributes: Any) -> None:
    """A node between the input and what read it."""
    name = model.graph.input[0].name
    for node in model.graph.node:
        node.input[:] = ["behind" if value == name else value for value in node.input]
    model.graph.node.insert(0, onnx.helper.make_node(op, [name, *extra], ["behind"], name="inserted", **attributes))


def _norm(model: onnx.ModelProto) -> None:
    for name, number in (("s", 1.0), ("b", 0.5), ("m", 0.1), ("v", 2.0)):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(9, number, np.float32), name))
    _behind_input(model, "BatchNormalization", ["s", "b", "m", "v"])


def _training(model: onnx.ModelProto) -> None:
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.5, np.float32), "ratio"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "training"))
    _behind_input(model, "Dropout", ["ratio", "training"])


def _untrained(model: onnx.ModelProto) -> None:
    rng = np.random.default_rng(0)
    for tensor in model.graph.initializer:
        shape = tuple(tensor.dims)
        if len(shape) > 1:
            bound = 1 / np.sqrt(np.prod(shape[1:]))
            drawn = rng.uniform(-bound, bound, shape).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(drawn, tensor.name))


SPOILED: dict[str, tuple[Callable[[onnx.ModelProto], None], set[str]]] = {
    "wrong type": (_wrong_type, {"validated"}),
    "dropout": (lambda model: _behind_input(model, "Dropout", []), {"no dropout", "simplified"}),
    "training": (_training, {"eval mode", "no dropout"}),
    "batch norm": (_norm, {"batch norms folded"}),
    "open batch": (_batch, {"no dynamic shapes", "compatibility"}),
    "refused operator": (
        lambda model: _behind_input(model, "Selu", []),
        {"no unsupported operations", "compatibility"},
    ),
    "untrained": (_untrained, {"weights are trained"}),
    "left to simplify": (lambda model: _behind_input(model, "Identity", []), {"simplified"}),
}


def _spoil(bundle: Path, change: Callable[[onnx.ModelProto], None]) -> None:
    model = onnx.load(str(bundle / "model.onnx"))
    change(model)
    add_file(open_bundle(bundle), "model.onnx", model.SerializeToString())


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_model_fails_its_line(check: Check, work: Path, name: str) -> None:
    change, wanted = SPOILED[name]
    _spoil(work / "bundle", change)
    code, lines = check()
    assert code == 1
    assert wanted <= states(lines, "fail"), {name: lines[name] for name in states(lines, "fail")}


def test_a_script_with_an_unknown_command_fails(check: Check, work: Path) -> None:
    bundle = open_bundle(work / "bundle")
    add_file(bundle, "model.alls", (work / "bundle" / "model.alls").read_bytes() + b"make_it_fast()\n")
    _, lines = check()
    assert lines["compile script"]["state"] == "fail"
    assert "make_it_fast" in lines["compile script"]["found"]


def test_drift_that_nobody_accepted_fails(check: Check, work: Path) -> None:
    bundle = open_bundle(work / "bundle")
    bundle.manifest["drift"] = "unaccepted"
    add_file(bundle, "report.md", (work / "bundle" / "report.md").read_bytes())
    _, lines = check()
    assert states(lines, "fail") == {"drift accepted"}


# --- with a device, or what one wrote --------------------------------------------------------------------------------


@pytest.fixture
def compiled(work: Path, doubles: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Compiled by the stand-in, and selftest.py has run on the stand-in of a Pi; the device is gone again."""
    bundle = work / "bundle"
    assert main(["compile", str(bundle)]) == 0
    shutil.copy(bundle / "compiled" / "model.hef", bundle / "model.hef")
    table = work / "latency.csv"
    cli = [sys.executable, str(DOUBLES / "bin" / "hailortcli"), "run", "model.hef"]
    subprocess.run([*cli, "--measure-latency", "--csv", str(table)], check=True, capture_output=True)
    command = [sys.executable, str(bundle / "selftest.py"), "--frames", "30", "--latency-csv", str(table)]
    command += ["-o", str(work / "device_results.json")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stdout + done.stderr
    (bundle / "model.hef").unlink()
    monkeypatch.setenv("IRKIT_DOUBLE_DEVICE", "none")
    return work


DEVICE = (*DATA, "--device-results", "device_results.json")


@pytest.mark.usefixtures("compiled")
def test_recorded_results_close_every_gate(check: Check) -> None:
    code, lines = check(*DEVICE)
    assert code == 0
    assert states(lines, "not checked") == set()
    assert lines["core latency"]["value"] == pytest.approx(0.75)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize(
    ("gate", "name"),
    [("hef_mb = 0.0001", "HEF size"), ("p95_ms = 1e-6", "end-to-end latency"), ("core_ms = 0.5", "core latency")],
)
def test_limits_of_the_device_are_held(check: Check, gate: str, name: str) -> None:
    code, lines = check(*DEVICE, gates=gate)
    assert code == 1
    assert states(lines, "fail") == {name}
    assert lines[name]["advice"]


def _change(folder: Path, **values: Any) -> None:
    plain = read_json(folder / "device_results.json")
    (folder / "device_results.json").write_text(json.dumps({**plain, **values}), encoding="utf-8")


@pytest.mark.parametrize(
    ("changed", "name", "state", "told"),
    [
        ({"architecture": "HAILO8L"}, "right on the device", "fail", "it ran on HAILO8L"),
        ({"hef_sha256": "0" * 64}, "right on the device", "fail", "another file"),
        ({"checks": [{"name": "z is right", "ok": False}]}, "right on the device", "fail", "z is right"),
        ({"hw_latency_ms": None}, "core latency", "not checked", "not given"),
        ({"frames": 24}, "end-to-end latency", "not checked", "24 frames"),
    ],
)
def test_results_of_another_device_or_file_close_nothing(
    check: Check, compiled: Path, changed: dict[str, Any], name: str, state: str, told: str
) -> None:
    _change(compiled, **changed)
    _, lines = check(*DEVICE)
    assert lines[name]["state"] == state
    assert told in lines[name]["found"]


def test_a_hef_for_another_chip_fails(check: Check, compiled: Path) -> None:
    bundle = open_bundle(compiled / "bundle")
    script = {**bundle.script, "hw_arch": "hailo8l"}
    add_file(bundle, "script.json", json.dumps(script).encode())
    _, lines = check(*DATA)
    assert lines["HEF is for the chip"]["state"] == "fail"


@pytest.mark.usefixtures("compiled")
def test_with_a_device_here_its_lines_are_measured(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IRKIT_DOUBLE_DEVICE")
    _, lines = check(*DATA)
    assert "HAILO8" in lines["end-to-end latency"]["found"]
    assert lines["end-to-end latency"]["state"] == "pass"
    assert "on this CPU" in lines["CPU latency baseline"]["found"]
    assert lines["right on the device"]["state"] == "not checked"


# --- what cannot be used ---------------------------------------------------------------------------------------------


def _data(folder: Path, **arrays: Any) -> list[str]:
    np.savez(folder / "bad.npz", **arrays)
    return ["--data", str(folder / "bad.npz")]


def _file(folder: Path, flag: str, text: str) -> list[str]:
    (folder / "bad.txt").write_text(text, encoding="utf-8")
    return [flag, str(folder / "bad.txt")]


FRAMES = np.zeros((4, 9, 2, 100), np.float32)
LABELS = np.zeros(4, np.int64)
WRONG: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "no file": (lambda folder: ["--data", str(folder / "none.npz")], "none.npz"),
    "no labels": (lambda folder: _data(folder, imu_input=FRAMES), "no labels"),
    "no inputs": (lambda folder: _data(folder, labels=LABELS), "no inputs"),
    "labels of text": (lambda folder: _data(folder, imu_input=FRAMES, labels=np.array(["a"] * 4)), "one whole number"),
    "other count": (lambda folder: _data(folder, imu_input=FRAMES, labels=LABELS[:3]), "has 4 samples"),
    "nothing": (lambda folder: _data(folder, imu_input=FRAMES[:0], labels=LABELS[:0]), "no samples"),
    "a class too many": (lambda folder: _data(folder, imu_input=FRAMES, labels=LABELS + 10), "from 0 to 9"),
    "NaN": (lambda folder: _data(folder, imu_input=FRAMES * np.nan, labels=LABELS), "NaN"),
    "shape": (lambda folder: _data(folder, imu_input=FRAMES[:, :, :, :50], labels=LABELS), "shape"),
    "name": (lambda folder: _data(folder, imu=FRAMES, labels=LABELS), "the inputs are imu_input"),
    "unknown gate": (lambda folder: _file(folder, "--gates", "acuracy = 0.9\n"), "accuracy"),
    "percent": (lambda folder: _file(folder, "--gates", "accuracy = 85\n"), "share below 1"),
    "negative": (lambda folder: _file(folder, "--gates", "p95_ms = -1\n"), "above 0"),
    "results that are none": (lambda folder: _file(folder, "--device-results", "{}"), "selftest.py"),
    "results of text": (lambda folder: _file(folder, "--device-results", "fast"), "bad.txt"),
    "no results": (lambda folder: ["--device-results", str(folder / "none.json")], "none.json"),
    "no HEF": (lambda folder: _file(folder, "--hef", "no HEF"), "bad.txt"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_used_is_refused_in_one_message(
    work: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    make, told = WRONG[name]
    flags = make(work)
    before = contents(work / "bundle")
    gates = [] if "--gates" in flags else ["--gates", str(work / "gates.toml")]
    capsys.readouterr()
    assert main(["check", str(work / "bundle"), *gates, *flags]) == 2
    shown = capsys.readouterr()
    assert told in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""
    assert contents(work / "bundle") == before


@pytest.mark.parametrize("text", ["", "{}", '{"temperature": 0, "threshold": 0.1, "coverage": 0.9, "samples": 5}'])
def test_a_spoiled_confidence_is_refused(work: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    add_file(open_bundle(work / "bundle"), "confidence.json", text.encode())
    flags = ["--gates", str(work / "gates.toml"), "--data", str(work / "test.npz")]
    assert main(["check", str(work / "bundle"), *flags]) == 2
    assert "--validation" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_forms_for_people_say_the_same(work: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    flags = ["--gates", str(work / "gates.toml"), "--format", form]
    assert main(["check", str(work / "bundle"), *flags]) == 0
    out = capsys.readouterr().out
    assert "No gate fails" in out
    assert out.count("not checked") >= len(NEEDS_DEVICE | NEEDS_HEF | NEEDS_DATA)
    assert all(name in out for name in ON_A_LAPTOP)
