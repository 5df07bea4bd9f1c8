"""Atomic writes: a file is either the old one or the whole new one, whenever the process dies."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from sed_model.core.errors import DiskFullError
from sed_model.core.paths import FULL_DISK_ERRORS, is_file, is_there

ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, MemoryError, OverflowError, NotImplementedError),
    *(RuntimeError, ValueError, LookupError, TypeError, SyntaxError),
)
"""What zipfile and numpy raise for an archive with other bytes in it."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it takes the place of `path` when the block ends without an error.

    Raises:
        DiskFullError: there is no space for it.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with explained_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_left_over(folder: Path) -> None:
    """Remove what writers that were killed have left half-written in a folder. Nobody may be writing there."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def drop_torn_line(path: Path) -> Path:
    """Cut off the half line that a kill or a full disk may have left at the end of a log, before more is added."""
    if path.is_file():
        content = path.read_bytes()
        n_whole = content.rfind(b"\n") + 1
        if n_whole < len(content):
            os.truncate(path, n_whole)
    return path


@contextmanager
def explained_full_disk(path: Path) -> Iterator[None]:
    """Turns the error of a disk without space, which names no place, into a DiskFullError that names `path`."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not tells_of_full_disk(error):
            raise
        raise DiskFullError(f"{path}: no space is left on this disk; make some.") from None


def tells_of_full_disk(error: Exception | str) -> bool:
    """Whether a write failed for want of space, or for a quota. Some libraries leave only the text of such an error."""
    numbers = FULL_DISK_ERRORS
    return getattr(error, "errno", None) in numbers or any(os.strerror(number) in str(error) for number in numbers)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, tree: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(tree, indent=2, ensure_ascii=False) + "\n")


def read_file(path: Path, within: Path | None = None) -> bytes:
    """What a file holds.

    Args:
        within: a run folder that no link may lead out of.

    Raises:
        FileNotFoundError: there is none.
        OSError: it leads out, is no file (a pipe would block for ever), or cannot be read.
    """
    if within is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(within)):
        raise OSError("a link leads out of the run folder")
    if not is_file(path):
        raise OSError("it is no file") if is_there(path) else FileNotFoundError(f"there is no {path}")
    return path.read_bytes()


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of an .npz archive.

    Raises:
        ValueError: it is missing, damaged, or lacks one of them.
    """
    try:
        # np.load leaves a damaged file open when it opens it itself.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}
    except ARCHIVE_ERRORS as error:
        raise ValueError(f"{path.name}: {type(error).__name__}: {error}") from None


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
