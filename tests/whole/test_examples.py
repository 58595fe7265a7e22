"""The committed models of the examples are what their page says."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.whole.sources import ROOT

MODELS = ROOT / "examples" / "01_imu_classifier" / "models"
SAME_NETWORK = ("bn", "folded", "dynamo")


def path_of(name: str) -> Path:
    return MODELS / f"imu_classifier_{name}.onnx"


def logits(name: str, count: int = 8) -> np.ndarray:
    """Logits of `count` seeded inputs, one at a time, shape (count, 10)."""
    runtime = pytest.importorskip("onnxruntime", reason="runs the models: pip install -e '.[verify]'")
    session = runtime.InferenceSession(str(path_of(name)), providers=["CPUExecutionProvider"])
    inputs = np.random.default_rng(0).standard_normal((count, 1, 9, 2, 100)).astype(np.float32)
    return np.concatenate([session.run(["behavior_logits"], {"imu_input": one})[0] for one in inputs])


@pytest.mark.parametrize("name", SAME_NETWORK[1:])
def test_exports_of_one_network_agree(name: str) -> None:
    reference, found = logits(SAME_NETWORK[0]), logits(name)
    assert reference.shape == (8, 10)
    assert np.abs(found - reference).max() <= 1e-5 * np.abs(reference).max()
    assert reference.std(axis=0).min() > 0, "logits that do not react to the input prove nothing"


def test_gelu_is_another_network() -> None:
    assert np.abs(logits("gelu") - logits("bn")).max() > 1e-2 * np.abs(logits("bn")).max()


@pytest.mark.parametrize(
    ("name", "opset", "batch", "batchnorms"),
    [("bn", 17, 1, 3), ("folded", 11, 1, 0), ("dynamo", 20, "batch", 0), ("gelu", 17, 1, 3)],
)
def test_each_export_is_what_the_page_says(name: str, opset: int, batch: int | str, batchnorms: int) -> None:
    model = onnx.load(str(path_of(name)), load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [opset]
    first = model.graph.input[0].type.tensor_type.shape.dim[0]
    assert (first.dim_param or first.dim_value) == batch
    assert sum(node.op_type == "BatchNormalization" for node in model.graph.node) == batchnorms
    assert not any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    assert path_of(name).stat().st_size < 300_000


def test_the_gelu_export_spells_gelu_out() -> None:
    operators = [node.op_type for node in onnx.load(str(path_of("gelu"))).graph.node]
    assert operators.count("Erf") == 4
    assert "Relu" not in operators


def test_batchnorms_are_no_identity() -> None:
    model = onnx.load(str(path_of("bn")))
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            scale, bias, mean, variance = (tensors[name] for name in node.input[1:])
            assert min(np.ptp(scale), np.ptp(bias), np.ptp(mean), np.ptp(variance)) > 0.05
            assert scale.min() < 0


def test_the_lines_of_the_readme_export_the_network_that_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch", reason="exports a network: pip install -e '.[torch]'")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (lines,) = (block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "torch.onnx" in block)
    assert len(lines.splitlines()) == 3

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(MODELS.parent))
    network = importlib.import_module("network")
    trained = network.make_network(seed=1, steps=2)
    torch.save(trained.state_dict(), "checkpoint.pt")
    exec(lines, {"torch": torch, "model": network.ImuClassifier()})

    inputs = torch.randn(1, 9, 2, 100, generator=torch.Generator().manual_seed(0))
    runtime = pytest.importorskip("onnxruntime", reason="runs the models: pip install -e '.[verify]'")
    session = runtime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"imu_input": inputs.numpy()})
    assert np.abs(found - trained(inputs).detach().numpy()).max() < 1e-5
