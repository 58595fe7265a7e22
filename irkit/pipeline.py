"""Running passes: in order, timed, each held to its contract, and what they did proven or measured.

Exact passes are proven, by default once per run of them: the model before the first against the model after the last.
If that fails, the journal is bisected to the pass and then to the single rewrite that did it. Only that one is taken
back: the model goes back to before its pass, the rewrite is banned, the passes run again from there, and all is proven
again.
A pass that is not exact is measured instead.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from irkit import drift as drift_module, proof as proof_module
from irkit.contract import broken_contract, run_users, signature
from irkit.diagnostics import Severity
from irkit.drift import Drift
from irkit.errors import InputError, InvariantError, ModelError, OptionError, PassError
from irkit.executor import require_runtime
from irkit.faults import fault, is_bundled
from irkit.infer import Inference
from irkit.ir import Value
from irkit.journal import Edit
from irkit.library import Library, place_of
from irkit.model import Model
from irkit.pass_base import Context, Effect, Pass
from irkit.pass_spec import parse_passes
from irkit.proof import Fault, Proof, ProofVerdict
from irkit.verifier import is_sound, verify as verify_ir
from irkit.when import not_for

Verify: TypeAlias = Literal["each", "ends", "none"]
"""What is proven: each pass, each run of exact passes, or nothing."""

VERIFY_CHOICES = get_args(Verify)

MOST_BANS = 16
"""A pass more of whose rewrites are wrong is left out as a whole."""

_OTHER_EFFECTS = '"approximate" or "retrain"'

MOST_ROUNDS = 5
"""How often the passes are gone through until they settle."""

Progress: TypeAlias = "Callable[[str, int, int], None]"
"""Called with what is being done, the number of the pass, and how many there are."""


@dataclass
class PassRun:
    """What one pass did.

    Attributes:
        name, spec, effect: the pass; `spec` with its options.
        changed: whether it edited anything but types, unless of an input.
        nodes_before, nodes_after: number of nodes, nested ones included.
        rewrites: how often each rule was applied.
        notes: what the pass tells.
        seconds: how long it took, without proof.
        failed: why it was left out, else "".
    """

    name: str
    spec: str
    effect: Effect
    changed: bool = False
    nodes_before: int = 0
    nodes_after: int = 0
    rewrites: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    failed: str = ""


@dataclass(frozen=True)
class TakenBack:
    """A rewrite that was proven wrong and undone: the first value it spoilt. `rule` "" stands for the whole pass."""

    pass_name: str
    rule: str
    root: str
    fault: Fault


@dataclass(frozen=True)
class Span:
    """The stretch of the model's journal that a pass wrote: from mark `start` to mark `end`."""

    item: Pass
    start: int
    end: int


@dataclass
class PipelineResult:
    """What a run of passes did: `passes` in order, proofs, drifts, what was taken back, and the seconds it took.

    `spans` tells for each of the passes what it wrote in the journal.
    """

    passes: list[PassRun] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    drifts: list[Drift] = field(default_factory=list)
    taken_back: list[TakenBack] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def changed(self) -> bool:
        """Whether any pass changed the model."""
        return any(run.changed for run in self.passes)


def run_passes(
    model: Model, passes: str | Pass | Iterable[str | Pass], *, verify: Verify = "ends", context: Context | None = None
) -> Model:
    """Run passes over a model, in place, and prove the exact ones.

    Args:
        model: the model; it is edited.
        passes: names with options such as `"gelu-to-relu{also=[silu]}"`, or pass objects, in order.
        verify: what is proven: `each` pass, `ends` (each run of exact passes), or `none`.
        context: collects findings and notes; see `Context`.

    Returns the same model. Raises:
        PassError: a pass fails, or one of its rewrites is proven wrong (the model is left without it).
        OptionError, LibraryError: there is no such pass or option.
        MissingDependencyError: a proof needs ONNX Runtime, and it is not installed.
    """
    result = run_pipeline(model, parse_passes(passes, Library()), context, verify=verify, strict=True)
    for taken in result.taken_back:
        place = f" at {taken.root!r}" if taken.root else ""
        raise PassError(f"pass {taken.pass_name!r}: {taken.rule}{place} was wrong and is undone: {taken.fault.reason}")
    return model


