"""What became of a copy is brought over whole: the model then is what the copy is, and was before when undone."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from hypothesis import HealthCheck, given, settings, strategies as st

import irkit
from irkit.merging import merge
from irkit.testing import models

CHANGES = ["fold-constants", "remove-identity", "merge-duplicates", "gelu-to-relu", "fold-batchnorm", "remove-dead"]

SOME = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def always(_: Any) -> Any:
    return nullcontext(True)


def nodes_of(model: irkit.Model) -> list[str]:
    """The nodes, whatever their order, with what they read and hold."""
    return sorted(irkit.print_model(model, types=False, origins=False, weights="all").splitlines())


def copied(model: irkit.Model) -> irkit.Model:
    return irkit.from_proto(irkit.to_proto(model))


@given(model=models(), changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3))
@SOME
def test_the_model_becomes_what_its_copy_became(model: irkit.Model, changes: list[str]) -> None:
    irkit.Inference.of(model).update()
    before, after = copied(model), copied(model)
    irkit.run_passes(after, changes, verify="none")
    original, mark = nodes_of(model), model.journal.position
    merge(model, before, after, always)
    irkit.verify(model)
    assert nodes_of(model) == nodes_of(after)
    model.journal.undo_to(mark)
    assert nodes_of(model) == original


@given(
    model=models(min_steps=4), changes=st.lists(st.sampled_from(CHANGES), min_size=1, max_size=3), seed=st.integers()
)
@SOME
def test_any_choice_of_regions_is_a_graph(model: irkit.Model, changes: list[str], seed: int) -> None:
    irkit.Inference.of(model).update()
    before, after = copied(model), copied(model)
    irkit.run_passes(after, changes, verify="none")
    choice = iter(bin(abs(seed))[2:] * 50)
    mark, original = model.journal.position, nodes_of(model)
    merge(model, before, after, lambda region: nullcontext(next(choice, "1") == "1"))
    irkit.verify(model)
    names = [value.name for value in (*model.graph.inputs, *model.graph.outputs)]
    assert names == [value.name for value in (*before.graph.inputs, *before.graph.outputs)]
    model.journal.undo_to(mark)
    assert nodes_of(model) == original
