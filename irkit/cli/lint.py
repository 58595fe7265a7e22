"""Say what the compiler will refuse, before you have the compiler.

Nothing is changed and nothing is run. What `irkit optimize` mends is marked [*]. Exits with 1 where a finding is an
error, unless it is known (--baseline) or wanted (irkit.toml, or `irkit.ignore` in the metadata of a node).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.cli import arguments, console
from irkit.diagnostics import Report, Severity
from irkit.errors import OptionError

if TYPE_CHECKING:
    from irkit.config import Settings
    from irkit.target import Target

FORMATS = ("text", "json", "sarif", "github")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("models", metavar="MODEL", type=Path, nargs="+", help="an ONNX file, or several")
    arguments.add_target(parser)
    arguments.add_rules(parser)
    _add_other_inputs(parser.add_argument_group("what goes with the model"))
    _add_selection(parser.add_argument_group("which findings"))
    _add_output(parser.add_argument_group("what is shown"))


def _add_other_inputs(group: argparse._ArgumentGroup) -> None:
    text = "calibration set to look at: .npy, .npz, or a folder of arrays or images"
    group.add_argument("--calib", type=Path, metavar="PATH", help=text)
    text = "script that is to compile the model, to look at: .alls, .sh or .py; may be given several times"
    group.add_argument("--script", action="append", default=[], type=Path, metavar="FILE", help=text)
    text = "what the Dataflow Compiler printed when it was tried: its log, or a traceback"
    group.add_argument("--dfc-log", type=Path, metavar="FILE", help=text)


def _add_selection(group: argparse._ArgumentGroup) -> None:
    text = "rules to run: codes, beginnings of codes, or names"
    group.add_argument("--select", action="append", default=[], metavar="CODE,...", help=text)
    group.add_argument("--ignore", action="append", default=[], metavar="CODE,...", help="rules not to run")
    group.add_argument("--baseline", type=Path, metavar="FILE", help="leave out the findings that this file knows")
    text = "write the findings of this model to the file of --baseline, or of the settings"
    group.add_argument("--write-baseline", action="store_true", help=text)
    group.add_argument("--exit-zero", action="store_true", help="exit with 0 although there are errors")


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--format", choices=FORMATS, default="text", help="of the result (default: text)")
    group.add_argument("--statistics", action="store_true", help="count the findings of each rule instead")
    group.add_argument("-v", "--verbose", action="store_true", help="show notes, and every node of a finding")
    text = "do not lint: write this node with its neighbours as a model of its own, to try or to show"
    group.add_argument("--save-node", metavar="NODE", help=text)
    text = "the file that --save-node writes (default: MODEL-NODE.onnx)"
    group.add_argument("-o", "--output", type=Path, metavar="FILE", help=text)


def run(options: argparse.Namespace) -> int:
    """Lint, print the report, tell the next step."""
    paths = [arguments.checked_model(path) for path in options.models]
    if options.save_node is not None:
        return _save_node(paths, options)
    if options.output is not None:
        raise OptionError("-o names the file of --save-node; the report goes to stdout")
    settings = _settings(options)
    from irkit import linting

    target = arguments.target_of(options)
    wishes = settings.changed(baseline=None) if options.write_baseline else settings
    given = {"calib": options.calib, "scripts": options.script, "dfc_log": options.dfc_log}
    reports = [linting.lint(path, target, **given, settings=wishes) for path in paths]
    if options.write_baseline:
        return _write_baseline(reports, settings)
    _show(reports, target, options)
    return int(any(report.has_errors for report in reports) and not options.exit_zero)


def _settings(options: argparse.Namespace) -> Settings:
    """The project's settings, under the flags. Where flags select rules, the settings' `ignore` is not asked."""
    settings = arguments.project_settings()
    select, ignore = arguments.names_of(options.select), arguments.names_of(options.ignore)
    if len(select) < bool(options.select) or len(ignore) < bool(options.ignore):
        raise OptionError("--select and --ignore name rules; `irkit rules` lists them")
    if select:
        settings = settings.changed(ignore=())
    return settings.under(select=tuple(select), ignore=tuple(ignore), baseline=options.baseline)


def _save_node(paths: Sequence[Path], options: argparse.Namespace) -> int:
    from irkit.neighbourhood import file_name, save_neighbourhood
    from irkit.onnx.reader import load

    if len(paths) > 1:
        raise OptionError("--save-node takes one model")
    output = options.output or file_name(paths[0], options.save_node)
    with load(paths[0]) as model:
        count = save_neighbourhood(model, options.save_node, output)
    console.result(f"written: {output} ({count} nodes)")
    console.result(f"next: {arguments.command_line('irkit', 'show', str(output))}")
    return 0


def _write_baseline(reports: Sequence[Report], settings: Settings) -> int:
    from irkit.baseline import write_known

    if settings.baseline is None:
        raise OptionError("--write-baseline needs --baseline FILE, or `baseline` in irkit.toml")
    file = str(settings.baseline)
    for report in reports:
        count = write_known(report, settings.baseline)
        console.result(f"written: {file} knows {count} findings of {report.model}")
    models = [report.model for report in reports]
    console.result(f"next: {arguments.command_line('irkit', 'lint', *models, '--baseline', file)}")
    return 0


def _show(reports: Sequence[Report], target: Target, options: argparse.Namespace) -> None:
    """Print the reports in the format that was asked for."""
    if options.format == "json":
        from irkit.verdict import verdict_of

        plain = [
            {**report.to_json(), **verdict_of(report).to_json(), "next": next_command(report, options)}
            for report in reports
        ]
        console.result_json(plain if len(plain) > 1 else plain[0])
    elif options.format == "sarif":
        from irkit.formats.sarif import sarif_log

        console.result_json(sarif_log(reports))
    elif options.format == "github":
        from irkit.formats.github import workflow_commands

        console.result("\n".join(line for report in reports for line in workflow_commands(report)))
    else:
        _show_text(reports, target, options)


def _show_text(reports: Sequence[Report], target: Target, options: argparse.Namespace) -> None:
    """Print the reports for people, one below the other."""
    from irkit.formats.text import lint_text, statistics_text

    title, style = arguments.target_title(target), console.style()
    for index, report in enumerate(reports):
        if index > 0:
            console.result("")
        if options.statistics:
            console.result(statistics_text(report, title, style))
        else:
            console.result(lint_text(report, title, style, verbose=options.verbose))
        command = next_command(report, options)
        console.result(f"next: {command}" + "   # with your numbers for NUMBER" * ("NUMBER" in command))


def next_command(report: Report, options: argparse.Namespace) -> str:
    """What to type next: to optimize, with the flags that findings ask for; where that mends nothing, to read on."""
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    said = " ".join(finding.advice for finding in errors)
    advice = list(dict.fromkeys(re.findall(r"(--(?:bind|shape|cut|start)) ([^\s;]+)", said)))
    if errors and not advice and not any(finding.fixable for finding in errors):
        return arguments.command_line("irkit", "explain", errors[0].code)
    words = ["irkit", "optimize", report.model]
    if options.target:
        words += ["--target", options.target]
    words += [word for path in options.rules for word in ("--rules", str(path))]
    words += [word for flag_and_value in advice for word in flag_and_value]
    return arguments.command_line(*words)
