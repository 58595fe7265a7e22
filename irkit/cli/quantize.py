"""Emulate what 8 bits do to a model: which layers suffer, how far outputs move, what accuracy is lost.

Takes a bundle, whose calibration set is used, or an ONNX file with --calib. Weights are rounded and activations
quantized where the compiler's network has the borders of its layers; how Hailo scales weights is not public, so that
both ways are run and told as a range. Bias correction and fine-tuning are not emulated: it is an estimate.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irkit.cli import arguments, console, deploying
from irkit.errors import OptionError

if TYPE_CHECKING:
    from irkit.hailo.emulation.measure import Emulation
    from irkit.runtime.samples import Samples

_LAYERS_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this subcommand."""
    parser.add_argument("model", metavar="BUNDLE|MODEL", type=Path, help="a folder of irkit optimize, or an ONNX file")
    parser.add_argument("--calib", type=Path, metavar="PATH", help="samples, as irkit optimize takes them")
    parser.add_argument("--labels", type=Path, metavar="FILE.npy", help="the right class of each sample")
    parser.add_argument("--samples", type=int, default=256, metavar="N", help="how many to run (default: 256)")
    parser.add_argument("--layout", choices=("nhwc", "nchw"), default="nhwc", help="of the samples (default: nhwc)")
    parser.add_argument("--mean", metavar="X,...", help="for an ONNX file: x becomes (x - mean) / std")
    parser.add_argument("--std", metavar="X,...", help="see --mean")
    precision = "bits of the layers of nodes, `*` for any text: a8_w8, a16_w16 or a8_w4"
    parser.add_argument("--precision", action="append", default=[], metavar="NODE=MODE", help=precision)
    parser.add_argument("--layers", action="store_true", help="show all layers, not the weakest only")
    arguments.add_format(parser)


def run(options: argparse.Namespace) -> int:
    """Emulate, show."""
    if options.samples < 1:
        raise OptionError(f"--samples takes a number above 0; found {options.samples}")
    precisions = deploying.precisions_of(options.precision)
    from irkit.hailo.emulation.emulate import Precisions
    from irkit.hailo.emulation.measure import emulate
    from irkit.onnx.reader import load
    from irkit.runtime.folder import HOST
    from irkit.runtime.samples import labels_of

    with console.progress_bar() as progress, contextlib.ExitStack() as stack:
        path, given = _samples(options)
        labels = labels_of(options.labels, given.count) if options.labels is not None else None
        behind = options.model / HOST
        host = stack.enter_context(load(behind)) if options.model.is_dir() and behind.exists() else None
        with load(path) as model:
            found = emulate(
                model,
                given.arrays,
                precisions=Precisions(by_pattern=precisions),
                labels=labels,
                is_random=given.is_random,
                host=host,
                beside=given.beside,
                progress=progress,
            )
    if options.format == "json":
        console.result_json(_plain(found))
    else:
        console.result("\n".join(_lines(found, options.layers)))
        console.result(f"next: {_next(options, found)}")
    return 0


def _samples(options: argparse.Namespace) -> tuple[Path, Samples]:
    """The model, and samples for it."""
    from irkit.runtime.samples import bundle_samples, model_samples

    if options.labels is not None and options.calib is None:
        raise OptionError("--labels go with --calib: a bundle's own samples are shuffled, and others are drawn")
    if options.model.is_dir():
        if options.mean or options.std:
            raise OptionError("--mean and --std are for an ONNX file; a bundle's preprocess.json has them")
        return bundle_samples(options.model, options.calib, options.samples, options.layout)
    path = arguments.checked_model(options.model)
    mean, std = deploying.numbers_of("--mean", options.mean), deploying.numbers_of("--std", options.std)
    return path, model_samples(path, options.calib, options.samples, options.layout, mean, std)


def _plain(found: Emulation) -> dict[str, Any]:
    runs = []
    for run in found.runs:
        layers = [vars(layer) for layer in run.layers]
        outputs = [vars(output) for output in run.outputs]
        told = {"weights": run.weights, "accuracy": run.accuracy, "same": dict(run.same)}
        runs.append({**told, "outputs": outputs, "layers": layers})
    return {
        "samples": found.samples,
        "calibration_samples": found.calibration,
        "random": found.is_random,
        "engine": found.engine,
        "float_accuracy": found.accuracy,
        "runs": runs,
        "suggestions": found.suggestions(),
        "emulated": "weights and activations; neither bias correction, equalization nor fine-tuning",
    }


def _lines(found: Emulation, all_layers: bool) -> list[str]:
    kind = "random inputs, which say nothing of your accuracy" if found.is_random else "samples"
    lines = [f"8-bit emulation on {found.samples} {kind} ({found.engine}); ranges from {found.calibration} of them", ""]
    for index, output in enumerate(found.runs[0].outputs):
        both = [run.outputs[index] for run in found.runs]
        if output.name in found.runs[0].same:
            same = _span([run.same[output.name] for run in found.runs], ".1%")
            lines.append(f"output {output.name}: {same} of its numbers are the same")
            continue
        top1 = (
            ""
            if output.top1 is None
            else f", largest class the same in {_span([one.top1 or 0 for one in both], '.1%')}"
        )
        cosine, error = _span([one.cosine for one in both], ".4f"), _span([one.error for one in both], ".1%")
        lines.append(f"output {output.name}: cosine {cosine}, largest error {error}{top1}")
    if found.accuracy is not None:
        emulated = [run.accuracy or 0.0 for run in found.runs]
        lines.append(f"accuracy: {found.accuracy:.2%} in float, {_span(emulated, '.2%')} emulated")
    lines += ["", *_layer_lines(found, all_layers)]
    suggestions = found.suggestions()
    if suggestions:
        lines += [
            "",
            "these layers add most of the noise; with 16 bits (by node names):",
            *(f"  {line}" for line in suggestions),
        ]
    lines += ["", "A range is one scale a layer to one a channel: which of them Hailo uses is not public."]
    return lines


def _layer_lines(found: Emulation, all_layers: bool) -> list[str]:
    coarse, fine = found.runs
    by_border = {layer.border: layer.snr for layer in fine.layers}
    chosen = list(coarse.layers) if all_layers else coarse.weakest(_LAYERS_SHOWN)
    width = max((len(layer.name) for layer in chosen), default=0)
    head = "layers" if all_layers else "the weakest layers"
    lines = [f"{head}: signal over noise in decibels, range of the tensor"]
    for layer in chosen:
        snr = _span([layer.snr, by_border[layer.border]], ".1f")
        lines.append(f"  {layer.name:<{width}}  {layer.op:<12} {snr:>12}  {layer.low:.4g} to {layer.high:.4g}")
    return lines


def _span(values: list[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def _next(options: argparse.Namespace, found: Emulation) -> str:
    if found.suggestions() and not options.precision:
        name = found.suggestions()[0].partition("{")[2].partition("}")[0]
        return arguments.command_line("irkit", "quantize", str(options.model), "--precision", f"{name}=a16_w16")
    if options.model.is_dir():
        return arguments.command_line("irkit", "compile", str(options.model)) + "   (where the compiler is installed)"
    return arguments.command_line("irkit", "optimize", str(options.model), "--calib", "PATH")
