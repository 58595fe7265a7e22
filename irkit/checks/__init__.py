"""The lint rules, one family a file. `ALL_RULES` has them in the order of their codes."""

from __future__ import annotations

from irkit.checks import model, operators, opsets, quantization, resources, shapes, weights
from irkit.linter import Rule, unique

ALL_RULES: tuple[Rule, ...] = unique(
    item
    for family in (model, operators, opsets, quantization, resources, shapes, weights)
    for item in vars(family).values()
    if isinstance(item, Rule)
)
