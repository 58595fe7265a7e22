"""Build the HEF of a bundle, where Hailo's compiler is installed.

Runs the bundle's compile.py: in this Python, in another one (--python, since the compiler pins old packages), or in a
container (--docker). Its log is kept in BUNDLE/compiled/dfc.log, and what it says is told of the nodes of your model.
The HEF is checked and its outputs are bound to the model's by name. Exits with 1 where the compiler refuses.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.cli import arguments, console
from irkit.cli.hef import size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from irkit.runtime.driver import CompileResult

_DEFAULT_SIZE = "32MB"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the folder that irkit optimize made")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--python", default="", metavar="PATH", help="the Python that the compiler is installed in")
    where.add_argument("--docker", default="", metavar="IMAGE", help="an image that has the compiler")
    parser.add_argument(
        "--to", choices=("parse", "optimize", "compile"), default="compile", help="the last stage to run"
    )
    parser.add_argument("--fresh", action="store_true", help="begin anew, whatever an earlier run left")
    size = f"that the HEF may have (default: {_DEFAULT_SIZE}, or `none`)"
    parser.add_argument("--max-size", default=_DEFAULT_SIZE, metavar="SIZE", help=size)
    parser.add_argument("-v", "--verbose", action="store_true", help="show the compiler's log as it comes")
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Compile, show what the compiler said, tell the next step."""
    limit = None if options.max_size == "none" else size_of(options.max_size)
    from irkit.runtime.driver import compile_bundle
    from irkit.runtime.folder import open_bundle

    bundle = open_bundle(options.bundle)
    with _stages() as on_stage:
        result = compile_bundle(
            bundle,
            python=options.python,
            docker=options.docker,
            fresh=options.fresh,
            last=options.to,
            max_size=limit,
            on_stage=on_stage,
            on_line=console.message if options.verbose else None,
        )
    if result.stopped:
        console.message(f"irkit compile: {result.stopped}")
        return 2
    has_errors = not result.ok or any(finding.severity.label == "error" for finding in result.findings)
    if options.format == "json":
        console.result_json(_plain(result, options.bundle, has_errors))
    else:
        _show(result, options.bundle, has_errors, options.to)
    return int(has_errors)


@contextmanager
def _stages() -> Iterator[Callable[[str], None]]:
    """Tells stages as they begin; a bar on a terminal."""
    from irkit.runtime.driver import STAGES

    with console.progress_bar() as progress:
        if progress is None:
            yield lambda stage: console.message(f"{stage} ...")
            return
        yield lambda stage: progress(stage, STAGES.index(stage.split(" ")[0]), len(STAGES))


def _plain(result: CompileResult, bundle: Path, has_errors: bool) -> dict[str, object]:
    from irkit.hailo.hef.contents import hef_json

    return {
        "bundle": str(bundle),
        "ok": not has_errors,
        "hef": None if result.hef is None else hef_json(result.hef),
        "findings": [finding.to_json() for finding in result.findings],
        "log": str(result.log),
    }


def _show(result: CompileResult, bundle: Path, has_errors: bool, last: str) -> None:
    from irkit.formats.text import findings_text
    from irkit.hailo.hef.show import hef_lines

    if result.findings:
        console.result(findings_text(result.findings, console.style()) + "\n")
    if result.hef is not None:
        console.result("\n".join(hef_lines(result.hef)) + "\n")
    if not result.ok:
        console.result(f"The compiler refused the model; its log is {result.log}.")
        console.result(
            f"next: {arguments.command_line('irkit', 'lint', str(bundle / 'model.onnx'), '--dfc-log', str(result.log))}"
        )
    elif last != "compile":
        console.result(f"Done up to {last}.\nnext: {arguments.command_line('irkit', 'compile', str(bundle))}")
    else:
        verdict = (
            "The HEF was built, with errors above." if has_errors else "The HEF was built, and its outputs are bound."
        )
        console.result(f"{verdict}\nnext: {arguments.command_line('irkit', 'bench', str(bundle))}")
