"""Calibrated probabilities of windows -> tables of what was found: by window, file, hour and site."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from sed_model.core.files import write_text
from sed_model.core.soundscape_names import recorded_at, site_or_folder
from sed_model.run_folder.decisions import (
    DECISIONS_FILE,
    DETECTION_COLUMNS,
    FOUND_COLUMNS,
    FOUND_KEYS,
    HEARD_COLUMNS,
    Decisions,
    write_decisions,
)


class PresenceWriter:
    """Collects what each soundscape holds, and writes the tables of all at the end."""

    def __init__(self, folder: Path, decisions: Decisions, target_s: float) -> None:
        """
        Args:
            target_s: length of a window.
        """
        self.decisions, self._folder, self._target_s = decisions, folder, target_s
        self._thresholds = np.array([one.threshold for one in decisions.classes])
        self._detections: list[tuple[object, ...]] = []
        self._heard: list[tuple[object, ...]] = []
        self._windows: list[tuple[object, ...]] = []

    def add(
        self,
        filename: str,
        starts_s: Float[np.ndarray, " windows"],
        probabilities: Float[np.ndarray, "windows classes"],
    ) -> None:
        """The windows of a soundscape; `filename` is from a listing."""
        site, began = site_or_folder(filename), recorded_at(filename)
        self._heard.append((filename, site, _text(began), len(starts_s), ""))
        times = [began + timedelta(seconds=float(start_s)) if began else None for start_s in starts_s]
        self._windows += [(filename, site, *_date_and_hour(time)) for time in times]
        for window, place in zip(*np.nonzero(probabilities >= self._thresholds), strict=True):
            start_s, time, of_class = float(starts_s[window]), times[window], self.decisions.classes[place]
            when = (start_s, start_s + self._target_s, site, _text(time), of_class.label)
            sure = (float(probabilities[window, place]), of_class.threshold)
            self._detections.append((filename, *when, *sure, *_date_and_hour(time)))

    def add_unreadable(self, filename: str, problem: str) -> None:
        self._heard.append((filename, site_or_folder(filename), _text(recorded_at(filename)), 0, problem))

    def finish(self) -> int:
        """Write the tables; how often a class was found in a window comes back."""
        found = _table(self._detections, [*DETECTION_COLUMNS, "date", "hour"])
        windows = _table(self._windows, ["filename", "site", "date", "hour"])
        write_decisions(self._folder / DECISIONS_FILE, self.decisions)
        tables = {"detections": found[list(DETECTION_COLUMNS)]}
        tables["heard"] = pd.DataFrame(self._heard, columns=list(HEARD_COLUMNS))
        tables |= {name: found_by(found, windows, keys) for name, keys in FOUND_KEYS.items()}
        for name, table in tables.items():
            write_text(self._folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
        return len(found)


def found_by(found: pd.DataFrame, windows: pd.DataFrame, keys: tuple[str, ...]) -> pd.DataFrame:
    """A row for each class in each place or time in which it was found; FOUND_COLUMNS behind the keys.

    What was heard and holds none of the classes has one row, without a label: nobody has to guess where nobody was.

    The probability is that of the best window: that the class is in any of them is at least as likely. What is expected
    to be wrong is the sum of what the probabilities leave to 1, which holds however much windows depend on each other.
    """
    by = list(keys)
    n_windows = windows.dropna(subset=by).groupby(by, as_index=False).size().rename(columns={"size": "n_windows"})
    rows = found.dropna(subset=by).assign(doubt=1 - found["probability"])
    of_class = rows.groupby([*by, "label"], as_index=False).agg(
        n_found=("label", "size"), probability=("probability", "max"), expected_false=("doubt", "sum")
    )
    table = n_windows.merge(of_class, on=by, how="left")
    return table.fillna({"label": "", "n_found": 0})[[*by, *FOUND_COLUMNS]]


def _table(rows: list[tuple[object, ...]], columns: list[str]) -> pd.DataFrame:
    """With types that do not depend on whether there is a row."""
    numbers = ("start_s", "end_s", "probability", "threshold")
    types: dict[str, Any] = {"hour": "Int64", **dict.fromkeys(numbers, float)}
    table = pd.DataFrame(rows, columns=columns)
    return table.astype({name: types.get(name, "str") for name in columns})


def _date_and_hour(time: datetime | None) -> tuple[str | None, int | None]:
    return (None, None) if time is None else (time.date().isoformat(), time.hour)


def _text(time: datetime | None) -> str:
    return "" if time is None else time.isoformat(sep=" ", timespec="seconds")
