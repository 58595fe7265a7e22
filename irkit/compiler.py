"""The whole flow: `lint` says what the compiler will refuse, `optimize` rewrites a model until it can take it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.config import Settings
from irkit.diagnostics import Finding, Report, Severity
from irkit.errors import OptionError
from irkit.library import Library
from irkit.linting import ModelOrPath, check_outputs, lint_model, open_target
from irkit.model import Model
from irkit.onnx.reader import load
from irkit.pass_base import Context, Effect, Pass
from irkit.target import Target

if TYPE_CHECKING:  # what a lint does not need is imported where it is used
    from irkit.cutting import Parts
    from irkit.drift import Drift
    from irkit.hailo.deployment import Deployment
    from irkit.history import History
    from irkit.pipeline import PipelineResult, Progress, Verify
    from irkit.tracing import Step

BEFORE_A_CUT = ("name-nodes", "inline-functions", "static-shapes", "fold-constants")
"""What a model goes through before it is cut: names and shapes."""

FIRST_PASS = "name-nodes"
"""Runs before the target's passes, so that everything that follows can speak of nodes by name."""

USER_PASSES_BEFORE = "lower-opset"
"""A user's passes run before this one, so that what they write is lowered too; at the end where it does not run."""


@dataclass
class OptimizeResult:
    """What `optimize` did.

    Attributes:
        model: the rewritten model. target: what it was rewritten for.
        source: the file it was loaded from; None where a model was given.
        options: what was asked for, as plain data.
        run: what each pass did, the proofs, the drifts.
        report: what remains to be said: findings of the passes, of the proof, and of lint on the result.
        context: what the passes ran in.
        trace: every rewrite, where it was asked for.
        gaps: parts of the bundle that could not be written, with the reason.
        parts: what is before and after `model`, where the whole was cut.
        settings: of the project.
        deployment: what the files for compiler and chip say, once they are written.
    """

    model: Model
    target: Target = field(repr=False)
    source: Path | None
    options: Mapping[str, Any] = field(repr=False)
    run: PipelineResult = field(repr=False)
    report: Report = field(repr=False)
    context: Context = field(default_factory=Context, repr=False)
    trace: Sequence[Step] | None = field(default=None, repr=False)
    gaps: list[str] = field(default_factory=list, repr=False)
    parts: Parts | None = field(default=None, repr=False)
    settings: Settings = field(default_factory=Settings, repr=False)
    deployment: Deployment | None = field(default=None, repr=False)

    @property
    def refusals(self) -> Mapping[str, Sequence[str]]:
        """Why rules left nodes alone, by node name."""
        return self.context.refusals

    def why(self, node: str) -> History:
        """What each pass did to a node, or why it left it alone; see `irkit.history.node_history`."""
        from irkit.history import node_history

        return node_history(self.model, self.run, self.context, node)

    def dump_after(self, passes: Sequence[str], folder: str | os.PathLike[str]) -> list[Path]:
        """Write the model as it was after these passes (`["all"]`: after each) to a folder; returns the ONNX files.

        Raises `OptionError` for a pass that did not run, `OutputError` where a file cannot be written.
        """
        from irkit import tracing

        wanted = tracing.check_dumps(passes, [span.item.name for span in self.run.spans])
        return tracing.dump_after(self.model, self.run.spans, wanted, folder)

    @property
    def drift(self) -> str:
        """`none`, `accepted` or `unaccepted`, over all passes."""
        states = {drift.state for drift in self.run.drifts}
        return next((state for state in ("unaccepted", "accepted") if state in states), "none")

    @property
    def ok(self) -> bool:
        """Whether nothing is left that is an error."""
        return not self.report.has_errors


