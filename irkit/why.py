"""Why a node was not rewritten: which rules came closest to it, and what stood in their way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from irkit.ir import Node
from irkit.matcher import Match, Matcher
from irkit.pass_base import Context
from irkit.rewriter import Refusal, Rule, Rules
from irkit.splice import blocked

if TYPE_CHECKING:
    from irkit.model import Model


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

    For each rule the place where most of it matched is told. Rules without a pattern are not asked.
    """
    found: list[NearMiss] = []
    for item in rules:
        rule = item() if isinstance(item, type) else item
        rule.start(model, context)
        if type(rule).match is Rule.match:
            places = list(_places(rule, context, node))
            found += [max(places, key=lambda miss: miss.matched)] if places else []
    return sorted(found, key=lambda miss: -miss.matched)


def _places(rule: Rule, context: Context, node: Node) -> Iterator[NearMiss]:
    matcher = Matcher(rule.graph(), explain=True)
    for root in _below(node, rule.reach):
        if rule.root_ops is not None and (root.domain, root.op) not in rule.root_ops:
            continue
        match = matcher.match(root)
        place = root.name or root.output.name
        if match is not None and node in match.nodes:
            yield NearMiss(rule.label, place, len(match.nodes), _kept_from(rule, match, context))
        elif match is None and matcher.miss is not None and matcher.miss.matched and node in matcher.miss.touched:
            yield NearMiss(rule.label, place, matcher.miss.matched, str(matcher.miss))


def _kept_from(rule: Rule, match: Match, context: Context) -> str:
    reason = blocked(match, context.protected)
    answer = None if reason else rule.ask("check", match)
    refused = context.refusals.get(match.root.name, [])
    told = next((text for text in refused if text.startswith(f"{rule.label}: ")), "").removeprefix(f"{rule.label}: ")
    return reason or (answer.reason if isinstance(answer, Refusal) else told)


def _below(node: Node, reach: int) -> list[Node]:
    """The node and those up to `reach` steps below it."""
    seen = {node: None}
    layer = [node]
    for _ in range(reach):
        layer = [user for node in layer for user in node.successors if user not in seen]
        seen.update(dict.fromkeys(layer))
    return list(seen)
