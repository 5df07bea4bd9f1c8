"""Recordings and soundscapes that a user leaves out, by a list of their paths from the data folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sed_model.core.errors import DataError
from sed_model.core.files import read_file, sha256_of


@dataclass(frozen=True)
class LeaveOut:
    """Paths, posix and relative to the data folder, and the checksum of the file that lists them."""

    paths: frozenset[str]
    sha256: str


def read_leave_out(file: Path) -> LeaveOut:
    """A path a line, or the first cell of one; empty lines, a header `path` and what begins with # are passed over.

    Raises:
        DataError: it cannot be read, is no UTF-8, or names what lies outside of a data folder.
    """
    try:
        lines = read_file(file).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"data.leave_out={file}: cannot be read ({error}); list a path from the data folder a line."
        ) from None
    cells = [line.split(",", 1)[0].strip().strip('"').replace("\\", "/") for line in lines]
    names = [cell for cell in cells if cell and cell != "path" and not cell.startswith("#")]
    odd = [name for name in names if name.startswith("/") or ".." in PurePosixPath(name).parts]
    if odd:
        raise DataError(
            f"data.leave_out={file}: {odd[0]!r:.120} leads out of the data folder; write train_audio/LABEL/FILE or "
            "train_soundscapes/FILE."
        )
    return LeaveOut(frozenset(str(PurePosixPath(name)) for name in names), sha256_of(file))
