"""Proof by numbers that a stretch of the journal kept what the model computes.

The model is run as it was before the stretch and as it is after it, on the same seeded inputs. Compared are the graph's
outputs and the values at the border of each rewritten region: those a touched node makes, and that bore the same name
before. So a pass must keep to one rule: *a value's name keeps its meaning*; what means something else is a new value.
Comparing final outputs alone lets errors through that a later layer squashes.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from irkit.border import touched_values
from irkit.errors import ExecutionError, MissingDependencyError
from irkit.executor import Session, open_session
from irkit.inputs import InputSpec, draw, fed_inputs, fillings, input_specs
from irkit.ir import Value
from irkit.journal import Journal
from irkit.model import Model
from irkit.numerics import Comparison, Verdict, compare
from irkit.types import DType, TensorType

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

INPUTS = ((16 << 20, 8), (64 << 20, 4))
"""On how many inputs a model is run whose values take less than so many bytes; others on two.

A channel behind a ReLU may be dead for one input, and a wrong one is seen only where it is alive.
"""

MORE_INPUTS = 4
"""How many further ones are tried on an output that came out the same for the first ones."""

FREE_SIZES = (1, 8, 16, 32, 64, 224, 512, 1024, 4096, 16000)
"""Numbers tried for dimensions that are not numbers, until the model runs."""

MOST_ELEMENTS = 1 << 22
"""Inputs of more elements are not tried."""

CHUNK_BYTES = 256 << 20
"""Values of about this size are fetched in one run."""


class ProofVerdict(enum.Enum):
    """What came of a proof."""

    PROVEN = "proven"
    FAILED = "failed"
    NOT_VERIFIED = "not verified"


@dataclass(frozen=True)
class Fault:
    """A value that is not what it was. `node` makes it now; both "" where the result could not be run at all.

    `seed` is that of the inputs that showed it (see `irkit.inputs.draw`).
    """

    value: str
    node: str
    reason: str
    error: float
    seed: int = 0


@dataclass(frozen=True)
class Proof:
    """What was proven of a stretch.

    Attributes:
        verdict: proven, failed, or not verified for a `reason`.
        passes: names of the passes in the stretch.
        engine: what ran the model.
        inputs: how many sets of inputs it was run on.
        values: how many values were compared.
        worst, worst_value: the largest difference relative to a value's scale, and the value.
        proves_nothing: outputs that gave the same for all inputs, or nothing finite.
        unstable: values that float noise alone changes too much to judge, with the reason.
        faults: what is wrong, in the order of the graph.
        seconds: how long it took.
    """

    verdict: ProofVerdict
    passes: tuple[str, ...] = ()
    reason: str = ""
    engine: str = ""
    inputs: int = 0
    values: int = 0
    worst: float = 0.0
    worst_value: str = ""
    proves_nothing: tuple[str, ...] = ()
    unstable: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    seconds: float = 0.0

    @property
    def is_verified(self) -> bool:
        """Whether the model could be run at all."""
        return self.verdict is not ProofVerdict.NOT_VERIFIED


@contextmanager
def at_mark(journal: Journal, mark: int) -> Iterator[None]:
    """The model as it was (or will be) at a mark of its journal; nothing may be edited meanwhile."""
    here = journal.position
    _go(journal, mark)
    try:
        yield
    finally:
        _go(journal, here)


def _go(journal: Journal, mark: int) -> None:
    if mark < journal.position:
        journal.undo_to(mark)
    else:
        journal.redo_to(mark)


Moved: TypeAlias = "Mapping[str, Mapping[int, Sequence[int]]]"


def prove(model: Model, start: int, end: int, passes: Sequence[str] = (), moved: Moved | None = None) -> Proof:
    """Prove that the edits from mark `start` to mark `end` of the model's journal kept its function.

    `moved` tells where elements of interior values have gone that changed their shape; see `Context.moved`.

    What stands in the way of a proof, be it that ONNX Runtime is not installed, makes it a proof that is not verified,
    with the reason.
    """
    began = time.perf_counter()
    trial = _Trial(model, start, end, moved or {})
    try:
        proof = trial.run()
    except (ExecutionError, MissingDependencyError) as error:
        proof = Proof(ProofVerdict.NOT_VERIFIED, reason=str(error))
    made = {**vars(proof), "passes": tuple(passes), "seconds": time.perf_counter() - began}
    return Proof(**made)


def fitting_inputs(model: Model, start: int, end: int, session: Session) -> tuple[list[InputSpec], bool]:
    """What to feed to a model as it is at mark `start`, which `session` runs, and as it is at mark `end`.

    Dimensions that are no numbers at `end` either are tried with several, until the model runs. Returns what to feed,
    and whether there are such dimensions. Raises `ExecutionError` where nothing fits.
    """
    with at_mark(model.journal, end):
        shapes = {value.name: value.shape for value in fed_inputs(model)}
    with at_mark(model.journal, start):
        choices = [input_specs(model, filled) for filled in fillings(shapes, FREE_SIZES)]
    if len(choices) == 1:
        return choices[0], False
    problem: ExecutionError | None = None
    for specs in choices:
        if sum(math.prod(spec.shape) for spec in specs) > MOST_ELEMENTS:
            continue
        try:
            session.run(draw(specs, 0))
            return specs, True
        except ExecutionError as error:
            problem = problem or error
    raise problem or ExecutionError("its inputs are too large")


def reshaped_inputs(model: Model, start: int, end: int) -> dict[str, str]:
    """Inputs whose dimensions are other numbers at `end` than at `start`, so that no input fits both; name -> how."""
    with at_mark(model.journal, end):
        after = {value.name: value.shape for value in fed_inputs(model)}
    with at_mark(model.journal, start):
        before = {value.name: value.shape for value in fed_inputs(model)}
    changed = {}
    for name, shape in before.items():
        pairs = zip(shape or (), after.get(name) or (), strict=False)
        if any(isinstance(old, int) and isinstance(new, int) and old != new for old, new in pairs):
            changed[name] = f"{list(shape or ())} to {list(after.get(name) or ())}"
    return changed


class _Trial:
    """One run of before against after."""

    def __init__(self, model: Model, start: int, end: int, moved: Moved) -> None:
        self.model = model
        self.start = start
        self.end = end
        self.moved = moved
        self.worst = 0.0
        self.worst_value = ""
        self.unstable: dict[str, str] = {}
        self.faults: dict[str, Fault] = {}
        self.other_kernels: dict[tuple[str, ...], Session] = {}
        self.outputs = [value.name for value in model.graph.outputs]

    def run(self) -> Proof:
        changed = reshaped_inputs(self.model, self.start, self.end)
        if changed:
            name, how = next(iter(changed.items()))
            raise ExecutionError(f"input {name!r} was changed from {how}: before and after take no common input")
        names, constants = self._border()
        chunks = self._chunks(names)
        first = self._open(self.start, chunks[0])
        specs, self.free = fitting_inputs(self.model, self.start, self.end, first)
        before_outputs: list[dict[str, Any]] = []
        for chunk in chunks:
            is_first = chunk is chunks[0]
            before = first if is_first else self._open(self.start, chunk)
            after = self._open_after([name for name in chunk if name not in constants])
            if after is None:
                break
            for seed in range(self.inputs):
                found = before.run(draw(specs, seed))
                if is_first:
                    before_outputs.append({name: found[name] for name in self.outputs})
                judged = [*self.outputs, *chunk] if is_first else chunk
                self._judge(before, after, found, constants, judged, specs, seed)
                if self.faults:
                    break  # one input that shows a fault is enough
            if self.faults:
                break
        faults = tuple(self.faults.values())
        return Proof(
            ProofVerdict.FAILED if faults else ProofVerdict.PROVEN,
            reason=self._sizes_note(specs),
            engine=first.engine,
            inputs=self.inputs,
            values=len(set(self.outputs) | set(names)),
            worst=self.worst,
            worst_value=self.worst_value,
            proves_nothing=() if faults else self._unreactive(first, specs, before_outputs),
            unstable=self.unstable,
            faults=faults,
        )

    def _open(self, mark: int, extra: Sequence[str], *, optimize: bool = False) -> Session:
        with at_mark(self.model.journal, mark):
            return open_session(self.model, extra, optimize=optimize)

    def _open_after(self, extra: Sequence[str]) -> Session | None:
        """The rewritten model; None where it cannot even be loaded, which is a fault of the rewrite."""
        try:
            return self._open(self.end, extra)
        except ExecutionError as error:
            self.faults[""] = Fault("", "", f"the result cannot be run: {error}", float("inf"))
            return None

    def _sizes_note(self, specs: Sequence[InputSpec]) -> str:
        if not self.free:
            return ""
        return "open dimensions were run at " + ", ".join(f"{spec.name} {list(spec.shape)}" for spec in specs)

    def _border(self) -> tuple[list[str], dict[str, Array]]:
        """Names of values to compare, in the order of the graph, and the data of those that are constants now."""
        journal = self.model.journal
        with at_mark(journal, self.start):
            before = {name for name, value in self.model.graph.values.items() if value.producer is not None}
        with at_mark(journal, self.end):
            touched = touched_values(self.model, journal.since(self.start))
            made = {v.name: v for node in self.model.graph for v in node.outputs if v.name in before and _is_plain(v)}
            names = [name for name, value in made.items() if value in touched]
            stored = [(v.name, v.constant) for v in touched.values if v.producer is None and v.name in before]
            constants = {name: data.numpy() for name, data in stored if data is not None and data.dtype.is_native}
            self.sizes = {name: _bytes_of(value) for name, value in made.items()}
            self.inputs = _inputs_for(sum(self.sizes.values()))
            self.makers = {name: value.producer.name for name, value in made.items() if value.producer is not None}
        outputs = set(self.outputs)
        untold = {name for name, places in self.moved.items() if not places}
        return [name for name in [*names, *constants] if name not in outputs | untold], constants

    def _chunks(self, names: Sequence[str]) -> list[list[str]]:
        chunks: list[list[str]] = [[]]
        room = CHUNK_BYTES
        for name in names:
            need = self.sizes.get(name, 0)
            if need > room and chunks[-1]:
                chunks.append([])
                room = CHUNK_BYTES
            chunks[-1].append(name)
            room -= need
        return chunks

    def _judge(
        self,
        before: Session,
        after: Session,
        found: Mapping[str, Any],
        constants: Mapping[str, Array],
        names: Sequence[str],
        specs: Sequence[InputSpec],
        seed: int,
    ) -> None:
        """Compare one set of results. That the rewritten model could not be run is a fault."""
        feeds = draw(list(specs), seed)
        try:
            results: Mapping[str, Any] = self._moved_back({**after.run(feeds), **constants}, found)
        except ExecutionError as error:
            self.faults[""] = Fault("", "", f"the result cannot be run: {error}", float("inf"), seed)
            return
        doubtful = []
        for name in names:
            judged = compare_any(found[name], results[name])
            self._keep_worst(name, judged)
            if not judged.same:
                doubtful.append(name)
        if doubtful:
            probes = self._probes(before, feeds, doubtful)
            for name in doubtful:
                self._record(name, compare_any(found[name], results[name], [probe[name] for probe in probes]), seed)

    def _moved_back(self, results: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
        """The results with the elements a pass has moved where they were before."""
        import numpy as np

        back = dict(results)
        for name in self.moved.keys() & back.keys() & found.keys():
            if np.shape(back[name]) == np.shape(found[name]):
                continue  # it was moved before the stretch that is looked at, or not at all
            for axis, places in self.moved[name].items():
                back[name] = np.take(back[name], places, axis)
        return back

    def _keep_worst(self, name: str, judged: Comparison) -> None:
        if judged.same and judged.error > self.worst:
            self.worst, self.worst_value = judged.error, name

    def _record(self, name: str, judged: Comparison, seed: int) -> None:
        self._keep_worst(name, judged)
        if judged.verdict is Verdict.UNSTABLE:
            self.unstable[name] = judged.reason
        elif judged.verdict is Verdict.DIFFERENT and name not in self.faults:
            self.faults[name] = Fault(name, self.makers.get(name, ""), judged.reason, judged.error, seed)

    def _probes(self, before: Session, feeds: Mapping[str, Array], names: Sequence[str]) -> list[dict[str, Any]]:
        """What float noise alone makes of the values: inputs off by a few ulp, and kernels in another order."""
        probes = [before.run(_nudged(feeds, seed)) for seed in (0, 1)]
        extra = tuple(name for name in names if name not in self.outputs)
        with suppress(ExecutionError):  # then the nudged inputs have to do
            if extra not in self.other_kernels:
                self.other_kernels[extra] = self._open(self.start, extra, optimize=True)
            probes.append(self.other_kernels[extra].run(feeds))
        return probes

    def _unreactive(
        self, session: Session, specs: Sequence[InputSpec], results: Sequence[Mapping[str, Any]]
    ) -> tuple[str, ...]:
        """Outputs that are the same whatever goes in, or hold no finite number."""
        results = list(results)
        doubtful = [name for name in self.outputs if _says_nothing([result[name] for result in results])]
        for seed in range(self.inputs, self.inputs + MORE_INPUTS) if doubtful and specs else ():
            results.append(session.run(draw(list(specs), seed)))
            doubtful = [name for name in doubtful if _says_nothing([result[name] for result in results])]
        return tuple(doubtful)


def _is_plain(value: Value) -> bool:
    """Whether it is, or may be, a tensor that numpy can hold."""
    type_ = value.type
    if type_ is None:
        return True
    return isinstance(type_, TensorType) and (type_.dtype.is_native or type_.dtype in (DType.STRING, DType.UNDEFINED))


def _inputs_for(nbytes: int) -> int:
    return next((count for limit, count in INPUTS if nbytes < limit), 2)


def _bytes_of(value: Value) -> int:
    """Roughly what the value takes; a guess where its shape is not known."""
    size = 1
    for dim in (1 << 18,) if value.shape is None else value.shape:
        size *= dim if isinstance(dim, int) else 16
    return size * 4


def compare_any(before: Any, after: Any, probes: Sequence[Any] = ()) -> Comparison:
    """Compare what ONNX Runtime returns: an array, or lists and dictionaries of arrays and numbers."""
    import numpy as np

    if isinstance(before, (list, dict)):
        parts = _parts(before), _parts(after)
        if len(parts[0]) != len(parts[1]):
            return Comparison(Verdict.DIFFERENT, float("inf"), f"{len(parts[0])} items became {len(parts[1])}")
        found = [compare_any(one, other) for one, other in zip(*parts, strict=True)]
        return max(found, key=lambda one: (not one.same, one.error), default=Comparison(Verdict.SAME))
    return compare(np.asarray(before), np.asarray(after), [np.asarray(probe) for probe in probes])


def _parts(item: Any) -> list[Any]:
    import numpy as np

    if isinstance(item, dict):
        return [np.asarray(list(item), object), *item.values()]
    return list(item) if isinstance(item, list) else [item]


def _nudged(feeds: Mapping[str, Array], seed: int) -> dict[str, Array]:
    """The inputs, floats off by a few ulp."""
    import numpy as np

    rng = np.random.default_rng(seed)
    nudged = {}
    for name, array in feeds.items():
        if array.dtype.kind == "f":
            step = 2 * np.finfo(array.dtype).eps
            array = (array * (1 + step * rng.choice((-1, 1), array.shape))).astype(array.dtype)
        nudged[name] = array
    return nudged


def _says_nothing(results: Sequence[Any]) -> bool:
    import numpy as np

    first = results[0]
    if isinstance(first, np.ndarray) and first.dtype.kind == "f" and not np.isfinite(first).any():
        return True
    return all(compare_any(first, other).error == 0 for other in results[1:])
