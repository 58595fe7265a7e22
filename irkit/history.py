"""What every pass of a run did to one node, or why it left it alone, as of the moment each pass was done.

A node is asked for by the name it has or had, by a value it makes, or by the name it bore in the source model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from irkit.errors import OptionError
from irkit.ir import Node
from irkit.model import Model
from irkit.pass_base import Context, Pass
from irkit.pipeline import PipelineResult
from irkit.proof import at_mark
from irkit.rewriter import RewritePass
from irkit.text import print_node
from irkit.tracing import Step, names_of, trace_passes
from irkit.when import not_for
from irkit.why import near_misses

_CLOSEST = 3
"""Near misses told of a pass."""


@dataclass(frozen=True)
class Entry:
    """What one pass has to say of the node.

    Attributes:
        pass_name: the pass. index: its place among the passes that ran.
        kind: `rewrote` it, `left` it alone, or `failed` as a whole.
        text: which rewrite, or why not. lines: nodes before (`- `) and after (`+ `) a rewrite.
    """

    pass_name: str
    index: int
    kind: str
    text: str
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class History:
    """What became of a node.

    Attributes:
        name: what was asked for.
        before, after: the nodes of that name or origin before and after all passes, in the text form.
        entries: what the passes have to say, in order.
        silent: names of the passes that have nothing to say of it.
    """

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    entries: tuple[Entry, ...]
    silent: tuple[str, ...]

    def lines(self) -> list[str]:
        """The history as text."""
        found = [f"why {self.name}", *(f"  was: {text}" for text in self.before)]
        for entry in self.entries:
            found.append(f"  {entry.pass_name} {'rewrote it' if entry.kind == 'rewrote' else entry.kind}: {entry.text}")
            found += [f"      {line}" for line in entry.lines]
        if self.silent:
            found.append(f"  nothing to say of it: {', '.join(self.silent)}")
        return found + ([f"  is:  {text}" for text in self.after] or ["  it is gone"])

    def to_json(self) -> dict[str, Any]:
        """The history as plain data."""
        entries = [
            {"pass": e.pass_name, "run": e.index, "kind": e.kind, "text": e.text, "lines": list(e.lines)}
            for e in self.entries
        ]
        plain = {"node": self.name, "before": list(self.before), "after": list(self.after), "entries": entries}
        return {**plain, "silent": list(self.silent)}


def node_history(model: Model, run: PipelineResult, context: Context, name: str) -> History:
    """What each pass of a run did to a node, or why it left it alone.

    Args:
        model: the model as the passes left it.
        run: what they did.
        context: what they ran in.
        name: of the node, before or after; of its origin; or of a value it makes.

    Raises `OptionError` where no node was ever called that; it names the nearest.
    """
    steps = trace_passes(model, run.spans)
    spans = run.spans
    with at_mark(model.journal, spans[0].start if spans else model.journal.position):
        before = _called(model, name)
        known = {known for node in model.walk() for known in names_of(node)}
        texts = tuple(map(print_node, before))
        entries: list[Entry] = []
        for index, span in enumerate(spans):
            model.journal.redo_to(span.end)
            entries += _rewrites(steps, index, name)
            if run.passes[index].failed:
                entries.append(Entry(span.item.name, index, "failed", run.passes[index].failed))
            for node in _called(model, name):
                entries += [
                    Entry(span.item.name, index, "left", text) for text in _reasons(model, span.item, context, node)
                ]
    after = _called(model, name)
    if not (before or after or entries):
        known |= {known for node in model.walk() for known in names_of(node)}
        close = get_close_matches(name, sorted(known), 1)
        hint = f"; did you mean `{close[0]}`?" if close else "; `irkit show MODEL` lists them"
        raise OptionError(f"there is no node `{name}`{hint}")
    told = {
        (entry.pass_name, entry.kind, entry.text): entry for entry in reversed(entries)
    }  # rounds say the same again
    kept = sorted(told.values(), key=entries.index)
    names = dict.fromkeys(span.item.name for span in spans)
    silent = tuple(item for item in names if item not in {entry.pass_name for entry in kept})
    return History(name, texts, tuple(map(print_node, after)), tuple(kept), silent)


def _called(model: Model, name: str) -> list[Node]:
    return [node for node in model.walk() if name in names_of(node)]


def _rewrites(steps: Sequence[Step], index: int, name: str) -> Iterator[Entry]:
    for step in steps:
        if step.index == index and (name in step.taken or name == step.root):
            nodes = (*(f"- {text}" for text in step.before), *(f"+ {text}" for text in step.after))
            yield Entry(step.pass_name, index, "rewrote", step.title.partition(": ")[2], nodes)


def _reasons(model: Model, item: Pass, context: Context, node: Node) -> Iterator[str]:
    """Why the pass left the node as it is: its closest rules, its refusals, what it says itself."""
    if foreign := not_for(item, context.target):
        yield foreign
        return
    quiet = replace(context, findings=[], notes={}, moved={}, pass_name=item.name, update_types=lambda: None)
    called = node.name or node.output.name
    told: set[str] = set()
    rules = item.made_rules() if isinstance(item, RewritePass) else []
    try:
        for miss in near_misses(model, quiet, rules, node)[:_CLOSEST]:
            told.add(miss.reason)
            yield f"rule {miss}" if miss.root != called else f"rule {miss.rule}: {miss.reason or 'would apply'}"
        said = item.explain(model, quiet, node)
    except Exception as error:  # noqa: BLE001  (a user's code, which failed before or is asked out of turn)
        said = f"it could not be asked ({type(error).__name__}: {error})"
    if said:
        yield said
    labels = {item.name, *(rule.label for rule in rules)}
    for text in [text for name in sorted(names_of(node)) for text in context.refusals.get(name, ())]:
        rule, _, reason = text.partition(": ")
        if rule in labels and reason not in told:
            told.add(reason)
            yield f"refused by {text}"
