"""What selftest.py measured on the Pi, read and held against the bundle it is said to be of."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irkit.gates.limits import GatesError


@dataclass(frozen=True)
class DeviceResults:
    """device_results.json.

    Attributes:
        architecture: of the chip that was there. hef_sha256: of the file that ran, "" where an older selftest.py ran.
        frames: how many were timed. p95_ms: of their wall times.
        core_ms: mean time of one frame within the chip, by hailortcli; None where that was not given.
        failed: names of checks that failed. checks: how many there were.
    """

    architecture: str
    hef_sha256: str
    frames: int
    p95_ms: float
    core_ms: float | None
    failed: tuple[str, ...]
    checks: int


def read_device_results(path: Path) -> DeviceResults:
    """Raises `GatesError` where the file is missing or is not what selftest.py writes."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GatesError(f"{path}: {error}") from None
    try:
        checks = [(str(check["name"]), check["ok"]) for check in found["checks"]]
        results = DeviceResults(
            architecture=str(found["architecture"]),
            hef_sha256=str(found.get("hef_sha256", "")),
            frames=int(found["frames"]),
            p95_ms=_milliseconds(found["latency_ms"]["p95"]),
            core_ms=None if found.get("hw_latency_ms") is None else _milliseconds(found["hw_latency_ms"]),
            failed=tuple(name for name, ok in checks if ok is not True),
            checks=len(checks),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise GatesError(f"{path} is not what selftest.py writes: {type(error).__name__}: {error}") from None
    if not results.checks or results.frames < 1:
        raise GatesError(f"{path} is of a selftest.py that checked or timed nothing: run it again")
    return results


def _milliseconds(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value} is no time in milliseconds")
    return number
