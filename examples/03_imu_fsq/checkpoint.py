"""Checkpoints: written by train.py, and loaded such that no weight stays random."""

from __future__ import annotations

import glob
from pathlib import Path

import torch
from torch import nn


def save(path: Path, state: dict, activation: str, score: float) -> None:
    """A checkpoint: weights, and what export.py wants to know of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state": state, "activation": activation, "val_accuracy": score}, path)
    print(f"written: {path}, validation accuracy {score:.2%}")


def read_checkpoint(path: str | Path) -> dict:
    """A checkpoint of train.py. Ends the program with one sentence where it is none."""
    try:
        found = torch.load(path, weights_only=True)
    except Exception as error:  # noqa: BLE001  (what torch raises for a file that is none is not said)
        told = (str(error).splitlines() or [""])[0]
        raise SystemExit(f"{path} cannot be read as a checkpoint: {type(error).__name__}: {told}") from None
    if not isinstance(found, dict) or not {"state", "activation", "val_accuracy"} <= set(found):
        raise SystemExit(f"{path} is no checkpoint of train.py: state, activation and val_accuracy are needed")
    return found


def best_checkpoint(pattern: str) -> tuple[str, dict]:
    """The one with the best validation accuracy."""
    found = {path: read_checkpoint(path) for path in sorted(glob.glob(pattern))}
    if not found:
        raise SystemExit(f"no checkpoint fits {pattern!r}; --untrained exports random weights")
    path = max(found, key=lambda path: found[path]["val_accuracy"])
    return path, found[path]


def load_strictly(network: nn.Module, state: dict, path: str | Path) -> None:
    """No weight stays random, and none is left over."""
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        told = " ".join(str(error).split())
        raise SystemExit(f"{path} is of another network: {told[:400]}") from None
