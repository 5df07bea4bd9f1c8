"""Pseudo-label rules: values worked out by hand, and properties that hold for any table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sed_model import pseudo
from sed_model.config import Pseudo
from sed_model.errors import ConfigError

CLASSES = ("1139490", "grekis")
probabilities = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(0, 1, width=32)
)


def windows(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "filename": [f"S{row}.ogg" for row in range(n)],
            "start_s": np.arange(n) * 5.0,
            "end_s": np.arange(n) * 5.0 + 5,
            "disagreement": np.zeros(n),
        }
    )


def labelled(rows: list[list[float]]) -> pd.DataFrame:
    return pseudo.label_table(windows(len(rows)), np.array(rows, np.float32), CLASSES)


TWO_MEMBERS = np.array([[[0.2, 0.8], [0.6, 0.4]], [[0.4, 0.6], [0.9, 0.1]]], np.float32)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("mean", [[0.3, 0.7], [0.75, 0.25]]),
        ("max", [[0.4, 0.8], [0.9, 0.4]]),
        ("vote", [[0.0, 1.0], [1.0, 0.0]]),
    ],
)
def test_members_combine(method: str, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(pseudo.combine(TWO_MEMBERS, method), expected, rtol=1e-6)


def test_a_vote_is_the_share_of_members_above_a_half() -> None:
    three = np.array([[[0.5]], [[0.51]], [[0.9]]], np.float32)
    np.testing.assert_allclose(pseudo.combine(three, "vote"), [[2 / 3]], rtol=1e-6)


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"method=median.*mean, max, vote"):
        pseudo.combine(TWO_MEMBERS, "median")


def test_disagreement_is_the_spread_over_the_best_class() -> None:
    # Best classes by the mean: 1 (0.8, 0.6) and 0 (0.6, 0.9); standard deviations of two values: half their distance.
    np.testing.assert_allclose(pseudo.disagreement(TWO_MEMBERS), [0.1, 0.15], rtol=1e-5)


def test_smoothing_weights_a_window_with_its_neighbours() -> None:
    rows = np.array([[0.0], [1.0], [0.5]], np.float32)
    np.testing.assert_allclose(pseudo.smooth(rows, 0.8), [[0.1], [0.85], [0.6 - 0.05 + 0.0]], rtol=1e-6)


@given(probabilities, st.floats(0.01, 1))
def test_smoothing_keeps_the_range_of_each_class(rows: np.ndarray, centre: float) -> None:
    smoothed = pseudo.smooth(rows, centre)
    assert smoothed.shape == rows.shape
    assert (smoothed >= rows.min(axis=0) - 1e-6).all()
    assert (smoothed <= rows.max(axis=0) + 1e-6).all()


@given(probabilities)
def test_a_centre_of_one_leaves_everything_as_it_is(rows: np.ndarray) -> None:
    np.testing.assert_array_equal(pseudo.smooth(rows, 1.0), rows)


def test_silent_windows_have_no_class() -> None:
    rows = np.array([[0.9, 0.8], [0.7, 0.6]], np.float32)
    np.testing.assert_array_equal(
        pseudo.silence(rows, np.array([True, False])), np.array([[0, 0], rows[1]], np.float32)
    )


def test_the_best_class_is_the_primary_label_and_its_probability_the_weight() -> None:
    table = labelled([[0.9, 0.8], [0.1, 0.6]])
    assert table["primary_label"].tolist() == ["1139490", "grekis"]
    np.testing.assert_allclose(table["confidence"], [0.9, 0.6], rtol=1e-6)
    np.testing.assert_array_equal(table["weight"], table["confidence"])


def test_confident_windows_and_their_classes_are_kept() -> None:
    table = labelled([[0.9, 0.65], [0.1, 0.7], [0.71, 0.6], [0.2, 0.3]])
    kept = pseudo.keep_confident(table, CLASSES, Pseudo(keep_class=0.6, keep_window=0.7))
    assert kept["filename"].tolist() == ["S0.ogg", "S2.ogg"]  # 0.7 is not above 0.7
    assert kept["labels"].tolist() == [["1139490", "grekis"], ["1139490"]]  # 0.6 is not above 0.6
    np.testing.assert_allclose(np.stack(kept["probabilities"]), [[0.9, 0.65], [0.71, 0]], rtol=1e-6)


def test_a_window_whose_classes_are_all_dropped_is_not_kept_as_an_empty_one() -> None:
    kept = pseudo.keep_confident(labelled([[0.75, 0.1], [0.9, 0.1]]), CLASSES, Pseudo(keep_class=0.8, keep_window=0.7))
    assert kept["labels"].tolist() == [["1139490"]]


def test_nothing_confident_is_an_empty_table() -> None:
    kept = pseudo.keep_confident(labelled([[0.1, 0.2]]), CLASSES, Pseudo())
    assert len(kept) == 0
    assert pseudo.to_arrow(pseudo.cap_balanced(kept, 10), CLASSES, 2).num_rows == 0


def test_the_cap_takes_the_best_of_each_class_first() -> None:
    rows = [[0.99, 0], [0.98, 0], [0.97, 0], [0, 0.8], [0, 0.75]]
    kept = pseudo.cap_balanced(labelled(rows), 3)
    # Best of both classes (S0, S3), then the better of the second best ones (S1); in table order.
    assert kept["filename"].tolist() == ["S0.ogg", "S1.ogg", "S3.ogg"]


@given(probabilities.filter(lambda rows: rows.shape[1] == 2), st.integers(0, 14))
def test_the_cap_holds_and_keeps_the_order_and_the_balance(rows: np.ndarray, max_rows: int) -> None:
    table = labelled(rows.tolist())
    kept = pseudo.cap_balanced(table, max_rows)
    assert len(kept) == min(max_rows, len(table))
    numbers = [int(name[1:-4]) for name in kept["filename"]]
    assert numbers == sorted(set(numbers))
    counts = [kept["primary_label"].tolist().count(label) for label in CLASSES]
    available = [table["primary_label"].tolist().count(label) for label in CLASSES]
    for count, most in zip(counts, available, strict=True):  # a class with windows left is at most one behind any other
        assert count == most or count >= max(counts) - 1


def test_the_file_format_is_the_contract() -> None:
    kept = pseudo.keep_confident(labelled([[0.9, 0.65]]), CLASSES, Pseudo())
    table = pseudo.to_arrow(kept, CLASSES, n_members=2)
    assert {field.name: str(field.type) for field in table.schema} == {
        "filename": "string",
        "start_s": "float",
        "end_s": "float",
        "primary_label": "string",
        "confidence": "float",
        "labels": "list<item: string>",
        "probabilities": "list<item: float>",
        "n_members": "int32",
        "disagreement": "float",
        "weight": "float",
    }
    assert json.loads(table.schema.metadata[b"classes"]) == list(CLASSES)
    row = table.to_pylist()[0]
    assert (row["primary_label"], row["labels"], row["n_members"]) == ("1139490", ["1139490", "grekis"], 2)
