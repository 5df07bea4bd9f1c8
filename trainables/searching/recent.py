"""What happened since the tables were written: a line each, so that a search that is killed loses no epoch."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sed_model.core.errors import DataError
from sed_model.core.files import drop_torn_line

FIELDS = ("name", "updates", "curve")
"""Of an entry: a trial's name, what is new in its row, and a row of its curve or null."""


class RecentEntries:
    """A file of JSON lines beside the tables. Only the writer of the tables may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entry: Mapping[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry).encode() + b"\n"
        with self._path.open("ab", buffering=0) as file:
            n_written = file.write(line)
            if n_written < len(line):  # the disk is full: what did fit must not stand before the next line
                file.truncate(file.tell() - n_written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self) -> list[dict[str, Any]]:
        """All entries; a last line that a kill or a full disk cut short is dropped.

        Raises:
            DataError: another line is damaged.
        """
        if not self._path.is_file():
            return []
        lines = drop_torn_line(self._path).read_bytes().split(b"\n")[:-1]
        return [self._entry(number, line) for number, line in enumerate(lines, start=1)]

    def _entry(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = json.loads(line)
            curve = entry["curve"]
            good = isinstance(entry["name"], str) and isinstance(entry["updates"], dict) and len(entry) == len(FIELDS)
            if not good or not (curve is None or (isinstance(curve, dict) and isinstance(curve["epoch"], int))):
                raise ValueError("no entry of a search")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{self._path} line {number}: is damaged ({error}); remove the line, then go on: its epoch is lost."
            ) from None
        return entry

    def clear(self) -> None:
        """Once the tables hold it all."""
        self._path.unlink(missing_ok=True)
