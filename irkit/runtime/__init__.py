"""From a bundle to a device: compiling, binding, running, timing.

pipeline = irkit.runtime.Pipeline("build/")
outputs = pipeline({"image": array})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irkit.runtime.pipeline import Pipeline as Pipeline

__all__ = ["Pipeline"]


def __getattr__(name: str) -> Any:
    if name != "Pipeline":
        raise AttributeError(f"module 'irkit.runtime' has no attribute {name!r}")
    return importlib.import_module("irkit.runtime.pipeline").Pipeline
