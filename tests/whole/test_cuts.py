"""Models in parts: what is calibrated, run, timed, emulated and compared is the whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irkit
import irkit.runtime
from irkit.cli import main
from tests.whole.bundles import IMU, channels_first, optimize, read_json

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

Array = np.ndarray[Any, np.dtype[Any]]

ENCODER = """
opset 17
graph(%tokens: int64[1,6]) -> (%y) {
  %table: float32[50,8] = random(seed=1)
  %w: float32[8,8] = random(seed=2)
  %v: float32[8,5] = random(seed=3)
  %rows = Gather(%table, %tokens) {axis=0} @embed
  %a = MatMul(%rows, %w) @first
  %r = Relu(%a) @relu
  %m = ReduceMean(%r) {axes=[1], keepdims=0} @mean
  %y = MatMul(%m, %v) @head
}
"""
QUANTIZER = """
opset 17
graph(%x: float32[1,9,2,20]) -> (%codes, %y) {
  %w: float32[16,9,1,3] = random(seed=1)
  %p: float32[16,4] = random(seed=2)
  %h: float32[4,6] = random(seed=3)
  %two: float32[] = 2.0
  %c = Conv(%x, %w) {kernel_shape=[1,3], pads=[0,1,0,1]} @conv
  %r = Relu(%c) @relu
  %g = GlobalAveragePool(%r) @pool
  %f = Flatten(%g) @flatten
  %z = MatMul(%f, %p) @project
  %t = Tanh(%z) @tanh
  %s = Mul(%t, %two) @levels
  %q = Round(%s) @round
  %codes = Cast(%q) {to=6} @codes
  %y = MatMul(%q, %h) @decode
}
"""
CHANNELS_LAST = """
opset 17
graph(%image: float32[1,16,24,3]) -> (%y) {
  %w: float32[8,3,3,3] = random(seed=1)
  %f = Transpose(%image) {perm=[0,3,1,2]} @first
  %c = Conv(%f, %w) {kernel_shape=[3,3], pads=[1,1,1,1]} @conv
  %r = Relu(%c) @relu
  %y = Conv(%r, %w2) {kernel_shape=[1,1]} @last
  %w2: float32[4,8,1,1] = random(seed=2)
}
"""


def _model(folder: Path, text: str) -> Path:
    lines = text.splitlines()
    constants = [line for line in lines if "= random(" in line or "] = " in line]
    rest = [line for line in lines if line not in constants]
    head = next(index for index, line in enumerate(rest) if line.startswith("graph"))
    irkit.save(irkit.parse_model("\n".join([*rest[: head + 1], *constants, *rest[head + 1 :]])), folder / "model.onnx")
    return folder / "model.onnx"


def _whole(model: Path, arrays: dict[str, Array]) -> dict[str, Array]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    count = len(next(iter(arrays.values())))
    frames = [session.run(names, {name: array[i : i + 1] for name, array in arrays.items()}) for i in range(count)]
    return {name: np.concatenate([frame[index] for frame in frames]) for index, name in enumerate(names)}


def _quantized(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["quantize", *arguments, "--format", "json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("doubles")
def test_what_is_before_the_chip_makes_its_calibration_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = _model(tmp_path, ENCODER)
    tokens = np.random.default_rng(0).integers(0, 50, (40, 6))
    bundle = optimize(tmp_path, "--start", "first", data=tokens, model=model)
    with irkit.load(bundle / "pre.onnx") as pre:
        assert [node.op for node in pre.graph] == ["Gather"]
    written = np.load(bundle / "calibration_data.npy")
    assert (written.shape, written.dtype) == ((40, 1, 6, 8), np.float32)
    with irkit.load(model) as opened:
        table = opened.graph.values["table"].constant
        assert table is not None
        rows = table.numpy()[tokens]
    assert sorted(written.sum((1, 2, 3)).tolist()) == pytest.approx(sorted(rows.sum((1, 2)).tolist()), rel=1e-5)
    assert read_json(bundle / "preprocess.json")["domain"]["calibration"] == "cut"
    with irkit.runtime.Pipeline(bundle) as pipeline:
        assert pipeline.inputs == ("tokens",)
        assert pipeline(tokens[:7])["y"] == pytest.approx(_whole(model, {"tokens": tokens[:7]})["y"], abs=1e-4)
    np.save(tmp_path / "tokens.npy", tokens)
    own, given = (_quantized(capsys, str(bundle), *more) for more in ([], ["--calib", str(tmp_path / "tokens.npy")]))
    assert own["samples"] == given["samples"] == 40
    assert own["runs"][0]["outputs"][0]["cosine"] == pytest.approx(given["runs"][0]["outputs"][0]["cosine"], abs=1e-6)
    assert main(["bench", str(bundle), "--frames", "5"]) == 0
    assert main(["compare", str(model), str(bundle)]) == 0
    assert main(["compile", str(bundle)]) == 0
    with irkit.runtime.Pipeline(bundle) as pipeline:
        assert pipeline.is_device
        got = pipeline(tokens[:7])["y"]
    wanted = _whole(model, {"tokens": tokens[:7]})["y"]
    assert 0 < np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()


def test_the_emulation_goes_on_into_what_the_host_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Codes are rounded behind the chip: how many of them change, and what that does, is what counts."""
    model = _model(tmp_path, QUANTIZER)
    data = np.random.default_rng(0).normal(size=(50, 2, 20, 9)).astype(np.float32)
    bundle = optimize(tmp_path, "--cut", "project", data=data, model=model)
    wanted = _whole(model, {"x": channels_first(data)})
    np.save(tmp_path / "labels.npy", wanted["y"].argmax(1))
    calibration = ["--calib", str(tmp_path / "calibration.npy")]
    found = _quantized(capsys, str(bundle), *calibration)
    run = found["runs"][0]
    assert [output["name"] for output in run["outputs"]] == ["z", "codes", "y"]
    assert 0.5 < run["same"]["codes"] <= 1
    assert main(["quantize", str(bundle), "--labels", str(tmp_path / "labels.npy")]) == 2
    capsys.readouterr()
    assert main(["quantize", str(bundle), *calibration]) == 0
    assert "of its numbers are the same" in capsys.readouterr().out
    assert main(["compare", str(model), str(bundle)]) == 0


