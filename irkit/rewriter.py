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
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from typing_extensions import dataclass_transform

from irkit import ops
from irkit.builder import Builder
from irkit.errors import PassError
from irkit.faults import fault, line_of, return_line
from irkit.ir import Node, Value
from irkit.matcher import Match, Matcher
from irkit.opsets.signature import problems
from irkit.pass_base import Context, Effect, Pass, define_pass, require_pass_name, with_options
from irkit.pattern_graph import trace
from irkit.refusal import Refusal, refuse
from irkit.rewrite_rule import Rule
from irkit.rule_index import RuleIndex
from irkit.shapes.recorded import fits
from irkit.splice import blocked, checked_results, splice
from irkit.types import TensorType, ValueType
from irkit.when import When, not_for

if TYPE_CHECKING:
    from irkit.infer import Inference
    from irkit.journal import Edit
    from irkit.model import Model

_REWRITES_PER_NODE = 10
_SPARE_REWRITES = 1000
_FEW_READERS = 8


Rules: TypeAlias = "Sequence[type[Rule] | Rule]"


class RewritePass(Pass):
    """A pass made of rewrite rules: `rules` lists them; where several match at a node, the first one is applied."""

    rules: ClassVar[Rules] = ()

    def run(self, model: Model, context: Context) -> None:
        """Apply the rules until none matches."""
        apply_rules(model, context, self.made_rules())

    def made_rules(self) -> list[Rule]:
        """The rules, each knowing this pass as its options."""
        return [rule(self) if isinstance(rule, type) else rule.belonging_to(self) for rule in self.rules]

    @classmethod
    def definition_problem(cls) -> str:
        """What is wrong with its `rules`, or ""."""
        rules: object = cls.rules
        if not isinstance(rules, (tuple, list, property)):
            return f"`rules` is a tuple of rules; found {rules!r}"
        for item in rules if isinstance(rules, (tuple, list)) else ():
            if not isinstance(item, Rule) and not (isinstance(item, type) and issubclass(item, Rule)):
                return f"`rules` holds classes that derive from irkit.Rule, and irkit.rule(...); found {item!r}"
        return ""

    def place(self, rule: str = "") -> str:
        """`FILE:LINE` of the replacement of that rule, or of the first one."""
        made = self.made_rules()
        chosen = next((item for item in made if item.label == rule), made[0] if made else None)
        return line_of(chosen.function("replace")) if chosen is not None else ""


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
def rewrite(name: str, *, effect: str | Effect = Effect.EXACT, when: When = "") -> Callable[[type[Any]], type[Any]]:
    """Make a class with `pattern` and `replace` (and `check`) methods a pass of this one rule; see `Rule`.

    Methods may leave out `self`, as `def pattern(op, x)`. Fields of the class are the options of the pass. Where the
    class derives from `irkit.RewritePass`, as it need not, type checkers see that it is a pass. Raises `PassError` or
    `OptionError` where it is no such class.
    """
    require_pass_name(name)

    def decorate(cls: type[Any]) -> type[Any]:
        if not isinstance(cls, type):
            raise PassError(f"pass {name!r}: irkit.rewrite takes a class with `pattern` and `replace`; found {cls!r}")
        for method in ("pattern", "check", "replace"):
            _without_self(cls, method)
        body = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
        fields = with_options(name, cls)
        combined: type[_OnePattern] = type(cls.__name__, (fields, _OnePattern), body)
        made = define_pass(name, effect=effect, when=when)(combined)
        for method in ("pattern", "replace"):
            if not callable(getattr(made, method, None)):
                raise PassError(f"pass {name!r} has no method `{method}`")
        return made

    return decorate


