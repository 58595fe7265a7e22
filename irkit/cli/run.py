"""Run a bundle, an ONNX file or a HEF on data: on the Hailo device where there is one, in ONNX Runtime otherwise.

The input is a .npy, or an .npz keyed by input names: frames along the first axis, or one frame. A bundle whose chip
normalizes takes raw 8-bit images (N, H, W, C); everything else takes what the ONNX model takes. A HEF by itself takes
(N, H, W, C) by the names in it, and runs on a device only.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.cli import arguments, console
from irkit.errors import OptionError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    what = "a folder of irkit optimize, an ONNX file, or a HEF"
    parser.add_argument("model", metavar="BUNDLE|MODEL|HEF", type=Path, help=what)
    parser.add_argument("--input", type=Path, required=True, metavar="FILE", help="a .npy or .npz")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.npz", help="write the outputs")
    arguments.add_device(parser)
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Run, show or write."""
    if options.output is not None and options.output.suffix != ".npz":
        raise OptionError(f"-o takes a file.npz; found `{options.output}`")
    from irkit.runtime.arrays import read_arrays
    from irkit.runtime.runner import open_runner

    given = read_arrays(options.input)
    with open_runner(options.model, options.device) as runner:
        outputs = runner(given)
        if runner.fallback and options.device == "auto":
            console.message(f"no Hailo device: {runner.fallback}")
        device = runner.device
    if options.output is not None:
        _write(options.output, outputs)
    if options.format == "json":
        console.result_json({"device": device, "outputs": {name: _plain(array) for name, array in outputs.items()}})
        return 0
    console.result(f"ran on {device}")
    for name, array in outputs.items():
        console.result(f"  {name}  {array.dtype} {list(array.shape)}: {_summary(array)}")
    if options.output is not None:
        console.result(f"written: {options.output}")
    console.result(f"next: {arguments.command_line('irkit', 'bench', str(options.model))}")
    return 0


def _write(path: Path, outputs: Mapping[str, Any]) -> None:
    from irkit.hailo.equipment import write_npz

    part = path.with_name(f".{path.name}.part")
    try:
        write_npz(part, outputs)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


def _plain(array: Any) -> dict[str, Any]:
    few = array.reshape(-1)[:1000]
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "values": few.tolist(),
        "truncated": array.size > 1000,
    }


def _summary(array: Any) -> str:
    if not array.size:
        return "empty"
    if array.ndim == 2 and 1 < array.shape[1] <= 10_000 and array.dtype.kind == "f":
        shown = ", ".join(map(str, array.argmax(1)[:10].tolist()))
        return f"largest class {shown}{', ...' if len(array) > 10 else ''}"
    if array.dtype.kind in "fiu":
        return f"from {array.min():.4g} to {array.max():.4g}"
    return str(array.reshape(-1)[:3].tolist())
