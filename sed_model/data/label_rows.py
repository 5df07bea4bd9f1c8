"""Tables of labelled soundscapes with the labels in cells: one row per window (or a label), as in 2021 and 2026."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from sed_model.audio.audio_files import AudioListing
from sed_model.audio.decoding import duration_s
from sed_model.core.texts import fold, nearest
from sed_model.data.label_cells import split_labels
from sed_model.data.layouts import LabelForm
from sed_model.data.near_names import LabelFinder
from sed_model.data.tables import Notes, Problems, read_text_table

COLUMNS: dict[LabelForm, tuple[str, ...]] = {
    "spans": ("filename", "start", "end", "primary_label"),
    "birds": ("row_id", "birds", "seconds"),
}
SEPARATORS: dict[LabelForm, str] = {"spans": ";|", "birds": " ;"}
EDGE_TOLERANCE_S = 0.1
"""A window that lacks less of its end than this is a whole one (encoders cut a little)."""
LONGEST_S = 86_400.0
"""Of a soundscape; a damaged header may announce centuries, and a table name them."""
Window = tuple[str, int]
"""Path of a soundscape, and the number of the window in it."""


class LabelledFiles:
    """The soundscapes that a table may label, and the windows in them."""

    def __init__(self, listing: AudioListing, classes: Sequence[str], target_s: float) -> None:
        self.name, self.classes, self.target_s = listing.name, tuple(classes), target_s
        self.paths = tuple(sorted(path for path in listing.sizes if path.count("/") == 1))
        self.labels = LabelFinder(classes)
        self._by_name: dict[str, list[str]] = {}
        for path in self.paths:
            name = PurePosixPath(path)
            for key in {fold(name.name), fold(name.stem)}:
                self._by_name.setdefault(key, []).append(path)

    def named(self, name: str, notes: Notes) -> str | None:
        """The file of a name with or without its suffix; other capitals and Unicode forms are noted."""
        hits = self._by_name.get(fold(name), [])
        if len(hits) != 1:
            exact = f"{self.name}/{name}"
            return exact if exact in hits else None
        path = PurePosixPath(hits[0])
        notes.count(
            "rows that name a soundscape in another spelling than its file", int(name not in (path.name, path.stem))
        )
        return hits[0]

    def near(self, name: str) -> str:
        """What lies nearest to the name of no file."""
        return nearest(name, [PurePosixPath(path).name for path in self.paths])

    def beginning_with(self, start: str) -> str | None:
        """The file whose stem is `start`, or goes on with an underscore after it (a date, in 2021)."""
        stems = [PurePosixPath(path).stem for path in self.paths]
        hits = [path for path, stem in zip(self.paths, stems, strict=True) if f"{stem}_".startswith(f"{start}_")]
        return hits[0] if len(hits) == 1 else None


@dataclass
class _Cells:
    """What has been read of a table."""

    files: LabelledFiles
    name: str
    problems: Problems = field(default_factory=Problems)
    notes: Notes = field(default_factory=Notes)
    windows: dict[Window, set[str]] = field(default_factory=dict)
    seen: set[tuple[str, ...]] = field(default_factory=set)

    def add(self, window: Window, labels: Sequence[str], line: object) -> None:
        held = self.windows.setdefault(window, set())
        for text in labels:
            label, way = self.files.labels.find(text)
            if label not in self.files.labels:
                self.problems.add(
                    "labels that are no class",
                    f"line {line}: {text!r}; add it to taxonomy.csv, or mend it{nearest(text, self.files.classes)}",
                )
            self.notes.count(way, int(bool(way)))
            held.add(label)


def read_label_cells(csv: Path, form: LabelForm, files: LabelledFiles, notes: Notes | None) -> pd.DataFrame:
    """The labelled windows, as `soundscape_labels.read_soundscape_labels` gives them.

    `spans`: `start` and `end` are hh:mm:ss or seconds, `primary_label` is `a;b`; a window with several rows has the
    labels of all; windows of a labelled soundscape that have no row hold no call. `birds`: the windows of the rows.

    Raises:
        DataError: one report of all problems.
    """
    table = read_text_table(csv, COLUMNS[form], notes)
    cells = _Cells(files, csv.name, notes=Notes() if notes is None else notes)
    if table.empty:
        cells.problems.add("no rows", "the table has no rows; label a soundscape or remove the file")
    repeated = table.duplicated(list(COLUMNS[form]))
    cells.notes.count(f"repeated rows of {csv.name}, counted once", int(repeated.sum()))
    for line, *values in table.loc[~repeated, list(COLUMNS[form])].itertuples():
        window = _window_of(form, values, cells, line)
        if window is not None:
            text = values[3] if form == "spans" else values[1]
            cells.add(window, split_labels(text, files.labels, SEPARATORS[form]), line)
    cells.problems.raise_if_any(csv)
    if form == "spans":
        _add_windows_without_rows(cells, csv.parent)
    return window_table(cells.windows, files)


def _window_of(form: LabelForm, values: Sequence[str], cells: _Cells, line: object) -> Window | None:
    """The window of a row, or None with what is wrong added to the problems."""
    if form == "spans":
        name, start, end = values[:3]
        name = PurePosixPath(name.replace("\\", "/")).name
        path, start_s, end_s = cells.files.named(name, cells.notes), seconds_of(start), seconds_of(end)
    else:
        name, end = values[0], values[2]
        path, end_s = cells.files.beginning_with(name.rpartition("_")[0]), seconds_of(end)
        start_s = end_s - cells.files.target_s
    if path is None:
        cells.problems.add(
            "missing soundscapes",
            f"line {line}: {name} is no file of {cells.files.name}; add it or remove the row{cells.files.near(name)}",
        )
    if math.isnan(start_s) or math.isnan(end_s):
        cells.problems.add(
            "times that do not parse", f"line {line}: write {', '.join(values[1:3])} as hh:mm:ss or seconds"
        )
        return None
    number = round(start_s / cells.files.target_s)
    off_s = max(abs(start_s - number * cells.files.target_s), abs(end_s - start_s - cells.files.target_s))
    if off_s > 1e-6 or number < 0:
        cells.problems.add(
            "windows off the grid",
            f"line {line}: {start_s:g} to {end_s:g} s is no window of data.target_s={cells.files.target_s:g} s that "
            "begins at a multiple of it; mend either",
        )
    return None if path is None or off_s > 1e-6 or number < 0 else (path, number)


def seconds_of(text: str) -> float:
    """`"00:01:05"`, `"1:05"`, `"65"` or `"65.0"` -> 65.0; NaN for what is no time."""
    parts = text.split(":")
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return math.nan
    good = len(parts) <= 3 and all(0 <= value <= LONGEST_S for value in values) and all(v < 60 for v in values[1:])
    return sum(value * 60**power for power, value in enumerate(reversed(values))) if good else math.nan


def _add_windows_without_rows(cells: _Cells, root: Path) -> None:
    """The windows that the labelled soundscapes hold whole and the table does not name: nothing calls in them."""
    n_added = 0
    for path in sorted({path for path, _ in cells.windows}):
        length_s = min(duration_s(root / path), LONGEST_S)
        for number in range(int((length_s + EDGE_TOLERANCE_S) // cells.files.target_s)):
            n_added += (path, number) not in cells.windows
            cells.windows.setdefault((path, number), set())
    cells.notes.count(
        f"windows of labelled soundscapes without a row in {cells.name}, taken as without a call", n_added
    )


def window_table(windows: Mapping[Window, Set[str]], files: LabelledFiles) -> pd.DataFrame:
    """path, start_s, end_s, and a column of 0 and 1 for each class: a row a window, sorted by path and time."""
    keys = sorted(windows)
    place = {label: column for column, label in enumerate(files.classes)}
    targets = np.zeros((len(keys), len(files.classes)), np.float32)
    for row, key in enumerate(keys):
        targets[row, [place[label] for label in windows[key]]] = 1
    numbers = np.array([number for _, number in keys], dtype=float)
    frame = pd.DataFrame({"path": pd.Series([path for path, _ in keys], dtype=object)})
    frame = frame.assign(start_s=numbers * files.target_s, end_s=(numbers + 1) * files.target_s)
    return pd.concat([frame, pd.DataFrame(targets, columns=list(files.classes))], axis=1)
