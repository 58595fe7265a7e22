"""From a model to a device: the bundle is made, compiled by a stand-in of the compiler, bound, run and checked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irkit
import irkit.runtime
from irkit.cli import main
from tests.whole.sources import ROOT

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

DOUBLES = ROOT / "tests" / "doubles"
IMU = ROOT / "examples" / "01_imu_classifier" / "models" / "imu_classifier_bn.onnx"
HEAD = "/head/head.3/Gemm"
PROJECT = "/project/Gemm"

Array = np.ndarray[Any, np.dtype[Any]]


def _samples(count: int = 64, seed: int = 0) -> Array:
    """(N, height, width, channels), as the chip takes them."""
    return np.random.default_rng(seed).normal(size=(count, 2, 100, 9)).astype(np.float32)


@pytest.fixture
def doubles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hailo's packages are importable: their stand-ins, here and in processes that are started."""
    monkeypatch.syspath_prepend(str(DOUBLES))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(DOUBLES), str(ROOT)]))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("hailo_sdk_client", "hailo_platform")]:
        del sys.modules[name]


def _optimize(folder: Path, *flags: str, samples: Array | None = None, model: Path = IMU) -> Path:
    data = folder / "calibration.npy"
    np.save(data, _samples() if samples is None else samples)
    out = folder / "bundle"
    assert main(["optimize", str(model), "-o", str(out), "--force", "--calib", str(data), *flags]) == 0
    return out