def _without_self(cls: type[Any], method: str) -> None:
    """Let a method do without `self`, which says nothing where there are no options."""
    function = vars(cls).get(method)
    if inspect.isfunction(function) and next(iter(inspect.signature(function).parameters), "self") != "self":
        setattr(cls, method, staticmethod(function))


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
        self._queue: deque[Node] = deque()
        self._queued: set[Node] = set()
        self._edits: list[Edit] = []
        self._last: deque[tuple[Rule, str]] = deque(maxlen=3)
        self._index = RuleIndex([])
        self.attempts = 0
        self.applied = 0

    def run(self) -> int:
        """Apply the rules until none matches; returns how many rewrites."""
        self._rules = [rule for rule in self._rules if self._start(rule)]
        self._index = RuleIndex(self._rules)
        reach = max((rule.reach for rule in self._rules), default=0)
        for node in self._model.graph.walk():
            self._enqueue(node)
        limit = _REWRITES_PER_NODE * len(self._queue) + _SPARE_REWRITES
        with self._model.journal.listening(self._edits.append):
            while self._queue:
                node = self._queue.popleft()
                self._queued.discard(node)
                if node.graph is not None and any(self._try(rule, node) for rule in self._index.fitting(node)):
                    self.applied += 1
                    if self.applied > limit:
                        raise self._endless()
                    self._enqueue_near(reach)
                self._edits.clear()
        return self.applied

    def _start(self, rule: Rule) -> bool:
        """Make a rule ready; whether it is for the target at all."""
        try:
            reason = not_for(rule, self._context.target)
            if reason:
                self._context.note(f"rule {rule.label} is left out: {reason}")
            else:
                rule.start(self._model, self._context)
            return not reason
        except PassError as error:
            raise self._fault(error.place, f"rule {rule.label!r}: {error}") from error

    def _fault(self, place: str, what: str) -> PassError:
        return PassError(fault(self._context.pass_name, place, what), place=place)

    def _endless(self) -> PassError:
        rule = self._last[-1][0]
        steps = ", ".join(f"rule {rule.label!r} at {place!r}" for rule, place in self._last)
        what = f"it does not end: {steps}, ...; what a rule makes must not match again"
        return self._fault(line_of(rule.function("replace")), what)

    def _enqueue(self, node: Node) -> None:
        if node not in self._queued and self._index.has_rules(node):
            self._queued.add(node)
            self._queue.append(node)

    def _try(self, rule: Rule, node: Node) -> bool:
        """Apply a rule at a node, where it matches and nothing stands in its way."""
        self.attempts += 1
        try:
            match = rule.match_at(node)
            if match is None or node.graph is None or node.graph.model is not self._model:
                if rule.gave_up:
                    self._context.refuse(rule.label, _place(node), "the search for a match took too long")
                return False
            return self._apply(rule, match, _place(node))
        except PassError as error:
            place = error.place or return_line(rule.function("replace"))
            raise self._fault(place, f"rule {rule.label!r} at {node!r}: {error}") from error

    def _apply(self, rule: Rule, match: Match, place: str) -> bool:
        """Replace a match, unless something stands in the way."""
        names = {item.name or item.output.name: item for item in match.nodes}
        answer = refuse(reason) if (reason := blocked(match, self._context.protected)) else rule.ask("check", match)
        if answer is not None and not isinstance(answer, Refusal):
            raise PassError(
                f"`check` returned {answer!r}; it returns None, or irkit.refuse(reason)",
                place=line_of(rule.function("check")),
            )
        if answer is None:
            with self._context.rewriting(self._model, rule.label, place) as allowed:
                answer = self._replace(rule, match) if allowed else refuse("this rewrite was proven wrong")
        if answer is not None:
            self._context.refuse(rule.label, place, answer.reason)
            return False
        self._last.append((rule, place))
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
                results = checked_results(answer, len(match.outputs), "`replace`")
                kept = _lost(match, results, builder) & self._context.protected
                if not kept:
                    before = self._types(match.outputs)
                    splice(self._model, match, results, builder)
                    self._check_types(before, results, builder)
                    return None
                answer = refuse(f"the value {min(kept)!r} is kept by the declared cut")
        except Exception:
            self._model.journal.undo_to(mark)
            raise
        self._model.journal.undo_to(mark)
        return answer

    def _types(self, values: Sequence[Value]) -> list[tuple[str, ValueType | None]]:
        """Names and inferred types; no type for what nobody can infer."""
        inference = self._context.inference
        if inference is None:
            return []
        return [(value.name, inference.type_of(value) if _is_inferred(value) else None) for value in values]

    def _check_types(
        self, before: Sequence[tuple[str, ValueType | None]], results: Sequence[Value], builder: Builder
    ) -> None:
        """Infer what is new. Raises `PassError` where it does not fit together, or is not what it replaces."""
        inference = self._context.inference
        if inference is None:
            if len(builder.nodes) > 1:
                self._context.update_types()
            return
        inference.update()
        for node in builder.nodes:
            if reason := _wrong_types(node, inference):
                raise PassError(f"the new {node!r} is wrong: {reason}", place=builder.line_of(node))
        for (name, old), value in zip(before, results, strict=True):
            new = inference.type_of(value)
            if isinstance(old, TensorType) and isinstance(new, TensorType) and not fits(old, new):
                place = builder.line_of(value.producer)
                raise PassError(f"the replacement of {name!r} is {new}, but {name!r} is {old}", place=place)

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


def _place(node: Node) -> str:
    """What a node is known by in the journal and in messages."""
    return node.name or node.output.name


def _wrong_types(node: Node, inference: Inference) -> str:
    """Why the types of what a new node reads do not fit together, or ""."""
    found = next((problem.message for problem in inference.problems_of(node) if not problem.declared), "")
    schema = ops.schema_of(node)
    return found or (next(problems(node, schema), "") if schema is not None else "")


def _is_inferred(value: Value) -> bool:
    """Whether the type of a value follows from its operator, so that it is more than what the file says."""
    return value.producer is not None and ops.schema_of(value.producer) is not None


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


def find(model: Model, pattern: Callable[..., Any] | Rule | type[Rule]) -> list[Match]:
    """Every place of the main graph, and of graphs nested in it, where a pattern `(op, *captures)` matches."""
    rule = pattern() if isinstance(pattern, type) else pattern
    graph = rule.graph() if isinstance(rule, Rule) else trace(rule)
    matcher = Matcher(graph)
    nodes = (node for node in model.graph.walk() if graph.root_ops is None or (node.domain, node.op) in graph.root_ops)
    return [match for node in nodes if (match := matcher.match(node)) is not None]
