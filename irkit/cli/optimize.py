"""Rewrite a model until the compiler can take it, prove that its function was kept, and write a folder.

The folder holds model.onnx, report.md, report.json and manifest.json. Exact passes are proven by running the model
before and after; a pass that changes the function (gelu-to-relu) is measured, and has to be accepted. Exits with 1
where an error is left.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.cli import arguments, console
from irkit.diagnostics import Severity
from irkit.errors import OptionError

if TYPE_CHECKING:
    from irkit.compiler import OptimizeResult
    from irkit.pass_base import Pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    arguments.add_model(parser)
    arguments.add_target(parser)
    out = parser.add_argument_group("what is written")
    out.add_argument("-o", "--output", metavar="DIR", type=Path, help="the folder to make (default: ./MODEL-TARGET)")
    out.add_argument("--force", action="store_true", help="replace a folder that irkit wrote before")
    arguments.add_format(out)
    _add_shape_flags(parser.add_argument_group("shapes"))
    _add_pass_flags(parser.add_argument_group("passes"))
    _add_proof_flags(parser.add_argument_group("proof"))


def _add_shape_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--bind", action="append", default=[], metavar="N=1", help="a number for a named dimension")
    group.add_argument("--shape", action="append", default=[], metavar="X=1,3,224,224", help="the shape of an input")
    group.add_argument("--cut", action="append", default=[], metavar="none", help="only `none` so far: the whole model")


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


def run(options: argparse.Namespace) -> int:
    """Optimize, write the folder, print the report, tell the next step."""
    path = arguments.checked_model(options.model)
    for cut in options.cut:
        if cut != "none":
            raise OptionError(f"--cut takes only `none` in this version; found `{cut}`")
    if options.only is not None and not arguments.names_of([options.only]):
        raise OptionError("--only names no pass; see irkit passes")
    bind, shapes = arguments.bindings_of(options.bind), arguments.shapes_of(options.shape)
    from irkit import bundle, compiler, render
    from irkit.target import load_target

    target = load_target(options.target)
    folder = options.output or bundle.default_folder(path, str(target))
    bundle.check_folder(folder, path, force=options.force)
    with console.progress_bar() as progress:
        result = compiler.optimize(
            path,
            target,
            exact=options.exact,
            bind=bind,
            shapes=shapes,
            only=options.only or (),
            skip=arguments.names_of(options.skip),
            options=pass_options(options),
            passes=arguments.passes_of(options.passes),
            verify=options.verify,
            accept_drift=arguments.names_of(options.accept_drift),
            progress=progress,
        )
        with result.model:
            title = arguments.target_title(target)
            bundle.write_bundle(result, folder, target=title, force=options.force)
    following = next_command(result, options, folder)
    if options.format == "json":
        console.result_json({**render.optimize_json(result), "output": str(folder), "next": following})
    else:
        console.result(render.optimize_text(result, title, console.style()))
        console.result(f"written: {folder}/")
        console.result(f"next: {following}")
    return int(not result.ok)


def pass_options(options: argparse.Namespace) -> list[str | Pass]:
    """The passes that get options."""
    from irkit.library import get_pass

    short = [] if options.multiple is None else [get_pass("align-channels", multiple=options.multiple)]
    return [*options.pass_options, *short]


def next_command(result: OptimizeResult, options: argparse.Namespace, folder: Path) -> str:
    """What to type next: mend what is left, or hand the model to the compiler."""
    from irkit.cli.lint import next_command as lint_next

    errors = [finding for finding in result.report.findings if finding.severity is Severity.ERROR]
    model = str(folder / "model.onnx")
    if not errors:
        return arguments.command_line("hailo", "parser", "onnx", model, "--hw-arch", result.target.name) + (
            "   (where the Dataflow Compiler is installed)"
        )
    again = lint_next(result.report, options)
    if "--bind" in again or "--shape" in again:
        return again
    if all(finding.rule == "drift-not-accepted" for finding in errors):
        return f"{again} --exact   (keeps the function; or accept the change: --accept-drift)"
    node = next((finding.node for finding in errors if finding.node), "")
    return arguments.command_line("irkit", "show", model, *(["--node", node] if node else []))
