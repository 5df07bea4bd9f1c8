"""Precision and recall of pseudo-labels, counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sed_model.config.sed_config import Pseudo
from sed_model.labels import rules, worth

CLASSES = ("abethr1", "grekis")
RULES = Pseudo(keep_class=0.6, keep_window=0.7)
ROWS = np.array([[0.9, 0.65], [0.8, 0.1], [0.65, 0.2], [0.1, 0.9]], np.float32)
TRUTH = np.array([[True, False], [True, True], [True, False], [False, True]])


def table() -> pd.DataFrame:
    windows = pd.DataFrame({"filename": "S.ogg", "start_s": range(4), "end_s": range(1, 5), "disagreement": 0.0})
    return rules.label_table(windows, ROWS, CLASSES)


def test_labels_are_counted_against_the_truth() -> None:
    report = worth.quality(table(), TRUTH, CLASSES, RULES)
    # The third window (0.65) is not kept. Labels: abethr1 and grekis, abethr1, grekis; the first grekis is wrong.
    assert (report["windows"], report["kept"]) == (4, 3)
    assert (report["labels"], report["right"], report["present"]) == (4, 3, 5)
    assert (report["precision"], report["recall"]) == (pytest.approx(3 / 4), pytest.approx(3 / 5))
    assert report["by_class"]["grekis"] == {"labels": 2, "right": 1, "present": 2, "precision": 0.5, "recall": 0.5}


def test_other_thresholds_are_shown() -> None:
    rows = {row["keep_window"]: row for row in worth.quality(table(), TRUTH, CLASSES, RULES)["by_keep_window"]}
    assert [rows[at]["kept"] for at in (0.6, 0.7, 0.8, 0.9)] == [4, 3, 2, 0]
    assert rows[0.9]["precision"] is None
    assert rows[0.9]["recall"] == 0


def test_a_window_whose_members_differ_has_no_label() -> None:
    split = table().assign(disagreement=[0.4, 0.0, 0.0, 0.0])
    said = worth.labelled_classes(split, CLASSES, RULES.model_copy(update={"max_disagreement": 0.2}))
    np.testing.assert_array_equal(said, [[False, False], [True, False], [False, False], [False, True]])


def test_rules_between_the_thresholds_have_a_line_of_their_own() -> None:
    rules = RULES.model_copy(update={"keep_window": 0.05})
    rows = worth.quality(table(), TRUTH, CLASSES, rules)["by_keep_window"]

    assert [row["keep_window"] for row in rows] == [0.05, *worth.THRESHOLDS]
    assert [row["in_use"] for row in rows] == [True, *(False for _ in worth.THRESHOLDS)]


def test_the_table_for_people_has_a_line_for_each_threshold() -> None:
    lines = worth.lines(worth.quality(table(), TRUTH, CLASSES, RULES))
    assert len(lines) == 1 + len(worth.THRESHOLDS)
    assert [line.split()[0] for line in lines if line.endswith("  in use")] == [f"{RULES.keep_window:g}"]
    assert lines[-1].split() == ["0.9", "0", "0", "-", "0.00"]
