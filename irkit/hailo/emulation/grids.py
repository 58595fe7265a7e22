"""Weights and activations on their integer grids, in NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from irkit import ops
from irkit.hailo.emulation.layers import weight_groups
from irkit.ir import Node

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Grid:
    """The grid of an activation: real = scale * (stored - zero_point), stored from 0 to 2**bits - 1."""

    scale: float
    zero_point: int
    bits: int

    @classmethod
    def of_range(cls, low: float, high: float, bits: int) -> Grid:
        """The grid over a range, widened to hold zero, since padding and ReLU need an exact zero."""
        low, high = min(low, 0.0), max(high, 0.0)
        steps = 2**bits - 1
        scale = (high - low) / steps or 1.0
        return cls(scale, min(max(round(-low / scale), 0), steps), bits)


def round_weight(weight: Array, bits: int, channels: tuple[int, ...] = ()) -> Array:
    """The weight rounded to the grid of signed, symmetric integers.

    Args:
        weight: float array.
        bits: of the integers: 4, 8 or 16; 2**(bits-1) - 1 stands for the largest magnitude.
        channels: axes whose indices have scales of their own; none for one scale of all.
    """
    import numpy as np

    others = tuple(axis for axis in range(weight.ndim) if axis not in channels)
    largest = np.abs(weight).max(axis=others, keepdims=True, initial=0).astype(np.float64)
    steps = 2 ** (bits - 1) - 1
    scale = np.where(largest > 0, largest / steps, 1.0)
    return np.asarray(np.clip(np.rint(weight / scale), -steps, steps) * scale, weight.dtype)


def round_layer_weight(node: Node, slot: int, weight: Array, bits: int, *, per_channel: bool) -> Array:
    """The weight of a layer rounded, with one scale or one for each output channel."""
    if not per_channel:
        return round_weight(weight, bits)
    if node.op == "ConvTranspose":
        groups = weight_groups(node)
        parts = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        return round_weight(parts, bits, (0, 2)).reshape(weight.shape)
    return round_weight(weight, bits, (_output_axis(node, slot, weight.ndim),))


def _output_axis(node: Node, slot: int, rank: int) -> int:
    if node.op == "Conv":
        return 0
    if node.op == "Gemm":
        return 0 if ops.attribute(node, "transB") else 1
    return rank - 1 if slot == 1 else max(rank - 2, 0)
