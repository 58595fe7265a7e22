"""Hold a bundle against the deployment gates: each line passes, fails, or says why it was not checked.

What a laptop can measure is measured; what only the chip can tell stays "not checked" until selftest.py has run on the
Pi and its device_results.json is given. With --validation, a temperature and conformal thresholds are fitted and
written into the bundle. Exits with 1 where a gate fails.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.cli import arguments, console

if TYPE_CHECKING:
    from irkit.gates.checklist import Line
    from irkit.gates.measured import Measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the folder that irkit optimize made")
    parser.add_argument("--data", type=Path, metavar="TEST.npz", help="test data: inputs by name, and `labels`")
    parser.add_argument(
        "--validation", type=Path, metavar="VAL.npz", help="fit temperature and conformal threshold on it"
    )
    parser.add_argument("--gates", type=Path, metavar="GATES.toml", help="limits of your own")
    parser.add_argument("--hef", type=Path, metavar="FILE", help="the compiled file (default: the bundle's)")
    parser.add_argument("--device-results", type=Path, metavar="FILE", help="what selftest.py wrote on the Pi")
    parser.add_argument("--dfc-log", type=Path, metavar="FILE", help="the compiler's log")
    parser.add_argument(
        "--format", choices=("text", "json", "markdown"), default="text", help="of the result (default: text)"
    )


def run(options: argparse.Namespace) -> int:
    """Measure, show."""
    from irkit.gates.checklist import State, checklist
    from irkit.gates.limits import read_limits
    from irkit.gates.measured import CONFIDENCE, Measured, read_data
    from irkit.runtime.folder import add_file, open_bundle

    bundle, limits = open_bundle(options.bundle), read_limits(options.gates)
    data = read_data(options.data) if options.data is not None else None
    validation = read_data(options.validation) if options.validation is not None else None
    with console.progress_bar() as progress:
        measured = Measured(
            bundle,
            limits,
            data=data,
            validation=validation,
            hef=options.hef,
            device_results=options.device_results,
            dfc_log=options.dfc_log,
            progress=progress,
        )
        lines = list(checklist(measured))
    if validation is not None and measured.confidence is not None:
        add_file(bundle, CONFIDENCE, (json.dumps(vars(measured.confidence), indent=2) + "\n").encode())
    failed = sum(line.state is State.FAIL for line in lines)
    _show(lines, measured, options, failed)
    return int(failed > 0)


def _show(lines: list[Line], measured: Measured, options: argparse.Namespace, failed: int) -> None:
    from irkit.gates.checklist import State

    open_ = sum(line.state is State.NOT_CHECKED for line in lines)
    passed = len(lines) - failed - open_
    verdict = f"{failed} of {len(lines)} gates fail" if failed else "No gate fails"
    verdict += f"; {passed} pass, {open_} not checked."
    following = _next(lines, measured, options)
    if options.format == "json":
        plain = [line.to_json() for line in lines]
        console.result_json(
            {"lines": plain, "passed": passed, "failed": failed, "not_checked": open_, "next": following}
        )
    elif options.format == "markdown":
        console.result(_markdown(lines, verdict))
    else:
        console.result(_text(lines))
        console.result(f"\n{verdict}\nnext: {following}")


def _text(lines: list[Line]) -> str:
    from irkit.gates.checklist import State

    style = console.style()
    colours = {State.PASS: "green", State.FAIL: "red", State.NOT_CHECKED: "yellow"}
    width = max(len(line.name) for line in lines)
    out: list[str] = []
    for phase in dict.fromkeys(line.phase for line in lines):
        out += ["", style.paint(phase, "bold")] if out else [style.paint(phase, "bold")]
        for line in (one for one in lines if one.phase == phase):
            state = style.paint(f"{line.state.value:<11}", colours[line.state])
            limit = f"  ({line.limit})" if line.limit else ""
            out.append(f"  {state}  {line.name:<{width}}  {line.found}{limit}")
            if line.advice:
                out.append(style.paint(f"{'':<{width + 17}}-> {line.advice}", "dim"))
    return "\n".join(out)


def _markdown(lines: list[Line], verdict: str) -> str:
    rows = ["| | gate | found | limit |", "| --- | --- | --- | --- |"]
    for line in lines:
        cells = (line.state.value, line.name, line.found, line.limit)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join([f"**{verdict}**", "", *rows])


def _next(lines: list[Line], measured: Measured, options: argparse.Namespace) -> str:
    from irkit.gates.checklist import State

    bundle = str(options.bundle)
    if options.data is None:
        return arguments.command_line("irkit", "check", bundle, "--data", "test.npz")
    if measured.hef is None:
        return arguments.command_line("irkit", "compile", bundle) + "   (where the compiler is installed)"
    if any(line.state is State.NOT_CHECKED for line in lines):
        return "python3 selftest.py on the Pi, then irkit check --device-results device_results.json"
    return arguments.command_line("irkit", "run", bundle, "--input", "FILE")
