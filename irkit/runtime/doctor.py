"""What of Hailo's tools is here, what is missing, and which versions fit each other."""

from __future__ import annotations

import enum
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata, util

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SECONDS = 20

PAIRS = {
    "3.24": "4.14", "3.25": "4.15", "3.26": "4.16", "3.27": "4.18", "3.28": "4.18", "3.29": "4.19", "3.30": "4.20",
    "3.31": "4.21", "3.32": "4.22", "3.33": "4.23", "5.0": "5.0", "5.1": "5.1", "5.2": "5.2",
}  # fmt: skip
"""HailoRT that came with a compiler (changelog of hailo-ai/hailo_model_zoo on GitHub); newer ones read older files."""

_CHIPS = {"HAILO8": "hailo8", "HAILO8L": "hailo8l", "HAILO8R": "hailo8r"}


class State(enum.Enum):
    """How a thing stands."""

    HERE = "here"
    MISSING = "missing"
    WRONG = "wrong"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes: `name`; `state`; `found`, in words; `advice`: how to get it or mend it.
    """

    name: str
    state: State
    found: str = ""
    advice: str = ""


def examine() -> list[Check]:
    """Look at everything. Nothing is changed, and what is not installed is not imported."""
    runtime = _runtime()
    return [*_local(), *_compiler(), *runtime, *_fit(runtime)]


# --- this machine ----------------------------------------------------------------------------------------------------


def _local() -> Iterator[Check]:
    yield Check("Python", State.HERE, f"{platform.python_version()} at {sys.executable}")
    for name in ("onnx", "numpy"):
        yield Check(name, State.HERE, _version(name))
    version = _version("onnxruntime")
    if version:
        yield Check("ONNX Runtime", State.HERE, version)
    else:
        advice = "pip install 'irkit-compiler[verify]'"
        yield Check("ONNX Runtime", State.MISSING, "models cannot be run or proven", advice)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


# --- the compiler ----------------------------------------------------------------------------------------------------


def _compiler() -> Iterator[Check]:
    fits = sys.platform == "linux" and platform.machine() == "x86_64"
    advice = (
        "a wheel from https://hailo.ai/developer-zone (an account is needed), for x86-64 Linux, Python 3.10 to 3.12"
    )
    version = _version("hailo_dataflow_compiler") or _version("hailo-dataflow-compiler")
    if _importable("hailo_sdk_client"):
        yield Check("Dataflow Compiler", State.HERE, version or "version not told")
    elif fits:
        yield Check("Dataflow Compiler", State.MISSING, "not in this Python", advice)
    else:
        where = f"{sys.platform} on {platform.machine()}"
        yield Check("Dataflow Compiler", State.MISSING, f"it runs on x86-64 Linux only; this is {where}", advice)
    gpu = _said("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    if gpu:
        yield Check("GPU", State.HERE, gpu.splitlines()[0])
    else:
        yield Check("GPU", State.MISSING, "the compiler lowers its optimization level without one")
    docker = _said("docker", "--version")
    if docker:
        yield Check("docker", State.HERE, docker.splitlines()[0])
    else:
        yield Check("docker", State.MISSING, "only needed for irkit compile --docker")


def _importable(name: str) -> bool:
    try:
        return util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


# --- runtime and device ----------------------------------------------------------------------------------------------


def _runtime() -> list[Check]:
    install = "on a Raspberry Pi: sudo apt install hailo-all; elsewhere: https://hailo.ai/developer-zone"
    told = _said("hailortcli", "--version")
    found = re.search(r"version\s+(\S+)", told)
    checks = [
        Check("HailoRT", State.HERE, found[1] if found else told.strip())
        if told
        else Check("HailoRT", State.MISSING, "there is no hailortcli", install)
    ]
    if _importable("hailo_platform"):
        checks.append(Check("HailoRT for Python", State.HERE, _version("hailort") or _version("hailo_platform")))
    else:
        checks.append(Check("HailoRT for Python", State.MISSING, "hailo_platform is not in this Python", install))
    checks += [_driver(), _device(bool(told))]
    return checks


def _driver() -> Check:
    path = "/sys/module/hailo_pci/version"
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as file:
                return Check("driver", State.HERE, file.read().strip())
        except OSError as error:
            return Check("driver", State.UNKNOWN, str(error))
    if sys.platform != "linux":
        return Check("driver", State.UNKNOWN, f"not looked for on {sys.platform}")
    return Check("driver", State.MISSING, "the kernel module hailo_pci is not loaded", "sudo modprobe hailo_pci")


def _device(has_cli: bool) -> Check:
    if not has_cli:
        return Check("device", State.UNKNOWN, "only hailortcli or HailoRT's Python package can tell")
    told = _said("hailortcli", "fw-control", "identify")
    architecture = re.search(r"Device Architecture:\s*(\S+)", told)
    firmware = re.search(r"Firmware Version:\s*(\S+)", told)
    if architecture is None:
        advice = "is it plugged in, and is PCIe switched on? lspci | grep -i hailo"
        return Check("device", State.MISSING, "hailortcli finds none", advice)
    chip = _CHIPS.get(architecture[1], architecture[1])
    with_firmware = f", firmware {firmware[1]}" if firmware else ""
    return Check("device", State.HERE, f"{chip}{with_firmware}")


def _fit(runtime: list[Check]) -> Iterator[Check]:
    """Whether versions fit each other: driver and library must be equal; a compiler has its HailoRT."""
    by_name = {check.name: check for check in runtime if check.state is State.HERE}
    library, driver = by_name.get("HailoRT"), by_name.get("driver")
    if library and driver and library.found != driver.found:
        advice = "install both from one release; then restart"
        yield Check("driver and HailoRT", State.WRONG, f"{driver.found} and {library.found} must be equal", advice)
    compiler = _version("hailo_dataflow_compiler") or _version("hailo-dataflow-compiler")
    wanted = PAIRS.get(".".join(compiler.split(".")[:2])) if compiler else None
    if wanted and library and _numbers(library.found) < _numbers(wanted):
        text = f"files of compiler {compiler} want HailoRT {wanted} or later; found {library.found}"
        yield Check("compiler and HailoRT", State.WRONG, text, "install a newer HailoRT")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _said(*command: str, run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run) -> str:
    """What a command prints; "" where it is not installed or fails."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = run(command, check=False, capture_output=True, text=True, errors="replace", timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return _ANSI.sub("", done.stdout) if done.returncode == 0 else ""
