"""Thresholds by hand, and what they are worth on soundscapes that they were not chosen on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from tables.summary import Table, read_tables

from sed_model.scores.thresholds import (
    common_f1_threshold,
    f1_per_class,
    f1_threshold,
    precision_threshold,
    shrunk_threshold,
)

RECORDED = Path(__file__).parents[3] / "benchmarks" / "tables"
SCORES = np.array([0.9, 0.8, 0.6, 0.4, 0.2])


def positive(*values: int) -> np.ndarray:
    return np.array(values, bool)


def test_the_best_f1_is_between_two_scores() -> None:
    """Found with 0.8 and above: 2 of 2, F1 0.8; with 0.4 and above: 3 of 4, F1 6/7."""
    assert f1_threshold(SCORES, positive(1, 1, 0, 1, 0)) == pytest.approx(0.3)
    assert f1_threshold(SCORES, positive(1, 1, 0, 0, 0)) == pytest.approx(0.7)


def test_without_a_positive_nothing_is_heard() -> None:
    assert f1_threshold(SCORES, positive(0, 0, 0, 0, 0)) > 0.9


def test_equal_scores_are_heard_together() -> None:
    """The first of the two alone would be an F1 of 1, and no threshold has it."""
    assert f1_threshold(np.array([0.5, 0.5, 0.1]), positive(1, 0, 0)) == pytest.approx(0.3)


def test_a_precision_is_that_of_the_lowest_threshold_that_has_it() -> None:
    truth = positive(1, 0, 1, 1, 0)
    assert precision_threshold(SCORES, truth, 0.75) == pytest.approx(0.3)
    assert precision_threshold(SCORES, truth, 0.9) == pytest.approx(0.85)
    assert precision_threshold(SCORES, positive(0, 1, 0, 0, 0), 0.9) > 0.9


def test_the_common_threshold_counts_each_class_alike() -> None:
    """The rare class is found from 0.3 on; the frequent one loses little by it: its F1 is 8/9 there, 1 above 0.5."""
    frequent, rare = np.array([0.9, 0.8, 0.7, 0.6, 0.3, 0.1]), np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.3])
    truth = np.stack([positive(1, 1, 1, 1, 0, 0), positive(0, 0, 0, 0, 0, 1)], axis=1)
    assert common_f1_threshold(np.stack([frequent, rare], axis=1), truth) == pytest.approx(0.3)


def test_a_class_is_drawn_to_all_classes_by_how_few_positives_it_has() -> None:
    """Two positives lie half-way on the logits: from 1 and -1 at 0, which is .5."""
    own, of_all = expit(1.0), expit(-1.0)
    assert shrunk_threshold(own, of_all, 2, 2.0) == pytest.approx(0.5)
    assert shrunk_threshold(own, of_all, 0, 2.0) == pytest.approx(of_all)
    assert shrunk_threshold(own, of_all, 6, 2.0) == pytest.approx(expit(0.5))


def test_f1_of_a_class_without_a_positive_is_not_defined() -> None:
    heard, truth = np.array([[True, True], [True, False]]), np.array([[True, False], [False, False]])
    np.testing.assert_allclose(f1_per_class(heard, truth), [2 / 3, np.nan])


def test_known_thresholds_are_found() -> None:
    """Scores of which each class's windows are above a threshold of its own: all thresholds but these are wrong."""
    rng, known = np.random.default_rng(0), np.array([0.2, 0.5, 0.8])
    scores = rng.random((2_000, 3))
    found = [f1_threshold(column, column > best) for column, best in zip(scores.T, known, strict=True)]
    np.testing.assert_allclose(found, known, atol=0.002)


def macro_f1(table: Table, row: int, windows: np.ndarray, strength: float | None) -> float:
    """On the test soundscapes, by thresholds of some labelled windows; without a strength at .5."""
    truth, scores = table.targets["labelled"][windows] >= 0.5, table.predictions["labelled", "mean"][row, windows]
    test, test_truth = table.predictions["test", "mean"][row], table.targets["test"] >= 0.5
    if strength is None:
        thresholds = np.full(truth.shape[1], 0.5)
    else:
        common = common_f1_threshold(scores, truth)
        own = [f1_threshold(*columns) for columns in zip(scores.T, truth.T, strict=True)]
        n_positive = truth.sum(axis=0).tolist()
        pairs = zip(own, n_positive, strict=True)
        # Without shrinkage a class that nobody has labelled has no threshold but the common one.
        thresholds = np.array([shrunk_threshold(one, common, n, strength) if n else common for one, n in pairs])
    return float(np.nanmean(f1_per_class(test >= thresholds, test_truth)))


def test_shrunk_thresholds_are_better_on_recorded_soundscapes() -> None:
    """14 or 15 configurations of each of three data sets; thresholds of 60 labelled windows, judged on the test."""
    rng, by_set = np.random.default_rng(0), []
    for table in read_tables(RECORDED):
        n_labelled = len(table.targets["labelled"])
        draws = [(row, rng.permutation(n_labelled)[:60]) for row in range(len(table.rows)) for _ in range(2)]
        by_set.append([[macro_f1(table, *draw, strength) for draw in draws] for strength in (2.0, 0.0, None)])
    shrunk, unshrunk, half = np.array([np.mean(values, axis=1) for values in by_set]).T
    assert (shrunk > unshrunk - 0.001).all()  # where models hardly hear anything (digits_mini) they are as good
    assert shrunk.mean() > unshrunk.mean() + 0.005
    assert (shrunk > half + 0.05).all()
