"""The classifier: convolutions over time, a code of eight numbers with eight levels each (FSQ), a small head.

Finite scalar quantization: Mentzer et al., Finite Scalar Quantization: VQ-VAE Made Simple, 2023 (arXiv:2309.15505).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS, POSITIONS, STEPS, BEHAVIOURS = 9, 2, 100, 10
LEVELS = (8,) * 8
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


class FSQ(nn.Module):
    """Bounds each number by tanh and rounds it to one of its levels; gradients pass as if nothing were rounded.

    `levels` are even. What comes out is in [-1, 1): (k - levels/2) / (levels/2) for k from 0 to levels - 1.
    """

    def __init__(self, levels: tuple[int, ...] = LEVELS) -> None:
        super().__init__()
        reach = (torch.tensor(levels, dtype=torch.float32) - 1) * (1 - 1e-3) / 2
        self.register_buffer("reach", reach)
        self.register_buffer("shift", torch.atanh(0.5 / reach))
        self.register_buffer("width", torch.tensor(levels, dtype=torch.float32) / 2)

    def bound(self, z: Tensor) -> Tensor:
        """Numbers whose rounding is a level."""
        return torch.tanh(z + self.shift) * self.reach - 0.5

    def forward(self, z: Tensor, rounding: bool = True) -> Tensor:
        bounded = self.bound(z)
        if rounding and self.training:
            bounded = bounded + (bounded.round() - bounded).detach()
        elif rounding:
            bounded = bounded.round()
        return bounded / self.width


def block(inputs: int, outputs: int, taps: int, activation: type[nn.Module]) -> nn.Sequential:
    """Convolution over time that keeps the length, batch norm, activation."""
    conv = nn.Conv2d(inputs, outputs, kernel_size=(1, taps), padding=(0, taps // 2))
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), activation())


class Conv2dFSQ(nn.Module):
    """Maps readings (N, 9, 2, 100) to logits (N, 10).

    What is exported is chosen by `form`:
        logits     behaviour logits, without rounding: all of it runs on the chip, and it is another function
        unbounded  likewise, without tanh too: as the code is left out where "quantize after inference" is believed
        codes      logits with rounding, and z: the chip ends at z, the rest runs on the host, in float
    """

    def __init__(self, activation: str = "relu", form: str = "codes") -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        self.form = form
        self.features = nn.Sequential(
            block(CHANNELS, 32, 7, act),
            nn.MaxPool2d((1, 2)),
            block(32, 64, 5, act),
            nn.MaxPool2d((1, 2)),
            block(64, 128, 3, act),
            nn.AdaptiveAvgPool2d(1),
        )
        self.project = nn.Linear(128, len(LEVELS))
        nn.init.orthogonal_(self.project.weight, gain=3.0)  # codes that use their levels from the start
        self.fsq = FSQ()
        self.head = nn.Sequential(nn.Linear(len(LEVELS), 64), act(), nn.Dropout(0.0), nn.Linear(64, BEHAVIOURS))

    def code(self, imu: Tensor) -> Tensor:
        """z (N, 8), before FSQ."""
        return self.project(torch.flatten(self.features(imu), 1))

    def forward(self, imu: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        z = self.code(imu)
        if self.form == "unbounded":
            return self.head(z)
        if self.form == "logits":
            return self.head(self.fsq(z, rounding=False))
        return self.head(self.fsq(z)), z


def indices(z: Tensor) -> Tensor:
    """Which level each number of z (N, 8) is rounded to: 0 to 7."""
    fsq = FSQ()
    return (fsq.bound(z).round() + fsq.width).long()


def logits_of(network: nn.Module, inputs: Tensor, batch: int = 256) -> Tensor:
    """Logits (N, classes) of readings, in evaluation mode."""
    network.eval()
    with torch.no_grad():
        outputs = [network(part) for part in inputs.split(batch)]
    return torch.cat([output[0] if isinstance(output, tuple) else output for output in outputs])


def accuracy(network: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Share of right classes."""
    return float((logits_of(network, inputs).argmax(1) == labels).float().mean())
