"""The events of a clip: rows of a class's number, start and end.

Start and end are shares of the clip, or seconds of its soundscape. An event may be a point, whose start is its end.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from sed_model.data.recordings import DataFolder

ClipEvents = Float[np.ndarray, "_ 3"]
NO_EVENTS: ClipEvents = np.zeros((0, 3), np.float32)
PADDING = (-1.0, 0.0, 0.0)
"""A row that is no event: the clips of a batch have as many rows."""


def events_by_path(folder: DataFolder) -> dict[str, ClipEvents]:
    """The events of each soundscape that has some, in seconds."""
    if (table := folder.soundscape_events) is None:
        return {}
    numbers = table["primary_label"].map({label: number for number, label in enumerate(folder.classes)})
    rows = np.column_stack([numbers, table["start_s"], table["end_s"]])
    return {str(path): rows[places] for path, places in table.groupby("path").indices.items()}


def events_within(events: ClipEvents, start_s: float, end_s: float) -> ClipEvents:
    """What lies of the events between two times, cut there."""
    _, first, last = events.T
    inside = events[(first < end_s) & ((last > start_s) | (first >= start_s))]
    return np.concatenate([inside[:, :1], inside[:, 1:].clip(start_s, end_s)], axis=1)


def as_shares(events: ClipEvents, start_s: float, window_s: float) -> ClipEvents:
    """Events in seconds as shares of a clip that begins at `start_s`."""
    return np.concatenate([events[:, :1], (events[:, 1:] - start_s) / window_s], axis=1)


def stretched_events(events: ClipEvents, rate: float) -> ClipEvents:
    """Events as shares, once the clip plays `rate` times as fast from the same start; what a slower one loses is gone.

    They end where a faster clip does: behind it is silence (a label, see `windows.stretched`, goes on there).
    """
    times = events[:, 1:] / rate
    return np.concatenate([events[:, :1], times.clip(max=1)], axis=1)[times[:, 0] < 1]


def padded(events: ClipEvents, n_rows: int) -> Float32[np.ndarray, "{n_rows} 3"]:
    """The events and rows of `PADDING`, `n_rows` in all."""
    return np.concatenate([events, np.full((n_rows - len(events), 3), PADDING)]).astype(np.float32)
