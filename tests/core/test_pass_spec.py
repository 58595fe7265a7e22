"""Pipeline strings become passes with typed options, and are printed back."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Literal

import pytest

from irkit import Context, Model, OptionError, Pass, define_pass
from irkit.pass_spec import option_type, parse_passes, split_specs, type_label
from tests.whole.sources import ROOT


class Mode(enum.Enum):
    FAST = "fast"
    GOOD = "good"


@define_pass("many-options")
class ManyOptions(Pass):
    """Has an option of every kind."""

    flag: bool = False
    count: int = 1
    ratio: float = 0.5
    label: str = ""
    mode: Mode = Mode.FAST
    level: Literal["low", "high"] = "low"
    names: tuple[str, ...] = ()
    pair: tuple[int, int] = (0, 0)
    limit: int | None = None
    bind: Mapping[str, int] = None  # type: ignore[assignment]

    def run(self, model: Model, context: Context) -> None:
        """Nothing."""


class OneLibrary:
    def find(self, name: str) -> type[Pass]:
        return ManyOptions


def parsed(options: str) -> Pass:
    (item,) = parse_passes(f"many-options{{{options}}}", OneLibrary())  # type: ignore[arg-type]
    return item


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("flag=true", "flag", True),
        ("flag=no", "flag", False),
        ("count=3", "count", 3),
        ("ratio=1e-3", "ratio", 1e-3),
        ("label=abc", "label", "abc"),
        ("label='a b'", "label", "a b"),
        ("mode=good", "mode", Mode.GOOD),
        ("level=high", "level", "high"),
        ("names=(a,b)", "names", ("a", "b")),
        ("names=[a]", "names", ("a",)),
        ("names=('a', 'b')", "names", ("a", "b")),
        ("names=a", "names", ("a",)),
        ("pair=(1,2)", "pair", (1, 2)),
        ("limit=none", "limit", None),
        ("limit=4", "limit", 4),
        ("bind={N=1,M=2}", "bind", {"N": 1, "M": 2}),
    ],
)
def test_options_have_the_type_of_their_field(text: str, name: str, value: object) -> None:
    assert getattr(parsed(text), name) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flag=maybe", "option `flag` of pass `many-options` takes one of true, yes"),
        ("count=3.5", "takes a number"),
        ("mode=best", "takes one of fast, good; found `best`"),
        ("level=1", "takes one of low, high"),
        ("pair=(1,2,3)", "takes 2 values"),
        ("bind={N}", "takes name=value pairs"),
        ("counts=3", r"no option 'counts'; its options: bind, count"),
        ("count", "write an option as name=value"),
    ],
)
def test_wrong_options_say_what_is_right(text: str, expected: str) -> None:
    with pytest.raises(OptionError, match=expected):
        parsed(text)


def test_pipelines_are_split_outside_of_brackets() -> None:
    assert split_specs("a, b{x=(1,2),y={z=1}} ,c") == ["a", "b{x=(1,2),y={z=1}}", "c"]
    assert split_specs(" ") == []
    for wrong in ("a{x=1", "a}", "a{x=(1}"):
        with pytest.raises(OptionError, match="bracket"):
            split_specs(wrong)


def test_a_pass_is_printed_as_it_parses() -> None:
    for text in ("flag=True", "names=('a', 'b')", "count=3,ratio=0.25"):
        item = parsed(text)
        assert parse_passes(str(item), OneLibrary()) == [item]  # type: ignore[arg-type]


def test_pipeline_strings_that_help_and_docstrings_show_are_right() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "irkit").rglob("*.py")]
    shown = {spec for text in sources for spec in re.findall(r"[`\"]+((?:[a-z]+-[a-z-]+[{,])+[^`\"\n]*})", text)}
    assert any("gelu-to-relu{" in spec for spec in shown)
    for spec in shown:
        parse_passes(spec)


def test_pass_objects_go_through() -> None:
    item = ManyOptions()
    assert parse_passes([item, "remove-dead"])[0] is item
    assert parse_passes(item) == [item]


def test_types_are_told_as_people_write_them() -> None:
    shown = {name: type_label(option_type(ManyOptions, name)) for name in ("flag", "mode", "level", "names", "limit")}
    assert shown == {
        "flag": "bool",
        "mode": "fast | good",
        "level": "low | high",
        "names": "tuple[str, ...]",
        "limit": "int | None",
    }
