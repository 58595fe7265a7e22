"""Making a model that fails as small as it can be while it fails still.

The model is edited in place, by the journal: each try is one edit (see `irkit.shrinking`) and a run of the check; where
the model then no longer fails, or is no longer sound, the edit is undone. Nodes go in ever smaller chunks (ddmin), from
the outputs to the inputs; then single nodes are bypassed, inputs become constants, data becomes uniform, dimensions
shrink; all of it again until nothing helps. The same model and check give the same result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from irkit import shrinking
from irkit.errors import ExecutionError, MissingDependencyError, OptionError
from irkit.executor import open_session
from irkit.infer import Inference
from irkit.inlining import inline_branch
from irkit.inputs import draw, input_specs
from irkit.ir import Graph, Node, Value
from irkit.journal import Edit
from irkit.library import get_pass
from irkit.model import Model
from irkit.onnx.reader import load
from irkit.outcome import FINE, Check, command_check, model_file
from irkit.pairing import computing_nodes
from irkit.pass_base import Context
from irkit.verifier import is_sound

SIMPLIFIERS = ("inline-functions", "fold-constants", "remove-identity", "merge-duplicates", "remove-dead")
"""Passes that are tried first, each as one edit: they turn what cannot be cut into what can."""

MOST_RUNS = 5000

Tell = Callable[[str, int, int], None]
"""Told before each run of the check: what is tried, how many runs there were, how many nodes are left."""

T = TypeVar("T")


@dataclass(frozen=True)
class Reduction:
    """What became of a model.

    Attributes:
        model: the reduced model.
        outcome: how it fails, as the model that came in did.
        runs: how often the check was run.
        nodes_before, nodes_after: number of nodes, nested ones included.
        stopped: why it ended before nothing more could be taken away: `interrupted`, or the limit; else "".
        seconds: how long it took.
    """

    model: Model
    outcome: str
    runs: int
    nodes_before: int
    nodes_after: int
    stopped: str
    seconds: float


def reduce(
    model: Model | str | os.PathLike[str],
    check: str | Callable[[Path], str | bool],
    *,
    max_runs: int = MOST_RUNS,
    timeout: float | None = None,
    progress: Tell | None = None,
) -> Reduction:
    """Make a model that fails as small as it can be while it fails in the same way.

    Args:
        model: the path of a model, which stays as it is; or a model, which is edited.
        check: a command that does not exit with 0 where the model fails (see `irkit.outcome.command_check`); or a
            function of the path of a model that tells how it fails, in words or by True, and "" or False where not.
        max_runs: how often the check may be run.
        timeout: seconds after which the smallest model so far is the result.
        progress: is told of every run.

    Raises `OptionError` where the model does not fail to begin with, or the command cannot be run.
    """
    runs = command_check(check) if isinstance(check, str) else _in_words(check)
    opened = model if isinstance(model, Model) else load(model)
    name = "model.onnx" if isinstance(model, Model) else Path(model).name
    with model_file(name) as write:
        reducer = Reducer(opened, lambda: runs(write(opened)), max_runs, timeout, progress)
        return reducer.run()


def _in_words(check: Callable[[Path], str | bool]) -> Check:
    def run(path: Path) -> str:
        found = check(path)
        return found if isinstance(found, str) else "fails" if found else FINE

    return run


class _Stop(Exception):  # noqa: N818  (no error: a limit was reached)
    """The limit of runs or of time is reached."""


class Reducer:
    """The search. `fails` says how the model fails as it stands, "" where it does not."""

    def __init__(
        self,
        model: Model,
        fails: Callable[[], str],
        max_runs: int = MOST_RUNS,
        timeout: float | None = None,
        progress: Tell | None = None,
    ) -> None:
        if max_runs < 1 or (timeout is not None and timeout <= 0):
            raise OptionError("the bounds of runs and of seconds are numbers above 0")
        self.model = model
        self.runs = 0
        self.outcome = FINE
        self._fails = fails
        self._max_runs = max_runs
        self._began = time.perf_counter()
        self._deadline = self._began + timeout if timeout is not None else float("inf")
        self._progress = progress or (lambda _text, _runs, _nodes: None)
        self._what = ""
        self._sound = self._valid = True

    def run(self) -> Reduction:
        """Reduce the model. Raises `OptionError` where it does not fail."""
        before = sum(1 for _ in self.model.walk())
        self.outcome = self._ask("as it is")
        if not self.outcome:
            raise OptionError("the check finds nothing wrong with the model as it is, so there is nothing to reduce")
        Inference.of(self.model).update()
        self._valid, self._sound = is_sound(self.model), shrinking.fits_together(self.model)
        stopped = ""
        try:
            self._search()
        except _Stop as limit:
            stopped = str(limit)
        except KeyboardInterrupt:
            stopped = "interrupted"
        after = sum(1 for _ in self.model.walk())
        seconds = time.perf_counter() - self._began
        return Reduction(self.model, self.outcome, self.runs, before, after, stopped, seconds)

    def _search(self) -> None:
        self._bind()
        self._simplify()
        helped = True
        while helped:
            self._bind()
            helped = self._outputs()
            helped |= self._chunks("removing nodes", self.model.graph, shrinking.cut)
            helped |= self._branches()
            for graph in list(self.model.walk_graphs()):
                if graph is not self.model.graph:
                    helped |= self._chunks("freezing nodes", graph, shrinking.freeze)
                helped |= self._chunks("bypassing nodes", graph, shrinking.bypass)
                helped |= self._chunks("bypassing nodes", graph, _bypass_second, largest=1)
            helped |= self._each("filling inputs", lambda: self.model.graph.inputs, self._fill_input)
            helped |= self._data()
            helped |= self._resize()
        self.attempt("forgetting metadata", partial(shrinking.forget_extras, self.model))
        self._forget_graph()

    def _forget_graph(self) -> None:
        """Drop the doc string and metadata of the graph, which the journal does not know of."""
        graph = self.model.graph
        old = graph.doc, graph.metadata
        graph.doc, graph.metadata = "", {}
        kept = False
        try:
            kept = any(old) and self._ask("forgetting metadata") == self.outcome
        finally:
            if not kept:
                graph.doc, graph.metadata = old

    def attempt(self, what: str, edit: Callable[[], object], keeps: Callable[[], bool] = lambda: True) -> bool:
        """Make an edit, and keep it if the model is another one, sound, fails as before, and `keeps` says so."""
        journal = self.model.journal
        mark = journal.position
        kept = False
        try:
            kept = self._edited(edit, mark) and self._ask(what) == self.outcome and keeps()
        finally:
            if not kept:
                journal.undo_to(mark)
        return kept

    def _edited(self, edit: Callable[[], object], mark: int) -> bool:
        """Make an edit; whether it made another model that is sound. Where it cannot be made, it is not."""
        try:
            edit()
            Inference.of(self.model).update()
            return any(map(_counts, self.model.journal.since(mark))) and self._is_sound()
        except Exception:  # noqa: BLE001  (whatever stands in the way of an edit, there are others)
            return False

    def _is_sound(self) -> bool:
        """Whether the model is valid, as far as the one that came in was."""
        if self._valid and not is_sound(self.model):
            return False
        return not self._sound or shrinking.fits_together(self.model)

    def _ask(self, what: str) -> str:
        if self.runs >= self._max_runs:
            raise _Stop(f"the limit of {self._max_runs} runs is reached")
        if time.perf_counter() > self._deadline:
            raise _Stop("the time is up")
        self.runs += 1
        self._progress(what, self.runs, len(self.model.graph))
        return self._fails()

    # What is tried

    def _simplify(self) -> None:
        for name in SIMPLIFIERS:
            context = Context(pass_name=name, update_types=Inference.of(self.model).update)
            self.attempt(f"running {name}", partial(get_pass(name).run, self.model, context))
        self.attempt("storing constants", partial(shrinking.store_constants, self.model))

    def _bind(self) -> None:
        """Give dimensions that are no numbers one, first of all: models with small inputs are quick to run."""
        if shrinking.symbols(self.model):
            bound = partial(shrinking.bind_symbols, self.model)
            self.attempt("binding dimensions", bound, self._running())

    def _running(self) -> Callable[[], bool]:
        """A test that the model can be run, where it can be now."""
        runs = _can_run(self.model)
        return lambda: not runs or _can_run(self.model)

    def _outputs(self) -> bool:
        """Leave outputs out, half of them at first."""
        helped = False
        size = len(self.model.graph.outputs) // 2
        while size:
            for chunk in _chunks(list(self.model.graph.outputs), size):
                kept = [value for value in self.model.graph.outputs if value not in chunk]
                if kept and len(kept) < len(self.model.graph.outputs):
                    helped |= self.attempt("dropping outputs", partial(shrinking.keep_outputs, self.model, kept))
            size //= 2
        return helped

    def _chunks(
        self, what: str, graph: Graph, edit: Callable[[Model, Sequence[Node]], None], largest: int | None = None
    ) -> bool:
        """Try an edit on ever smaller runs of neighbouring nodes, from the end to the start."""
        helped = False
        size = largest or max(1, len(computing_nodes(graph)) // 2)
        while size:
            tried = False
            for chunk in _chunks(computing_nodes(graph), size):
                nodes = [node for node in chunk if node.graph is graph]
                if nodes:
                    tried |= self.attempt(f"{what}, {size} at a time", partial(_fewer, edit, self.model, nodes))
            helped |= tried
            if not (tried and size == 1):  # single nodes until none of them can go
                size //= 2
        return helped

    def _branches(self) -> bool:
        """Put a branch in the place of an If, and the body of a nested graph without inputs in that of its node."""
        helped = False
        for node in list(self.model.graph.walk()):
            for branch in node.subgraphs:
                if node.graph is not None and not branch.inputs:
                    helped |= self.attempt("taking branches", partial(_take, node, branch, self.model))
        return helped

    def _each(self, what: str, items: Callable[[], Iterable[T]], edit: Callable[[T, float], None]) -> bool:
        helped = False
        for item in list(items()):
            if item in list(items()):
                helped |= any(self.attempt(what, partial(edit, item, number)) for number in (1.0, 0.0))
        return helped

    def _fill_input(self, value: Value, number: float) -> None:
        if len(self.model.graph.inputs) > 1:
            shrinking.fill_input(self.model, value, number)

    def _data(self) -> bool:
        """Make constants uniform: all at once, then one by one."""
        stored = [value for graph in self.model.walk_graphs() for value in graph.initializers.values()]
        for number in (1.0, 0.0):
            if self.attempt("filling constants", partial(_fill_all, stored, number)):
                return True
        return self._each("filling constants", lambda: stored, shrinking.fill_constant)

    def _resize(self) -> bool:
        """Make dimensions smaller, the large ones first: 1, 2, a quarter, half."""
        helped, still_runs = False, self._running()
        for size in shrinking.sizes(self.model):
            for smaller in dict.fromkeys(n for n in (1, 2, size // 4, size // 2) if 0 < n < size):
                if self.attempt("shrinking dimensions", partial(_resize, self.model, size, smaller), still_runs):
                    helped = True
                    break
        return helped


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items in runs of some size, the last ones first."""
    for end in range(len(items), 0, -size):
        yield items[max(0, end - size) : end]


