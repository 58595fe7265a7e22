"""Export the classifier to ONNX, and show that the file computes what the checkpoint does.

    python export.py --checkpoint 'checkpoints/relu*.pt' -o codes.onnx
    python export.py --checkpoint 'checkpoints/relu*.pt' -o logits.onnx --form logits --exporter dynamo
    python export.py --untrained -o random.onnx

Of the checkpoints that fit the pattern the one with the best validation accuracy is taken. Its weights are loaded
strictly, and PyTorch and ONNX Runtime have to agree on samples of the data. Random weights are exported only if asked.
"""

from __future__ import annotations

import argparse
import io
import logging
import warnings
from contextlib import redirect_stdout
from pathlib import Path

import data
import numpy as np
import onnxruntime
import torch
from checkpoint import best_checkpoint, load_strictly
from model import CHANNELS, POSITIONS, STEPS, Conv2dFSQ
from torch import nn

FORMS = ("codes", "logits", "unbounded")
INPUT = "imu_input"
OUTPUTS = {"codes": ["behavior_logits", "z"], "logits": ["behavior_logits"], "unbounded": ["behavior_logits"]}
OPSET = {"torchscript": 17, "dynamo": 18}
WORST = 1e-4
"""Largest difference to PyTorch, relative to the largest number: float noise is far below."""


def export(
    network: nn.Module, path: Path, exporter: str, outputs: list[str], example: torch.Tensor | None = None
) -> None:
    """Write the file: batch 1, static shapes."""
    example = torch.zeros(1, CHANNELS, POSITIONS, STEPS) if example is None else example
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {"input_names": [INPUT], "output_names": outputs, "opset_version": OPSET[exporter]}
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():  # what exporters say of themselves
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            torch.onnx.export(network, (example,), str(path), dynamo=False, **names)
        else:
            logging.getLogger("torch.onnx").setLevel(logging.ERROR)
            torch.onnx.export(network, (example,), dynamo=True, verbose=False, **names).save(str(path))


def worst_difference(network: nn.Module, path: Path, samples: int = 64) -> float:
    """Between PyTorch and ONNX Runtime, relative to the largest number of each output."""
    inputs, _, _ = data.make("val", samples)
    with torch.no_grad():
        found = network(torch.from_numpy(inputs))
    expected = [part.numpy() for part in (found if isinstance(found, tuple) else (found,))]
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = [session.run(None, {INPUT: inputs[i : i + 1]}) for i in range(samples)]
    pairs = [(np.concatenate([row[k] for row in got]), wanted) for k, wanted in enumerate(expected)]
    return max(float(np.abs(given - wanted).max() / np.abs(wanted).max()) for given, wanted in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", metavar="GLOB", help="of train.py; the best of them is taken")
    source.add_argument("--untrained", action="store_true", help="random weights, to try the tools")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--form", choices=FORMS, default="codes", help="see model.py (default: codes)")
    parser.add_argument("--exporter", choices=OPSET, default="torchscript", help="(default: torchscript)")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.untrained:
        network, told = Conv2dFSQ(form=options.form), "UNTRAINED: random weights"
    else:
        path, found = best_checkpoint(options.checkpoint)
        network = Conv2dFSQ(found["activation"], options.form)
        load_strictly(network, found["state"], path)
        told = f"{path}, validation accuracy {found['val_accuracy']:.2%}"
    network.eval()
    export(network, options.output, options.exporter, OUTPUTS[options.form])
    difference = worst_difference(network, options.output)
    if not difference <= WORST:
        options.output.unlink()
        raise SystemExit(f"{options.output} is not what PyTorch computes: it differs by {difference:.1e}")
    print(f"{options.output.name}: {options.form}, {options.exporter}, from {told}; differs by {difference:.1e}")


if __name__ == "__main__":
    main()
