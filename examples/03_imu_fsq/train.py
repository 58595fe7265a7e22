"""Train the classifier; the epoch with the best validation accuracy is kept.

    python train.py --data data -o checkpoints/relu.pt
    python train.py --data data -o checkpoints/gelu.pt --activation gelu
    python train.py --data data -o checkpoints/tuned.pt --start checkpoints/gelu.pt --epochs 2
    python train.py --data data -o checkpoints/untuned.pt --untuned

The recipe: AdamW with one cycle of the learning rate, label smoothing, and augmentation by what differs between people:
how the sensors sit (small rotations of all three kinds together), how vigorous a motion is, when it begins, noise.
--untuned is the same network without all that: a constant rate, no augmentation, few epochs.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from checkpoint import load_strictly, read_checkpoint, save
from model import ACTIVATIONS, Conv2dFSQ, accuracy
from torch import Tensor, nn

EPOCHS, BATCH, RATE = 16, 64, 4e-3


def read(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Readings and behaviours."""
    if not (folder / f"{split}.npz").is_file():
        raise SystemExit(f"there is no {folder / split}.npz: python data.py -o {folder}")
    with np.load(folder / f"{split}.npz", allow_pickle=False) as found:
        return torch.from_numpy(found["imu_input"]), torch.from_numpy(found["labels"])


def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Other people doing the same: (N, 9, 2, 100) as before."""
    count = len(inputs)
    angles = torch.randn(count, 2, 3, generator=generator) * 0.2
    skew = torch.zeros(count, 2, 3, 3)
    for row, column, axis, sign in ((0, 1, 2, -1), (0, 2, 1, 1), (1, 2, 0, -1)):
        skew[:, :, row, column], skew[:, :, column, row] = sign * angles[..., axis], -sign * angles[..., axis]
    turn = torch.matrix_exp(skew)
    kinds = inputs.view(count, 3, 3, 2, -1)
    turned = torch.einsum("npij,nkjpt->nkipt", turn, kinds)
    turned = turned + torch.tensor([0.01, 0.006, 0.1]).view(1, 3, 1, 1, 1) * torch.randn(
        count, 3, 3, 2, 1, generator=generator
    )
    mean = turned.mean(-1, keepdim=True)
    vigour = torch.exp(0.15 * torch.randn(count, 1, 1, 1, 1, generator=generator))
    moved = (mean + (turned - mean) * vigour).reshape(inputs.shape)
    noise = torch.tensor([0.008, 0.008, 0.02]).repeat_interleave(3).view(1, 9, 1, 1)
    return moved + noise * torch.randn(inputs.shape, generator=generator)


def train(network: Conv2dFSQ, data: Path, epochs: int, rate: float, *, tuned: bool, seed: int) -> tuple[dict, float]:
    """The best state and its validation accuracy."""
    inputs, labels = read(data, "train")
    val_inputs, val_labels = read(data, "val")
    network.to(memory_format=torch.channels_last)  # half the time on a CPU
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * (len(inputs) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02 if tuned else 0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(steps, 1), pct_start=0.2)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05 if tuned else 0.0)
    best, best_accuracy = {}, -1.0
    for epoch in range(epochs):
        network.train()
        for rows in torch.randperm(len(inputs), generator=generator).split(BATCH):
            if len(rows) < BATCH:
                continue
            given = augment(inputs[rows], generator) if tuned else inputs[rows]
            optimizer.zero_grad()
            loss(network(given.contiguous(memory_format=torch.channels_last))[0], labels[rows]).backward()
            optimizer.step()
            if tuned:
                schedule.step()
        found = accuracy(network, val_inputs, val_labels)
        print(f"epoch {epoch + 1:>2} of {epochs}: validation accuracy {found:.2%}")
        if found > best_accuracy:
            best, best_accuracy = {key: value.clone() for key, value in network.state_dict().items()}, found
    return best, best_accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="what data.py wrote")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the checkpoint to write")
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="(default: relu)")
    parser.add_argument("--start", type=Path, help="go on from this checkpoint, at a tenth of the rate")
    parser.add_argument("--epochs", type=int, help=f"(default: {EPOCHS}, untuned 10)")
    parser.add_argument("--untuned", action="store_true", help="without the recipe")
    parser.add_argument("--threads", type=int, default=1, help="(default: 1: it is a small network)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and order")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    network = Conv2dFSQ(options.activation)
    rate = RATE
    if options.start is not None:
        load_strictly(network, read_checkpoint(options.start)["state"], options.start)
        rate /= 10
    epochs = options.epochs if options.epochs is not None else 10 if options.untuned else EPOCHS
    state, score = train(network, options.data, epochs, rate, tuned=not options.untuned, seed=options.seed)
    save(options.output, state, options.activation, score)


if __name__ == "__main__":
    main()
