"""What happened since the tables were written: a line each, so that a search that is killed loses no epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RecentEntries:
    """A file of JSON lines beside the tables. Only the writer of the tables may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entry: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """All entries; a last line that a kill or a full disk cut short is left out."""
        if not self._path.is_file():
            return []
        return [json.loads(line) for line in self._path.read_bytes().split(b"\n")[:-1]]

    def clear(self) -> None:
        """Once the tables hold it all."""
        self._path.unlink(missing_ok=True)
