"""The table of sound events with onset and offset in labelled soundscapes: what their frames are trained by."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath

import pandas as pd

from sed_model.audio.decoding import duration_s
from sed_model.core.texts import nearest
from sed_model.data.label_rows import EDGE_TOLERANCE_S, LabelledFiles, seconds_of
from sed_model.data.tables import Notes, Problems, read_text_table

COLUMNS = ("filename", "start_s", "end_s", "primary_label")


def read_soundscape_events(csv: Path, files: LabelledFiles, notes: Notes) -> pd.DataFrame:
    """The events of the soundscapes in `files`, whose folder lies beside `csv`; oddities go to `notes`.

    Returns:
        path (relative to the data folder), start_s, end_s, primary_label; sorted by path and time.

    Raises:
        DataError: one report of all problems: rows that name no file or no class, times that are none, are below 0, end
            before they begin, or lie past the end of the audio.
    """
    table = read_text_table(csv, COLUMNS, notes)[list(COLUMNS)]
    problems = Problems()
    if table.empty:
        problems.add("no rows", "the table has no rows; list an event or remove the file")
    repeated = table.duplicated()
    notes.count(f"repeated rows of {csv.name}, counted once", int(repeated.sum()))

    @cache
    def length_s(path: str) -> float:
        return duration_s(csv.parent / path)

    rows = []
    for line, name, start, end, text in table[~repeated].itertuples():
        where = f"line {line}"
        path = files.named(PurePosixPath(name.replace("\\", "/")).name, notes)
        if path is None:
            problems.add(
                "missing soundscapes",
                f"{where}: {name} is no file of {files.name}; add it or remove the row{files.near(name)}",
            )
        start_s, end_s = _span(start, end, where, problems)
        if path is not None:
            _check_end(path, (start_s, end_s), length_s, where, problems)
        rows.append((path or "", start_s, end_s, _label(text, files, where, problems, notes)))
    problems.raise_if_any(csv)
    events = pd.DataFrame(rows, columns=["path", *COLUMNS[1:]])
    return events.sort_values(["path", "start_s", "end_s", "primary_label"], ignore_index=True)


def _span(start: str, end: str, where: str, problems: Problems) -> tuple[float, float]:
    """Start and end in seconds; what is wrong with them is added to the problems. An event may be a point in time."""
    start_s, end_s = seconds_of(start), seconds_of(end)
    if math.isnan(start_s) or math.isnan(end_s):
        problems.add("times that do not parse", f"{where}: write {start}, {end} as seconds from 0 on, or as hh:mm:ss")
    elif end_s < start_s:
        problems.add("events that end before they begin", f"{where}: {start_s:g} to {end_s:g} s; mend the row")
    return start_s, end_s


def _check_end(
    path: str, span: tuple[float, float], length_s: Callable[[str], float], where: str, problems: Problems
) -> None:
    # A file that cannot be opened has length 0, and is told when it is decoded.
    if length_s(path) and max(span) > length_s(path) + EDGE_TOLERANCE_S:
        problems.add(
            "events past the end of the audio",
            f"{where}: {span[0]:g} to {span[1]:g} s, but {path} ends at {length_s(path):g} s; mend or remove the row",
        )


def _label(text: str, files: LabelledFiles, where: str, problems: Problems, notes: Notes) -> str:
    label, way = files.labels.find(text)
    if label not in files.labels:
        problems.add(
            "labels that are no class",
            f"{where}: {text!r}; add it to taxonomy.csv, or mend it{nearest(text, files.classes)}",
        )
    notes.count(way, int(bool(way)))
    return label
