"""How far a pass that is not exact moves what a model computes, and whether that is within the budget."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from irkit.errors import ExecutionError, MissingDependencyError
from irkit.executor import Session, open_session
from irkit.inputs import draw
from irkit.model import Model
from irkit.proof import at_mark, fitting_inputs

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

TOP1_BUDGET = 0.99
COSINE_BUDGET = 0.999
"""The least agreement that is let pass, of labels and of directions."""

INPUTS = 100
SECONDS = 20.0
"""A measurement takes this many inputs, or as many as fit in the time, but at least `FEWEST`."""
FEWEST = 4


@dataclass(frozen=True)
class OutputDrift:
    """How far one output moved.

    Attributes:
        name: the output.
        cosine: of all its numbers before and after, over all inputs together; 1 is no drift.
        error: largest difference over the largest magnitude before.
        top1: share of inputs whose largest class stayed; None where the output is no row of classes.
    """

    name: str
    cosine: float
    error: float
    top1: float | None = None

    @property
    def is_within_budget(self) -> bool:
        """Whether the numbers themselves are within the budget."""
        return self.cosine >= COSINE_BUDGET and (self.top1 is None or self.top1 >= TOP1_BUDGET)


@dataclass(frozen=True)
class Drift:
    """What a pass that is not exact did to the outputs.

    Attributes:
        pass_name, effect: the pass.
        outputs: the drift of each float output.
        inputs: how many sets of inputs it was measured on. is_random: whether they were drawn, not a user's data.
        reason: why it could not be measured, else "".
        accepted: whether the user accepts it.
        seconds: how long measuring took.
    """

    pass_name: str
    effect: str
    outputs: tuple[OutputDrift, ...] = ()
    inputs: int = 0
    is_random: bool = True
    reason: str = ""
    accepted: bool = False
    seconds: float = 0.0

    @property
    def is_within_budget(self) -> bool:
        """Measured, on real data, and small. Random inputs say nothing about the user's accuracy."""
        return not self.reason and not self.is_random and all(output.is_within_budget for output in self.outputs)

    @property
    def state(self) -> str:
        """`none`, `accepted` or `unaccepted`, as the manifest has it."""
        return "none" if self.is_within_budget else "accepted" if self.accepted else "unaccepted"

    @property
    def worst(self) -> OutputDrift | None:
        """The output that moved most."""
        return min(self.outputs, key=lambda output: output.cosine, default=None)


def measure(model: Model, start: int, end: int, pass_name: str, effect: str, *, accepted: bool = False) -> Drift:
    """Measure what the edits between two marks of the journal did to the outputs, on random inputs."""
    began = time.perf_counter()
    try:
        with at_mark(model.journal, end):
            after = open_session(model)
        with at_mark(model.journal, start):
            before = open_session(model)
        specs, _ = fitting_inputs(model, start, end, before)
        pairs = _run_both(before, after, [lambda seed=seed: draw(specs, seed) for seed in range(INPUTS)])
    except (ExecutionError, MissingDependencyError) as error:
        return Drift(pass_name, effect, reason=str(error), accepted=accepted)
    names = [name for name, value in pairs[0][0].items() if getattr(value, "dtype", None) is not None]
    outputs = [_drift_of(name, [(a[name], b[name]) for a, b in pairs]) for name in names]
    seconds = time.perf_counter() - began
    kept = tuple(output for output in outputs if output is not None)
    return Drift(pass_name, effect, kept, len(pairs), accepted=accepted, seconds=seconds)


def _run_both(before: Session, after: Session, feeds: Sequence[Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    pairs = []
    deadline = time.perf_counter() + SECONDS
    for make in feeds:
        feed: Mapping[str, Array] = make()
        pairs.append((before.run(feed), after.run(feed)))
        if len(pairs) >= FEWEST and time.perf_counter() > deadline:
            break
    return pairs


def _drift_of(name: str, pairs: Sequence[tuple[Array, Array]]) -> OutputDrift | None:
    """Drift of one output; None where it holds no floats."""
    import numpy as np

    if pairs[0][0].dtype.kind != "f":
        return None
    before = np.stack([pair[0] for pair in pairs]).astype(np.float64)
    after = np.stack([pair[1] for pair in pairs]).astype(np.float64)
    scale = float(np.abs(before).max(initial=0))
    error = float(np.abs(after - before).max(initial=0)) / scale if scale else float(np.any(after))
    norm = float(np.linalg.norm(before) * np.linalg.norm(after))
    cosine = float((before * after).sum()) / norm if norm else float(not np.any(before) and not np.any(after))
    return OutputDrift(name, min(cosine, 1.0), error, _top1(before, after))


def _top1(before: Array, after: Array) -> float | None:
    """Share of equal largest classes, where each input gives one row of classes: [1,C], or [1,C,1,1]."""
    import numpy as np

    count, *shape = before.shape
    if len(shape) < 2 or shape[1] < 2 or math.prod(shape) != shape[1]:
        return None
    rows = (count, shape[1])
    return float(np.mean(np.argmax(before.reshape(rows), 1) == np.argmax(after.reshape(rows), 1)))
