"""`irkit new-pass`: what it writes works at once, and nothing is written over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import irkit
from irkit.cli import main
from tests.whole.sources import ROOT

MODEL = "graph(%x: float32[1,8]) -> (%y) { %a = Neg(%x) @neg  %y = Abs(%a) @abs }"


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", *arguments]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("flags", [[], ["--imperative"]], ids=["declarative", "imperative"])
def test_the_skeleton_runs_and_its_test_passes(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my passes"
    assert main(["new-pass", "my-first-pass", "-o", str(folder), *flags]) == 0
    printed = capsys.readouterr().out
    assert f"written: {folder / 'my_first_pass.py'}" in printed
    assert f"next: python -m pytest '{folder / 'test_my_first_pass.py'}'" in printed
    assert sorted(path.name for path in folder.iterdir()) == ["my_first_pass.py", "test_my_first_pass.py"]

    tested = python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder))
    assert "3 passed" in tested.stdout, tested.stdout + tested.stderr

    irkit.save(irkit.parse_model(MODEL), tmp_path / "m.onnx")
    arguments = ["optimize", str(tmp_path / "m.onnx"), "--passes", str(folder), "-o", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "my-first-pass" in capsys.readouterr().out
    with irkit.load(tmp_path / "out" / "model.onnx") as found:
        assert [node.op for node in found.graph] == ["Abs"]
    assert main(["passes", "my-first-pass", "--passes", str(folder)]) == 0
    told = capsys.readouterr()
    assert "most_rank: int = 8" in told.out
    assert f"next: irkit optimize MODEL --passes '{folder}' --only my-first-pass" in told.err


def test_the_test_of_a_skeleton_fails_where_the_pass_is_wrong(tmp_path: Path) -> None:
    assert main(["new-pass", "mine", "-o", str(tmp_path)]) == 0
    file = tmp_path / "mine.py"
    file.write_text(file.read_text(encoding="utf-8").replace("return op.Abs(x)", "return op.Relu(x)"), encoding="utf-8")
    tested = python(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "mine made another graph than expected" in tested.stdout
    assert "1 failed, 2 passed" in tested.stdout


@pytest.mark.parametrize("taken", ["mine.py", "test_mine.py"])
def test_nothing_is_written_over(taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / taken).write_text("precious", encoding="utf-8")
    assert main(["new-pass", "mine", "-o", str(tmp_path)]) == 2
    assert f"{taken} is there already, and is not written over" in capsys.readouterr().err
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [(taken, "precious")]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MyPass", "kebab-case"),
        ("my_pass", "kebab-case"),
        ("../evil", "kebab-case"),
        ("", "kebab-case"),
        ("-o", "kebab-case"),
        ("class", "is a word of Python"),
        ("json", "would hide the module"),
        ("numpy", "would hide the module"),
        ("test-me", "taken for a test"),
        ("fold-batchnorm", "there is a pass `fold-batchnorm` already, in "),
    ],
)
def test_a_name_that_cannot_be_is_told(
    name: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new-pass", "-o", str(tmp_path / "new"), "--", name]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_a_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["new-pass", "mine", "-o", str(tmp_path / "file")]) == 2
    assert "cannot write" in capsys.readouterr().err
