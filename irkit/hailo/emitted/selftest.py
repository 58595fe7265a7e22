#!/usr/bin/env python3
"""Does this network run rightly on this chip, and how fast?

    python3 selftest.py [--hef model.hef] [--frames 1000] [--latency-csv latency.csv]

Needs numpy and hailo_platform (HailoRT's Python package). Reads model.hef, io_map.json and golden/ beside it, runs the
golden inputs, holds the outputs against those of the float model, times single frames, and writes device_results.json.
The time within the chip only hailortcli tells; its table is taken into the results:

    hailortcli run model.hef --measure-latency --csv latency.csv

Exit codes: 0 right; 1 a check failed; 2 something is missing.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MIN_COSINE = 0.95
"""An 8-bit network comes out well above; a wrong layout, a wrong output or a wrong file far below."""
WARM_UP = 20


class Stop(Exception):
    """Something is missing; the text says what to do."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hef", type=Path, default=HERE / "model.hef", help="what the compiler made")
    parser.add_argument("--frames", type=int, default=1000, help="single frames to time (default: 1000)")
    table = "what `hailortcli run model.hef --measure-latency --csv FILE` wrote"
    parser.add_argument("--latency-csv", type=Path, metavar="FILE", help=table)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "device_results.json", help="where results go")
    options = parser.parse_args()
    try:
        within = chip_latency(options.latency_csv) if options.latency_csv else None
        results = {**measure(options.hef, max(1, options.frames)), "hw_latency_ms": within}
    except Stop as stop:
        print(f"stopped: {stop}", file=sys.stderr)
        return 2
    options.output.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    for check in results["checks"]:
        print(f"{'ok  ' if check['ok'] else 'FAIL'} {check['name']}: {check['found']}")
    latency = results["latency_ms"]
    shown = ", ".join(f"{key.upper()} {latency[key]:.2f} ms" for key in ("p50", "p95", "p99"))
    print(f"single frames, whole call: {shown}")
    if results["hw_latency_ms"] is not None:
        print(f"within the chip, mean: {results['hw_latency_ms']:.3f} ms")
    print(f"written: {options.output}")
    return 0 if all(check["ok"] for check in results["checks"]) else 1


def measure(hef_path: Path, frames: int) -> dict[str, Any]:
    """Run everything."""
    import numpy as np

    if not hef_path.exists():
        raise Stop(f"there is no {hef_path}: copy compiled/model.hef from the machine with the compiler")
    inputs, outputs = golden("inputs"), golden("outputs")
    io_map = json.loads((HERE / "io_map.json").read_text(encoding="utf-8"))
    hailo = import_runtime()
    hef = hailo.HEF(str(hef_path))
    try:
        device = hailo.VDevice()
    except Exception as error:
        raise Stop(f"no device can be opened: {error}; see: hailortcli fw-control identify") from None
    with device:
        network = configured(hailo, device, hef)
        names = bound_names(hef, io_map)
        with vstreams(hailo, network) as pipeline:

            def run(index: int) -> dict[str, Any]:
                return call(pipeline, inputs, names, index)

            count = len(next(iter(inputs.values())))
            first = [run(index) for index in range(count)]
            second = [run(index) for index in range(count)]
            samples = timed(run, count, frames)
        architecture = identify(device)
    boxes = {entry["name"] for entry in io_map["outputs"] if entry["device"].get("nms")}
    entries = {entry["name"]: entry for entry in io_map["outputs"]}
    expected_outputs = {
        name: channels_last(array, entries[name]) for name, array in outputs.items() if name not in boxes
    }
    checks = [*repeated(first, second), *compared(first, expected_outputs)]
    expected = (
        json.loads((HERE / "script.json").read_text(encoding="utf-8"))["hw_arch"]
        if (HERE / "script.json").exists()
        else ""
    )
    percentiles = {f"p{q}": float(np.percentile(samples, q)) for q in (50, 95, 99)}
    return {
        "schema": 1,
        "hailort": getattr(hailo, "__version__", ""),
        "architecture": architecture,
        "compiled_for": expected,
        "hef": hef_path.name,
        "hef_sha256": hashlib.sha256(hef_path.read_bytes()).hexdigest(),
        "frames": len(samples),
        "latency_ms": {**percentiles, "mean": float(np.mean(samples)), "max": float(np.max(samples))},
        "latency_samples_ms": [round(float(value), 4) for value in samples],
        "latency_kind": "wall time of one blocking call for one frame, transfer and quantization on the host included",
        "checks": checks,
    }


def chip_latency(table: Path) -> float:
    """Mean milliseconds of a frame within the chip, by hailortcli."""
    try:
        with open(table, newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file))
        return float(row["hw_latency"])
    except (OSError, StopIteration, KeyError, TypeError, ValueError) as error:
        raise Stop(
            f"{table} has no hw_latency ({error}): hailortcli run model.hef --measure-latency --csv {table}"
        ) from None


def golden(kind: str) -> dict[str, Any]:
    import numpy as np

    path = HERE / "golden" / f"{kind}.npz"
    if not path.exists():
        raise Stop(f"there is no {path}: copy the folder golden from the bundle")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def import_runtime() -> Any:
    try:
        import hailo_platform
    except Exception as error:  # a missing library is no ImportError
        raise Stop(
            f"hailo_platform cannot be imported: {error}; on a Raspberry Pi: sudo apt install hailo-all"
        ) from None
    return hailo_platform


