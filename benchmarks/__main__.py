"""Measure irkit against its peers: `python -m benchmarks` (or `make bench`).

Each measurement is a process of its own, so that memory is that of one tool alone; peers that are not installed are
left out. Numbers of different machines cannot be compared, ratios roughly can.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import models

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """What is measured: a task over a model, done by tools; the first is irkit.

    Attributes: `unit`, "s", "ms" or "MB" (peak memory, the interpreter's own included); `goal` what irkit promises.
    """

    title: str
    task: str
    model: str
    tools: tuple[str, ...]
    unit: str = "s"
    goal: str = ""
    large: bool = False


MODELS: dict[str, Callable[[Path], None]] = {
    "40,000 nodes": models.wide_and_long,
    "1,000 Conv+BN+Relu": models.conv_bn_relu,
    "500 MB": lambda path: models.heavy(path, 500),
    "2.3 GB with BN": lambda path: models.heavy(path, 2300, layers=20, bn=True),
}

OPTIMIZERS = ("irkit", "onnxruntime", "onnxscript", "onnxslim")

ROWS = (
    Row("load and save", "roundtrip", "40,000 nodes", ("irkit", "onnx", "onnx_ir"), goal="4 x as fast as onnx_ir"),
    Row("load, edit, save", "edit", "40,000 nodes", ("irkit", "onnx_ir"), goal="4 x as fast as onnx_ir"),
    Row("match 200 rules", "match", "40,000 nodes", ("irkit", "onnxscript"), goal="under 10 s"),
    Row("load", "load", "500 MB", ("irkit", "onnx", "onnx_ir"), "ms", "under 20 ms"),
    Row("load and save", "roundtrip", "500 MB", ("irkit", "onnx", "onnx_ir")),
    Row("load and save", "roundtrip", "500 MB", ("irkit", "onnx", "onnx_ir"), "MB", "under 120 MB"),
    Row("optimize", "optimize", "1,000 Conv+BN+Relu", OPTIMIZERS, goal="under 1.5 s where ONNX Runtime takes 0.9 s"),
    Row("optimize", "optimize", "40,000 nodes", OPTIMIZERS, goal="under 20 s"),
    Row("fold batch norms", "fold", "2.3 GB with BN", ("irkit",), large=True),
    Row("fold batch norms", "fold", "2.3 GB with BN", ("irkit",), "heap MB", "adds under 300 MB", large=True),
)


def measure(row: Row, tool: str, path: Path, timeout: float) -> dict[str, float] | str:
    """Seconds and megabytes of one task with one tool; a word where there is no number."""
    command = [sys.executable, "-m", "benchmarks.tasks", row.task, tool, str(path)]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return f"> {timeout:.0f} s"
    if done.returncode == 3:
        return "not installed"
    if done.returncode:
        sys.stderr.write(done.stderr)
        return "failed"
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def value_of(result: dict[str, float] | str, unit: str) -> float | None:
    if isinstance(result, str):
        return None
    if unit in ("s", "ms"):
        return result["seconds"] * (1000 if unit == "ms" else 1)
    return result["peak_mb" if unit == "MB" else "heap_mb"]


def show(value: float | None, result: dict[str, float] | str, unit: str, base: float | None) -> str:
    if value is None:
        return str(result)
    text = f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
    return text if base is None else f"{text} ({value / base:.1f} x)"


def run(rows: list[Row], folder: Path, timeout: float) -> list[dict[str, Any]]:
    """Measure and print row by row."""
    cache: dict[tuple[str, str, str], dict[str, float] | str] = {}
    out = []
    for row in rows:
        path = folder / f"{row.model.replace(' ', '_').replace(',', '')}.onnx"
        if not path.exists():
            MODELS[row.model](path)
        base: float | None = None
        cells = []
        for tool in row.tools:
            key = (row.task, row.model, tool)
            if key not in cache:
                cache[key] = measure(row, tool, path, timeout)
            value = value_of(cache[key], row.unit)
            cells.append(f"{tool} {show(value, cache[key], row.unit, base)}")
            base = base or value
            out.append({"row": row.title, "model": row.model, "unit": row.unit, "tool": tool, "value": value})
        print(f"{row.title}, {row.model}: {', '.join(cells)}" + (f"   [{row.goal}]" if row.goal else ""), flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose title, task or model contains this text")
    parser.add_argument("--large", action="store_true", help="the model of 2.3 GB too (needs 7 GB of disk)")
    parser.add_argument("--timeout", type=float, default=120, help="seconds a tool may take for one row")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--folder", type=Path, help="keep the models here, to measure again")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.only in f"{row.title} {row.task} {row.model}"]
    rows = [row for row in rows if options.large or not row.large]
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        numbers = run(rows, folder, options.timeout)
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
