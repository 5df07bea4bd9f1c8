"""Annotations of soundscapes -> the table of their labels, `train_soundscapes_labels.csv`.

A window of `target_s` holds a class where at least `min_overlap_s` of one of its events lie in the window; an event of
which so much lies in none labels the window of its middle. The events themselves are kept for
`train_soundscapes_events.csv`, but for those that are whole windows: their times say nothing of when something calls.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import pandas as pd

from sed_model.audio.audio_files import list_audio
from sed_model.core.errors import DataError
from sed_model.core.paths import is_file, is_folder
from sed_model.data.annotation_events import NO_CALL, Event, EventReader
from sed_model.data.annotation_formats import MINUTE_S, SUFFIXES, AnnotationTable, ReadingRules, read_annotations
from sed_model.data.label_rows import EDGE_TOLERANCE_S, LabelledFiles, Window, window_table
from sed_model.data.layouts import find_layout
from sed_model.data.soundscape_events import COLUMNS as EVENT_COLUMNS
from sed_model.data.tables import Notes, Problems, read_text_table
from sed_model.data.train_table import TrainTable, read_classes

LONGEST_TARGET_S = 60.0
"""Of `data.target_s`."""


@dataclass(frozen=True)
class WindowRules:
    """How events become labels of windows.

    Attributes:
        target_s: length of a window, `data.target_s` of the trainings that read the labels.
        min_overlap_s: an event labels the windows that hold this much of it.
        complete: whatever is not annotated in an annotated file is not there: its other windows are labelled, too.
    """

    target_s: float = 5.0
    min_overlap_s: float = 0.1
    complete: bool = False

    def __post_init__(self) -> None:
        if self.target_s > LONGEST_TARGET_S:
            raise DataError(f"--target-s {self.target_s:g} is above {LONGEST_TARGET_S:g}, the most of data.target_s.")
        if not 0 < self.min_overlap_s <= self.target_s:
            raise DataError(
                f"--min-overlap-s {self.min_overlap_s:g} is outside 0 to --target-s {self.target_s:g}; change one."
            )


@dataclass(frozen=True)
class ImportedLabels:
    """What was read, and what of it could not be used.

    Attributes:
        labels: row_id and a column of 0 and 1 for each class of the data folder; a row a labelled window.
        formats: how many tables of each format there were.
        n_soundscapes: that some table is about.
        events: those that count, joined where they touch, by soundscape, class and time.
        timed: a row an event that has an onset and an offset of its own, as `train_soundscapes_events.csv` lists them.
        n_joined: events that are part of another now.
        notes: oddities that were read, counted.
        left_out: what was not used, by the reason.
    """

    labels: pd.DataFrame
    formats: Counter[str]
    n_soundscapes: int
    events: tuple[Event, ...]
    timed: pd.DataFrame
    n_joined: int
    notes: tuple[str, ...]
    left_out: Problems


def import_annotations(places: Sequence[Path], root: Path, reading: ReadingRules, rules: WindowRules) -> ImportedLabels:
    """Read tables of annotations, and label the windows of a data folder's soundscapes by them.

    Args:
        places: tables, and folders of tables (with the folders below them).
        root: the data folder, whose classes and soundscapes they are about.

    Raises:
        DataError: one report of the tables that cannot be read; or nothing in them labels a window.
    """
    files = _labelled_files(root, rules.target_s)
    reader = EventReader(root, files)
    tables = _read_tables(places, reading, rules, reader.notes)
    found = [event for table in tables for event in reader.events(table)]
    reader.finish()
    calls = [event for event in found if event.label != NO_CALL]
    events = join_events(calls)
    windows = _label_windows([*events, *(event for event in found if event.label == NO_CALL)], reader, rules)
    if not windows:
        told = reader.left_out.report() or "no table has an event; --complete labels the windows of whole files"
        raise DataError(f"{root}: no window is labelled by these annotations:\n{told}")
    timed = [event for event in calls if not is_whole_windows(event, rules.target_s)]
    reader.notes.count("events that are whole windows, whose times are not kept", len(calls) - len(timed))
    return ImportedLabels(
        _with_row_ids(window_table(windows, files), files.classes),
        Counter(table.format for table in tables),
        len(reader.annotated),
        tuple(events),
        event_table(join_events(timed)),
        len(calls) - len(events),
        reader.notes.lines(),
        reader.left_out,
    )


def _labelled_files(root: Path, target_s: float) -> LabelledFiles:
    """The soundscapes and classes of a data folder, without a look at its recordings."""
    layout, problems = find_layout(root), Problems()
    rows = read_text_table(root / layout.table, ["primary_label", "filename"], Notes())
    classes = read_classes(root, TrainTable(layout, rows, problems, Notes()), problems, Notes())
    problems.raise_if_any(root)
    return LabelledFiles(list_audio(root, layout.soundscapes), classes, target_s)


def _read_tables(
    places: Sequence[Path], reading: ReadingRules, rules: WindowRules, notes: Notes
) -> list[AnnotationTable]:
    problems, tables = Problems(), []
    for path in table_paths(places, notes):
        table = problems.attempt(lambda path=path: read_annotations(path, reading, notes))  # type: ignore[misc]
        if table is not None and table.format == "minute table" and rules.target_s < MINUTE_S:
            problems.add(
                "labels of whole minutes",
                f"{path}: says nothing of single windows of {rules.target_s:g} s; import it with --target-s "
                f"{MINUTE_S:g}, and train with data.target_s={MINUTE_S:g} data.window_s={MINUTE_S:g}",
            )
        tables += [table] if table is not None else []
    problems.raise_if_any(places[0])
    return tables


def table_paths(places: Sequence[Path], notes: Notes) -> list[Path]:
    """The tables among files and folders, each once; what else lies in the folders is counted.

    Raises:
        DataError: a place is not there, or holds no table.
    """
    paths: list[Path] = []
    for place in places:
        if is_folder(place):
            inside = sorted(path for path in place.rglob("*") if is_file(path) and not path.name.startswith("."))
        elif is_file(place):
            inside = [place]
        else:
            raise DataError(f"{place}: is no file and no folder; name tables of annotations, or a folder of them.")
        tables = [path for path in inside if path.suffix.lower() in SUFFIXES]
        if not tables:
            raise DataError(f"{place}: holds no table of annotations; they end in {', '.join(sorted(SUFFIXES))}.")
        notes.count("other files among the annotations, not read", len(inside) - len(tables))
        paths += tables
    return list(dict.fromkeys(paths))


def join_events(events: Sequence[Event]) -> list[Event]:
    """The events by soundscape, class and time; those of one class that overlap or touch are one."""
    joined: list[Event] = []
    for event in sorted(events, key=lambda event: (event.path, event.label, event.start_s, event.end_s)):
        last = joined[-1] if joined else None
        if last and (last.path, last.label) == (event.path, event.label) and event.start_s <= last.end_s:
            joined[-1] = replace(last, end_s=max(last.end_s, event.end_s))
        else:
            joined.append(event)
    return joined


def _label_windows(events: Sequence[Event], reader: EventReader, rules: WindowRules) -> dict[Window, set[str]]:
    """The classes of every labelled window; of a complete soundscape all windows that it holds whole are labelled."""
    windows: dict[Window, set[str]] = {}
    n_whole = {
        path: int((length_s + EDGE_TOLERANCE_S) // rules.target_s) for path, length_s in reader.annotated.items()
    }
    for path, number in n_whole.items() if rules.complete else ():
        windows.update({(path, place): set() for place in range(number)})
    n_late = 0
    for event in events:
        numbers = [number for number in windows_of(event, rules) if number < n_whole[event.path]]
        n_late += not numbers and event.label != NO_CALL
        for number in numbers:
            windows.setdefault((event.path, number), set()).update({event.label} - {NO_CALL})
    reader.notes.count("events in a last window that is not whole, which has no label", n_late)
    return windows


def windows_of(event: Event, rules: WindowRules) -> list[int]:
    """The numbers of the windows that an event labels; of a stretch without a call, those that it covers whole."""
    target_s, least_s = rules.target_s, rules.min_overlap_s
    if event.label == NO_CALL:
        least_s = target_s
    numbers = range(int(event.start_s // target_s), math.ceil(event.end_s / target_s))
    held_s = {
        number: min(event.end_s, (number + 1) * target_s) - max(event.start_s, number * target_s) for number in numbers
    }
    labelled = [number for number, overlap_s in held_s.items() if overlap_s > least_s - 1e-6]
    if labelled or event.label == NO_CALL:
        return labelled
    return [int((event.start_s + event.end_s) / 2 // target_s)]


def is_whole_windows(event: Event, target_s: float) -> bool:
    """Whether an event begins and ends with a window: a label of windows or minutes, written as a span."""
    times = event.start_s, event.end_s
    on_grid = all(abs(time_s - target_s * round(time_s / target_s)) < 1e-6 for time_s in times)
    return on_grid and event.end_s > event.start_s


def event_table(events: Sequence[Event]) -> pd.DataFrame:
    """filename, start_s, end_s, primary_label: a row an event."""
    rows = [(PurePosixPath(event.path).name, event.start_s, event.end_s, event.label) for event in events]
    return pd.DataFrame(rows, columns=list(EVENT_COLUMNS))


def _with_row_ids(table: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    stems = [PurePosixPath(path).stem for path in table["path"]]
    row_ids = [f"{stem}_{end_s:g}" for stem, end_s in zip(stems, table["end_s"], strict=True)]
    labels = table[list(classes)].astype(int)
    labels.insert(0, "row_id", row_ids)
    return labels
