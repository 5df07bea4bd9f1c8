"""The metrics of papers, worked out by hand, against scikit-learn, and under what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from analysis.paper_metrics import Bootstrap, class_metrics, metric_table, resample, site_metrics
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import OutOfFold
from sed_model.run_folder.resampling import weighted_class_aps
from tests.hostile import drawn

FEW = Bootstrap(n_resamples=20)


def scored(targets: object, scores: object, files: str | None = None) -> OutOfFold:
    """Windows of classes a, b, ..; one letter of `files` names the file of each window."""
    true, values = np.array(targets, np.float32), np.array(scores, np.float64)
    names = files or "x" * len(true)
    classes = tuple("abcdefgh"[: true.shape[1]])
    return OutOfFold(classes, tuple((name, math.nan, 5.0 * row) for row, name in enumerate(names)), true, values)


def values(windows: OutOfFold, bootstrap: Bootstrap = FEW) -> dict[str, float]:
    table = metric_table(windows, resample(windows, bootstrap))
    return dict(zip(table["metric"], table["value"], strict=True))


def test_average_precision_is_the_mean_precision_at_the_positives() -> None:
    """Positives are first and third: 1/1 and 2/3."""
    found = values(scored([[1], [0], [1], [0]], [[0.9], [0.8], [0.7], [0.1]]))
    assert found["cmap"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["macro_auc"] == pytest.approx(3 / 4)


def test_ties_are_taken_together() -> None:
    """The positive ties with a negative: one of two is right, whatever their order."""
    for targets in ([[1], [0], [0]], [[0], [1], [0]]):
        assert values(scored(targets, [[0.5], [0.5], [0.1]]))["cmap"] == pytest.approx(1 / 2)


def test_padding_adds_five_windows_that_are_right_and_first() -> None:
    """Class a: positives at ranks 1 to 5 and 7, 5 x 1 and 6/7. Class b is in no window: its padding alone, 1."""
    found = values(scored([[0, 0], [1, 0]], [[0.9, 0.1], [0.8, 0.2]]))
    assert found["padded_cmap"] == pytest.approx(((5 + 6 / 7) / 6 + 1) / 2)
    assert found["cmap"] == pytest.approx(1 / 2)


def test_padding_needs_scores_within_0_and_1() -> None:
    assert math.isnan(values(scored([[0], [1]], [[0.9], [1.8]]))["padded_cmap"])


def test_classes_in_fewer_than_five_windows_do_not_count_for_cmap5() -> None:
    targets = [[1, 0]] * 5 + [[0, 1]] * 4
    scores = [[0.9, 0.8]] * 5 + [[0.1, 0.2]] * 4
    found = values(scored(targets, scores))
    assert found["cmap5"] == pytest.approx(1.0)
    assert found["cmap"] == pytest.approx((1 + 4 / 9) / 2)


def test_top_1_is_of_windows_with_a_call_and_ties_count_in_part() -> None:
    """Right, wrong, half right; the window without a call does not count."""
    targets = [[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    scores = [[0.1, 0.9, 0.2], [0.1, 0.9, 0.2], [0.3, 0.3, 0.2], [0.9, 0.1, 0.1]]
    assert values(scored(targets, scores))["top1"] == pytest.approx((1 + 0 + 0.5) / 3)


def test_without_a_call_no_metric_but_the_padded_one_is_defined() -> None:
    found = values(scored([[0, 0], [0, 0]], [[0.1, 0.2], [0.3, 0.4]]))
    assert {name for name, value in found.items() if math.isnan(value)} == {"macro_auc", "cmap", "cmap5", "top1"}


def test_intervals_are_of_files_seeded_and_hold_the_value() -> None:
    rng = np.random.default_rng(0)
    targets = rng.random((60, 2)) < 0.4
    windows = scored(targets, np.clip(targets * 0.3 + rng.random((60, 2)) * 0.7, 0, 1), "abcdefghij" * 6)
    first, again, other = (metric_table(windows, resample(windows, Bootstrap(seed))) for seed in (0, 0, 1))
    assert first.equals(again)
    assert not first["low"].equals(other["low"])
    assert (first["low"] < first["value"]).all()
    assert (first["value"] < first["high"]).all()


def test_one_file_has_no_interval() -> None:
    windows = scored([[1], [0], [1]], [[0.9], [0.8], [0.7]])
    assert metric_table(windows, resample(windows, FEW))[["low", "high"]].isna().all(axis=None)


def test_classes_come_by_average_precision_with_those_of_no_window_last() -> None:
    windows = scored([[1, 0, 0], [0, 0, 1], [0, 0, 1]], [[0.9, 0, 0.9], [0.1, 0, 0.5], [0.2, 0, 0.4]], "xxy")
    table = class_metrics(windows, resample(windows, FEW))
    assert table["label"].tolist() == ["c", "a", "b"]
    assert table["n_windows"].tolist() == [2, 1, 0]
    assert table["n_files"].tolist() == [2, 1, 0]
    assert table["ap"].tolist()[:2] == pytest.approx([(1 / 2 + 2 / 3) / 2, 1.0])
    assert table["auc"].tolist()[:2] == pytest.approx([0.0, 1.0])
    assert table[["ap", "auc"]].iloc[2].isna().all()


def test_sites_are_scored_apart_and_windows_of_none_left_out() -> None:
    targets, scores = [[1], [0], [1], [0], [1]], [[0.9], [0.1], [0.1], [0.9], [0.5]]
    table = site_metrics(scored(targets, scores, "abcde"), ["A", "A", "B", "B", ""], FEW)
    assert table[["site", "n_windows", "n_files"]].to_numpy().tolist() == [["A", 2, 2], ["B", 2, 2]]
    assert table["macro_auc"].tolist() == [1.0, 0.0]


WINDOWS = st.integers(2, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=n, max_size=n),
        st.lists(st.lists(st.integers(0, 6).map(lambda v: v / 7), min_size=2, max_size=2), min_size=n, max_size=n),
        st.permutations(range(n)),
    )
)


@drawn
@given(drawn_windows=WINDOWS)
def test_average_precision_and_auc_are_those_of_scikit_learn_and_of_the_search(drawn_windows: tuple) -> None:
    targets, scores = (np.array(part, np.float64) for part in drawn_windows[:2])
    aps = weighted_class_aps(targets, scores, np.ones((1, len(targets))))[0]
    for column in range(2):
        if targets[:, column].any():
            assert aps[column] == pytest.approx(average_precision_score(targets[:, column], scores[:, column]))
        else:
            assert np.isnan(aps[column])
    found = values(scored(targets, scores))["macro_auc"]
    assert math.isnan(found) or found == pytest.approx(macro_auc(targets, scores))


@drawn
@given(drawn_windows=WINDOWS)
def test_a_weight_of_two_is_a_window_twice(drawn_windows: tuple) -> None:
    targets, scores = (np.array(part, np.float64) for part in drawn_windows[:2])
    weights = np.arange(len(targets)) % 3
    weighted = weighted_class_aps(targets, scores, weights[None])[0]
    repeated = weighted_class_aps(targets.repeat(weights, 0), scores.repeat(weights, 0), np.ones((1, weights.sum())))[0]
    assert weighted == pytest.approx(repeated, nan_ok=True)


@drawn
@given(drawn_windows=WINDOWS)
def test_an_increasing_scale_and_the_order_of_rows_change_nothing(drawn_windows: tuple) -> None:
    targets, scores, order = np.array(drawn_windows[0]), np.array(drawn_windows[1]), list(drawn_windows[2])
    expected = values(scored(targets, scores))
    assert values(scored(targets, scores**3)) == pytest.approx(expected, nan_ok=True)
    assert values(scored(targets[order], scores[order])) == pytest.approx(expected, nan_ok=True)
    assert values(scored(targets[:, ::-1], scores[:, ::-1])) == pytest.approx(expected, nan_ok=True)
