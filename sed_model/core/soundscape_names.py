"""What the names of soundscapes tell, and what their windows are called."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

SITE = re.compile(r"(?:^|[_/])([A-Za-z]+\d+)_\d{8}_\d{6}$")
"""As the competitions name soundscapes: site, date and time, `H02_20230420_074000` or `BC2026_Train_0001_S01_..`."""


def site_of(path: str) -> str | None:
    """The site in a soundscape's name, or None."""
    found = SITE.search(PurePosixPath(path).stem)
    return found[1] if found else None


def row_id(stem: str, end_s: float) -> str:
    """`("H01", 5.0)` -> `"H01_5"`; fractions of a second up to the millisecond."""
    return f"{stem}_{end_s:.3f}".rstrip("0").rstrip(".")
