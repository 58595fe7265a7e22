"""The wheel holds what the repository holds, and runs where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.whole.sources import ROOT, tracked_files

BUNDLED = ("passes", "rules")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a clean copy of what git tracks."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install -e '.[test]'")
    tree = tmp_path_factory.mktemp("export")
    for path in tracked_files():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, tree / path)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "out"]
    done = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (tree / "out").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of a new environment with nothing but the wheel; its dependencies come from this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = scripts_of(folder) / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    where = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(where, check=True, capture_output=True, text=True, env=clean_environment()).stdout.strip()
    # A plain line of a .pth file: the packages there are found, but their own .pth files (editable installs) are not.
    (Path(packages) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return scripts_of(folder)


def scripts_of(environment: Path) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin")


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, env=clean_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_bundles_the_passes_and_rules_of_the_repository(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    bundled = {name.removeprefix("irkit/_bundled/") for name in names if name.startswith("irkit/_bundled/")}
    expected = {path.as_posix() for path in tracked_files() if path.parts[0] in BUNDLED}
    assert bundled == expected
    assert {path.split("/")[0] for path in bundled} == set(BUNDLED)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.startswith("irkit/_bundled/")}
    package = {path.as_posix() for path in tracked_files() if path.parts[0] == "irkit"}
    assert "irkit/py.typed" in package
    assert {name for name in names if ".dist-info/" not in name} == package
    assert any(name.endswith("/LICENSE") for name in names)


def test_bundled_files_are_the_same_bytes(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    for path in tracked_files():
        if path.parts[0] in BUNDLED:
            assert archive.read(f"irkit/_bundled/{path.as_posix()}") == (ROOT / path).read_bytes()


def test_the_installed_command_finds_its_passes(installed: Path, tmp_path: Path) -> None:
    listed = run([str(installed / "irkit"), "passes"], tmp_path)
    files = [path for path in tracked_files() if path.parts[0] == "passes" and not path.name.startswith("_")]
    names = [path.stem.replace("_", "-") for path in files if path.suffix == ".py"]
    assert names
    assert [name for name in names if name not in listed] == []


def test_the_installed_command_optimizes_a_model(installed: Path, tmp_path: Path) -> None:
    model = ROOT / "examples" / "01_imu_classifier" / "models" / "imu_classifier_bn.onnx"
    run([str(installed / "irkit"), "optimize", str(model), "-o", "out"], tmp_path)
    assert (tmp_path / "out" / "model.onnx").is_file()


def test_the_installed_package_is_the_one_that_is_imported(installed: Path, tmp_path: Path) -> None:
    script = "import irkit; print(irkit.__file__); print(irkit.__version__)"
    file, version = run([str(installed / "python"), "-c", script], tmp_path).split()
    assert Path(file).is_relative_to(installed.parent)
    assert list(installed.parent.rglob(f"irkit_compiler-{version}.dist-info"))
