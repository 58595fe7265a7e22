"""What every pass must keep, over all passes at once: the invariants, the function, its own results, the interface."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from irkit import Effect, Model, Pass, TensorType, difference, parse_model, print_model, structural_hash, verify
from irkit.library import all_passes
from irkit.testing import different, models, run_pass
from irkit.types import ValueType

PASSES = [cls for cls in all_passes() if cls.source]
EXACT = [cls for cls in PASSES if cls.effect is Effect.EXACT]

SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

each_pass = pytest.mark.parametrize("cls", PASSES, ids=lambda cls: cls.name)
each_exact = pytest.mark.parametrize("cls", EXACT, ids=lambda cls: cls.name)


def copied(model: Model) -> Model:
    return parse_model(print_model(model), model)


def interface(model: Model) -> list[tuple[str, object]]:
    """Names, order and element types of inputs and outputs."""
    return [(value.name, value.dtype) for value in (*model.graph.inputs, *model.graph.outputs)]


def ranks(model: Model) -> list[int | None]:
    types: Sequence[ValueType | None] = [value.type for value in (*model.graph.inputs, *model.graph.outputs)]
    return [len(type.shape) if isinstance(type, TensorType) and type.shape is not None else None for type in types]


@each_pass
@given(model=models())
@SOME
def test_invariants_and_interface_hold(cls: type[Pass], model: Model) -> None:
    before, before_ranks = interface(model), ranks(model)
    run_pass(cls(), model)
    verify(model)
    assert interface(model) == before
    assert ranks(model) == before_ranks
    names = [node.name for node in model.walk()]
    assert len(set(names)) == len(names)
    assert all(names)


@each_exact
@given(model=models())
@SOME
def test_exact_passes_keep_the_numbers(cls: type[Pass], model: Model) -> None:
    pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")
    before = copied(model)
    run_pass(cls(), model)
    assert different(before, model, seeds=(0,), most_error=1e-4) == ""


@each_pass
@given(model=models())
@SOME
def test_twice_is_once(cls: type[Pass], model: Model) -> None:
    run_pass(cls(), model)
    once = copied(model)
    run_pass(cls(), model)
    assert difference(once, model) is None


@each_pass
@given(model=models())
@SOME
def test_unchanged_means_unchanged(cls: type[Pass], model: Model) -> None:
    """A pass makes edits, other than to types inside, exactly where the structural hash changes."""
    before, mark = structural_hash(model), model.journal.position
    run_pass(cls(), model)
    signature = {*model.graph.inputs, *model.graph.outputs}
    edits = [edit.kind for edit in model.journal.since(mark) if edit.kind != "type" or edit.target in signature]
    assert bool(edits) == (structural_hash(model) != before), edits


@each_pass
@given(model=models())
@SOME
def test_undoing_brings_the_model_back(cls: type[Pass], model: Model) -> None:
    before, mark = structural_hash(model, annotations=True), model.journal.position
    run_pass(cls(), model)
    after, end = structural_hash(model, annotations=True), model.journal.position
    model.journal.undo_to(mark)
    verify(model)
    assert structural_hash(model, annotations=True) == before
    model.journal.redo_to(end)
    verify(model)
    assert structural_hash(model, annotations=True) == after


@given(model=models(), order=st.permutations(EXACT))
@settings(max_examples=40, deadline=None)
def test_exact_passes_in_any_order_keep_the_numbers(model: Model, order: list[type[Pass]]) -> None:
    pytest.importorskip("onnxruntime", reason="models are run in ONNX Runtime")
    before = copied(model)
    for cls in order:
        run_pass(cls(), model)
        verify(model)
    assert different(before, model, seeds=(0,), most_error=1e-4) == ""
