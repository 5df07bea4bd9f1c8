"""Which windows are suggested, with numbers worked out by hand: members that say 0 and 1 differ by a whole bit."""

from pathlib import Path

import numpy as np
import pytest

from analysis.suggestions import information_bits, suggest_windows
from sed_model.run_folder.member_scores import MemberScores

CERTAIN, DIFFER = (0.0, 0.0), (0.0, 1.0)
MANY = np.array([1e9, 1e9])
"""Labelled windows of each class: so many that one more changes nothing."""


def scores(*windows: tuple[str, float, tuple[float, float], tuple[float, float]]) -> MemberScores:
    """Windows of 5 s: file, start, and what both members say of class a and of class b."""
    said = np.array([(of_a, of_b) for _, _, of_a, of_b in windows], np.float32)  # windows, classes, members
    named = tuple((name, float(start_s), start_s + 5.0) for name, start_s, _, _ in windows)
    return MemberScores(("a", "b"), Path("scapes"), named, np.ones(len(windows), np.float32), said.transpose(2, 0, 1))


def order(given: MemberScores, n_labelled: np.ndarray = MANY, count: int = 9) -> list[int]:
    return suggest_windows(given, n_labelled, count)["row"].tolist()


def test_a_bit_is_what_members_differ_by_and_none_where_they_are_unsure_alike() -> None:
    said = np.array([[[0.0, 0.5, 0.1]], [[1.0, 0.5, 0.9]]])
    # 1 - H(0.1): 1 + 0.1 * log2(0.1) + 0.9 * log2(0.9)
    assert information_bits(said)[0] == pytest.approx([1, 0, 0.531], abs=1e-3)


def test_one_member_is_asked_where_it_is_unsure() -> None:
    assert information_bits(np.array([[[0.5, 0.0, 0.25]]]))[0] == pytest.approx([1, 0, 0.8113], abs=1e-4)


def test_a_class_with_few_labels_comes_first() -> None:
    given = scores(("f.ogg", 0, DIFFER, CERTAIN), ("g.ogg", 0, CERTAIN, DIFFER))
    found = suggest_windows(given, np.array([3, 0]), 2)
    assert found["row"].tolist() == [1, 0]
    assert found["worth"].tolist() == pytest.approx([1, 1 / 4])


def test_what_a_taken_window_probably_holds_counts_as_labelled() -> None:
    # The first holds a by half: then a weighs 1 / 1.5.
    given = scores(("f.ogg", 0, DIFFER, CERTAIN), ("g.ogg", 0, DIFFER, CERTAIN))
    assert suggest_windows(given, np.array([0, 0]), 2)["worth"].tolist() == pytest.approx([1, 1 / 1.5])


def test_a_second_window_of_a_file_counts_half() -> None:
    half = (0.1, 0.9)  # 0.531 bits, more than the half of a bit
    assert order(scores(("f.ogg", 0, DIFFER, CERTAIN), ("f.ogg", 5, DIFFER, CERTAIN), ("g.ogg", 0, half, CERTAIN))) == [
        0,
        2,
        1,
    ]


def test_a_second_file_of_a_site_counts_half() -> None:
    half = (0.1, 0.9)
    given = scores(
        ("H01_20230420_000000.ogg", 0, DIFFER, CERTAIN),
        ("H01_20230421_000000.ogg", 0, DIFFER, CERTAIN),
        ("H02_20230420_000000.ogg", 0, half, CERTAIN),
    )
    found = suggest_windows(given, MANY, 3)
    assert found["row"].tolist() == [0, 2, 1]
    assert found["site"].tolist() == ["H01", "H02", "H01"]


def test_windows_off_the_grid_of_labels_and_silent_ones_are_none() -> None:
    given = scores(("f.ogg", 2.5, DIFFER, DIFFER), ("f.ogg", 5, CERTAIN, DIFFER), ("f.ogg", 10, DIFFER, DIFFER))
    given.rms[2] = 0
    assert order(given) == [1]


def test_no_more_windows_than_asked_for() -> None:
    assert order(scores(*((f"{n}.ogg", 0, DIFFER, CERTAIN) for n in range(5))), count=2) == [0, 1]
