"""What runs a bundle, on which device; what is there; how two models compare."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irkit
import irkit.runtime
from irkit.cli import main
from irkit.errors import ExecutionError
from irkit.hailo.equipment import write_npz
from tests.corpus import each, path_of
from tests.whole.bundles import DOUBLES, IMU, channels_first, in_float, optimize, read_json, samples, sign

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")


@pytest.mark.usefixtures("doubles")
def test_the_self_test_of_the_pi(tmp_path: Path) -> None:
    bundle = optimize(tmp_path)
    assert main(["compile", str(bundle)]) == 0
    pi = tmp_path / "pi"
    pi.mkdir()
    for name in ("selftest.py", "io_map.json", "preprocess.json", "script.json", "model.onnx"):
        shutil.copy(bundle / name, pi)
    shutil.copytree(bundle / "golden", pi / "golden")
    shutil.copy(bundle / "compiled" / "model.hef", pi)

    def selftest(**environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(pi / "selftest.py"), "--frames", "30"]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, **environment}, cwd=pi
        )

    done = selftest()
    assert done.returncode == 0, done.stdout + done.stderr
    results = read_json(pi / "device_results.json")
    assert results["architecture"] == "HAILO8"
    assert len(results["latency_samples_ms"]) == 30
    assert all(check["ok"] for check in results["checks"])
    constant = selftest(IRKIT_DOUBLE_FAULT="constant")
    assert constant.returncode == 1
    assert "FAIL behavior_logits reacts to its input" in constant.stdout
    for environment, told in (
        ({"IRKIT_DOUBLE_DEVICE": "none"}, "no device can be opened"),
        ({"IRKIT_DOUBLE_DEVICE": "HAILO8L"}, "does not take"),
    ):
        refused = selftest(**environment)
        assert refused.returncode == 2
        assert told in refused.stderr
        assert "Traceback" not in refused.stderr


TWINS = """
opset 17
graph(%x: float32[1,4,6,6]) -> (%a, %b) {
  %w: float32[8,4,3,3] = random(seed=1)
  %v: float32[5,8,1,1] = random(seed=2)
  %u: float32[5,8,1,1] = random(seed=3)
  %c = Conv(%x, %w) {kernel_shape=[3,3], pads=[1,1,1,1]} @stem
  %r = Relu(%c) @relu
  %a = Conv(%r, %v) {kernel_shape=[1,1]} @boxes
  %b = Conv(%r, %u) {kernel_shape=[1,1]} @scores
}
"""


@pytest.mark.usefixtures("doubles")
def test_outputs_of_one_shape_are_told_apart(tmp_path: Path) -> None:
    """By the nodes they come from; and where the device gives them in exchange, the self-test sees it."""
    irkit.save(irkit.parse_model(TWINS), tmp_path / "twins.onnx")
    data = np.random.default_rng(0).normal(size=(20, 6, 6, 4)).astype(np.float32)
    bundle = optimize(tmp_path, data=data, model=tmp_path / "twins.onnx")
    assert main(["compile", str(bundle)]) == 0
    with irkit.runtime.Pipeline(bundle) as pipeline, irkit.runtime.Pipeline(bundle, device="cpu") as plain:
        got, wanted = pipeline(channels_first(data)), plain(channels_first(data))
    for name in ("a", "b"):
        assert np.abs(got[name] - wanted[name]).max() < 0.1 * np.abs(wanted[name]).max()
    for name in ("selftest.py", "io_map.json", "script.json", "model.onnx"):
        shutil.copy(bundle / name, bundle / "compiled")
    shutil.copytree(bundle / "golden", bundle / "compiled" / "golden")
    command = [sys.executable, str(bundle / "compiled" / "selftest.py"), "--frames", "5"]
    for fault, code in (("", 0), ("swap", 1)):
        environment = {**os.environ, "IRKIT_DOUBLE_FAULT": fault}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == code, done.stdout + done.stderr
    assert "FAIL a is right" in done.stdout
    assert "FAIL b is right" in done.stdout


def test_without_a_device_the_cpu_runs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = optimize(tmp_path)
    frames = channels_first(samples(7, 5))
    with irkit.runtime.Pipeline(bundle) as pipeline:
        assert not pipeline.is_device
        assert "hailo_platform" in pipeline.fallback
        assert pipeline(frames)["behavior_logits"] == pytest.approx(in_float(IMU, samples(7, 5)), abs=1e-4)
        assert pipeline(frames[0])["behavior_logits"].shape == (1, 10)
        for wrong, told in (
            (frames[:, :5], "takes arrays of shape"),
            (np.full_like(frames, np.nan), "finite"),
            ({"x": frames}, "the inputs are imu_input"),
            (frames[:0], "above 0"),
            (frames.astype(str), "finite numbers"),
        ):
            with pytest.raises(irkit.InputError, match=told):
                pipeline(wrong)
    np.save(tmp_path / "x.npy", frames)
    capsys.readouterr()
    assert main(["run", str(bundle), "--input", str(tmp_path / "x.npy"), "-o", str(tmp_path / "y.npz")]) == 0
    with np.load(tmp_path / "y.npz") as written:
        assert written["behavior_logits"].shape == (7, 10)
    assert main(["run", str(bundle), "--input", str(tmp_path / "x.npy"), "--device", "hailo"]) == 2
    assert main(["quantize", str(bundle), "--format", "json"]) == 0


# --- what is there ---------------------------------------------------------------------------------------------------


def _checks(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    capsys.readouterr()
    main(["doctor", "--format", "json"])
    return {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}


def test_doctor_says_what_is_missing_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = _checks(capsys)
    assert checks["HailoRT"]["state"] == "missing"
    assert "hailo-all" in checks["HailoRT"]["advice"]
    assert checks["Dataflow Compiler"]["state"] == "missing"
    assert checks["ONNX Runtime"]["state"] == "here"
    assert checks["device"]["state"] == "not known"
    assert main(["doctor"]) == 0


@pytest.mark.usefixtures("doubles")
def test_doctor_and_bench_with_a_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(DOUBLES / "bin"), os.environ["PATH"]]))
    checks = _checks(capsys)
    assert checks["HailoRT"]["found"] == "4.23.0"
    assert checks["device"]["found"] == "hailo8, firmware 4.23.0"
    assert checks["Dataflow Compiler"]["state"] == "here"
    monkeypatch.setenv("IRKIT_DOUBLE_DEVICE", "none")
    assert _checks(capsys)["device"]["state"] == "missing"
    monkeypatch.delenv("IRKIT_DOUBLE_DEVICE")
    bundle = optimize(tmp_path)
    assert main(["compile", str(bundle)]) == 0
    capsys.readouterr()
    assert main(["bench", str(bundle), "--frames", "10", "--format", "json"]) == 0
    chip = json.loads(capsys.readouterr().out)["hailortcli"]
    assert (chip["fps"], chip["hw_latency"], chip["overall_latency"], chip["average_power"]) == (
        1329.5,
        0.75,
        1.5,
        2.79,
    )


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("version", ["4.23.0", "5.2.0"])
def test_a_hef_by_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, version: str
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(DOUBLES / "bin"), os.environ["PATH"]]))
    monkeypatch.setenv("IRKIT_DOUBLE_CLI", version)
    bundle = optimize(tmp_path)
    assert main(["compile", str(bundle)]) == 0
    hef = str(bundle / "compiled" / "model.hef")
    np.save(tmp_path / "x.npy", samples(5))
    write_npz(tmp_path / "x.npz", {"imu_classifier_bn/input_layer1": samples(5)})
    np.savez(tmp_path / "short.npz", input_layer1=samples(5))
    wanted = in_float(IMU, samples(5))
    for name in ("x.npy", "x.npz", "short.npz"):
        assert main(["run", hef, "--input", str(tmp_path / name), "-o", str(tmp_path / "y.npz")]) == 0
        with np.load(tmp_path / "y.npz") as written:
            got = written["imu_classifier_bn/fc3"].reshape(5, 10)
        assert np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()
    capsys.readouterr()
    assert main(["bench", hef, "--frames", "10", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"][0]["device"].startswith("HAILO8")
    assert found["hailortcli"] == {"fps": 1329.5, "hw_latency": 0.75, "overall_latency": 1.5, "average_power": 2.79}
    np.save(tmp_path / "x.npy", channels_first(samples(5)))
    assert main(["run", hef, "--input", str(tmp_path / "x.npy")]) == 2
    assert "height, width, channels" in capsys.readouterr().err


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"IRKIT_DOUBLE_DEVICE": "none"}, "OUT_OF_PHYSICAL_DEVICES"),
        ({"IRKIT_DOUBLE_DEVICE": "HAILO8L"}, "NOT_COMPATIBLE"),
        ({"IRKIT_DOUBLE_FAULT": "driver"}, "INVALID_DRIVER_VERSION"),
    ],
)
def test_a_device_that_does_not_take_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    environment: dict[str, str],
    told: str,
) -> None:
    bundle = optimize(tmp_path)
    assert main(["compile", str(bundle)]) == 0
    np.save(tmp_path / "x.npy", channels_first(samples(2)))
    np.save(tmp_path / "frames.npy", samples(2))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    for model, data, flags in (
        (bundle, "x.npy", ["--device", "hailo"]),
        (bundle / "compiled" / "model.hef", "frames.npy", []),
    ):
        assert main(["run", str(model), "--input", str(tmp_path / data), *flags]) == 2
        err = capsys.readouterr().err
        assert told in err
        assert "irkit doctor" in err
    assert main(["run", str(bundle), "--input", str(tmp_path / "x.npy")]) == 0, "the CPU runs it"
    assert told in capsys.readouterr().err


def test_what_hailortcli_says_of_an_error_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from irkit.runtime.hailortcli import hailortcli_times

    monkeypatch.setenv("PATH", str(tmp_path))
    assert hailortcli_times(tmp_path / "x.hef") is None
    monkeypatch.setenv("PATH", os.pathsep.join([str(DOUBLES / "bin"), os.environ["PATH"], "/usr/bin", "/bin"]))
    monkeypatch.setenv("IRKIT_DOUBLE_CLI_FAULT", "status")
    with pytest.raises(ExecutionError, match="HAILO_STREAM_ABORTED"):
        hailortcli_times(tmp_path / "x.hef")
    monkeypatch.setenv("IRKIT_DOUBLE_DEVICE", "none")
    with pytest.raises(ExecutionError, match=r"ended with 74: .*OUT_OF_PHYSICAL_DEVICES"):
        hailortcli_times(tmp_path / "x.hef")


def test_versions_that_do_not_fit_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from irkit.runtime import doctor

    def here(name: str, found: str) -> doctor.Check:
        return doctor.Check(name, doctor.State.HERE, found)

    monkeypatch.setattr(doctor, "_version", lambda name: "3.33.1" if "dataflow" in name else "")
    told = list(doctor._fit([here("HailoRT", "4.20.0"), here("driver", "4.23.0")]))
    assert [check.name for check in told] == ["driver and HailoRT", "compiler and HailoRT"]
    assert not list(doctor._fit([here("HailoRT", "4.23.0"), here("driver", "4.23.0")]))


# --- comparing -------------------------------------------------------------------------------------------------------


def test_compare_finds_the_first_tensor_that_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with irkit.load(IMU) as model:
        weight = model.graph.node("/project/Gemm").inputs[1]
        assert weight is not None
        assert weight.constant is not None
        weight.set_initializer(irkit.Tensor.of(np.array(weight.constant.numpy()) * np.float32(1.01)))
        irkit.save(model, tmp_path / "other.onnx")
    assert main(["compare", str(IMU), str(IMU)]) == 0
    capsys.readouterr()
    assert main(["compare", str(IMU), str(tmp_path / "other.onnx"), "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["first"] == "/project/Gemm_output_0"
    assert main(["compare", str(IMU), str(tmp_path / "other.onnx"), "--tolerance", "0.5"]) == 0
    assert main(["compare", str(IMU), str(tmp_path / "none.onnx")]) == 2


def test_compare_with_recorded_tensors(tmp_path: Path) -> None:
    frames = channels_first(samples(5))
    np.save(tmp_path / "x.npy", frames)
    logits = in_float(IMU, samples(5))
    np.savez(tmp_path / "same.npz", behavior_logits=logits)
    np.savez(tmp_path / "other.npz", behavior_logits=logits + 1)
    data = ["--data", str(tmp_path / "x.npy")]
    assert main(["compare", str(IMU), str(tmp_path / "same.npz"), *data]) == 0
    assert main(["compare", str(IMU), str(tmp_path / "other.npz"), *data]) == 1
    assert main(["compare", str(IMU), str(tmp_path / "same.npz")]) == 2


VIEWED = """
opset 17
graph(%x: float32[1,4,6,5]) -> (%y) {
  %w: float32[3,4,1,1] = random(seed=1)
  %c = Conv(%x, %w) {kernel_shape=[1,1]} @conv
  %r = Relu(%c) @relu
  %y = Flatten(%r) @view
}
"""


@pytest.mark.usefixtures("doubles")
def test_what_only_reshapes_at_the_end_is_left_to_the_host(tmp_path: Path) -> None:
    """The compiler drops such a node, and then does not find it as an end node; the order of numbers is the model's."""
    irkit.save(irkit.parse_model(VIEWED), tmp_path / "viewed.onnx")
    data = np.random.default_rng(0).normal(size=(20, 6, 5, 4)).astype(np.float32)
    bundle = optimize(tmp_path, data=data, model=tmp_path / "viewed.onnx")
    assert read_json(bundle / "script.json")["end_nodes"] == ["relu"]
    assert read_json(bundle / "io_map.json")["outputs"][0]["result"] == [1, 90]
    assert main(["compile", str(bundle)]) == 0
    with irkit.runtime.Pipeline(bundle) as pipeline:
        got = pipeline(channels_first(data))["y"]
    wanted = in_float(tmp_path / "viewed.onnx", data)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).mean() < 0.02 * np.abs(wanted).max()
    for name in ("selftest.py", "io_map.json", "script.json", "model.onnx"):
        shutil.copy(bundle / name, bundle / "compiled")
    shutil.copytree(bundle / "golden", bundle / "compiled" / "golden")
    command = [sys.executable, str(bundle / "compiled" / "selftest.py"), "--frames", "5"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_of_arrays_that_are_damaged_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez_compressed(tmp_path / "whole.npz", imu_input=channels_first(samples(40)))
    data = (tmp_path / "whole.npz").read_bytes()
    middle = len(data) // 2
    for name, content in (
        ("empty.npy", b""),
        ("cut.npz", data[:middle]),
        ("bits.npz", data[:middle] + bytes(64) + data[middle + 64 :]),
        ("text.npy", b"hello"),
    ):
        (tmp_path / name).write_bytes(content)
        assert main(["run", str(IMU), "--input", str(tmp_path / name)]) == 2
        assert "no .npy or .npz of numbers" in capsys.readouterr().err
    np.save(tmp_path / "data.npy", samples(4))
    (tmp_path / "labels.npy").write_bytes(b"")
    flags = ["--calib", str(tmp_path / "data.npy"), "--labels", str(tmp_path / "labels.npy")]
    assert main(["quantize", str(IMU), *flags]) == 2


@each(lambda entry: entry["name"] in ("squeezenet1_1__ts13", "oddresnet__ts11-bn", "dscnn_kws_w36__ts17-bn"))
def test_real_networks_are_optimized_quantized_and_timed(
    entry: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    assert main(["optimize", str(path_of(entry)), "-o", str(out), "--random-calib", "8"]) == 0
    capsys.readouterr()
    assert main(["quantize", str(out), "--format", "json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert all(output["cosine"] > 0.95 for run in runs for output in run["outputs"])
    assert main(["bench", str(out), "--frames", "5", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][0]["frames"] == 5
    with irkit.load(out / "model.onnx") as model:
        shape = [int(str(dim)) for dim in model.graph.inputs[0].shape or ()]
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(2, *shape[1:])).astype(np.float32))
    assert main(["run", str(out), "--input", str(tmp_path / "x.npy")]) == 0


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("io_map.json", "feeds"), ("io_map.json", "inputs"), ("io_map.json", "outputs"), ("io_map.json", "results"),
        ("preprocess.json", "domain"), ("preprocess.json", "inputs"), ("script.json", "hw_arch"),
        ("script.json", "commands"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", [None, 7, [7], "gone"])
def test_a_bundle_of_another_form_is_one_message(
    tmp_path: Path, small_bundle: Path, capsys: pytest.CaptureFixture[str], name: str, key: str, value: object
) -> None:
    """Such as one that another version wrote: signed rightly, and without what this one reads."""
    bundle = tmp_path / "bundle"
    shutil.copytree(small_bundle, bundle)
    plain = read_json(bundle / name)
    plain.pop(key)
    (bundle / name).write_text(json.dumps(plain if value == "gone" else {**plain, key: value}), encoding="utf-8")
    sign(bundle, name)
    for command in ("bench", "quantize", "compile", "check"):
        capsys.readouterr()
        assert main([command, str(bundle)]) == 2
        told = capsys.readouterr().err
        assert f"{name} is not what this version of irkit writes, at `{key}" in told


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return optimize(tmp_path_factory.mktemp("small"))


def test_the_bundle_that_is_spoiled_here_is_a_good_one(small_bundle: Path) -> None:
    assert main(["bench", str(small_bundle), "--frames", "1"]) == 0
