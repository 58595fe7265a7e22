"""`--rules`: a user's own facts, from the command line, from the project's settings and from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import irkit
from irkit.cli import main
from irkit.errors import OptionError

MODEL = "graph(%x: float32[1,8,4,4]) -> (%y) { %y = Relu(%x) @relu }"
REFUSED = "[op.Relu]\nstatus = 'unsupported'\nconfidence = 'high'\nevidence = []\n"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    irkit.save(irkit.parse_model(MODEL), path)
    return path


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(REFUSED, encoding="utf-8")
    return path


def lint(*arguments: object) -> int:
    return main(["lint", *map(str, arguments)])


def test_lint_with_own_facts(model: Path, facts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint(model) == 0
    assert lint(model, "--rules", facts) == 1
    assert "with mine.toml" in capsys.readouterr().out
    facts.write_text(REFUSED.replace("unsupported", "supported"), encoding="utf-8")
    assert lint(model, "--rules", facts) == 0
    assert f"--rules {facts}" in capsys.readouterr().out.splitlines()[-1]  # what to type next takes the facts along


def test_optimize_with_own_facts(model: Path, facts: Path, tmp_path: Path) -> None:
    command = ["optimize", str(model), "--no-verify", "-o"]
    assert main([*command, str(tmp_path / "a")]) == 0
    assert main([*command, str(tmp_path / "b"), "--rules", str(facts)]) == 1


def test_facts_named_in_the_settings(model: Path, facts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "irkit.toml").write_text("rules = ['mine.toml']\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert lint(model) == 1
    gentler = tmp_path / "gentler.toml"
    gentler.write_text(REFUSED.replace("unsupported", "supported"), encoding="utf-8")
    assert lint(model, "--rules", gentler) == 0  # a flag has the last word


def test_own_facts_from_python(model: Path, facts: Path) -> None:
    assert irkit.lint(model, rules=[facts]).has_errors
    assert not irkit.lint(model).has_errors
    with pytest.raises(OptionError, match="loaded already"):
        irkit.lint(model, irkit.load_target("hailo8"), rules=[facts])


def test_a_broken_file_is_told_in_a_line(model: Path, facts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts.write_text("[op.Relu]\nstate = 'no'\n", encoding="utf-8")
    assert lint(model, "--rules", facts) == 2
    assert f"{facts}:2: op.Relu.state: unknown key" in capsys.readouterr().err
