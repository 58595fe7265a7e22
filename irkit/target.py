"""Targets: what is known of a chip and its compiler, read from the tables in rules/.

Reading is strict (see `irkit.tomlfile`), and `load_target` hands out one frozen `Target` for one version of the
compiler. Files of one's own may be laid over it. The format is in `irkit.table`.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from irkit.errors import TargetError
from irkit.installed import bundled
from irkit.table import (
    PATTERNS,
    Confidence,
    Evidence,
    Fact,
    Facts,
    Operator,
    Overlay,
    Pattern,
    Pipeline,
    Source,
    Status,
    Table,
    Version,
    parse_version,
)
from irkit.tomlfile import Keys, TomlFile, suggest


@dataclass(frozen=True)
class Target:
    """A chip with one version of its compiler. Entries that do not apply to that version are gone.

    Attributes:
        spec: how it was asked for, such as `hailo8@3.33`. version: the compiler version, as text.
        operators: by `Node.op_id` (`Conv`, `com.microsoft::FusedConv`). patterns: by name.
        path: the table it was read from. overlays: the files laid over it.
    """

    name: str
    spec: str
    description: str
    version: str
    facts: Facts
    pipeline: Pipeline
    sources: Mapping[str, Source]
    operators: Mapping[str, Operator]
    patterns: Mapping[str, Pattern]
    path: Path
    overlays: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return self.spec


def load_target(spec: str | os.PathLike[str], overlays: Iterable[str | os.PathLike[str]] = ()) -> Target:
    """The target a user names: `hailo8`, `hailo8@3.33`, or the path of a table (`my.toml`, `my.toml@3.33`).

    Args:
        spec: the target.
        overlays: files of facts that refine it, the last one first in command; rules/README.md tells what stands there.

    Raises:
        TargetError: there is no such target, its table or an overlay is broken, or it does not speak of that
            compiler version.
    """
    spec = os.fspath(spec)
    name, at, version = spec.rpartition("@") if "@" in Path(spec).name else (spec, "", "")
    table, path = _read_with_parents(_find(name), ())
    laid_over = tuple(Path(overlay) for overlay in overlays)
    for overlay in laid_over:
        table = _with_overlay(table, overlay)
    if not at:
        version = table.dfc_default
    wanted = _checked_version(spec, version, table, path)
    return Target(
        name=table.name,
        spec=spec if not _is_path(name) else table.name + (f"@{version}" if "@" in spec else ""),
        description=table.description,
        version=version,
        facts=table.facts,
        pipeline=table.pipeline,
        sources=table.sources,
        operators={op: _operator_at(entry, wanted) for op, entry in table.op.items()},
        patterns={name: _pattern_at(entry, wanted) for name, entry in table.pattern.items()},
        path=path,
        overlays=laid_over,
    )


def target_names() -> list[str]:
    """The targets that come with irkit."""
    return sorted(path.stem for path in bundled("rules").glob("*.toml"))


def _is_path(name: str) -> bool:
    return name.endswith(".toml") or Path(name).name != name


def _find(name: str) -> Path:
    if _is_path(name):
        return Path(name)
    if name in target_names():
        return bundled("rules") / f"{name}.toml"
    known = target_names()
    raise TargetError(
        f"there is no target `{name}`{suggest(name, known)}; known: {', '.join(known)}, or the path of a table of rules"
    )


def _checked_version(spec: str, version: str, table: Table, path: Path) -> Version:
    try:
        wanted = parse_version(version)
    except ValueError as error:
        problem = error if version else "there is no version after the @"
        raise TargetError(f"target `{spec}`: {problem}; write it as {table.name}@{table.dfc_default}") from None
    if wanted not in table.dfc:
        raise TargetError(f"target `{spec}`: {path} speaks of compiler versions {table.dfc} only")
    return wanted


def _pattern_at(entry: Pattern, version: Version) -> Pattern:
    if version in entry.dfc:
        return entry
    return Pattern(Status.UNKNOWN, confidence=Confidence.LOW, evidence=entry.evidence, advice=_known_for(entry))


def _known_for(entry: Operator | Pattern) -> str:
    return f"the table knows it for compiler versions {entry.dfc} only"


def _operator_at(entry: Operator, version: Version) -> Operator:
    if version not in entry.dfc:
        return Operator(Status.UNKNOWN, confidence=Confidence.LOW, evidence=entry.evidence, advice=_known_for(entry))
    forms = tuple(form for form in entry.forms if version in form.dfc)
    needs = tuple(need for need in entry.needs if version in need.dfc)
    if len(forms) == len(entry.forms) and len(needs) == len(entry.needs):
        return entry
    return dataclasses.replace(entry, forms=forms, needs=needs)


def _read_with_parents(path: Path, children: tuple[Path, ...]) -> tuple[Table, Path]:
    """A table with what it inherits filled in."""
    file = TomlFile(path, TargetError, is_kept=path.parent == bundled("rules"))
    table = file.decode(Table)
    base = Table(name=table.name, description=table.description)
    if table.inherits:
        parent_path = _parent(file, table.inherits)
        if parent_path.resolve() in {child.resolve() for child in (*children, path)}:
            file.fail(("inherits",), f"`{table.inherits}` inherits from this table in turn")
        base = _capped(_read_with_parents(parent_path, (*children, path))[0], table.inherited_confidence)
    whole = dataclasses.replace(
        _refined(file, base, table),
        name=table.name,
        description=table.description,
        dfc=table.dfc if table.dfc.bounds else base.dfc,
        dfc_default=table.dfc_default or base.dfc_default,
    )
    _check_identity(file, whole)
    _check_references(file, table, whole)
    return whole, path


_SURENESS = (Confidence.LOW, Confidence.MEDIUM, Confidence.HIGH)
_Known = TypeVar("_Known", bound=Fact)


def _capped(table: Table, most: Confidence) -> Table:
    """The table with no entry surer than that."""
    if most is Confidence.HIGH:
        return table

    def cap(fact: _Known) -> _Known:
        return dataclasses.replace(fact, confidence=min(fact.confidence, most, key=_SURENESS.index))

    def cap_operator(entry: Operator) -> Operator:
        forms, needs = tuple(map(cap, entry.forms)), tuple(map(cap, entry.needs))
        return dataclasses.replace(cap(entry), forms=forms, needs=needs)

    facts = {item.name: getattr(table.facts, item.name) for item in dataclasses.fields(Facts)}
    return dataclasses.replace(
        table,
        facts=Facts(**{name: cap(fact) if fact is not None else None for name, fact in facts.items()}),
        op={name: cap_operator(entry) for name, entry in table.op.items()},
        pattern={name: cap(entry) for name, entry in table.pattern.items()},
    )


def _with_overlay(table: Table, path: Path) -> Table:
    file = TomlFile(path, TargetError)
    for key in ("name", "inherits", "dfc", "dfc_default", "description"):
        if key in file.data:
            file.fail((key,), "stands in the table of a target (--target FILE); --rules refines the target there is")
    overlay = file.decode(Overlay)
    whole = _refined(file, table, overlay)
    _check_references(file, overlay, whole)
    return whole


def _parent(file: TomlFile, name: str) -> Path:
    beside = file.path.parent / f"{name}.toml"
    if beside.is_file():
        return beside
    try:
        return _find(name)
    except TargetError as problem:
        file.fail(("inherits",), str(problem))


def _refined(file: TomlFile, base: Table, by: Overlay) -> Table:
    """A new entry replaces the old one as a whole, since a verdict and its evidence belong together."""
    facts = {item.name: getattr(by.facts, item.name) for item in dataclasses.fields(Facts)}
    for index, name in enumerate(by.without):
        if name not in facts:
            file.fail(("without", index), f"there is no fact `{name}`{suggest(name, facts)}")
    kept = {name: fact for name, fact in facts.items() if fact is not None or name in by.without}
    return dataclasses.replace(
        base,
        facts=dataclasses.replace(base.facts, **kept),
        pipeline=by.pipeline if by.pipeline.passes else base.pipeline,
        sources={**base.sources, **by.sources},
        op=_with_additions(file, {**base.op, **_of_families(file, by), **by.op}, by),
        pattern={**base.pattern, **by.pattern},
    )


def _of_families(file: TomlFile, by: Overlay) -> Mapping[str, Operator]:
    """The entries that families stand for. An operator is in one family, and has no entry beside it."""
    operators: dict[str, Operator] = {}
    for name, family in by.family.items():
        for index, op in enumerate(family.operators):
            if op in by.op or op in operators:
                other = "an entry of its own" if op in by.op else "a family already"
                file.fail(("family", name, "operators", index), f"`{op}` has {other}")
            operators[op] = family.operator()
    return operators


def _with_additions(file: TomlFile, operators: dict[str, Operator], by: Overlay) -> Mapping[str, Operator]:
    for op, addition in by.add.items():
        entry = operators.get(op)
        if entry is None or op in by.op:
            problem = "has an entry of its own here" if op in by.op else f"has no entry{suggest(op, operators)}"
            file.fail(("add", op), f"`add` refines an inherited operator; `{op}` {problem}")
        operators[op] = dataclasses.replace(
            entry, forms=addition.forms + entry.forms, needs=entry.needs + addition.needs
        )
    return operators


def _check_identity(file: TomlFile, table: Table) -> None:
    if table.name != file.path.stem:
        file.fail(("name",), f"must be the name of the file, `{file.path.stem}`; found `{table.name}`")
    for key in ("dfc", "dfc_default"):
        if not str(getattr(table, key)):
            file.fail((), f"`{key}` is missing")
    try:
        if parse_version(table.dfc_default) not in table.dfc:
            file.fail(("dfc_default",), f"{table.dfc_default} is not within `dfc`, {table.dfc}")
    except ValueError as problem:
        file.fail(("dfc_default",), str(problem))


def _check_references(file: TomlFile, own: Overlay, whole: Table) -> None:
    """That what the file itself says names sources and patterns that there are, here or inherited."""
    for name in own.pattern:
        if name not in PATTERNS:
            file.fail(("pattern", name), f"irkit recognises no pattern of that name{suggest(name, PATTERNS)}")
    for keys, evidence in _all_evidence(own):
        if evidence.source not in whole.sources:
            file.fail(keys, f"there is no source `{evidence.source}`{suggest(evidence.source, whole.sources)}")
    for op, entry in own.op.items():
        for index, pattern in enumerate(entry.patterns):
            if pattern not in whole.pattern:
                keys = ("op", op, "patterns", index)
                file.fail(keys, f"there is no pattern `{pattern}`{suggest(pattern, whole.pattern)}")


def _all_evidence(own: Overlay) -> Iterator[tuple[Keys, Evidence]]:
    """Every piece of evidence with the place of its source."""
    holders: list[tuple[Keys, Any]] = [(("op", op), entry) for op, entry in own.op.items()]
    holders += [(("family", name), entry) for name, entry in own.family.items()]
    holders += [(("pattern", name), entry) for name, entry in own.pattern.items()]
    holders += [(("facts", item.name), getattr(own.facts, item.name)) for item in dataclasses.fields(Facts)]
    for kind, entries in (("op", own.op), ("add", own.add)):
        for op, entry in entries.items():
            holders += [((kind, op, "forms", index), form) for index, form in enumerate(entry.forms)]
            holders += [((kind, op, "needs", index), need) for index, need in enumerate(entry.needs)]
    for keys, holder in holders:
        for index, evidence in enumerate(holder.evidence if holder is not None else ()):
            yield (*keys, "evidence", index, "source"), evidence
