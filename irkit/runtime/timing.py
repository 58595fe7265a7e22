"""How long single frames take, on whatever runs them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

WARM_UP = 20


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
