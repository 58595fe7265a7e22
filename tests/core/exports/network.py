"""A small network that both exporters of PyTorch take, with an operator on a known line of a module."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):  # type: ignore[misc]  # torch is not there for mypy
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return rounded(self.conv(x)) + x


def rounded(x: torch.Tensor) -> torch.Tensor:
    return torch.floor(x)  # here


class Net(nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.blocks = nn.ModuleList([Block(8), Block(8)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))


def export(path: str, *, dynamo: bool) -> None:
    """Write the network by one of the exporters; the old one writes stack traces only where it is verbose."""
    network = Net().eval()
    options = {} if dynamo else {"opset_version": 17, "verbose": True}
    torch.onnx.export(network, (torch.zeros(1, 3, 16, 16),), path, dynamo=dynamo, **options)