def run_pipeline(
    model: Model,
    passes: Sequence[Pass],
    context: Context | None = None,
    *,
    verify: Verify = "ends",
    strict: bool = False,
    settle: bool = False,
    accept_drift: Collection[str] = (),
    progress: Progress | None = None,
) -> PipelineResult:
    """Run passes in order; see the module's docstring. The findings are in the context.

    Args:
        model: the model; it is edited.
        passes: what to run.
        context: collects findings and notes; holds the target, bans, and what is protected.
        verify: what is proven.
        strict: raise `PassError` where a pass fails, instead of leaving it out with a finding; and
            `MissingDependencyError` where ONNX Runtime is not there, instead of proofs that are not verified.
        settle: go through the passes again, until none of them finds anything to do in what the others made.
        accept_drift: names of passes whose drift the user accepts.
        progress: is told of every step.
    """
    if verify not in VERIFY_CHOICES:
        raise OptionError(f"verify is one of {', '.join(VERIFY_CHOICES)}; found {verify!r}")
    if strict and verify != "none":
        require_runtime()
    runner = _Runner(model, passes, context or Context(), verify, strict, accept_drift, progress)
    return runner.run(MOST_ROUNDS if settle else 1)


@dataclass(frozen=True)
class _Checkpoint:
    """Where everything stood before a pass."""

    mark: int
    findings: int
    notes: dict[str, list[str]]
    refusals: dict[str, list[str]]
    moved: dict[str, Mapping[int, Sequence[int]]]


