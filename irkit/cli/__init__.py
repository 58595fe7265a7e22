"""The command line: one subcommand a file, its docstring is its help.

Results go to stdout, messages to stderr. What a user's file or flag causes is one line on stderr and exit code 2; what
is irkit's own fault says so, and exits with 70.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from irkit.cli.console import message
from irkit.errors import ExecutionError, InputError, IrkitError
from irkit.version import __version__

COMMANDS = (
    "lint", "optimize", "quantize", "compile", "hef", "run", "bench", "check", "compare", "show", "diff", "bisect",
    "reduce", "explain", "rules", "passes", "new-pass", "doctor",
)  # fmt: skip
"""Each is a module of this package."""

FINE, FOUND, WRONG_USE, BUG, INTERRUPTED = 0, 1, 2, 70, 130

_DESCRIPTION = "Rewrite exported ONNX models until the Hailo Dataflow Compiler can take them, and prove what was done."
_EPILOG = """\
exit codes:
  0   fine
  1   findings at error level, or a drift that is not accepted
  2   wrong usage, or input that cannot be read
  70  a bug of irkit (IRKIT_DEBUG=1 shows where)
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, text: str) -> NoReturn:
        message(f"{self.prog}: {text} (see {self.prog} --help)")
        raise SystemExit(WRONG_USE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code. `--help` and wrong flags raise `SystemExit`, as argparse does."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    gc.set_threshold(100_000)  # many objects are made and few die in cycles: the default costs a tenth of a lint
    parsed = _parser(given).parse_args(given)
    try:
        code = int(parsed.run(parsed))
        if arguments is None:
            gc.freeze()  # the process ends: what is left need not be searched for cycles, which costs as much again
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (InputError, ExecutionError) as error:
        message(f"irkit {parsed.command}: {error}")
        return WRONG_USE
    except BrokenPipeError:
        # Whoever read the result has seen enough; Python would complain once more when it closes the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINE
    except KeyboardInterrupt:
        message("irkit: interrupted")
        return INTERRUPTED
    except (OSError, MemoryError) as error:
        message(f"irkit {parsed.command}: {str(error) or 'out of memory'}")
        return WRONG_USE
    except Exception as error:
        if os.environ.get("IRKIT_DEBUG"):
            raise
        message(f"irkit {parsed.command}: {_confession(error)}")
        return BUG


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of the command that was typed, or of all of them for help on them."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="irkit", description=_DESCRIPTION, epilog=_EPILOG, formatter_class=raw)
    parser.add_argument("--version", action="version", version=f"irkit {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in given[:1] if given and given[0] in COMMANDS else COMMANDS:
        module = importlib.import_module(f"irkit.cli.{name.replace('-', '_')}")
        text = textwrap.dedent(module.__doc__ or "").strip()
        summary = text.partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=text, formatter_class=raw)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _confession(error: Exception) -> str:
    """What went wrong inside irkit, and where."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" in {os.path.basename(trace.tb_frame.f_code.co_filename)}, line {trace.tb_lineno}" if trace else ""
    kind = "" if isinstance(error, IrkitError) else f"{type(error).__name__}: "
    return f"this is a bug of irkit{place}: {kind}{error} (IRKIT_DEBUG=1 shows the whole trace; please report it)"
