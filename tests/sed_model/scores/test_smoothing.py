"""Windows and their neighbours, and silence."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sed_model.scores.smoothing import silence, smooth, smooth_files

probabilities = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=st.floats(0, 1, width=32)
)


def test_smoothing_weights_a_window_with_its_neighbours() -> None:
    rows = np.array([[0.0], [1.0], [0.5]], np.float32)
    np.testing.assert_allclose(smooth(rows, 0.8), [[0.1], [0.85], [0.6 - 0.05 + 0.0]], rtol=1e-6)


@given(probabilities, st.floats(0.01, 1))
def test_smoothing_keeps_the_range_of_each_class(rows: np.ndarray, centre: float) -> None:
    smoothed = smooth(rows, centre)
    assert smoothed.shape == rows.shape
    assert (smoothed >= rows.min(axis=0) - 1e-6).all()
    assert (smoothed <= rows.max(axis=0) + 1e-6).all()


@given(probabilities)
def test_a_centre_of_one_leaves_everything_as_it_is(rows: np.ndarray) -> None:
    np.testing.assert_array_equal(smooth(rows, 1.0), rows)


def test_files_are_smoothed_by_themselves() -> None:
    rows = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32)
    smoothed = smooth_files(rows, ["a", "a", "b", "b"], 0.8)
    np.testing.assert_allclose(smoothed, [[0.1], [0.9], [0.9], [0.1]], rtol=1e-6)


def test_silent_windows_have_no_class() -> None:
    rows = np.array([[0.9, 0.8], [0.7, 0.6]], np.float32)
    np.testing.assert_array_equal(silence(rows, np.array([True, False])), np.array([[0, 0], rows[1]], np.float32))
