"""What the names of soundscapes tell, and what their windows are called."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import PurePosixPath

SITE = re.compile(r"(?:^|[_/])([A-Za-z]+\d+)_\d{8}_\d{6}$")
"""As the competitions name soundscapes: site, date and time, `H02_20230420_074000` or `BC2026_Train_0001_S01_..`."""

STARTED = re.compile(r"(?:^|_)(\d{8}_\d{6})$", re.ASCII)


def site_of(path: str) -> str | None:
    """The site in a soundscape's name, or None."""
    found = SITE.search(PurePosixPath(path).stem)
    return found[1] if found else None


def site_or_folder(path: str) -> str:
    """The site in a soundscape's name, else the first folder of its path, or nothing."""
    folders = PurePosixPath(path).parts[:-1]
    return site_of(path) or (folders[0] if folders else "")


def recorded_at(path: str) -> datetime | None:
    """When a soundscape begins, by a name that ends with date and time as recorders write them; or None."""
    found = STARTED.search(PurePosixPath(path).stem)
    try:
        return datetime.strptime(found[1], "%Y%m%d_%H%M%S") if found else None
    except ValueError:
        return None


def row_id(stem: str, end_s: float) -> str:
    """`("H01", 5.0)` -> `"H01_5"`; fractions of a second up to the millisecond."""
    return f"{stem}_{end_s:.3f}".rstrip("0").rstrip(".")
