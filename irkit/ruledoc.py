"""What is told of a code: the documentation of lint rules, and of what passes and the pipeline find."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from irkit.diagnostics import Severity

_CODE = re.compile(r"(IRK0|HAI[1-7])\d\d")
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HEADING = re.compile(r"^(Why|Example|Fix): *", re.MULTILINE)


@dataclass(frozen=True)
class RuleDoc:
    """A code and what it means.

    Attributes:
        code: `IRK` for the model itself; `HAI1` operators, `HAI2` shapes, `HAI3` quantization, `HAI4` resources,
            `HAI5` calibration and pre-processing, `HAI6` what the compiler said, `HAI7` what it made.
        name: kebab-case, stable.
        severity: of its findings, unless a finding says otherwise.
        what, why, fix: paragraphs. example: lines of code or prose, "" where there is none.
    """

    code: str
    name: str
    severity: Severity
    what: str
    why: str
    fix: str
    example: str = ""


def read_doc(code: str, name: str, severity: Severity, text: str) -> RuleDoc:
    """The documentation of a code from its text: what it is, then under headings `Why:`, `Example:`, `Fix:`.

    `Example:` may be left out. Raises `ValueError` where the code, the name or the text is not of that form.
    """
    if not _CODE.fullmatch(code) or not _NAME.fullmatch(name):
        raise ValueError(f"{code} {name}: a rule has a code such as HAI101 and a kebab-case name")
    what, *parts = _HEADING.split(inspect.cleandoc(text))
    headings, bodies = parts[::2], parts[1::2]
    if headings not in (["Why", "Fix"], ["Why", "Example", "Fix"]) or not all(map(str.strip, (what, *bodies))):
        raise ValueError(f"rule {code}: its docstring says what, then `Why:`, `Example:` where it has one, and `Fix:`")
    found = dict(zip(headings, bodies, strict=True))
    why, fix = (" ".join(found[heading].split()) for heading in ("Why", "Fix"))
    return RuleDoc(code, name, severity, " ".join(what.split()), why, fix, inspect.cleandoc(found.get("Example", "")))
