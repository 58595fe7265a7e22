"""The rewrite engine: rules, and the driver that applies them until none matches any more.

The driver keeps a worklist. It starts with every node some rule may root at; after a rewrite only nodes near its edits,
as the journal tells them, are looked at again. What must hold of every rewrite is held here, not in rules:

- a value inside a match that others read, that a nested graph captures, that is an output of the graph or protected by
  the context (a declared cut) makes the match fail with a reason, unless the pattern says `.shared()`
- the surviving output keeps its name and type, the new nodes stand for the origins of all nodes matched
- constants are never changed in place: a rule makes new ones, and old ones that nobody reads are removed
- each rewrite is one group of the journal, which `Context.rewriting` can ban
"""

from __future__ import annotations

import inspect
import re
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from typing_extensions import dataclass_transform

from irkit.builder import Builder
from irkit.errors import InputError, PassError
from irkit.ir import Node, Value
from irkit.matcher import Match, Matcher
from irkit.pass_base import Context, Effect, Pass, define_pass
from irkit.splice import blocked, splice
from irkit.pattern_graph import PatternGraph, trace

if TYPE_CHECKING:
    from irkit.journal import Edit
    from irkit.model import Model

_REWRITES_PER_NODE = 10
_SPARE_REWRITES = 1000
_FEW_READERS = 8


@dataclass(frozen=True)
class Refusal:
    """A rule's answer that it leaves a place alone, and why."""

    reason: str


def refuse(reason: str) -> Refusal:
    """What a rule returns from `check` or `replace` to leave the place as it is; users are shown the reason."""
    return Refusal(reason)


class Rule:
    """A rewrite rule: subclasses define `pattern`, `replace` and, where they want, `check`.

        class DropDoubleNeg(irkit.Rule):
            def pattern(self, op, x): return op.Neg(op.Neg(x))
            def check(self, x): ...             # None, or irkit.refuse("why not")
            def replace(self, op, x): return x

    `pattern` describes with `irkit.PatternOps`; `replace` builds with `irkit.Builder` and returns one value for each
    output of the pattern, or a refusal. Both functions ask for captures by name, and may ask for `match`, `model` and
    `context`. A rule that no pattern can express sets `root_ops` and overrides `match`.

    Attributes: `options` is the pass the rule belongs to, where it has one; `model` and `context` are those of the run.
    """

    name: ClassVar[str] = ""
    """Kebab-case name; made of the class's name where not given."""
    root_ops: frozenset[tuple[str, str]] | None = None
    """(domain, operator) of the nodes a match may be rooted at; None for any. Patterns set it themselves."""
    feeders: tuple[frozenset[tuple[str, str]], ...] = ()
    """What some input of a root must be made by, for each operator over it in the pattern."""
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

    def graph(self) -> PatternGraph:
        """Its pattern. Raises `PassError` where it has none or a wrong one."""
        function = self.function("pattern")
        if function is None:
            raise PassError(f"rule {self.label!r} has no method `pattern`")
        return trace(function)

    def start(self, model: Model, context: Context) -> None:
        """Make ready for a run. Raises `PassError` where the rule's functions do not fit each other."""
        self.model, self.context = model, context
        captures: frozenset[str] | None = None
        if type(self).match is Rule.match:
            graph = self.graph()
            self._matcher = Matcher(graph)
            self.root_ops, self.feeders = graph.root_ops, graph.feeders
            self.reach, captures = graph.depth, graph.captures
        if self.function("replace") is None:
            raise PassError(f"rule {self.label!r} has no method `replace`")
        for name in ("check", "replace"):
            function = self.function(name)
            self._asked[name] = list(inspect.signature(function).parameters) if function is not None else []
            for asked in self._asked[name]:
                if captures is not None and asked not in captures | {"op", "match", "model", "context"}:
                    known = ", ".join(sorted(captures)) or "nothing"
                    raise PassError(f"rule {self.label!r}: {name} asks for {asked!r}, but the pattern captures {known}")

    def match(self, root: Node) -> Match | None:
        """The match rooted at a node, or None."""
        assert self._matcher is not None
        return self._matcher.match(root)

    def explain(self, node: Node) -> str:
        """Why a rule with a `match` of its own takes no match around a node; "" where it has nothing to say of it."""
        return ""

    def ask(self, name: str, match: Match, op: Builder | None = None) -> Any:
        """Call `check` or `replace` with the captures it asks for. Raises `PassError` that tells its line."""
        function = self.function(name)
        if function is None:
            return None
        own = {"op": op, "match": match, "model": self.model, "context": self.context}
        arguments = {key: own[key] if key in own else match[key] for key in self._asked[name]}
        try:
            return function(**arguments)
        except InputError:
            raise
        except Exception as error:
            raise PassError(f"{error}{_place_in(function, error)}") from error


