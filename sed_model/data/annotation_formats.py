"""Annotations as programs write them: Raven's selection tables, Audacity's label tracks, tables of spans or minutes.

Formats: Raven Pro User's Manual (selection tables); Audacity Manual, Importing and Exporting Labels. Own code, for
crowsetta 5.1 refuses quotes in labels, tracks with and without frequencies, empty tables, and pandas 3's warnings.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from sed_model.core.errors import DataError
from sed_model.core.texts import fold, nearest
from sed_model.data.label_rows import seconds_of
from sed_model.data.tables import SEPARATORS, Notes, Problems, text_of

Format = Literal["Raven selection table", "Audacity label track", "start-and-end table", "minute table"]
SUFFIXES = frozenset({".txt", ".csv", ".tsv"})
MINUTE_S = 60.0
DECIMAL_COMMAS = "times with a decimal comma"
COLUMNS: dict[str, tuple[str, ...]] = {
    "file": ("filename", "file", "beginfile", "beginpath", "filepath", "path", "audiofile", "recording", "soundscape"),
    "offset": ("fileoffsets",),
    "start": ("start", "starts", "starttime", "starttimes", "begin", "begintime", "begintimes", "onset", "onsets"),
    "end": ("end", "ends", "endtime", "endtimes", "offset", "offsets"),
    "minute": ("minute",),
    "label": ("primarylabel", "label", "annotation", "species", "class", "speciescode", "commonname", "scientificname"),
}
"""What a column holds, and what it may be called: letters alone, without capitals (`Begin Time (s)`: begintimes)."""
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Annotation:
    """What somebody heard; times in seconds from the start of the audio file, as they were written.

    Attributes:
        file: the audio file as the table names it; empty where the table's own name tells it.
        line: of the table.
        folder: in which the table says that the file lies; empty where it says nothing.
    """

    file: str
    start_s: float
    end_s: float
    label: str
    line: int
    folder: str = ""


@dataclass(frozen=True)
class AnnotationTable:
    """One file of annotations; without rows, somebody listened and heard nothing."""

    path: Path
    format: Format
    rows: tuple[Annotation, ...]


@dataclass(frozen=True)
class ReadingRules:
    """What a table alone does not tell.

    Attributes:
        label_column: which column holds the class; None: the one that is called like one.
        first_minute: number of the first minute, 0 or 1; None: told by a table that has a minute 0.
    """

    label_column: str | None = None
    first_minute: int | None = None


def read_annotations(path: Path, rules: ReadingRules, notes: Notes) -> AnnotationTable:
    """A file of annotations in any of the formats, told by its content.

    A byte order mark, UTF-16, CRLF and decimal commas are read; Audacity's lines of frequencies (a backslash first) and
    Raven's boxes are passed over, for the labels of this project have no frequencies.

    Raises:
        DataError: one report of all that is wrong with the file.
    """
    text = text_of(path, notes)
    lines = [(number, line.rstrip("\n")) for number, line in enumerate(io.StringIO(text, newline=None), start=1)]
    lines = [(number, line) for number, line in lines if line.strip()]
    if path.suffix.lower() == ".txt" and (not lines or _begins_with_times(lines[0][1])):
        return AnnotationTable(path, "Audacity label track", _read_track(path, lines, notes))
    if path.suffix.lower() == ".csv":
        rows = _csv_rows(path, text, lines[0][1] if lines else "")
    else:
        rows = [(number, [cell.strip() for cell in line.split("\t")]) for number, line in lines]
    if not rows:
        raise DataError(f"{path}: is empty; its first line has to name columns such as filename, start, end, label.")
    return _TableReader(path, rules, notes).read(rows)


def _begins_with_times(line: str) -> bool:
    cells = line.split("\t")
    return cells[0] == "\\" or (len(cells) > 1 and all(_NUMBER.fullmatch(cell.strip()) for cell in cells[:2]))


def _read_track(path: Path, lines: Sequence[tuple[int, str]], notes: Notes) -> tuple[Annotation, ...]:
    problems, rows = Problems(), []
    for number, line in lines:
        start, end, label = [*(cell.strip() for cell in line.split("\t", 2)), "", ""][:3]
        if start == "\\":
            continue
        start_s, end_s = _seconds(start, notes), _seconds(end, notes)
        if math.isnan(start_s + end_s):
            problems.add("lines that are no label", f"line {number}: {line!r}; write start, end and label with tabs")
        rows.append(Annotation("", start_s, end_s, label, number))
    problems.raise_if_any(path)
    return tuple(rows)


def _csv_rows(path: Path, text: str, header: str) -> list[tuple[int, list[str]]]:
    separator = max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: is not CSV ({error}); check quotes and separators.") from None


class _TableReader:
    """Reads a table whose first row names its columns."""

    def __init__(self, path: Path, rules: ReadingRules, notes: Notes) -> None:
        self._path, self._rules, self._notes, self._problems = path, rules, notes, Problems()

    def read(self, numbered: Sequence[tuple[int, list[str]]]) -> AnnotationTable:
        header, rows = numbered[0][1], self._padded(numbered)
        columns = self._columns(header)
        self._problems.raise_if_any(self._path)
        names = {fold(name) for name in header}
        is_raven = {"selection", "begin time (s)"} <= names
        if is_raven and columns.keys() >= {"file"} and "offset" not in columns:
            self._check_one_file({row[columns["file"]] for _, row in rows})
        read = self._minute if "minute" in columns else self._span
        if "minute" in columns:
            self._check_minutes(columns["minute"], rows)
        for number, row in rows:
            if "file" in columns and not row[columns["file"]]:
                self._problems.add("rows without a file", f"line {number}: name the audio file, or remove the row")
        annotations = tuple(read(number, row, columns) for number, row in rows)
        self._problems.raise_if_any(self._path)
        by_name: Format = "Raven selection table" if is_raven else "start-and-end table"
        return AnnotationTable(self._path, "minute table" if "minute" in columns else by_name, annotations)

    def _padded(self, numbered: Sequence[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
        """The rows below the first; empty cells at their ends may be left out, as an editor does."""
        width = len(numbered[0][1])
        for number, row in numbered[1:]:
            if len(row) > width:
                self._problems.add(
                    "rows of another length", f"line {number}: {len(row)} cells, but {width} columns; mend the row"
                )
        return [(number, [*row, *[""] * (width - len(row))]) for number, row in numbered[1:]]

    def _columns(self, header: Sequence[str]) -> dict[str, int]:
        """Where each kind of column is; what is missing or not clear is added to the problems."""
        letters = [re.sub(r"[^a-z]", "", fold(name)) for name in header]
        found: dict[str, int] = {}
        for kind, names in COLUMNS.items():
            places = [place for place, name in enumerate(letters) if name in names]
            if kind == "label" and self._rules.label_column is not None:
                places = [place for place, name in enumerate(header) if name == self._rules.label_column]
            if kind == "label" and len(places) != 1:
                shown = ", ".join(header[place] for place in (places or range(len(header))))
                which = "columns that may hold the class" if places else "no column that holds the class among"
                asked = self._rules.label_column or ""
                self._problems.add(
                    "the column of the classes",
                    f"{which}: {shown}; name one with --label-column{nearest(asked, header) if asked else ''}",
                )
            if places:
                found[kind] = min(places, key=lambda place: names.index(letters[place]) if kind != "label" else place)
        if "minute" not in found:
            for kind in ("start", "end"):
                if kind not in found:
                    self._problems.add("missing columns", f"{kind}: add it, in seconds (there are {', '.join(header)})")
        return found

    def _check_one_file(self, files: set[str]) -> None:
        if len(files) > 1:
            self._problems.add(
                "times of several files",
                "Begin Time (s) counts from the start of the first of them; add the measurement File Offset (s) in "
                "Raven (or rename Begin File to filename, where it counts from the start of each)",
            )

    def _check_minutes(self, column: int, rows: Sequence[tuple[int, list[str]]]) -> None:
        if self._rules.first_minute is None and all(row[column] != "0" for _, row in rows):
            self._problems.add(
                "minutes", "none is 0, so that 1 may be the first or the second one; add --first-minute 0 or 1"
            )

    def _minute(self, number: int, row: Sequence[str], columns: dict[str, int]) -> Annotation:
        minute = row[columns["minute"]]
        if not re.fullmatch(r"-?\d{1,6}", minute, re.ASCII):
            self._problems.add("minutes", f"line {number}: {minute!r} is no whole number; mend it")
            minute = "0"
        start_s = MINUTE_S * (int(minute) - (self._rules.first_minute or 0))
        folder, file = self._file(row, columns)
        return Annotation(file, start_s, start_s + MINUTE_S, row[columns["label"]], number, folder)

    def _span(self, number: int, row: Sequence[str], columns: dict[str, int]) -> Annotation:
        cells = {kind: row[columns[kind]] for kind in ("start", "end", "offset") if kind in columns}
        times = {kind: _seconds(cell, self._notes) for kind, cell in cells.items()}
        for kind, value in times.items():
            if math.isnan(value):
                self._problems.add(
                    "times that do not parse", f"line {number}, {kind}: {cells[kind]!r}; write seconds or hh:mm:ss"
                )
        shift_s = times["offset"] - times["start"] if "offset" in times else 0.0
        start_s, end_s = round(times["start"] + shift_s, 6), round(times["end"] + shift_s, 6)
        folder, file = self._file(row, columns)
        return Annotation(file, start_s, end_s, row[columns["label"]], number, folder)

    def _file(self, row: Sequence[str], columns: dict[str, int]) -> tuple[str, str]:
        """Folder and name of the file, apart: folders are those of the annotator's machine."""
        path = PurePosixPath(row[columns["file"]].replace("\\", "/") if "file" in columns else "")
        return "/".join(path.parts[:-1]), path.name


def _seconds(text: str, notes: Notes) -> float:
    """`"-1.5"`, `"1,5"` or `"00:01:30"` in seconds; NaN for what is no time."""
    if _NUMBER.fullmatch(text) is None:
        return seconds_of(text)
    notes.count(DECIMAL_COMMAS, int("," in text))
    value = float(text.replace(",", "."))
    return value if math.isfinite(value) else math.nan
