"""Real models: `optimize --exact` keeps what they compute, proves it, and has nothing left to do the second time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest

import irkit
from irkit.diagnostics import Severity
from irkit.pipeline import Verify
from irkit.proof import ProofVerdict
from tests import corpus

pytestmark = pytest.mark.corpus
pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

UNPROVEN: dict[str, str] = {}
"""Models that cannot be proven, and a word of the reason that is told."""


@corpus.each()
def test_exact_optimization(entry: dict[str, Any], tmp_path: Path) -> None:
    path = corpus.path_of(entry)
    result = irkit.optimize(path, exact=True, shapes=corpus.shapes_of(entry))
    written = tmp_path / "model.onnx"
    irkit.save(result.model, written)

    for proof in result.run.proofs:
        expected = UNPROVEN.get(entry["name"], "")
        assert proof.verdict is (ProofVerdict.NOT_VERIFIED if expected else ProofVerdict.PROVEN), proof.reason
        assert expected in proof.reason
    assert [run.failed for run in result.run.passes if run.failed and "proven wrong" not in run.failed] == []

    if entry["runs_in_ort"]:
        before, after = corpus.outputs_of(entry), corpus.outputs_of(entry, written)
        corpus.assert_same_outputs(before, after, corpus.tolerance_of(entry))
    assert_emitted_or_told(result, written)

    verify: Verify = "ends" if result.run.taken_back else "none"
    again = irkit.optimize(written, exact=True, shapes=corpus.shapes_of(entry), verify=verify)
    irkit.save(again.model, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == written.read_bytes()
    assert irkit.structural_hash(again.model) == irkit.structural_hash(result.model)


def assert_emitted_or_told(result: irkit.OptimizeResult, written: Path) -> None:
    """Static, of opset 17 and IR version 8, every node with a name of its own; or an error says why not."""
    model = onnx.load(str(written), load_external_data=False)
    told = {finding.code for finding in result.report.findings if finding.severity is Severity.ERROR}
    names = Counter(node.name for node in model.graph.node)
    assert [name for name, count in names.items() if count > 1 or not name] == []
    if not told & {"IRK020", "IRK010", "IRK031"}:
        assert {entry.version for entry in model.opset_import if not entry.domain} <= {17}
        assert model.ir_version == 8
    initializers = {tensor.name for tensor in model.graph.initializer}
    shapes = [value.type.tensor_type.shape for value in model.graph.input if value.name not in initializers]
    if not told & {"IRK001", "IRK002"}:
        assert all(dim.dim_value > 0 for shape in shapes for dim in shape.dim)


@corpus.each()
def test_lint_finds_its_way_through(entry: dict[str, Any]) -> None:
    report = irkit.lint(corpus.path_of(entry))
    assert report.findings or not report.has_errors
    assert all(finding.message and finding.code for finding in report.findings)