def _place_in(function: Callable[..., Any], error: Exception) -> str:
    """The line of the rule's own file that the error came from."""
    file = inspect.unwrap(function).__code__.co_filename
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    kind = "" if isinstance(error, PassError) else f", {type(error).__name__}"
    return f" ({file}, line {lines[-1]}{kind})" if lines else kind


Rules: TypeAlias = "Sequence[type[Rule] | Rule]"


class RewritePass(Pass):
    """A pass made of rewrite rules: `rules` lists them; where several match at a node, the first one is applied."""

    rules: ClassVar[Rules] = ()

    def run(self, model: Model, context: Context) -> None:
        """Apply the rules until none matches."""
        apply_rules(model, context, self.made_rules())

    def made_rules(self) -> list[Rule]:
        """The rules, each knowing this pass as its options."""
        return [rule(self) if isinstance(rule, type) else rule for rule in self.rules]


class _OnePattern(RewritePass):
    """A pass whose own methods are its only rule; `rewrite` makes subclasses of it."""

    def made_rules(self) -> list[Rule]:
        return [_OwnRule(self)]


class _OwnRule(Rule):
    @property
    def label(self) -> str:
        return str(self.options.name)

    def function(self, name: str) -> Callable[..., Any] | None:
        found: Callable[..., Any] | None = getattr(self.options, name, None)
        return found


@dataclass_transform(frozen_default=True)
def rewrite(name: str, *, effect: str | Effect = Effect.EXACT) -> Callable[[type[Any]], type[Any]]:
    """Make a class with `pattern` and `replace` (and `check`) methods a pass of this one rule; see `Rule`.

    Fields of the class are the options of the pass. Where the class derives from `irkit.RewritePass`, as it need not,
    type checkers see that it is a pass. Raises `PassError` or `OptionError` where it is no such class.
    """

    def decorate(cls: type[Any]) -> type[Any]:
        body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        fields = dataclass(frozen=True)(cls)
        combined: type[_OnePattern] = type(cls.__name__, (fields, _OnePattern), body)
        made = define_pass(name, effect=effect)(combined)
        for method in ("pattern", "replace"):
            if not callable(getattr(made, method, None)):
                raise PassError(f"pass {name!r} has no method `{method}`")
        return made

    return decorate


def apply_rules(model: Model, context: Context, rules: Rules) -> int:
    """Apply rules to the main graph and the graphs nested in it until none matches; returns how many rewrites.

    Bodies of functions are left alone. Raises `PassError` where a rule fails or the rules do not come to an end.
    """
    return Rewriter(model, context, rules).run()