def _plain(model: Path, samples: Array) -> Array:
    """What the float model gives for samples (N, height, width, channels)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    frames = np.ascontiguousarray(samples.transpose(0, 3, 1, 2))
    return np.concatenate([session.run(None, {name: frames[i : i + 1]})[0] for i in range(len(frames))])


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


# --- the whole path --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("doubles")
def test_from_model_to_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = _optimize(tmp_path, "--precision", f"{HEAD}=a16_w16")
    assert main(["compile", str(bundle)]) == 0
    assert "quantization_param(fc3, precision_mode=a16_w16)" in (bundle / "compiled" / "resolved.alls").read_text()
    assert main(["hef", str(bundle / "compiled" / "model.hef"), "--check", "--max-size", "32MB"]) == 0
    io_map = _json(bundle / "io_map.json")
    assert io_map["state"] == "bound"
    assert [entry["device"]["name"] for entry in io_map["outputs"]] == ["imu_classifier_bn/fc3"]
    frames = np.ascontiguousarray(_samples(20, 5).transpose(0, 3, 1, 2))
    with irkit.runtime.Pipeline(bundle) as pipeline:
        assert pipeline.device == "HAILO8 through HailoRT 4.23.0"
        got = pipeline(frames)["behavior_logits"]
    wanted = _plain(IMU, _samples(20, 5))
    assert np.mean(got.argmax(1) == wanted.argmax(1)) >= 0.9
    assert np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()
    assert np.abs(got - wanted).max() > 0, "the stand-in quantizes"
    capsys.readouterr()
    assert main(["bench", str(bundle), "--frames", "30", "--format", "json"]) == 0
    assert [run["frames"] for run in json.loads(capsys.readouterr().out)["runs"]] == [30, 30]


@pytest.mark.usefixtures("doubles")
def test_the_self_test_of_the_pi(tmp_path: Path) -> None:
    bundle = _optimize(tmp_path)
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
    results = _json(pi / "device_results.json")
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


def test_without_a_device_the_cpu_runs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = _optimize(tmp_path)
    frames = np.ascontiguousarray(_samples(7, 5).transpose(0, 3, 1, 2))
    with irkit.runtime.Pipeline(bundle) as pipeline:
        assert not pipeline.is_device
        assert "hailo_platform" in pipeline.fallback
        assert pipeline(frames)["behavior_logits"] == pytest.approx(_plain(IMU, _samples(7, 5)), abs=1e-4)
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


def test_without_the_compiler_nothing_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = _optimize(tmp_path)
    before = _contents(bundle)
    capsys.readouterr()
    assert main(["compile", str(bundle)]) == 2
    told = capsys.readouterr().err
    assert "Dataflow Compiler is not in this Python" in told
    assert "Traceback" not in told
    assert _contents(bundle) == before


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_bundles_have_the_same_bytes(tmp_path: Path) -> None:
    first, second = (_contents(_optimize(tmp_path / name)) for name in _made(tmp_path, "a", "b"))
    measured = {"report.json", "report.md", "manifest.json"}
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name] and name not in measured] == []
    identities = [json.loads(contents["manifest.json"])["identity"] for contents in (first, second)]
    assert identities[0] == identities[1]


def _made(folder: Path, *names: str) -> list[str]:
    for name in names:
        (folder / name).mkdir()
    return list(names)


# --- cuts ------------------------------------------------------------------------------------------------------------


def test_a_cut_gives_what_the_whole_gives(tmp_path: Path) -> None:
    bundle = _optimize(tmp_path, "--cut", PROJECT)
    assert _json(bundle / "script.json")["end_nodes"] == [PROJECT]
    with irkit.runtime.Pipeline(bundle) as pipeline:
        got = pipeline(np.ascontiguousarray(_samples(6, 3).transpose(0, 3, 1, 2)))
    assert list(got) == ["behavior_logits"]
    assert got["behavior_logits"] == pytest.approx(_plain(IMU, _samples(6, 3)), abs=1e-4)


def test_no_pass_works_across_a_cut(tmp_path: Path) -> None:
    """The batch norm behind the cut stays there, and is not folded into the convolution before it."""
    conv = "/features/features.2/features.2.0/Conv"
    bundle = _optimize(tmp_path, "--cut", conv)
    with irkit.load(bundle / "model.onnx") as device, irkit.load(bundle / "host.onnx") as host:
        assert device.graph.outputs[0].producer is not None
        assert device.graph.outputs[0].producer.name == conv
        assert next(iter(host.graph)).op == "BatchNormalization"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--cut", "/project/Gem"], "did you mean /project/Gemm"),
        (["--cut", "auto"], "--cut auto"),
        (["--start", "nowhere"], "no node of that name"),
        (["--cut", PROJECT, "--start", HEAD], "cannot be cut|needs nodes|within"),
        (["--postprocess", "hailort"], "--nms"),
        (["--cut", PROJECT, "--postprocess", "hailort", "--nms", "yolov8"], "two outputs each scale"),
        (["--precision", "nowhere=a16_w16"], "no node of that name"),
        (["--precision", f"{HEAD}=a32_w32"], "a16_w16"),
        (["--compression", "9"], "0 to 5"),
        (["--mean", "1,2,x"], "takes numbers"),
        (["--std", "0"], "above 0"),
        (["--layout", "nchw"], "--layout nchw"),
        (["--calib-size", "0"], "above 0"),
    ],
)
def test_wrong_wishes_are_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    np.save(tmp_path / "c.npy", _samples(8))
    code = main(["optimize", str(IMU), "-o", str(tmp_path / "out"), "--calib", str(tmp_path / "c.npy"), *flags])
    err = capsys.readouterr().err
    assert code == 2
    assert re.search(told, err), err
    assert not (tmp_path / "out").exists()


# --- calibration data ------------------------------------------------------------------------------------------------


def test_channels_first_data_is_refused_and_converted_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = np.ascontiguousarray(_samples(16).transpose(0, 3, 1, 2))
    np.save(tmp_path / "nchw.npy", first)
    out = ["optimize", str(IMU), "-o", str(tmp_path / "out"), "--calib", str(tmp_path / "nchw.npy")]
    assert main(out) == 2
    assert "--layout nchw converts it" in capsys.readouterr().err
    assert main([*out, "--layout", "nchw"]) == 0
    written = np.load(tmp_path / "out" / "calibration_data.npy")
    assert written.shape == (16, 2, 100, 9)
    assert sorted(written.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(first.sum((1, 2, 3)).tolist()), rel=1e-4)


def test_float_data_are_standardized_here_and_the_script_says_how_many(tmp_path: Path) -> None:
    bundle = _optimize(tmp_path, "--mean", "1", "--std", "2", samples=_samples(100))
    written = np.load(bundle / "calibration_data.npy")
    assert sorted(written[:, 0, 0, 0].tolist()) == pytest.approx(sorted(((_samples(100) - 1) / 2)[:, 0, 0, 0].tolist()))
    script = (bundle / "model.alls").read_text()
    assert "model_optimization_config(calibration, batch_size=8, calibset_size=100)" in script
    assert "model_optimization_flavor(optimization_level=0" in script
    assert "normalization" not in script
    assert _json(bundle / "preprocess.json")["inputs"][0]["normalization"]["applied"] == "host"


@pytest.fixture
def image_model(tmp_path: Path) -> Path:
    text = """
