"""Time single frames of a bundle, an ONNX file or a HEF: P50, P95, P99, frames a second, memory.

Runs on the Hailo device where there is one, and in ONNX Runtime on this CPU as the baseline. Where hailortcli is
installed, its own measurement of the chip is told too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.cli import arguments, console
from irkit.errors import OptionError

if TYPE_CHECKING:
    from irkit.runtime.hailortcli import DeviceTimes
    from irkit.runtime.timing import Latency


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    what = "a folder of irkit optimize, an ONNX file, or a HEF"
    parser.add_argument("model", metavar="BUNDLE|MODEL|HEF", type=Path, help=what)
    parser.add_argument("--frames", type=int, default=1000, metavar="N", help="frames to time (default: 1000)")
    parser.add_argument(
        "--input", type=Path, metavar="FILE", help="a .npy or .npz to take frames from (default: drawn)"
    )
    arguments.add_device(parser)
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Time, show."""
    if not 0 < options.frames <= 10_000_000:
        raise OptionError(f"--frames takes a number above 0; found {options.frames}")
    from irkit.runtime.benching import bench

    with console.progress_bar() as progress:
        result = bench(options.model, options.frames, options.input, options.device, progress)
    if result.fallback and options.device == "auto":
        console.message(f"no Hailo device: {result.fallback}")
    if options.format == "json":
        console.result_json(_plain(result.latencies, result.chip, result.chip_error))
        return 0
    for latency in result.latencies:
        points = ", ".join(f"P{share} {latency.percentile(share):.3f} ms" for share in (50, 95, 99))
        console.result(
            f"{latency.device}: {points}; {latency.throughput:.1f} frames a second ({len(latency.samples)} frames)"
        )
    if result.latencies[-1].peak_mb is not None:
        console.result(f"memory: {result.latencies[-1].peak_mb:.0f} MB at most, of the whole process")
    if result.chip is not None:
        console.result(f"hailortcli: {_chip_text(result.chip)}")
    if result.chip_error:
        console.result(f"hailortcli: not measured: {result.chip_error}")
    console.result("next: irkit doctor" if result.fallback else f"next: irkit run {options.model} --input FILE")
    return 0


def _chip_text(chip: DeviceTimes) -> str:
    parts = []
    for value, text in (
        (chip.hw_latency, "{:.3f} ms within the chip"),
        (chip.overall_latency, "{:.3f} ms in all"),
        (chip.fps, "{:.1f} frames a second"),
        (chip.average_power, "{:.2f} W"),
    ):
        if value is not None:
            parts.append(text.format(value))
    return ", ".join(parts) or "it told nothing"


def _plain(latencies: list[Latency], chip: DeviceTimes | None, error: str) -> dict[str, Any]:
    return {
        "runs": [latency.to_json() for latency in latencies],
        "hailortcli": None if chip is None else vars(chip),
        "hailortcli_error": error or None,
    }