class Rewriter:
    """The worklist driver. Attributes count its work: `attempts` to match, rewrites `applied`."""

    def __init__(self, model: Model, context: Context, rules: Rules) -> None:
        self._model = model
        self._context = context
        self._rules = [rule() if isinstance(rule, type) else rule for rule in rules]
        self._by_op: dict[tuple[str, str], list[Rule]] = {}
        self._queue: deque[Node] = deque()
        self._queued: set[Node] = set()
        self._edits: list[Edit] = []
        self._last: deque[str] = deque(maxlen=3)
        self.attempts = 0
        self.applied = 0

    def run(self) -> int:
        """Apply the rules until none matches; returns how many rewrites."""
        for rule in self._rules:
            rule.start(self._model, self._context)
        reach = max((rule.reach for rule in self._rules), default=0)
        for node in self._model.graph.walk():
            self._enqueue(node)
        limit = _REWRITES_PER_NODE * len(self._queue) + _SPARE_REWRITES
        with self._model.journal.listening(self._edits.append):
            while self._queue:
                node = self._queue.popleft()
                self._queued.discard(node)
                if node.graph is not None and any(self._try(rule, node) for rule in self._fitting(node)):
                    self.applied += 1
                    if self.applied > limit:
                        raise PassError(f"pass {self._context.pass_name!r} does not end: {', '.join(self._last)}, ...")
                    self._enqueue_near(reach)
                self._edits.clear()
        return self.applied

    def _rules_for(self, node: Node) -> list[Rule]:
        key = (node.domain, node.op)
        rules = self._by_op.get(key)
        if rules is None:
            rules = [rule for rule in self._rules if rule.root_ops is None or key in rule.root_ops]
            self._by_op[key] = rules
        return rules

    def _fitting(self, node: Node) -> Iterator[Rule]:
        """The rules for that node, without those it is plain that they do not match."""
        rules = self._rules_for(node)
        makers = [value.producer for value in node.inputs if value is not None and value.producer is not None]
        found = {(maker.domain, maker.op) for maker in makers}
        for rule in rules:
            for feeder in rule.feeders:
                if feeder.isdisjoint(found):
                    break
            else:
                yield rule

    def _enqueue(self, node: Node) -> None:
        if node not in self._queued and self._rules_for(node):
            self._queued.add(node)
            self._queue.append(node)

    def _try(self, rule: Rule, node: Node) -> bool:
        """Apply a rule at a node, where it matches and nothing stands in its way."""
        self.attempts += 1
        match = rule.match(node)
        if match is None or node.graph is None or node.graph.model is not self._model:
            return False
        names = {item.name or item.output.name: item for item in match.nodes}
        place = node.name or node.output.name
        try:
            answer = refuse(reason) if (reason := blocked(match, self._context.protected)) else rule.ask("check", match)
            if answer is None:
                with self._context.rewriting(self._model, rule.label, place) as allowed:
                    answer = self._replace(rule, match) if allowed else refuse("this rewrite was proven wrong")
        except PassError as error:
            raise PassError(f"pass {self._context.pass_name!r}, rule {rule.label!r} at {node!r}: {error}") from error
        if isinstance(answer, Refusal):
            self._context.refuse(rule.label, place, answer.reason)
            return False
        self._last.append(f"rule {rule.label!r} at {place!r}")
        for name, gone in names.items():
            if gone.graph is None:
                self._context.refusals.pop(name, None)
        return True

    def _replace(self, rule: Rule, match: Match) -> Refusal | None:
        graph = match.root.graph
        assert graph is not None
        builder = Builder(self._model, graph)
        mark = self._model.journal.position
        try:
            answer = rule.ask("replace", match, builder)
            if not isinstance(answer, Refusal):
                results = _results(match, answer)
                kept = _lost(match, results, builder) & self._context.protected
                if not kept:
                    splice(self._model, match, results, builder)
                    if len(builder.nodes) > 1:
                        self._context.update_types()
                    return None
                answer = refuse(f"the value {min(kept)!r} is kept by the declared cut")
        except Exception:
            self._model.journal.undo_to(mark)
            raise
        self._model.journal.undo_to(mark)
        return answer

    def _enqueue_near(self, reach: int) -> None:
        """Queue what the last edits may have changed the match of: nodes up to `reach` below them."""
        layer = dict.fromkeys(node for edit in self._edits for node in _near(edit))
        seen = set(layer)
        for step in range(reach + 1):
            for node in layer:
                if node.graph is not None:
                    self._enqueue(node)
            if step < reach:
                below = (user for node in layer if node.graph is not None for user in node.successors)
                layer = {node: None for node in below if node not in seen}
                seen.update(layer)


def _near(edit: Edit) -> Iterator[Node]:
    """The nodes that an edit touches, and those whose results have now fewer readers."""
    target = edit.target
    if isinstance(target, Value):
        yield from [target.producer] if target.producer is not None else target.users
    if not isinstance(target, Node):
        return
    if target.graph is not None:
        yield target
        if edit.kind == "insert":
            yield from (inner for graph in target.subgraphs for inner in graph.walk())
    inputs = [*target.inputs, *edit.old] if edit.kind == "inputs" else target.inputs
    for value in inputs:
        if value is not None and value.producer is not None and len(value.users) <= _FEW_READERS:
            yield value.producer


def _lost(match: Match, results: Sequence[Value], builder: Builder) -> set[str]:
    """Names of values that the rewrite would replace by values that were there before."""
    pairs = zip(match.outputs, results, strict=True)
    return {old.name for old, new in pairs if old is not new and new.producer not in builder.nodes}


def _results(match: Match, answer: Any) -> tuple[Value, ...]:
    """What a rule returned, as one value for each output. Raises `PassError`."""
    results = tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)
    for value in results:
        if not isinstance(value, Value):
            what = "nothing" if value is None else f"a {type(value).__name__}"
            raise PassError(f"`replace` returned {what}; it returns a value, or irkit.refuse(reason)")
    if len(results) != len(match.outputs):
        raise PassError(f"`replace` returned {len(results)} values for {len(match.outputs)} outputs")
    return results


def find(model: Model, pattern: Callable[..., Any] | type[Rule]) -> list[Match]:
    """Every place of the main graph, and of graphs nested in it, where a pattern `(op, *captures)` matches."""
    graph = pattern().graph() if isinstance(pattern, type) else trace(pattern)
    matcher = Matcher(graph)
    nodes = (node for node in model.graph.walk() if graph.root_ops is None or (node.domain, node.op) in graph.root_ops)
    return [match for node in nodes if (match := matcher.match(node)) is not None]