class _Runner:
    def __init__(
        self,
        model: Model,
        passes: Sequence[Pass],
        context: Context,
        verify: Verify,
        strict: bool,
        accept_drift: Collection[str],
        progress: Progress | None,
    ) -> None:
        self.model = model
        self.passes = list(passes)
        self.context = context
        self.verify = verify
        self.strict = strict
        self.accept_drift = accept_drift
        self.progress = progress or (lambda _text, _index, _count: None)
        self.inference = Inference.of(model)
        self.result = PipelineResult()
        self.checkpoints: list[_Checkpoint] = []
        self.ends: list[int] = []
        self.left_out: set[int] = set()

    def run(self, most_rounds: int) -> PipelineResult:
        """Run all passes, in rounds until a whole round found nothing to do."""
        began = time.perf_counter()
        self.inference.update()
        self.context.update_types = self.inference.update
        plan, mark = list(self.passes), self.model.journal.position
        later = [item.repeated() for item in plan]
        first, idle = 0, 0
        for index in range(most_rounds * len(plan)):
            if index >= len(plan) and idle >= len(plan) - 1:
                break  # every pass but the last to change something has seen the model as it is
            self.passes[index:] = (plan if index < len(plan) else later)[index % len(plan) :]
            first = self._step(index, first)
            idle = 0 if self.result.passes[index].changed else idle + 1
        del self.passes[len(self.result.passes) :]
        self._prove(first, len(self.passes) - 1)
        for taken in self.result.taken_back:
            self._tell_taken_back(taken)
        if self.verify != "none":
            self._verify(mark)
        starts = [checkpoint.mark for checkpoint in self.checkpoints]
        self.result.spans = [Span(*item) for item in zip(self.passes, starts, self.ends, strict=True)]
        self.result.seconds = time.perf_counter() - began
        return self.result

    def _verify(self, mark: int) -> None:
        """Check the invariants. Raises `ModelError` where the model that came in breaks one, else `InvariantError`."""
        try:
            verify_ir(self.model)
        except InvariantError as error:
            self.model.journal.undo_to(mark)
            if not is_sound(self.model):
                what = str(error).partition("\n")[0]
                raise ModelError(f"the model is not valid: {what}; repair it, or export it again") from error
            raise

    def _step(self, index: int, first: int) -> int:
        """Run a pass; prove or measure what is due. Returns the first pass that is not proven yet."""
        self._run_pass(index)
        if self.passes[index].effect is Effect.EXACT:
            if self.verify != "each":
                return first
            self._prove(index, index)
        elif not self.result.passes[index].changed:
            return first
        elif self.verify != "none":
            self._go_back(index)
            self._prove(first, index - 1)
            self._run_pass(index)
            self._measure(index)
        return index + 1

    def _run_pass(self, index: int) -> None:
        """Run one pass, for the first time or again."""
        item, context, journal = self.passes[index], self.context, self.model.journal
        self.progress(item.name, index, len(self.passes))
        notes = {name: list(texts) for name, texts in context.notes.items()}
        refusals = {name: list(texts) for name, texts in context.refusals.items()}
        mark = journal.position
        checkpoint = _Checkpoint(mark, len(context.findings), notes, refusals, dict(context.moved))
        run = PassRun(item.name, str(item), item.effect, nodes_before=_count(self.model))
        self.checkpoints[index:] = [checkpoint]
        self.result.passes[index:] = [run]
        began = time.perf_counter()
        if index in self.left_out:
            run.failed = "left out, since its rewrites were proven wrong"
        elif any(earlier.failed and earlier.spec == run.spec for earlier in self.result.passes[:index]):
            context.notes.setdefault(item.name, []).append("not asked again, since it failed")
        elif reason := not_for(item, context.target):
            context.notes.setdefault(item.name, []).append(f"left out: {reason}")
        else:
            try:
                run.failed = self._attempt(item)
            except BaseException:
                self._restore(checkpoint)  # whoever holds the model finds it as it was before this pass
                raise
            if run.failed:
                self._restore(checkpoint)
                message = f"{item.name}: {run.failed}"
                context.find("IRK031", "pass-failed", message, advice="the model goes on without it")
        run.seconds = time.perf_counter() - began
        edits = [edit for edit in journal.since(mark) if edit.kind != "type" or _is_input(edit)]
        run.changed = bool(edits)
        groups = dict.fromkeys(edit.group for edit in edits if edit.group is not None)
        run.rewrites = dict(Counter(group.rule for group in groups))
        run.nodes_after = _count(self.model)
        run.notes = context.notes.get(item.name, [])[len(notes.get(item.name, [])) :]
        self.ends[index:] = [journal.position]

    def _attempt(self, item: Pass) -> str:
        """Let the pass work. Returns why it failed, or ""; a pass that is not irkit's own raises `UserPassError`."""
        self.context.pass_name = item.name
        own = is_bundled(item)
        self.context.inference = None if own else self.inference  # tests hold irkit's own rules to the types
        try:
            if not own:
                run_users(item, self.model, self.context)
                return ""
            before = signature(self.model)
            item.run(self.model, self.context)
            self.inference.update()
            if self.verify == "each":
                verify_ir(self.model)
        except InputError:
            raise
        except Exception as error:
            if self.strict or os.environ.get("IRKIT_DEBUG"):
                if isinstance(error, PassError):
                    raise
                raise PassError(f"pass {item.name!r} failed: {error}") from error
            place = f" in {place_of(error, item.source)}" if item.source else ""
            return f"it failed ({type(error).__name__}: {error}), which is a bug of the pass{place}"
        finally:
            self.context.pass_name = ""
        broken = broken_contract(before, signature(self.model))
        if broken and self.strict:
            raise PassError(f"pass {item.name!r} broke its contract: {broken}")
        return f"it broke its contract: {broken}" if broken else ""

    def _restore(self, checkpoint: _Checkpoint) -> None:
        """Let everything be as it was before a pass."""
        self.model.journal.undo_to(checkpoint.mark)
        self.inference.update()
        del self.context.findings[checkpoint.findings :]
        self.context.notes = {name: list(texts) for name, texts in checkpoint.notes.items()}
        self.context.refusals = {name: list(texts) for name, texts in checkpoint.refusals.items()}
        self.context.moved = dict(checkpoint.moved)

    def _go_back(self, index: int) -> None:
        self._restore(self.checkpoints[index])

    def _start(self, index: int) -> int:
        return self.checkpoints[index].mark

    def _prove(self, first: int, last: int) -> None:
        """Prove the passes from `first` to `last`, taking back what is wrong, until what is left is proven."""
        if self.verify == "none" or not self._changed(first, last):
            return
        if first < last and self._reshapes(first, last):
            index = next((i for i in range(first, last + 1) if self._reshapes(i, i)), last)
            self._prove(first, index - 1)
            self.result.proofs.append(self._trial(index, index, self.ends[index]))
            self._prove(index + 1, last)
            return
        while self._changed(first, last):
            proof = self._trial(first, last, self.ends[last])
            if proof.verdict is not ProofVerdict.FAILED:
                self.result.proofs.append(proof)
                return
            self._take_back(first, last, proof)

    def _changed(self, first: int, last: int) -> bool:
        return any(run.changed for run in self.result.passes[first : last + 1])

    def _reshapes(self, first: int, last: int) -> bool:
        """Whether these passes changed the numbers in the shape of an input, so that no input fits before and after."""
        return bool(proof_module.reshaped_inputs(self.model, self._start(first), self.ends[last]))

    def _trial(self, first: int, last: int, end: int) -> Proof:
        self.progress("proving " + self.passes[last].name, last, len(self.passes))
        runs = self.result.passes[first : last + 1]
        names = [run.name for run in runs if run.changed and run.effect is Effect.EXACT]
        return self._proof(first, end, names)

    def _take_back(self, first: int, last: int, proof: Proof) -> None:
        """Find the rewrite that made the proof fail, ban it, and run the passes from its own on again."""
        guilty = _first_bad(range(first, last + 1), lambda index: self._fails(first, self.ends[index]))
        ends = list(self._group_ends(guilty))
        end = _first_bad(ends, lambda mark: self._fails(guilty, mark)) if len(ends) > 1 else self.ends[guilty]
        fault = proof.faults[0]
        local = self._proof(guilty, end)
        if local.faults:
            fault = local.faults[0]
        group = self.model.journal.since(self._start(guilty))[end - self._start(guilty) - 1].group
        name = self.passes[guilty].name
        bans = sum(taken.pass_name == name for taken in self.result.taken_back)
        key = (group.rule, group.root) if group is not None else ("", "")
        whole = not local.faults or group is None or key in self.context.banned or bans >= MOST_BANS
        if whole:
            self.left_out.add(guilty)
        else:
            self.context.banned.add(key)
        rule, root = ("", "") if whole else key
        self.result.taken_back.append(TakenBack(name, rule, root, fault))
        self._go_back(guilty)
        self._run_again(guilty, last)

    def _fails(self, first: int, end: int) -> bool:
        return self._proof(first, end).verdict is ProofVerdict.FAILED

    def _proof(self, first: int, end: int, names: Sequence[str] = ()) -> Proof:
        return proof_module.prove(self.model, self._start(first), end, names, self.context.moved)

    def _group_ends(self, index: int) -> Iterator[int]:
        """Marks at which a rewrite of the pass is whole."""
        start = self._start(index)
        edits = self.model.journal.since(start)[: self.ends[index] - start]
        for offset, edit in enumerate(edits):
            following = edits[offset + 1] if offset + 1 < len(edits) else None
            if following is None or following.group is not edit.group:
                yield start + offset + 1

    def _run_again(self, index: int, last: int) -> None:
        """Run the exact passes again; the others in the stretch had nothing to do and are not asked again."""
        kept = {i for i in range(index, last + 1) if self.passes[i].effect is not Effect.EXACT}
        asked = self.left_out | kept
        hidden, self.left_out = self.left_out, asked
        for i in range(index, last + 1):
            self._run_pass(i)
            if i in kept:
                self.result.passes[i].failed = ""
        self.left_out = hidden

    def _tell_taken_back(self, taken: TakenBack) -> None:
        what = f"the rewrite {taken.rule!r}" if taken.rule else "the whole pass"
        value = f" of value {taken.fault.value!r}" if taken.fault.value else ""
        node = self.model.graph.node(taken.root) if taken.root in {node.name for node in self.model.graph} else None
        item = next(item for item in self.passes if item.name == taken.pass_name)
        own = not is_bundled(item)
        message = f"{what} was proven wrong and is taken back; {taken.fault.reason}{value}"
        message = fault(item.name, item.place(taken.rule), message) if own else f"{item.name}: {message}"
        advice = f"mend it, or declare what it does: effect={_OTHER_EFFECTS}" if own else "please report the pass"
        severity = Severity.ERROR if own else Severity.WARNING
        self.context.find(
            "IRK032", "wrong-rewrite", message, node, severity, f"the result is right without it; {advice}"
        )

    def _measure(self, index: int) -> None:
        item = self.passes[index]
        if not self.result.passes[index].changed:
            return
        self.progress("measuring " + item.name, index, len(self.passes))
        accepted = item.name in self.accept_drift
        samples = self.context.samples(self.model) if self.context.samples is not None else None
        start, end = self._start(index), self.ends[index]
        self.result.drifts.append(
            drift_module.measure(
                self.model, start, end, item.name, item.effect.value, accepted=accepted, samples=samples
            )
        )


def _first_bad(marks: Sequence[int], is_bad: Callable[[int], bool]) -> int:
    """The first mark from which on things are bad, if the last one is and they stay so."""
    low, high = 0, len(marks) - 1
    while low < high:
        middle = (low + high) // 2
        if is_bad(marks[middle]):
            high = middle
        else:
            low = middle + 1
    return marks[low]


def _is_input(edit: Edit) -> bool:
    """Whether an edit is of an input of a graph, as where a dimension is frozen."""
    return isinstance(edit.target, Value) and edit.target.is_graph_input


def _count(model: Model) -> int:
    return sum(1 for _ in model.walk())
