"""An installed package of passes: pip installs it, and irkit knows its passes by name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import irkit
from tests.whole.sources import ROOT, tracked_files

MODEL = """graph(%x: float32[1,3,8,8]) -> (%y) {
  %zero: float32[] = 0.0
  %six: float32[] = 6.0
  %seven: float32[] = 7.0
  %a = Clip(%x, %zero, %six) @relu6
  %y = Clip(%a, %zero, %seven) @relu7
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip has installed the plug-in of tests/plugin_package into, without any network."""
    pytest.importorskip("hatchling", reason="hatchling builds the package: pip install -e '.[test]'")
    tree, installed = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for path in tracked_files():
        if path.parts[:2] == ("tests", "plugin_package"):
            target = tree / path.relative_to("tests/plugin_package")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target)
    flags = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *flags, "--target", str(installed), str(tree)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return installed


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "irkit", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True, text=True)


def test_its_passes_are_listed_and_described(site: Path, tmp_path: Path) -> None:
    listed = run(site, tmp_path, "passes").stdout
    assert "relu6-to-relu" in listed
    assert "Write a doc string at every node" in listed
    page = run(site, tmp_path, "passes", "relu6-to-relu").stdout
    assert "limit: float = 6.0" in page
    assert f"in {site / 'irkit_demo_passes' / 'activations.py'}" in page


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--only", "relu6-to-relu,doc-nodes"], ["Relu", "Clip"]),
        (["--only", "relu6-to-relu{limit=7}"], ["Clip", "Relu"]),
        (["--passes", "relu6-to-relu"], ["Relu", "Clip"]),
        (["--passes", "relu6-to-relu", "--pass", "relu6-to-relu{limit=7}"], ["Clip", "Relu"]),
    ],
)
def test_its_passes_run_by_name(site: Path, tmp_path: Path, flags: list[str], expected: list[str]) -> None:
    irkit.save(irkit.parse_model(MODEL), tmp_path / "m.onnx")
    accepted = ["--accept-drift", "relu6-to-relu", "-o", "out"]
    done = run(site, tmp_path, "optimize", "m.onnx", *flags, *accepted)
    assert done.returncode == 0, done.stdout + done.stderr
    with irkit.load(tmp_path / "out" / "model.onnx") as found:
        assert [node.op for node in found.graph] == expected
        if "doc-nodes" in flags[1]:
            assert {node.extra.doc for node in found.graph} == {"seen by the plug-in"}


def test_a_plug_in_that_is_not_there_is_told(tmp_path: Path) -> None:
    irkit.save(irkit.parse_model(MODEL), tmp_path / "m.onnx")
    done = run(tmp_path, tmp_path, "optimize", "m.onnx", "--passes", "relu6-to-relu")
    assert done.returncode == 2
    assert "no such file or folder of passes, and no plug-in has a pass of that name" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_pass_of_ones_own_with_its_name_names_both_places(site: Path, tmp_path: Path) -> None:
    source = (site / "irkit_demo_passes" / "activations.py").read_text(encoding="utf-8")
    mine = source.replace("from ._limits import SIX", "SIX = 6.0")
    (tmp_path / "mine.py").write_text(mine, encoding="utf-8")
    done = run(site, tmp_path, "passes", "--passes", "mine.py")
    assert done.returncode == 2
    assert str(site / "irkit_demo_passes" / "activations.py") in done.stderr
    assert str(tmp_path / "mine.py") in done.stderr
