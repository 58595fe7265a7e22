"""Make a model that fails as small as it can be while it fails in the same way.

The command of --check is given the path of a model, in the place of {} or as its last word, and fails where it does not
exit with 0; the smaller model fails in the same way where the exit code is the same. It is run by no shell: write
--check "sh -c 'command | other'" for one. With --pipeline, a model fails where a pass goes wrong: changes the function
though it is declared exact, raises an error, or leaves a broken graph. When interrupted, the smallest model so far is
written.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.cli import arguments, console
from irkit.errors import OptionError, OutputError

if TYPE_CHECKING:
    from irkit.reduction import Reduction

INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    arguments.add_model(parser)
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="what to write (default: ./MODEL-small.onnx)")
    parser.add_argument("--force", action="store_true", help="replace the file where it exists")
    fails = parser.add_argument_group("what a failure is")
    add_check(fails, "a command that does not exit with 0 on a model that fails")
    fails.add_argument("--pipeline", metavar="PASS,...", help="passes that go wrong, or `default` for the target's own")
    arguments.add_passes(fails, "passes of your own, for --pipeline")
    arguments.add_target(parser)
    arguments.add_rules(parser)
    add_bounds(parser.add_argument_group("bounds"))
    arguments.add_format(parser)


def add_check(group: argparse._ArgumentGroup, text: str) -> None:
    """A user's own notion of what is wrong."""
    group.add_argument("--check", metavar="CMD", help=text)
    group.add_argument("--check-timeout", type=float, default=60.0, metavar="S", help="of one run (default: 60)")
    printed = "what a command that fails prints must match this regular expression too"
    group.add_argument("--fail-text", default="", metavar="REGEX", help=printed)


def add_bounds(group: argparse._ArgumentGroup) -> None:
    """How long to go on."""
    group.add_argument("--max-runs", type=int, default=5000, metavar="N", help="of the check (default: 5000)")
    group.add_argument("--timeout", type=float, metavar="S", help="seconds after which the smallest so far is written")


def run(options: argparse.Namespace) -> int:
    """Reduce, write, tell."""
    path = arguments.checked_model(options.model)
    if (options.check is None) == (options.pipeline is None):
        raise OptionError("give --check CMD or --pipeline PASS,..., one of them: it says what a failure is")
    check_pipeline(options.pipeline)
    output = options.output or Path(f"{path.stem}-small.onnx")
    _check_output(output, path, options.force)
    from irkit.onnx.reader import load
    from irkit.onnx.writer import save

    with load(path) as model, interruptible(), console.progress_bar() as progress:
        bounds = {"max_runs": options.max_runs, "timeout": options.timeout}
        found = _reduced(options, model, {**bounds, "progress": counting(progress, options.max_runs)})
        save(model, output)
    _tell(found, output, options.format)
    return INTERRUPTED if found.stopped == "interrupted" else 0


def check_pipeline(pipeline: str | None) -> None:
    """Raises `OptionError` where a pipeline is given that names no pass."""
    if pipeline is not None and not arguments.names_of([pipeline]):
        raise OptionError("--pipeline names no pass; see irkit passes")


def _reduced(options: argparse.Namespace, model: Any, bounds: dict[str, Any]) -> Reduction:
    if options.pipeline is None:
        from irkit.outcome import command_check
        from irkit.reduction import reduce

        check = command_check(options.check, timeout=options.check_timeout, text=options.fail_text)
        return reduce(model, check, **bounds)
    from irkit.bisection import reduce_pipeline

    pipeline = () if options.pipeline == "default" else options.pipeline
    passes = arguments.passes_of(options.passes)
    return reduce_pipeline(model, arguments.target_of(options), pipeline=pipeline, passes=passes, **bounds)


def _check_output(output: Path, path: Path, force: bool) -> None:
    if output.exists() and path.exists() and output.samefile(path):
        raise OutputError(f"{output} is the model itself; write to another file (-o FILE)")
    if output.exists() and not force:
        raise OutputError(f"{output} exists; --force replaces it, -o FILE writes elsewhere")
    if not output.absolute().parent.is_dir():
        raise OutputError(f"{output}: there is no folder {output.parent}")


@contextmanager
def interruptible() -> Iterator[None]:
    """Being told to end counts as an interrupt, after which what was found so far is written."""

    def stop(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    try:
        old = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)


def counting(progress: Any, most: int) -> Callable[[str, int, int], None] | None:
    """Shows the runs against the limit, and what is left."""
    if progress is None:
        return None
    return lambda text, runs, nodes: progress(f"{text}; {nodes} nodes left", runs, most)


def _tell(found: Reduction, output: Path, form: str) -> None:
    following = arguments.command_line("irkit", "show", str(output))
    verdict = f"Reduced from {found.nodes_before} to {found.nodes_after} nodes; it fails as before: {found.outcome}."
    if form == "json":
        plain = {key: value for key, value in vars(found).items() if key != "model"}
        console.result_json({**plain, "output": str(output), "verdict": verdict, "next": following})
        return
    console.result(f"{found.runs} runs in {found.seconds:.1f} s" + (f"; {found.stopped}" if found.stopped else ""))
    console.result(verdict)
    console.result(f"written: {output}")
    console.result(f"next: {following}")
