"""The metrics that a search may go by, worked out by hand, and alike by both ways of computing them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sed_model.core.errors import DataError
from sed_model.run_folder.window_metrics import METRICS, Said, metric_in, metric_of, score

TARGETS = np.array([[1, 0], [0, 1], [1, 0], [0, 0], [0, 0]], np.float32)
SCORES = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.4], [0.1, 0.0]], np.float32)
"""Class a: positives at ranks 1 and 3 of 5. Class b: at rank 3."""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("macro_auc", (5 / 6 + 2 / 4) / 2),
        ("cmap", ((1 + 2 / 3) / 2 + 1 / 3) / 2),
        ("padded_cmap", ((5 + 6 / 6 + 7 / 8) / 7 + (5 + 6 / 8) / 6) / 2),  # the padding is first, and right
        ("top1", 2 / 3),  # of the windows with a call the second has its best score elsewhere
    ],
)
def test_values_worked_out_by_hand(name: str, expected: float) -> None:
    assert score(name, TARGETS, SCORES) == pytest.approx(expected)


def test_top_1_shares_ties_and_leaves_out_windows_without_a_call() -> None:
    """Right, wrong, half right; the last window has no call."""
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 0]])
    scores = np.array([[0.9, 0.1], [0.1, 0.9], [0.3, 0.3], [0.9, 0.1]])
    assert score("top1", targets, scores) == pytest.approx((1 + 0 + 0.5) / 3)


def test_cmap5_is_of_classes_in_five_windows() -> None:
    """Class a is in five windows, all first; b in four, all last: it does not count."""
    targets = np.array([[1, 0]] * 5 + [[0, 1]] * 4)
    scores = np.array([[0.9, 0.8]] * 5 + [[0.1, 0.2]] * 4)
    assert score("cmap5", targets, scores) == 1
    assert score("cmap", targets, scores) == pytest.approx((1 + 4 / 9) / 2)


def test_ties_are_taken_together() -> None:
    assert score("cmap", np.array([[1], [0], [0]]), np.array([[0.5], [0.5], [0.1]])) == pytest.approx(1 / 2)


def test_a_positive_of_a_part_is_compared_with_windows_of_its_part() -> None:
    """Part 0 has its positive second, part 1 first, though the first window of part 0 scores more than it."""
    targets, scores = np.array([[0], [1], [1], [0]]), np.array([[0.9], [0.8], [0.3], [0.2]])
    parts = np.array([0, 0, 1, 1])
    assert score("cmap", targets, scores, parts) == pytest.approx((1 / 2 + 1) / 2)
    assert score("cmap", targets, scores) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert score("top1", targets, scores, parts) == 1


def test_parts_share_the_padding() -> None:
    """Two and a half windows of it in each part: precisions 2.5 + 1 of 2.5 + 2 and of 2.5 + 1, and 5 times 1."""
    targets, scores = np.array([[0], [1], [1], [0]]), np.array([[0.9], [0.8], [0.3], [0.2]])
    found = score("padded_cmap", targets, scores, np.array([0, 0, 1, 1]))
    assert found == pytest.approx((5 + 3.5 / 4.5 + 1) / 7)


@pytest.mark.parametrize(
    ("name", "said"),
    [("cmap", "no class is in any"), ("cmap5", "no class is in 5"), ("top1", "no class is in any")],
)
def test_what_no_window_defines_is_an_error(name: str, said: str) -> None:
    with pytest.raises(DataError, match=f"is undefined over 3 windows: {said} of them"):
        score(name, np.zeros((3, 2)), np.full((3, 2), 0.5))


def many(values: st.SearchStrategy[float], n: int) -> st.SearchStrategy[Sequence[float]]:
    return st.lists(values, min_size=n, max_size=n)


@settings(deadline=None)
@given(st.data())
@pytest.mark.parametrize("name", METRICS)
def test_a_weight_is_a_number_of_copies(name: str, data: st.DataObject) -> None:
    n_windows = data.draw(st.integers(1, 14))
    targets, scores = (
        np.array(data.draw(many(st.sampled_from([0.0, 0.3, 0.5, 0.8]), 2 * n_windows))).reshape(n_windows, 2)
        for _ in range(2)
    )
    plain = METRICS[name].of(Said(targets, scores))
    assert METRICS[name].of(Said(targets, scores, np.ones((1, n_windows)))) == pytest.approx(plain, nan_ok=True)
    if name != "cmap5":  # which classes count is asked once, of the windows themselves
        weights = np.array([1 + data.draw(st.integers(0, 2)), *data.draw(many(st.integers(0, 3), n_windows - 1))])
        copies = np.repeat(np.arange(n_windows), weights)
        expected = METRICS[name].of(Said(targets[copies], scores[copies]))
        assert METRICS[name].of(Said(targets, scores, weights[None])) == pytest.approx(expected, nan_ok=True, abs=1e-6)


def test_rows_tell_what_their_search_went_by() -> None:
    assert metric_of([{"macro_auc": 0.5}, {"macro_auc": 0.5, "cmap": None}]) == "macro_auc"
    assert metric_of([{"macro_auc": None, "top1": None}, {"macro_auc": 0.5, "top1": 0.1}]) == "top1"
    assert (metric_in(["macro_auc", "cmap5"]), metric_in(["macro_auc"])) == ("cmap5", "macro_auc")
