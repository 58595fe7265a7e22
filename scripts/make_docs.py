"""Write docs/rules.md and docs/targets/*.md from the code and the tables of facts.

python scripts/make_docs.py            write them
python scripts/make_docs.py --check    only tell which are stale (exit code 1)
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from irkit.cli.rules import FAMILIES, summary  # noqa: E402
from irkit.evidence import (  # noqa: E402
    Ground,
    condition_text,
    grounds_of,
    known_facts,
    label,
    status_text,
    value_text,
)
from irkit.linter import Rule  # noqa: E402
from irkit.linting import all_docs  # noqa: E402
from irkit.notices import found_by  # noqa: E402
from irkit.ruledoc import RuleDoc  # noqa: E402
from irkit.style import markdown_table  # noqa: E402
from irkit.table import Evidence, Fact, Operator, Pattern, Status  # noqa: E402
from irkit.target import Target, load_target, target_names  # noqa: E402

RULES = Path("docs/rules.md")
TARGETS = Path("docs/targets")
MAIN_TARGET = "hailo8"

_WRITTEN = "<!-- Written by scripts/make_docs.py; do not edit. -->"
_ORDER = tuple(Status)


def pages() -> dict[Path, str]:
    """Every page, by its path from the root of the repository."""
    targets = {name: load_target(name) for name in target_names()}
    found = {RULES: rules_page(targets[MAIN_TARGET])}
    for name, target in targets.items():
        parent = None if name == MAIN_TARGET else targets[MAIN_TARGET]
        found[TARGETS / f"{name}.md"] = target_page(target, parent)
    return found


def stale(found: dict[Path, str]) -> list[Path]:
    """Pages that are not what they should be, and pages that should not be there."""
    wrong = [path for path, text in found.items() if not _is_written(ROOT / path, text)]
    return wrong + [path for path in _written_targets() if path not in found]


def _is_written(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _written_targets() -> list[Path]:
    return sorted(TARGETS / path.name for path in (ROOT / TARGETS).glob("*.md"))


# --- rules -----------------------------------------------------------------------------------------------------------


def rules_page(target: Target) -> str:
    """All codes, family by family: a table, then a section for each."""
    docs = all_docs()
    introduction = (
        f"{len(docs)} codes. `irkit explain CODE` prints one, `irkit rules` lists them for a target. Evidence is that "
        f"of [{target.name}](targets/{target.name}.md) with version {target.version} of its compiler. They are found "
        "by `irkit lint`, unless another command is named."
    )
    parts = ["# What irkit finds", _WRITTEN, introduction, _contents(docs)]
    for prefix, title in FAMILIES.items():
        family = [doc for doc in docs if doc.code.startswith(prefix)]
        if family:
            parts.append(f"## {prefix}: {title}")
            parts += [_rule_section(doc, target) for doc in family]
    return "\n\n".join(parts) + "\n"


def _contents(docs: Sequence[RuleDoc]) -> str:
    rows = [
        (f"[{doc.code}](#{doc.code.lower()}-{doc.name})", doc.name, _kind(doc), summary(doc)) for doc in docs
    ]  # fmt: skip
    return markdown_table(("code", "name", "severity", "what"), rows)


def _kind(doc: RuleDoc) -> str:
    return doc.severity.label + ("" if isinstance(doc, Rule) else f", by `{found_by(doc.code)}`")


def _rule_section(doc: RuleDoc, target: Target) -> str:
    parts = [
        f"### {doc.code} {doc.name}",
        f"*{_kind(doc)}.* {doc.what}",
        f"**Why.** {_sentence(doc.why)}",
    ]
    if doc.example:
        lines = "\n".join(f"    {line}" for line in doc.example.splitlines())
        parts.append(f"**Example.**\n\n{lines}")
    parts.append(f"**Fix.** {_sentence(doc.fix)}")
    grounds = grounds_of(doc, target)
    if grounds:
        parts.append("**Evidence.**\n\n" + "\n".join(_ground_lines(grounds)))
    return "\n\n".join(parts)


def _sentence(text: str) -> str:
    return text if text.startswith("irkit ") else text[:1].upper() + text[1:]


def _ground_lines(grounds: Iterable[Ground]) -> Iterator[str]:
    for ground in grounds:
        yield f"- {_code(ground.subject)}: {ground.claim} ({ground.fact.confidence.value} confidence)"
        yield from (f"  - {_said(item)}" for item in ground.fact.evidence)


# --- targets ---------------------------------------------------------------------------------------------------------


def target_page(target: Target, parent: Target | None) -> str:
    """What is known of a target; of one that inherits, what differs from its parent."""
    parts = [f"# {target.description}", _WRITTEN, _introduction(target, parent)]
    facts = [item for item in known_facts(target.facts) if parent is None or item not in known_facts(parent.facts)]
    if facts:
        parts.append("## The target as a whole\n\n" + "\n\n".join(_fact_lines(name, fact) for name, fact in facts))
    operators = {
        op: entry for op, entry in target.operators.items() if parent is None or parent.operators.get(op) != entry
    }
    if operators:
        parts.append("## Operators\n\n" + _operators_table(operators))
        parts += [_operator_section(op, entry) for op, entry in sorted(operators.items())]
    patterns = {
        name: entry for name, entry in target.patterns.items() if parent is None or parent.patterns.get(name) != entry
    }
    if patterns:
        parts.append("## Patterns")
        parts += [_pattern_section(name, entry) for name, entry in sorted(patterns.items())]
    sources = {key: source for key, source in target.sources.items() if parent is None or key not in parent.sources}
    if sources:
        rows = [(key, source.kind.value, source.dfc, source.where) for key, source in sorted(sources.items())]
        parts.append("## Sources\n\n" + markdown_table(("key", "kind", "compiler", "what and where"), rows))
    return "\n\n".join(parts) + "\n"


def _introduction(target: Target, parent: Target | None) -> str:
    """What the page is of, and how to read it."""
    text = (
        f"`--target {target.name}`; the entries are those for version {target.version} of the compiler. What is said "
        "here is no more than what its public sources say; an operator that is not listed is unknown, not refused."
    )
    if parent is not None:
        link = f"[{parent.name}]({parent.name}.md)"
        text += f" It inherits from {link}: only what differs is listed, {len(target.operators)} operators are known."
    return text


def _fact_lines(name: str, fact: Fact) -> str:
    text = f"**{label(name)}**: {value_text(fact)} ({fact.confidence.value} confidence)"
    return f"{text}\n\n{_evidence(fact)}".rstrip()


def _operators_table(operators: dict[str, Operator]) -> str:
    rows = [
        (_code(op), status_text(entry.status, entry.silent), entry.confidence.value, str(len(entry.forms) or ""))
        for op, entry in sorted(operators.items(), key=lambda item: (_ORDER.index(item[1].status), item[0]))
    ]
    return markdown_table(("operator", "status", "confidence", "forms"), rows)


def _operator_section(op: str, entry: Operator) -> str:
    """One operator: its verdict, needs and forms, each with its evidence."""
    layer = f", as the layer `{entry.layer}`" if entry.layer else ""
    head = f"{status_text(entry.status, entry.silent)}{layer} ({entry.confidence.value} confidence)"
    head += f"; in the patterns {', '.join(entry.patterns)}" if entry.patterns else ""
    parts = [f"### {op}", head, _evidence(entry)]
    for need in entry.needs:
        when = f"where {condition_text(need.when)}: " if need.when.given else ""
        text = f"**needs** {when}{condition_text(need.must)} ({need.confidence.value} confidence{_range(need.dfc)})"
        parts += [text, _evidence(need)]
    for form in entry.forms:
        when = condition_text(form.when)
        verdict = f"{status_text(form.status, form.silent)} ({form.confidence.value} confidence{_range(form.dfc)})"
        parts += [f"**{form.name}**" + (f", where {when}" if when else "") + f": {verdict}", _evidence(form)]
    return "\n\n".join(part for part in parts if part)


def _pattern_section(name: str, entry: Pattern) -> str:
    verdict = f"{status_text(entry.status)} ({entry.confidence.value} confidence{_range(entry.dfc)})"
    return f"### {name}\n\n{verdict}\n\n{_evidence(entry)}".rstrip()


def _range(versions: object) -> str:
    return f", versions {versions}" if str(versions) else ""


def _evidence(fact: Fact) -> str:
    lines = [f"- {_said(item)}" for item in fact.evidence]
    lines += [f"- *{_sentence(fact.advice)}*"] * bool(fact.advice)
    return "\n".join(lines)


def _said(item: Evidence) -> str:
    return f"`{item.source}`: {item.says}"


def _code(subject: str) -> str:
    return f"`{subject}`"


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or tell which are stale."""
    found = pages()
    if "--check" in arguments:
        wrong = stale(found)
        for path in wrong:
            sys.stdout.write(f"{path} is stale: python scripts/make_docs.py\n")
        return int(bool(wrong))
    (ROOT / TARGETS).mkdir(parents=True, exist_ok=True)
    for path in _written_targets():
        if path not in found:
            (ROOT / path).unlink()
    for path, text in found.items():
        (ROOT / path).write_text(text, encoding="utf-8")
    sys.stdout.write(f"written: {', '.join(map(str, found))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
