"""Known findings: a file that a project keeps, so that only new ones are told.

A finding is known again by its fingerprint, which is made of what it says and where it is, without the numbers that
exporters give to nodes and values: a node that is added elsewhere changes no fingerprint. Where several findings of a
model share one, the file says how many.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from irkit.diagnostics import Finding, Report, Suppressed
from irkit.errors import OptionError, OutputError

FORMAT = 1

_QUOTED = re.compile(r"`([^`]*)`")
_NUMBER = re.compile(r"(?<=[A-Za-z])_?\d+(?=_|$|/)|(?<=_)\d+(?=_|$|/)")
"""A number that makes a name unique: `Conv_12`, `/block/Add_1_output_0`, `conv2d_3`, `val_7`; not `blocks.3`."""


def fingerprint(finding: Finding) -> str:
    """What a finding is known by again, as 16 hexadecimal digits."""
    place = (finding.code, finding.op, finding.origin.module, _plain(finding.node))
    text = "\n".join((*place, _QUOTED.sub(lambda match: _plain(match[1]), finding.message)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _plain(name: str) -> str:
    """A name without the numbers that make it unique."""
    return _NUMBER.sub("", name)


def fingerprints(findings: Sequence[Finding]) -> list[str]:
    """Fingerprints, one a finding; those that several share are numbered: `...:2` is the second."""
    counts: Counter[str] = Counter()
    found = []
    for finding in findings:
        text = fingerprint(finding)
        counts[text] += 1
        found.append(f"{text}:{counts[text]}")
    return found


def set_known_aside(report: Report, file: Path) -> int:
    """Set aside the findings that the file knows of this model. Returns how many it knows that are no longer there.

    Raises `OptionError` where the file cannot be read.
    """
    models = _read(file)
    entries = models.get(_key(report, file)) or models.get(_base(report), [])
    known = Counter({entry["fingerprint"]: entry["count"] for entry in entries})
    fresh = []
    for finding in report.findings:
        text = fingerprint(finding)
        if known[text] > 0:
            known[text] -= 1
            report.suppressed.append(Suppressed(finding, "baseline", f"known in {file.name}"))
        else:
            fresh.append(finding)
    report.findings[:] = fresh
    return sum(known.values())


def write_known(report: Report, file: Path) -> int:
    """Write that the findings of this report are known; those of other models in the file stay. Returns how many.

    Raises `OptionError` where the file is there and cannot be read, `OutputError` where it cannot be written.
    """
    models = _read(file) if file.exists() else {}
    models[_key(report, file)] = _entries(report.findings)
    text = json.dumps({"irkit-baseline": FORMAT, "models": dict(sorted(models.items()))}, indent=2, ensure_ascii=False)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(file)
    except OSError as problem:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{file}: cannot be written: {problem.strerror}") from problem
    return len(report.findings)


def _entries(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """What the file says of each fingerprint: how often, and, for people, what and where the first one is."""
    entries: dict[str, dict[str, Any]] = {}
    for finding in findings:
        text = fingerprint(finding)
        told = {"code": finding.code, "rule": finding.rule, "node": finding.node, "message": finding.message}
        entries.setdefault(text, {"fingerprint": text, "count": 0, **told})["count"] += 1
    return sorted(entries.values(), key=lambda entry: (entry["code"], entry["node"], entry["fingerprint"]))


def _key(report: Report, file: Path) -> str:
    """The model as the file names it: from the file's folder where it is below it, else without folders."""
    model, folder = Path(os.path.abspath(report.model)), Path(os.path.abspath(file)).parent
    return model.relative_to(folder).as_posix() if model.is_relative_to(folder) else _base(report)


def _base(report: Report) -> str:
    return re.split(r"[\\/]", report.model)[-1]


def _read(file: Path) -> dict[str, list[dict[str, Any]]]:
    """The entries of a file, by model."""
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
        if plain["irkit-baseline"] != FORMAT:
            raise ValueError(f"its format is {plain['irkit-baseline']!r}, not {FORMAT}")
        models = {str(name): list(entries) for name, entries in plain["models"].items()}
        for entry in (entry for entries in models.values() for entry in entries):
            if not isinstance(entry["fingerprint"], str) or not isinstance(entry["count"], int):
                raise TypeError("an entry has no fingerprint and count")
    except OSError as problem:
        hint = "; --write-baseline writes it" if isinstance(problem, FileNotFoundError) else ""
        raise OptionError(f"{file}: the baseline cannot be read: {problem.strerror}{hint}") from problem
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        message = f"{file}: is no baseline of irkit ({problem}); delete it and write it anew with --write-baseline"
        raise OptionError(message) from problem
    return models
