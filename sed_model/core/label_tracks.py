"""Sound events as label tracks for Audacity and selection tables for Raven.

Times are in seconds. Labels are data: what separates columns or lines in them becomes a space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TRACK_SUFFIXES = (".labels.txt", ".selections.txt")
"""Of Audacity's and of Raven's tables."""


@dataclass(frozen=True)
class Event:
    """A class that sounds from onset to offset; `score` is its best frame."""

    onset_s: float
    offset_s: float
    label: str
    score: float


def tracks(events: Sequence[Event], band_hz: tuple[float, float]) -> dict[str, str]:
    """The tables of one soundscape, by TRACK_SUFFIXES; `band_hz` is the height of Raven's boxes."""
    return dict(zip(TRACK_SUFFIXES, (audacity_track(events), raven_table(events, *band_hz)), strict=True))


def audacity_track(events: Sequence[Event]) -> str:
    """A label track for Audacity's File > Import > Labels: onset, offset, label, separated by tabs."""
    return "".join(f"{event.onset_s:.3f}\t{event.offset_s:.3f}\t{_cell(event.label)}\n" for event in events)


def raven_table(events: Sequence[Event], f_min_hz: float, f_max_hz: float) -> str:
    """A selection table for Raven; the boxes reach over the whole band, for only time was detected."""
    header = (
        *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
        *("Label", "Score"),
    )
    rows = [
        f"{number}\tSpectrogram 1\t1\t{event.onset_s:.3f}\t{event.offset_s:.3f}\t{f_min_hz:g}\t{f_max_hz:g}\t"
        f"{_cell(event.label)}\t{event.score:.4f}"
        for number, event in enumerate(events, start=1)
    ]
    return "\n".join(["\t".join(header), *rows]) + "\n"


def _cell(label: str) -> str:
    return " ".join(label.split())
