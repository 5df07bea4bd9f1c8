from pathlib import Path

import numpy as np
import pytest

from analysis.classes import calibration_error, class_table, confusions, reliability
from sed_model.run_folder.predictions import OutOfFold


def predictions(target: list[list[float]], probabilities: list[list[float]], classes: tuple[str, ...]) -> OutOfFold:
    windows = tuple((f"f{row}.ogg", 0.0, 5.0) for row in range(len(target)))
    return OutOfFold(classes, windows, np.array(target, np.float32), np.array(probabilities, np.float32))


@pytest.fixture
def four_windows() -> OutOfFold:
    """Windows of a, b, both, and a again; class c is never there."""
    target = [[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]]
    probabilities = [[0.9, 0.2, 0.1], [0.8, 0.4, 0.1], [0.6, 0.7, 0.1], [0.3, 0.6, 0.1]]
    return predictions(target, probabilities, ("a", "b", "c"))


def test_the_worst_class_is_first_and_one_that_cannot_be_scored_last(four_windows: OutOfFold) -> None:
    table = class_table(four_windows, n_resamples=20)

    # a: 0.9, 0.6, 0.3 against 0.8 wins one of three; b: 0.4, 0.7 against 0.2, 0.6 wins three of four.
    assert table["label"].tolist() == ["a", "b", "c"]
    assert table["auc"].tolist()[:2] == pytest.approx([1 / 3, 3 / 4])
    assert np.isnan(table["auc"].iloc[2])
    assert table["n_positive"].tolist() == [3, 2, 0]


def test_the_interval_of_a_class_is_over_files(four_windows: OutOfFold) -> None:
    table = class_table(four_windows, n_resamples=200).set_index("label")

    assert table.loc["a", "low"] <= 1 / 3 <= table.loc["a", "high"]
    assert np.isnan(table.loc["c", "low"])


def test_reliability_counts_pairs_of_window_and_class() -> None:
    oof = predictions([[1, 0], [0, 0], [1, 1]], [[0.9, 0.1], [0.2, 0.1], [1.0, 0.9]], ("a", "b"))

    table = reliability(oof, n_bins=2)

    # Below a half: 0.1, 0.2, 0.1, none there. Above: 0.9, 1.0, 0.9, all there.
    assert table["n"].tolist() == [3, 3]
    assert table["mean_probability"].tolist() == pytest.approx([0.4 / 3, 2.8 / 3])
    assert table["share_present"].tolist() == [0.0, 1.0]
    assert calibration_error(table) == pytest.approx((0.4 / 3 + 0.2 / 3) / 2)


def test_confusion_looks_at_windows_of_one_class(four_windows: OutOfFold) -> None:
    table = confusions(four_windows)

    rows = {(row["present"], row["top_class"]): (row["n"], row["share"]) for row in table.to_dict("records")}
    assert rows == {("a", "a"): (1, 0.5), ("a", "b"): (1, 0.5), ("b", "a"): (1, 1.0)}


def test_no_window_of_one_class_gives_no_confusion(tmp_path: Path) -> None:
    assert confusions(predictions([[1, 1], [0, 0]], [[0.5, 0.5]] * 2, ("a", "b"))).empty
