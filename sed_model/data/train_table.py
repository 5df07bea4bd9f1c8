"""The table of the recordings: classes, and one checked row per recording."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from sed_model.audio.audio_files import AudioListing, beside
from sed_model.core.errors import some
from sed_model.core.texts import nearest
from sed_model.data.label_cells import parse_label_list, written_without_brackets
from sed_model.data.layouts import Layout
from sed_model.data.near_names import FileFinder, Found, LabelFinder, nfc
from sed_model.data.tables import MAX_LINES_PER_KIND, Notes, Problems, read_text_table

MAX_RATING = 5.0
QUALITIES = {"A": 5.0, "B": 4.0, "C": 3.0, "D": 2.0, "E": 1.0}
"""Xeno-canto's marks as the competitions' stars."""
UNRATED = frozenset({"nan", "na", "none", "no score"})


@dataclass(frozen=True)
class TrainTable:
    """The table as text, and where to tell what is odd in it."""

    layout: Layout
    rows: pd.DataFrame
    problems: Problems
    notes: Notes

    def where(self, line: object) -> str:
        return f"{self.layout.table} line {line}"


def read_classes(root: Path, table: TrainTable | None, problems: Problems, notes: Notes) -> tuple[str, ...]:
    """Those of taxonomy.csv; without it the primary labels of the recordings, sorted."""
    taxonomy_csv = root / "taxonomy.csv"
    if os.path.lexists(taxonomy_csv):
        return problems.attempt(lambda: read_taxonomy(taxonomy_csv, notes)) or ()
    if table is None:
        return ()
    name, labels = table.layout.table, table.rows["primary_label"]
    names = [_folder_number(label, file) for label, file in zip(labels, table.rows["filename"], strict=True)]
    classes = tuple(sorted({label for label in names if label}))
    for label in classes:
        if not label.isprintable():
            problems.add("unprintable labels", f"{name}: primary_label {label!r} would break tables; rename the class")
    for label in reserved_labels(classes):
        problems.add(
            "reserved labels", f"{name}: primary_label {label} is the name of a table column; rename the class"
        )
    notes.count(f"no taxonomy.csv, classes taken from the primary labels of {name}", len(classes))
    return classes


def _folder_number(label: str, filename: str) -> str:
    """`1139490.0`, which a spreadsheet made of the label, is 1139490 where the file lies in a folder of that name."""
    number = label.removesuffix(".0")
    parts = PurePosixPath(filename.replace("\\", "/")).parts
    return number if number.isdecimal() and parts[-2:-1] == (number,) else label


def read_recordings(table: TrainTable, classes: tuple[str, ...], audio: AudioListing) -> pd.DataFrame:
    """The recordings as `recordings.DataFolder` describes them; problems and oddities go to those of the table."""
    rows, notes = table.rows, table.notes
    if rows.empty:
        table.problems.add("no recordings", f"{table.layout.table}: the table has no rows; list one recording a row")
    finder = LabelFinder(classes)
    labels = _primary_labels(table, finder, classes)
    paths = _paths(table, labels, audio)
    present = set(labels)
    absent = [label for label in classes if label not in present]
    notes.count(f"classes without a recording ({some(absent)})", len(absent))
    folders = [PurePosixPath(path).parent.name for path in paths]
    elsewhere = sum(nfc(name) != nfc(label) for name, label in zip(folders, labels, strict=True))
    notes.count("recordings in a folder that is not named like their primary label", elsewhere)
    unlisted = len(audio.sizes.keys() - set(paths))
    notes.count(f"audio files of {audio.name} without a row in {table.layout.table}", unlisted)
    for reason, paths_beside in beside(audio).items():
        notes.count(reason, len(paths_beside))
    return pd.DataFrame(
        {
            "path": pd.Series(paths, dtype=object),
            "primary_label": pd.Series(labels, dtype=object),
            "secondary_labels": pd.Series(_secondary_labels(table, labels, finder), dtype=object),
            "author": pd.Series(_authors(table, paths), dtype=object),
            "rating": pd.Series(_ratings(table), dtype=np.float64),
        }
    )


def _primary_labels(table: TrainTable, finder: LabelFinder, classes: tuple[str, ...]) -> list[str]:
    labels: list[str] = []
    for line, text in table.rows["primary_label"].items():
        label, way = finder.find(text)
        if label not in finder:
            table.problems.add(
                "unknown primary labels",
                f"{table.where(line)}: {label!r} is not in taxonomy.csv; add or mend it{nearest(label, classes)}",
            )
        if way:
            table.notes.count(way)
        labels.append(label)
    return labels


def _paths(table: TrainTable, labels: list[str], audio: AudioListing) -> list[str]:
    filenames = table.rows["filename"]
    finder = FileFinder(audio, filenames.to_list(), table.layout.in_label_folders)
    paths: list[str] = []
    first_line: dict[str, object] = {}
    n_hints = 0
    for (line, filename), label in zip(filenames.items(), labels, strict=True):
        where = f"{table.where(line)}: filename {filename!r}"
        path, found = finder.path_of(filename, label), Found(None)
        if not filename:
            table.problems.add("missing files", f"{where}: name the file or remove the row")
        elif audio.leads_outside(path) or not (found := finder.find(filename, label)).path:
            n_hints += 1
            repair = finder.repair(filename, label) if n_hints <= MAX_LINES_PER_KIND else "not there"
            table.problems.add(*_no_file(filename, path, found, audio, (where, repair)))
        elif (first := first_line.get(found.path)) is not None:
            read = "" if found.path == path else f" (read as {found.path})"
            table.problems.add("repeated rows", f"{where}{read}: is in line {first} already; remove one")
        for way in found.ways:
            table.notes.count(way)
        paths.append(found.path or path)
        first_line.setdefault(paths[-1], line)
    return paths


def _no_file(filename: str, path: str, found: Found, audio: AudioListing, told: tuple[str, str]) -> tuple[str, str]:
    """The kind of the problem, and its line; `told` is where it is, and the repair where nothing else is wrong."""
    where, repair = told
    pure = PurePosixPath(filename.replace("\\", "/"))
    if found.candidates:
        return "files of several names", f"{where}: may be any of {some(found.candidates)}; name the one that is meant"
    if pure.is_absolute() or ".." in pure.parts or audio.leads_outside(path):
        return (
            "paths that leave the folder",
            f"{where}: give a path below {audio.name}/, without links out of it",
        )
    return "missing files", f"{where}: {repair}"


def _secondary_labels(table: TrainTable, primary_labels: list[str], finder: LabelFinder) -> list[tuple[str, ...]]:
    notes, rows = table.notes, table.rows
    if "secondary_labels" not in rows:
        without = f"no column secondary_labels in {table.layout.table}, recordings taken as single-label"
        notes.count(without, len(rows))
        return [()] * len(rows)
    result: list[tuple[str, ...]] = []
    for line, text, primary in zip(rows.index, rows["secondary_labels"], primary_labels, strict=True):
        bare = written_without_brackets(text, finder)
        try:
            named = parse_label_list(text) if bare is None else bare
        except ValueError as error:
            table.problems.add(
                "malformed secondary labels",
                f"{table.where(line)}: secondary_labels {error}; write it like \"['a', 'b']\", or [''] for none",
            )
            named = ()
        notes.count("cells of secondary labels without brackets and quotes, read", int(bare is not None))
        labels = tuple(finder.find(label)[0] for label in named)
        result.append(tuple(dict.fromkeys(label for label in labels if label in finder and label != primary)))
        notes.count("unknown secondary labels dropped", sum(label not in finder for label in labels))
        notes.count("secondary labels equal to the primary label dropped", labels.count(primary))
    return result


def _authors(table: TrainTable, paths: list[str]) -> list[str]:
    if "author" not in table.rows:
        table.notes.count(f"no column author in {table.layout.table}, recordings grouped one by one", len(paths))
        return paths
    authors = table.rows["author"].to_list()
    table.notes.count("recordings without an author, each a group of its own", authors.count(""))
    return [author or path for author, path in zip(authors, paths, strict=True)]


def _ratings(table: TrainTable) -> list[float]:
    if "rating" not in table.rows:
        without = f"no column rating in {table.layout.table}, recordings taken as unrated"
        table.notes.count(without, len(table.rows))
        return [0.0] * len(table.rows)
    ratings: list[float] = []
    for line, text in table.rows["rating"].items():
        rating, way = _rating(text)
        if way:
            table.notes.count(way)
        if not 0 <= rating <= MAX_RATING:
            table.problems.add(
                "ratings out of range",
                f"{table.where(line)}: {text!r} is not between 0 and {MAX_RATING:g}; write 0 for no rating",
            )
        ratings.append(rating)
    return ratings


def _rating(text: str) -> tuple[float, str]:
    """The stars of a cell, NaN where it gives none, and how it is written otherwise than as a number."""
    if text in QUALITIES:
        return QUALITIES[text], "ratings A to E, read as 5 to 1 stars"
    if text.lower() in UNRATED:
        return 0.0, "ratings that say that there is none, read as unrated"
    try:
        if text.count(",") == 1 and "." not in text:
            return float(text.replace(",", ".")), "ratings with a decimal comma, read"
        return float(text or "0"), ""
    except ValueError:
        return math.nan, ""


RESERVED_LABELS = frozenset({"row_id", "path", "start_s", "end_s"})
"""Names of columns that stand beside one column per class."""


def read_taxonomy(path: Path, notes: Notes | None = None) -> tuple[str, ...]:
    """The column `primary_label` of a taxonomy table: classes as text, in the order of the file.

    Raises:
        DataError: the table cannot be read, or a label is empty, repeated or reserved; all in one report.
    """
    labels = read_text_table(path, ["primary_label"], notes)["primary_label"]
    problems = Problems()
    if labels.empty:
        problems.add("no classes", "the table has no rows; list one class a row")
    first_line: dict[str, int] = {}
    for line, label in labels.items():
        if not label:
            problems.add("empty labels", f"line {line}: primary_label is empty; name the class or remove the row")
        elif not label.isprintable():
            problems.add("unprintable labels", f"line {line}: {label!r} would break tables and terminals; rename it")
        elif label in first_line:
            problems.add("repeated labels", f"line {line}: {label} is in line {first_line[label]} already; remove one")
        else:
            first_line[label] = int(str(line))
    for label in reserved_labels(tuple(first_line)):
        problems.add(
            "reserved labels", f"line {first_line[label]}: {label} is the name of a table column; rename the class"
        )
    problems.raise_if_any(path)
    return tuple(first_line)


def reserved_labels(labels: Sequence[str]) -> list[str]:
    """Those labels that cannot be the name of a class column."""
    return [label for label in labels if label in RESERVED_LABELS]
