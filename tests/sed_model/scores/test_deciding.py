"""Calibration by hand and on synthetic scores of models whose calibrations differ."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from sed_model.run_folder.decisions import Platt
from sed_model.scores.calibration import calibrated, fit_platt
from sed_model.scores.combine import combine, weights_by_window
from sed_model.scores.deciding import HALF, Fitted, JudgedWindows, fit, held_out
from sed_model.scores.thresholds import f1_per_class

SHIFTS = (-2.0, 1.0)
"""Of the logits of two members against what is right."""


def mean(by_member: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    n_members = len(by_member)
    weights = weights_by_window(np.ones(n_members), np.zeros(n_members, int), allowed)
    return combine(by_member, "mean", weights)


def windows_of(n: int, n_classes: int, seed: int) -> tuple[JudgedWindows, np.ndarray]:
    """Each member judges every other file of ten windows, by right logits that are shifted; and what is right."""
    rng = np.random.default_rng(seed)
    right = rng.normal(-3.0, 2.0, (n, n_classes))
    positive = rng.random((n, n_classes)) < expit(right)
    files = np.arange(n) // 10
    allowed = np.stack([files % 2 == member for member in range(2)])
    scores = np.stack([expit(right + shift) for shift in SHIFTS]).astype(np.float32)
    return JudgedWindows(scores, allowed, positive, files), expit(right)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    windows, _ = windows_of(4_000, 10, 0)
    noise = np.random.default_rng(9).random(windows.scores.shape, np.float32)
    return fit(replace(windows, scores=np.where(windows.allowed[..., None], windows.scores, noise)), mean)


def test_a_platt_fit_of_equal_scores_is_the_share_of_positives() -> None:
    """Three of eight: (3 * 4/5 + 5 * 1/7) / 8, smoothed as Platt says."""
    told = fit_platt(np.full(8, 0.5), np.arange(8) < 3)
    assert (told.slope, told.intercept) == (0.0, pytest.approx(logit((3 * 4 / 5 + 5 / 7) / 8)))


def test_a_ranking_is_never_turned_round() -> None:
    assert fit_platt(np.array([0.9, 0.8, 0.2, 0.1]), np.array([False, False, True, True])).slope == 0


def test_scores_that_separate_have_a_finite_fit() -> None:
    told = fit_platt(np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False]))
    assert 0 < told.slope < 100


def test_silence_stays_silence() -> None:
    assert calibrated(np.array([0.0, 0.5]), Platt(slope=1.0, intercept=0.0)).tolist() == [0.0, 0.5]


def test_each_member_has_a_calibration_of_its_own(fitted: Fitted) -> None:
    for platt, shift in zip(fitted.members, SHIFTS, strict=True):
        assert platt.slope == pytest.approx(1.0, abs=0.06)
        assert platt.intercept == pytest.approx(-shift, abs=0.15)


def test_probabilities_on_other_windows_are_right_as_often_as_they_say(fitted: Fitted) -> None:
    """Both members hear the other windows, as they do in a prediction."""
    others, right = windows_of(4_000, 10, 1)
    told = fitted.probabilities(others.scores, np.ones((2, 4_000), bool), mean)
    assert np.abs(told - right).mean() < 0.01
    for low, high in ((0.0, 0.1), (0.1, 0.4), (0.4, 0.7), (0.7, 1.0)):
        chosen = (told > low) & (told <= high)
        assert others.positive[chosen].mean() == pytest.approx(told[chosen].mean(), abs=0.02)


def test_decisions_are_better_than_those_of_scores_as_they_are(fitted: Fitted) -> None:
    """By what no single threshold of uncalibrated members can: each member's are off by another amount."""
    others, right = windows_of(4_000, 10, 2)
    told = fitted.probabilities(others.scores, others.allowed, mean)
    best, plain = (
        np.mean(f1_per_class(heard, others.positive))
        for heard in (told >= fitted.thresholds, mean(others.scores, others.allowed) >= HALF)
    )
    known = max(np.mean(f1_per_class(right >= threshold, others.positive)) for threshold in np.linspace(0.1, 0.9, 81))
    assert best > plain + 0.05
    assert best > known - 0.01


def test_a_class_with_few_positives_has_the_calibration_of_all() -> None:
    windows, _ = windows_of(400, 3, 3)
    rare = windows.positive & np.array([True, False, False])
    rare[:3, 1:] = True
    told = fit(JudgedWindows(windows.scores, windows.allowed, rare, windows.files), mean)
    assert told.alone == (True, False, False)
    assert told.classes[1] == told.classes[2] != told.classes[0]


def test_what_is_held_out_is_no_part_of_the_fit() -> None:
    """Labels that are noise: on files that had a part, own thresholds find positives; on others none are known."""
    rng = np.random.default_rng(0)
    noise = JudgedWindows(
        rng.random((1, 200, 5), np.float32), np.ones((1, 200), bool), rng.random((200, 5)) < 0.05, np.arange(200) // 2
    )
    overall, of_classes = held_out(noise, mean)
    told = fit(noise, mean)
    seen = told.probabilities(noise.scores, noise.allowed, mean) >= told.own_thresholds
    assert overall is not None
    assert overall.f1_unshrunk < np.mean(f1_per_class(seen, noise.positive))
    assert len(of_classes) == 5


def test_one_file_cannot_tell() -> None:
    windows, _ = windows_of(10, 2, 0)
    assert held_out(windows, mean)[0] is None
