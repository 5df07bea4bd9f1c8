"""Scores of several members -> one: values worked out by hand, and what holds for any scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sed_model.core.errors import ConfigError
from sed_model.scores.combine import COMBINE_METHODS, combine, disagreement, weights_by_window

members = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 3)),
    elements=st.floats(0, 1, width=32),
)
TWO_MEMBERS = np.array([[[0.2, 0.8], [0.6, 0.4]], [[0.4, 0.6], [0.9, 0.1]]], np.float32)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", [[0.3, 0.7], [0.75, 0.25]]),
        ("max", [[0.4, 0.8], [0.9, 0.4]]),
        ("vote", [[0.0, 1.0], [1.0, 0.0]]),
        # Roots of mean squares: (0.04 + 0.16) / 2 = 0.1, (0.64 + 0.36) / 2 = 0.5, ...
        ("power_mean", [[0.1**0.5, 0.5**0.5], [0.585**0.5, 0.085**0.5]]),
        # Both members order the windows alike in each class, so the means stay where they are.
        ("rank", [[0.3, 0.7], [0.75, 0.25]]),
    ],
)
def test_members_combine(method: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(combine(TWO_MEMBERS, method), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", [[0.35, 0.65], [0.825, 0.175]]),
        ("max", [[0.4, 0.8], [0.9, 0.4]]),
        ("vote", [[0.0, 1.0], [1.0, 0.0]]),
        ("power_mean", [[0.13**0.5, 0.43**0.5], [0.6975**0.5, 0.0475**0.5]]),
    ],
)
def test_members_count_by_their_weights(method: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(combine(TWO_MEMBERS, method, np.array([1, 3])), expected, rtol=1e-6)


@given(members, st.sampled_from(COMBINE_METHODS))
def test_a_member_alone_is_the_ensemble_whatever_the_method(by_member: np.ndarray, method: str) -> None:
    alone = np.eye(len(by_member))[0]
    expected = by_member[0] > 0.5 if method == "vote" else by_member[0]
    np.testing.assert_allclose(combine(by_member, method, alone), expected, atol=1e-6)


@given(members, st.floats(1, 8))
def test_a_power_mean_lies_between_mean_and_maximum(by_member: np.ndarray, exponent: float) -> None:
    joined = combine(by_member, "power_mean", exponent=exponent)
    assert (joined >= combine(by_member, "mean") - 1e-5).all()
    assert (joined <= combine(by_member, "max") + 1e-5).all()


@given(members)
def test_a_rank_average_has_the_values_of_the_mean_in_another_order(by_member: np.ndarray) -> None:
    """But for ties, which share theirs."""
    ranked, mean = (
        np.sort(combine(by_member, "rank"), axis=0),
        np.sort(combine(by_member, "mean"), axis=0),
    )
    assert (ranked >= mean[:1] - 1e-6).all()
    assert (ranked <= mean[-1:] + 1e-6).all()


def test_a_rank_average_does_not_let_a_loud_member_decide() -> None:
    quiet = np.array([[0.02], [0.03], [0.01]])
    loud = np.array([[0.5], [0.4], [0.9]])
    ranked = combine(np.stack([quiet, loud, quiet]), "rank", np.array([1, 1, 1]))
    # Ranks 2 3 1, 2 1 3, 2 3 1: averages 2, 7/3, 5/3; the sorted means .14/3.. go in that order.
    means = np.sort((2 * quiet + loud) / 3, axis=0)[:, 0]
    np.testing.assert_allclose(ranked[:, 0], [means[1], means[2], means[0]], rtol=1e-6)


def test_a_window_is_labelled_by_the_members_that_may() -> None:
    weights = np.array([[1, 0], [1, 0]])  # the second window was a training recording of both
    weights[1, 0] = 0
    np.testing.assert_allclose(combine(TWO_MEMBERS, "mean", weights), [[0.2, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_allclose(combine(TWO_MEMBERS, "max", weights), [[0.2, 0.8], [0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(disagreement(TWO_MEMBERS, weights), [0, 0])


def test_a_vote_is_the_share_of_members_above_a_half() -> None:
    three = np.array([[[0.5]], [[0.51]], [[0.9]]], np.float32)
    np.testing.assert_allclose(combine(three, "vote"), [[2 / 3]], rtol=1e-6)


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"method=median.*mean, power_mean, max, vote, rank"):
        combine(TWO_MEMBERS, "median")


def test_disagreement_is_the_spread_over_the_best_class() -> None:
    # Best classes by the mean: 1 (0.8, 0.6) and 0 (0.6, 0.9); standard deviations of two values: half their distance.
    np.testing.assert_allclose(disagreement(TWO_MEMBERS), [0.1, 0.15], rtol=1e-5)


def test_a_run_keeps_its_share_where_some_of_its_members_may_not_judge() -> None:
    """Two members of a run that counts 0.6, and one of a run that counts 0.4; the last window is the first run's."""
    allowed = np.array([[True, True, False, True], [True, False, False, True], [True, True, True, False]])
    weights = weights_by_window(np.array([0.2, 0.4, 0.4]), np.array([0, 0, 1]), allowed)
    expected = [[0.2, 0.6, 0, 0.2], [0.4, 0, 0, 0.4], [0.4, 0.4, 0.4, 0]]
    np.testing.assert_allclose(weights, expected, rtol=1e-12)
