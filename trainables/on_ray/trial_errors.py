"""What went wrong in a trial that raised, from what Tune wrote of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any


def trial_error(trial: Any) -> str:
    """The error in one line."""
    return error_line(error_text(trial))


def error_text(trial: Any) -> str:
    """All that Tune wrote of a trial's errors; it is copied into the run folder a little later."""
    file = Path(trial.error_file) if trial.error_file else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""


def error_line(traceback: str) -> str:
    """The line of a traceback that names the error: the last that begins with its type, or the last of all."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    return (named or lines or ["unknown error"])[-1]
