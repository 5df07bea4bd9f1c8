"""Detected and true events, as tables of annotations -> the events that can be scored. No audio is needed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from sed_model.audio.audio_files import AUDIO_SUFFIXES
from sed_model.core.errors import DataError
from sed_model.core.paths import is_file
from sed_model.core.soundscape_names import SITE
from sed_model.core.texts import counted, examples, fold, nearest
from sed_model.data.annotation_formats import Annotation, AnnotationTable, ReadingRules, read_annotations
from sed_model.data.annotations import table_paths
from sed_model.data.class_names import ClassFinder
from sed_model.data.label_cells import NO_LABEL, split_labels
from sed_model.data.near_names import LabelFinder
from sed_model.data.scored_rows import site_in
from sed_model.data.tables import MAX_LINES_PER_KIND, Notes, Problems, columns_of
from sed_model.data.train_table import read_taxonomy

EVENTS_FILE = "events.csv"
"""Of `predict --events`; beside it lie the same events, as a track and a selection table for each soundscape."""
N_NAMES = 20
"""Names that are listed of those that were translated, and of those that were not."""
Finder = LabelFinder | ClassFinder
COLUMNS = ["file", "label", "start_s", "end_s"]
TABLE_OF = re.compile(
    rf"(?:\.(?:table(?:\.\d+)?|selections?|labels|results|birdnet)|{'|'.join(map(re.escape, AUDIO_SUFFIXES))})+$",
    re.IGNORECASE,
)
"""What programs put between the name of a recording and `.txt`: S1.Table.1.selections, S1.wav, S1.labels."""


@dataclass(frozen=True)
class ScoredEvents:
    """The events that can be scored.

    Attributes:
        files: that the truth tells of, by their stems, sorted.
        sites: of each file; empty where its name does not tell it.
        classes: that have an event or a detection, sorted.
        truth: file, label, start_s, end_s (seconds, above start_s): a row an event.
        detected: the same of the detections.
        notes: oddities that were read, counted.
        left_out: what is not scored, by the reason.
    """

    files: tuple[str, ...]
    sites: tuple[str, ...]
    classes: tuple[str, ...]
    truth: pd.DataFrame
    detected: pd.DataFrame
    notes: tuple[str, ...]
    left_out: Problems


def read_scored_events(
    events: Sequence[Path],
    truth: Sequence[Path],
    label_column: str | None = None,
    site: re.Pattern[str] = SITE,
    data: Path | None = None,
) -> ScoredEvents:
    """Join detected events with true ones.

    A folder with an `events.csv` gives that alone. Files are told by their names, without folders and suffixes, and
    classes as in submissions. A file of which the truth has neither an event, nor an empty table, nor a `nocall` is not
    scored.

    Args:
        events: tables of annotations, and folders of tables (with the folders below them).
        truth: the same, of what is true.
        label_column: which column holds the class, in the tables that have it; None: the one that is called like one.
        site: is searched for in the stem of each file; its first group is the site.
        data: the data folder by whose taxonomy.csv both sides name classes: by label, scientific or common name. What
            is none of them is a class of its own.

    Raises:
        DataError: taxonomy.csv cannot be read; one report of the tables that cannot be read; files of one name; a truth
            that tells of no file.
    """
    reader = _Reader(label_column)
    found, true = reader.read("--events", events), reader.read("--truth", truth)
    reader.check_label_column()
    files = {fold(stem): stem for stem in true}
    if not files:
        raise DataError(f"{truth[0]}: tells of no file; name tables with events, or empty ones of files without any.")
    labels = {row.label for rows in found.values() for row in rows if row.label.lower() not in NO_LABEL}
    detections = {files[fold(stem)]: rows for stem, rows in found.items() if fold(stem) in files}
    reader.leave_out_files({stem: len(rows) for stem, rows in found.items() if fold(stem) not in files and rows}, files)
    finder = LabelFinder(labels) if data is None else ClassFinder(data, read_taxonomy(data / "taxonomy.csv"))
    detected = reader.table("detections", detections, finder)
    true_events = reader.table("events", true, finder)
    _note_one_sided(true_events, detected, reader.notes)
    stems = tuple(sorted(files.values()))
    sites = tuple(site_in(stem, site) for stem in stems)
    classes = tuple(sorted({*true_events["label"], *detected["label"]}))
    rows = [row for side in (found, true) for rows in side.values() for row in rows]
    named = {finder.find(text)[0] or text for row in rows for text in split_labels(row.label, finder, ";|")}
    reader.notes.count("classes with nothing but what is left out, not in the mean", len(named.difference(classes)))
    notes = (*reader.notes.lines(), *reader.name_lines(finder))
    return ScoredEvents(stems, sites, classes, true_events, detected, notes, reader.left_out)


class _Reader:
    """Reads tables of annotations by file, and tells what of them is left out and why."""

    def __init__(self, label_column: str | None) -> None:
        self.notes, self.left_out = Notes(), Problems()
        self._label_column, self._has_column = label_column, label_column is None
        self._meant: Counter[tuple[str, str | None]] = Counter()

    def read(self, option: str, places: Sequence[Path]) -> dict[str, list[Annotation]]:
        """The rows of each file, by its stem.

        Raises:
            DataError: one report of the tables that cannot be read, and of names that several files have.
        """
        problems = Problems()
        rows_of: dict[str, list[Annotation]] = {}
        folders_of: dict[str, set[str]] = {}
        for path in self._paths(places):
            table = problems.attempt(lambda path=path: self._annotations(path))  # type: ignore[misc]
            if table is None:
                continue
            if table.format == "minute table":
                problems.add("labels of whole minutes", f"{path}: are no events; score windows, with --predictions")
            for stem, folder, rows in _files_of(table):
                rows_of.setdefault(stem, []).extend(rows)
                folders_of.setdefault(fold(stem), set()).add(folder)
        for stem, folders in folders_of.items():
            if len(folders) > 1:
                some = " and ".join(sorted(folder or "no folder" for folder in folders)[:2])
                problems.add("names that several files have", f"{stem}: in {some}; score them apart, or rename one")
        problems.raise_if_any(places[0] if len(places) == 1 else Path(option))
        return rows_of

    def _paths(self, places: Sequence[Path]) -> list[Path]:
        predicted = [place / EVENTS_FILE for place in places if is_file(place / EVENTS_FILE)]
        self.notes.count(f"folders with {EVENTS_FILE}, of which nothing else was read", len(predicted))
        others = [place for place in places if not is_file(place / EVENTS_FILE)]
        return predicted + (table_paths(others, self.notes) if others else [])

    def _annotations(self, path: Path) -> AnnotationTable:
        if self._label_column is None or self._label_column not in columns_of(path):
            return read_annotations(path, ReadingRules(), self.notes)
        self._has_column = True
        return read_annotations(path, ReadingRules(self._label_column), self.notes)

    def check_label_column(self) -> None:
        """
        Raises:
            DataError: no table has the column that was named.
        """
        if not self._has_column:
            raise DataError(f"--label-column {self._label_column}: no table has this column; mend its name.")

    def leave_out_files(self, n_detections: dict[str, int], files: dict[str, str]) -> None:
        """Tell of files whose detections cannot be judged."""
        for place, (stem, number) in enumerate(sorted(n_detections.items(), key=lambda item: -item[1])):
            near = nearest(stem, files.values()) if place < MAX_LINES_PER_KIND else ""  # others are not shown
            self.left_out.add("files that the truth does not name", f"{stem}{near}: {counted(number, 'detection')}")

    def table(self, what: str, rows_of: dict[str, list[Annotation]], finder: Finder) -> pd.DataFrame:
        """The events by file and onset, without those that have no time or label."""
        events: list[tuple[str, str, float, float]] = []
        for stem, rows in rows_of.items():
            for row in rows:
                where = f"{stem}, line {row.line}: {row.start_s:g} to {row.end_s:g} s"
                if row.end_s < row.start_s:
                    self.left_out.add(f"{what} that end before they begin", where)
                elif row.end_s == row.start_s:
                    self.left_out.add(f"{what} without a length", where)
                elif not row.label:
                    self.left_out.add(f"{what} without a label", where)
                else:
                    events += [(stem, label, row.start_s, row.end_s) for label in self._labels(row.label, finder)]
        once = sorted(set(events))
        twice = f"{what} of the same file, label and times, counted once (Raven writes a row a view)"
        self.notes.count(twice, len(events) - len(once))
        return pd.DataFrame(once, columns=COLUMNS)

    def _labels(self, cell: str, finder: Finder) -> list[str]:
        texts = split_labels(cell, finder, ";|")
        found = [finder.find(text) for text in texts]
        for text, (label, way) in zip(texts, found, strict=True):
            self.notes.count(way, int(bool(way) and label is not None))
            self._meant[text, label] += 1
        return [label or text for text, (label, _) in zip(texts, found, strict=True)]

    def name_lines(self, finder: Finder) -> tuple[str, ...]:
        """What was translated by taxonomy.csv, and what it does not have, the most frequent first."""
        if not isinstance(finder, ClassFinder):
            return ()
        rows = self._meant.most_common()
        matched = [f"{text} = {label} ({n})" for (text, label), n in rows if label not in (None, text)]
        unknown = [f"{text}{nearest(text, finder.names)} ({n})" for (text, label), n in rows if label is None]
        kinds = {"read as": matched, "not in taxonomy.csv, scored as classes of their own": unknown}
        return tuple(f"labels {kind}: {examples(some, N_NAMES)}" for kind, some in kinds.items() if some)


def _files_of(table: AnnotationTable) -> list[tuple[str, str, list[Annotation]]]:
    """Stem, folder and rows of each file that a table is about: those that it names, or the one it is named after."""
    if not any(row.file for row in table.rows):
        if not table.rows and table.format == "start-and-end table":
            return []  # its name need not be that of a recording
        return [(TABLE_OF.sub("", table.path.stem), str(table.path.parent), list(table.rows))]
    files: dict[tuple[str, str], list[Annotation]] = {}
    for row in table.rows:
        name = PurePosixPath(row.file)
        stem = name.stem if name.suffix.lower() in AUDIO_SUFFIXES else name.name
        files.setdefault((stem, row.folder), []).append(row)
    return [(stem, folder, rows) for (stem, folder), rows in files.items()]


def _note_one_sided(truth: pd.DataFrame, detected: pd.DataFrame, notes: Notes) -> None:
    """Count files and classes that one side alone has: what is missed, or found wrongly, as a whole."""
    for column, name in (("file", "files"), ("label", "classes")):
        true, found = set(truth[column]), set(detected[column])
        notes.count(f"{name} without a detection, whose events are all missed", len(true - found))
        notes.count(f"{name} without an event, whose detections are all false", len(found - true))
