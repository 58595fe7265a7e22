"""List the passes, or tell all about one.

With a name: what the pass does, its options with types and defaults, and the file it is in, to copy and change.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import shlex
import sys
from typing import TYPE_CHECKING, Any

from irkit.cli import arguments, console

if TYPE_CHECKING:
    from irkit.pass_base import Pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("name", metavar="PASS", nargs="?", help="the pass to tell about")
    arguments.add_passes(parser, "passes of your own, listed too")
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """List, or describe one."""
    from irkit.library import Library

    library = Library()
    for path in arguments.passes_of(options.passes):
        library.add(path)
    if options.name:
        cls = library.find(options.name)
        console.result_json(_plain(cls)) if options.format == "json" else console.result(_page(cls))
        given = "".join(f" --passes {shlex.quote(str(path))}" for path in options.passes)
        console.message(f"next: irkit optimize MODEL{given} --only {cls.name}")
        return 0
    found = library.all()
    if options.format == "json":
        console.result_json([_plain(cls) for cls in found])
    else:
        width = max(len(cls.name) for cls in found)
        for cls in found:
            console.result(f"{cls.name:<{width}}  {cls.effect.value:<11}  {cls.summary()}")
    console.message("next: irkit passes NAME")
    return 0


def _page(cls: type[Pass]) -> str:
    style = console.style()
    module = inspect.getdoc(sys.modules[cls.__module__]) or ""
    own = inspect.getdoc(cls) or ""
    parts = [f"{style.paint(cls.name, 'bold')} ({cls.effect.value})", own]
    if module and module != own:
        parts.append(module)
    options = _options(cls)
    if options:
        lines = [f"  {name}: {kind} = {default}" for name, kind, default in options]
        parts.append("options:\n" + "\n".join(lines))
    parts.append(f"in {cls.source}")
    return "\n\n".join(parts)


def _options(cls: type[Pass]) -> list[tuple[str, str, Any]]:
    from irkit.pass_spec import option_type, type_label

    found = []
    for item in cls.option_fields():
        default: Any = item.default
        if item.default_factory is not dataclasses.MISSING:
            default = item.default_factory()
        found.append((item.name, type_label(option_type(cls, item.name)), default))
    return found


def _plain(cls: type[Pass]) -> dict[str, Any]:
    options = [{"name": name, "type": kind, "default": str(default)} for name, kind, default in _options(cls)]
    summary, doc = cls.summary(), inspect.getdoc(cls) or ""
    return {
        "name": cls.name,
        "effect": cls.effect.value,
        "summary": summary,
        "doc": doc,
        "options": options,
        "source": cls.source,
    }
