"""Comparing numbers: is what a model computes after a rewrite what it computed before, but for float noise?

A float array is judged by its own scale: the largest difference over the largest magnitude, for the whole array and
again for each channel (each index of axis 1 and of the last axis), so that one wrong channel, however faint, is seen.
Where NaN and infinities stand must agree. Integers, booleans and strings must be equal.

Some values amplify float noise: a difference of large numbers, a rounding, an argmax of near ties. How much is not
guessed but measured: *probes* are the same value of the same model under harmless changes (inputs off by a few ulp,
kernels in another order). Ten times what the probes differ by is allowed. A value that noise alone changes
by more than `UNSTABLE` of its scale can prove nothing, and is said to be unstable instead of right or wrong.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

NOISE_MARGIN = 10.0
"""How many times the measured noise is allowed."""

UNSTABLE = 0.02
"""Noise of this share of a value's scale, margin not counted, makes the value useless for a proof."""

QUIET = 1e-2
"""A channel is judged by at least this share of the whole array's scale: below it, cancellation noise rules."""

_TOLERANCE = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-6, "complex64": 1e-4, "complex128": 1e-6}


class Verdict(enum.Enum):
    """What a comparison says."""

    SAME = "same"
    DIFFERENT = "different"
    UNSTABLE = "unstable"


@dataclass(frozen=True)
class Comparison:
    """What comparing two arrays gave.

    Attributes:
        verdict: same, different or unstable.
        error: largest difference over the largest magnitude of the array before; for exact types the share of
            elements that differ; infinite where shapes, types or NaN positions differ.
        reason: what is wrong and where, "" where nothing is.
    """

    verdict: Verdict
    error: float = 0.0
    reason: str = ""

    @property
    def same(self) -> bool:
        """Whether the arrays agree."""
        return self.verdict is Verdict.SAME


def tolerance_of(dtype: np.dtype[Any]) -> float:
    """The difference that is allowed without measuring noise, relative to the scale; 0 for exact types."""
    return _TOLERANCE.get(dtype.name, 0.0)


def compare(before: Array, after: Array, probes: Sequence[Array] = ()) -> Comparison:
    """Whether `after` is `before` but for float noise.

    Args:
        before: what the model gave.
        after: what the rewritten model gives for the same inputs.
        probes: what the model gives under harmless changes; see the module's docstring.
    """
    if before.shape != after.shape:
        return _different(f"shape {list(before.shape)} became {list(after.shape)}")
    if before.dtype != after.dtype:
        return _different(f"element type {before.dtype} became {after.dtype}")
    probes = [probe for probe in probes if probe.shape == before.shape]
    if before.size == 0:
        return Comparison(Verdict.SAME)
    if before.dtype.kind not in "fc":
        return _compare_exact(before, after, probes)
    if before.dtype.kind == "c":
        before, after, *probes = (_real_pairs(array) for array in (before, after, *probes))
    return _compare_float(before, after, probes)


def _different(reason: str, error: float = math.inf) -> Comparison:
    return Comparison(Verdict.DIFFERENT, error, reason)


def _real_pairs(array: Array) -> Array:
    import numpy as np

    return np.stack([array.real, array.imag])


def _compare_exact(before: Array, after: Array, probes: Sequence[Array]) -> Comparison:
    import numpy as np

    wrong = before != after
    count = int(np.count_nonzero(wrong))
    if not count:
        return Comparison(Verdict.SAME)
    error = count / before.size
    flips = max((int(np.count_nonzero(before != probe)) for probe in probes), default=0)
    if 0 < count <= NOISE_MARGIN * flips:  # a rounding, or a tie that float noise decides
        return Comparison(Verdict.UNSTABLE, error, f"{flips} of {before.size} elements change by float noise alone")
    where = _first(wrong)
    found = f"{before[where]} became {after[where]} at {list(where)}"
    return _different(f"{count} of {before.size} elements differ: {found}", error)


def _first(mask: Array) -> tuple[int, ...]:
    import numpy as np

    return tuple(int(i) for i in np.argwhere(mask)[0])


