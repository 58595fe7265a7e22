"""From a model to a device: the bundle is made, compiled by a stand-in of the compiler, bound, run and checked."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irkit
import irkit.runtime
from irkit.cli import main
from tests.whole.bundles import (
    HEAD,
    IMU,
    PROJECT,
    channels_first,
    contents,
    in_float,
    optimize,
    read_json,
    samples,
    sign,
)

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

Array = np.ndarray[Any, np.dtype[Any]]


# --- the whole path --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("doubles")
def test_from_model_to_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = optimize(tmp_path, "--precision", f"{HEAD}=a16_w16")
    assert main(["compile", str(bundle)]) == 0
    assert "quantization_param(fc3, precision_mode=a16_w16)" in (bundle / "compiled" / "resolved.alls").read_text()
    assert main(["hef", str(bundle / "compiled" / "model.hef"), "--check", "--max-size", "32MB"]) == 0
    io_map = read_json(bundle / "io_map.json")
    assert io_map["state"] == "bound"
    assert [entry["device"]["name"] for entry in io_map["outputs"]] == ["imu_classifier_bn/fc3"]
    frames = channels_first(samples(20, 5))
    with irkit.runtime.Pipeline(bundle) as pipeline:
        assert pipeline.device == "HAILO8 through HailoRT 4.23.0"
        got = pipeline(frames)["behavior_logits"]
    wanted = in_float(IMU, samples(20, 5))
    assert np.mean(got.argmax(1) == wanted.argmax(1)) >= 0.9
    assert np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()
    assert np.abs(got - wanted).max() > 0, "the stand-in quantizes"
    capsys.readouterr()
    assert main(["bench", str(bundle), "--frames", "30", "--format", "json"]) == 0
    assert [run["frames"] for run in json.loads(capsys.readouterr().out)["runs"]] == [30, 30]


def test_without_the_compiler_nothing_is_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = optimize(tmp_path)
    before = contents(bundle)
    capsys.readouterr()
    assert main(["compile", str(bundle)]) == 2
    told = capsys.readouterr().err
    assert "Dataflow Compiler is not in this Python" in told
    assert "Traceback" not in told
    assert contents(bundle) == before


def test_two_bundles_have_the_same_bytes(tmp_path: Path) -> None:
    first, second = (contents(optimize(tmp_path / name)) for name in _made(tmp_path, "a", "b"))
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
    bundle = optimize(tmp_path, "--cut", PROJECT)
    assert read_json(bundle / "script.json")["end_nodes"] == [PROJECT]
    with irkit.runtime.Pipeline(bundle) as pipeline:
        got = pipeline(channels_first(samples(6, 3)))
    assert list(got) == ["behavior_logits"]
    assert got["behavior_logits"] == pytest.approx(in_float(IMU, samples(6, 3)), abs=1e-4)


def test_no_pass_works_across_a_cut(tmp_path: Path) -> None:
    """The batch norm behind the cut stays there, and is not folded into the convolution before it."""
    conv = "/features/features.2/features.2.0/Conv"
    bundle = optimize(tmp_path, "--cut", conv)
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
        (["--precision", "nowhere=a16_w16"], "no node or input of that name"),
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
    np.save(tmp_path / "c.npy", samples(8))
    code = main(["optimize", str(IMU), "-o", str(tmp_path / "out"), "--calib", str(tmp_path / "c.npy"), *flags])
    err = capsys.readouterr().err
    assert code == 2
    assert re.search(told, err), err
    assert not (tmp_path / "out").exists()


# --- calibration data ------------------------------------------------------------------------------------------------


def test_channels_first_data_is_refused_and_converted_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = channels_first(samples(16))
    np.save(tmp_path / "nchw.npy", first)
    out = ["optimize", str(IMU), "-o", str(tmp_path / "out"), "--calib", str(tmp_path / "nchw.npy")]
    assert main(out) == 2
    assert "--layout nchw converts it" in capsys.readouterr().err
    assert main([*out, "--layout", "nchw"]) == 0
    written = np.load(tmp_path / "out" / "calibration_data.npy")
    assert written.shape == (16, 2, 100, 9)
    assert sorted(written.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(first.sum((1, 2, 3)).tolist()), rel=1e-4)


def test_float_data_are_standardized_here_and_the_script_says_how_many(tmp_path: Path) -> None:
    bundle = optimize(tmp_path, "--mean", "1", "--std", "2", data=samples(100))
    written = np.load(bundle / "calibration_data.npy")
    assert sorted(written[:, 0, 0, 0].tolist()) == pytest.approx(sorted(((samples(100) - 1) / 2)[:, 0, 0, 0].tolist()))
    script = (bundle / "model.alls").read_text()
    assert "model_optimization_config(calibration, batch_size=8, calibset_size=100)" in script
    assert "model_optimization_flavor(optimization_level=0" in script
    assert "normalization" not in script
    assert read_json(bundle / "preprocess.json")["inputs"][0]["normalization"]["applied"] == "host"


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
    bundle = optimize(tmp_path, "--mean", "10,20,30", "--std", "50,60,70", data=raw, model=image_model)
    assert np.load(bundle / "calibration_data.npy").dtype == np.uint8
    assert (
        "normalization1 = normalization([10.0, 20.0, 30.0], [50.0, 60.0, 70.0])" in (bundle / "model.alls").read_text()
    )
    domains = read_json(bundle / "preprocess.json")["domain"]
    assert domains == {"model.onnx": "model", "calibration": "raw", "hef": "raw", "golden": "raw"}
    with np.load(bundle / "golden" / "inputs.npz") as inputs, np.load(bundle / "golden" / "outputs.npz") as outputs:
        normalized = (inputs["image"].astype(np.float64) - [10, 20, 30]) / [50, 60, 70]
        assert outputs["y"] == pytest.approx(in_float(bundle / "model.onnx", normalized.astype(np.float32)), abs=1e-4)
        with irkit.runtime.Pipeline(bundle, device="cpu") as pipeline:
            assert pipeline(inputs["image"])["y"] == pytest.approx(outputs["y"], abs=1e-4)
            with pytest.raises(irkit.InputError, match="uint8"):
                pipeline(inputs["image"].astype(np.float32))
    assert main(["compile", str(bundle)]) == 0
    wanted = in_float(bundle / "model.onnx", ((raw - np.array([10, 20, 30])) / [50, 60, 70]).astype(np.float32))
    with irkit.runtime.Pipeline(bundle) as pipeline:
        assert pipeline.is_device
        got = pipeline(raw)["y"]
    assert 0 < np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()
    assert main(["bench", str(bundle), "--frames", "5"]) == 0
    for name in ("selftest.py", "io_map.json", "script.json", "model.onnx"):
        shutil.copy(bundle / name, bundle / "compiled")
    shutil.copytree(bundle / "golden", bundle / "compiled" / "golden")
    done = subprocess.run(
        [sys.executable, str(bundle / "compiled" / "selftest.py"), "--frames", "10"],
        check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


# --- bundles that are wrong ------------------------------------------------------------------------------------------


def _edit(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(bundle: Path) -> None:
        plain = read_json(bundle / name)
        change(plain)
        (bundle / name).write_text(json.dumps(plain), encoding="utf-8")
        if name != "manifest.json":
            sign(bundle, name)

    return edit


def _text(name: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(bundle: Path) -> None:
        text = (bundle / name).read_text(encoding="utf-8")
        assert old in text
        (bundle / name).write_text(text.replace(old, new), encoding="utf-8")
        sign(bundle, name)

    return edit


def _calibration(change: Callable[[Array], Array]) -> Callable[[Path], None]:
    def edit(bundle: Path) -> None:
        array = np.load(bundle / "calibration_data.npy")
        np.save(bundle / "calibration_data.npy", change(array))
        sign(bundle, "calibration_data.npy")

    return edit


def _broken_calibration(bundle: Path) -> None:
    (bundle / "calibration_data.npy").write_bytes(b"no")
    sign(bundle, "calibration_data.npy")


def _two_decoders(bundle: Path) -> None:
    shutil.copy(bundle / "model.onnx", bundle / "host.onnx")
    _first('nms_postprocess("nms.json", meta_arch=yolov8)')(bundle)


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
    "a second decoder beside host.onnx": (_two_decoders, 2, "decoded twice"),
    "a decoder nobody knows": (_first('nms_postprocess("nms.json", meta_arch=yolov9)'), 1, "yolov9"),
}  # fmt: skip


@pytest.fixture(scope="module")
def good_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return optimize(tmp_path_factory.mktemp("good"))


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
    bundle = optimize(tmp_path, data=data, model=model)
    manifest = read_json(bundle / "manifest.json")
    assert manifest["drift"] == "none"
    (drift,) = read_json(bundle / "report.json")["drifts"]
    assert not drift["is_random"]
    assert drift["inputs"] == 100
