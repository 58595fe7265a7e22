"""Find the first bad pass, the fewest of its rewrites that show it, and the smallest model.

A pass is bad that is declared exact and changes what the model computes, that fails, or leaves a graph that is invalid
or cannot be run. With --check, the first one is sought after which the command does not exit with 0 (it is given the
path of a model, in the place of {} or as its last word). The folder that is written holds the model before the pass,
reduced, and after it, the inputs that show the difference, and culprit.json. Exits with 1 where a pass is bad.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.cli import arguments, console, reduce

if TYPE_CHECKING:
    from irkit.bisection import Bisection, Culprit

_REWRITES_SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    arguments.add_model(parser)
    arguments.add_target(parser)
    arguments.add_rules(parser)
    parser.add_argument("--pipeline", metavar="PASS,...", help="the passes to judge (default: the target's)")
    arguments.add_passes(parser, "passes of your own, judged as well")
    reduce.add_check(parser.add_argument_group("what is bad"), "a command that does not exit with 0 on a bad model")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help="what to write (default: ./MODEL-culprit)")
    parser.add_argument("--force", action="store_true", help="replace a folder that this command wrote before")
    reduce.add_bounds(parser.add_argument_group("bounds of reducing the model"))
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Search, write, tell."""
    path = arguments.checked_model(options.model)
    reduce.check_pipeline(options.pipeline)
    folder = options.output or Path(f"{path.stem}-culprit")
    from irkit import bisection
    from irkit.onnx.reader import load
    from irkit.outcome import command_check

    bisection.check_folder(folder, force=options.force)
    check = None
    if options.check is not None:
        check = command_check(options.check, timeout=options.check_timeout, text=options.fail_text)
    with load(path) as model, reduce.interruptible(), console.progress_bar() as progress:
        found = bisection.bisect(
            model,
            arguments.target_of(options),
            pipeline=options.pipeline or (),
            passes=arguments.passes_of(options.passes),
            check=check,
            max_runs=options.max_runs,
            timeout=options.timeout,
            progress=progress,
        )
        if found.culprit is not None:
            bisection.write_culprit(found.culprit, folder, force=options.force)
    _tell(options, found, folder)
    return int(found.culprit is not None)


def _tell(options: argparse.Namespace, found: Bisection, folder: Path) -> None:
    verdict, following = _verdict(found), _next(options, found, folder)
    if options.format == "json":
        culprit = None if found.culprit is None else {**found.culprit.to_json(), "output": str(folder)}
        judged = {"judged": list(found.passes), "unproven": dict(found.unproven)}
        console.result_json({"culprit": culprit, **judged, "verdict": verdict, "next": following})
        return
    for line in _lines(found):
        console.result(line)
    console.result(verdict)
    if found.culprit is not None:
        console.result(f"written: {folder}/")
    console.result(f"next: {following}")


def _lines(found: Bisection) -> Iterator[str]:
    if found.passes:
        yield f"right: {', '.join(dict.fromkeys(found.passes))}"
    for name, reason in found.unproven:
        yield f"not judged: {name}: {reason}"
    if found.culprit is not None:
        yield from _culprit_lines(found.culprit)


def _culprit_lines(culprit: Culprit) -> Iterator[str]:
    yield f"bad: {culprit.item} ({culprit.item.effect.value}), {culprit.place}"
    yield f"  {culprit.problem.kind}: {culprit.problem.text}"
    if culprit.rewrites is None:
        yield "  its rewrites cannot be told apart, or none of them shows it alone"
    else:
        yield f"  {len(culprit.rewrites)} of {culprit.of} rewrites show it:"
        yield from (f"    {rule} at {node}" for rule, node in culprit.rewrites[:_REWRITES_SHOWN])
    reduction = culprit.reduction
    stopped = f" ({reduction.stopped})" if reduction.stopped else ""
    yield f"  smallest model: {reduction.nodes_after} of {reduction.nodes_before} nodes{stopped}: {culprit.small.text}"
    if culprit.feeds:
        yield f"  inputs: {', '.join(culprit.feeds)}, seed {culprit.seed}"


def _verdict(found: Bisection) -> str:
    if found.culprit is not None:
        return f"{found.culprit.item.name} is the first bad pass."
    if found.unproven:
        return f"No pass is known to be bad; {len(found.unproven)} could not be judged."
    return "No pass is bad."


def _next(options: argparse.Namespace, found: Bisection, folder: Path) -> str:
    if found.culprit is None:
        return arguments.command_line("irkit", "optimize", str(options.model))
    own = [word for path in options.passes for word in ("--passes", str(path))]
    words = ["irkit", "optimize", str(folder / "before.onnx"), "--only", str(found.culprit.item), *own]
    return arguments.command_line(*words)
