"""fold-batchnorm and gelu-to-relu on real exports: what is found, what stays, and that numbers hold."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import irkit
from irkit import Context, Model
from irkit.infer import Inference
from irkit.library import get_pass
from irkit.verifier import verify

pytestmark = pytest.mark.corpus

KEPT = {  # batch norms that must stay, and why
    "bn_conv_is_output__dyn18-bn.onnx": "is an output of the graph",
    "imu_trainmode__ts17-train.onnx": "training mode",
    "light_densenet121.onnx": "no layer beside it can take it in",
}
GELUS = {
    "bert_tiny__dyn18.onnx": 2, "bert_tiny__ts13.onnx": 2, "bert_tiny__ts17-dseq.onnx": 2,
    "deit_tiny_patch16_224__dyn18-bn.onnx": 4, "distilbert_tiny__dyn18.onnx": 2, "gelu_exact__dyn20.onnx": 2,
    "gelu_exact__ts11.onnx": 2, "gelu_hand_tanh__dyn18.onnx": 2, "gelu_zoo__ts17.onnx": 0, "gpt2_tiny__dyn18.onnx": 2,
    "local_functions.onnx": 2, "wav2vec_conv__dyn18.onnx": 6, "wav2vec_conv__ts17.onnx": 6,
    "lcnet_050__ts17-bn-db.onnx": 0,
}  # fmt: skip


def corpus_io(corpus: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("corpus_io", corpus / "corpus_io.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["corpus_io"] = module
    spec.loader.exec_module(module)
    return module


def entries(corpus: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((corpus / "manifest.json").read_text())["models"]
    return found


def prepared(path: Path, *names: str) -> tuple[Model, Context]:
    """The model after the passes, and the context of the last one."""
    model = irkit.load(path)
    inference = Inference(model)
    inference.run()
    context = Context()
    for name in ("inline-functions", "fold-constants", "remove-identity", *names):
        context = Context(pass_name=name, update_types=inference.update)
        get_pass(name).run(model, context)
        inference.update()
    verify(model)
    return model, context


def test_no_foldable_batch_norm_remains(corpus: Path) -> None:
    seen = 0
    for entry in entries(corpus):
        if "BatchNormalization" not in json.dumps(entry["ops"]) and entry["name"] != "local_functions":
            continue
        path = corpus / entry["file"]
        model, context = prepared(path, "fold-batchnorm")
        left = [node for node in model.walk() if node.op == "BatchNormalization"]
        seen += 1
        reason = KEPT.get(path.name)
        assert bool(left) == (reason is not None), f"{path.name}: {[context.refusals.get(node.name) for node in left]}"
        for node in left:
            assert reason is not None
            assert any(reason in text for text in context.refusals[node.name]), context.refusals[node.name]
    assert seen > 25


def test_folding_keeps_the_outputs(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")
    io = corpus_io(corpus)
    for entry in entries(corpus):
        if not entry.get("runs_in_ort") or "BatchNormalization" not in json.dumps(entry["ops"]):
            continue
        model, _ = prepared(corpus / entry["file"], "fold-batchnorm")
        irkit.save(model, tmp_path / "after.onnx")
        feeds = io.make_inputs(entry, seed=1)
        before = io.run_ort(str(corpus / entry["file"]), feeds)
        after = io.run_ort(str(tmp_path / "after.onnx"), feeds)
        assert list(before) == list(after)
        allowed = max(1e-4, 10 * entry["ort_opt_rel_diff"])
        for name, expected in before.items():
            difference = np.abs(after[name].astype(np.float64) - expected.astype(np.float64)).max()
            assert difference <= allowed * np.abs(expected).max(), f"{entry['name']}: {name}"


def test_every_gelu_is_found_and_nothing_else(corpus: Path) -> None:
    for entry in entries(corpus):
        path = corpus / entry["file"]
        if path.name in GELUS:
            model, context = prepared(path, "gelu-to-relu")
            assert len(context.notes.get("gelu-to-relu", [])) == GELUS[path.name], path.name
            left = [node.op for node in model.walk() if node.op in ("Erf", "Gelu")]
            assert left == [], path.name


def test_the_modules_of_a_replaced_gelu_are_told(corpus: Path) -> None:
    for name in ("bert_tiny__dyn18", "bert_tiny__ts13"):
        _, context = prepared(corpus / "models" / f"{name}.onnx", "gelu-to-relu")
        first = context.notes["gelu-to-relu"][0]
        assert first.startswith("m.encoder.layer.0.intermediate.intermediate_act_fn: ")


def test_silu_and_hardswish_only_when_named(corpus: Path) -> None:
    model, _ = prepared(corpus / "models" / "lcnet_050__ts17-bn-db.onnx")
    get_pass("gelu-to-relu", also=("hardswish",)).run(model, Context(pass_name="gelu-to-relu"))
    assert "HardSwish" not in [node.op for node in model.walk()]
    assert [node.op for node in model.walk()].count("Relu") >= 28
