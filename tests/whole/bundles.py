"""What tests of bundles share: a model, samples for it, and making a bundle of both."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from irkit.cli import main
from tests.whole.sources import ROOT

DOUBLES = ROOT / "tests" / "doubles"
IMU = ROOT / "examples" / "01_imu_classifier" / "models" / "imu_classifier_bn.onnx"
HEAD = "/head/head.3/Gemm"
PROJECT = "/project/Gemm"

Array = np.ndarray[Any, np.dtype[Any]]


def samples(count: int = 64, seed: int = 0) -> Array:
    """For the IMU model (N, height, width, channels), as the chip takes them."""
    return np.random.default_rng(seed).normal(size=(count, 2, 100, 9)).astype(np.float32)


def channels_first(array: Array) -> Array:
    """Samples as the ONNX model takes them."""
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def optimize(folder: Path, *flags: str, data: Array | None = None, model: Path = IMU) -> Path:
    """A bundle in a folder, with a calibration set."""
    calibration = folder / "calibration.npy"
    np.save(calibration, samples() if data is None else data)
    out = folder / "bundle"
    assert main(["optimize", str(model), "-o", str(out), "--force", "--calib", str(calibration), *flags]) == 0
    return out


def in_float(model: Path, data: Array) -> Array:
    """What the float model gives for samples (N, height, width, channels)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    frames = channels_first(data)
    return np.concatenate([session.run(None, {name: frames[i : i + 1]})[0] for i in range(len(frames))])


def read_json(path: Path) -> dict[str, Any]:
    """A file of a bundle as plain data."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def sign(bundle: Path, name: str) -> None:
    """Write the digest of a changed file, as somebody would who writes such a file by hand."""
    manifest = read_json(bundle / "manifest.json")
    manifest["files"][name] = {"sha256": hashlib.sha256((bundle / name).read_bytes()).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
