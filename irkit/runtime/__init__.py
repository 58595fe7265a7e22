"""From a bundle to a device: compiling, binding, running, timing.

pipeline = irkit.runtime.Pipeline("build/")
outputs = pipeline({"image": array})
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irkit.runtime.emulating import EmulatedBackend as EmulatedBackend
    from irkit.runtime.folder import BundleFolder as BundleFolder, open_bundle as open_bundle
    from irkit.runtime.pipeline import Pipeline as Pipeline
    from irkit.runtime.timing import Latency as Latency, measure_latency as measure_latency

_HOME = {
    "BundleFolder": "folder", "EmulatedBackend": "emulating", "Latency": "timing", "Pipeline": "pipeline",
    "measure_latency": "timing", "open_bundle": "folder",
}  # fmt: skip

__all__ = ["BundleFolder", "EmulatedBackend", "Latency", "Pipeline", "measure_latency", "open_bundle"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'irkit.runtime' has no attribute {name!r}")
    return getattr(importlib.import_module(f"irkit.runtime.{_HOME[name]}"), name)
