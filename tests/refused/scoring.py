"""How well lint knows what the compiler refuses and takes, counted on the forms of tests/refused and tests/accepted."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from irkit import Finding, Model, Severity, lint, parse_model

TESTS = Path(__file__).parents[1]
REFUSED = TESTS / "refused"
ACCEPTED = TESTS / "accepted"
SIDES = ("development", "held_out", "held_out_2", "development_2", "held_out_3", "held_out_4")

_NOBODY_KNOWS = re.compile(r"whether the compiler takes .* is not known")
"""What says that nobody knows is told apart: it is no verdict."""

_OF_ACCEPTANCE = re.compile(r"HAI[124]|HAI30[12]|IRK0[0-5]")
"""Codes of rules that say what the compiler refuses or chokes on; the others are about accuracy or style."""

_HEADER = re.compile(r"^# (\w+): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Form:
    """A small model, and what its header says of it."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> Form:
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def name(self) -> str:
        return self.path.stem

    @cached_property
    def header(self) -> dict[str, str]:
        return dict(_HEADER.findall(self.text.split("\n\n", 1)[0]))

    @property
    def side(self) -> str:
        return self.path.parent.name

    @property
    def line(self) -> str:
        """The line of the compiler: 3.x or 5.x."""
        return self.header["line"]

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes of which one must be flagged; `input NAME` stands for an input."""
        return tuple(self.header["node"].split(" | "))

    @property
    def also(self) -> frozenset[str]:
        """Nodes that the same reports speak against."""
        return frozenset(name for name in self.header.get("also", "").split(", ") if name)

    @property
    def must_be_error(self) -> bool:
        return self.line == "3.x" and self.header["evidence"] == "high"

    def model(self) -> Model:
        return parse_model(self.text, source=str(self.path))


def refused(*sides: str) -> list[Form]:
    """The refused forms, by name."""
    paths = [path for side in sides or SIDES for path in (REFUSED / side).glob("*.irkit")]
    return [Form.read(path) for path in sorted(paths, key=lambda path: path.stem)]


def accepted() -> list[Form]:
    """The forms that are known to be taken, by name."""
    return [Form.read(path) for path in sorted(ACCEPTED.glob("*.irkit"))]


@dataclass(frozen=True)
class Score:
    """What lint says of a refused form.

    Attributes:
        at_node: findings of warning or error that say of the right node that it is refused, or may be.
        unsure: whether all it says there is that nobody knows.
        elsewhere: errors at nodes that no report speaks against.
    """

    form: Form
    at_node: tuple[Finding, ...]
    unsure: bool
    elsewhere: tuple[Finding, ...]

    @property
    def right(self) -> bool:
        return bool(self.at_node)

    @property
    def level(self) -> Severity | None:
        return max((finding.severity for finding in self.at_node), default=None)

    @property
    def level_is_right(self) -> bool:
        """Error where the evidence of the 3.x line is high; any level where it is not."""
        return self.level is Severity.ERROR or (self.right and not self.form.must_be_error)

    @property
    def outcome(self) -> str:
        """`right`, `not known`, or `missed`, which is what calls the form supported."""
        return "right" if self.right else "not known" if self.unsure else "missed"

    @property
    def codes(self) -> str:
        return ", ".join(sorted({finding.code for finding in self.at_node}))


@cache
def score(form: Form, target: str = "hailo8") -> Score:
    """Lint a refused form and judge what is said of it."""
    found = [finding for finding in lint(form.model(), target).findings if _OF_ACCEPTANCE.match(finding.code)]
    loud = [finding for finding in found if finding.severity >= Severity.WARNING]
    at_node = [finding for finding in loud if any(_speaks_of(finding, node) for node in form.nodes)]
    spoken_against = {*form.nodes, *form.also}
    elsewhere = [
        finding
        for finding in loud
        if finding.severity is Severity.ERROR and finding.node and finding.node not in spoken_against
    ]
    verdicts = tuple(finding for finding in at_node if not _NOBODY_KNOWS.search(finding.message))
    return Score(form, verdicts, bool(at_node) and not verdicts, tuple(elsewhere))


def _speaks_of(finding: Finding, node: str) -> bool:
    if node.startswith("input "):
        return not finding.node and f"`{node.removeprefix('input ')}`" in finding.message
    return node == finding.node or node in finding.also


@dataclass(frozen=True)
class Alarm:
    """What lint says of a form that is known to be taken: errors are false, warnings doubts."""

    form: Form
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


@cache
def alarm(form: Form, target: str = "hailo8") -> Alarm:
    """Lint an accepted form."""
    found = [finding for finding in lint(form.model(), target).findings if _OF_ACCEPTANCE.match(finding.code)]
    errors = tuple(finding for finding in found if finding.severity is Severity.ERROR)
    return Alarm(form, errors, tuple(finding for finding in found if finding.severity is Severity.WARNING))


def share(scores: Sequence[Score]) -> float:
    """The share that is flagged at the right node; 1 of none."""
    return sum(score.right for score in scores) / len(scores) if scores else 1.0


def of(scores: Iterable[Score], *, side: str = "", line: str = "") -> Iterator[Score]:
    """The scores of a side, of a line of the compiler, or of both."""
    for item in scores:
        if side in ("", item.form.side) and line in ("", item.form.line):
            yield item
