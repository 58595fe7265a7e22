"""Say what the compiler will refuse, before you have the compiler.

Nothing is changed and nothing is run. What `irkit optimize` mends is marked [*]. Exits with 1 where a finding is an
error.
"""

from __future__ import annotations

import argparse
import re

from irkit.cli import arguments, console
from irkit.diagnostics import Report, Severity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    arguments.add_model(parser)
    arguments.add_target(parser)
    arguments.add_rules(parser)
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Lint, print the report, tell the next step."""
    path = arguments.checked_model(options.model)
    from irkit import compiler, render

    target = arguments.target_of(options)
    report = compiler.lint(path, target)
    following = next_command(report, options)
    if options.format == "json":
        console.result_json({**report.to_json(), "verdict": render.lint_verdict(report), "next": following})
    else:
        console.result(render.lint_text(report, arguments.target_title(target), console.style()))
        console.result(f"next: {following}")
    return int(report.has_errors)


def next_command(report: Report, options: argparse.Namespace) -> str:
    """What to type next: to optimize, with the flags that findings ask for."""
    words = ["irkit", "optimize", str(options.model)]
    if options.target != "hailo8":
        words += ["--target", options.target]
    words += [word for path in options.rules for word in ("--rules", str(path))]
    errors = [finding for finding in report.findings if finding.severity is Severity.ERROR]
    for flag, value in re.findall(r"(--(?:bind|shape)) ([^\s;]+)", " ".join(finding.advice for finding in errors)):
        if value not in words:
            words += [flag, value]
    return arguments.command_line(*words)
