"""A submission and what is true of its windows -> the windows that can be scored. No audio is needed.

The truth has the form of the competitions' label tables: `row_id` and a column of 0 and 1 for each class,
`filename,start,end,primary_label` (2026), or `row_id,seconds,birds` (2021).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from sed_model.audio.audio_files import AUDIO_SUFFIXES
from sed_model.core.soundscape_names import SITE
from sed_model.core.texts import nearest
from sed_model.data.label_cells import split_labels
from sed_model.data.label_rows import COLUMNS, SEPARATORS, seconds_of
from sed_model.data.layouts import LabelForm, label_form
from sed_model.data.near_names import LabelFinder
from sed_model.data.soundscape_labels import parse_row_id, read_cells
from sed_model.data.tables import Notes, Problems, columns_of, read_text_table
from sed_model.run_folder.predictions import OutOfFold

Key = tuple[str, float]
"""File stem (with its folders) and end of a window in seconds."""


@dataclass(frozen=True)
class ScoredRows:
    """The windows that can be scored.

    Attributes:
        windows: files are named by their stems, and start_s is NaN: a row_id tells a window by its end.
        sites: of each window; empty where the file's name does not tell it.
        notes: what was passed over, counted.
    """

    windows: OutOfFold
    sites: tuple[str, ...]
    notes: tuple[str, ...]


def read_scored_rows(predictions: Path, truth: Path, site: re.Pattern[str] = SITE) -> ScoredRows:
    """Join a submission (`row_id` and a column of scores for each class) with what is true.

    Windows of a file in a 2026 table that have no row there hold no call. Columns and windows that only the submission
    has are not scored, and counted.

    Args:
        site: is searched for in the stem of each file; its first group is the site.

    Raises:
        DataError: one report of each table: rows that repeat, cells that are no finite number, labels and windows that
            the submission lacks.
    """
    notes = Notes()
    scores, keys = _read_scores(predictions, notes)
    form = label_form(columns_of(truth))
    problems = Problems()
    if form == "columns":
        targets, true_keys = _read_columns(truth, list(scores.columns), problems, notes)
    else:
        targets, true_keys = _read_cells(truth, form, list(scores.columns), keys, problems, notes)
    row_of = {key: row for row, key in enumerate(keys)}
    for key in true_keys:
        if key not in row_of:
            near = nearest(key[0], dict.fromkeys(stem for stem, _ in keys))
            problems.add(
                "windows without a prediction",
                f"{key[0]}_{key[1]:g}: add the row to {predictions.name}, or take it out of the truth{near}",
            )
    problems.raise_if_any(truth)
    notes.count(f"rows of {predictions.name} that the truth says nothing about, not scored", len(keys) - len(true_keys))
    rows = [row_of[key] for key in true_keys]
    windows = tuple((stem, math.nan, end_s) for stem, end_s in true_keys)
    values = scores[list(targets.columns)].to_numpy(np.float64)[rows]
    scored = OutOfFold(tuple(targets.columns), windows, targets.to_numpy(np.float32), values)
    return ScoredRows(scored, tuple(site_in(stem, site) for stem, _ in true_keys), notes.lines())


def site_in(stem: str, pattern: re.Pattern[str]) -> str:
    """The first group of the pattern in a file's stem; empty where it is not there."""
    found = pattern.search(stem)
    return (found[1] or "") if found else ""


def _read_scores(path: Path, notes: Notes) -> tuple[pd.DataFrame, list[Key]]:
    """A float64 column of scores for each class, and the window of each row."""
    table = read_text_table(path, ["row_id"], notes)
    problems = Problems()
    if table.empty or len(table.columns) < 2:
        problems.add("no scores", "give a row a window, with row_id and a column of scores for each class")
    keys = _keys(table["row_id"], problems)
    scores = table.drop(columns="row_id").apply(lambda column: column.map(_number)).astype(np.float64)
    for row, column in np.argwhere(~np.isfinite(scores.to_numpy(np.float64))):
        name = scores.columns[column]
        problems.add(
            "scores that are no finite number",
            f"line {table.index[row]}, column {name}: {table[name].iloc[row]!r}; predict these windows again",
        )
    problems.raise_if_any(path)
    return scores, keys


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _keys(row_ids: pd.Series, problems: Problems) -> list[Key]:
    """The windows that the row_ids name; those that name none, or one that is there already, are problems."""
    first_line: dict[Key, object] = {}
    keys: list[Key] = []
    for line, row_id in row_ids.items():
        try:
            key = _key(*parse_row_id(row_id))
        except ValueError as error:
            problems.add("row_ids that do not parse", f"line {line}: {error}; write it like soundscape_12_5")
            continue
        if key in first_line:
            problems.add("repeated rows", f"line {line}: {row_id} is in line {first_line[key]} already; remove one")
        first_line.setdefault(key, line)
        keys.append(key)
    return keys


