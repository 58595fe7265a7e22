"""Running one pass on a model as it stands, and telling what is wrong with what it did."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from irkit.errors import InputError, InvariantError, PassError
from irkit.journal import Edit, Group
from irkit.model import Model
from irkit.outcome import Check
from irkit.pass_base import Context, Effect, Pass
from irkit.pipeline import run_pipeline
from irkit.proof import Fault, ProofVerdict, prove
from irkit.verifier import verify

Key: TypeAlias = "tuple[str, str]"
"""A rewrite: its rule and the name of its root."""

UNPROVEN = "unproven"
"""Kind of a problem that is none: what the pass did could not be judged."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with what a pass did.

    Attributes:
        kind: `wrong` (it changed the function, though it is declared exact), `cannot run` (what it left), `invalid` (a
            broken graph), `failed` (it raised an error, or broke its contract), `bad` (the user's check says so), or
            `unproven`.
        text: what is wrong, in words.
        fault: the value that is wrong first; for `wrong`.
    """

    kind: str
    text: str
    fault: Fault | None = None

    @property
    def sign(self) -> str:
        """What tells it from other problems: its kind, and where a pass failed, the line."""
        place = re.search(r"[^\s(]+\.py:\d+", self.text) if self.kind == "failed" else None
        return f"{self.kind} {place[0]}" if place else self.kind


class _AllBut(set[Key]):
    """The rewrites that are banned where only a few are allowed."""

    def __init__(self, allowed: Collection[Key]) -> None:
        super().__init__()
        self._allowed = frozenset(allowed)

    def __contains__(self, key: object) -> bool:
        return key not in self._allowed


@dataclass(frozen=True)
class Suspect:
    """A pass, what it runs in, and how what it does is judged.

    Attributes:
        item: the pass.
        context: what it runs in; it is not changed.
        check: says whether a model, written to a file by `write`, is bad; None: the pass is held to its effect.
    """

    item: Pass
    context: Context
    check: Check | None = None
    write: Callable[[Model], Path] | None = None

    def run(self, model: Model, allowed: Collection[Key] | None = None) -> Problem | None:
        """Let the pass work on the model, with all or only some of its rewrites, and tell what is wrong."""
        banned = set(self.context.banned) if allowed is None else _AllBut(allowed)
        context = replace(
            self.context, findings=[], notes={}, refusals={}, moved=deepcopy(self.context.moved), banned=banned
        )
        return judged(self, model, context)

    def tried(self, model: Model, allowed: Collection[Key] | None = None) -> Problem | None:
        """The same, and the model is as it was afterwards."""
        mark = model.journal.position
        try:
            return self.run(model, allowed)
        finally:
            model.journal.undo_to(mark)

    def is_bad(self, model: Model) -> str:
        """What the user's check says of the model as it stands."""
        assert self.check is not None
        assert self.write is not None
        return self.check(self.write(model))


def judged(suspect: Suspect, model: Model, context: Context) -> Problem | None:
    """Run the pass in this context, which it may change, and tell what is wrong with what it did."""
    item, start = suspect.item, model.journal.position
    try:
        run = run_pipeline(model, [item], context, verify="none").passes[0]
    except InputError as error:
        if not isinstance(error, PassError):
            raise
        return Problem("failed", str(error))
    except Exception as error:  # noqa: BLE001  (whatever a user's pass raises)
        return Problem("failed", f"{type(error).__name__}: {error}")
    if run.failed:
        return Problem("failed", run.failed)
    try:
        verify(model)
    except InvariantError as error:
        return Problem("invalid", str(error).partition("\n")[0])
    if not run.changed:
        return None
    if suspect.check is not None:
        said = suspect.is_bad(model)
        return Problem("bad", said) if said else None
    if item.effect is not Effect.EXACT:
        return Problem(UNPROVEN, f"it is declared {item.effect.value}, so it may change the function")
    return _proven(model, start, item, context)


def _proven(model: Model, start: int, item: Pass, context: Context) -> Problem | None:
    proof = prove(model, start, model.journal.position, [item.name], context.moved)
    if proof.verdict is ProofVerdict.NOT_VERIFIED:
        return Problem(UNPROVEN, proof.reason)
    if proof.verdict is ProofVerdict.PROVEN:
        return None
    fault = proof.faults[0]
    if not fault.value:
        return Problem("cannot run", fault.reason, fault)
    return Problem("wrong", f"{fault.reason} (value {fault.value})", fault)


def rewrites(edits: Sequence[Edit]) -> list[Key] | None:
    """The rewrites these edits are of, in order; None where some belong to none, so that they cannot be told apart."""
    groups: dict[Group, None] = {}
    for edit in edits:
        if edit.group is not None:
            groups[edit.group] = None
        elif edit.kind != "type":
            return None
    return list(dict.fromkeys((group.rule, group.root) for group in groups))
