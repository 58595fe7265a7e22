"""How far a pass that is not exact moves what a model computes, and whether that is within the budget."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
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


def measure(
    model: Model,
    start: int,
    end: int,
    pass_name: str,
    effect: str,
    *,
    accepted: bool = False,
    samples: Mapping[str, Array] | None = None,
) -> Drift:
    """Measure what the edits between two marks of the journal did to the outputs.

    Args:
        model: as it stands.
        start: the first mark.
        end: the second.
        pass_name: of the pass that made the edits.
        effect: of that pass.
        accepted: whether the user accepts the drift.
        samples: the user's inputs, (N, ...) by name, as the model takes them; random ones where there are none.
    """
    began = time.perf_counter()
    try:
        with at_mark(model.journal, end):
            after = open_session(model)
        with at_mark(model.journal, start):
            before = open_session(model)
        feeds = _given(samples) if samples else _drawn(model, start, end, before)
        outputs, count = _run_both(before, after, feeds)
    except (ExecutionError, MissingDependencyError) as error:
        return Drift(pass_name, effect, reason=str(error), accepted=accepted)
    seconds = time.perf_counter() - began
    return Drift(pass_name, effect, outputs, count, is_random=not samples, accepted=accepted, seconds=seconds)


def _drawn(model: Model, start: int, end: int, before: Session) -> Iterator[Mapping[str, Array]]:
    specs, _ = fitting_inputs(model, start, end, before)
    return (draw(specs, seed) for seed in range(INPUTS))


def _given(samples: Mapping[str, Array]) -> Iterator[Mapping[str, Array]]:
    count = min(len(array) for array in samples.values())
    return ({name: array[i : i + 1] for name, array in samples.items()} for i in range(min(count, INPUTS)))


def _run_both(
    before: Session, after: Session, feeds: Iterable[Mapping[str, Array]]
) -> tuple[tuple[OutputDrift, ...], int]:
    """The drift of each output that holds floats, and on how many inputs it was measured."""
    meters: dict[str, OutputMeter] = {}
    deadline = time.perf_counter() + SECONDS
    count = 0
    for count, feed in enumerate(feeds, 1):
        old, new = before.run(feed), after.run(feed)
        for name, array in old.items():
            if getattr(array, "dtype", None) is not None and array.dtype.kind == "f":
                meters.setdefault(name, OutputMeter(name)).add(array, new[name])
        if count >= FEWEST and time.perf_counter() > deadline:
            break
    return tuple(meter.drift() for meter in meters.values()), count


class OutputMeter:
    """The drift of one output, sample by sample, so that nothing need be kept."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._product = self._before = self._after = 0.0
        self._scale = self._error = 0.0
        self._count = self._kept = 0
        self._has_classes = True

    def add(self, before: Array, after: Array) -> None:
        """What the output was and is for one set of inputs."""
        import numpy as np

        a, b = before.astype(np.float64), after.astype(np.float64)
        self._product += float((a * b).sum())
        self._before += float((a * a).sum())
        self._after += float((b * b).sum())
        self._scale = max(self._scale, float(np.abs(a).max(initial=0)))
        self._error = max(self._error, float(np.abs(b - a).max(initial=0)))
        self._count += 1
        # one row of classes: [1,C], or [1,C,1,1]
        self._has_classes = self._has_classes and a.ndim > 1 and a.shape[1] > 1 and a.size == a.shape[1]
        self._kept += self._has_classes and int(a.argmax()) == int(b.argmax())

    def drift(self) -> OutputDrift:
        """The drift over all of them."""
        norm = math.sqrt(self._before * self._after)
        cosine = self._product / norm if norm else float(not self._before and not self._after)
        error = self._error / self._scale if self._scale else float(self._error > 0)
        return OutputDrift(self._name, min(cosine, 1.0), error, self._kept / self._count if self._has_classes else None)
