"""The comparison sees each kind of fault, and takes float noise for what it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irkit.numerics import Verdict, compare, tolerance_of

RNG = np.random.default_rng(7)
IMAGE = RNG.standard_normal((1, 8, 6, 6)).astype(np.float32)


def changed(array: np.ndarray, index: Any, factor: float) -> np.ndarray:
    copy = array.copy()
    copy[index] *= factor
    return copy


def test_the_same_array_is_the_same() -> None:
    assert compare(IMAGE, IMAGE.copy()).same
    assert compare(IMAGE, IMAGE.copy()).error == 0


def test_rounding_noise_is_the_same_and_its_size_is_told() -> None:
    noisy = (IMAGE * (1 + 1e-6 * RNG.standard_normal(IMAGE.shape))).astype(np.float32)
    found = compare(IMAGE, noisy)
    assert found.same
    assert 0 < found.error < 1e-5


@pytest.mark.parametrize("index", [(0, 3), (..., 2)], ids=["axis 1", "last axis"])
def test_one_scaled_channel_is_seen(index: object) -> None:
    found = compare(IMAGE, changed(IMAGE, index, 0.9))
    assert found.verdict is Verdict.DIFFERENT
    assert "channels of axis" in found.reason


def test_one_wrong_channel_of_small_amplitude_is_seen() -> None:
    quiet = changed(IMAGE, (0, 5), 1e-4)
    found = compare(quiet, changed(quiet, (0, 5), 0.9))
    assert found.verdict is Verdict.DIFFERENT
    assert "in channel 5; 1 of 8 channels of axis 1" in found.reason
    assert found.error < 1e-4  # the whole array alone would have let it pass


def test_two_swapped_channels_are_seen() -> None:
    swapped = IMAGE[:, [0, 2, 1, 3, 4, 5, 6, 7]]
    assert compare(IMAGE, swapped).verdict is Verdict.DIFFERENT


def test_a_wrong_epsilon_is_seen() -> None:
    variance = np.full((1, 8, 1, 1), 0.5, np.float32)
    right, wrong = (IMAGE / np.sqrt(variance + epsilon) for epsilon in (np.float32(1e-5), np.float32(1e-3)))
    assert compare(right, wrong).verdict is Verdict.DIFFERENT


def test_nan_and_infinity_must_stand_where_they_stood() -> None:
    for special in (np.nan, np.inf, -np.inf):
        with_special = IMAGE.copy()
        with_special[0, 1, 2, 3] = special
        assert compare(with_special, with_special.copy()).same
        assert compare(IMAGE, with_special).verdict is Verdict.DIFFERENT
        assert compare(with_special, IMAGE).verdict is Verdict.DIFFERENT
    plus, minus = (np.array([1, sign * np.inf], np.float32) for sign in (1, -1))
    assert compare(plus, minus).verdict is Verdict.DIFFERENT


def test_other_numbers_beside_an_infinity_are_compared() -> None:
    before = np.array([1.0, np.inf, 2.0], np.float32)
    assert compare(before, np.array([1.0, np.inf, 2.1], np.float32)).verdict is Verdict.DIFFERENT


def test_shape_and_type_must_agree() -> None:
    assert "shape" in compare(IMAGE, IMAGE[0]).reason
    assert "element type" in compare(IMAGE, IMAGE.astype(np.float64)).reason


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_])
def test_integers_and_booleans_must_be_equal(dtype: type) -> None:
    before: np.ndarray = RNG.integers(0, 2, (4, 5)).astype(dtype)
    after = before.copy()
    assert compare(before, after).same
    after[2, 3] = not after[2, 3]
    found = compare(before, after)
    assert found.verdict is Verdict.DIFFERENT
    assert "[2, 3]" in found.reason


def test_strings_must_be_equal() -> None:
    before = np.array(["a", "b"], object)
    assert compare(before, before.copy()).same
    assert compare(before, np.array(["a", "c"], object)).verdict is Verdict.DIFFERENT


def test_complex_numbers_are_compared_by_both_parts() -> None:
    before = (IMAGE + 1j * IMAGE).astype(np.complex64)
    assert compare(before, before.copy()).same
    assert compare(before, np.conj(before)).verdict is Verdict.DIFFERENT


def test_half_precision_is_judged_looser() -> None:
    half = IMAGE.astype(np.float16)
    assert compare(half, changed(half, (0, 1, 1, 1), 1 + 2**-9)).same
    assert compare(half, changed(half, (0, 1), 0.9)).verdict is Verdict.DIFFERENT
    assert tolerance_of(half.dtype) > tolerance_of(IMAGE.dtype) > tolerance_of(np.dtype(np.int64)) == 0


def test_measured_noise_widens_what_is_allowed_by_ten_but_no_more() -> None:
    probe = changed(IMAGE, slice(None), 1 + 1e-4)
    off = changed(IMAGE, slice(None), 1 + 5e-4)
    assert compare(IMAGE, off).verdict is Verdict.DIFFERENT
    assert compare(IMAGE, off, [probe]).same
    assert compare(IMAGE, changed(IMAGE, slice(None), 1.01), [probe]).verdict is Verdict.DIFFERENT


def test_noise_of_one_channel_does_not_excuse_another() -> None:
    probe = changed(IMAGE, (0, 1), 1.005)
    probe[0, 2:] *= np.float32(1 + 1e-6)
    assert compare(IMAGE, changed(IMAGE, (0, 4), 1.005), [probe]).verdict is Verdict.DIFFERENT
    assert compare(IMAGE, changed(IMAGE, (0, 1), 1.005), [probe]).same


def test_a_rounding_that_flips_here_or_there_excuses_one_step_anywhere() -> None:
    levels = np.round(IMAGE * 32) / 32
    probe, after, wrong = levels.copy(), levels.copy(), levels.copy()
    probe[0, 1, 0, 0] += 1 / 32
    after[0, 6, 3, 3] += 1 / 32
    wrong[0, 6] *= np.float32(0.5)
    assert compare(levels, after).verdict is Verdict.DIFFERENT
    assert compare(levels, after, [probe]).same
    assert compare(levels, wrong, [probe]).verdict is Verdict.DIFFERENT


def test_what_noise_alone_turns_over_is_neither_right_nor_wrong() -> None:
    wild = IMAGE[:, ::-1].copy()
    assert compare(IMAGE, changed(IMAGE, slice(None), 0.5), [wild]).verdict is Verdict.UNSTABLE
    labels = np.arange(100)
    tie, after = labels.copy(), labels.copy()
    tie[3] = 4
    after[7] = 8
    assert compare(labels, after, [tie]).verdict is Verdict.UNSTABLE
    assert compare(labels, labels[::-1].copy(), [tie]).verdict is Verdict.DIFFERENT


def test_nothing_is_compared_in_an_empty_array() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert compare(empty, empty.copy()).same


def test_what_was_zero_must_stay_zero() -> None:
    zero = np.zeros((2, 3), np.float32)
    assert compare(zero, zero.copy()).same
    assert compare(zero, zero + np.float32(1e-3)).verdict is Verdict.DIFFERENT
