"""What Hailo's own tool measures of a HEF on the device.

Versions 4 and 5.0 write a table (`run --csv`); later ones measure by `run2`, which writes JSON. Layouts are those of
its source (hailo-ai/hailort on GitHub, hailortcli).
"""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irkit.errors import ExecutionError

_SECONDS = 5
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_LATENCY = ("--measure-latency", "--measure-overall-latency")
_UNKNOWN_ARGUMENT = range(100, 116)
"""Exit codes of the parser of arguments (CLI11): this version has no such command or flag."""


@dataclass(frozen=True)
class DeviceTimes:
    """What `hailortcli` measures: frames a second, milliseconds of one frame within the chip and in all, watts."""

    fps: float | None
    hw_latency: float | None
    overall_latency: float | None
    average_power: float | None = None


class _UnknownArgumentError(ExecutionError):
    """This version of the tool does not know what it was asked."""


def hailortcli_times(hef: Path, seconds: int = _SECONDS) -> DeviceTimes | None:
    """Time a HEF with `hailortcli`; None where it is not installed.

    The chip runs frames one at a time to measure latency, so that frames a second take a run of their own.

    Raises `ExecutionError` where it fails.
    """
    if shutil.which("hailortcli") is None:
        return None
    try:
        fast, slow = _run(hef, seconds, ()), _run(hef, seconds, _LATENCY)
    except _UnknownArgumentError:
        fast, slow = _run2(hef, seconds, ("--measure-power",)), _run2(hef, seconds, _LATENCY)
    return DeviceTimes(
        fps=_number(fast.get("fps")),
        hw_latency=_number(slow.get("hw_latency")),
        overall_latency=_number(slow.get("overall_latency")),
        average_power=_number(fast.get("average_power")),
    )


def _run(hef: Path, seconds: int, flags: Sequence[str]) -> Mapping[str, Any]:
    """The row of its table."""
    with tempfile.TemporaryDirectory(prefix="irkit-") as folder:
        table = Path(folder) / "times.csv"
        _call("run", str(hef), "-t", str(seconds), "--csv", str(table), "--dont-show-progress", *flags, seconds=seconds)
        try:
            with open(table, newline="", encoding="utf-8") as file:
                row = next(csv.DictReader(file), {})
        except OSError as error:
            raise ExecutionError(f"hailortcli run wrote no table: {error.strerror or error}") from error
    if row.get("status", "0") not in ("0", "", None):
        told = row.get("status_description") or "no description"
        raise ExecutionError(f"hailortcli run: status {row['status']}: {told}")
    return row


def _run2(hef: Path, seconds: int, flags: Sequence[str]) -> Mapping[str, Any]:
    """The same figures out of its JSON."""
    with tempfile.TemporaryDirectory(prefix="irkit-") as folder:
        path = Path(folder) / "times.json"
        _call("run2", "-t", str(seconds), "-j", str(path), *flags, "set-net", str(hef), seconds=seconds)
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            group = plain["network_groups"][0]
            devices = plain.get("devices") or [{}]
            power = devices[0].get("power") or {}
        except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise ExecutionError(f"hailortcli run2 wrote nothing that can be read: {error}") from error
    told = {"fps": group.get("FPS"), "average_power": power.get("average")}
    return {**told, "hw_latency": group.get("hw_latency"), "overall_latency": group.get("overall_latency")}


def _call(*arguments: str, seconds: int) -> None:
    name = f"hailortcli {arguments[0]}"
    try:
        done = subprocess.run(
            ["hailortcli", *arguments], check=False, capture_output=True, text=True, errors="replace",
            timeout=60 + 2 * seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ExecutionError(f"{name} did not end within {60 + 2 * seconds} seconds") from error
    except OSError as error:
        raise ExecutionError(f"{name} cannot be run: {error.strerror or error}") from error
    if done.returncode in _UNKNOWN_ARGUMENT:
        raise _UnknownArgumentError(f"{name} does not take these arguments: {_last_line(done.stderr)}")
    if done.returncode:
        raise ExecutionError(f"{name} ended with {done.returncode}: {_last_line(done.stderr)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in _ANSI.sub("", text).splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no message"])[-1]


def _number(value: Any) -> float | None:
    """A number, or the one at the beginning of a text such as `3.1 W`; None where there is none."""
    found = _NUMBER.match(str(value).strip()) if value is not None else None
    return float(found[0]) if found else None
