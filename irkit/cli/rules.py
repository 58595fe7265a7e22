"""List the codes that findings have, with a line on each.

`irkit explain CODE` tells all about one. Rules whose facts are not known of the target are marked: they say nothing.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from irkit.cli import arguments, console

if TYPE_CHECKING:
    from irkit.ruledoc import RuleDoc
    from irkit.target import Target

FAMILIES = {
    "IRK": "the model itself, and what passes find",
    "HAI1": "operators",
    "HAI2": "shapes and layout",
    "HAI3": "quantization",
    "HAI4": "resources and speed",
    "HAI5": "calibration, pre-processing and scripts",
    "HAI6": "what the Dataflow Compiler said",
    "HAI7": "what it made: HEF files",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    arguments.add_target(parser)
    arguments.add_rules(parser)
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    from irkit.linting import all_docs

    target = arguments.target_of(options)
    docs = all_docs()
    if options.format == "json":
        console.result_json([{**_words(doc), "is_silent": _is_silent(doc, target)} for doc in docs])
        return 0
    console.result(f"{len(docs)} codes, for {arguments.target_title(target)}")
    style = console.style()
    width = max(len(doc.name) for doc in docs)
    for prefix, title in FAMILIES.items():
        family = [doc for doc in docs if doc.code.startswith(prefix)]
        if family:
            console.result(f"\n{style.paint(f'{prefix}: {title}', 'bold')}")
        for doc in family:
            silent = " (says nothing: nothing is known of it for this target)" if _is_silent(doc, target) else ""
            console.result(f"  {doc.code}  {doc.severity.label:<7}  {doc.name:<{width}}  {summary(doc)}{silent}")
    console.message("next: irkit explain CODE")
    return 0


def summary(doc: RuleDoc) -> str:
    """The first sentence of what a code means."""
    return doc.what.partition(". ")[0].rstrip(".")


def _is_silent(doc: RuleDoc, target: Target) -> bool:
    """Whether a rule rests on facts of which the target's table has none."""
    facts = getattr(doc, "facts", ())
    return bool(facts) and all(getattr(target.facts, name) is None for name in facts)


def _words(doc: RuleDoc) -> dict[str, str]:
    words = {name: getattr(doc, name) for name in ("code", "name", "what", "why", "example", "fix")}
    return {**words, "severity": doc.severity.label}
