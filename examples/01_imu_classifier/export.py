"""Exports the IMU classifier to ONNX as people do it: four files, each checked against PyTorch in ONNX Runtime.

python export.py                     all four into models/
python export.py --only bn -o out    one, elsewhere
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from network import ImuClassifier, accuracy, make_network, motions
from torch import nn

HERE = Path(__file__).resolve().parent
INPUT, OUTPUT = "imu_input", "behavior_logits"
TRACE = "pkg.torch.onnx.stack_trace"  # metadata in which the dynamo exporter keeps the Python line of each node


def torchscript(network: ImuClassifier, path: Path, opset: int, keep_batchnorm: bool) -> None:
    """The exporter of PyTorch before 2.9; it folds batch norms into convolutions unless told to preserve."""
    mode = torch.onnx.TrainingMode.PRESERVE if keep_batchnorm else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(
        network,
        (torch.zeros(1, 9, 2, 100),),
        str(path),
        dynamo=False,
        opset_version=opset,
        training=mode,
        do_constant_folding=not keep_batchnorm,
        input_names=[INPUT],
        output_names=[OUTPUT],
    )


def dynamo(network: ImuClassifier, path: Path, opset: int) -> None:
    """The exporter of today, with a batch that stays open."""
    program = torch.onnx.export(
        network,
        (torch.zeros(2, 9, 2, 100),),
        dynamo=True,
        verbose=False,
        opset_version=opset,
        dynamic_shapes={"imu": {0: torch.export.Dim("batch")}},
        input_names=[INPUT],
        output_names=[OUTPUT],
    )
    for node in program.model.graph:
        if TRACE in node.metadata_props:
            node.metadata_props[TRACE] = without_machine_paths(node.metadata_props[TRACE])
    program.save(str(path))


def without_machine_paths(trace: str) -> str:
    """A stack trace whose paths start at this example or at the torch package, the same wherever it was recorded."""
    return trace.replace(f"{HERE}/", "").replace(f"{Path(torch.__file__).parent.parent}/", "")


EXPORTS: dict[str, tuple[type[nn.Module], Callable[[ImuClassifier, Path], None]]] = {
    "bn": (nn.ReLU, lambda network, path: torchscript(network, path, 17, keep_batchnorm=True)),
    "folded": (nn.ReLU, lambda network, path: torchscript(network, path, 11, keep_batchnorm=False)),
    "dynamo": (nn.ReLU, lambda network, path: dynamo(network, path, 20)),
    "gelu": (nn.GELU, lambda network, path: torchscript(network, path, 17, keep_batchnorm=True)),
}


def worst_difference(network: ImuClassifier, path: Path, count: int = 100) -> float:
    """Largest |ONNX Runtime - PyTorch| over `count` motions, one at a time, relative to the largest logit."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    readings, _ = motions(count, torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = network(readings).numpy()
    found = np.concatenate([session.run([OUTPUT], {INPUT: one.numpy()})[0] for one in readings.split(1)])
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "models", help="folder of the ONNX files")
    parser.add_argument("--only", choices=EXPORTS, action="append", help="export this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and training data")
    options = parser.parse_args()

    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # sums in one order on every machine; the network is too small for more to help
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of the old exporter; both are meant to be shown
    options.output.mkdir(parents=True, exist_ok=True)
    networks: dict[type[nn.Module], ImuClassifier] = {}
    for name in options.only or EXPORTS:
        activation, export = EXPORTS[name]
        if activation not in networks:
            networks[activation] = make_network(activation, options.seed)
        network = networks[activation]
        path = options.output / f"imu_classifier_{name}.onnx"
        export(network, path)
        difference = worst_difference(network, path)
        print(f"{path.name}: accuracy {accuracy(network):.1%}, ONNX Runtime differs from PyTorch by {difference:.1e}")
        if difference > 1e-5:
            raise SystemExit(f"{path}: the export is not the network")


if __name__ == "__main__":
    main()
