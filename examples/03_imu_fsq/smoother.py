"""A hidden semi-Markov smoother: the likeliest run of behaviours, each of which lasts a while.

It runs behind the classifier, on a server or the Pi's CPU, and is no part of the graph. Explicit durations: a segment
of behaviour k over d windows scores the log probabilities of its windows, of its duration and of the change before it.
See Yu, Hidden semi-Markov models, Artificial Intelligence 174, 2010.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def durations(mean: float, longest: int) -> Array:
    """Log probabilities of lasting 1 to `longest` windows: Poisson, cut off."""
    lasts = np.arange(1, longest + 1)
    log = (lasts - 1) * np.log(max(mean - 1, 1e-6)) - np.cumsum(np.log(np.maximum(lasts - 1, 1)))
    return np.asarray(log - np.logaddexp.reduce(log))


def smooth(probabilities: Array, mean_duration: float = 8.0, longest: int = 30) -> Array:
    """The behaviour of each window, (T,), of probabilities (T, classes); changes are equally likely."""
    count, classes = probabilities.shape
    if not count:
        return np.zeros(0, np.int64)
    log = np.log(np.maximum(probabilities, 1e-9))
    total = np.concatenate([np.zeros((1, classes)), np.cumsum(log, 0)])
    lasting = durations(mean_duration, longest)
    best = np.full((count + 1, classes), -np.inf)  # of runs whose last segment, of that class, ends there
    origin = np.zeros((count + 1, classes, 2), np.int64)  # its length, and the class before it
    for end in range(1, count + 1):
        for length in range(1, min(end, longest) + 1):
            begin = end - length
            before, which = _entering(best[begin]) if begin else (np.zeros(classes), np.full(classes, -1))
            score = before + total[end] - total[begin] + lasting[length - 1]
            better = score > best[end]
            best[end][better] = score[better]
            origin[end, better, 0], origin[end, better, 1] = length, which[better]
    found = np.zeros(count, np.int64)
    end, state = count, int(best[count].argmax())
    while end > 0:
        length, before = origin[end, state]
        found[end - length : end] = state
        end, state = end - int(length), int(before)
    return found


def _entering(scores: Array) -> tuple[Array, Array]:
    """For each class the best other one to come from, and which that is."""
    classes = len(scores)
    first, second = np.argsort(scores)[::-1][:2]
    which = np.where(np.arange(classes) == first, second, first)
    return scores[which] - np.log(classes - 1), which
