"""The lint rules, one family a file. `ALL_RULES` has them in the order of their codes."""

from __future__ import annotations

from irkit.checks import (
    attention,
    axes,
    calibration,
    dfc_building,
    dfc_parsing,
    hosted,
    layers,
    layout,
    model,
    names,
    operators,
    opsets,
    preprocessing,
    quantization,
    ranges,
    resources,
    scripts,
    shapes,
    speed,
    toolcalls,
    training,
    weights,
)
from irkit.linter import Rule, unique

_FAMILIES = (
    attention,
    axes,
    calibration,
    dfc_building,
    dfc_parsing,
    hosted,
    layers,
    layout,
    model,
    names,
    operators,
    opsets,
    preprocessing,
    quantization,
    ranges,
    resources,
    scripts,
    shapes,
    speed,
    toolcalls,
    training,
    weights,
)

ALL_RULES: tuple[Rule, ...] = unique(
    item for family in _FAMILIES for item in vars(family).values() if isinstance(item, Rule)
)
