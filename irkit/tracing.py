"""What passes did, read from the journal afterwards: each rewrite with its nodes and values, and the model in between.

A trace holds what is in force: rewrites that were taken back are not in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from irkit.errors import OptionError, OutputError
from irkit.ir import Node, Value
from irkit.journal import Edit, Group
from irkit.model import Model
from irkit.onnx.writer import save
from irkit.pipeline import Span
from irkit.proof import at_mark
from irkit.text import print_model, print_node

_UNSEEN = frozenset({"name", "extra", "origin", "move", "type"})
"""Kinds of edits that say nothing of what a node computes."""

ALL = "all"
"""Stands for every pass."""


@dataclass(frozen=True)
class Step:
    """One rewrite, or what a pass did outside of one.

    Attributes:
        pass_name: the pass. index: its place among the passes that ran.
        rule, root: the rule, and the node (or value) it was applied at; "" outside of a rewrite.
        before, after: the nodes it changed, in the text form, as they were and as they are.
        values: what became of inputs, outputs and constants.
        taken: names (and origins) of the nodes it changed; `made`: of those it made or left.
    """

    pass_name: str
    index: int
    rule: str
    root: str
    before: tuple[str, ...]
    after: tuple[str, ...]
    values: tuple[str, ...]
    taken: frozenset[str] = frozenset()
    made: frozenset[str] = frozenset()

    @property
    def title(self) -> str:
        """`fold-batchnorm: into-layer-before at bn1`."""
        if not self.rule:
            return f"{self.pass_name}: outside of a rewrite"
        return f"{self.pass_name}: {self.rule}" + (f" at {self.root}" if self.root else "")

    def lines(self) -> list[str]:
        """The step as text: a title, then what went and what came."""
        marked = [f"  - {text}" for text in self.before] + [f"  + {text}" for text in self.after]
        return [self.title, *marked, *(f"    {text}" for text in self.values)]

    def to_json(self) -> dict[str, Any]:
        """The step as plain data."""
        return {
            "pass": self.pass_name,
            "run": self.index,
            "rule": self.rule,
            "node": self.root,
            "before": list(self.before),
            "after": list(self.after),
            "values": list(self.values),
        }


def trace_text(steps: Sequence[Step]) -> str:
    """A trace, to be read."""
    return (
        "\n".join(line for step in steps for line in step.lines())
        or "no rewrites; names, doc strings and types are not told here"
    )


def trace_passes(model: Model, spans: Sequence[Span]) -> list[Step]:
    """Each rewrite of a run of passes, in order; see `Step`.

    Args:
        model: the model as the passes left it.
        spans: what they wrote in its journal; see `PipelineResult.spans`.
    """
    steps: list[Step] = []
    with _replay(model, spans):
        for index, span in enumerate(spans):
            model.journal.redo_to(span.start)
            for group, edits in _groups(_edits_of(model, span)):
                step = _step(model, index, span.item.name, group, edits)
                if step.before or step.after or step.values:
                    steps.append(step)
            model.journal.redo_to(span.end)
    return steps


@contextmanager
def _replay(model: Model, spans: Sequence[Span]) -> Iterator[None]:
    """The model as it was before all passes, to be led forward through them; afterwards as it was."""
    with at_mark(model.journal, spans[0].start if spans else model.journal.position):
        yield


def _edits_of(model: Model, span: Span) -> list[Edit]:
    with at_mark(model.journal, span.end):
        return model.journal.since(span.start)


def _groups(edits: Iterable[Edit]) -> Iterator[tuple[Group | None, list[Edit]]]:
    """The edits rewrite by rewrite, in order."""
    for _, found in groupby(edits, key=lambda edit: id(edit.group)):
        group = list(found)
        yield group[0].group, group


def _step(model: Model, index: int, pass_name: str, group: Group | None, edits: Sequence[Edit]) -> Step:
    """One rewrite; the journal is led forward over it."""
    nodes = list(dict.fromkeys(edit.target for edit in edits if _counts(edit)))
    before = {node: print_node(node) for node in nodes if node.graph is not None}
    taken = frozenset(name for node in before for name in names_of(node))
    values = {edit.target: _stored_name(edit.target) for edit in edits if isinstance(edit.target, Value)}
    model.journal.redo_to(model.journal.position + len(edits))
    after = {node: print_node(node) for node in nodes if node.graph is not None}
    made = frozenset(name for node in after for name in names_of(node))
    changed = [node for node in nodes if before.get(node) != after.get(node)]
    rule, root = (group.rule, group.root) if group is not None else ("", "")
    return Step(
        pass_name,
        index,
        rule,
        root,
        tuple(before[node] for node in changed if node in before),
        tuple(after[node] for node in changed if node in after),
        tuple(dict.fromkeys(_value_lines(values, edits))),
        taken,
        made,
    )


def _counts(edit: Edit) -> bool:
    return isinstance(edit.target, Node) and edit.kind not in _UNSEEN


def names_of(node: Node) -> set[str]:
    """What a user may call a node: its name, its origins, the values it makes."""
    return {node.name, *node.origin, *(value.name for value in node.outputs)} - {""}


def _stored_name(value: Value) -> str:
    """The name of a value that a graph holds now; "" where none does."""
    return value.name if value.graph is not None else ""


def _value_lines(old: Mapping[Value, str], edits: Sequence[Edit]) -> Iterator[str]:
    """What came of constants and inputs, and which values have other names; `old` are the names they had."""
    for value, name in old.items():
        now, kind = _stored_name(value), f": {value.type}" if value.type is not None else ""
        if value.producer is None and bool(name) != bool(now):
            yield f"{'new' if now else 'gone'} constant {now or name}{kind}"
        elif name and now and name != now:
            yield f"value {name} is called {now}"
    for edit in edits:
        if edit.kind == "data":
            yield f"new data of {edit.target.name}: {edit.target.type}"
        elif edit.kind == "type" and edit.target.is_graph_input:
            yield f"input {edit.target.name}: {edit.old} became {edit.new}"
        elif edit.kind in ("graph-inputs", "graph-outputs"):
            names = [", ".join(value.name for value in state) for state in (edit.old, edit.new)]
            if names[0] != names[1]:
                yield f"{edit.kind.replace('-', ' ')}: {names[0]} became {names[1]}"
        elif edit.kind == "model":
            name, new = edit.new
            yield _field_line(name, new, edit.old[1])


def _field_line(name: str, new: Any, old: Any) -> str:
    """A field of the model that is something else now."""
    if name == "opset_imports":
        return f"operator sets {dict(old)} became {dict(new)}"
    return f"{name.replace('_', ' ')} changed"


def check_dumps(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """The passes to dump after. Raises `OptionError` for one that does not run."""
    wanted, running = list(dict.fromkeys(names)), set(known)
    for name in wanted:
        if name != ALL and name not in running:
            raise OptionError(f"--dump-after {name}: that pass does not run; `{ALL}` stands for every pass")
    return wanted


def dump_after(model: Model, spans: Sequence[Span], names: Sequence[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write the model as it was after some passes: as ONNX, and in the text form without weights.

    Args:
        model: the model as the passes left it.
        spans: what they wrote in its journal.
        names: of the passes; `all` for each that changed something.
        folder: where to; files are called `03-fold-batchnorm.onnx` and `.txt`, `00-start` is the model as it came.

    Returns the ONNX files. A pass that runs several times is dumped each time. Raises `OutputError`.
    """
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {place}: {error.strerror or error}") from error
    written: list[Path] = []
    with _replay(model, spans):
        if ALL in names:
            written.append(_dump(model, place / "00-start"))
        for index, span in enumerate(spans, 1):
            model.journal.redo_to(span.end)
            if span.item.name in names or (ALL in names and span.end > span.start):
                written.append(_dump(model, place / f"{index:02d}-{span.item.name}"))
    return written


def _dump(model: Model, stem: Path) -> Path:
    file = stem.with_name(f"{stem.name}.onnx")
    try:
        save(model, file)
        text = stem.with_name(f"{stem.name}.txt")
        text.write_text(print_model(model, weights="elide", origins=False), encoding="utf-8", newline="\n")
    except OSError as error:
        raise OutputError(f"cannot write {file}: {error.strerror or error}") from error
    return file
