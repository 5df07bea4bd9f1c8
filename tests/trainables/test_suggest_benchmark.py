"""What compares suggested windows with random ones, on windows written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from score_suggest import WAYS, Windows, summary

TRUTH = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], np.int8)


def test_members_are_scored_on_their_windows_and_on_more() -> None:
    right = Windows(np.array([0, 0, 1, 1]), TRUTH, np.stack([TRUTH, 1 - TRUTH]).astype(float))
    assert right.macro_aucs().tolist() == [1, 0]
    wrong = Windows(right.files, TRUTH, np.stack([1 - TRUTH, TRUTH]).astype(float))
    # Of 4 x 4 pairs a class, half of each side's positives are above the negatives of the other: 4 ties of each kind.
    assert right.macro_aucs(wrong).tolist() == pytest.approx([0.5, 0.5])


def test_windows_follow_one_another_in_their_files() -> None:
    windows = Windows(np.array([7, 3, 7]), TRUTH[:3], np.zeros((1, 3, 2)))
    assert windows.as_scores().windows == (("7.ogg", 0, 5), ("3.ogg", 0, 5), ("7.ogg", 5, 10))


def test_the_difference_is_paired() -> None:
    values = np.array([[0.1, 0.2, 0.3, 0.9], [0.5, 0.6, 0.7, 0.9], [0.3, 0.4, 0.6, 0.9]])
    line = summary("set", "tau", values)
    assert [line[way] for way in WAYS] == [0.3, 0.4, 0.5333, 0.9]
    # 0.1, 0.1, 0.2: their deviation is 0.0577, over the root of 3
    assert (line["suggested - random"], line["se"]) == (0.1333, 0.0333)
