"""Calibration data as people have them: images, several inputs, rank 3; and data that are wrong, each one message."""

from __future__ import annotations

import os
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
from irkit.hailo.equipment import write_npz
from tests.whole.bundles import IMU, contents, optimize, read_json, samples
from tests.whole.sources import ROOT

pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

Array = np.ndarray[Any, np.dtype[Any]]

IMAGE = """
opset 17
graph(%image: float32[1,3,16,24]) -> (%y) {
  %w: float32[4,3,3,3] = random(seed=1)
  %c = Conv(%image, %w) {kernel_shape=[3,3], pads=[1,1,1,1]} @conv
  %y = GlobalAveragePool(%c) @pool
}
"""
TWO = """
opset 17
graph(%left: float32[1,4,8,8], %right: float32[1,2,8,8]) -> (%y) {
  %w: float32[4,2,1,1] = random(seed=1)
  %v: float32[3,4,1,1] = random(seed=2)
  %c = Conv(%right, %w) {kernel_shape=[1,1]} @widen
  %a = Add(%left, %c) @add
  %y = Conv(%a, %v) {kernel_shape=[1,1]} @last
}
"""
ROWS = """
opset 17
graph(%x: float32[1,10,6]) -> (%y) {
  %w: float32[6,4] = random(seed=1)
  %m = MatMul(%x, %w) @first
  %y = Relu(%m) @relu
}
"""


def _saved(folder: Path, text: str) -> Path:
    irkit.save(irkit.parse_model(text), folder / "model.onnx")
    return folder / "model.onnx"


def _run(folder: Path, model: Path, data: Path, *flags: str) -> int:
    return main(["optimize", str(model), "-o", str(folder / "out"), "--calib", str(data), *flags])


# --- images ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Images of one size, red at the left; one of them grey, one small and upright."""
    image = pytest.importorskip("PIL.Image", reason="images are read with Pillow")
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        pixels = np.zeros((32, 48, 3), np.uint8)
        pixels[:, :24, 0] = 200 + index
        image.fromarray(pixels).save(folder / f"{index}.png")
    image.fromarray(np.full((32, 48), 77, np.uint8)).save(folder / "grey.png")
    image.fromarray(np.full((40, 20, 3), 255, np.uint8)).save(folder / "upright.png")
    return folder


def test_images_are_fitted(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = _saved(tmp_path, IMAGE)
    assert _run(tmp_path, model, pictures) == 2
    assert "--resize stretches, --letterbox keeps the shape" in capsys.readouterr().err
    for flags in (["--resize"], ["--letterbox", "--color", "bgr", "--std", "255"]):
        assert _run(tmp_path, model, pictures, "--force", *flags) == 0
        written = np.load(tmp_path / "out" / "calibration_data.npy")
        assert (written.shape, written.dtype) == ((5, 16, 24, 3), np.uint8)
        red = 2 if "bgr" in flags else 0
        left, right = written[:, 8, 5], written[:, 8, 20]
        beside = 255 if "--resize" in flags else 114  # of the upright one
        assert sorted(left[:, red].tolist()) == sorted([77, 200, 201, 202, beside])
        assert sorted(right[:, red].tolist()) == sorted([0, 0, 0, 77, beside])
    assert read_json(tmp_path / "out" / "preprocess.json")["inputs"][0]["color"] == "bgr"
    assert "normalization(" in (tmp_path / "out" / "model.alls").read_text()


def test_images_become_grey_where_the_model_is(tmp_path: Path, pictures: Path) -> None:
    model = _saved(
        tmp_path, IMAGE.replace("float32[1,3,16,24]", "float32[1,1,16,24]").replace("[4,3,3,3]", "[4,1,3,3]")
    )
    assert _run(tmp_path, model, pictures, "--resize") == 0
    written = np.load(tmp_path / "out" / "calibration_data.npy")
    assert written.shape == (5, 16, 24, 1)
    assert sorted(written[:, 8, 5, 0].tolist()) == [60, 60, 60, 77, 255]


# --- several inputs, other ranks -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("doubles")
def test_several_inputs_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = _saved(tmp_path, TWO)
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=(20, 8, 8, 4)), rng.normal(size=(20, 8, 8, 2))
    for arrays, told in (
        ({"left": left}, "no array for the input `right`"),
        ({"left": left, "right": right[:9]}, "same number of samples"),
        ({"left": left, "right": left}, "height, width, channels"),
    ):
        write_npz(tmp_path / "data.npz", arrays)
        assert _run(tmp_path, model, tmp_path / "data.npz") == 2
        assert told in capsys.readouterr().err
    write_npz(tmp_path / "data.npz", {"right": right, "left": left})
    bundle = tmp_path / "out"
    assert _run(tmp_path, model, tmp_path / "data.npz", "--precision", "right=a16_w16") == 0
    with np.load(bundle / "calibration_data.npz") as written:
        assert {name: array.shape for name, array in written.items()} == {"left": left.shape, "right": right.shape}
    assert main(["compile", str(bundle)]) == 0
    script = (bundle / "compiled" / "resolved.alls").read_text()
    assert "quantization_param(input_layer2, precision_mode=a16_w16)" in script
    frames = {
        name: np.ascontiguousarray(array[:5].transpose(0, 3, 1, 2)).astype(np.float32)
        for name, array in (("left", left), ("right", right))
    }
    with irkit.runtime.Pipeline(bundle) as pipeline, irkit.runtime.Pipeline(bundle, device="cpu") as plain:
        assert pipeline.is_device
        got, wanted = pipeline(frames)["y"], plain(frames)["y"]
    assert 0 < np.abs(got - wanted).max() < 0.1 * np.abs(wanted).max()


