"""A folder of sound events: events.csv, and for each soundscape an Audacity label track and a Raven selection table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sed_model.core.errors import DataError
from sed_model.core.files import write_text
from sed_model.core.paths import LONGEST_NAME
from sed_model.predict.events import Event, EventSettings, audacity_track, event_table, find_events, raven_table
from sed_model.scores.frames import FRAME_S

SUFFIXES = (".labels.txt", ".selections.txt")
"""Of Audacity's and of Raven's tables."""


def check_stems(stems: Sequence[str], folder: Path) -> None:
    """
    Raises:
        DataError: the tables of a soundscape would have a name that no file can have.
    """
    room = LONGEST_NAME - max(map(len, SUFFIXES))
    long = [stem for stem in stems if len(os.fsencode(Path(stem).name)) > room]
    if long:
        raise DataError(
            f"--events {folder}: {len(long)} soundscapes have names of more than {room} bytes, to which "
            f"{SUFFIXES[1]} is added; rename {long[0][:40]}..., or leave out --events."
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
        for suffix, text in zip(SUFFIXES, (audacity_track(events), raven_table(events, *self._band_hz)), strict=True):
            write_text(self._folder / f"{stem}{suffix}", text)
        self._by_file.append((filename, events))

    def finish(self) -> int:
        """Write events.csv; the number of its rows."""
        table = event_table(self._by_file)
        write_text(self._folder / "events.csv", table.to_csv(index=False))
        return len(table)
