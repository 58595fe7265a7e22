"""`irkit lint --dfc-log`: what the compiler printed, told at the nodes of the model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import irkit
from irkit.cli import main
from tests.refused.scoring import REFUSED, Form

LOG = Path(__file__).parents[1] / "core" / "dfc_logs" / "yolo26_parser.log"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "head.onnx"
    irkit.save(Form.read(REFUSED / "development" / "mod-of-indices.irkit").model(), path)
    return path


def test_the_errors_of_the_compiler_in_the_text(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(model), "--dfc-log", str(LOG), "--select", "HAI6"]) == 1
    out = capsys.readouterr().out
    assert "HAI601 dfc-unsupported-operator" in out
    assert "yolo26_parser.log:8" in out
    assert "/model.23/Mod" in out


def test_and_in_json(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["lint", str(model), "--dfc-log", str(LOG), "--select", "HAI6", "--format", "json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    assert {"/model.23/TopK", "/model.23/Mod"} <= {finding["node"] for finding in found}


def test_sarif_points_into_the_log_where_no_node_is_known(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["lint", str(model), "--dfc-log", str(LOG), "--select", "HAI6", "--format", "sarif"])
    assert "yolo26_parser.log" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"", b"\x00\x01\x02binary"])
def test_what_is_no_log_is_a_mistake_of_the_user(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    log = tmp_path / "odd.log"
    if content is not None:
        log.write_bytes(content)
    assert main(["lint", str(model), "--dfc-log", str(log)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, "odd.log" in captured.err) == ("", True)
