"""Rows of annotation tables -> events in a data folder's soundscapes: which file and which class each row means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sed_model.audio.decoding import duration_s
from sed_model.core.texts import counted, nearest
from sed_model.data.annotation_formats import Annotation, AnnotationTable
from sed_model.data.class_names import ClassFinder
from sed_model.data.label_cells import split_labels
from sed_model.data.label_rows import EDGE_TOLERANCE_S, LONGEST_S, LabelledFiles
from sed_model.data.tables import MAX_LINES_PER_KIND, Notes, Problems

NO_CALL = ""
"""The label of a stretch in which somebody heard nothing, and said so."""


@dataclass(frozen=True)
class Event:
    """A class that sounds in a soundscape, in seconds from its start."""

    path: str
    label: str
    start_s: float
    end_s: float


class EventReader:
    """Turns rows into events, and tells what of them is left out and why.

    Attributes:
        annotated: soundscapes that some table is about, with their lengths in seconds.
        notes: oddities that were read.
        left_out: what was not, by its reason; whole after `finish`.
    """

    def __init__(self, root: Path, files: LabelledFiles) -> None:
        """
        Args:
            root: the data folder.
            files: its soundscapes and classes.
        """
        self.annotated: dict[str, float] = {}
        self.notes, self.left_out = Notes(), Problems()
        self._root, self._files, self._classes = root, files, ClassFinder(root, files.classes)
        self._absent: Counter[str] = Counter()
        self._unknown: Counter[str] = Counter()

    def events(self, table: AnnotationTable) -> Iterator[Event]:
        """The events of a table; its soundscapes count as annotated, even where it has none."""
        names_files = any(row.file for row in table.rows)
        own = None if names_files else self._named_like(table.path.name)
        if own is not None:
            self._length_s(own)
        elif not names_files:
            self._absent[table.path.name] += len(table.rows)
            return
        for row in table.rows:
            path = self._files.named(row.file, self.notes) if row.file else own
            if path is None:
                self._absent[row.file] += 1
            elif length_s := self._length_s(path):
                where = f"{table.path.name} line {row.line}"
                span = self._span(row, length_s, where)
                if span is not None:
                    yield from (Event(path, label, *span) for label in self._labels_of(row, where))

    def finish(self) -> None:
        """Add what is counted over all tables to `left_out`."""
        for place, (name, n_events) in enumerate(self._absent.most_common()):
            near = self._files.near(name) if place < MAX_LINES_PER_KIND else ""  # others are not shown
            self.left_out.add(
                "files without audio", f"{name}: no soundscape has this name{near}; {counted(n_events, 'event')}"
            )
        for place, (label, n_events) in enumerate(self._unknown.most_common()):
            near = nearest(label, self._files.classes) if place < MAX_LINES_PER_KIND else ""
            self.left_out.add("labels that are no class", f"{label!r}{near}: {counted(n_events, 'event')}")

    def _named_like(self, table: str) -> str | None:
        """The soundscape of a table that is named after it: S1.txt, S1.wav.txt, S1.Table.1.selections.txt."""
        name = PurePosixPath(table)
        while name.suffix:
            name = name.with_suffix("")
            if path := self._files.named(name.name, self.notes):
                return path
        return None

    def _length_s(self, path: str) -> float:
        """Seconds; 0 for a soundscape that cannot be opened, which is told once."""
        if path not in self.annotated:
            self.annotated[path] = min(duration_s(self._root / path), LONGEST_S)
            if not self.annotated[path]:
                self.left_out.add("soundscapes that cannot be opened", path)
        return self.annotated[path]

    def _span(self, row: Annotation, length_s: float, where: str) -> tuple[float, float] | None:
        """Start and end within the audio; None, and told, where there is no such stretch."""
        span = f"{where}: {row.start_s:g} to {row.end_s:g} s"
        if row.end_s < row.start_s:
            self.left_out.add("events that end before they begin", span)
        elif row.start_s < 0:
            self.left_out.add("events before the start of the audio", span)
        elif row.start_s >= length_s:
            self.left_out.add("events past the end of the audio", f"{span}, but it ends at {length_s:g} s")
        else:
            cut = row.end_s > length_s + EDGE_TOLERANCE_S
            self.notes.count("events that reach past the end of the audio, cut there", int(cut))
            return row.start_s, min(row.end_s, length_s)
        return None

    def _labels_of(self, row: Annotation, where: str) -> tuple[str, ...]:
        """The classes of a row, `NO_CALL` alone for one that says so; what is no class is counted."""
        if not row.label:
            self.left_out.add("events without a label", where)
            return ()
        texts = split_labels(row.label, self._classes, ";|")
        known = []
        for text in texts:
            label, way = self._classes.find(text)
            if label is None:
                self._unknown[text] += 1
            else:
                self.notes.count(way, int(bool(way)))
                known.append(label)
        return tuple(known) if texts else (NO_CALL,)
