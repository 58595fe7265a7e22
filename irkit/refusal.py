"""A rule's answer that it leaves a place alone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """A rule's answer that it leaves a place alone, and why."""

    reason: str


def refuse(reason: str) -> Refusal:
    """What a rule returns from `check` or `replace` to leave the place as it is; users are shown the reason."""
    return Refusal(reason)
