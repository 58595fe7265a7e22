"""Rewrite a model until the compiler can take it, prove that its function was kept, and write a folder.

The folder holds model.onnx, report.md, report.json and manifest.json. Exact passes are proven by running the model
before and after; a pass that changes the function (gelu-to-relu) is measured, and has to be accepted. With --why,
only what the passes did to a node is told. Exits with 1 where an error is left.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.cli import arguments, console, deploying
from irkit.diagnostics import Severity
from irkit.errors import OptionError, OutputError

if TYPE_CHECKING:
    from irkit.compiler import OptimizeResult
    from irkit.history import History
    from irkit.pass_base import Pass
    from irkit.pipeline import Progress
    from irkit.target import Target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    arguments.add_model(parser)
    arguments.add_target(parser)
    arguments.add_rules(parser)
    out = parser.add_argument_group("what is written")
    out.add_argument("-o", "--output", metavar="DIR", type=Path, help="the folder to make (default: ./MODEL-TARGET)")
    out.add_argument("--force", action="store_true", help="replace a folder that irkit wrote before")
    arguments.add_format(out)
    _add_shape_flags(parser.add_argument_group("shapes"))
    _add_pass_flags(parser.add_argument_group("passes"))
    _add_proof_flags(parser.add_argument_group("proof"))
    deploying.add_flags(parser)
    _add_seeing_flags(parser.add_argument_group("seeing what happens"))


def _add_shape_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--bind", action="append", default=[], metavar="N=1", help="a number for a named dimension")
    group.add_argument("--shape", action="append", default=[], metavar="X=1,3,224,224", help="the shape of an input")
    cut = "nodes that the chip's part ends with; the rest goes to host.onnx (`none`: the whole model)"
    group.add_argument("--cut", action="append", default=[], metavar="NODE,...", help=cut)
    start = "nodes that it begins with; what is before goes to pre.onnx"
    group.add_argument("--start", action="append", default=[], metavar="NODE,...", help=start)


def _add_pass_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--exact", action="store_true", help="leave out every pass that is not exact")
    group.add_argument("--only", metavar="PASS,...", help="run these, as in `gelu-to-relu{also=[silu]}`")
    group.add_argument("--skip", action="append", default=[], metavar="PASS,...", help="leave these out")
    other = "options of a pass that runs, as in `align-channels{multiple=16}`"
    group.add_argument("--pass", dest="pass_options", action="append", default=[], metavar="PASS{...}", help=other)
    short = "pad channels to multiples of N: short for --pass align-channels{multiple=N}"
    group.add_argument("--multiple", type=int, metavar="N", help=short)
    arguments.add_passes(group, "passes of your own, run as well")


def _add_proof_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--verify",
        choices=("each", "ends", "none"),
        default="ends",
        help="prove each pass, each run of exact passes, or nothing (default: ends)",
    )
    group.add_argument("--no-verify", dest="verify", action="store_const", const="none", help="short for --verify none")
    accept = "accept what this pass changes of the function"
    group.add_argument("--accept-drift", action="append", default=[], metavar="PASS", help=accept)


def _add_seeing_flags(group: argparse._ArgumentGroup) -> None:
    why = "tell what each pass did to a node, or which rules came closest; writes a folder only with -o"
    group.add_argument("--why", action="append", default=[], metavar="NODE", help=why)
    group.add_argument("--trace", action="store_true", help="tell every rewrite, here and in report.json")
    dump = "write the model as it is after these passes (`all`: after each) to ./OUT-passes"
    group.add_argument("--dump-after", action="append", default=[], metavar="PASS,...", help=dump)
    group.add_argument("--dump-dir", type=Path, metavar="DIR", help="another folder for --dump-after")


def run(options: argparse.Namespace) -> int:
    """Optimize, write the folder, print the report, tell the next step."""
    path = arguments.checked_model(options.model)
    if "auto" in arguments.names_of(options.cut):
        raise OptionError("--cut auto: finding the cut is not there yet; irkit lint names the nodes to cut at")
    if options.only is not None and not arguments.names_of([options.only]):
        raise OptionError("--only names no pass; see irkit passes")
    bind, shapes = arguments.bindings_of(options.bind), arguments.shapes_of(options.shape)
    from irkit import bundle

    target = arguments.target_of(options)
    folder = options.output or bundle.default_folder(path, str(target))
    written = folder if options.output is not None or not options.why else None
    if written is not None:
        bundle.check_folder(written, path, force=options.force)
    equipment = deploying.equipment_of(options)
    dumps = arguments.names_of(options.dump_after)
    dump_folder = _dump_folder(options, folder) if dumps else None
    with console.progress_bar() as progress:
        result = _optimized(options, path, target, bind, shapes, progress)
        with result.model:
            histories = [result.why(node) for node in options.why]
            if dump_folder is not None:
                result.dump_after(dumps, dump_folder)
            if written is not None:
                title = arguments.target_title(target)
                bundle.write_bundle(
                    result, written, target=title, force=options.force, equipment=equipment, progress=progress
                )
    _tell(options, result, histories, [place for place in (written, dump_folder) if place is not None], folder)
    return int(not result.ok)


def _optimized(
    options: argparse.Namespace,
    path: Path,
    target: Target,
    bind: Mapping[str, int],
    shapes: Mapping[str, Sequence[int]],
    progress: Progress | None,
) -> OptimizeResult:
    from irkit import compiler

    samples = deploying.samples_of(options)
    with console.stdout_for_results():
        return compiler.optimize(
            path,
            target,
            exact=options.exact,
            bind=bind,
            shapes=shapes,
            only=options.only or (),
            skip=arguments.names_of(options.skip),
            options=pass_options(options),
            passes=arguments.passes_of(options.passes),
            cut=[name for name in arguments.names_of(options.cut) if name != "none"],
            start=arguments.names_of(options.start),
            verify=options.verify,
            samples=samples,
            accept_drift=arguments.names_of(options.accept_drift),
            settings=arguments.project_settings(),
            trace=options.trace,
            progress=progress,
        )


def _dump_folder(options: argparse.Namespace, folder: Path) -> Path:
    """Where dumps go. Raises `OutputError` where that would mix them with other files."""
    place: Path = options.dump_dir or folder.with_name(f"{folder.name}-passes")
    if place.exists() and (not place.is_dir() or any(place.iterdir())) and not options.force:
        raise OutputError(f"{place} exists; --force writes into it, --dump-dir DIR elsewhere")
    return place


def _tell(
    options: argparse.Namespace,
    result: OptimizeResult,
    histories: Sequence[History],
    written: Sequence[Path],
    folder: Path,
) -> None:
    """Print what was asked for, the report, and the next step."""
    from irkit import render

    is_query = bool(histories) and folder not in written
    again = arguments.command_line("irkit", "optimize", str(options.model), *_given(options), "--trace")
    following = again if is_query else next_command(result, options, folder)
    if options.format == "json":
        plain = {**render.optimize_json(result), "output": str(folder) if folder in written else None}
        asked = {"why": [item.to_json() for item in histories]} if histories else {}
        console.result_json({**plain, **asked, "next": following})
        return
    for history in histories:
        console.result("\n".join(history.lines()) + "\n")
    if result.trace is not None:
        from irkit.tracing import trace_text

        console.result(trace_text(result.trace) + "\n")
    title = arguments.target_title(result.target)
    verdict = render.optimize_verdict(result, errors_are_told=not is_query)
    console.result(verdict if is_query else render.optimize_text(result, title, console.style()))
    for place in written:
        console.result(f"written: {place}/")
    console.result(f"next: {following}")


def pass_options(options: argparse.Namespace) -> list[str | Pass]:
    """The passes that get options."""
    from irkit.library import get_pass

    short = [] if options.multiple is None else [get_pass("align-channels", multiple=options.multiple)]
    return [*options.pass_options, *short]


_SHAPING = {
    "target": "--target", "rules": "--rules", "passes": "--passes", "bind": "--bind", "shape": "--shape",
    "start": "--start", "cut": "--cut", "only": "--only", "skip": "--skip", "pass_options": "--pass",
    "multiple": "--multiple", "accept_drift": "--accept-drift",
}  # fmt: skip
"""Flags that decide what the model becomes, by the name of the option."""


def _given(options: argparse.Namespace) -> list[str]:
    """The flags that decided what the model became, to be given again."""
    words = ["--exact"] if options.exact else []
    for name, flag in _SHAPING.items():
        value = getattr(options, name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        words += [word for item in values for word in (flag, str(item))]
    return words


def next_command(result: OptimizeResult, options: argparse.Namespace, folder: Path) -> str:
    """What to type next: mend what is left, or hand the model to the compiler."""
    from irkit.cli.lint import next_command as lint_next

    errors = [finding for finding in result.report.findings if finding.severity is Severity.ERROR]
    model = str(folder / "model.onnx")
    again, over = ["irkit", "optimize", str(options.model), *_given(options)], ["-o", str(folder), "--force"]
    if not errors:
        if options.calib is None and options.random_calib is None and not result.gaps:
            return arguments.command_line(*again, "--calib", "PATH", *over)
        return arguments.command_line("irkit", "compile", str(folder)) + "   # where the Dataflow Compiler is installed"
    sized = lint_next(result.report, options)
    if "--bind" in sized or "--shape" in sized:
        return sized
    if all(finding.rule == "drift-not-accepted" for finding in errors):
        exact = arguments.command_line(*again, "--exact", *over)
        return f"{exact}   # keeps the function; or accept the change: --accept-drift"
    if any(finding.rule in ("wrong-rewrite", "pass-failed") for finding in errors):
        own = [word for path in options.passes for word in ("--passes", str(path))]
        only = ["--pipeline", options.only] if options.only else []
        return arguments.command_line("irkit", "bisect", str(options.model), *own, *only)
    node = next((finding.node for finding in errors if finding.node), "")
    return arguments.command_line("irkit", "show", model, *(["--node", node] if node else []))
