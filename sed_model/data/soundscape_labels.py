"""Tables of labelled soundscapes, in each form that the competitions gave them.

`row_id` (`<file stem>_<end second>`) and one 0/1 column per class; `filename,start,end,primary_label` (2026);
`row_id` and `birds` (2021).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from sed_model.audio.audio_files import list_audio
from sed_model.core.texts import nearest
from sed_model.data.label_rows import LabelledFiles, read_label_cells
from sed_model.data.layouts import label_form
from sed_model.data.tables import Notes, Problems, columns_of, read_text_table

_ROW_ID = re.compile(r"(?P<stem>.+)_(?P<end_s>\d+(?:\.\d+)?)", re.ASCII)
_CELLS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}


def parse_row_id(row_id: str) -> tuple[str, float]:
    """`"H01_20230420_5"` -> `("H01_20230420", 5.0)`: file stem and end of the window in seconds.

    Raises:
        ValueError: the text is not `<file stem>_<end second>` with an end above 0.
    """
    match = _ROW_ID.fullmatch(row_id)
    if match is None or not 0 < (end_s := float(match["end_s"])) < float("inf"):
        raise ValueError(f"{row_id!r} is not <file stem>_<end second>")
    return match["stem"], end_s


def read_soundscape_labels(
    csv: Path,
    folder: Path,
    classes: Sequence[str],
    target_s: float,
    notes: Notes | None = None,
    follow_links: bool = False,
) -> pd.DataFrame:
    """The labelled windows of the soundscapes in `folder`, each `target_s` long; oddities go to `notes`.

    Returns:
        path (relative to the parent of `folder`), start_s, end_s, and for each class, in order, a float32 column of 0
        and 1; sorted by path and time.

    Raises:
        DataError: one report of all problems: columns that are missing or no class, row_ids that do not parse, repeat,
            name no file or end off the grid of `target_s`, cells that are neither 0 nor 1, labels that are no class.
    """
    form = label_form(columns_of(csv))
    files = LabelledFiles(list_audio(folder.parent, folder.name, follow_links), classes, target_s)
    if form != "columns":
        return read_label_cells(csv, form, files, notes)
    table = read_text_table(csv, ["row_id", *classes], notes)
    problems = Problems()
    for name in table.columns:
        if name != "row_id" and name not in classes:
            problems.add(
                "columns that are no class",
                f"{name}: add it to taxonomy.csv or drop the column{nearest(name, classes)}",
            )
    if table.empty:
        problems.add("no rows", "the table has no rows; label a soundscape or remove the file")
    windows = _read_windows(table["row_id"], files, problems, Notes() if notes is None else notes)
    targets = read_cells(table[list(classes)], problems)
    problems.raise_if_any(csv)
    frame = pd.concat([windows, pd.DataFrame(targets, columns=list(classes))], axis=1)
    return frame.sort_values(["path", "end_s"], ignore_index=True)


def _read_windows(row_ids: pd.Series, files: LabelledFiles, problems: Problems, notes: Notes) -> pd.DataFrame:
    target_s = files.target_s
    first_line: dict[tuple[str, float], object] = {}
    rows: list[tuple[str, float, float]] = []
    for line, row_id in row_ids.items():
        try:
            stem, end_s = parse_row_id(row_id)
        except ValueError as error:
            problems.add("row_ids that do not parse", f"line {line}: {error}; write it like soundscape_12_5")
            continue
        windows = end_s / target_s
        if abs(windows - round(windows)) > 1e-6 or round(windows) < 1:
            problems.add(
                "windows off the grid",
                f"line {line}: {row_id} ends at {end_s:g} s, no multiple of data.target_s={target_s:g} s; mend either",
            )
        if (path := files.named(stem, notes)) is None:
            problems.add(
                "missing soundscapes",
                f"line {line}: {row_id} needs {files.name}/{stem}.*; add the file or remove the row{files.near(stem)}",
            )
        if (stem, end_s) in first_line:
            problems.add(
                "repeated rows", f"line {line}: {row_id} is in line {first_line[stem, end_s]} already; remove one"
            )
        first_line.setdefault((stem, end_s), line)
        rows.append((path or "", end_s - target_s, end_s))
    return pd.DataFrame(rows, columns=["path", "start_s", "end_s"]).astype({"path": object})


def read_cells(cells: pd.DataFrame, problems: Problems) -> np.ndarray:
    """Cells of 0 and 1 as float32 of the same shape; others are added to the problems."""
    values = np.empty(cells.shape, np.float32)
    for column, name in enumerate(cells.columns):
        values[:, column] = cells[name].map(_CELLS).to_numpy(np.float32)
    for row, column in np.argwhere(np.isnan(values)):
        problems.add(
            "cells that are neither 0 nor 1",
            f"line {cells.index[row]}, column {cells.columns[column]}: {cells.iloc[row, column]!r}; write 0 or 1",
        )
    return values
