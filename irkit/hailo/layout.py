"""How samples of a calibration set must lie for an input: (height, width, channels), whatever ONNX has.

Rank 4 (1, C, H, W) becomes (H, W, C); rank 3 becomes (1, length, channels); rank 2 (1, F) is taken as (F,) or
(1, 1, F). Inputs that are laid out channels last in the model (`takes_channels_last`) stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from irkit.ir import Node, Value
from irkit.types import Shape

FIRST, WRONG, RANK, FITS, UNKNOWN = "channels first", "wrong", "rank", "fits", "unknown"


_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def takes_channels_last(value: Value) -> bool:
    """Whether an input is laid out as images are stored: the first thing done to it is to put its channels first."""
    return bool(value.uses) and all(_permutes(use.node, _TO_FIRST) for use in value.uses)


def makes_channels_last(value: Value) -> bool:
    """Whether an output is laid out as images are stored: the last thing done to it is to put its channels last."""
    return value.producer is not None and _permutes(value.producer, _TO_LAST)


def _permutes(node: Node, perm: tuple[int, ...]) -> bool:
    return node.op == "Transpose" and not node.domain and tuple(node.attr("perm", ())) == perm


@dataclass(frozen=True)
class Layout:
    """How samples lie: `kind` is one of this module's constants; `wanted` the right shape, `advice` the way to it."""

    kind: str
    wanted: str = ""
    advice: str = ""


def judge_layout(sample: Sequence[int] | None, shape: Shape | None, takes_channels_last: bool = False) -> Layout:
    """Hold the shape of a sample against that of an input of the model.

    Args:
        sample: shape of one sample, None where samples differ.
        shape: of the input, batch included; None where it is not known.
        takes_channels_last: whether the model's input is laid out channels last.
    """
    if shape is None or not 2 <= len(shape) <= 4:
        return Layout(UNKNOWN)
    rest = tuple(dim if isinstance(dim, int) else None for dim in shape[1:])
    right, swapped = _right_shapes(rest, takes_channels_last)
    wanted = _words(right[0])
    if sample is None:
        return Layout(WRONG, wanted, "resize the images to one size")
    found = tuple(sample)
    if any(_fits(found, item) for item in right):
        return Layout(FITS, wanted)
    if any(_fits(found, item) for item in swapped):
        return Layout(FIRST, wanted)
    if len(found) > 1 and found[0] == 1 and any(_fits(found[1:], item) for item in right):
        return Layout(RANK, wanted, "drop the axis of length 1 behind the first: data[:, 0]")
    if any(len(item) == len(found) + 1 and _fits((1, *found), item) for item in right):
        return Layout(RANK, wanted, "add an axis of length 1: data[:, None]")
    return Layout(WRONG, wanted)


_Dims = tuple["int | None", ...]


def _right_shapes(rest: _Dims, channels_last: bool) -> tuple[list[_Dims], list[_Dims]]:
    """Shapes of samples that are right, the usual one first, and those that have the channels first instead."""
    if len(rest) == 3:
        last = rest if channels_last else (rest[1], rest[2], rest[0])
        first = (rest[2], rest[0], rest[1]) if channels_last else rest
        return [last], [first, (1, *first)]
    if len(rest) == 2:
        return [(1, rest[1], rest[0]), (1, rest[0], rest[1])], []
    return [rest, (1, 1, *rest)], []


def _fits(found: Sequence[int], wanted: _Dims) -> bool:
    return len(found) == len(wanted) and all(want in (None, have) for have, want in zip(found, wanted, strict=True))


def _words(dims: _Dims) -> str:
    return f"({', '.join('?' if dim is None else str(dim) for dim in dims)})"
