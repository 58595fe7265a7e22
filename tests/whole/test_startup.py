"""Starting is light: what only reads flags or names loads neither numpy nor onnx."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.whole.sources import ROOT

HEAVY = ("numpy", "onnx", "google", "onnxruntime", "rich", "networkx")


def heavy_modules_after(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter has imported when `code` is done."""
    script = f"{code}\nimport sys\nsys.stderr.write('\\n@' + ' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    command = [sys.executable, "-X", "utf8", "-c", script]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr.rpartition("@")[2].split()


def run_cli(*arguments: str) -> str:
    return (
        "from irkit.cli import main\n"
        f"try:\n    code = main({list(arguments)!r})\nexcept SystemExit as end:\n    code = end.code\n"
        "assert code in (0, None), code"
    )


def test_import_irkit_is_light() -> None:
    assert heavy_modules_after("import irkit; irkit.__version__; dir(irkit)") == []


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["lint", "--help"], ["optimize", "--help"], ["show", "--help"]]
)
def test_help_is_light(arguments: list[str]) -> None:
    assert heavy_modules_after(run_cli(*arguments)) == []


def test_a_lint_loads_nothing_that_it_does_not_need() -> None:
    """What looks at calibration sets, scripts and logs, runs models or rewrites them stays out of it."""
    model = "examples/01_imu_classifier/models/imu_classifier_folded.onnx"
    code = f"{run_cli('lint', model)}\nimport sys\nprint(sorted(m for m in sys.modules if m.startswith('irkit.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = ast.literal_eval(done.stdout.splitlines()[-1])
    wanted = ("irkit.linter", "irkit.checks.operators", "irkit.formats.text")
    assert set(wanted) <= set(loaded)
    heavy = ("irkit.hailo", "irkit.pipeline", "irkit.proof", "irkit.checks.calibration", "irkit.checks.scripts")
    assert [name for name in loaded if name.startswith(heavy)] == []


def test_the_probe_sees_what_is_loaded() -> None:
    assert heavy_modules_after("import numpy") == ["numpy"]
