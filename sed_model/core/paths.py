"""Paths that users write. Imports nothing large: the commands need it for --help."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryFile

from sed_model.core.errors import ConfigError

LONGEST_NAME = 200
"""Of a file or folder that is written, in bytes; file systems take 255, and temporary names are longer."""

FULL_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT)
PLACE_ERRORS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
)
"""What is wrong with a file or folder of the user's; other errors of the system are ours to mend."""


def is_file(path: Path) -> bool:
    """Whether a regular file is there; a name that no file can have (too long, with a NUL) is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises OSError for a name that is too long


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that none can have is none."""
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises OSError for a name that is too long


def is_there(path: Path) -> bool:
    """Whether anything is there, or may be, where one may not look: who reads it is told what is wrong with it."""
    try:
        path.lstat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


def is_plain_name(name: str) -> bool:
    """Whether a file or folder of this name lies where it is put: no slash, no dots alone, all printable, not long."""
    is_odd = name in ("", ".", "..") or not {"/", "\\"}.isdisjoint(name) or not name.isprintable()
    return not is_odd and len(name.encode()) <= LONGEST_NAME


def check_folder(folder: Path, option: str) -> None:
    """
    Raises:
        ConfigError: nothing can be written into `folder`, which need not be there yet; `option` is what named it.
    """
    if os.fsencode(folder) != str(folder).encode(errors="replace"):
        raise ConfigError(f"{option} {folder!r}: is no UTF-8, which tables and links need; give another folder.")
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
    except OSError as error:
        raise ConfigError(f"{option} {folder}: {error.strerror}; give another folder.") from None
    if not there.is_dir():
        raise ConfigError(f"{option} {folder}: {there} is a file; give a folder.")
    try:
        with TemporaryFile(dir=there):
            pass
    except OSError as error:
        if error.errno not in FULL_DISK_ERRORS:  # which may have room by then; what writes tells of it
            raise ConfigError(f"{option} {folder}: {there} cannot be written to; give another folder.") from None


def check_output(path: Path, option: str) -> None:
    """
    Raises:
        ConfigError: no file can be written at `path`; `option` is what named it.
    """
    check_folder(path.parent, option)
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise ConfigError(f"{option} {path}: its name is longer than {LONGEST_NAME} bytes; give a shorter one.")
    if is_folder(path):
        raise ConfigError(f"{option} {path}: is a folder; name a file in it.")
    # A new file would take the place of it: of /dev/stdout, say.
    if os.path.lexists(path) and (path.is_symlink() or not is_file(path)):
        raise ConfigError(f"{option} {path}: is a link, a pipe or a device; name the file itself, or another one.")


def expanded(text: str | Path) -> Path:
    """The path with ~ expanded, absolute.

    Raises:
        ConfigError: it begins with ~ and the name of nobody who has a home here.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"{text}: there is no such home folder; write the path without ~.") from None
