"""How long single frames take, on whatever runs them."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.errors import ExecutionError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

WARM_UP = 20
_SECONDS_OF_CLI = 5
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Latency:
    """Wall times of single frames in milliseconds, and what follows from them.

    Attributes: `device` that ran them; `samples`, one each frame; `peak_mb`, the most memory this process had so far.
    """

    device: str
    samples: tuple[float, ...]
    peak_mb: float | None = None

    def percentile(self, share: float) -> float:
        """Milliseconds that `share` percent of the frames stay within."""
        import numpy as np

        return float(np.percentile(self.samples, share))

    @property
    def mean(self) -> float:
        """Milliseconds."""
        return sum(self.samples) / len(self.samples)

    @property
    def throughput(self) -> float:
        """Frames a second, one after the other."""
        return 1e3 / self.mean if self.mean else float("inf")

    def to_json(self) -> dict[str, Any]:
        """As plain data, without the single frames."""
        points = {f"p{share}": self.percentile(share) for share in (50, 95, 99)}
        return {
            "device": self.device,
            "frames": len(self.samples),
            "latency_ms": {**points, "mean": self.mean, "min": min(self.samples), "max": max(self.samples)},
            "frames_per_second": self.throughput,
            "peak_memory_mb": self.peak_mb,
        }


def measure_latency(
    run: Callable[[int], object],
    frames: int,
    device: str,
    progress: Callable[[str, int, int], None] | None = None,
) -> Latency:
    """Time single frames, once it is warm.

    Args:
        run: runs the frame of that number.
        frames: how many to time.
        device: what runs them, in words.
        progress: is told now and then.
    """
    for index in range(min(WARM_UP, frames)):
        run(index)
    samples = []
    step = max(1, frames // 100)
    for index in range(frames):
        began = time.perf_counter()
        run(index)
        samples.append((time.perf_counter() - began) * 1e3)
        if progress is not None and index % step == 0:
            progress(f"timing on {device}", index, frames)
    return Latency(device, tuple(samples), _peak_memory())


def _peak_memory() -> float | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


@dataclass(frozen=True)
class DeviceTimes:
    """What `hailortcli` measures: frames a second, milliseconds of one frame within the chip and in all, watts."""

    fps: float | None
    hw_latency: float | None
    overall_latency: float | None
    average_power: float | None = None


def hailortcli_times(hef: Path, seconds: int = _SECONDS_OF_CLI) -> DeviceTimes | None:
    """Time a HEF with `hailortcli run`, by its CSV; None where it is not installed.

    The chip runs frames one at a time to measure latency, so that frames a second take a run of their own.

    Raises `ExecutionError` where it fails.
    """
    if shutil.which("hailortcli") is None:
        return None
    fast = _run_cli(hef, seconds, [])
    slow = _run_cli(hef, seconds, ["--measure-latency", "--measure-overall-latency"])
    return DeviceTimes(
        fps=_number(fast, "fps"),
        hw_latency=_number(slow, "hw_latency"),
        overall_latency=_number(slow, "overall_latency"),
        average_power=_number(fast, "average_power"),
    )


def _run_cli(hef: Path, seconds: int, flags: Sequence[str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="irkit-") as folder:
        table = Path(folder) / "times.csv"
        command = [
            "hailortcli",
            "run",
            str(hef),
            "-t",
            str(seconds),
            "--csv",
            str(table),
            "--dont-show-progress",
            *flags,
        ]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, errors="replace", timeout=60 + 2 * seconds
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ExecutionError(f"hailortcli run: {error}") from error
        if done.returncode or not table.exists():
            told = [line for line in _ANSI.sub("", done.stderr).splitlines() if "error" in line.lower()]
            raise ExecutionError(f"hailortcli run ended with {done.returncode}: {(told or ['no message'])[-1].strip()}")
        with open(table, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    return {key: value for key, value in (rows[0] if rows else {}).items() if key and value}


def _number(row: dict[str, str], key: str) -> float | None:
    try:
        return float(row[key])
    except (KeyError, ValueError):
        return None
