"""The notes of a decoder library: mpg123 writes them to the process's stderr, beside the errors that callers get."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NOTES = re.compile(rb"(?m)^(?:Note: |Warning: |\[[^\]\n]*libmpg123[^\]\n]*\] ).*\n")


class _Stderr:
    """The process's stderr, held in a file while a decoder is at work in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._real = self._held = -1
        self._n_passed = 0

    def hold(self) -> None:
        with self._lock:
            if self._n_users == 0:
                with tempfile.TemporaryFile() as file:
                    self._real, self._held, self._n_passed = os.dup(2), os.dup(file.fileno()), 0
                os.dup2(self._held, 2)
            self._n_users += 1

    def release(self) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                os.dup2(self._real, 2)
            self._pass_on()
            if self._n_users == 0:
                os.close(self._real)
                os.close(self._held)

    def _pass_on(self) -> None:
        """Write what came meanwhile to where it belongs, but for the decoder's notes."""
        size = os.fstat(self._held).st_size
        text = os.pread(self._held, size - self._n_passed, self._n_passed)
        self._n_passed = size
        if others := _NOTES.sub(b"", text):
            os.write(self._real, others)


_STDERR = _Stderr()


@contextmanager
def without_notes() -> Iterator[None]:
    """For the length of the block the decoder's notes are left out of stderr; all else comes a moment later.

    A process without a stderr, or without a place for temporary files, keeps them.
    """
    try:
        _STDERR.hold()
    except OSError:
        yield
        return
    try:
        yield
    finally:
        _STDERR.release()
