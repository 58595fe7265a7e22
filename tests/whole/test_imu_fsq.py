"""The example from training to the gates: its data, export, service, and a short run of all of it."""

from __future__ import annotations

import http.client
import importlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import irkit
from irkit.cli import main
from irkit.runtime import EmulatedBackend, Pipeline, open_bundle
from tests.whole.sources import ROOT

pytest.importorskip("onnxruntime", reason="runs the models: pip install -e '.[verify]'")

EXAMPLE = ROOT / "examples" / "03_imu_fsq"
MODEL = EXAMPLE / "models" / "conv2d_fsq_behavioral.onnx"
NAMES = ("checkpoint", "data", "export", "legacy", "model", "report", "run", "service", "smoother", "svg", "train")


@pytest.fixture(scope="module")
def scripts() -> Iterator[Any]:
    """Imports a script of the example by name; they are forgotten afterwards."""
    sys.path.insert(0, str(EXAMPLE))
    yield importlib.import_module
    sys.path.remove(str(EXAMPLE))
    for name in NAMES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def bundle(scripts: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the committed model, cut at z, with temperature and threshold of validation data."""
    folder = tmp_path_factory.mktemp("fsq")
    data = scripts("data")
    data.write(folder / "data", {"train": 10, "val": 300, "calib": 128, "test": 300})
    calib = ["--calib", str(folder / "data" / "calibration_data.npy")]
    assert main(["optimize", str(MODEL), "--cut", "z", *calib, "-o", str(folder / "codes")]) == 0
    (folder / "gates.toml").write_text("frames = 20\ncalibration_samples = 128\nece = 0.2\nint8_drop = 0.05\n")
    given = [f"--{flag}={folder / 'data' / name}" for flag, name in (("data", "test.npz"), ("validation", "val.npz"))]
    assert main(["check", str(folder / "codes"), "--gates", str(folder / "gates.toml"), *given]) == 0
    return folder / "codes"


# --- data ------------------------------------------------------------------------------------------------------------


def test_samples_are_seeded_and_of_what_sensors_read(scripts: Any) -> None:
    data = scripts("data")
    inputs, labels, subjects = data.make("test", 60)
    assert np.array_equal(inputs, data.make("test", 60)[0])
    assert inputs.shape == (60, 9, 2, 100)
    assert inputs.dtype == np.float32
    assert np.bincount(labels, minlength=10).tolist() == [6] * 10
    assert set(subjects) <= set(data.SUBJECTS["test"])
    physical = inputs * data.SCALE
    assert np.all(np.abs(physical) <= data.FULL_SCALE * 1.001)
    still = physical[labels == 0]
    assert np.linalg.norm(still[:, :3], axis=1).mean() == pytest.approx(9.81, rel=0.05)
    assert np.linalg.norm(still[:, 6:], axis=1).mean() == pytest.approx(48.3, rel=0.25)


def test_no_subject_is_in_two_splits(scripts: Any) -> None:
    splits = [set(numbers) for numbers in scripts("data").SUBJECTS.values()]
    assert sum(map(len, splits)) == len(set().union(*splits))


def test_left_is_counter_clockwise(scripts: Any) -> None:
    """The rate of turn about the vertical axis tells left from right: positive is left."""
    data = scripts("data")
    inputs, labels, _ = data.make("val", 400)
    rates = inputs[:, 5].mean((1, 2))
    left, right = (rates[labels == data.BEHAVIOURS.index(f"turn {side}")] for side in ("left", "right"))
    assert left.mean() > 0.05
    assert right.mean() < -0.05


# --- the committed model ---------------------------------------------------------------------------------------------


def test_the_committed_model_holds_its_accuracy(scripts: Any, bundle: Path) -> None:
    inputs, labels, _ = scripts("data").make("test", 300)
    with Pipeline(bundle, "cpu") as pipeline:
        plain = pipeline(inputs)
    with Pipeline(bundle, backend=EmulatedBackend(open_bundle(bundle))) as pipeline:
        emulated = pipeline(inputs)
    found = [float((one["behavior_logits"].argmax(1) == labels).mean()) for one in (plain, emulated)]
    assert min(found) >= 0.83
    assert abs(found[0] - found[1]) <= 0.03
    levels = scripts("report").levels_of
    flipped = (levels(plain["z"]) != levels(emulated["z"])).mean()
    assert 0 < flipped < 0.1
    assert set(np.unique(levels(plain["z"]))) <= set(range(8))


def test_the_chip_ends_at_z_and_the_host_rounds(bundle: Path) -> None:
    with irkit.load(bundle / "model.onnx") as device, irkit.load(bundle / "host.onnx") as host:
        assert [str(dim) for dim in device.graph.outputs[0].shape or ()] == ["1", "8"]
        assert not any(node.op in ("Round", "Tanh") for node in device.walk())
        assert [node.op for node in host.walk()].count("Round") == 1


# --- the smoother ----------------------------------------------------------------------------------------------------


def test_a_blip_is_smoothed_and_a_change_is_not(scripts: Any) -> None:
    smooth = scripts("smoother").smooth
    rows = np.full((30, 3), 0.1)
    rows[:15, 0] = rows[15:, 1] = 0.8
    rows[7] = [0.35, 0.1, 0.55]
    assert smooth(rows).tolist() == [0] * 15 + [1] * 15
    assert smooth(rows[:1]).tolist() == [0]
    assert smooth(rows[:0]).tolist() == []


def test_durations_are_probabilities(scripts: Any) -> None:
    assert np.exp(scripts("smoother").durations(6.0, 25)).sum() == pytest.approx(1)


# --- the service -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(scripts: Any, bundle: Path) -> Iterator[tuple[str, int]]:
    service = scripts("service")
    with service.Server(service.Predictor(bundle, "cpu"), "127.0.0.1", 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running.server_address
        running.shutdown()
        thread.join()


def ask(server: tuple[str, int], method: str, path: str, body: bytes = b"", kind: str = "") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(*server, timeout=20)
    connection.request(method, path, body or None, {"Content-Type": kind} if kind else {})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_the_service_predicts_as_the_pipeline_does(scripts: Any, server: tuple[str, int], bundle: Path) -> None:
    data = scripts("data")
    inputs, _, _ = data.make("test", 12)
    with Pipeline(bundle, "cpu") as pipeline:
        wanted = pipeline(inputs)["behavior_logits"].argmax(1)
    for index, one in enumerate(inputs):
        body = json.dumps({"imu_input": one.tolist()}).encode()
        status, answer = ask(server, "POST", "/predict", body, "application/json")
        assert status == 200
        assert answer["class"] == wanted[index]
        assert answer["behaviour"] == data.BEHAVIOURS[answer["class"]]
        assert sum(answer["probabilities"]) == pytest.approx(1, abs=1e-4)
        assert answer["behaviour"] in answer["prediction_set"]
        assert answer["coverage"] == 0.9
        assert ask(server, "POST", "/predict", npy(one), "application/x-npy")[1]["class"] == answer["class"]
    status, health = ask(server, "GET", "/health")
    assert (status, health["status"], health["is_hailo"]) == (200, "ok", False)
    status, metrics = ask(server, "GET", "/metrics")
    assert metrics["requests"] >= 24
    assert 0 < metrics["latency_ms"]["p50"] <= metrics["latency_ms"]["p95"] <= metrics["latency_ms"]["p99"]


GOOD = np.zeros((9, 2, 100), np.float32)
REFUSED = {
    "shape": (npy(GOOD[:, :, :50]), "application/x-npy", 422, "takes arrays of shape"),
    "channels last": (npy(GOOD.transpose(1, 2, 0)), "application/x-npy", 422, "takes arrays of shape"),
    "NaN": (npy(GOOD * np.nan), "application/x-npy", 422, "finite"),
    "text": (npy(np.full((9, 2, 100), "a")), "application/x-npy", 422, "takes numbers"),
    "truth values": (npy(GOOD > 0), "application/x-npy", 422, "takes numbers"),
    "two samples": (npy(np.stack([GOOD, GOOD])), "application/x-npy", 422, "one sample"),
    "pickle": (npy(np.array([{}], object)), "application/x-npy", 400, "npy"),
    "no npy": (b"abc", "application/x-npy", 400, "npy"),
    "no JSON": (b"{", "application/json", 400, "no JSON"),
    "NaN in JSON": (json.dumps({"imu_input": (GOOD * np.nan).tolist()}).encode(), "application/json", 422, "finite"),
    "null": (b'{"imu_input": null}', "application/json", 422, "takes numbers"),
    "ragged": (b'{"imu_input": [[1, 2], [3]]}', "application/json", 422, "no array"),
    "another name": (b'{"x": []}', "application/json", 422, "imu_input"),
    "another kind": (b"abc", "text/plain", 415, "Content-Type"),
    "too large": (b" " * ((1 << 20) + 1), "application/json", 413, "at most"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_service_refuses_what_does_not_fit(server: tuple[str, int], name: str) -> None:
    body, kind, status, told = REFUSED[name]
    found, answer = ask(server, "POST", "/predict", body, kind)
    assert found == status
    assert told in answer["error"]
    assert ask(server, "GET", "/health")[0] == 200


def test_other_paths_are_not_there(server: tuple[str, int]) -> None:
    assert ask(server, "GET", "/")[0] == 404
    assert ask(server, "POST", "/health", b"{}", "application/json")[0] == 404


def test_without_a_bundle_it_does_not_start(tmp_path: Path) -> None:
    done = run(tmp_path, "service.py", str(tmp_path))
    assert done.returncode == 1
    assert "is no bundle" in done.stderr
    assert "Traceback" not in done.stderr


# --- training and export ---------------------------------------------------------------------------------------------


def run(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLE / script), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, env=environment)


def checkpoint(path: Path, **changes: Any) -> None:
    import torch

    sys.path.insert(0, str(EXAMPLE))
    network = importlib.import_module("model").Conv2dFSQ()
    sys.path.remove(str(EXAMPLE))
    torch.manual_seed(0)
    saved = {"state": network.state_dict(), "activation": "relu", "val_accuracy": 0.5}
    for key, value in changes.items():
        saved["state"].update(value) if key == "state" else saved.update({key: value})
    torch.save(saved, path)


@pytest.mark.parametrize("case", ["none", "no checkpoint", "missing", "unexpected", "of another network"])
def test_export_refuses_checkpoints_that_do_not_fit(tmp_path: Path, case: str) -> None:
    torch = pytest.importorskip("torch", reason="trains and exports: pip install -e '.[torch]'")
    path = tmp_path / "a.pt"
    checkpoint(path, **({"state": {"extra": torch.zeros(1)}} if case == "unexpected" else {}))
    if case == "none":
        path.unlink()
    elif case == "no checkpoint":
        path.write_bytes(b"abc")
    elif case == "missing":
        plain = torch.load(path, weights_only=True)
        del plain["state"]["project.bias"]
        torch.save(plain, path)
    elif case == "of another network":
        checkpoint(path, state={"project.weight": torch.zeros(16, 128)})
    done = run(tmp_path, "export.py", "--checkpoint", "*.pt", "-o", "out.onnx")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    told = {"none": "no checkpoint fits", "no checkpoint": "cannot be read", "missing": "project.bias",
            "unexpected": "extra", "of another network": "project.weight"}  # fmt: skip
    assert told[case] in done.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_training_refuses_what_it_cannot_use(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="trains and exports: pip install -e '.[torch]'")
    (tmp_path / "bad.pt").write_bytes(b"abc")
    for flags, told in (([], "there is no none/train.npz"), (["--start", "bad.pt"], "bad.pt cannot be read")):
        done = run(tmp_path, "train.py", "--data", "none", "-o", "x.pt", *flags)
        assert done.returncode == 1
        assert told in done.stderr
        assert "Traceback" not in done.stderr


def test_the_best_checkpoint_is_exported_with_its_weights(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="trains and exports: pip install -e '.[torch]'")
    checkpoint(tmp_path / "worse.pt", val_accuracy=0.4)
    checkpoint(tmp_path / "better.pt", val_accuracy=0.6, state={"project.bias": torch.full((8,), 0.25)})
    done = run(tmp_path, "export.py", "--checkpoint", "*.pt", "-o", "out.onnx")
    assert done.returncode == 0, done.stderr
    assert "better.pt" in done.stdout
    with irkit.load(tmp_path / "out.onnx") as model:
        biases = [value.constant.numpy() for value in model.graph.initializers.values() if value.constant is not None]
        assert any(bias.shape == (8,) and np.all(bias == 0.25) for bias in biases)


def test_all_of_the_example_runs(tmp_path: Path) -> None:
    """Shortened: few data, one epoch each. That its figures are good is for the whole run to show."""
    pytest.importorskip("torch", reason="trains and exports: pip install -e '.[torch]'")
    pytest.importorskip("onnxscript", reason="PyTorch's dynamo exporter needs it: pip install -e '.[torch]'")
    done = run(tmp_path, "run.py", "--quick", "-o", "out", "--threads", "1")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    figures = json.loads((tmp_path / "out" / "report" / "figures.json").read_text(encoding="utf-8"))
    assert figures["codes"][0] == figures["dynamo"], "both exporters give one network"
    assert {"untuned", "logits", "unbounded", "gelu", "gelu-to-relu", "tuned", "flips", "smoothed"} <= set(figures)
    for name in ("reliability", "latency", "snr"):
        plot = ElementTree.parse(tmp_path / "out" / "report" / f"{name}.svg").getroot()
        assert len(plot.findall("{http://www.w3.org/2000/svg}rect")) > 3
