"""Tell how two models differ: nodes, attributes, wiring, weights, inputs and outputs.

Nodes are paired by structure, name and origin, so a node that was only renamed is told as renamed. The order of nodes,
doc strings and who wrote the file do not count. Exits with 0 where the models are equal, with 1 where they differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from irkit.cli import arguments, console

if TYPE_CHECKING:
    from irkit.diffing import Change, GraphDiff
    from irkit.style import Style

_SIGNS = {"changed": ("~", "yellow"), "removed": ("-", "red"), "added": ("+", "green"), "renamed": ("=", "cyan")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("left", metavar="A", type=Path, help="an ONNX file")
    parser.add_argument("right", metavar="B", type=Path, help="another one")
    shown = "nodes told of each kind, 0 for all (default: 20); JSON has all"
    parser.add_argument("--limit", type=int, default=20, metavar="N", help=shown)
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Compare and print."""
    paths = [arguments.checked_model(path) for path in (options.left, options.right)]
    from irkit.diffing import diff
    from irkit.onnx.reader import load

    with load(paths[0]) as left, load(paths[1]) as right:
        found = diff(left, right)
    verdict, following = _verdict(found), _next(found, paths)
    if options.format == "json":
        files = {"left": str(paths[0]), "right": str(paths[1])}
        console.result_json({**files, **found.to_json(), "verdict": verdict, "next": following})
        return int(not found.is_equal)
    style = console.style()
    for line in _lines(found, options.limit, style):
        console.result(line)
    console.result(style.paint(verdict, "bold", "green" if found.is_equal else "yellow"))
    console.result(f"next: {following}")
    return int(not found.is_equal)


def _lines(found: GraphDiff, limit: int, style: Style) -> Iterator[str]:
    if found.model or found.ends:
        yield from (*found.model, *found.ends, "")
    plain = [change for change in found.changes if not change.is_only_type]
    for kind, (sign, colour) in _SIGNS.items():
        changes = [change for change in plain if change.kind == kind]
        if changes:
            yield style.paint(f"{kind}: {len(changes)}", "bold", colour)
            yield from _some([line for change in changes for line in [_change_text(change, sign)]], limit)
            yield ""
    typed = [change for change in found.changes if change.is_only_type]
    if typed:
        yield style.paint(f"results of other types or shapes: {len(typed)}", "bold", "yellow")
        yield from _some([f"  ~ {change.title}: {change.details[0]}" for change in typed], limit)
        yield ""


def _change_text(change: Change, sign: str) -> str:
    if change.kind in ("added", "removed"):
        return f"  {sign} {change.details[0]}"
    return "\n".join([f"  {sign} {change.title}", *(f"      {text}" for text in change.details)])


def _some(lines: Sequence[str], limit: int) -> Iterator[str]:
    shown = lines if limit <= 0 else lines[:limit]
    yield from shown
    if len(shown) < len(lines):
        yield f"  and {len(lines) - len(shown)} more (--limit 0 shows them)"


def _verdict(found: GraphDiff) -> str:
    from irkit.style import plural

    if found.is_equal:
        return f"The models are equal: {plural(found.same, 'node')}."
    counts = [f"{len(found.of_kind(kind))} {kind}" for kind in _SIGNS if found.of_kind(kind)]
    nodes = ", ".join([*counts, f"{found.same} the same"])
    return f"The models differ; nodes: {nodes}."


def _next(found: GraphDiff, paths: Sequence[Path]) -> str:
    for change in found.changes:
        path = paths[1] if change.other else paths[0]
        return arguments.command_line("irkit", "show", str(path), "--node", change.other or change.node)
    return arguments.command_line("irkit", "lint", str(paths[1]))
