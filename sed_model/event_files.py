"""A folder of sound events: events.csv, and for each soundscape an Audacity label track and a Raven selection table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from sed_model.events import Event, EventSettings, audacity_track, event_table, find_events, raven_table
from sed_model.files import write_text
from sed_model.frames import FRAME_S


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
        """Find the events of a soundscape; `filename` is a plain name from a listing."""
        events = find_events(frames, FRAME_S, self._classes, self._settings)
        stem = Path(filename).stem
        write_text(self._folder / f"{stem}.labels.txt", audacity_track(events))
        write_text(self._folder / f"{stem}.selections.txt", raven_table(events, *self._band_hz))
        self._by_file.append((filename, events))

    def finish(self) -> int:
        """Write events.csv; the number of its rows."""
        table = event_table(self._by_file)
        write_text(self._folder / "events.csv", table.to_csv(index=False))
        return len(table)
