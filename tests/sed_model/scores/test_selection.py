"""Choosing members: greedy steps worked out by hand, and what no choice may do."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sed_model.run_folder.metrics import macro_auc
from sed_model.scores import combine, selection

# One class, four windows, the first two positive.
TRUTH = np.array([[1.0], [1.0], [0.0], [0.0]])
GOOD = [0.9, 0.4, 0.5, 0.1]  # 3 of 4 pairs
OTHER = [0.3, 0.8, 0.1, 0.6]  # 3 of 4 pairs, another one wrong; the mean with GOOD has all right
BAD = [0.1, 0.2, 0.8, 0.9]


def models(*columns: list[float]) -> np.ndarray:
    return np.array(columns)[:, :, None]


def mean(by_model: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return combine.combine(by_model, "mean", weights)


def test_greedy_starts_with_the_best_and_adds_what_helps_most() -> None:
    steps = selection.greedy(TRUTH, models(BAD, GOOD, OTHER), mean, max_members=3)
    assert steps == [selection.Step(1, 0.75), selection.Step(2, 1.0)]


def test_a_model_may_be_chosen_again_and_weighs_more() -> None:
    # Sums of first and second: 1.1 0.9 0.8 1.1, two and a half of four pairs; with the first twice: 1.7 1.5 1.5 1.5.
    steps = selection.greedy(TRUTH, models([0.6, 0.6, 0.7, 0.4], [0.5, 0.3, 0.1, 0.7]), mean, max_members=2)
    assert [step.model for step in steps] == [0, 1, 0]
    assert [step.score for step in steps] == [0.5, 0.625, 0.75]
    assert selection.times_chosen(steps, 2).tolist() == [2, 1]


def test_of_equal_models_the_first_is_taken() -> None:
    assert [step.model for step in selection.greedy(TRUTH, models(GOOD, GOOD, GOOD), mean, 3)] == [0]


def test_no_more_than_the_allowed_members_are_chosen() -> None:
    assert {step.model for step in selection.greedy(TRUTH, models(GOOD, OTHER), mean, max_members=1)} == {0}


probabilities = arrays.arrays(np.float32, (4, 8, 2), elements=st.floats(0, 1, width=32))


@given(probabilities, st.sampled_from(["mean", "power_mean", "max", "rank"]))
def test_each_step_gains_and_none_is_worse_than_the_best_model(by_model: np.ndarray, method: str) -> None:
    truth = np.tile([[1.0, 0.0], [0.0, 1.0]], (4, 1))

    def join(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return combine.combine(rows, method, weights)

    steps = selection.greedy(truth, by_model, join, max_members=3)
    scores = [step.score for step in steps]
    assert scores == sorted(set(scores))
    single = max(macro_auc(truth, join(rows[None], np.ones(1))) for rows in by_model)
    assert scores[0] == pytest.approx(single)
    assert len({step.model for step in steps}) <= 3


def test_scores_in_order_are_those_of_the_ensemble_so_far() -> None:
    steps = selection.in_order(TRUTH, models(GOOD, OTHER, BAD), mean)
    assert [step.model for step in steps] == [0, 1, 2]
    assert [step.score for step in steps[:2]] == [0.75, 1.0]


def test_cross_validation_scores_what_the_other_half_chose() -> None:
    truth = np.tile([[1.0], [0.0]], (4, 1))
    groups = ["a", "a", "b", "b", "c", "c", "d", "d"]
    in_first = np.isin(groups, ["a", "c"])
    right, wrong = truth[:, 0], 1 - truth[:, 0]
    # Each is right on one half and wrong on the other: what a half chooses fails on the other.
    two = models(np.where(in_first, right, wrong).tolist(), np.where(in_first, wrong, right).tolist())
    score = selection.cross_validated(
        truth, two, groups, mean, lambda targets, rows: selection.greedy(targets, rows, mean, 1)
    )
    assert score == 0.0


def test_cross_validation_of_one_group_is_unknown() -> None:
    choose = lambda targets, rows: selection.greedy(targets, rows, mean, 1)  # noqa: E731
    assert selection.cross_validated(TRUTH, models(GOOD), ["a"] * 4, mean, choose) is None


def test_correlations_are_spearmans() -> None:
    rows = models([0.1, 0.2, 0.3, 0.9], [1.0, 2.0, 3.0, 4.0], [0.4, 0.3, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5])
    correlations = selection.rank_correlations(rows)
    np.testing.assert_allclose(correlations[:3, :3], [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-12)
    assert all(math.isnan(value) for value in correlations[3])
