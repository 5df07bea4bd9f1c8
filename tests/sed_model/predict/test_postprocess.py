"""Post-processing of windows, by values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from sed_model.core.errors import ConfigError
from sed_model.predict.postprocess import (
    PostSettings,
    ScoreParts,
    blend,
    change_post,
    lower_low_ranked,
    postprocess,
    postprocess_files,
    read_post,
    scale_by_file,
    write_post,
)

WINDOWS = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(0, 1, width=32))
SETTINGS = st.builds(
    PostSettings,
    smoothing_centre=st.floats(0.01, 1),
    top_n=st.integers(1, 9),
    file_power=st.floats(0, 10),
    low_rank_kept=st.integers(0, 9),
    low_rank_power=st.floats(1, 10),
)


def column(*values: float) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None]


def test_a_window_is_scaled_by_the_best_windows_of_its_soundscape() -> None:
    # The mean of the two best is 0.5.
    scaled = scale_by_file(column(0.2, 0.8, 0.1), top_n=2, power=1.0)
    np.testing.assert_allclose(scaled, column(0.1, 0.4, 0.05), rtol=1e-6)
    np.testing.assert_allclose(scale_by_file(column(0.2, 0.64), 1, 0.5), column(0.16, 0.512), rtol=1e-6)


def test_more_windows_than_there_are_is_all_of_them() -> None:
    np.testing.assert_allclose(scale_by_file(column(0.2, 0.6), top_n=9, power=1.0), column(0.08, 0.24), rtol=1e-6)


def test_low_ranked_classes_are_lowered() -> None:
    # By their best windows the classes rank 1, 0, 2.
    rows = np.array([[0.5, 0.1, 0.2], [0.1, 0.9, 0.3]], np.float32)
    np.testing.assert_allclose(lower_low_ranked(rows, 2, 2.0), [[0.5, 0.1, 0.04], [0.1, 0.9, 0.09]], rtol=1e-6)
    np.testing.assert_allclose(lower_low_ranked(rows, 0, 2.0), rows**2, rtol=1e-6)


def test_classes_rank_by_their_best_window_not_by_their_mean() -> None:
    """Best windows 0.9 and 0.6; means 0.5 and 0.6."""
    rows = np.array([[0.9, 0.6], [0.1, 0.6]], np.float32)
    np.testing.assert_allclose(lower_low_ranked(rows, 1, 2.0), [[0.9, 0.36], [0.1, 0.36]], rtol=1e-6)


def test_at_equal_scores_the_first_class_stays() -> None:
    np.testing.assert_allclose(lower_low_ranked(np.full((1, 3), 0.5, np.float32), 1, 2.0), [[0.5, 0.25, 0.25]])


def test_parts_are_mixed_by_their_shares() -> None:
    clip, shifted, best = (np.full((2, 2, 1), value, np.float32) for value in (0.2, 0.4, 0.9))
    parts = ScoreParts(clip, shifted, best, np.array([[False, True], [False, False]]), np.array([0.0, 0.1]))
    # (0.75 * 0.2 + 0.25 * 0.4) * 0.5 + 0.9 * 0.5, and a window that is silent for the first member
    mixed = blend(parts, PostSettings(tta_weight=0.25, frame_weight=0.5))
    np.testing.assert_allclose(mixed[:, :, 0], [[0.575, 0], [0.575, 0.575]], rtol=1e-6)
    # Without a weight each member has its own: 0.2, and 0.9 * 0.2 + 0.1 * 0.9.
    np.testing.assert_allclose(blend(parts, PostSettings())[:, 0, 0], [0.2, 0.27], rtol=1e-6)
    assert parts.silent_for_all.tolist() == [False, False]


def test_steps_follow_each_other() -> None:
    # Smoothed: 0.5 * (0.2, 0.6) + 0.5 * (0.4, 0.4) = (0.3, 0.5); times 0.5; the only class is no low one.
    settings = PostSettings(smoothing_centre=0.5, file_power=1.0, low_rank_kept=1, low_rank_power=2.0)
    np.testing.assert_allclose(postprocess(column(0.2, 0.6), settings), column(0.15, 0.25), rtol=1e-5)


@given(WINDOWS, SETTINGS)
def test_probabilities_stay_probabilities(windows: np.ndarray, settings: PostSettings) -> None:
    result = postprocess(windows, settings)
    assert result.shape == windows.shape
    assert (result >= 0).all()
    assert (result <= 1 + 1e-6).all()


@given(WINDOWS)
def test_the_default_changes_nothing(windows: np.ndarray) -> None:
    np.testing.assert_allclose(postprocess(windows, PostSettings()), windows, rtol=1e-6)


@given(WINDOWS, WINDOWS, SETTINGS)
def test_soundscapes_do_not_touch_each_other(first: np.ndarray, second: np.ndarray, settings: PostSettings) -> None:
    n_classes = min(first.shape[1], second.shape[1])
    first, second = first[:, :n_classes], second[:, :n_classes]
    both = postprocess_files(np.concatenate([first, second]), [len(first), len(second)], settings)
    alone = np.concatenate([postprocess(first, settings), postprocess(second, settings)])
    np.testing.assert_allclose(both, alone, rtol=1e-4, atol=1e-7)


def test_a_file_of_settings_comes_back(tmp_path: Path) -> None:
    settings = PostSettings(tta_weight=0.3, top_n=3, file_power=0.5)
    write_post(tmp_path / "post.json", settings)
    assert read_post(tmp_path / "post.json") == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid JSON"),
        (json.dumps({"top_k": 3, "file_power": -1}), r"file_power=-1: .*greater.*\n.*top_k=3: Extra"),
        ('{"tta_weight": NaN}', "finite"),
        ("[]", "file="),
        ('"é"', "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "post.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=message):
        read_post(path)


def test_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"smoothing_centre=1\.5"):
        change_post(PostSettings(), {"smoothing_centre": 1.5})
