"""The gates and their limits, from a gates.toml or by default."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from irkit.errors import InputError
from irkit.tomlfile import TomlFile


class GatesError(InputError):
    """A file of gates, or data for them, that cannot be used."""


@dataclass(frozen=True)
class Limits:
    """What a bundle must hold. Each field is a key of gates.toml; all may be left out.

    Attributes:
        hef_mb, onnx_mb: size of the files, in MB of 2**20 bytes.
        p95_ms: of the wall time of one frame: pre, device and post-processing.
        frames: single frames that are timed, at least.
        core_ms: mean time of one frame within the chip.
        accuracy: share of right classes, at least.
        ece: expected calibration error, at most.
        coverage: of the conformal prediction sets.
        int8_drop: of accuracy from float to 8 bits, at most.
        calibration_samples: of the calibration set, at least.
    """

    hef_mb: float = 32.0
    onnx_mb: float = 32.0
    p95_ms: float = 100.0
    frames: int = 1000
    core_ms: float = 15.0
    accuracy: float = 0.85
    ece: float = 0.03
    coverage: float = 0.90
    int8_drop: float = 0.01
    calibration_samples: int = 1024

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"`{name}` is a number above 0")
        for name in ("accuracy", "ece", "coverage", "int8_drop"):
            if getattr(self, name) >= 1:
                raise ValueError(f"`{name}` is a share below 1, such as 0.85")


def read_limits(path: Path | None) -> Limits:
    """The limits of a file, or the default ones. Raises `GatesError`, with file and line."""
    return Limits() if path is None else TomlFile(path, GatesError).decode(Limits)