def configured(hailo: Any, device: Any, hef: Any) -> Any:
    """The network, loaded onto the device."""
    interface = hailo.HailoStreamInterface.PCIe
    try:
        params = hailo.ConfigureParams.create_from_hef(hef=hef, interface=interface)
        return device.configure(hef, params)[0]
    except Exception as error:
        raise Stop(
            f"the device does not take {hef.path}: {error}; it must be compiled for the chip that is there"
        ) from None


def vstreams(hailo: Any, network: Any) -> Any:
    """The network ready to run, floats in and out: HailoRT quantizes on the host."""
    float32 = hailo.FormatType.FLOAT32
    inputs = hailo.InputVStreamParams.make(network, format_type=float32)
    outputs = hailo.OutputVStreamParams.make(network, format_type=float32)
    return hailo.InferVStreams(network, inputs, outputs)


def bound_names(hef: Any, io_map: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Names in the HEF by those in ONNX: inputs in order, outputs by the node that the compiler recorded."""
    found: dict[str, dict[str, str]] = {"inputs": {}, "outputs": {}}
    streams = hef.get_input_vstream_infos()
    if len(streams) != len(io_map["inputs"]):
        raise Stop(f"the HEF has {len(streams)} inputs, io_map.json {len(io_map['inputs'])}: they are of other models")
    for entry, info in zip(io_map["inputs"], streams):
        found["inputs"][entry["name"]] = entry["device"].get("name") or info.name
    origins = {
        info.name: hef.get_original_names_from_vstream_name(info.name) for info in hef.get_output_vstream_infos()
    }
    for entry in io_map["outputs"]:
        name = entry["device"].get("name")
        if not name:
            fitting = [stream for stream, nodes in origins.items() if entry.get("node") in nodes]
            if len(fitting) != 1:
                raise Stop(
                    f"which output of the HEF is {entry['name']!r} cannot be told: irkit hef model.hef --bind BUNDLE"
                )
            name = fitting[0]
        found["outputs"][entry["name"]] = name
    return found


def call(pipeline: Any, inputs: dict[str, Any], names: dict[str, dict[str, str]], index: int) -> dict[str, Any]:
    """One frame through the device; outputs by their names in ONNX."""
    import numpy as np

    feed = {
        names["inputs"][name]: np.ascontiguousarray(array[index : index + 1], np.float32)
        for name, array in inputs.items()
    }
    results = pipeline.infer(feed)
    return {name: flat(results[stream][0]) for name, stream in names["outputs"].items()}


def flat(result: Any) -> Any:
    """An output as one row; boxes come as a list of arrays, one each class."""
    import numpy as np

    if isinstance(result, (list, tuple)):
        parts = [np.asarray(one, np.float32).reshape(-1) for one in result]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return np.asarray(result).reshape(-1)


def timed(run: Any, count: int, frames: int) -> list[float]:
    """Milliseconds of single calls, once it is warm."""
    for index in range(min(WARM_UP, frames)):
        run(index % count)
    samples = []
    for index in range(frames):
        began = time.perf_counter()
        run(index % count)
        samples.append((time.perf_counter() - began) * 1e3)
    return samples


def identify(device: Any) -> str:
    """The chip's architecture; its board name says Hailo-8 on an 8L too."""
    try:
        physical = device.get_physical_devices()[0]
        return str(physical.control.identify().device_architecture).rpartition(".")[2]
    except Exception as error:
        return f"not told ({error})"


def channels_last(array: Any, entry: dict[str, Any]) -> Any:
    """An output of the float model as the device orders it: before what only reshapes it at the end."""
    array = array.reshape(len(array), *entry["shape"][1:])
    return array.transpose(0, 2, 3, 1) if entry["layout"] == "NCHW" else array


def repeated(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Repeatable, not constant: one entry for each output and question."""
    import numpy as np

    checks = []
    for name in first[0]:
        same = all(np.array_equal(one[name], two[name]) for one, two in zip(first, second))
        checks.append({"name": f"{name} is repeatable", "ok": same, "found": "two runs"})
        varies = len(first) < 2 or any(not np.array_equal(frame[name], first[0][name]) for frame in first)
        checks.append({"name": f"{name} reacts to its input", "ok": varies, "found": f"{len(first)} inputs"})
    return checks


def compared(first: list[dict[str, Any]], expected: dict[str, Any]) -> list[dict[str, Any]]:
    """Right: one entry for each output that the float model gives too."""
    import numpy as np

    checks = []
    for name, array in expected.items():
        got = np.stack([frame[name] for frame in first]).astype(np.float64)
        wanted = array.reshape(len(array), -1).astype(np.float64)
        if wanted.shape != got.shape:
            found = f"{got.shape[1]} numbers, the float model gives {wanted.shape[1]}"
            checks.append({"name": f"{name} is right", "ok": False, "found": found})
            continue
        norm = float(np.linalg.norm(got) * np.linalg.norm(wanted))
        cosine = float((got * wanted).sum()) / norm if norm else float(not got.any() and not wanted.any())
        top1 = float(np.mean(got.argmax(1) == wanted.argmax(1)))
        found = f"cosine {cosine:.4f} with the float model, largest class the same in {top1:.0%}"
        checks.append({"name": f"{name} is right", "ok": cosine >= MIN_COSINE, "found": found})
    return checks


if __name__ == "__main__":
    sys.exit(main())
