"""A classifier of motion from inertial sensors: convolutions over time, a small quantized code, a linear head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

CHANNELS = 9  # accelerometer, gyroscope and magnetometer, three axes each
POSITIONS = 2  # two sensors on the body
STEPS = 100  # samples in time
BEHAVIORS = 10


def conv_block(inputs: int, outputs: int, taps: int, activation: type[nn.Module]) -> nn.Sequential:
    """Convolution over time that keeps the length, batch norm, activation."""
    conv = nn.Conv2d(inputs, outputs, kernel_size=(1, taps), padding=(0, taps // 2))
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), activation())


class ImuClassifier(nn.Module):
    """Maps (N, 9, 2, 100) float32 readings to (N, 10) float32 behavior logits.

    The code between `project` and `head` stands for finite scalar quantization with eight levels in each of eight
    dimensions. Rounding to the levels is left out, as it is in the networks that people export for a chip.
    """

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_block(CHANNELS, 32, 7, activation),
            nn.MaxPool2d((1, 2)),
            conv_block(32, 64, 5, activation),
            nn.MaxPool2d((1, 2)),
            conv_block(64, 128, 3, activation),
            nn.AdaptiveAvgPool2d(1),
        )
        self.project = nn.Linear(128, 8)
        self.head = nn.Sequential(nn.Linear(8, 64), activation(), nn.Dropout(0.0), nn.Linear(64, BEHAVIORS))

    def forward(self, imu: Tensor) -> Tensor:
        pooled = self.features(imu)
        code = self.project(pooled.view(pooled.size(0), -1))
        return self.head(code)


def motions(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Synthetic readings (count, 9, 2, 100) and their classes (count,): a class is a pace of oscillation, in noise."""
    behavior = torch.randint(BEHAVIORS, (count,), generator=generator)
    strength = 0.5 + torch.rand(count, 1, 1, 1, generator=generator)
    phase = torch.rand(count, CHANNELS, POSITIONS, 1, generator=generator)
    cycles = (1.0 + behavior).view(-1, 1, 1, 1) * torch.arange(STEPS) / STEPS
    noise = torch.randn(count, CHANNELS, POSITIONS, STEPS, generator=generator)
    return strength * torch.sin(2 * torch.pi * (cycles + phase)) + 0.3 * noise, behavior


def make_network(activation: type[nn.Module] = nn.ReLU, seed: int = 0, steps: int = 300) -> ImuClassifier:
    """A network trained for some seconds on `motions`, in evaluation mode.

    Fresh batch norms are the identity, and folding an identity proves nothing: so they are disturbed (with a negative
    scale among them), and training gives them statistics.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = ImuClassifier(activation).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
            nn.init.constant_(module.weight[:1], -0.7)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        readings, behavior = motions(64, generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(readings), behavior).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


def accuracy(network: nn.Module, seed: int = 1, count: int = 1000) -> float:
    """Share of seeded motions that the network names rightly."""
    readings, behavior = motions(count, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return float((network(readings).argmax(1) == behavior).float().mean())
