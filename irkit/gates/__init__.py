"""A deployment checklist as a command: `irkit check`.

confidence.py   temperature, expected calibration error, conformal prediction sets
limits.py       the gates and their limits, by default those of irkit's first users
device.py       what selftest.py measured on the Pi
measured.py     what is measured once and asked for by several lines
checklist.py    the lines of the checklist

The names below are for those who run a bundle themselves.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from irkit.gates.confidence import (
        Confidence as Confidence,
        accuracy as accuracy,
        calibration_error as calibration_error,
        read_confidence as read_confidence,
        softmax as softmax,
    )

__all__ = ["Confidence", "accuracy", "calibration_error", "read_confidence", "softmax"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'irkit.gates' has no attribute {name!r}")
    return getattr(importlib.import_module("irkit.gates.confidence"), name)