def test_accuracy_is_that_of_the_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = _model(
        tmp_path, QUANTIZER.replace("(%codes, %y)", "(%y)").replace("  %codes = Cast(%q) {to=6} @codes\n", "")
    )
    data = np.random.default_rng(0).normal(size=(50, 2, 20, 9)).astype(np.float32)
    bundle = optimize(tmp_path, "--cut", "project", data=data, model=model)
    np.save(tmp_path / "labels.npy", _whole(model, {"x": channels_first(data)})["y"].argmax(1))
    labels = ["--labels", str(tmp_path / "labels.npy"), "--calib", str(tmp_path / "calibration.npy")]
    found = _quantized(capsys, str(bundle), *labels)
    assert found["float_accuracy"] == 1
    assert 0.5 < found["runs"][0]["accuracy"] <= 1


def test_bundles_are_compared_as_wholes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the host's part makes is held against the model it was cut from, and so is a model that differs there."""
    bundle = optimize(tmp_path, "--cut", "/project/Gemm")
    capsys.readouterr()
    assert main(["compare", str(IMU), str(bundle), "--format", "json"]) == 0
    names = [tensor["name"] for tensor in json.loads(capsys.readouterr().out)["tensors"]]
    assert {"behavior_logits", "/project/Gemm_output_0"} <= set(names)
    assert main(["compare", str(tmp_path), str(IMU)]) == 2


@pytest.mark.usefixtures("doubles")
def test_a_model_that_is_laid_out_as_images_are_stored(tmp_path: Path) -> None:
    model = _model(tmp_path, CHANNELS_LAST)
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 24, 3), np.uint8)
    bundle = optimize(tmp_path, "--std", "255", data=images, model=model)
    entry = read_json(bundle / "io_map.json")["inputs"][0]
    assert (entry["layout"], entry["device"]["shape"]) == ("NHWC", [16, 24, 3])
    assert np.load(bundle / "calibration_data.npy").shape == (12, 16, 24, 3)
    wanted = _whole(model, {"image": (images / 255).astype(np.float32)})["y"]
    with irkit.runtime.Pipeline(bundle, device="cpu") as pipeline:
        assert pipeline(images)["y"] == pytest.approx(wanted, abs=1e-4)
    assert main(["compile", str(bundle)]) == 0
    with irkit.runtime.Pipeline(bundle) as pipeline:
        got = pipeline(images)["y"]
    assert 0 < np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()
