"""Frame scores of overlapping windows become one score a frame, and target windows their best frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sed_model.frames import average_overlaps, frames_heard, pool_targets
from sed_model.predict import MemberScores


def scores(contexts_s: list[float], frames: list[list[float]], window_s: float) -> MemberScores:
    """One class."""
    steps = np.asarray(frames, np.float32)[:, :, None]
    unused = np.zeros((len(frames), 1), np.float32)
    return MemberScores(unused, unused, steps, np.asarray(contexts_s, np.float64), window_s)


def test_a_frame_is_the_mean_of_the_windows_that_see_it() -> None:
    # Windows of 2 s in two steps, from 0 s and from 1 s, in a soundscape of 3 s; frames of 0.5 s.
    frames = average_overlaps(scores([0, 1], [[0.2, 0.4], [0.8, 1.0]], 2.0), 3.0, 0.5)
    np.testing.assert_allclose(frames[:, 0], [0.2, 0.2, 0.6, 0.6, 1.0, 1.0], atol=1e-6)


def test_frames_end_with_the_soundscape_and_gaps_are_0() -> None:
    # A window of 2 s over a soundscape of 1.2 s (it was repeated); then two windows with a second between them.
    np.testing.assert_allclose(average_overlaps(scores([0], [[0.2, 0.4]], 2.0), 1.2, 0.5)[:, 0], [0.2, 0.2, 0.4])
    frames = average_overlaps(scores([0, 2], [[0.5], [0.7]], 1.0), 3.0, 1.0)
    np.testing.assert_allclose(frames[:, 0], [0.5, 0, 0.7], atol=1e-6)


@given(st.floats(0.05, 30), st.floats(0.3, 5), st.integers(1, 9), st.floats(0.1, 1))
def test_equal_scores_stay_what_they_are(duration_s: float, window_s: float, n_steps: int, overlap: float) -> None:
    starts = np.arange(0, max(duration_s - window_s, 0) + window_s * overlap, window_s * overlap)
    unused = np.zeros((len(starts), 2), np.float32)
    same = MemberScores(unused, unused, np.full((len(starts), n_steps, 2), 0.25, np.float32), starts, window_s)
    frames = average_overlaps(same, duration_s)
    assert abs(len(frames) * 0.1 - duration_s) < 0.1 + 1e-6
    np.testing.assert_allclose(frames, 0.25, rtol=1e-5)


def test_a_target_is_its_best_frame_and_0_beyond_the_end() -> None:
    frames = np.array([[0.1], [0.9], [0.3], [0.2]], np.float32)
    pooled = pool_targets(frames, np.array([0.0, 1.0, 2.0]), 1.0, 0.5)
    np.testing.assert_allclose(pooled[:, 0], [0.9, 0.3, 0])


def test_a_frame_is_heard_where_one_of_its_windows_is() -> None:
    heard = frames_heard(np.array([True, False, False]), np.array([0.0, 0.5, 1.0]), 1.0, 4, 0.5)
    assert heard.tolist() == [True, True, False, False]
