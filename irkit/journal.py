"""The journal: every edit of a model as an undoable entry.

All edits of the IR go through `Journal.record` (see `irkit.ir`), so roll-back, tracing, "did anything change", the
worklist of the rewriter and the dirty set of inference are all read from here, and nobody has to clone a graph.

Edits come in *groups*: one group is one rewrite (a rule applied at a place) or whatever a pass does outside of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

Apply: TypeAlias = "Callable[[Any, Any], None]"
"""Puts a target into a state: `apply(target, state)`."""


@dataclass(frozen=True, eq=False)
class Group:
    """One rewrite: which pass and rule made it, and at which node (name of its root)."""

    pass_name: str
    rule: str
    root: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.root}" if self.root else self.rule


class Edit:
    """One primitive edit: `target` went from `old` to `new`, and `apply` puts it into either state."""

    __slots__ = ("apply", "group", "kind", "new", "old", "target")

    def __init__(self, kind: str, apply: Apply, target: Any, old: Any, new: Any, group: Group | None) -> None:
        self.kind = kind
        self.apply = apply
        self.target = target
        self.old = old
        self.new = new
        self.group = group

    def __repr__(self) -> str:
        return f"Edit({self.kind} of {self.target!r})"


Listener: TypeAlias = "Callable[[Edit], None]"


class Journal:
    """The edits of one model, in order, with a position that can move back and forth.

    `position` is the number of edits in force. Recording at an earlier position drops the edits beyond it.
    """

    def __init__(self) -> None:
        self._edits: list[Edit] = []
        self._position = 0
        self._group: Group | None = None
        self._listeners: list[Listener] = []

    @property
    def position(self) -> int:
        """How many edits are in force; a mark to come back to."""
        return self._position

    def record(self, kind: str, apply: Apply, target: Any, old: Any, new: Any) -> None:
        """Make the edit (call `apply(target, new)`) and enter it."""
        apply(target, new)
        if self._position < len(self._edits):
            del self._edits[self._position :]
        edit = Edit(kind, apply, target, old, new, self._group)
        self._edits.append(edit)
        self._position += 1
        for listener in self._listeners:
            listener(edit)

    def since(self, mark: int) -> list[Edit]:
        """The edits in force that were made after `mark`."""
        return self._edits[mark : self._position]

    def undo_to(self, mark: int) -> None:
        """Go back to `mark`; the edits stay, so that `redo_to` can bring them back."""
        if mark > self._position:
            raise ValueError(f"cannot undo from {self._position} to {mark}")
        while self._position > mark:
            self._position -= 1
            edit = self._edits[self._position]
            edit.apply(edit.target, edit.old)
            for listener in self._listeners:
                listener(edit)

    def redo_to(self, mark: int) -> None:
        """Bring undone edits back, up to `mark`."""
        if not self._position <= mark <= len(self._edits):
            raise ValueError(f"cannot redo from {self._position} to {mark}")
        while self._position < mark:
            edit = self._edits[self._position]
            edit.apply(edit.target, edit.new)
            self._position += 1
            for listener in self._listeners:
                listener(edit)

    def clear(self) -> None:
        """Forget all edits (they stay made) and what they keep alive. Marks taken before are void."""
        self._edits.clear()
        self._position = 0

    @contextmanager
    def group(self, pass_name: str, rule: str, root: str = "") -> Iterator[Group]:
        """Edits made inside belong to one new group."""
        outer = self._group
        self._group = Group(pass_name, rule, root)
        try:
            yield self._group
        finally:
            self._group = outer

    @contextmanager
    def joined(self, rule: str, root: str = "") -> Iterator[None]:
        """Edits made inside belong to the group that is open, or to one new group."""
        if self._group is not None:
            yield
            return
        with self.group("", rule, root):
            yield

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """Call `listener` with every edit made, undone or redone inside."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
