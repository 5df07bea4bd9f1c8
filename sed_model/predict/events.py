"""Frame scores -> sound events with onset and offset -> events.csv, Audacity label tracks and Raven selection tables.

Frame scores themselves are written as sed_scores_eval reads them, from which PSDS is computed, too (analysis.score).
Times are in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Float32
from scipy.ndimage import median_filter

from sed_model.core.errors import ConfigError, DataError
from sed_model.core.files import write_text
from sed_model.core.label_tracks import TRACK_SUFFIXES, Event, tracks
from sed_model.core.paths import LONGEST_NAME
from sed_model.scores.overlap import FRAME_S

FRAME_SCORES = "frame_scores"
"""Folder of the tables of frame scores, in that of the events."""


@dataclass(frozen=True)
class EventSettings:
    """When a class sounds: hysteresis thresholds on median-filtered frame scores.

    Attributes:
        high: an event has at least one frame that scores this much.
        low: it reaches as far as the frames around that one score this much.
        median_s: length of the median filter, which removes blips and holes of up to half of it; 0: none.
        min_gap_s: shorter pauses between two events of a class join them.
        min_event_s: shorter events are left out.
        frame_scores: write the filtered scores, too.
    """

    high: float = 0.5
    low: float = 0.25
    median_s: float = 0.5
    min_gap_s: float = 0.5
    min_event_s: float = 0.2
    frame_scores: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.low <= self.high <= 1:
            raise ConfigError(
                f"event thresholds low={self.low:g} and high={self.high:g}: need 0 <= low <= high <= 1; change one."
            )


def find_events(
    frames: Float[np.ndarray, "frames classes"], frame_s: float, classes: Sequence[str], settings: EventSettings
) -> list[Event]:
    """The events of all classes, in the order of their onsets."""
    smooth = filter_frames(frames, round(settings.median_s / frame_s))
    events = [
        Event(first * frame_s, end * frame_s, label, float(smooth[first:end, index].max()))
        for index, label in enumerate(classes)
        for first, end in find_runs(smooth[:, index], frame_s, settings)
    ]
    return sorted(events, key=lambda event: (event.onset_s, event.label))


def filter_frames(frames: Float[np.ndarray, "frames classes"], length: int) -> Float32[np.ndarray, "frames classes"]:
    """The median of `length` frames around each (the next odd number); the ends are repeated."""
    if length < 2:
        return frames.astype(np.float32)
    return median_filter(frames.astype(np.float32), size=(length + 1 - length % 2, 1), mode="nearest")


def find_runs(scores: Float[np.ndarray, " frames"], frame_s: float, settings: EventSettings) -> list[tuple[int, int]]:
    """First frame and end (exclusive) of each event of one class: runs above `low` that reach `high`, then joined."""
    runs = [(first, end) for first, end in _runs(scores >= settings.low) if scores[first:end].max() >= settings.high]
    joined: list[tuple[int, int]] = []
    for first, end in runs:
        # Frames are counted, so that 0.1 s + 0.2 s is not more than 0.3 s.
        if joined and first - joined[-1][1] < round(settings.min_gap_s / frame_s):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((first, end))
    return [(first, end) for first, end in joined if end - first >= round(settings.min_event_s / frame_s)]


def _runs(inside: Bool[np.ndarray, " frames"]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in list(pairwise(edges))[::2]]


def event_table(by_file: Sequence[tuple[str, Sequence[Event]]]) -> pd.DataFrame:
    """filename, onset_s, offset_s, label, score: a row an event."""
    rows = [
        (name, round(event.onset_s, 3), round(event.offset_s, 3), event.label, round(event.score, 6))
        for name, events in by_file
        for event in events
    ]
    return pd.DataFrame(rows, columns=["filename", "onset_s", "offset_s", "label", "score"])


def frame_table(frames: Float[np.ndarray, "frames classes"], frame_s: float, classes: Sequence[str]) -> str:
    """onset, offset and a column of scores for each class, with tabs: a row a frame."""
    table = pd.DataFrame(frames, columns=list(classes))
    edges_s = np.round(np.arange(len(frames) + 1) * frame_s, 6)
    table.insert(0, "onset", edges_s[:-1], allow_duplicates=True)
    table.insert(1, "offset", edges_s[1:], allow_duplicates=True)
    return table.to_csv(sep="\t", index=False, float_format="%.6g")


def check_stems(stems: Sequence[str], folder: Path) -> None:
    """
    Raises:
        DataError: the tables of a soundscape would have a name that no file can have.
    """
    room = LONGEST_NAME - max(map(len, TRACK_SUFFIXES))
    long = [stem for stem in stems if len(os.fsencode(Path(stem).name)) > room]
    if long:
        raise DataError(
            f"--events {folder}: {len(long)} soundscapes have names of more than {room} bytes, to which "
            f"{TRACK_SUFFIXES[1]} is added; rename {long[0][:40]}..., or leave out --events."
        )


class EventWriter:
    """Writes each soundscape's tables as it comes, and events.csv of all at the end."""

    def __init__(
        self, folder: Path, classes: Sequence[str], settings: EventSettings, band_hz: tuple[float, float]
    ) -> None:
        """
        Args:
            band_hz: what the models hear; the height of Raven's boxes, for only time is detected.
        """
        self._folder, self._classes, self._settings, self._band_hz = folder, classes, settings, band_hz
        self._by_file: list[tuple[str, list[Event]]] = []

    def add(self, filename: str, frames: Float[np.ndarray, "frames classes"]) -> None:
        """Find the events of a soundscape; `filename` is from a listing, and its folders are kept."""
        events = find_events(frames, FRAME_S, self._classes, self._settings)
        stem = Path(filename).parent / Path(filename).stem
        for suffix, text in tracks(events, self._band_hz).items():
            write_text(self._folder / f"{stem}{suffix}", text)
        if self._settings.frame_scores:
            smooth = filter_frames(frames, round(self._settings.median_s / FRAME_S))
            write_text(self._folder / FRAME_SCORES / f"{stem}.tsv", frame_table(smooth, FRAME_S, self._classes))
        self._by_file.append((filename, events))

    def finish(self) -> int:
        """Write events.csv; the number of its rows."""
        table = event_table(self._by_file)
        write_text(self._folder / "events.csv", table.to_csv(index=False))
        return len(table)
