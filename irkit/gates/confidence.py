"""How sure a classifier is, and how sure it should be.

Plain NumPy, since it is a page: torchmetrics would bring PyTorch, MAPIE scikit-learn and SciPy, and none of them reads
logits of a model that is no estimator of theirs.

Sources: Guo et al., On Calibration of Modern Neural Networks, 2017 (temperature, expected calibration error);
Angelopoulos and Bates, A Gentle Introduction to Conformal Prediction, 2021 (split conformal prediction).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from irkit.gates.limits import GatesError

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

BINS = 15
_COLDEST, _HOTTEST = 0.05, 20.0
_STEPS = 80


@dataclass(frozen=True)
class Confidence:
    """What was fitted on validation data.

    Attributes: `temperature` that logits are divided by; `threshold`: a class is in the prediction set where its
    probability is at least this; `coverage` that the sets are made for; `samples` it was fitted on.
    """

    temperature: float
    threshold: float
    coverage: float
    samples: int

    def probabilities(self, logits: Array) -> Array:
        """Calibrated probabilities (N, classes) of logits."""
        return softmax(logits / self.temperature)

    def prediction_sets(self, logits: Array) -> Array:
        """Which classes are in the set of each sample, (N, classes) of bool; the likeliest always is."""
        import numpy as np

        probabilities = self.probabilities(logits)
        sets = probabilities >= self.threshold
        sets[np.arange(len(sets)), probabilities.argmax(1)] = True
        return np.asarray(sets)


def read_confidence(path: Path) -> Confidence:
    """confidence.json of a bundle. Raises `GatesError` where it is not what irkit check writes."""
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        values = {key: float(plain[key]) for key in ("temperature", "threshold", "coverage")}
        found = Confidence(**values, samples=int(plain["samples"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise GatesError(f"{path}: {error}; fit it again with irkit check --validation") from None
    if not (0 < found.temperature < math.inf and 0 <= found.threshold <= 1 and 0 < found.coverage < 1):
        raise GatesError(f"{path}: its numbers are none that fit; fit it again with irkit check --validation")
    return found


def softmax(logits: Array) -> Array:
    """Probabilities (N, classes), float64."""
    import numpy as np

    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True))


def accuracy(logits: Array, labels: Array) -> float:
    """Share of samples whose largest class is the right one."""
    return float((logits.argmax(1) == labels).mean())


def calibration_error(probabilities: Array, labels: Array, bins: int = BINS) -> float:
    """Expected calibration error: confidence against accuracy, in bins of equal width, weighted by their samples."""
    import numpy as np

    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    error = 0.0
    for index in range(bins):
        inside = place == index
        if inside.any():
            error += float(inside.mean()) * abs(float(right[inside].mean()) - float(confidence[inside].mean()))
    return error


def fit_temperature(logits: Array, labels: Array) -> float:
    """The temperature with the least negative log likelihood, which is convex in its inverse: a golden section."""
    low, high = math.log(1 / _HOTTEST), math.log(1 / _COLDEST)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if _loss(logits, labels, math.exp(left)) < _loss(logits, labels, math.exp(right)):
            high = right
        else:
            low = left
    return 1 / math.exp((low + high) / 2)


def _loss(logits: Array, labels: Array, factor: float) -> float:
    import numpy as np

    probabilities = softmax(logits * factor)
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-300)).mean())


def fit(logits: Array, labels: Array, coverage: float) -> Confidence:
    """Temperature and conformal threshold, on validation data.

    The threshold is the conformal quantile of 1 - p(right class): sets cover the right class with at least `coverage`
    probability on data of the same kind, whatever the network. Both come from the same data: one number that is fitted
    to many samples moves the coverage by less than sampling does.

    Args:
        logits: (N, classes).
        labels: (N,) right classes.
        coverage: that the sets are to have, such as 0.9.
    """
    import numpy as np

    temperature = fit_temperature(logits, labels)
    right = np.sort(softmax(logits / temperature)[np.arange(len(labels)), labels])
    rank = math.ceil((len(labels) + 1) * coverage)
    threshold = 0.0 if rank > len(labels) else float(right[len(labels) - rank])
    return Confidence(temperature, threshold, coverage, len(labels))


def covered(sets: Array, labels: Array) -> float:
    """Share of samples whose set holds the right class."""
    import numpy as np

    return float(sets[np.arange(len(labels)), labels].mean())


def coverage_floor(samples: int, coverage: float, sure: float = 0.95) -> float:
    """The coverage that a sample of that size stays above in `sure` of all cases, where the true one is `coverage`."""
    quantile = NormalDist().inv_cdf(sure)
    return coverage - quantile * math.sqrt(coverage * (1 - coverage) / max(samples, 1))
