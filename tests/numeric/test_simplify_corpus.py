"""The simplifying passes in a row on real exports: valid, in opset 17, the same numbers, and then at rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import irkit
from irkit import Context, Model
from irkit.infer import Inference
from irkit.library import get_pass
from irkit.structure import structural_hash
from irkit.verifier import verify
from tests.numeric.test_passes_corpus import corpus_io, entries

pytestmark = pytest.mark.corpus

PASSES = (
    "inline-functions", "lower-opset", "fold-constants", "remove-identity", "merge-duplicates", "remove-dead",
)  # fmt: skip
LARGEST = 2_000_000
"""Bytes of a file that is still quick to run."""


def simplify(model: Model) -> list[str]:
    """Run the passes; returns what they could not do."""
    inference = Inference.of(model)
    inference.update()
    told = []
    for name in PASSES:
        context = Context(pass_name=name, update_types=inference.update)
        get_pass(name).run(model, context)
        inference.update()
        told += [finding.message for finding in context.findings]
    return told


def small(corpus: Path) -> Iterator[tuple[dict[str, Any], Path]]:
    for entry in entries(corpus):
        if entry["size_bytes"] <= LARGEST:
            yield entry, corpus / entry["file"]


def test_every_model_is_simplified_once_and_lowered(corpus: Path, tmp_path: Path) -> None:
    count = 0
    for entry, path in small(corpus):
        model = irkit.load(path)
        assert simplify(model) == [], entry["name"]
        verify(model)
        assert (model.opset, model.ir_version, len(model.functions)) == (17, 8, 0), entry["name"]
        irkit.save(model, tmp_path / "after.onnx")
        onnx.checker.check_model(str(tmp_path / "after.onnx"))
        once = structural_hash(model)
        simplify(model)
        assert structural_hash(model) == once, entry["name"]
        count += 1
    assert count >= 40


def test_outputs_stay(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")
    io = corpus_io(corpus)
    for entry, path in small(corpus):
        if not entry.get("runs_in_ort"):
            continue
        model = irkit.load(path)
        simplify(model)
        irkit.save(model, tmp_path / "after.onnx")
        feeds = io.make_inputs(entry, seed=1)
        before, after = io.run_ort(str(path), feeds), io.run_ort(str(tmp_path / "after.onnx"), feeds)
        assert list(before) == list(after)
        allowed = max(1e-4, 10 * entry["ort_opt_rel_diff"])
        for name, expected in before.items():
            if isinstance(expected, np.ndarray) and expected.dtype.kind == "f":
                difference = np.abs(after[name].astype(np.float64) - expected.astype(np.float64)).max(initial=0)
                assert difference <= allowed * np.abs(expected).max(initial=0), f"{entry['name']}: {name}"
            else:
                assert np.array_equal(after[name], expected), f"{entry['name']}: {name}"
