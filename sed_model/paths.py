"""Paths that users write. Imports nothing large: the commands need it for --help."""

from __future__ import annotations

import os
from pathlib import Path

from sed_model.errors import ConfigError


def is_file(path: Path) -> bool:
    """Whether a regular file is there; a name that no file can have (too long, with a NUL) is none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises OSError for a name that is too long


def expanded(text: str | Path) -> Path:
    """The path with ~ expanded, absolute.

    Raises:
        ConfigError: it begins with ~ and the name of nobody who has a home here.
    """
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"{text}: there is no such home folder; write the path without ~.") from None
