"""Real models: loading and saving changes neither bytes nor results."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import irkit
from tests.conftest import find_corpus

FOLDER = find_corpus()
ENTRIES: list[dict[str, Any]] = json.loads((FOLDER / "manifest.json").read_text())["models"] if FOLDER else []

pytestmark = pytest.mark.corpus


@pytest.fixture(scope="module")
def corpus_io(corpus: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("corpus_io", corpus / "corpus_io.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_load_and_save_keep_bytes_or_results(entry: dict[str, Any], corpus: Path, tmp_path: Path, request: Any) -> None:
    path, out = corpus / entry["file"], tmp_path / "out.onnx"
    with irkit.load(path) as model:
        irkit.save(model, out)
    if out.read_bytes() == path.read_bytes():
        return  # the same file gives the same results
    assert any(path.parent.glob(f"{path.name}*.data")), "only a model with external data may come out otherwise"
    assert_same_results(entry, path, out, request.getfixturevalue("corpus_io"))


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e["runs_in_ort"]], ids=lambda entry: entry["name"])
def test_a_model_that_was_taken_apart_gives_the_same_results(
    entry: dict[str, Any], corpus: Path, tmp_path: Path, corpus_io: ModuleType
) -> None:
    """All that is kept encoded is decoded and encoded anew: attributes, types, rare fields, small tensors."""
    path, out = corpus / entry["file"], tmp_path / "out.onnx"
    with irkit.load(path) as model:
        for node in model.walk():
            for name, attr in node.attrs.items():
                if not attr.graphs:
                    node.set_attr(name, None)
                    node.set_attr(name, irkit.Attr(name, attr.value, attr.kind, ref=attr.ref))
            node.extra = irkit.NodeExtra(node.extra.doc, node.extra.metadata, node.extra.overload, node.extra.unknown)
        for value in model.values():
            value.info = None
            if isinstance(value.constant, irkit.Tensor) and value.is_initializer:
                value.set_initializer(irkit.Tensor.of(value.constant.numpy().copy(), value.constant.dtype))
        irkit.verify(model)
        irkit.save(model, out, external_data=True)
    assert_same_results(entry, path, out, corpus_io)


def assert_same_results(entry: dict[str, Any], path: Path, out: Path, corpus_io: ModuleType) -> None:
    pytest.importorskip("onnxruntime")
    feeds = corpus_io.make_inputs(entry)
    before = corpus_io.run_ort(str(path), feeds)
    after = corpus_io.run_ort(str(out), feeds)
    assert list(before) == list(after)
    for name, expected in before.items():
        assert_identical(name, expected, after[name])


def assert_identical(name: str, expected: Any, found: Any) -> None:
    """Bit for bit, in sequences and maps too."""
    if isinstance(expected, (list, dict)):
        assert str(expected) == str(found), name
        return
    left, right = np.asarray(expected), np.asarray(found)
    assert (left.dtype, left.shape) == (right.dtype, right.shape), name
    assert left.tobytes() == right.tobytes(), name
