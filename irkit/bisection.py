"""Finding what is wrong with a pipeline: the first bad pass, the fewest of its rewrites, the smallest model.

A pass is bad that is declared exact and changes what the model computes, that fails, or leaves a model that is invalid
or cannot be run; or, where the user gives a check of his own, the first one after which that finds the model bad.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.bundle import staged
from irkit.compiler import plan_passes
from irkit.errors import OptionError, OutputError
from irkit.executor import open_session
from irkit.inputs import draw
from irkit.library import Library
from irkit.model import Model
from irkit.onnx.reader import load, loads
from irkit.onnx.writer import dumps, save
from irkit.outcome import Check, command_check, model_file
from irkit.pass_base import Context, Pass
from irkit.pipeline import MOST_ROUNDS
from irkit.proof import at_mark, fitting_inputs
from irkit.reduction import MOST_RUNS, Reducer, Reduction, Tell
from irkit.suspect import UNPROVEN, Key, Problem, Suspect, judged, rewrites
from irkit.target import Target, load_target

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

_OURS = frozenset({"before.onnx", "after.onnx", "inputs.npz", "culprit.json"})


@dataclass(frozen=True)
class Culprit:
    """The first bad pass, as far as it was narrowed down.

    Attributes:
        item: the pass. problem: what is wrong with it, on the whole model.
        rewrites: the fewest rewrites (rule, root) that show it; None where the pass does not tell its rewrites apart.
        of: how many rewrites it made.
        reduction: the model before the pass, reduced, and how; `after` is what the pass makes of it.
        small: what is wrong with that.
        feeds: the inputs that show it, drawn with `seed`; empty where it shows without.
    """

    item: Pass
    problem: Problem
    rewrites: tuple[Key, ...] | None
    of: int
    reduction: Reduction
    after: Model | None
    small: Problem
    feeds: dict[str, Array]

    @property
    def seed(self) -> int:
        """Of the inputs; see `irkit.inputs.draw`."""
        return self.small.fault.seed if self.small.fault is not None else 0

    @property
    def place(self) -> str:
        """`FILE:LINE` of the rule or the pass, as far as is known."""
        return self.item.place(self.rewrites[0][0] if self.rewrites else "") or self.item.source

    def to_json(self) -> dict[str, Any]:
        """What was found, as plain data."""
        fault = self.small.fault
        return {
            "pass": str(self.item),
            "effect": self.item.effect.value,
            "source": self.place,
            "problem": {"kind": self.problem.kind, "text": self.problem.text},
            "rewrites": None if self.rewrites is None else [{"rule": r, "node": n} for r, n in self.rewrites],
            "rewrites_of_pass": self.of,
            "reduced": {
                "nodes_before": self.reduction.nodes_before,
                "nodes": self.reduction.nodes_after,
                "runs": self.reduction.runs,
                "stopped": self.reduction.stopped,
                "problem": self.small.text,
                "value": fault.value if fault is not None else "",
            },
            "seed": self.seed,
        }


@dataclass(frozen=True)
class Bisection:
    """What a search found.

    Attributes:
        culprit: the first bad pass, or None.
        passes: names of the passes that changed something and were judged, in order.
        unproven: passes that could not be judged, with the reason.
    """

    culprit: Culprit | None
    passes: tuple[str, ...]
    unproven: tuple[tuple[str, str], ...]


def bisect(
    model: Model | str | os.PathLike[str],
    target: str | Target = "hailo8",
    *,
    pipeline: str | Sequence[str | Pass] = (),
    passes: Sequence[str | os.PathLike[str]] = (),
    check: str | Check | None = None,
    max_runs: int = MOST_RUNS,
    timeout: float | None = None,
    progress: Tell | None = None,
) -> Bisection:
    """Find the first bad pass of a pipeline, the fewest of its rewrites, and the smallest model that shows it.

    Args:
        model: the path of a model, which stays as it is; or a model, which is edited.
        target: whose pipeline to take, unless `pipeline` names the passes.
        pipeline: passes to run, in order, as `irkit.optimize` takes them in `only`.
        passes: files or folders of your own passes.
        check: a command (see `irkit.reduce`) or function that tells which models are bad, "" for none; passes are held
            to their declared effect where it is not given.
        max_runs: how often the pass may be run to reduce the model.
        timeout: seconds that reducing the model may take.
        progress: is told of every step.

    Raises `OptionError` where the check finds the model bad before any pass ran, and other subclasses of `InputError`.
    """
    chip, plan = _planned(target, pipeline, passes)
    opened = model if isinstance(model, Model) else load(model)
    own = command_check(check) if isinstance(check, str) else check
    name = "model.onnx" if isinstance(model, Model) else Path(model).name
    with ExitStack() as stack:
        write = stack.enter_context(model_file(name)) if own is not None else None
        searching = _Search(opened, Context(target=chip), own, write, progress)
        return searching.run(plan, rounds=1 if pipeline else MOST_ROUNDS, max_runs=max_runs, timeout=timeout)


def reduce_pipeline(
    model: Model | str | os.PathLike[str],
    target: str | Target = "hailo8",
    *,
    pipeline: str | Sequence[str | Pass] = (),
    passes: Sequence[str | os.PathLike[str]] = (),
    max_runs: int = MOST_RUNS,
    timeout: float | None = None,
    progress: Tell | None = None,
) -> Reduction:
    """Make a model as small as it can be while the same pass of a pipeline goes wrong on it; see `bisect`.

    Raises `OptionError` where no pass goes wrong.
    """
    chip, plan = _planned(target, pipeline, passes)
    opened = model if isinstance(model, Model) else load(model)

    def fails() -> str:
        mark = opened.journal.position
        try:
            found = _Search(opened, Context(target=chip), None, None, None).first_bad(
                plan, 1 if pipeline else MOST_ROUNDS
            )
        finally:
            opened.journal.undo_to(mark)
        return "" if found is None else f"{found[0].item.name}: {found[2].sign}"

    return Reducer(opened, fails, max_runs, timeout, progress).run()


def _planned(
    target: str | Target, pipeline: str | Sequence[str | Pass], passes: Sequence[str | os.PathLike[str]]
) -> tuple[Target, list[Pass]]:
    library = Library()
    for path in passes:
        library.add(path)
    chip = load_target(target) if isinstance(target, str) else target
    return chip, plan_passes(chip, library, only=pipeline)


class _Search:
    def __init__(
        self,
        model: Model,
        context: Context,
        check: Check | None,
        write: Callable[[Model], Path] | None,
        progress: Tell | None,
    ) -> None:
        self.model = model
        self.context = context
        self.check = check
        self.write = write
        self.progress = progress or (lambda _text, _index, _count: None)
        self.judged: list[str] = []
        self.unproven: dict[str, str] = {}

    def run(self, plan: Sequence[Pass], *, rounds: int, max_runs: int, timeout: float | None) -> Bisection:
        """Judge pass after pass until one is bad, then narrow it down."""
        if self.check is not None:
            said = Suspect(plan[0], self.context, self.check, self.write).is_bad(self.model)
            if said:
                raise OptionError(f"the check finds the model bad ({said}) before any pass ran: no pass is to blame")
        found = self.first_bad(plan, rounds)
        culprit = None
        if found is not None:
            suspect, start, problem = found
            culprit = self._narrowed(suspect, start, problem, max_runs, timeout)
        return Bisection(culprit, tuple(self.judged), tuple(self.unproven.items()))

    def first_bad(self, plan: Sequence[Pass], rounds: int) -> tuple[Suspect, int, Problem] | None:
        """The first bad pass, and where it started. The passes go round as in `irkit.optimize`."""
        idle = 0
        for index in range(rounds * len(plan)):
            item = plan[index] if index < len(plan) else plan[index % len(plan)].repeated()
            self.progress(f"judging {item.name}", index % len(plan), len(plan))
            start = self.model.journal.position
            before = replace(self.context, moved=deepcopy(self.context.moved))
            suspect = Suspect(item, before, self.check, self.write)
            problem = judged(suspect, self.model, self.context)
            changed = any(edit.kind != "type" for edit in self.model.journal.since(start))
            if problem is not None and problem.kind == UNPROVEN:
                self.unproven[item.name] = problem.text
            elif problem is not None:
                return suspect, start, problem
            elif changed:
                self.judged.append(item.name)
            idle = 0 if changed else idle + 1
            if idle >= len(plan):
                break
        return None

    def _narrowed(
        self, suspect: Suspect, start: int, problem: Problem, max_runs: int, timeout: float | None
    ) -> Culprit:
        model, journal = self.model, self.model.journal
        keys = rewrites(journal.since(start))
        journal.undo_to(start)
        fewest = None if not keys else fewest_rewrites(suspect, model, keys, problem.sign, self.progress)

        def fails() -> str:
            found = suspect.tried(model)
            if found is None or found.sign != problem.sign:
                return ""
            return "" if suspect.check is not None and suspect.is_bad(model) else found.sign

        def tell(what: str, runs: int, nodes: int) -> None:
            self.progress(f"{what}; {nodes} nodes left", runs, max_runs)

        reduction = Reducer(model, fails, max_runs, timeout, tell).run()
        mark = journal.position
        small = suspect.run(model) or problem
        feeds = _feeds(model, mark, small) if small.kind in ("wrong", "cannot run") else {}
        after = _copy(model) if small.kind in ("wrong", "cannot run", "bad") else None
        journal.undo_to(mark)
        return Culprit(
            suspect.item,
            problem,
            None if fewest is None else tuple(fewest),
            len(keys or ()),
            reduction,
            after,
            small,
            feeds,
        )


def fewest_rewrites(
    suspect: Suspect, model: Model, keys: Sequence[Key], sign: str, progress: Tell | None = None
) -> list[Key] | None:
    """The fewest rewrites of a pass that show the same problem (ddmin); None where they do not show it alone."""

    def shows(kept: Sequence[Key]) -> bool:
        if progress is not None:
            progress(f"narrowing {suspect.item.name} down", len(keys) - len(kept), len(keys))
        found = suspect.tried(model, kept)
        return found is not None and found.sign == sign

    kept = list(keys)
    if not shows(kept):
        return None
    size = max(1, len(kept) // 2)
    while True:
        before = len(kept)
        for end in range(len(kept), 0, -size):
            rest = kept[: max(0, end - size)] + kept[end:]
            if rest and len(rest) < len(kept) and shows(rest):
                kept = rest
        if size == 1 and len(kept) == before:
            return kept
        size = max(1, size // 2)


def write_culprit(culprit: Culprit, folder: str | os.PathLike[str], *, force: bool = False) -> Path:
    """Write what was found to a folder, whole or not at all. Returns its path.

    before.onnx is the reduced model, after.onnx what the pass makes of it, inputs.npz shows the difference, and
    culprit.json tells the rest. Raises `OutputError` where the folder exists and `force` does not say to replace it,
    or cannot be written.
    """
    place = Path(folder)
    check_folder(place, force=force)
    with staged(place) as stage:
        save(culprit.reduction.model, stage / "before.onnx")
        if culprit.after is not None:
            save(culprit.after, stage / "after.onnx")
        if culprit.feeds:
            import numpy as np

            np.savez(stage / "inputs.npz", **culprit.feeds)  # type: ignore[arg-type]  # names are those of inputs
        text = json.dumps(culprit.to_json(), indent=2, ensure_ascii=False) + "\n"
        (stage / "culprit.json").write_text(text, encoding="utf-8", newline="\n")
    return place


def check_folder(folder: Path, *, force: bool = False) -> None:
    """Make sure, before any work is done, that the folder may be written. Raises `OutputError`."""
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise OutputError(f"{folder} exists and is no folder; write to another one (-o DIR)")
    names = {item.name for item in folder.iterdir()}
    if names - _OURS:
        raise OutputError(f"{folder} holds {min(names - _OURS)!r}, which irkit did not write; write elsewhere (-o DIR)")
    if names and not force:
        raise OutputError(f"{folder} exists; --force replaces it, -o DIR writes elsewhere")


def _feeds(model: Model, start: int, small: Problem) -> dict[str, Array]:
    """The inputs that show the problem."""
    end = model.journal.position
    seed = small.fault.seed if small.fault is not None else 0
    with at_mark(model.journal, start):
        session = open_session(model)
    specs, _ = fitting_inputs(model, start, end, session)
    return draw(specs, seed)


def _copy(model: Model) -> Model:
    """The model as it stands, apart from its journal."""
    return loads(dumps(model))
