"""The network before: a TCN-VAE of 1-D convolutions, whose mean is exported; sampling is for training only.

    python legacy.py --data data -o tcn_vae.onnx            its convolutions in two dimensions, of height 1
    python legacy.py --data data -o tcn_1d.onnx --1d        as it was: the compiler refuses 1-D convolutions

Time is one axis here, (N, 18, 100): both positions' channels in a row. The decoder is left behind.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from export import export
from torch import Tensor, nn
from train import read


class Encoder(nn.Module):
    """Dilated convolutions, then mean and log variance of a code (N, 8). Exported, it gives the mean."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, dilation in ((18, 1), (32, 2), (32, 4)):
            layers += [nn.Conv1d(inputs, 32, 3, padding=dilation, dilation=dilation), nn.BatchNorm1d(32), nn.ReLU()]
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.mean, self.spread = nn.Linear(32, 8), nn.Linear(32, 8)

    def forward(self, imu: Tensor) -> Tensor:
        return self.mean(self.features(imu))

    def sample(self, imu: Tensor) -> tuple[Tensor, Tensor]:
        """A draw from the code, and its divergence from the prior."""
        features = self.features(imu)
        mean, log_variance = self.mean(features), self.spread(features).clamp(-8, 8)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return mean + torch.randn_like(mean) * (0.5 * log_variance).exp(), divergence


def in_two_dimensions(encoder: Encoder) -> nn.Module:
    """The same function of (N, 18, 1, 100): each convolution with kernel (1, K), the same weights."""
    layers: list[nn.Module] = []
    for layer in encoder.features:
        if isinstance(layer, nn.Conv1d):
            dilation = layer.dilation[0]
            wide = nn.Conv2d(layer.in_channels, 32, (1, 3), padding=(0, dilation), dilation=(1, dilation))
            wide.load_state_dict({"weight": layer.weight.detach()[:, :, None], "bias": layer.bias.detach()})
            layers.append(wide)
        elif isinstance(layer, nn.BatchNorm1d):
            layers.append(nn.BatchNorm2d(32))
            layers[-1].load_state_dict(layer.state_dict())
        else:
            layers.append(nn.AdaptiveAvgPool2d(1) if isinstance(layer, nn.AdaptiveAvgPool1d) else layer)
    return nn.Sequential(*layers, encoder.mean).eval()


def train(encoder: Encoder, inputs: Tensor, epochs: int) -> float:
    """Encoder and a decoder of spectra; gives the last loss."""
    spectra = torch.fft.rfft(inputs).abs()[..., :12].log1p().flatten(1)
    decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, spectra.shape[1]))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=3e-3)
    last = 0.0
    encoder.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs)).split(64):
            code, divergence = encoder.sample(inputs[rows])
            loss = nn.functional.mse_loss(decoder(code), spectra[rows]) + 1e-3 * divergence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            last = loss.item()
    encoder.eval()
    return last


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="what data.py wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ONNX file to write")
    parser.add_argument("--1d", dest="flat", action="store_true", help="leave the convolutions in one dimension")
    parser.add_argument("--epochs", type=int, default=2, help="(default: 2)")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs = read(options.data, "train")[0].reshape(-1, 18, 100)
    encoder = Encoder()
    loss = train(encoder, inputs, options.epochs)
    network, one = (encoder, inputs[:1]) if options.flat else (in_two_dimensions(encoder), inputs[:1, :, None])
    export(network, options.output, "torchscript", ["mean"], one)
    session = onnxruntime.InferenceSession(str(options.output), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        wanted = encoder(inputs[:1]).numpy()
    runs = [session.run(None, {"imu_input": one.numpy()})[0] for _ in range(2)]
    if not np.array_equal(*runs) or np.abs(runs[0] - wanted).max() > 1e-4:
        raise SystemExit(f"{options.output} draws numbers, or is not what PyTorch computes")
    print(f"{options.output.name}: the mean of the code, nothing is drawn; loss {loss:.3f}")


if __name__ == "__main__":
    main()
