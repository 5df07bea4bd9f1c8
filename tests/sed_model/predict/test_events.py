"""Frame scores become events: hysteresis, median filter, gaps, and the table of all."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sed_model.core.errors import ConfigError
from sed_model.core.label_tracks import Event
from sed_model.predict.events import (
    EventSettings,
    EventWriter,
    event_table,
    filter_frames,
    find_events,
    find_runs,
)

PLAIN = EventSettings(high=0.5, low=0.25, median_s=0.0, min_gap_s=0.0, min_event_s=0.0)


def runs(scores: list[float], settings: EventSettings = PLAIN) -> list[tuple[int, int]]:
    return find_runs(np.asarray(scores, np.float32), 0.1, settings)


def test_an_event_reaches_high_and_goes_as_far_as_low() -> None:
    assert runs([0.1, 0.3, 0.6, 0.3, 0.1, 0.3, 0.4, 0.1, 0.5]) == [(1, 4), (8, 9)]


def test_short_pauses_are_bridged_and_short_events_left_out() -> None:
    scores = [0.9, 0.9, 0.0, 0.9, 0.0, 0.0, 0.9]
    assert runs(scores) == [(0, 2), (3, 4), (6, 7)]
    assert runs(scores, EventSettings(0.5, 0.25, 0.0, min_gap_s=0.2, min_event_s=0.0)) == [(0, 4), (6, 7)]
    assert runs(scores, EventSettings(0.5, 0.25, 0.0, min_gap_s=0.2, min_event_s=0.2)) == [(0, 4)]


def test_a_median_removes_blips_and_holes() -> None:
    frames = np.array([0, 0, 1, 0, 0, 1, 1, 0, 1, 1], np.float32)[:, None]
    assert filter_frames(frames, 3)[:, 0].tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert filter_frames(frames, 2).tolist() == filter_frames(frames, 3).tolist()
    assert filter_frames(frames, 1).tolist() == frames.tolist()


def test_events_of_all_classes_by_onset() -> None:
    frames = np.array([[0.0, 0.7], [0.6, 0.9], [0.8, 0.1], [0.0, 0.0]], np.float32)
    events = find_events(frames, 0.1, ["owl", "fox"], PLAIN)
    assert [(e.label, round(e.onset_s, 3), round(e.offset_s, 3)) for e in events] == [
        ("fox", 0, 0.2),
        ("owl", 0.1, 0.3),
    ]
    assert [e.score for e in events] == pytest.approx([0.9, 0.8])


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40), st.floats(0, 0.5), st.floats(0, 0.5))
def test_events_do_not_overlap_and_hold_every_high_frame(scores: list[float], gap_s: float, median_s: float) -> None:
    settings = EventSettings(0.5, 0.25, median_s, gap_s, 0.0)
    found = runs(scores, settings)
    assert all(first < end for first, end in found)
    assert all(before[1] < after[0] for before, after in pairwise(found))
    inside = {frame for first, end in found for frame in range(first, end)}
    assert inside >= {frame for frame, score in enumerate(scores) if score >= 0.5}


def test_silence_has_no_events() -> None:
    assert find_events(np.zeros((5, 2), np.float32), 0.1, ["a", "b"], EventSettings()) == []


def test_thresholds_out_of_order_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"low=0\.6 and high=0\.5"):
        EventSettings(high=0.5, low=0.6)


def test_frame_scores_are_written_filtered_where_they_are_asked_for(tmp_path: Path) -> None:
    frames = np.array([[0.0], [1.0], [0.0], [0.5]], np.float32)
    for asked in (False, True):
        settings = EventSettings(median_s=0.3, frame_scores=asked)
        EventWriter(tmp_path / str(asked), ["owl"], settings, (0.0, 8000.0)).add("A/S1.ogg", frames)
    (table,) = tmp_path.rglob("*.tsv")
    assert table == tmp_path / "True" / "frame_scores" / "A" / "S1.tsv"
    assert table.read_text() == "onset\toffset\towl\n0\t0.1\t0\n0.1\t0.2\t0\n0.2\t0.3\t0.5\n0.3\t0.4\t0.5\n"


def test_the_table_of_all_events_keeps_names_as_they_are() -> None:
    table = event_table([("=a,b.wav", [Event(0.1, 0.2, "=x", 0.5)]), ("empty.wav", [])])
    assert table.to_csv(index=False) == 'filename,onset_s,offset_s,label,score\n"=a,b.wav",0.1,0.2,=x,0.5\n'
