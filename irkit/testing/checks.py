"""Checks of passes and models; each raises `AssertionError` with what was expected and what was found."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from irkit.errors import ExecutionError, IrkitError, MissingDependencyError
from irkit.infer import Inference
from irkit.model import Model
from irkit.pass_base import Context, Effect, Pass
from irkit.structure import Statement, difference, equal, statements
from irkit.tensor import Tensor
from irkit.testing.running import SEEDS, ModelLike, PassLike, different, make_model, make_pass, run_pass
from irkit.text import print_model
from irkit.verifier import verify

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

CONSTANT_TOLERANCE = 1e-6
"""What floats of constants may differ by, relative to the largest of the tensor: those a pass computes are rounded."""

_HEADER = {
    "ir_version": "ir_version", "opset": "opset_imports", "metadata": "metadata", "producer": "producer_name",
    "domain": "domain", "model_version": "model_version", "doc": "doc",
}  # fmt: skip
"""What a text may say of the model, and the field it is kept in."""


def check_rewrite(
    item: PassLike,
    before: ModelLike,
    after: ModelLike | None = None,
    *,
    names: bool = False,
    numbers: bool = True,
    tolerance: float | None = None,
    nan: bool = True,
    again: bool = True,
    seeds: Sequence[int] = SEEDS,
    inputs: Iterable[Mapping[str, Array]] | None = None,
    target: str | None = None,
) -> Context:
    """Check that a pass makes `after` of `before`, and that both compute the same.

    Also checked: the graph is valid, the edits can be undone, and the pass finds nothing to do in its own result.

    Args:
        item: the pass: itself, its class, its name with options, the path of its file, or rules.
        before: the model the pass gets; where it is a `Model`, that one is left alone.
        after: what is expected; None checks all but the structure, and that something changed. Header lines that a
            text leaves out, such as `opset`, are as in `before`.
        names: whether names of nodes and inner values must be the expected ones; those of inputs and outputs must.
        numbers: run both models and compare. Of passes that are not exact, element types and shapes alone, unless a
            `tolerance` is given.
        tolerance: what outputs may differ by, relative to their scale; float noise alone where not given.
        nan: also run with a NaN among the inputs.
        again: the pass changes nothing when run a second time.
        seeds: of the random inputs.
        inputs: inputs to run on instead, each a mapping from names to arrays.
        target: the target of the run, such as "hailo8".

    Returns what the pass told: `refusals`, `findings`, `notes`. Raises `AssertionError`; `ModelError` where a model is
    no valid graph.
    """
    __tracebackhide__ = True
    made = make_pass(item)
    model, original = make_model(before), make_model(before)
    verify(model)
    context, mark = _run(made, model, target)
    if after is not None:
        check_same_structure(
            model, _expected(after, original), names=names, what=f"{made} made another graph", told=context
        )
    elif equal(model, original):
        raise AssertionError(f"{made} changed nothing{_told(context)}")
    if numbers:
        _check_numbers(made, original, model, tolerance, seeds, inputs, nan)
    if again:
        _check_again(made, model, target)
    _check_undo(made, model, original, mark)
    return context


def check_unchanged(item: PassLike, before: ModelLike, *, refused: str = "", target: str | None = None) -> Context:
    """Check that a pass leaves a model as it is and, where `refused` is given, that a rule said so, in these words.

    Returns what the pass told. Raises `AssertionError`.
    """
    __tracebackhide__ = True
    made = make_pass(item)
    model, original = make_model(before), make_model(before)
    context, _ = _run(made, model, target)
    check_same_structure(model, original, names=True, what=f"{made} changed the graph")
    if refused and not any(refused in reason for reasons in context.refusals.values() for reason in reasons):
        raise AssertionError(f"{made} changed nothing, but did not say {refused!r}{_told(context)}")
    return context


def check_same_structure(
    found: ModelLike,
    expected: ModelLike,
    *,
    names: bool = False,
    what: str = "the models differ",
    told: Context | None = None,
) -> None:
    """Check that two models are the same graph, with constants that are equal but for rounding.

    `names` says whether names of nodes and inner values count; those of inputs and outputs do. Raises
    `AssertionError` with the difference of their texts.
    """
    __tracebackhide__ = True
    models = [model if isinstance(model, Model) else make_model(model) for model in (expected, found)]
    olds, news = ([*statements(model, names=names)] for model in models)
    old, new = ([line for one in part for line in one.text.rstrip().splitlines()] for part in (olds, news))
    if old != new:
        lines = difflib.unified_diff(old, new, "expected", "found", lineterm="")
        raise AssertionError("\n".join([f"{what} than expected:" if told else f"{what}:", *lines]) + _told(told))
    for one, other in zip(olds, news, strict=True):
        _check_constants(one, other, what)


def check_same_function(
    before: ModelLike,
    after: ModelLike,
    *,
    tolerance: float | None = None,
    nan: bool = True,
    seeds: Sequence[int] = SEEDS,
    inputs: Iterable[Mapping[str, Array]] | None = None,
) -> None:
    """Check that two models compute the same, but for float noise or a `tolerance` relative to an output's scale.

    They are run on random inputs of these seeds, on one ten times wider, and on one with a NaN. Raises
    `AssertionError` that names the output, the difference and the inputs.
    """
    __tracebackhide__ = True
    models = [make_model(model) for model in (before, after)]
    found = _different(models[0], models[1], tolerance, seeds, inputs, nan)
    if found:
        raise AssertionError(f"the models compute different things: {found}")


def _run(item: Pass, model: Model, target: str | None) -> tuple[Context, int]:
    """Run the pass. Returns what it told, and the mark of the journal before it."""
    __tracebackhide__ = True
    Inference.of(model).update()
    mark = model.journal.position
    context = run_pass(item, model, target)
    try:
        verify(model)
    except IrkitError as error:
        raise AssertionError(f"{item} left a graph that is not valid: {error}") from error
    return context, mark


def _expected(after: ModelLike, before: Model) -> Model:
    """The expected model; what its text does not say of the model is as in the one before."""
    expected = make_model(after)
    if isinstance(after, str):
        for word, name in _HEADER.items():
            if not re.search(rf"^\s*{word}\b", after, re.MULTILINE):
                expected.set_field(name, getattr(before, name))
    for name in ("ir_version", "producer_version"):
        if not isinstance(after, str):
            expected.set_field(name, getattr(before, name))
    expected.graph.name = before.graph.name
    Inference.of(expected).update()
    return expected


def _check_constants(old: Statement, new: Statement, what: str) -> None:
    __tracebackhide__ = True
    for expected, found in zip(old.constants, new.constants, strict=True):
        problem = _constant_difference(expected, found)
        if problem:
            raise AssertionError(f"{what}: {problem} in\n  {new.text.strip()}")


def _constant_difference(expected: Tensor, found: Tensor) -> str:
    import numpy as np

    if expected == found:
        return ""
    old, new = expected.numpy(), found.numpy()
    if (expected.dtype, expected.shape) != (found.dtype, found.shape):
        return f"expected a constant {expected}, found {found}"
    if old.dtype.kind == "f":
        finite = np.isfinite(old)
        scale = float(np.abs(old[finite]).max(initial=0))
        eps = max(CONSTANT_TOLERANCE, 2 * float(np.finfo(old.dtype).eps))
        if np.allclose(old, new, rtol=eps, atol=eps * scale, equal_nan=True):
            return ""
    where = tuple(int(axis[0]) for axis in np.nonzero(~((old == new) | ((old != old) & (new != new)))))
    return f"expected a constant with {old[where]} at {list(where)}, found {new[where]}"


def _check_numbers(
    item: Pass,
    before: Model,
    after: Model,
    tolerance: float | None,
    seeds: Sequence[int],
    inputs: Iterable[Mapping[str, Array]] | None,
    nan: bool,
) -> None:
    __tracebackhide__ = True
    judged = item.effect is Effect.EXACT or tolerance is not None
    found = _different(before, after, tolerance, seeds, inputs, nan and judged, judged)
    if found:
        hint = "" if judged else "; a pass may change numbers, but not shapes and element types"
        raise AssertionError(f"{item} changed what the model computes: {found}{hint}\n{_shown(after)}")


def _different(
    before: Model,
    after: Model,
    tolerance: float | None,
    seeds: Sequence[int],
    inputs: Iterable[Mapping[str, Array]] | None,
    nan: bool,
    numbers: bool = True,
) -> str:
    """What differs. Raises `AssertionError` where one of the models cannot be run."""
    __tracebackhide__ = True
    try:
        return different(before, after, seeds, tolerance, inputs=inputs, nan=nan, numbers=numbers)
    except MissingDependencyError:
        raise
    except ExecutionError as error:
        advice = "numbers=False compares the structure alone"
        raise AssertionError(f"the models cannot be run: {error}; {advice}\n{_shown(after)}") from error


def _check_again(item: Pass, model: Model, target: str | None) -> None:
    __tracebackhide__ = True
    mark = model.journal.position
    once = make_model(model)
    run_pass(item, model, target)
    found = difference(once, model)
    model.journal.undo_to(mark)
    if found:
        raise AssertionError(f"{item} finds something to do in its own result (again=False allows that): {found}")


def _check_undo(item: Pass, model: Model, original: Model, mark: int) -> None:
    __tracebackhide__ = True
    model.journal.undo_to(mark)
    found = difference(original, model)
    if found:
        raise AssertionError(f"{item} edits around the journal, so that its edits cannot be undone: {found}")


def _told(context: Context | None) -> str:
    """What rules said of places they left alone."""
    if context is None:
        return ""
    lines = [f"\n  {root}: {reason}" for root, reasons in context.refusals.items() for reason in reasons]
    lines += [f"\n  {finding.node}: {finding.message}" for finding in context.findings]
    return f"\nthe pass said:{''.join(lines)}" if lines else ""


def _shown(model: Model) -> str:
    return f"the model is then:\n{print_model(model, weights='elide')}"
