"""Tell all about a code: what it means, why it matters, what to do, and what it rests on.

Takes a code (HAI101) or the name of a rule (unsupported-operator).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from irkit.cli import arguments, console
from irkit.errors import OptionError

if TYPE_CHECKING:
    from irkit.evidence import Ground
    from irkit.ruledoc import RuleDoc
    from irkit.style import Style
    from irkit.target import Target

_GROUNDS_SHOWN = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("code", metavar="CODE", help="a code, or the name of a rule; `irkit rules` lists them")
    arguments.add_target(parser)
    arguments.add_rules(parser)
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Print the page of a code."""
    doc = find_doc(options.code)
    from irkit.evidence import grounds_of

    target = arguments.target_of(options)
    grounds = grounds_of(doc, target)
    if options.format == "json":
        console.result_json(page_json(doc, grounds, target))
    else:
        console.result(_page(doc, grounds, target, console.style()))
        console.message(f"next: {_next(doc)}")
    return 0


def find_doc(text: str) -> RuleDoc:
    """The documentation of a code or name. Raises `OptionError` that names a close one."""
    from irkit.linting import all_docs
    from irkit.tomlfile import suggest

    docs = all_docs()
    for doc in docs:
        if text.upper() == doc.code or text.lower() == doc.name:
            return doc
    family = [doc.code for doc in docs if text and doc.code.startswith(text.upper())]
    if family:
        raise OptionError(f"`{text}` is the beginning of {len(family)} codes: {', '.join(family)}; name one")
    hint = suggest(text, [*(doc.code for doc in docs), *(doc.name for doc in docs)])
    raise OptionError(f"there is no code or rule `{text}`{hint}; `irkit rules` lists them")


def page_json(doc: RuleDoc, grounds: list[Ground], target: Target) -> dict[str, Any]:
    """The page as plain data."""
    words = {name: getattr(doc, name) for name in ("code", "name", "what", "why", "example", "fix")}
    evidence = [
        {
            "subject": ground.subject,
            "claim": ground.claim,
            "confidence": ground.fact.confidence.value,
            "evidence": [
                {"source": item.source, "says": item.says, "where": target.sources[item.source].where}
                for item in ground.fact.evidence
            ],
        }
        for ground in grounds
    ]
    return {**words, "severity": doc.severity.label, "target": str(target), "rests_on": evidence}


def _page(doc: RuleDoc, grounds: list[Ground], target: Target, style: Style) -> str:
    parts = [f"{style.paint(doc.code, 'bold')} {style.paint(doc.name, 'bold')} ({doc.severity.label})"]
    parts += [style.wrap(doc.what, ""), _paragraph("Why", doc.why, style)]
    if doc.example:
        lines = "\n".join(f"    {line}" for line in doc.example.splitlines())
        parts.append(f"{style.paint('Example', 'bold')}\n{lines}")
    parts.append(_paragraph("Fix", doc.fix, style))
    if grounds:
        parts.append(_evidence(grounds, target, style))
    elif _is_linted(doc):
        parts.append("Each finding names the evidence it rests on.")
    if _is_linted(doc):
        sample = f'[[suppress]] with node = "NODE", codes = ["{doc.code}"] and reason = "..." in irkit.toml'
        parts.append(_paragraph("Where it is wanted", f"{sample}, or --ignore {doc.code}.", style))
    return "\n\n".join(parts)


def _next(doc: RuleDoc) -> str:
    from irkit.notices import found_by

    return f"irkit lint MODEL --select {doc.code}" if _is_linted(doc) else f"{found_by(doc.code)} FILE"


def _is_linted(doc: RuleDoc) -> bool:
    """Whether lint finds it, and not a pass or the pipeline."""
    from irkit.linter import Rule

    return isinstance(doc, Rule)


def _paragraph(heading: str, text: str, style: Style) -> str:
    sentence = text if text.startswith("irkit ") else text[:1].upper() + text[1:]
    return f"{style.paint(heading, 'bold')}\n{style.wrap(sentence, '    ')}"


def _evidence(grounds: list[Ground], target: Target, style: Style) -> str:
    lines = [style.paint(f"What it rests on, for {arguments.target_title(target)}", "bold")]
    for ground in grounds[:_GROUNDS_SHOWN]:
        text = f"{ground.subject}: {ground.claim} ({ground.fact.confidence.value} confidence)"
        lines.append(style.wrap(text, " " * 8, " " * 4))
        lines += [
            style.paint(style.wrap(f"{item.says} [{target.sources[item.source].where}]", " " * 10, " " * 8), "dim")
            for item in ground.fact.evidence
        ]
    if grounds[_GROUNDS_SHOWN:]:
        lines.append(f"    and {len(grounds) - _GROUNDS_SHOWN} more; --format json has all")
    return "\n".join(lines)
