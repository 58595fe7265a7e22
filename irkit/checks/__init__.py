"""The lint rules, one family a file.

`model_rules` looks at models alone. The others have something to say only where a calibration set, scripts or a log of
the compiler are given, and are not even imported without: a lint starts in a fraction of a second.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from irkit.linter import Rule, unique

if TYPE_CHECKING:
    ALL_RULES: tuple[Rule, ...]

OF_MODELS = (
    "attention", "axes", "hosted", "layers", "layout", "model", "names", "operand_sources", "operators", "opsets",
    "preprocessing", "quantization", "ranges", "resources", "shapes", "sizes", "speed", "tensors", "training",
    "weights",
)  # fmt: skip
OF_OTHER_INPUTS = ("calibration", "dfc_building", "dfc_parsing", "scripts", "toolcalls")


@functools.cache
def model_rules() -> tuple[Rule, ...]:
    """The rules that look at models alone, in the order of their codes."""
    return unique(_rules(OF_MODELS))


@functools.cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, in the order of their codes."""
    return unique((*model_rules(), *_rules(OF_OTHER_INPUTS)))


def _rules(families: Iterable[str]) -> Iterable[Rule]:
    for name in families:
        module = importlib.import_module(f"{__name__}.{name}")
        yield from (item for item in vars(module).values() if isinstance(item, Rule))


def __getattr__(name: str) -> Any:
    """`ALL_RULES` are `all_rules()`."""
    if name == "ALL_RULES":
        return all_rules()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