def _compare_float(before: Array, after: Array, probes: Sequence[Array]) -> Comparison:
    import numpy as np

    misplaced = _special_positions(before, after)
    if misplaced is not None:
        if any(_special_positions(before, probe) is not None for probe in probes):
            return Comparison(Verdict.UNSTABLE, math.inf, "float noise alone moves NaN or infinity")
        return _different(misplaced)
    rtol = tolerance_of(before.dtype)
    finite = np.isfinite(before)
    b = np.where(finite, before, 0).astype(np.float64)
    difference = np.abs(np.where(finite, after, 0).astype(np.float64) - b)
    noise = [np.abs(np.where(np.isfinite(probe) & finite, probe, b).astype(np.float64) - b) for probe in probes]
    scale = float(np.abs(b).max())
    error = float(difference.max()) / scale if scale else (math.inf if difference.any() else 0.0)
    verdict, reason = Verdict.SAME, ""
    for axis in _channel_axes(before.ndim):
        channels = _Channels.of(np.abs(b), difference, noise, axis)
        if channels.is_wrong(rtol):
            return Comparison(Verdict.DIFFERENT, error, channels.reason(rtol, axis))
        if channels.is_unsure(rtol):
            verdict = Verdict.UNSTABLE
            reason = f"float noise alone changes it by {channels.noise_share:.1e} of its scale"
    return Comparison(verdict, error, reason)


def _special_positions(before: Array, after: Array) -> str | None:
    """Where one has a NaN or an infinity and the other has not; None where they agree."""
    import numpy as np

    for label, test in (("NaN", np.isnan), ("+inf", np.isposinf), ("-inf", np.isneginf)):
        wrong = test(before) != test(after)
        if wrong.any():
            where = _first(wrong)
            return f"{label} at other places: {before[where]} became {after[where]} at {list(where)}"
    return None


def _channel_axes(rank: int) -> list[int | None]:
    """The axes to look along; None stands for the array as a whole."""
    return [*dict.fromkeys(axis for axis in (1, rank - 1) if rank >= 2), None]


@dataclass(frozen=True)
class _Channels:
    """Scale, largest difference and largest noise of each channel of an axis; no axis: the array is one channel."""

    scale: Array
    error: Array
    noise: Array

    @classmethod
    def of(cls, magnitude: Array, difference: Array, noise: Sequence[Array], axis: int | None) -> _Channels:
        import numpy as np

        others = None if axis is None else tuple(i for i in range(magnitude.ndim) if i != axis)

        def peak(array: Array) -> Array:
            return np.atleast_1d(array.max(axis=others))

        tiny = float(np.finfo(np.float32).tiny)
        scale = np.maximum(peak(magnitude), max(QUIET * float(magnitude.max()), tiny))
        noises = np.zeros_like(scale)
        for probe in noise:
            peaks = peak(probe)
            if 2 * np.count_nonzero(probe) < probe.size:  # a rounding that flips here or there: any channel may be hit
                peaks = scale * (peaks / scale).max()
            # Noise of sums that cancel is as large in faint channels as in others, but by chance not in every probe.
            noises = np.maximum(noises, np.maximum(peaks, np.median(peaks)))
        return cls(scale, peak(difference), noises)

    @property
    def noise_share(self) -> float:
        return float((self.noise / self.scale).max())

    def _allowed(self, rtol: float) -> Array:
        import numpy as np

        allowed: Array = np.maximum(rtol * self.scale, NOISE_MARGIN * self.noise)
        return allowed

    def _wrong(self, rtol: float) -> Array:
        wrong: Array = (self.error > self._allowed(rtol)) & (self.noise <= UNSTABLE * self.scale)
        return wrong

    def is_wrong(self, rtol: float) -> bool:
        return bool(self._wrong(rtol).any())

    def is_unsure(self, rtol: float) -> bool:
        return bool(((self.error > rtol * self.scale) & (self.noise > UNSTABLE * self.scale)).any())

    def reason(self, rtol: float, axis: int | None) -> str:
        """The worst of the wrong channels."""
        import numpy as np

        wrong = self._wrong(rtol)
        shares = np.where(wrong, self.error / self.scale, 0)
        worst = int(np.argmax(shares))
        count = f"{np.count_nonzero(wrong)} of {wrong.size} channels of axis {axis} are wrong"
        place = "" if axis is None else f" in channel {worst}; {count}"
        allowed = float(self._allowed(rtol)[worst] / self.scale[worst])
        return f"off by {shares[worst]:.1e} of its scale, where {allowed:.0e} is allowed,{place}".rstrip(",")
