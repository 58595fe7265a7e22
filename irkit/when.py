"""The targets that a pass or a rule is for: `when="hailo8"`, `when=("hailo8l", "hailo8@>=3.28,<4")`, or a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import TypeAlias

from irkit.errors import OptionError
from irkit.faults import line_of
from irkit.pass_base import Pass
from irkit.table import VersionRange, parse_version
from irkit.target import Target

When: TypeAlias = "str | Sequence[str] | Callable[[Target], bool]"
"""Chips, each with a range of compiler versions where only those are meant, or a function of the target; "" for all."""


def not_for(owner: object, target: Target | None) -> str:
    """Why a pass or rule, by its attribute `when`, is not for the target, or "". Without a target nothing is asked.

    Raises `OptionError`, with the place where it is written, for what is no such attribute, or fails.
    """
    when = _when_of(owner)
    if target is None or not when:
        return ""
    try:
        return _reason(when, target)
    except Exception as error:
        kind = "" if isinstance(error, OptionError) else f"{type(error).__name__}: "
        wanted = "when" if callable(when) else f"when={when!r}"
        raise OptionError(f"{_described(owner, when)}: {wanted}: {kind}{error}") from error


def _reason(when: When, target: Target) -> str:
    if callable(when):
        return "" if when(target) else f"it is not for {target}"
    wanted = (when,) if isinstance(when, str) else tuple(when)
    return "" if any(_holds(text, target) for text in wanted) else f"it is for {' or '.join(wanted)}, not for {target}"


def _described(owner: object, when: When) -> str:
    """A pass or a rule with the place of its `when`, or of itself."""
    if isinstance(owner, Pass):
        place = line_of(when) if callable(when) else owner.place()
        return f"pass {owner.name!r} ({place})"
    function = when if callable(when) else getattr(owner, "pattern", None)
    return f"rule {getattr(owner, 'label', '')!r} ({line_of(function)})"


def _when_of(owner: object) -> When:
    """Its `when`; a function of a class may ask for `self` or not."""
    found: object = inspect.getattr_static(owner, "when", "")
    if isinstance(found, staticmethod):
        found = found.__func__
    if callable(found) and len(inspect.signature(found).parameters) > 1:
        return partial(found, owner)
    return found  # type: ignore[return-value]  # anything else fails where it is read


def _holds(text: str, target: Target) -> bool:
    chip, _, versions = text.partition("@")
    if not chip or not fnmatchcase(target.name, chip.strip()):
        return False
    if not versions:
        return True
    found = parse_version(target.version)
    try:
        if versions[:1].isdigit():
            wanted = parse_version(versions)
            return found[: len(wanted)] == wanted
        return found in VersionRange.from_toml(versions)
    except ValueError as error:
        how = "write `hailo8`, `hailo8@3.33` or `hailo8@>=3.28,<4`"
        raise OptionError(f"{error}; {how}") from None
