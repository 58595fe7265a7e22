"""Key and value heads that are repeated for groups of queries, recognised by their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from irkit.ir import Node
from irkit.linter import Subject


@dataclass(frozen=True)
class Repeat:
    """An Expand that repeats heads: each of `heads` becomes `times`."""

    heads: int
    times: int


def repeated_heads(subject: Subject) -> Mapping[Node, Repeat]:
    """The Expand nodes that repeat key or value heads for grouped queries.

    (N, G, S, D) gets an axis behind the heads, which is repeated and then merged with them: (N, G * R, S, D).
    """
    found = {}
    for expand in subject.of("Expand"):
        repeat = _repeat(subject, expand)
        if repeat is not None:
            found[expand] = repeat
    return found


def _repeat(subject: Subject, expand: Node) -> Repeat | None:
    value = expand.input(0)
    before, after = (subject.shape(value) if value is not None else None), subject.shape(expand.output)
    users = expand.output.users
    if before is None or after is None or len(before) != 5 or len(after) != 5 or len(users) != 1:
        return None
    merged = subject.shape(users[0].output) if users[0].op == "Reshape" else None
    grown = [axis for axis in range(5) if before[axis] != after[axis]]
    heads, times = after[1], after[2]
    if grown != [2] or before[2] != 1 or not isinstance(heads, int) or not isinstance(times, int):
        return None
    is_merged = merged is not None and merged == (after[0], heads * times, *after[3:])
    return Repeat(heads, times) if is_merged else None
