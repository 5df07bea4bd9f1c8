"""The chunks of a WAV file, for what libsndfile makes less of: MP3 among metadata, and lengths that were left open."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MPEG_FORMATS = (0x50, 0x55)
"""Codes of MPEG audio in the header of a WAV file."""
LEFT_OPEN = (0xFFFFFFFF, 0x7FFFF000)
"""Lengths of the sound that stand for none: FFmpeg's and SoX's, which write into a pipe."""
MAX_CHUNKS = 1_000
MAX_FORMAT_BYTES = 4_096


@dataclass(frozen=True)
class WavLayout:
    """Where the sound of a WAV file lies: the bytes from `start` on.

    Attributes:
        form: content of the chunk "fmt ".
        n_there: bytes of sound; to the end of the file where the header leaves their number open.
        n_announced: bytes of sound by the header, or `n_there` where it leaves them open.
        is_open: the header was written before the sound, and never corrected.
    """

    form: bytes
    start: int
    n_there: int
    n_announced: int
    is_open: bool

    @property
    def is_mpeg(self) -> bool:
        return int.from_bytes(self.form[:2], "little") in MPEG_FORMATS


def read_layout(path: Path) -> WavLayout | None:
    """None of what is no WAV file, or one whose chunks cannot be followed up to its sound."""
    try:
        with path.open("rb") as file:
            n_bytes = os.fstat(file.fileno()).st_size
            head = file.read(12)
            if head[:4] != b"RIFF" or head[8:] != b"WAVE":
                return None
            form = b""
            for name, start, length in _chunks(file, len(head), n_bytes):
                if name == b"fmt ":
                    file.seek(start)
                    form = file.read(min(length, MAX_FORMAT_BYTES))
                elif name == b"data":
                    return _layout(file, form, start, length, n_bytes) if form else None
    except (OSError, ValueError):
        pass
    return None


def _layout(file: BinaryIO, form: bytes, start: int, length: int, n_bytes: int) -> WavLayout:
    rest = n_bytes - start
    is_open = (length in LEFT_OPEN and rest < length) or (length == 0 and _is_sound(file, start, n_bytes))
    return WavLayout(form, start, rest if is_open else min(length, rest), rest if is_open else length, is_open)


def _is_sound(file: BinaryIO, start: int, n_bytes: int) -> bool:
    """Whether what follows an empty chunk of sound is no other chunks, which would end where the file does."""
    end = start
    for _, at, length in _chunks(file, start, n_bytes):
        end = at + length
    return n_bytes - start > 1 and not end <= n_bytes <= end + 1


def _chunks(file: BinaryIO, at: int, n_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and announced length of each chunk from `at` on."""
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or not all(32 <= byte < 127 for byte in head[:4]):
            return
        length = int.from_bytes(head[4:], "little")
        yield head[:4], at + 8, length
        at += 8 + length + length % 2
        if at >= n_bytes:
            return


class SoundAlone(io.RawIOBase):
    """A WAV file as it would be with its format and its sound alone, and with the length that is there."""

    def __init__(self, path: Path, layout: WavLayout) -> None:
        super().__init__()
        form = layout.form + bytes(len(layout.form) % 2)
        chunks = b"WAVEfmt " + struct.pack("<I", len(layout.form)) + form + b"data"
        riff = min(len(chunks) + 4 + layout.n_announced, LEFT_OPEN[0])
        self._head = b"RIFF" + struct.pack("<I", riff) + chunks + struct.pack("<I", layout.n_announced)
        self._layout, self._at = layout, 0
        self._file = path.open("rb")

    def __repr__(self) -> str:
        return self._file.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        n_bytes = len(self._head) + self._layout.n_there
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: n_bytes}[whence])
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """As many bytes as are asked for, where there are so many: libsndfile takes fewer for the end."""
        end = len(self._head) + self._layout.n_there
        if size is not None and size >= 0:
            end = min(end, self._at + size)
        got = self._head[self._at : end]
        self._at += len(got)
        if self._at < end:
            self._file.seek(self._layout.start + self._at - len(self._head))
            rest = self._file.read(end - self._at)
            self._at += len(rest)
            got += rest
        return got

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        got = self.read(len(buffer))
        buffer[: len(got)] = got
        return len(got)

    def close(self) -> None:
        self._file.close()
        super().close()
