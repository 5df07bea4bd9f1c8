"""Frame scores of overlapping windows become one score a frame, and target windows their best frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sed_model.scores.overlap import MemberScores, average_overlaps, best_frames, frames_heard, hearing


def scores(contexts_s: list[float], frames: list[list[float]], window_s: float) -> MemberScores:
    """One class."""
    steps = np.asarray(frames, np.float32)[:, :, None]
    unused = np.zeros((len(frames), 1), np.float32)
    return MemberScores(unused, steps, np.asarray(contexts_s, np.float64), window_s)


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
    same = MemberScores(unused, np.full((len(starts), n_steps, 2), 0.25, np.float32), starts, window_s)
    frames = average_overlaps(same, duration_s)
    assert abs(len(frames) * 0.1 - duration_s) < 0.1 + 1e-6
    np.testing.assert_allclose(frames, 0.25, rtol=1e-5)


def test_a_target_is_heard_a_target_earlier_and_later() -> None:
    """Windows of 10 s around targets of 5 s in 30.05 s: the one at 30 s would be an encoder's padding."""
    heard = hearing(np.array([0.0, 12.5, 25.0]), 5.0, 30.05, 10.0)
    assert heard.heard_s.tolist() == [0, 5, 7.5, 12.5, 17.5, 20, 25]
    assert heard.around.tolist() == [[-1, 0, 1], [2, 3, 4], [5, 6, -1]]
    assert heard.own.tolist() == [0, 3, 6]
    assert heard.shifted.tolist() == [[0, 0], [3, 3], [6, 6]]


def test_windows_as_long_as_their_targets_and_those_twice_as_far_reach_into_none() -> None:
    assert hearing(np.array([10.0]), 10.0, 60.0, 10.0).heard_s.tolist() == [10]
    assert hearing(np.array([10.0]), 5.0, 60.0, 15.0).heard_s.tolist() == [5, 10, 15]
    assert hearing(np.array([10.0]), 5.0, 60.0, 16.0).heard_s.tolist() == [0, 5, 10, 15, 20]


def test_shifted_windows_hear_too_and_end_with_the_recording() -> None:
    heard = hearing(np.array([0.0, 5.0]), 5.0, 10.0, 10.0, shift_s=2.0)
    assert heard.heard_s.tolist() == [0, 2, 3, 5, 7, 8]
    assert heard.shifted.tolist() == [[0, 1], [2, 3]]
    assert heard.around[0].tolist() == [-1, -1, -1, -1, 0, 1, 2, 3, 4]  # -7 -5 -3 -2 0 2 3 5 7


def test_a_window_that_only_touches_a_target_does_not_hear_it() -> None:
    """Contexts of 10 s around 2.5..7.5 s and 17.5..22.5 s end at 10 s and begin at 15 s: the target's ends."""
    assert hearing(np.array([10.0]), 5.0, 60.0, 10.0, shift_s=2.5).heard_s.tolist() == [5, 7.5, 10, 12.5, 15]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.floats(0.5, 20), st.floats(1, 3), st.floats(1, 120))
def test_a_target_needs_the_same_windows_whatever_else_is_asked_for(
    starts_s: list[float], target_s: float, times: float, duration_s: float
) -> None:
    together = hearing(np.array(starts_s), target_s, duration_s, target_s * times)
    for row, start_s in enumerate(starts_s):
        alone = hearing(np.array([start_s]), target_s, duration_s, target_s * times)
        needed = [together.heard_s[place] for place in together.around[row] if place >= 0]
        assert needed == alone.heard_s.tolist()
        assert together.heard_s[together.own[row]] == round(start_s, 6)


def test_a_target_is_its_best_frame_and_0_beyond_the_end() -> None:
    """Targets of 1 s, windows of 2 s in four steps; worked out frame by frame.

    From 0 s: own window 0..2 s says .1 .9 | .3 .2, the later one (0.5..2.5 s) says .5 .6 .. of 0.5 to 1.5 s. The means:
    .1 and (.9 + .5) / 2 = .7. At 5 s nothing is left of 3 s.
    """
    heard = hearing(np.array([0.0, 5.0]), 1.0, 3.0, 2.0)
    assert heard.heard_s.tolist() == [0, 1, 5]
    steps = [[0.1, 0.9, 0.3, 0.2], [0.5, 0.6, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]
    best = best_frames(heard, scores([0.0, 0.5, 1.0], steps, 2.0))
    np.testing.assert_allclose(best[:, 0], [0.7, 0], atol=1e-6)


def test_a_frame_is_heard_where_one_of_its_windows_is() -> None:
    heard = frames_heard(np.array([True, False, False]), np.array([0.0, 0.5, 1.0]), 1.0, 4, 0.5)
    assert heard.tolist() == [True, True, False, False]
