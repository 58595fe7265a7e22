"""The shared corpus of real models, as tests use it: entries of its manifest, inputs, and runs in ONNX Runtime.

The corpus is no part of the repository; without it the tests that use it are skipped.
"""

from __future__ import annotations

import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import CORPUS_VARIABLE, find_corpus


@lru_cache(maxsize=1)
def entries() -> list[dict[str, Any]]:
    """The manifest's models; none where there is no corpus."""
    folder = find_corpus()
    if folder is None:
        return []
    models: list[dict[str, Any]] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["models"]
    return models


def path_of(entry: dict[str, Any]) -> Path:
    folder = find_corpus()
    assert folder is not None
    return folder / str(entry["file"])


def each(select: Any = lambda _entry: True) -> pytest.MarkDecorator:
    """Parametrize a test by `entry`, over the models that are selected."""
    found = [pytest.param(entry, id=entry["name"]) for entry in entries() if select(entry)]
    skip = pytest.mark.skip(reason=f"no corpus of real models: set {CORPUS_VARIABLE}, or put it at ../shared/corpus")
    return pytest.mark.parametrize("entry", found or [pytest.param(None, id="none", marks=skip)])


@lru_cache(maxsize=1)
def tools() -> Any:
    """The corpus's own module for inputs and runs."""
    folder = find_corpus()
    assert folder is not None
    spec = importlib.util.spec_from_file_location("corpus_io", folder / "corpus_io.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shapes_of(entry: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes the manifest runs the model at."""
    return {item["name"]: tuple(item["run_shape"]) for item in entry["inputs"]}


def outputs_of(entry: dict[str, Any], path: Path | None = None) -> dict[str, Any]:
    """What ONNX Runtime gives for the model, or for another file, on the manifest's inputs."""
    found: dict[str, Any] = tools().run_ort(str(path or path_of(entry)), tools().make_inputs(entry))
    return found


def tolerance_of(entry: dict[str, Any]) -> float:
    """Allowed difference relative to the magnitude of an output."""
    return max(1e-4, 10 * float(entry["ort_opt_rel_diff"] or 0))


def assert_same_outputs(expected: dict[str, Any], found: dict[str, Any], tolerance: float) -> None:
    """Same names in the same order, types, shapes and numbers."""
    assert list(found) == list(expected)
    for name, before in expected.items():
        after = found[name]
        assert (after.shape, after.dtype) == (before.shape, before.dtype), name
        if before.dtype.kind != "f":
            assert np.array_equal(before, after), name
            continue
        finite = np.isfinite(before)
        assert np.array_equal(finite, np.isfinite(after)), name
        assert np.array_equal(before[~finite], after[~finite], equal_nan=True), name
        scale = np.abs(before[finite]).max(initial=0)
        error = np.abs(before[finite].astype(np.float64) - after[finite]).max(initial=0)
        assert error <= tolerance * scale, f"{name}: off by {error / max(scale, 1e-30):.1e} of its magnitude"