@pytest.mark.usefixtures("doubles")
def test_several_raw_inputs_are_each_normalized_on_the_chip(tmp_path: Path) -> None:
    text = (
        TWO.replace("float32[1,4,8,8]", "float32[1,2,8,8]")
        .replace("[4,2,1,1]", "[2,2,1,1]")
        .replace("[3,4,1,1]", "[3,2,1,1]")
    )
    model = _saved(tmp_path, text)
    rng = np.random.default_rng(0)
    data = {name: rng.integers(0, 256, (12, 8, 8, 2), np.uint8) for name in ("left", "right")}
    write_npz(tmp_path / "data.npz", data)
    bundle = tmp_path / "out"
    assert _run(tmp_path, model, tmp_path / "data.npz", "--mean", "10,20", "--std", "50,60") == 0
    assert "normalization(" not in (bundle / "model.alls").read_text()
    assert main(["compile", str(bundle)]) == 0
    script = (bundle / "compiled" / "resolved.alls").read_text()
    assert "normalization2 = normalization([10.0, 20.0], [50.0, 60.0], input_layer2)" in script
    with irkit.runtime.Pipeline(bundle) as pipeline, irkit.runtime.Pipeline(bundle, device="cpu") as plain:
        got, wanted = pipeline(data)["y"], plain(data)["y"]
    assert 0 < np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("shape", [(30, 10, 6), (30, 1, 10, 6)])