def optimize(
    model: ModelOrPath,
    target: str | Target = "hailo8",
    *,
    exact: bool = False,
    bind: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    only: str | Sequence[str | Pass] = (),
    skip: Collection[str] = (),
    options: Sequence[str | Pass] = (),
    passes: Sequence[str | os.PathLike[str]] = (),
    rules: Sequence[str | os.PathLike[str]] = (),
    cut: Sequence[str] = (),
    start: Sequence[str] = (),
    verify: Verify = "ends",
    samples: Callable[[Model], Mapping[str, Any] | None] | None = None,
    accept_drift: Collection[str] = (),
    trace: bool = False,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> OptimizeResult:
    """Rewrite a model until the target's compiler can take it, and prove that its function was kept.

    Args:
        model: the path of a model, or a model, which is then edited in place.
        target: such as `hailo8`, `hailo8@3.33`, or the path of a table of rules.
        exact: leave out every pass that is not exact.
        bind: numbers for named dimensions, such as `{"N": 1}`.
        shapes: shapes of inputs, by name.
        only: run these passes instead of the target's, in this order; options as in `"gelu-to-relu{also=[silu]}"`.
        skip: names of passes to leave out.
        options: passes of the target's with other options, as in `"align-channels{multiple=16}"`.
        passes: files or folders of your own passes; they run before `lower-opset`.
        rules: files of facts of your own, laid over those of a target that is given by name.
        cut: nodes that the chip's part ends with; what comes after them is left to the host.
        start: nodes that it begins with.
        verify: prove `each` pass, each run of exact passes (`ends`), or nothing (`none`).
        samples: gives inputs of yours for the model as it stands, arrays (N, ...) by name: drift is measured on them.
        accept_drift: names of passes whose drift is accepted.
        trace: keep every rewrite, with its nodes and values, in the result and in report.json.
        settings: a project's, from `find_settings`: findings of lint that they know are set aside.
        progress: is told of every step.

    Raises a subclass of `InputError` for what the caller can mend. Where ONNX Runtime is not installed, the proofs say
    that they are not verified.
    """
    from irkit.pipeline import run_pipeline

    chip = open_target(target, rules)
    skip, accept_drift = ([names] if isinstance(names, str) else names for names in (skip, accept_drift))
    library = Library()
    for path in [passes] if isinstance(passes, (str, os.PathLike)) else passes:
        library.add(path)
    with _kept_open(model) as (opened, source):
        check_outputs(opened)
        parts = None
        if cut or start:
            before = plan_passes(chip, library, bind=bind, shapes=shapes, only=BEFORE_A_CUT)
            parts = _cut(opened, before, chip, cut, start, verify)
            opened, bind, shapes = parts.device, None, None
            samples = parts.samples_behind(samples)
        plan = plan_passes(chip, library, exact=exact, bind=bind, shapes=shapes, only=only, skip=skip, options=options)
        _check_accepted(accept_drift, plan, library)
        context = Context(target=chip, samples=samples)
        run = run_pipeline(
            opened, plan, context, verify=verify, settle=not only, accept_drift=accept_drift, progress=progress
        )
        report = lint_model(opened, chip, str(source or opened.graph.name), _of_a_result(settings or Settings()))
        told = set(map(_subject, context.findings))
        again = [finding for finding in report.findings if _subject(finding) not in told]
        report.findings[:] = [*context.findings, *map(drift_finding, _unaccepted(run)), *again]
        asked = {
            "exact": exact,
            "bind": dict(bind or {}),
            "shapes": {name: list(shape) for name, shape in (shapes or {}).items()},
            "passes": [str(item) for item in plan],
            "verify": verify,
            "accept_drift": sorted(accept_drift),
        }
        if parts is not None:
            asked.update(cut=list(parts.ends), start=list(parts.starts))
        traced = _traced(opened, run) if trace else None
        held = settings or Settings()
        return OptimizeResult(opened, chip, source, asked, run, report, context, traced, parts=parts, settings=held)


def _cut(
    whole: Model, before: Sequence[Pass], chip: Target, ends: Sequence[str], starts: Sequence[str], verify: Verify
) -> Parts:
    """Prepare a model, so that names and shapes are known, and cut it."""
    from irkit.cutting import cut_model, cut_values
    from irkit.pipeline import run_pipeline

    at = cut_values(whole, ends, starts)
    run_pipeline(whole, before, Context(target=chip, protected=at), verify=verify)
    return cut_model(whole, at, ends, starts)


def plan_passes(
    target: Target,
    library: Library,
    *,
    exact: bool = False,
    bind: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    only: str | Sequence[str | Pass] = (),
    skip: Collection[str] = (),
    options: Sequence[str | Pass] = (),
) -> list[Pass]:
    """The passes that `optimize` runs, in order. Raises `OptionError` where the wishes do not fit together."""
    from irkit.pass_spec import parse_passes

    plan = parse_passes(only, library) if only else _default_plan(target, library)
    for name in skip:
        library.find(name)
    if only and exact:
        for item in plan:
            if item.effect is not Effect.EXACT:
                raise OptionError(f"pass `{item.name}` is not exact ({item.effect.value}): drop it, or drop --exact")
    plan = [item for item in plan if item.name not in skip and (item.effect is Effect.EXACT or not exact)]
    return _with_shapes(_with_options(plan, parse_passes(options, library)), bind, shapes)


def _default_plan(target: Target, library: Library) -> list[Pass]:
    """The target's own passes, those of effect retrain only where it says so, and the user's."""
    names = [FIRST_PASS, *(name for name in target.pipeline.passes if name != FIRST_PASS)]
    classes = [library.find(name) for name in names]
    plan = [cls() for cls in classes if cls.effect is not Effect.RETRAIN or cls.name in target.pipeline.retrain]
    own = [cls.configured({}) for cls in library.added if cls.name not in names]
    places = [index for index, item in enumerate(plan) if item.name == USER_PASSES_BEFORE]
    place = places[0] if places else len(plan)
    return [*plan[:place], *own, *plan[place:]]


def _with_options(plan: list[Pass], wishes: Sequence[Pass]) -> list[Pass]:
    """Put passes with options in the place of those of the same name. Raises `OptionError` where there is none."""
    by_name = {item.name: item for item in wishes}
    for name in by_name.keys() - {item.name for item in plan}:
        raise OptionError(f"options are given for the pass `{name}`, which does not run")
    return [by_name.get(item.name, item) for item in plan]


def _with_shapes(
    plan: list[Pass], bind: Mapping[str, int] | None, shapes: Mapping[str, Sequence[int]] | None
) -> list[Pass]:
    """Give what the user said of shapes to `static-shapes`. Raises `OptionError` where that does not run."""
    if not bind and not shapes:
        return plan
    if "static-shapes" not in {item.name for item in plan}:
        raise OptionError("--bind and --shape are for the pass `static-shapes`, which does not run")
    for name, sizes in {**{name: [size] for name, size in (bind or {}).items()}, **(shapes or {})}.items():
        if not all(hasattr(size, "__index__") and size > 0 for size in sizes):
            raise OptionError(f"sizes of dimensions are whole numbers above 0; found {sizes!r} for `{name}`")
    wishes = {"bind": dict(bind or {}), "shapes": {name: tuple(shape) for name, shape in (shapes or {}).items()}}
    return [type(item).configured({**vars(item), **wishes}) if item.name == "static-shapes" else item for item in plan]


def _traced(model: Model, run: PipelineResult) -> list[Step]:
    from irkit.tracing import trace_passes

    return trace_passes(model, run.spans)


def _check_accepted(names: Collection[str], plan: Sequence[Pass], library: Library) -> None:
    for name in names:
        effect = library.find(name).effect
        if effect is Effect.EXACT:
            raise OptionError(f"--accept-drift {name}: that pass is exact, so it has no drift")
        if name not in {item.name for item in plan}:
            raise OptionError(f"--accept-drift {name}: that pass does not run")


def _subject(finding: Finding) -> tuple[str, str, str]:
    """What a finding is about: what a pass told of it, with its reasons, lint need not tell again."""
    return finding.code, finding.node, "".join(finding.message.split("`")[1:2])


def _unaccepted(run: PipelineResult) -> Iterator[Drift]:
    return (drift for drift in run.drifts if drift.state == "unaccepted")


def drift_finding(drift: Drift) -> Finding:
    """The error finding of a drift that is beyond the budget and not accepted."""
    from irkit.drift import COSINE_BUDGET, TOP1_BUDGET

    worst = drift.worst
    if worst is None:
        found = f"its drift could not be measured: {drift.reason or 'no output holds floats'}"
    else:
        top1 = "" if worst.top1 is None else f", top-1 agreement {worst.top1:.1%}"
        kind = "random inputs, which say nothing of your accuracy" if drift.is_random else "of your inputs"
        found = f"cosine {worst.cosine:.4f}{top1} at {worst.name!r} on {drift.inputs} {kind}"
    return Finding(
        "IRK030",
        "drift-not-accepted",
        Severity.ERROR,
        f"{drift.pass_name} changes what the model computes ({drift.effect}); on real inputs, cosine must be at least "
        f"{COSINE_BUDGET} and top-1 agreement {TOP1_BUDGET:.0%}; found {found}",
        advice=f"--exact keeps the function; or fine-tune with the new operators and export again; "
        f"or accept it: --accept-drift {drift.pass_name}",
    )


def _of_a_result(settings: Settings) -> Settings:
    """The settings for what comes out: that a suppression matches nothing any more is no fault of it."""
    return settings.changed(ignore=(*settings.ignore, "void-suppression"))


@contextmanager
def _kept_open(model: ModelOrPath) -> Iterator[tuple[Model, Path | None]]:
    """The model, whose file stays open for the result to read from, unless something goes wrong inside."""
    if isinstance(model, Model):
        yield model, None
        return
    opened = load(model)
    try:
        yield opened, Path(model)
    except BaseException:
        opened.close()
        raise
