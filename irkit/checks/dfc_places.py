"""Where in the model is what the compiler speaks of in its log; shared by the rules HAI6xx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from irkit.checks.judge import verdicts
from irkit.diagnostics import Location
from irkit.hailo.dfc_events import DfcEvent, EventKind
from irkit.hailo.dfc_names import NodeNames
from irkit.ir import Node
from irkit.linter import Found, Subject


def events(subject: Subject, *kinds: EventKind) -> list[DfcEvent]:
    """What the log tells of these kinds; nothing where there is no log."""
    return subject.dfc_log.of(*kinds) if subject.dfc_log is not None else []


def names(subject: Subject) -> NodeNames:
    """The nodes of the model by name: as the file has them, and as they are once functions are inlined."""
    return NodeNames(dict.fromkeys((*subject.own_nodes, *subject.model.graph)))


def where(subject: Subject, event: DfcEvent) -> str:
    """`parser.log:12`, or `log line 12` where the log is no file."""
    source = subject.dfc_log.source if subject.dfc_log is not None else ""
    return f"{PurePath(source).name}:{event.line}" if source else f"log line {event.line}"


def in_log(subject: Subject, event: DfcEvent) -> Location:
    """The line of the log, for what has no node."""
    source = subject.dfc_log.source if subject.dfc_log is not None else ""
    return Location(file=source, line=event.line) if source else Location()


def node_of(subject: Subject, name: str) -> Node | None:
    """The node that the compiler calls so."""
    return subject.once(names).find(name)


def node_of_layer(subject: Subject, layer: str) -> Node | None:
    """The node that became the layer, where the log or the model leaves no doubt."""
    told = subject.dfc_log.layers if subject.dfc_log is not None else {}
    name = told.get(layer, told.get(layer.rpartition("/")[2], ""))
    return node_of(subject, name) if name else subject.once(names).of_layer(layer)


def nodes_of(subject: Subject, event: DfcEvent) -> tuple[dict[Node, str], list[str]]:
    """The nodes that an event speaks of, each with the name it was called; and the names that fit no node."""
    found: dict[Node, str] = {}
    lost: list[str] = []
    # A layer is looked up only where no node was named: the two are the same thing.
    named = [(name, node_of(subject, name)) for name in event.nodes]
    for name, node in named or [(layer, node_of_layer(subject, layer)) for layer in event.layers]:
        if node is None:
            lost.append(name)
        else:
            found.setdefault(node, name)
    return found, lost


def told(
    subject: Subject, event: DfcEvent, claim: str, advice: str, *, unnamed: str = "an operator", asks_table: bool = True
) -> Iterator[Found]:
    """One finding for each thing that the event names, with the words of the compiler.

    `claim` has `{what}` for the thing, `unnamed` where the compiler does not say which. The table's advice on the node
    goes before `advice`, unless it is not asked.
    """
    found, lost = nodes_of(subject, event)
    words = event.text if len(event.text) <= _MOST else event.text[:_MOST].rstrip() + " ..."
    said = f"; it said: {words} ({where(subject, event)})"
    for node in found:
        better = (_table_advice(subject, node) if asks_table else "") or advice
        yield Found(claim.format(what=node.op_id) + said, node, advice=better, group=f"{event.name} {node.op_id}")
    names = [_lost(name, event) for name in lost] or [unnamed] * (not found)
    for name in names:
        yield Found(claim.format(what=name) + said, advice=advice, origin=in_log(subject, event))


_MOST = 240
"""Characters of a message that are shown."""


def _lost(name: str, event: DfcEvent) -> str:
    why = "a layer whose node the log does not tell" if name in event.layers else "no node of this model, or several"
    return f"`{name}` ({why})"


def _table_advice(subject: Subject, node: Node) -> str:
    return next((verdict.advice for judged, verdict in subject.once(verdicts) if judged is node), "")
