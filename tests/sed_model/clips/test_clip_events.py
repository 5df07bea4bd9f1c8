"""The events of a clip: cut to its window, as shares of it, stretched with it. Values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from sed_model.clips.clip_events import NO_EVENTS, as_shares, events_within, padded, stretched_events

EVENTS = np.array([[0, 1.0, 2.5], [1, 3.0, 3.0], [2, 4.5, 9.0], [0, 6.0, 7.0]])


def test_events_are_cut_at_the_ends_of_a_window() -> None:
    """A point at the start of a window lies in it, one at its end in the next."""
    assert events_within(EVENTS, 2.0, 5.0).tolist() == [[0, 2.0, 2.5], [1, 3.0, 3.0], [2, 4.5, 5.0]]
    assert events_within(EVENTS, 2.5, 3.0).tolist() == []
    assert events_within(EVENTS, 3.0, 4.0).tolist() == [[1, 3.0, 3.0]]
    assert events_within(NO_EVENTS, 0.0, 5.0).shape == (0, 3)


def test_seconds_become_shares_of_the_clip() -> None:
    assert as_shares(EVENTS[:2], 1.0, 4.0).tolist() == [[0, 0.0, 0.375], [1, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (1.0, [[0, 0.25, 0.5], [1, 0.75, 1.0]]),
        (2.0, [[0, 0.125, 0.25], [1, 0.375, 0.5]]),  # silence behind the end of the faster clip
        (0.8, [[0, 0.3125, 0.625], [1, 0.9375, 1.0]]),
        (0.5, [[0, 0.5, 1.0]]),  # the other one is lost
    ],
)
def test_events_move_with_a_stretched_clip(rate: float, expected: list[list[float]]) -> None:
    events = np.array([[0, 0.25, 0.5], [1, 0.75, 1.0]])
    assert stretched_events(events, rate).tolist() == expected


def test_clips_of_a_batch_have_as_many_rows() -> None:
    rows = padded(np.array([[2, 0.5, 0.75]]), 2)
    assert rows.tolist() == [[2, 0.5, 0.75], [-1, 0, 0]]
    assert rows.dtype == np.float32
    assert padded(NO_EVENTS, 0).shape == (0, 3)
