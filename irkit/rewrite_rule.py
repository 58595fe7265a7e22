"""Rewrite rules: a pattern, a replacement, and what may keep a rule from a place."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from irkit.builder import Builder
from irkit.errors import InputError, PassError
from irkit.faults import described, line_of, place_in
from irkit.ir import Node
from irkit.matcher import Match, Matcher
from irkit.pass_base import Context
from irkit.pattern_graph import PatternGraph, trace
from irkit.when import When

if TYPE_CHECKING:
    from irkit.model import Model


class Rule:
    """A rewrite rule: subclasses define `pattern`, `replace` and, where they want, `check`.

        class DropDoubleNeg(irkit.Rule):
            def pattern(self, op, x): return op.Neg(op.Neg(x))
            def check(self, x): ...             # None, or irkit.refuse("why not")
            def replace(self, op, x): return x

    `pattern` describes with `irkit.PatternOps`; `replace` builds with `irkit.Builder` and returns one value for each
    output of the pattern, or a refusal. Both functions ask for captures by name, and may ask for `match`, `model`,
    `context` and `options`. A rule that no pattern can express sets `root_ops` and overrides `match`.

    Attributes: `options` is the pass the rule belongs to, where it has one; `model` and `context` are those of the run.
    """

    name: ClassVar[str] = ""
    """Kebab-case name; made of the class's name where not given."""
    root_ops: frozenset[tuple[str, str]] | None = None
    """(domain, operator) of the nodes a match may be rooted at; None for any. Patterns set it themselves."""
    feeders: tuple[frozenset[tuple[str, str]], ...] = ()
    """What some input of a root must be made by, for each operator over it in the pattern."""
    beneath: tuple[frozenset[tuple[str, str]], ...] = ()
    """The same for some input of such an input. Patterns set both themselves."""
    when: ClassVar[Any] = ""
    """The targets it is for, such as "hailo8", ("hailo8l", "hailo8@>=3.28,<4") or a function of the target."""
    reach: int = 1
    """How many nodes below an edit a root may lie that now matches. Patterns set it themselves."""

    def __init__(self, options: Any = None) -> None:
        self.options = options
        self.model: Model
        self.context: Context
        self._matcher: Matcher | None = None
        self._asked: dict[str, list[str]] = {}

    @property
    def label(self) -> str:
        """Its name in messages and in the journal."""
        return self.name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(self).__name__.strip("_")).lower()

    def function(self, name: str) -> Callable[..., Any] | None:
        """Its `pattern`, `check` or `replace`."""
        found: Callable[..., Any] | None = getattr(self, name, None)
        return found

    def belonging_to(self, options: Any) -> Rule:
        """The rule as one of that pass's."""
        made = copy.copy(self)
        made.options = options
        return made

    def graph(self) -> PatternGraph:
        """Its pattern. Raises `PassError` where it has none or a wrong one."""
        function = self._needed("pattern")
        try:
            return trace(function)
        except (Exception, SystemExit) as error:
            raise PassError(described(error), place=place_in(error, function)) from error

    def _needed(self, name: str) -> Callable[..., Any]:
        function = self.function(name)
        if not callable(function):
            raise PassError(f"it has no method `{name}`")
        return function

    def start(self, model: Model, context: Context) -> None:
        """Make ready for a run. Raises `PassError` where the rule's functions do not fit each other."""
        self.model, self.context = model, context
        captures: frozenset[str] | None = None
        if type(self).match is Rule.match:
            graph = self.graph()
            self._matcher = Matcher(graph)
            self.root_ops, self.feeders, self.beneath = graph.root_ops, graph.feeders, graph.beneath
            self.reach, captures = graph.depth, graph.captures
        self._needed("replace")
        for name in ("check", "replace"):
            function = self.function(name)
            self._asked[name] = list(inspect.signature(function).parameters) if function is not None else []
            for asked in self._asked[name]:
                if captures is not None and asked not in captures | _OWN:
                    known = ", ".join(sorted(captures)) or "nothing"
                    what = f"{name} asks for {asked!r}, but the pattern captures {known}"
                    raise PassError(what, place=line_of(function))

    @property
    def gave_up(self) -> bool:
        """Whether the last search for a match was too long, so that one may have been missed."""
        return self._matcher is not None and self._matcher.gave_up

    def match_at(self, root: Node) -> Match | None:
        """`match`, with what goes wrong in it told as a `PassError`."""
        try:
            return self.match(root)
        except (InputError, PassError):
            raise
        except (Exception, SystemExit) as error:
            function = self.function("pattern") or type(self).match
            raise PassError(described(error), place=place_in(error, function)) from error

    def match(self, root: Node) -> Match | None:
        """The match rooted at a node, or None."""
        assert self._matcher is not None
        return self._matcher.match(root)

    def explain(self, node: Node) -> str:  # noqa: ARG002  # for those that override it
        """Why a rule with a `match` of its own takes no match around a node; "" where it has nothing to say of it."""
        return ""

    def ask(self, name: str, match: Match, op: Builder | None = None) -> Any:
        """Call `check` or `replace` with the captures it asks for. Raises `PassError` that tells its line."""
        function = self.function(name)
        if function is None:
            return None
        own = {"op": op, "match": match, "model": self.model, "context": self.context, "options": self.options}
        arguments = {key: own[key] if key in own else match[key] for key in self._asked[name]}
        try:
            return function(**arguments)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            raise PassError(described(error), place=place_in(error, function)) from error


_OWN = frozenset({"op", "match", "model", "context", "options"})
"""What `check` and `replace` may ask for besides captures."""


class _Row(Rule):
    """A rule of functions; `rule` makes it."""

    def __init__(self, functions: dict[str, Callable[..., Any] | None], name: str, when: When) -> None:
        super().__init__()
        self._functions = functions
        self.name, self.when = name, when  # type: ignore[misc]  # of this one alone

    @property
    def label(self) -> str:
        return self.name or f"line-{line_of(self._functions['pattern']).rpartition(':')[2]}"

    def belonging_to(self, options: Any) -> Rule:
        made = super().belonging_to(options)
        if not self.name:
            rows = [row for row in options.rules if isinstance(row, _Row) and not row.name]
            number = f"-{rows.index(self) + 1}" if len(rows) > 1 else ""
            made.name = f"{options.name}{number}"  # type: ignore[misc]  # of this one alone
        return made

    def function(self, name: str) -> Callable[..., Any] | None:
        return self._functions.get(name)


def rule(
    pattern: Callable[..., Any],
    replace: Callable[..., Any],
    check: Callable[..., Any] | None = None,
    *,
    name: str = "",
    when: When = "",
) -> Rule:
    """A rule as a row of a table: `irkit.rule(lambda op, x: op.Neg(op.Neg(x)), lambda x: x)`.

    Args:
        pattern: describes what to find: `(op, *captures)`.
        replace: builds the replacement; asks for `op` and captures by name.
        check: may refuse; see `Rule`.
        name: in messages and in the journal; that of the pattern function, where not given; a lambda's rule is called
            after its pass.
        when: the targets it is for.
    """
    for item in (pattern, replace, *([check] if check is not None else [])):
        if not callable(item):
            raise PassError(f"irkit.rule takes functions: a pattern, a replacement, a check; found {item!r}")
    if not name and getattr(pattern, "__name__", "<lambda>") != "<lambda>":
        name = pattern.__name__.strip("_").replace("_", "-")
    return _Row({"pattern": pattern, "replace": replace, "check": check}, name, when)
