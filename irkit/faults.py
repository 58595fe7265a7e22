"""Mistakes in passes, told so that they can be mended: the pass, the file and line of its author, the node.

An error is followed to the line of the pass's own file. Mistakes that show only afterwards (a broken order, a renamed
input) are led back to the edits that made them, by an `EditWatch`.
"""

from __future__ import annotations

import dis
import inspect
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import InvariantError, PassError, UserPassError
from irkit.installed import bundled
from irkit.ir import Graph, Node, Value
from irkit.pass_base import Pass

if TYPE_CHECKING:
    from irkit.journal import Edit

_EDITS_PER_NODE = 100
_SPARE_EDITS = 50_000
_CHANGES = frozenset({"inputs", "attr", "op", "outputs"})


def is_bundled(item: Pass | type[Pass]) -> bool:
    """Whether a pass came with irkit, so that what goes wrong in it is no mistake of the user's."""
    return bool(item.source) and Path(item.source).parent == bundled("passes")


def line_of(function: Callable[..., Any] | None) -> str:
    """`FILE:LINE` where a function is defined; "" where that is not known."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def place_in(error: BaseException, function: Callable[..., Any] | None) -> str:
    """`FILE:LINE` of the innermost line of the function's file that an error came through, else where it is defined."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    if code is None:
        return ""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == code.co_filename]
    return f"{code.co_filename}:{lines[-1]}" if lines else line_of(function)


def return_line(function: Callable[..., Any] | None) -> str:
    """`FILE:LINE` of the only `return` of a function; where it is defined, if there are several."""
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    if code is None:
        return ""
    line, found = code.co_firstlineno, set()
    for instruction in dis.get_instructions(code):
        started = instruction.starts_line
        line = getattr(instruction, "line_number", None) or (started if started else line)
        if instruction.opname in ("RETURN_VALUE", "RETURN_CONST"):
            found.add(line)
    return f"{code.co_filename}:{found.pop()}" if len(found) == 1 else line_of(function)


def described(error: BaseException) -> str:
    """What an error says, with its kind where irkit did not raise it on purpose."""
    if isinstance(error, SystemExit):
        return f"it calls sys.exit({'' if error.code is None else repr(error.code)}); raise an error instead"
    if isinstance(error, RecursionError):
        return "RecursionError: it calls itself too deeply"
    kind = "" if type(error).__module__.startswith("irkit.") else f"{type(error).__name__}: "
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    if isinstance(error, InvariantError):
        text = str(error).partition("\n")[0]
        text += "; graph.sort() puts nodes behind what they read" if "order" in text.partition(":")[0] else ""
    return f"{kind}{text}" if text else type(error).__name__


def fault(pass_name: str, place: str, what: str) -> str:
    """The message of a mistake in a pass."""
    where = f" ({place})" if place else ""
    return f"pass {pass_name!r}{where}: {what}" if pass_name else f"{what}{where}"


def user_error(item: Pass, error: BaseException, watch: EditWatch) -> UserPassError:
    """The error that tells a user of a mistake in a pass of theirs."""
    if isinstance(error, UserPassError):
        return error
    if isinstance(error, PassError) and error.place:
        return UserPassError(str(error), place=error.place)
    run = inspect.unwrap(type(item).run)
    code = run.__code__
    file = code.co_filename if code.co_filename != __file__ else item.source
    frame, line = None, 0
    for step, number in traceback.walk_tb(error.__traceback__):
        if step.f_code.co_filename in (file, item.source):
            frame, line = step, number
    node = _node_of(frame.f_locals) if frame is not None else None
    place = f"{frame.f_code.co_filename}:{line}" if frame is not None else ""
    if not place and isinstance(error, InvariantError):
        place = watch.place_of(error.node)
    place = place or watch.last_place or item.place()
    what = described(error)
    at = f"at {node!r}: " if node is not None and repr(node) not in what else ""
    return UserPassError(fault(item.name, place, at + what), place=place)


def _node_of(names: dict[str, Any]) -> Node | None:
    """The node that a piece of code was about: the one called `node`, or the last it has a name for."""
    nodes = [item for item in names.values() if isinstance(item, Node)]
    named = names.get("node")
    if isinstance(named, Node) or not nodes:
        values = [item.producer for item in names.values() if isinstance(item, Value) and item.producer is not None]
        return named if isinstance(named, Node) else values[-1] if values else None
    return nodes[-1]


class EditWatch:
    """Follows the journal while a pass runs: which line of the pass made which edit, and whether it ever ends.

    Args:
        item: the pass.
        nodes: how many nodes the model has.

    Attributes: `last_place` is where the last edit was made, as `FILE:LINE`.
    """

    def __init__(self, item: Pass, nodes: int) -> None:
        self._item = item
        run = getattr(inspect.unwrap(type(item).run), "__code__", None)
        self._files = {name for name in (item.source, run.co_filename if run is not None else "") if name}
        self._left = _EDITS_PER_NODE * nodes + _SPARE_EDITS
        self._places: dict[object, str] = {}
        self._by_kind: dict[str, str] = {}
        self._gone: dict[Node, str] = {}
        self.last_place = ""

    def __call__(self, edit: Edit) -> None:
        """Take down an edit. Raises `PassError` where there are too many for a pass that comes to an end."""
        self._left -= 1
        if not self._left:
            raise PassError(f"it does not end: it has made {len(self._places)} nodes and values, and goes on")
        place = self._place()
        if not place:
            return
        target = edit.target
        self.last_place = self._by_kind[edit.kind] = self._places[target] = place
        if isinstance(target, Value) and target.producer is not None:
            self._places[target.producer] = place
        if isinstance(target, Node) and target.graph is None and edit.kind in _CHANGES:
            self._gone[target] = place

    def _place(self) -> str:
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename in self._files:
                return f"{frame.f_code.co_filename}:{frame.f_lineno}"
            frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
        return ""

    def nodes(self) -> list[Node]:
        """The nodes that were edited."""
        return [item for item in self._places if isinstance(item, Node)]

    def place_of(self, *targets: object) -> str:
        """The line that last edited the first of these nodes, values, graphs or kinds of edits it knows; else ""."""
        found = (self._by_kind.get(item) if isinstance(item, str) else self._places.get(item) for item in targets)
        return next((place for place in found if place), "")

    def check_removed(self) -> None:
        """Raise `PassError` where a node was edited that is in no graph any more."""
        for node, place in self._gone.items():
            if node.graph is None:
                what = f"it edits {node!r} after having removed it"
                raise PassError(fault(self._item.name, place, what), place=place)


def broken(item: Pass, what: str, watch: EditWatch, *targets: Graph | Node | Value | str) -> UserPassError:
    """The error for a rule that the pass has broken, led back to the edit of one of the targets."""
    place = watch.place_of(*targets) or watch.last_place or item.place()
    return UserPassError(fault(item.name, place, what), place=place)