def _can_run(model: Model) -> bool:
    """Whether ONNX Runtime runs the model; true where it is not installed."""
    try:
        open_session(model).run(draw(input_specs(model, {}), 0))
    except MissingDependencyError:
        return True
    except ExecutionError:
        return False
    return True


def _counts(edit: Edit) -> bool:
    """Whether an edit makes the model another one, as the type of an inner value does not."""
    return edit.kind != "type" or (isinstance(edit.target, Value) and edit.target.is_graph_input)


def _fewer(edit: Callable[[Model, Sequence[Node]], None], model: Model, nodes: Sequence[Node]) -> None:
    """Make an edit that has to leave fewer nodes, so that no search goes on for ever."""
    before = sum(1 for _ in model.walk())
    edit(model, nodes)
    if sum(1 for _ in model.walk()) >= before:
        raise shrinking.Stuck("nothing is gained")


def _bypass_second(model: Model, nodes: Sequence[Node]) -> None:
    """Keep the second of two operands."""
    shrinking.bypass(model, nodes, choice=1)


def _take(node: Node, branch: Graph, model: Model) -> None:
    """Put the nodes of a branch in the place of its node. What nothing reads of it becomes an output, to be kept."""
    unread = [value for value in node.outputs if value.name and not value.is_used and value.graph is model.graph]
    model.graph.set_outputs([*model.graph.outputs, *unread])
    inline_branch(node, branch)
    shrinking.tidy(model)


def _fill_all(values: Iterable[Value], number: float) -> None:
    for value in filter(shrinking.can_be_filled, values):
        shrinking.fill_constant(value, number)


def _resize(model: Model, old: int, new: int) -> None:
    shrinking.resize(model, old, new)
    Inference.of(model).run()
