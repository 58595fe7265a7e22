"""Export the networks of this example with PyTorch, and hold them against what `make_models.py` writes without it.

python export.py [-o FOLDER]
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from pathlib import Path

import torch
from make_models import HARDSWISH, unfold_text
from torch import Tensor, nn

import irkit


class Unfold(nn.Module):
    """The first layers of XFeat's keypoint head: a grey image, cut into blocks of 8x8."""

    def __init__(self, channels: int = 1, block: int = 8) -> None:
        super().__init__()
        self.block = block
        self.norm = nn.InstanceNorm2d(channels)
        self.conv = nn.Conv2d(channels * block * block, 8, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x, size = self.norm(x), self.block
        batch, channels, height, width = x.shape
        x = x.unfold(2, size, size).unfold(3, size, size)
        x = x.reshape(batch, channels, height // size, width // size, size**2)
        return self.conv(x.permute(0, 1, 4, 2, 3).reshape(batch, -1, height // size, width // size))


class Small(nn.Module):
    """Two convolutions with Hardswish, and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self.conv2 = nn.Conv2d(16, 16, 3, 2, 1, bias=False)
        self.act1, self.act2 = nn.Hardswish(), nn.Hardswish()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(16, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act2(self.conv2(self.act1(self.conv1(x))))
        return self.fc(torch.flatten(self.pool(x), 1))


def export(network: nn.Module, shape: tuple[int, ...], path: Path, dynamo: bool) -> irkit.Model:
    """The network, exported with fixed shapes, constants folded."""
    options = {"external_data": False} if dynamo else {"opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (torch.zeros(shape),), str(path), input_names=["x"], output_names=["y"], dynamo=dynamo,
            verbose=False, **options,
        )  # fmt: skip
    return irkit.run_passes(irkit.load(path), "fold-constants,remove-dead", verify="none")


def operators(model: irkit.Model) -> Counter[str]:
    return Counter(node.op for node in model.walk())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("exported"), help="the folder (default: exported)")
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    for name, network, shape, text in (
        ("hardswish", Small(), (1, 3, 32, 32), HARDSWISH),
        ("xfeat_unfold", Unfold(), (1, 1, 240, 320), unfold_text(240, 320)),
    ):
        with export(network, shape, folder / f"{name}_torchscript.onnx", dynamo=False) as found:
            written = operators(irkit.parse_model(text))
            same = "the same operators" if operators(found) == written else f"{operators(found) - written} more"
            print(f"{name}, TorchScript: {len(found.graph)} nodes, {same} as make_models.py writes")
        with export(network, shape, folder / f"{name}_dynamo.onnx", dynamo=True) as found:
            print(f"{name}, dynamo: {len(found.graph)} nodes: {', '.join(sorted(operators(found)))}")


if __name__ == "__main__":
    main()
