"""Find the first tensor where two models, or a model and recorded tensors, part.

Both are run on the same inputs, and tensors of the same name are held against each other in the order the first model
computes them. Exits with 1 where one parts.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.cli import arguments, console
from irkit.errors import OptionError

if TYPE_CHECKING:
    from irkit.runtime.comparing import Comparison, Tensor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("a", metavar="A", type=Path, help="an ONNX file, or a bundle")
    parser.add_argument("b", metavar="B", type=Path, help="another one, or an .npz of tensors recorded with --data")
    parser.add_argument("--data", type=Path, metavar="FILE", help="inputs as the models take them: .npy or .npz")
    parser.add_argument(
        "--samples", type=int, default=8, metavar="N", help="inputs to draw without --data (default: 8)"
    )
    tolerance = "largest difference, relative to a tensor's scale (default: that of float noise, 1e-4)"
    parser.add_argument("--tolerance", type=float, metavar="X", help=tolerance)
    parser.add_argument("--all", action="store_true", help="show all tensors")
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Compare, show."""
    if options.samples < 1:
        raise OptionError(f"--samples takes a number above 0; found {options.samples}")
    if options.tolerance is not None and not options.tolerance >= 0:
        raise OptionError(f"--tolerance takes a number from 0 up; found {options.tolerance}")
    from irkit.runtime.comparing import compare_models

    a = options.a if options.a.is_dir() else arguments.checked_model(options.a)
    found = compare_models(a, options.b, options.data, options.samples, options.tolerance)
    if options.format == "json":
        console.result_json(_plain(found))
    else:
        _show(found, options)
    return int(found.first is not None)


def _show(found: Comparison, options: argparse.Namespace) -> None:
    shown = list(found.tensors) if options.all else [tensor for tensor in found.tensors if tensor.parts][:10]
    for tensor in shown:
        console.result(f"  {'parts' if tensor.parts else 'same '}  {tensor.name}: {_words(tensor)}")
    kind = "random inputs" if found.is_random else "inputs"
    seen = f"{len(found.tensors)} tensors of the same name on {found.samples} {kind}"
    if found.first is None:
        console.result(f"No difference beyond the tolerance: {seen}.")
        console.result(f"next: {arguments.command_line('irkit', 'diff', str(options.a), str(options.b))}")
        return
    console.result(f"They part first at `{found.first.name}`: {seen}.")
    model = str(options.a / "model.onnx" if options.a.is_dir() else options.a)
    console.result(f"next: {arguments.command_line('irkit', 'show', model)}")


def _words(tensor: Tensor) -> str:
    if tensor.drift is None:
        return tensor.note
    return f"largest difference {tensor.drift.error:.2e} of its scale, cosine {tensor.drift.cosine:.6f}"


def _plain(found: Comparison) -> dict[str, Any]:
    tensors = []
    for tensor in found.tensors:
        drift = None if tensor.drift is None else {"error": tensor.drift.error, "cosine": tensor.drift.cosine}
        tensors.append({"name": tensor.name, "parts": tensor.parts, "drift": drift, "note": tensor.note})
    first = None if found.first is None else found.first.name
    return {"samples": found.samples, "random": found.is_random, "first": first, "tensors": tensors}
