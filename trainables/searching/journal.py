"""Optuna's journal in one file, which is forced to disk once for all that is drawn for a trial."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock


class TrialJournal(JournalFileBackend):
    """Optuna writes a line for each parameter, and waits for the disk each time: 35 times for a trial of full.yaml."""

    def __init__(self, path: Path) -> None:
        self._path, self._exclusive = path, JournalFileOpenLock(str(path))
        self._waits = True
        super().__init__(str(path), self._exclusive)

    @contextmanager
    def forced_once(self) -> Iterator[None]:
        """Wait for the disk at the end of the block only. A process that is killed loses nothing by that."""
        self._waits = False
        try:
            yield
        finally:
            self._waits = True
            with self._path.open("ab") as file:
                os.fsync(file.fileno())

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._waits:
            super().append_logs(logs)
            return
        self._exclusive.acquire()
        try:
            with self._path.open("ab") as file:
                file.write("".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode())
        finally:
            self._exclusive.release()
