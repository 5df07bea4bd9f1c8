"""What the names of soundscapes tell, and what their windows are called."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import PurePosixPath

SITE = re.compile(r"(?:^|[_/])(?P<site>[A-Za-z]+\d+)_(?P<date>\d{8})_(?P<time>\d{6})$")
"""As the competitions name soundscapes: site, date and time, `H02_20230420_074000` or `BC2026_Train_0001_S01_..`."""
NAME_GROUPS = ("site", "date", "time")
"""What a pattern for names may capture: a place in any writing, YYYYMMDD, HHMMSS or HHMM."""

STARTED = re.compile(r"(?:^|_)(\d{8}_\d{6})$", re.ASCII)


def site_of(path: str) -> str | None:
    """The site in a soundscape's name, or None."""
    found = SITE.search(PurePosixPath(path).stem)
    return found["site"] if found else None


def keys_of(stem: str, pattern: re.Pattern[str] = SITE) -> dict[str, str]:
    """Site, month (01 to 12) and hour (00 to 23) of a soundscape, those that its name tells.

    Args:
        stem: its name without the suffix, with the folders that it is in, if any.
        pattern: with groups named as in NAME_GROUPS, or some of them.
    """
    found = pattern.search(stem)
    told = {name: text for name, text in (found.groupdict() if found else {}).items() if text}
    keys = {"site": told["site"]} if "site" in told else {}
    if 1 <= _number(month := told.get("date", "")[4:6]) <= 12:
        keys["month"] = month
    if 0 <= _number(hour := told.get("time", "")[:2]) <= 23:
        keys["hour"] = hour
    return keys


def _number(text: str) -> int:
    """Of two digits; -1 of anything else."""
    return int(text) if len(text) == 2 and text.isascii() and text.isdecimal() else -1


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
