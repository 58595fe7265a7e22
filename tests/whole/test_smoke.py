"""The main job on the example's models, short enough to be repeated on every supported stack."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import irkit
from irkit.cli import main
from tests.whole.sources import ROOT

MODELS = sorted((ROOT / "examples" / "01_imu_classifier" / "models").glob("*.onnx"))
EXACT = [path for path in MODELS if not path.stem.endswith("gelu")]

pytestmark = pytest.mark.smoke


def logits(path: Path, seed: int = 0) -> np.ndarray:
    runtime = pytest.importorskip("onnxruntime", reason="runs the models: pip install -e '.[verify]'")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    feed = np.random.default_rng(seed).standard_normal((1, 9, 2, 100)).astype(np.float32)
    result: np.ndarray = session.run(["behavior_logits"], {"imu_input": feed})[0]
    return result


def assert_same_function(before: Path, after: Path) -> None:
    expected, found = logits(before), logits(after)
    assert found.shape == (1, 10)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


def test_there_are_models() -> None:
    assert len(MODELS) == 4
    assert len(EXACT) == 3


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_load_and_save_keeps_every_bit_of_the_result(path: Path, tmp_path: Path) -> None:
    with irkit.load(path) as model:
        irkit.save(model, tmp_path / "copy.onnx")
    onnx.checker.check_model(str(tmp_path / "copy.onnx"), full_check=True)
    assert np.array_equal(logits(path), logits(tmp_path / "copy.onnx"))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_lint_writes_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["lint", str(path), "--format", "json"])
    report = json.loads(capsys.readouterr().out)
    assert set(report) >= {"model", "target", "findings", "summary"}
    assert code == int(any(finding["severity"] == "error" for finding in report["findings"]))


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_exact_optimization_keeps_the_function(path: Path, tmp_path: Path) -> None:
    assert main(["optimize", str(path), "-o", str(tmp_path / "out"), "--exact"]) in (0, 1)
    written = tmp_path / "out" / "model.onnx"
    onnx.checker.check_model(str(written), full_check=True)
    assert_same_function(path, written)


@pytest.mark.parametrize("path", EXACT, ids=lambda path: path.stem)
def test_what_is_emitted_is_what_hailo8_takes(path: Path, tmp_path: Path) -> None:
    assert main(["optimize", str(path), "-o", str(tmp_path / "out")]) == 0
    model = onnx.load(str(tmp_path / "out" / "model.onnx"))
    assert model.ir_version == 8
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [17]
    dims = [dim for value in model.graph.input for dim in value.type.tensor_type.shape.dim]
    assert [dim.dim_value for dim in dims] == [1, 9, 2, 100]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_gelu_becomes_relu_and_the_drift_is_told(tmp_path: Path) -> None:
    (path,) = set(MODELS) - set(EXACT)
    main(["optimize", str(path), "-o", str(tmp_path / "out")])
    operators = [node.op_type for node in onnx.load(str(tmp_path / "out" / "model.onnx")).graph.node]
    assert "Erf" not in operators
    assert operators.count("Relu") == 4
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["drift"] == "unaccepted"


def test_a_file_that_is_no_model_is_one_clear_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "notes.onnx"
    bad.write_text("these are notes", encoding="utf-8")
    assert main(["lint", str(bad)]) == 2
    message = capsys.readouterr().err
    assert "notes.onnx" in message
    assert "Traceback" not in message