opset 17
graph(%image: float32[1,3,16,24]) -> (%y) {
  %w: float32[8,3,3,3] = random(seed=1)
  %u: float32[5,8] = random(seed=2)
  %c = Conv(%image, %w) {kernel_shape=[3,3], pads=[1,1,1,1]} @conv
  %r = Relu(%c) @relu
  %p = GlobalAveragePool(%r) @pool
  %f = Flatten(%p) @flatten
  %y = Gemm(%f, %u) {transB=1} @fc
}
"""
    irkit.save(irkit.parse_model(text), tmp_path / "image.onnx")
    return tmp_path / "image.onnx"


@pytest.mark.usefixtures("doubles")
def test_images_stay_raw_and_the_chip_normalizes(tmp_path: Path, image_model: Path) -> None:
    raw = np.random.default_rng(0).integers(0, 256, (12, 16, 24, 3), np.uint8)
    bundle = _optimize(tmp_path, "--mean", "10,20,30", "--std", "50,60,70", samples=raw, model=image_model)
    assert np.load(bundle / "calibration_data.npy").dtype == np.uint8
    assert (
        "normalization1 = normalization([10.0, 20.0, 30.0], [50.0, 60.0, 70.0])" in (bundle / "model.alls").read_text()
    )
    domains = _json(bundle / "preprocess.json")["domain"]
    assert domains == {"model.onnx": "model", "calibration": "raw", "hef": "raw", "golden": "raw"}
    with np.load(bundle / "golden" / "inputs.npz") as inputs, np.load(bundle / "golden" / "outputs.npz") as outputs:
        normalized = (inputs["image"].astype(np.float64) - [10, 20, 30]) / [50, 60, 70]
        assert outputs["y"] == pytest.approx(_plain(bundle / "model.onnx", normalized.astype(np.float32)), abs=1e-4)
        with irkit.runtime.Pipeline(bundle, device="cpu") as pipeline:
            assert pipeline(inputs["image"])["y"] == pytest.approx(outputs["y"], abs=1e-4)
            with pytest.raises(irkit.InputError, match="uint8"):
                pipeline(inputs["image"].astype(np.float32))


# --- bundles that are wrong ------------------------------------------------------------------------------------------


def _edit(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(bundle: Path) -> None:
        plain = _json(bundle / name)
        change(plain)
        (bundle / name).write_text(json.dumps(plain), encoding="utf-8")
        if name != "manifest.json":
            _sign(bundle, name)

    return edit


def _sign(bundle: Path, name: str) -> None:
    """Write the digest of a changed file, as somebody would who writes such a file by hand."""
    import hashlib

    manifest = _json(bundle / "manifest.json")
    manifest["files"][name] = {"sha256": hashlib.sha256((bundle / name).read_bytes()).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(bundle: Path) -> None:
        text = (bundle / name).read_text(encoding="utf-8")
        assert old in text
        (bundle / name).write_text(text.replace(old, new), encoding="utf-8")
        _sign(bundle, name)

    return edit


def _calibration(change: Callable[[Array], Array]) -> Callable[[Path], None]:
    def edit(bundle: Path) -> None:
        array = np.load(bundle / "calibration_data.npy")
        np.save(bundle / "calibration_data.npy", change(array))
        _sign(bundle, "calibration_data.npy")

    return edit


def _broken_calibration(bundle: Path) -> None:
    (bundle / "calibration_data.npy").write_bytes(b"no")
    _sign(bundle, "calibration_data.npy")


def _script(**fields: Any) -> Callable[[Path], None]:
    return _edit("script.json", lambda plain: plain.update(fields))


def _command(**fields: Any) -> Callable[[Path], None]:
    whole = {"name": "quantization_param", "nodes": [HEAD], "args": [], "settings": {"precision_mode": "a16_w16"}}
    return _script(commands=[{**whole, **fields}])


def _first(command: str) -> Callable[[Path], None]:
    return _text("model.alls", "model_optimization_flavor", f"{command}\nmodel_optimization_flavor")


WRONG: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "a file is gone": (lambda bundle: (bundle / "model.alls").unlink(), 2, "model.alls is missing"),
    "the model was changed": (lambda bundle: (bundle / "model.onnx").write_bytes(b"x"), 2, "was changed"),
    "no manifest": (lambda bundle: (bundle / "manifest.json").unlink(), 2, "no bundle"),
    "a manifest that is none": (lambda bundle: (bundle / "manifest.json").write_text("{"), 2, "cannot read"),
    "drift nobody accepted": (
        _edit("manifest.json", lambda plain: plain.update(drift="unaccepted")), 2, "--accept-drift",
    ),
    "a tensor for an end node": (_script(end_nodes=["behavior_logits"]), 1, "behavior_logits"),
    "an end node that is not there": (_script(end_nodes=["/head/Gemm_9"]), 1, "/head/Gemm_9"),
    "no end nodes": (_script(end_nodes=[]), 2, "end nodes"),
    "an end node that is dropped": (_script(end_nodes=["/Flatten"]), 1, "Flatten"),
    "a start node that is not there": (_script(start_nodes=["nowhere"]), 1, "nowhere"),
    "the chip of another compiler": (_script(hw_arch="hailo10h"), 1, "hailo10h"),
    "a chip nobody knows": (_script(hw_arch="hailo9"), 2, "hailo9"),
    "a command on a node that was dropped": (_command(nodes=["/Flatten"]), 2, "was dropped|no layer|several"),
    "a command on a node that is not there": (_command(nodes=["/nowhere"]), 2, "no layer comes from"),
    "an unknown command": (_command(name="quantize_param"), 1, "quantize_param"),
    "an unknown precision": (_command(settings={"precision_mode": "a9_w9"}), 1, "a9_w9"),
    "an unknown argument": (_command(settings={"precision": "a16_w16"}), 1, "precision"),
    "channels first": (_calibration(lambda array: array.transpose(0, 3, 1, 2)), 2, "height, width, channels"),
    "another size": (_calibration(lambda array: array[:, :, :50]), 2, "takes samples of shape"),
    "no batch axis": (_calibration(lambda array: array[0]), 2, "takes samples of shape"),
    "fewer samples than the script says": (_calibration(lambda array: array[:10]), 1, "calibset_size"),
    "a calibration set that is none": (
        _broken_calibration,
        2,
        "calibration_data.npy",
    ),
    "no calibration set": (_script(calibration=None), 2, "--calib"),
    "two inputs where there is one": (
        _edit("script.json", lambda plain: plain["calibration"].update(inputs=["a", "b"])), 2, "1 inputs",
    ),
    "a script that does not parse": (_text("model.alls", "_flavor(", "_flavor(("), 1, "script"),
    "an unknown argument of the script": (_text("model.alls", "calibset_size", "calibset_sise"), 1, "calibset_sise"),
    "a level that is none": (_text("model.alls", "optimization_level=0", "optimization_level=high"), 1, "high"),
    "a layer nobody has": (_first("quantization_param(conv99, precision_mode=a16_w16)"), 1, "conv99"),
    "output made by another node": (
        _edit("io_map.json", lambda plain: plain["outputs"][0].update(node="/project/Gemm")), 2, "no output comes from",
    ),
    "an input of another shape": (
        _edit("io_map.json", lambda plain: plain["inputs"][0]["device"].update(shape=[100, 2, 9])), 2, "another model",
    ),
    "an output too many": (
        _edit("io_map.json", lambda plain: plain["outputs"].append(plain["outputs"][0])), 2, "are one output",
    ),
    "a second decoder": (_first('nms_postprocess("nms.json", meta_arch=yolov9)'), 1, "yolov9"),
}  # fmt: skip


@pytest.fixture(scope="module")
def good_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _optimize(tmp_path_factory.mktemp("good"))


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_bundle_fails_with_what_to_mend(
    tmp_path: Path, good_bundle: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    """Exit code 2 where irkit or compile.py sees it, 1 where the compiler does: then its message is told."""
    change, code, told = WRONG[name]
    bundle = tmp_path / "bundle"
    shutil.copytree(good_bundle, bundle)
    change(bundle)
    found = main(["compile", str(bundle)])
    text = "".join(capfd.readouterr())
    log = bundle / "compiled" / "dfc.log"
    text += log.read_text(encoding="utf-8") if log.exists() else ""
    assert found == code, text
    assert re.search(told, text), text
    assert not (bundle / "compiled" / "model.hef").exists() or code == 2


def test_at_least_thirty_wrong_bundles() -> None:
    assert len(WRONG) >= 30


def test_drift_is_measured_on_the_calibration_data(tmp_path: Path) -> None:
    """Within the budget on real data, a change needs nobody's word; on random data it always does."""
    text = """
opset 17
graph(%x: float32[1,16]) -> (%y) {
  %big: float32[16] = splat(40.0)
  %w: float32[16,4] = random(seed=7)
  %a = Mul(%x, %big)
  %g = Gelu(%a) @gelu
  %y = MatMul(%g, %w) @fc
}
"""
    model = tmp_path / "gelu.onnx"
    irkit.save(irkit.parse_model(text.replace("opset 17", "opset 20")), model)
    assert main(["optimize", str(model), "-o", str(tmp_path / "random")]) == 1
    data = np.random.default_rng(0).choice([-1.0, 1.0], (200, 1, 1, 16)).astype(np.float32)
    bundle = _optimize(tmp_path, samples=data, model=model)
    manifest = _json(bundle / "manifest.json")
    assert manifest["drift"] == "none"
    (drift,) = _json(bundle / "report.json")["drifts"]
    assert not drift["is_random"]
    assert drift["inputs"] == 100


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
    bundle = _optimize(tmp_path)
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
    frames = np.ascontiguousarray(_samples(5).transpose(0, 3, 1, 2))
    np.save(tmp_path / "x.npy", frames)
    logits = _plain(IMU, _samples(5))
    np.savez(tmp_path / "same.npz", behavior_logits=logits)
    np.savez(tmp_path / "other.npz", behavior_logits=logits + 1)
    data = ["--data", str(tmp_path / "x.npy")]
    assert main(["compare", str(IMU), str(tmp_path / "same.npz"), *data]) == 0
    assert main(["compare", str(IMU), str(tmp_path / "other.npz"), *data]) == 1
    assert main(["compare", str(IMU), str(tmp_path / "same.npz")]) == 2
