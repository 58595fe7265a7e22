"""The proof proves: wrong rewrites planted in real models are caught wherever they change a value.

Each fault (a channel scaled by 0.9, two swapped, a wrong epsilon, a wrong axis) is planted at nodes all over a model,
in place and in a copy with new names. Whether it changes anything is found out apart from the proof: by running both
models and looking at every value.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

import irkit
from irkit import Context, Model, Node
from irkit.executor import open_session
from irkit.pipeline import run_pipeline
from irkit.proof import ProofVerdict, at_mark, prove
from tests import corpus
from tests.numeric.planting import FAULTS, Spoil, can_be_spoilt, copy_of, interior

pytestmark = pytest.mark.corpus
pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")

VISIBLE = {"float16": 5e-2}
"""A fault counts where it changes a value by more than this share (1e-3 unless said) of the scale of a channel."""

PLACES = 2
"""Nodes of a model that each fault is planted at."""


def quick(entry: dict[str, Any]) -> bool:
    return bool(entry["runs_in_ort"]) and entry["ort_load_and_run_seconds"] < 0.06


def places(model: Model, fault: str) -> list[Node]:
    """Nodes the fault can be planted at, spread over the model."""
    found = [node for node in model.graph if can_be_spoilt(node, FAULTS[fault])]
    step = max(1, len(found) // PLACES)
    return found[step // 2 :: step][:PLACES]


def prepared(entry: dict[str, Any]) -> Model:
    model = irkit.load(corpus.path_of(entry))
    shapes = irkit.get_pass("static-shapes", shapes=corpus.shapes_of(entry))
    run_pipeline(model, [irkit.get_pass("name-nodes"), shapes, irkit.get_pass("fold-constants")], verify="none")
    model.journal.clear()
    return model


def values(model: Model, mark: int, names: list[str], feeds: dict[str, Any]) -> dict[str, Any]:
    with at_mark(model.journal, mark):
        return open_session(model, [name for name in names if name in model.graph.values]).run(feeds)


def is_visible(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether a channel differs by more than its share."""
    if before.dtype.kind != "f" or before.shape != after.shape:
        return not np.array_equal(before, after)
    if not np.array_equal(np.isfinite(before), np.isfinite(after)):
        return True
    b, a = (np.where(np.isfinite(array), array, 0).astype(np.float64) for array in (before, after))
    if b.ndim > 1:
        b, a = (np.moveaxis(array, 1, 0).reshape(array.shape[1], -1) for array in (b, a))
    scale = np.maximum(np.abs(b).max(-1), 1e-2 * np.abs(b).max(initial=0))
    return bool((np.abs(a - b).max(-1) > VISIBLE.get(before.dtype.name, 1e-3) * scale).any())


@cache
def planted(name: str) -> tuple[tuple[str, bool, bool], ...]:
    """(what was planted, whether it is visible, whether the proof caught it)."""
    entry = next(entry for entry in corpus.entries() if entry["name"] == name)
    return tuple(_planted(entry))


def _planted(entry: dict[str, Any]) -> Iterator[tuple[str, bool, bool]]:
    model = prepared(entry)
    names = [value.name for value in interior(model) if value.dtype is not None]
    mark = model.journal.position
    feeds = corpus.tools().make_inputs(entry)
    before = values(model, mark, names, feeds)
    for fault in FAULTS:
        for node in places(model, fault):
            for renamed in (False, True):
                place = f"{fault} at {node.name}{', renamed' if renamed else ''}"
                FAULTS[fault](copy_of(node) if renamed else node)
                end = model.journal.position
                caught = prove(model, mark, end).verdict is ProofVerdict.FAILED
                after = values(model, end, names, feeds)
                yield place, any(is_visible(before[name], after[name]) for name in before if name in after), caught
                model.journal.undo_to(mark)


@corpus.each(quick)
def test_every_visible_fault_is_caught(entry: dict[str, Any]) -> None:
    found = planted(entry["name"])
    missed = [place for place, visible, caught in found if visible and not caught]
    assert missed == []


def test_faults_are_planted_and_seen() -> None:
    """The test above would pass if it planted nothing."""
    if not corpus.entries():
        pytest.skip("no corpus of real models")
    found = [*planted("resnet18_w20__ts13-bn"), *planted("deit_tiny_patch16_224__dyn18-bn")]
    visible = [place for place, is_seen, _ in found if is_seen]
    assert len(visible) >= 16
    assert {place.partition(" ")[0] for place in visible} == set(FAULTS)
    assert all(caught for _, is_seen, caught in found if is_seen)


@corpus.each(lambda entry: entry["name"] in ("imu__dyn18-bn", "conv_ae__ts13-bn", "gru2__ts13", "bert_tiny__ts13"))
def test_the_culprit_alone_is_taken_back(entry: dict[str, Any]) -> None:
    model = prepared(entry)
    node = places(model, "scaled")[0]
    others = sum(one.op == node.op for one in model.graph) - 1
    result = run_pipeline(model, [Spoil(wrong=node.name, also=node.op)], Context())
    assert [taken.root for taken in result.taken_back] == [node.name]
    assert result.passes[0].rewrites == {"copy": others} if others else not result.passes[0].changed
    assert [proof.verdict for proof in result.proofs] == [ProofVerdict.PROVEN] * bool(others)
