"""What the benchmarks measure really is done: each task of irkit, on small models."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from benchmarks import models
from benchmarks.__main__ import MODELS, ROWS, run
from benchmarks.tasks import RULES, TOOLS, IrkitTasks, patterns


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.onnx"


def test_every_row_has_its_model_and_its_tasks() -> None:
    assert {row.model for row in ROWS} == set(MODELS)
    assert {tool for row in ROWS for tool in row.tools} == set(TOOLS)
    assert all(row.tools[0] == "irkit" for row in ROWS)


def test_editing_renames_and_replaces(tmp_path: Path, out: Path) -> None:
    models.wide_and_long(tmp_path / "m.onnx", 40)
    tasks = IrkitTasks()
    tasks.roundtrip(tmp_path / "m.onnx", out)
    assert out.read_bytes() == (tmp_path / "m.onnx").read_bytes()
    tasks.edit(tmp_path / "m.onnx", out)
    ops = [node.op_type for node in onnx.load(out).graph.node]
    assert len(ops) == 40
    assert "Relu" not in ops
    assert sum("renamed" in node.input for node in onnx.load(out).graph.node) == 10
    onnx.checker.check_model(str(out), full_check=True)


def test_rules_are_held_against_every_node(tmp_path: Path, out: Path) -> None:
    models.wide_and_long(tmp_path / "m.onnx", 40)
    assert len(patterns()) == RULES
    IrkitTasks().match(tmp_path / "m.onnx", out)


def test_optimizing_folds(tmp_path: Path, out: Path) -> None:
    models.conv_bn_relu(tmp_path / "m.onnx", 4)
    IrkitTasks().optimize(tmp_path / "m.onnx", out)
    assert "BatchNormalization" not in [node.op_type for node in onnx.load(out).graph.node]
    models.heavy(tmp_path / "heavy.onnx", 1, layers=2, bn=True)
    IrkitTasks().fold(tmp_path / "heavy.onnx", out)
    onnx.checker.check_model(str(out), full_check=True)


def test_a_run_prints_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MODELS, "500 MB", lambda path: models.heavy(path, 1))
    numbers = run([row for row in ROWS if row.title == "load"], tmp_path, 60)
    assert [item["tool"] for item in numbers][:2] == ["irkit", "onnx"]
    assert numbers[0]["value"] > 0
    assert "load, 500 MB: irkit" in capsys.readouterr().out
