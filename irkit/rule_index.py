"""Which rules may match at a node, told without asking them: by its operator and by what makes its inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irkit.ir import Node
from irkit.rewrite_rule import Rule

Key = tuple[str, str]
"""Domain and operator of a node."""


class RuleIndex:
    """Finds rules by what surrounds a node; the answer for surroundings like earlier ones is remembered.

    So the work at a node does not grow with the number of rules that look for something else.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._by_op: dict[Key, list[Rule]] = {}
        self._near: dict[tuple[Key, frozenset[Key]], tuple[list[Rule], bool]] = {}
        self._deep: dict[tuple[Key, frozenset[Key], frozenset[Key]], list[Rule]] = {}

    def has_rules(self, node: Node) -> bool:
        """Whether some rule may be rooted at such an operator."""
        return bool(self._rooted((node.domain, node.op)))

    def fitting(self, node: Node) -> list[Rule]:
        """The rules for the node, in order, without those it is plain that they do not match."""
        key = (node.domain, node.op)
        makers = list(_makers(node))
        near = frozenset([(maker.domain, maker.op) for maker in makers])
        found = self._near.get((key, near))
        if found is None:
            rules = [rule for rule in self._rooted(key) if not any(map(near.isdisjoint, rule.feeders))]
            found = self._near[key, near] = rules, any(rule.beneath for rule in rules)
        rules, looks_deeper = found
        return self._deeper(key, near, makers, rules) if looks_deeper else rules

    def _deeper(self, key: Key, near: frozenset[Key], makers: list[Node], rules: list[Rule]) -> list[Rule]:
        deep = frozenset([(above.domain, above.op) for maker in makers for above in _makers(maker)])
        found = self._deep.get((key, near, deep))
        if found is None:
            found = [rule for rule in rules if not any(map(deep.isdisjoint, rule.beneath))]
            self._deep[key, near, deep] = found
        return found

    def _rooted(self, key: Key) -> list[Rule]:
        rules = self._by_op.get(key)
        if rules is None:
            rules = [rule for rule in self._rules if rule.root_ops is None or key in rule.root_ops]
            self._by_op[key] = rules
        return rules


def _makers(node: Node) -> Iterator[Node]:
    return (value.producer for value in node.inputs if value is not None and value.producer is not None)
