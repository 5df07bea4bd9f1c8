"""CSV tables as text, and one report for everything that is wrong with them."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import pandas as pd

from sed_model.core.errors import DataError
from sed_model.core.paths import is_file, is_folder
from sed_model.core.texts import nearest

MAX_LINES_PER_KIND = 20
MAX_LINE_LENGTH = 500
"""Characters of a problem that are shown; a cell may hold a hundred thousand."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

T = TypeVar("T")


class Notes:
    """Counts oddities that do not stop a run, by what they are."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def count(self, text: str, n: int = 1) -> None:
        self._counts[text] += n

    def lines(self) -> tuple[str, ...]:
        """`"what it is: how often"`, in the order of their finding."""
        return tuple(f"{text}: {n}" for text, n in self._counts.items() if n)


class Problems:
    """Collects problems by kind, so that a user mends a folder in one go."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, kind: str, line: str) -> None:
        self._add(kind, line if len(line) <= MAX_LINE_LENGTH else f"{line[:MAX_LINE_LENGTH]} ...")

    def _add(self, kind: str, line: str) -> None:
        self._lines.setdefault(kind, []).append(line)

    def add_unreadable(self, folders: Mapping[str, str]) -> None:
        """Folders that cannot be listed, with the reasons."""
        for folder, reason in sorted(folders.items()):
            shown = folder if len(folder) <= MAX_LINE_LENGTH // 2 else f"{folder[: MAX_LINE_LENGTH // 2]}..."
            self.add("folders that cannot be read", f"{shown}: {reason}; make it a folder that you may read")

    def attempt(self, read: Callable[[], T]) -> T | None:
        """The result of `read`, or None with its DataError added to the collection."""
        try:
            return read()
        except DataError as error:
            self._add("unusable tables", str(error).replace("\n", "\n  "))
            return None

    def report(self) -> str:
        """Every kind with its count, and at most 20 lines of each."""
        parts: list[str] = []
        for kind, lines in self._lines.items():
            parts.append(f"{kind} ({len(lines)}):")
            parts.extend(f"  {line}" for line in lines[:MAX_LINES_PER_KIND])
            if len(lines) > MAX_LINES_PER_KIND:
                parts.append(f"  and {len(lines) - MAX_LINES_PER_KIND} more")
        return "\n".join(parts)

    def raise_if_any(self, source: Path) -> None:
        """Raises DataError with the whole report, headed by `source`."""
        if self:
            raise DataError(f"{source} cannot be used:\n{self.report()}")


def read_text_table(path: Path, required: Sequence[str], notes: Notes | None = None) -> pd.DataFrame:
    """A CSV file with every cell as stripped text ("nan", "NA" and "007" stay what they are), indexed by line number.

    A byte order mark is dropped; blank lines are passed over. Other separators and UTF-16 are read, and noted in
    `notes`; without it they are refused.

    Raises:
        DataError: the file is missing, is not UTF-8 CSV, lacks or repeats columns, or has rows of another length.
    """
    text = text_of(path, notes)
    separator = _separator(text, required)
    if separator != "," and notes is None:
        raise DataError(f"{path}: is separated by {SEPARATORS[separator]}; save the table with commas.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        numbered = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: is not CSV ({error}); check quotes and separators.") from None
    if not numbered:
        raise DataError(f"{path}: is empty; its first line has to name the columns {', '.join(required)}.")
    (_, header), *numbered = numbered
    _shape_problems(header, numbered, required).raise_if_any(path)
    if separator != "," and notes is not None:
        notes.count(f"rows of {path.name}, which is separated by {SEPARATORS[separator]}", len(numbered))
    columns = zip(*(row for _, row in numbered), strict=True) if numbered else ([] for _ in header)
    frame = pd.DataFrame(
        {name: pd.Series(list(cells), dtype=object) for name, cells in zip(header, columns, strict=True)}, dtype=object
    )
    frame.index = pd.Index([line for line, _ in numbered], name="line", dtype="int64")
    return frame


def columns_of(path: Path) -> tuple[str, ...]:
    """The columns that the first line of a table names, by whatever separator; none where it cannot be read."""
    try:
        text = text_of(path, Notes())
    except DataError:
        return ()
    return max((_header(text, separator) for separator in SEPARATORS), key=len)


def text_of(path: Path, notes: Notes | None) -> str:
    """The text of a table without its byte order mark; UTF-16 is noted in `notes`, and refused without it.

    Raises:
        DataError: the file is missing, or no such text.
    """
    if os.path.exists(path) and not (is_file(path) or is_folder(path)):  # noqa: PTH110 - nor for too long a name
        raise DataError(f"{path}: is a pipe or a device; it has to be a CSV file.")
    try:
        content = path.read_bytes()
        is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        is_utf16 = is_utf16 and not content.startswith(codecs.BOM_UTF32_LE) and notes is not None
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); it has to be a CSV file.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: byte {error.start} ({error.object[error.start]:#04x}) is not UTF-8; save the table as UTF-8."
        ) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path} line {line}: holds a NUL character; save the table as UTF-8 text.")
    if is_utf16 and notes is not None:
        notes.count(f"tables in UTF-16 ({path.name})")
    return text


def _separator(text: str, required: Sequence[str]) -> str:
    """The one by which most of the required columns are found, commas where that is not clear."""
    return max(SEPARATORS, key=lambda separator: len(set(required).intersection(_header(text, separator))))


def _header(text: str, separator: str) -> tuple[str, ...]:
    first = next((line for line in io.StringIO(text, newline=None) if line.strip()), "")
    try:
        return tuple(cell.strip() for cell in next(csv.reader([first], delimiter=separator), []))
    except csv.Error:
        return ()


def _shape_problems(header: list[str], rows: list[tuple[int, list[str]]], required: Sequence[str]) -> Problems:
    problems = Problems()
    for name in required:
        if name not in header:
            problems.add("missing columns", f"{name}: add the column{nearest(name, header)}")
    for name in sorted({name for name in header if header.count(name) > 1}):
        problems.add("repeated columns", f"{name}: {header.count(name)} times; keep one")
    for line, row in rows:
        if len(row) != len(header):
            problems.add(
                "rows of another length", f"line {line}: {len(row)} cells, but {len(header)} columns; mend the row"
            )
    return problems