def test_rows_get_a_height_of_one(tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    bundle = optimize(tmp_path, data=data, model=_saved(tmp_path, ROWS))
    assert np.load(bundle / "calibration_data.npy").shape == (30, 1, 10, 6)
    assert read_json(bundle / "io_map.json")["inputs"][0]["device"]["shape"] == [1, 10, 6]


# --- what is said of the data ----------------------------------------------------------------------------------------


def test_the_rules_look_at_the_set_that_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = samples(40) * np.array([1, 1, 1, 90, 90, 90, 1, 1, 1], np.float32)
    wild[5], wild[6] = 3.0, wild[7]
    bundle = optimize(tmp_path, data=wild)
    report = read_json(bundle / "report.json")
    told = {finding["rule"]: finding for finding in report["findings"]}
    rules = {
        "calibration-count",
        "calibration-constant-samples",
        "calibration-repeated-samples",
        "input-channel-ranges",
    }
    assert rules <= set(told)
    assert "--precision imu_input=a16_w16" in told["input-channel-ranges"]["advice"]
    assert "input-channel-ranges" in capsys.readouterr().out
    assert "input-channel-ranges" in (bundle / "report.md").read_text()
    assert read_json(bundle / "manifest.json")["calibration"] == "data"
    mended = optimize(tmp_path, "--precision", "imu_input=a16_w16", data=wild)
    assert "input-channel-ranges" not in (mended / "report.json").read_text()


def test_random_data_are_marked_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "out"
    assert main(["optimize", str(IMU), "-o", str(bundle), "--random-calib", "16"]) == 0
    assert "the calibration set is random" in capsys.readouterr().out
    assert read_json(bundle / "manifest.json")["calibration"] == "random"
    assert read_json(bundle / "report.json")["calibration"]["is_random"] is True
    assert read_json(bundle / "script.json")["calibration"]["random"] is True
    for name in ("report.md", "DEPLOYMENT_README.md"):
        assert "Random numbers" in (bundle / name).read_text()


# --- data that are wrong ---------------------------------------------------------------------------------------------


def _with_nan(path: Path) -> None:
    data = samples(600)
    data[500, 1, 50, 3] = np.nan
    np.save(path, data)


def _truncated(path: Path) -> None:
    np.save(path, samples(20))
    path.write_bytes(path.read_bytes()[:-100])


def _objects(path: Path) -> None:
    array = np.empty(2, object)
    array[:] = [np.zeros((2, 100, 9)), np.zeros((2, 99, 9))]
    np.save(path, array, allow_pickle=True)


HOSTILE: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    "NaN in one sample": (_with_nan, [], "sample 500 for `imu_input` holds NaN"),
    "too large for float32": (lambda path: np.save(path, samples(4).astype(np.float64) * 1e300), [], "too large"),
    "complex numbers": (lambda path: np.save(path, samples(4).astype(np.complex64)), [], "must hold numbers"),
    "text": (lambda path: np.save(path, samples(4).astype(str)), [], "must hold numbers"),
    "Python objects": (_objects, [], "Python objects"),
    "cut short": (_truncated, [], "cut short"),
    "nothing": (lambda path: path.write_bytes(b""), [], "no .npy file that numpy can read"),
    "not a file": (lambda path: path.mkdir(), [], "holds no .npy files and no images"),
    "no samples": (lambda path: np.save(path, samples(4)[:0]), [], "holds no samples"),
    "means that are no numbers": (lambda path: np.save(path, samples(4)), ["--mean", "nan"], "takes numbers"),
    "means for other channels": (lambda path: np.save(path, samples(4)), ["--mean", "1,2,3"], "9 for the channels"),
    "a deviation of zero": (lambda path: np.save(path, samples(4)), ["--std", "0"], "above 0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_data_that_are_wrong_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    make, flags, told = HOSTILE[name]
    make(tmp_path / "data.npy")
    before = sorted(os.listdir(tmp_path))
    assert _run(tmp_path, IMU, tmp_path / "data.npy", *flags) == 2
    err = capsys.readouterr().err
    assert told in err
    assert len(err.strip().splitlines()) == 1
    assert sorted(os.listdir(tmp_path)) == before, "nothing is left"


def test_images_too_large_to_be_any_are_refused(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image", reason="images are read with Pillow")
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 100)
    assert _run(tmp_path, _saved(tmp_path, IMAGE), pictures, "--resize") == 2
    assert "no image that can be read" in capsys.readouterr().err


# --- the same bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["images", "npz", "start"])
def test_the_same_bytes_with_other_hashes_and_threads(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    if kind == "images":
        model, data = _saved(tmp_path, IMAGE), request.getfixturevalue("pictures")
        flags = ["--letterbox", "--std", "255", "--mean", "1,2,3"]
    elif kind == "npz":
        model, data, rng = _saved(tmp_path, TWO), tmp_path / "data.npz", np.random.default_rng(0)
        write_npz(data, {"left": rng.normal(size=(20, 8, 8, 4)), "right": rng.normal(size=(20, 8, 8, 2))})
        flags = ["--cut", "add"]
    else:
        model, data, flags = IMU, tmp_path / "data.npy", ["--start", "/project/Gemm", "--cut", "/head/head.0/Gemm"]
        np.save(data, samples(30))
    made = []
    for seed, threads in (("1", "1"), ("2", "2")):
        out = tmp_path / f"out{seed}"
        command = [sys.executable, "-m", "irkit", "optimize", str(model), "-o", str(out), "--calib", str(data), *flags]
        paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads, "PYTHONPATH": paths}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        made.append(contents(out))
    assert set(made[0]) == set(made[1])
    measured = {"report.json", "report.md", "manifest.json"}
    assert [name for name in made[0] if made[0][name] != made[1][name] and name not in measured] == []
    identities = [read_json(tmp_path / out / "manifest.json")["identity"] for out in ("out1", "out2")]
    assert identities[0] == identities[1]


def test_with_labels_all_classes_are_taken_alike(tmp_path: Path) -> None:
    """Of 400 samples of a common class and 40 of a rare one, 110 are taken as 100 and 10."""
    data = np.random.default_rng(0).normal(size=(440, 2, 100, 9)).astype(np.float32)
    data[:, 0, 0, 0] = labels = np.arange(440) // 400
    np.save(tmp_path / "labels.npy", labels)
    np.save(tmp_path / "c.npy", data)
    flags = [
        "optimize",
        str(IMU),
        "-o",
        str(tmp_path / "out"),
        "--calib",
        str(tmp_path / "c.npy"),
        "--calib-size",
        "110",
    ]
    assert main([*flags, "--labels", str(tmp_path / "labels.npy")]) == 0
    written = np.load(tmp_path / "out" / "calibration_data.npy")[:, 0, 0, 0]
    assert np.bincount(written.astype(int)).tolist() == [100, 10]
    assert 0 < np.flatnonzero(written == 1).min() < 60, "they are mixed"
    np.save(tmp_path / "labels.npy", labels[:50])
    assert main([*flags, "--force", "--labels", str(tmp_path / "labels.npy")]) == 2
    assert main(["optimize", str(IMU), "-o", str(tmp_path / "o"), "--labels", str(tmp_path / "labels.npy")]) == 2
