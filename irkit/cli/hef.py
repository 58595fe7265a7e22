"""Tell what is in a HEF: is it intact, for which chip, what goes in and out.

The file is read whole and its checksums are verified; neither a device nor HailoRT is needed. With --target or
--max-size, exits with 1 where the file is not for that chip or too large.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from irkit.cli import arguments, console
from irkit.diagnostics import Report
from irkit.errors import OptionError

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("file", metavar="FILE.hef", type=Path, help="what the compiler made")
    parser.add_argument("--target", default="", metavar="TARGET", help="the chip it is to run on, such as hailo8")
    parser.add_argument("--max-size", metavar="SIZE", help="that the file may have, such as 32MB")
    parser.add_argument("--bind", metavar="BUNDLE", type=Path, help="complete the io_map.json of a bundle by it")
    parser.add_argument("--check", action="store_true", help="hold it against hailo8, unless --target names another")
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Read, show, check."""
    limit = size_of(options.max_size) if options.max_size is not None else None
    target = options.target or ("hailo8" if options.check else "")
    chip = ""
    if target:
        from irkit.target import load_target

        chip = load_target(target).name
    from irkit.formats.text import findings_text
    from irkit.hailo.hef.check import check_hef
    from irkit.hailo.hef.contents import hef_json
    from irkit.hailo.hef.reader import read_hef
    from irkit.hailo.hef.show import hef_lines

    hef = read_hef(options.file)
    report = Report(str(options.file), chip)
    report.extend(check_hef(hef, chip, limit))
    verdict = _verdict(report, chip)
    if options.bind is not None:
        from irkit.runtime.folder import bind, open_bundle

        bind(open_bundle(options.bind), options.file)
        verdict += f" {options.bind / 'io_map.json'} is bound to it."
    if options.format == "json":
        console.result_json({**hef_json(hef), "findings": report.to_json()["findings"], "verdict": verdict})
    else:
        style = console.style()
        console.result("\n".join(hef_lines(hef)))
        if report.findings:
            console.result("\n" + findings_text(report.findings, style))
        console.result(f"\n{verdict}")
    return int(report.has_errors)


def size_of(text: str) -> int:
    """`32MB` in bytes; K, M and G are powers of 1,024. Raises `OptionError`."""
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)\s*([kKmMgG]?)(?:i?[bB])?", text.strip())
    if found is None or not float(found[1]):
        raise OptionError(f"--max-size takes a size such as 32MB; found `{text}`")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _verdict(report: Report, chip: str) -> str:
    if report.has_errors:
        return (
            f"The file is intact, and not for {chip} as it is asked for."
            if chip
            else "The file is intact, and too large."
        )
    return f"The file is intact, and {chip} takes it." if chip else "The file is intact."
