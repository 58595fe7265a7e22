"""Why a node was not rewritten: which rules came closest to it, and what stood in their way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from irkit.ir import Node
from irkit.matcher import Match, Matcher
from irkit.pass_base import Context
from irkit.refusal import Refusal
from irkit.rewrite_rule import Rule
from irkit.rewriter import Rules
from irkit.splice import blocked
from irkit.when import not_for

if TYPE_CHECKING:
    from irkit.model import Model

_NEIGHBOURS = 48
"""Nodes around a node that a rule with a `match` of its own is asked about."""


@dataclass(frozen=True)
class NearMiss:
    """A rule that matched a part of a place, or all of it and was kept from it.

    Attributes: `rule` and `root` name the rule and the node its match would start at; `matched` counts the nodes that
    fitted; `reason` says what did not, or is "" where nothing stands in the way.
    """

    rule: str
    root: str
    matched: int
    reason: str

    def __str__(self) -> str:
        return f"{self.rule} at {self.root}: {self.reason or 'would apply'}"


def near_misses(model: Model, context: Context, rules: Rules, node: Node) -> list[NearMiss]:
    """The rules that would take `node` into a match if something were different, closest first.

    For each rule the place where most of it matched is told. A rule with a `match` of its own tells what its `explain`
    says.
    """
    found: list[NearMiss] = []
    for item in rules:
        rule = item() if isinstance(item, type) else item
        rule.start(model, context)
        by_pattern = type(rule).match is Rule.match
        places = list(_places(rule, context, node) if by_pattern else _own_places(rule, context, node))
        found += [max(places, key=lambda miss: miss.matched)] if places else []
    return sorted(found, key=lambda miss: -miss.matched)


def _own_places(rule: Rule, context: Context, node: Node) -> Iterator[NearMiss]:
    """Where a rule with a `match` of its own takes the node in, or what it says of it."""
    for root in _around(node):
        if rule.root_ops is None or (root.domain, root.op) in rule.root_ops:
            match = rule.match(root)
            if match is not None and node in match.nodes:
                yield NearMiss(rule.label, _name_of(match.root), len(match.nodes), _kept_from(rule, match, context))
                return
    said = rule.explain(node)
    if said:
        yield NearMiss(rule.label, _name_of(node), 1, said)


def _places(rule: Rule, context: Context, node: Node) -> Iterator[NearMiss]:
    matcher = Matcher(rule.graph(), explain=True)
    for root in _below(node, rule.reach):
        if rule.root_ops is not None and (root.domain, root.op) not in rule.root_ops:
            continue
        match = matcher.match(root)
        place = _name_of(root)
        if match is not None and node in match.nodes:
            yield NearMiss(rule.label, place, len(match.nodes), _kept_from(rule, match, context))
        elif match is None and matcher.miss is not None and matcher.miss.matched and node in matcher.miss.touched:
            yield NearMiss(rule.label, place, matcher.miss.matched, str(matcher.miss))


def _kept_from(rule: Rule, match: Match, context: Context) -> str:
    reason = not_for(rule, context.target) or blocked(match, context.protected)
    answer = None if reason else rule.ask("check", match)
    refused = context.refusals.get(match.root.name, [])
    told = next((text for text in refused if text.startswith(f"{rule.label}: ")), "").removeprefix(f"{rule.label}: ")
    return reason or (answer.reason if isinstance(answer, Refusal) else told)


def _name_of(node: Node) -> str:
    return node.name or next((value.name for value in node.outputs), "")


def _around(node: Node) -> list[Node]:
    """The node and those a few steps above and below it, nearest first."""
    seen = {node: None}
    layer = [node]
    while layer and len(seen) < _NEIGHBOURS:
        makers = (value.producer for item in layer for value in item.inputs if value is not None)
        near = [*(item for item in makers if item is not None), *(user for item in layer for user in item.successors)]
        layer = [item for item in dict.fromkeys(near) if item not in seen]
        seen.update(dict.fromkeys(layer))
    return list(seen)[:_NEIGHBOURS]


def _below(node: Node, reach: int) -> list[Node]:
    """The node and those up to `reach` steps below it."""
    seen = {node: None}
    layer = [node]
    for _ in range(reach):
        layer = [user for node in layer for user in node.successors if user not in seen]
        seen.update(dict.fromkeys(layer))
    return list(seen)
