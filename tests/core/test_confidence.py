"""How sure a classifier is: held against cases that can be worked out by hand, and against the theory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from irkit.gates import Confidence, accuracy, calibration_error, softmax
from irkit.gates.confidence import coverage_floor, covered, fit, fit_temperature

Array = np.ndarray[Any, np.dtype[Any]]


def drawn(count: int, temperature: float = 1.0, classes: int = 5, seed: int = 0) -> tuple[Array, Array]:
    """Logits, and labels drawn from their probabilities at that temperature: so that they are calibrated there."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, classes))
    chances = softmax(logits / temperature)
    labels = (chances.cumsum(1) > rng.random((count, 1))).argmax(1)
    return logits, labels


def test_softmax_stands_large_logits() -> None:
    assert softmax(np.array([[1e4, 0.0], [-1e4, -1e4]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_calibration_error_by_hand() -> None:
    """Four at 0.9 of which three are right, two at 0.6 of which none is: 4/6 x 0.15 + 2/6 x 0.6."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 2)
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert calibration_error(probabilities, labels) == pytest.approx(4 / 6 * 0.15 + 2 / 6 * 0.6)
    assert accuracy(probabilities, labels) == 0.5


def test_who_is_always_sure_and_right_has_no_error() -> None:
    assert calibration_error(np.eye(4), np.arange(4)) == 0
    assert calibration_error(np.eye(4), (np.arange(4) + 1) % 4) == 1


def test_a_bin_holds_its_upper_edge() -> None:
    """Of ten bins, 0.7 lies in the seventh with 0.65, where they even out: one right, one wrong."""
    probabilities = np.array([[0.7, 0.3], [0.65, 0.35]])
    assert calibration_error(probabilities, np.array([0, 1]), bins=10) == pytest.approx(abs(0.5 - 0.675))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_made_the_labels_is_found(temperature: float) -> None:
    logits, labels = drawn(20_000, temperature)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    assert calibration_error(softmax(logits / found), labels) < 0.012


def test_the_temperature_is_where_the_likelihood_is_greatest() -> None:
    logits, labels = drawn(500, 2.0, seed=3)

    def loss(temperature: float) -> float:
        return -float(np.log(softmax(logits / temperature)[np.arange(500), labels]).mean())

    found = fit_temperature(logits, labels)
    assert loss(found) <= min(loss(found * factor) for factor in (0.98, 0.999, 1.001, 1.02)) + 1e-12


def test_the_temperature_stays_finite_where_all_is_right() -> None:
    assert 0 < fit_temperature(np.eye(3) * 10, np.arange(3)) < math.inf


def test_the_threshold_by_hand() -> None:
    """Nine samples, 80 %: the rank is ceil(10 x 0.8) = 8, so that the second least probability is the threshold."""
    right = np.array([0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
    logits = np.log(np.stack([right, 1 - right], 1))
    labels = np.zeros(9, int)
    found = fit(logits, labels, 0.8)
    wanted = np.sort(softmax(logits / found.temperature)[:, 0])[1]
    assert found.threshold == wanted
    assert covered(found.prediction_sets(logits), labels) >= 0.8


def test_few_samples_promise_nothing_but_all_classes() -> None:
    """Five samples cannot show 90 %: every class is in every set."""
    logits, labels = drawn(5)
    assert fit(logits, labels, 0.9).threshold == 0
    assert fit(logits, labels, 0.9).prediction_sets(logits).all()


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
@pytest.mark.parametrize("temperature", [0.7, 1.0, 4.0])
def test_sets_cover_what_was_asked_for(coverage: float, temperature: float) -> None:
    """Whatever the network: of many draws of 500 samples, coverage on new ones is at least that on average."""
    found = []
    for seed in range(30):
        logits, labels = drawn(1500, temperature, seed=seed)
        confidence = fit(logits[:500], labels[:500], coverage)
        found.append(covered(confidence.prediction_sets(logits[500:]), labels[500:]))
    assert np.mean(found) >= coverage - 0.005
    assert np.mean(found) <= coverage + 0.06


def test_the_likeliest_class_is_always_in_the_set() -> None:
    logits, _ = drawn(50)
    sets = Confidence(1.0, 1.0, 0.9, 50).prediction_sets(logits)
    assert sets.sum(1).tolist() == [1] * 50
    assert np.array_equal(sets.argmax(1), logits.argmax(1))


def test_the_floor_is_undercut_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    shares = rng.binomial(400, 0.9, 20_000) / 400
    assert np.mean(shares < coverage_floor(400, 0.9)) == pytest.approx(0.05, abs=0.02)
    assert coverage_floor(100_000, 0.9) > coverage_floor(400, 0.9)


def test_it_agrees_with_torchmetrics() -> None:
    torchmetrics = pytest.importorskip("torchmetrics", reason="another implementation, where it is installed")
    torch = pytest.importorskip("torch")
    logits, labels = drawn(2000)
    probabilities = softmax(logits)
    error = torchmetrics.functional.classification.multiclass_calibration_error(
        torch.from_numpy(probabilities), torch.from_numpy(labels), num_classes=5, n_bins=15
    )
    assert calibration_error(probabilities, labels) == pytest.approx(float(error), abs=1e-6)
