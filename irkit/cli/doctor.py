"""Tell what of Hailo's tools is here, what is missing and how to get it, and whether versions fit each other.

Nothing is changed or installed. Exits with 1 where something that is here does not fit.
"""

from __future__ import annotations

import argparse

from irkit.cli import arguments, console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Look, tell."""
    from irkit.runtime.doctor import State, examine

    checks = examine()
    wrong = [check for check in checks if check.state is State.WRONG]
    if options.format == "json":
        plain = [{**vars(check), "state": check.state.value} for check in checks]
        console.result_json({"checks": plain, "ok": not wrong})
        return int(bool(wrong))
    style = console.style()
    colours = {State.HERE: "green", State.MISSING: "yellow", State.WRONG: "red", State.UNKNOWN: "dim"}
    width = max(len(check.name) for check in checks)
    for check in checks:
        state = style.paint(f"{check.state.value:<9}", colours[check.state])
        console.result(f"{check.name:<{width}}  {state}  {check.found}")
        if check.advice:
            console.result(style.paint(f"{'':<{width + 13}}-> {check.advice}", "dim"))
    here = {check.name for check in checks if check.state is State.HERE}
    if wrong:
        verdict = f"{len(wrong)} of them do not fit together."
    elif "device" in here:
        verdict = "This machine can run networks on a Hailo device."
    elif "Dataflow Compiler" in here:
        verdict = "This machine can compile."
    else:
        verdict = "This machine can lint, optimize and quantize; compiling and running on a device need another one."
    console.result(f"\n{verdict}")
    console.result("next: irkit compile BUNDLE" if "Dataflow Compiler" in here else "next: irkit lint MODEL")
    return int(bool(wrong))
