"""What the data of a calibration set tell: ranges, samples that are constant or repeat, noise in the place of data.

A set is looked at once, block by block, in float64. Of a set larger than `LIMIT` a part is looked at that is spread
over it; `Facts.examined` says how many samples that were.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from irkit.hailo.calibration import BLOCK_BYTES, CalibrationInput

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

LIMIT = 64 << 20
"""Bytes looked at, at most."""

_IMAGES_SEEN = 64  # decoding takes much longer than looking
_MOST_CHANNELS = 4096
_NOISE_ELEMENTS = 1 << 20
_LEAST_FOR_NOISE = 1 << 13
"""Elements that moments and correlations are told from: a normal distribution then has a kurtosis within 0.2 of 3."""


@dataclass(frozen=True)
class Channels:
    """What is found along one axis of the samples: one number a channel. `axis` counts without the first axis."""

    axis: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def reach(self) -> tuple[float, ...]:
        """The largest magnitude of each channel."""
        return tuple(max(abs(low), abs(high)) for low, high in zip(self.low, self.high, strict=True))


@dataclass(frozen=True)
class Facts:
    """What is found in the samples of one input.

    Attributes:
        examined: how many samples were looked at; with all of them, `is_whole`.
        low, high, mean, std: of the finite elements.
        nans, infinities: how many elements.
        constant: numbers of samples whose elements are all the same.
        repeated: numbers of samples that are, byte for byte, one before; `first_of` tells which.
        integral: whether every element is a whole number.
        channels: by axis of a sample, the first and the last axis of those of rank 2 and above.
        noise: `normal` or `uniform` where neighbours have nothing to do with each other; "" otherwise.
        standardized: `as a whole` or `per channel` where mean and deviation of this very set are 0 and 1; "" otherwise.
    """

    examined: int
    is_whole: bool
    low: float
    high: float
    mean: float
    std: float
    nans: int = 0
    infinities: int = 0
    constant: tuple[int, ...] = ()
    repeated: tuple[int, ...] = ()
    first_of: Mapping[int, int] = field(default_factory=dict)
    integral: bool = False
    channels: Mapping[int, Channels] = field(default_factory=dict)
    noise: str = ""
    standardized: str = ""


def find_facts(item: CalibrationInput, limit: int = LIMIT) -> Facts:
    """Look at the samples of an input. Raises `CalibrationError` where they cannot be read."""
    sums = _Sums(item.shape)
    kept: list[Array] = []
    examined = 0
    for start, block in _blocks(item, limit):
        sums.add(start, block)
        examined += len(block)
        if sum(piece.size for piece in kept) < _NOISE_ELEMENTS:
            kept.append(_sampled(block))
    return sums.facts(examined, examined == item.count, kept if item.shape is not None else [])


def _blocks(item: CalibrationInput, limit: int) -> Iterator[tuple[int, Array]]:
    if item.shape is None or (item.dtype == "uint8" and item.files):
        step = max(1, item.count // _IMAGES_SEEN)
        for start in range(0, item.count, step):
            yield start, item.rows.read(start, start + 1)
        return
    for start, block in item.blocks(limit):
        yield start, block if block.nbytes <= 4 * BLOCK_BYTES else _cut(block)


def _cut(block: Array) -> Array:
    """The front of one very large sample."""
    keep = max(1, 4 * BLOCK_BYTES * block.shape[1] // block.nbytes)
    return block[:, :keep]


def _sampled(block: Array) -> Array:
    """Some samples of a block, whole, so that neighbours stay neighbours."""
    most = max(1, (_NOISE_ELEMENTS // 4) // max(1, block[0].size))
    import numpy as np

    return np.asarray(block[:: max(1, len(block) // most)][:most], np.float64)


class _Sums:
    """Running sums over the blocks of one input."""

    def __init__(self, shape: tuple[int, ...] | None) -> None:
        self.low, self.high = float("inf"), float("-inf")
        self.count, self.total, self.squares = 0, 0.0, 0.0
        self.nans = self.infinities = 0
        self.integral = True
        self.constant: list[int] = []
        self.seen: dict[bytes, int] = {}
        self.first_of: dict[int, int] = {}
        axes = {0, len(shape) - 1} if shape is not None and len(shape) > 1 else set[int]()
        sizes = shape or ()
        self.along = {axis: _AxisSums(axis, sizes[axis]) for axis in sorted(axes) if sizes[axis] <= _MOST_CHANNELS}

    def add(self, start: int, block: Array) -> None:
        import numpy as np

        self._note_repeats(start, block)
        data = np.asarray(block, np.float64)
        finite = np.isfinite(data)
        if not finite.all():
            nans = int(np.isnan(data).sum())
            self.nans += nans
            self.infinities += int(data.size - finite.sum()) - nans
            data = np.where(finite, data, np.nan)
            if not finite.any():
                return
        flat = data.reshape(len(data), -1)
        with np.errstate(all="ignore"):
            lows, highs = np.fmin.reduce(flat, axis=1), np.fmax.reduce(flat, axis=1)
            self.constant += [start + int(index) for index in np.flatnonzero(lows == highs)]
            self.low, self.high = min(self.low, float(np.nanmin(lows))), max(self.high, float(np.nanmax(highs)))
            self.count += int(finite.sum())
            self.total += float(np.nansum(flat))
            self.squares += float(np.nansum(np.square(flat)))
            self.integral = self.integral and bool((data[finite] == np.round(data[finite])).all())
        for item in self.along.values():
            item.add(data)

    def _note_repeats(self, start: int, block: Array) -> None:
        import numpy as np

        for index, sample in enumerate(block, start):
            digest = hashlib.blake2b(np.ascontiguousarray(sample).tobytes(), digest_size=16).digest()
            first = self.seen.setdefault(digest, index)
            if first != index:
                self.first_of[index] = first

    def facts(self, examined: int, is_whole: bool, kept: list[Array]) -> Facts:
        mean = self.total / self.count if self.count else float("nan")
        std = max(0.0, self.squares / self.count - mean**2) ** 0.5 if self.count else float("nan")
        channels = {axis: item.channels() for axis, item in self.along.items()} if self.count else {}
        clean = not self.nans and not self.infinities and self.count
        return Facts(
            examined,
            is_whole,
            self.low,
            self.high,
            mean,
            std,
            self.nans,
            self.infinities,
            tuple(self.constant),
            tuple(self.first_of),
            self.first_of,
            self.integral,
            channels,
            _noise(kept) if clean and kept else "",
            _standardized(mean, std, channels) if clean and is_whole else "",
        )


class _AxisSums:
    """Running sums for each channel along one axis of the samples."""

    def __init__(self, axis: int, size: int) -> None:
        import numpy as np

        self.axis = axis
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)
        self.total, self.squares, self.count = np.zeros(size), np.zeros(size), np.zeros(size)

    def add(self, data: Array) -> None:
        import numpy as np

        rows = np.moveaxis(data, self.axis + 1, 0)
        rows = rows.reshape(len(rows), -1)
        part = slice(0, len(rows))  # of a very large sample only the front is looked at
        self.low[part] = np.fmin(self.low[part], np.fmin.reduce(rows, axis=1))
        self.high[part] = np.fmax(self.high[part], np.fmax.reduce(rows, axis=1))
        self.total[part] += np.nansum(rows, axis=1)
        self.squares[part] += np.nansum(np.square(rows), axis=1)
        self.count[part] += (~np.isnan(rows)).sum(axis=1)

    def channels(self) -> Channels:
        import numpy as np

        count = np.maximum(self.count, 1)
        mean = self.total / count
        std = np.sqrt(np.maximum(0.0, self.squares / count - mean**2))
        low, high = (np.where(self.count > 0, side, 0.0) for side in (self.low, self.high))
        numbers = (tuple(float(item) for item in side) for side in (low, high, mean, std))
        return Channels(self.axis, *numbers)


def _standardized(mean: float, std: float, channels: Mapping[int, Channels]) -> str:
    """Data that were standardized by statistics of their own have mean 0 and deviation 1 to rounding."""
    for item in channels.values():
        if (
            len(item.mean) > 1
            and all(abs(one) < 1e-3 for one in item.mean)
            and all(abs(one - 1) < 1e-3 for one in item.std)
        ):
            return "per channel"
    return "as a whole" if abs(mean) < 2e-4 and abs(std - 1) < 2e-4 else ""


_SHAPES_OF_NOISE = (("normal", 0.0, 0.2), ("uniform", -1.2, 0.1))
"""Kinds of noise with the excess kurtosis they have, and how far off a finding may be."""


def _noise(kept: list[Array]) -> str:
    """Whether samples are noise: no two neighbours have to do with each other, and values fall as by a generator.

    Each channel is standardized first, by the first or by the last axis, since channels may differ in range.
    """
    import numpy as np

    data = np.concatenate(kept)
    if data.size < _LEAST_FOR_NOISE or data.ndim < 2:
        return ""
    for axis in {1, data.ndim - 1}:
        others = tuple(number for number in range(data.ndim) if number != axis)
        std = data.std(axis=others, keepdims=True)
        if not (std > 0).all():
            return ""
        scaled = (data - data.mean(axis=others, keepdims=True)) / std
        if all(_is_uncorrelated(scaled, number) for number in range(1, data.ndim)):
            skew, kurtosis = float((scaled**3).mean()), float((scaled**4).mean()) - 3
            for name, wanted, slack in _SHAPES_OF_NOISE:
                if abs(skew) < slack and abs(kurtosis - wanted) < slack:
                    return name
    return ""


def _is_uncorrelated(data: Array, axis: int) -> bool:
    """Whether neighbours along an axis do not go together; chance allows about 3 over the root of their number."""
    size = data.shape[axis]
    if size < 2:
        return True
    import numpy as np

    front, back = (np.take(data, range(*bounds), axis) for bounds in ((0, size - 1), (1, size)))
    return bool(abs(float((front * back).mean())) < max(0.02, 4 / front.size**0.5))