def _key(stem: str, end_s: float) -> Key:
    return stem, round(end_s, 3)


def _read_columns(
    path: Path, predicted: Sequence[str], problems: Problems, notes: Notes
) -> tuple[pd.DataFrame, list[Key]]:
    """Of `row_id` and a column a class: only the windows and classes of the table are known."""
    table = read_text_table(path, ["row_id"], notes)
    classes = [str(name) for name in table.columns if name != "row_id"]
    for name in classes:
        if name not in predicted:
            problems.add(
                "classes without a column of scores",
                f"{name}: add it to the submission, or drop it from the truth{nearest(name, predicted)}",
            )
    if table.empty or not classes:
        problems.add("no labels", "give a row a window, with row_id and a column of 0 and 1 for each class")
    notes.count("columns of the submission that the truth lacks, not scored", len(set(predicted).difference(classes)))
    keys = _keys(table["row_id"], problems)
    return pd.DataFrame(read_cells(table[classes], problems), columns=classes), keys


def _read_cells(
    path: Path, form: LabelForm, predicted: Sequence[str], keys: Sequence[Key], problems: Problems, notes: Notes
) -> tuple[pd.DataFrame, list[Key]]:
    """Of a row a window (or a label) with the labels in a cell: the classes are those of the submission."""
    finder, labels = LabelFinder(predicted), dict[Key, set[str]]()
    lengths_s: set[float] = set()
    for line, *values in read_text_table(path, COLUMNS[form], notes)[list(COLUMNS[form])].itertuples():
        key, length_s = _window(form, values)
        if key is None:
            problems.add("windows that do not parse", f"line {line}: {', '.join(values)}; write its times in seconds")
            continue
        lengths_s.add(round(length_s, 3))
        held = labels.setdefault(key, set())
        for text in split_labels(values[3] if form == "spans" else values[1], finder, SEPARATORS[form]):
            label, way = finder.find(text)
            notes.count(way, int(bool(way)))
            if label not in finder:
                problems.add(
                    "labels without a column of scores",
                    f"line {line}: {text!r}; add it to the submission, or mend it{nearest(text, predicted)}",
                )
            held.add(label)
    if len(lengths_s) > 1:
        problems.add(
            "windows of several lengths",
            f"{min(lengths_s):g} to {max(lengths_s):g} s; events become windows by sed_model.import_annotations",
        )
    if form == "spans":
        _add_windows_without_rows(labels, keys, path.name, notes)
    true_keys = list(labels)
    targets = np.array([[name in labels[key] for name in predicted] for key in true_keys], np.float32)
    return pd.DataFrame(targets.reshape(len(true_keys), len(predicted)), columns=list(predicted)), true_keys


def _window(form: LabelForm, values: Sequence[str]) -> tuple[Key | None, float]:
    """The window of a row, None where it tells none, and its length in seconds (0 where it does not matter)."""
    if form == "birds":
        try:
            return _key(*parse_row_id(values[0])), 0.0
        except ValueError:
            return None, 0.0
    start_s, end_s = seconds_of(values[1]), seconds_of(values[2])
    name = PurePosixPath(values[0].replace("\\", "/"))
    stem = name.with_suffix("") if name.suffix.lower() in AUDIO_SUFFIXES else name
    return (_key(str(stem), end_s), end_s - start_s) if end_s > start_s else (None, 0.0)


def _add_windows_without_rows(labels: dict[Key, set[str]], keys: Sequence[Key], table: str, notes: Notes) -> None:
    labelled = {stem for stem, _ in labels}
    added = [key for key in keys if key[0] in labelled and key not in labels]
    labels.update({key: set() for key in added})
    notes.count(f"windows of labelled soundscapes without a row in {table}, taken as without a call", len(added))
