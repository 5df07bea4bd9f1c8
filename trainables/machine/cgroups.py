"""Limits that a container or a service puts on its processes: cgroups of version 2 and 1 (Linux, cgroups(7))."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
NO_LIMIT_BYTES = 2**60
"""Version 1 says a number of this size where there is no limit."""


def quota_cores(cgroups: Path = CGROUPS, own: Path = OWN) -> float | None:
    """How many cores' time may be used, the least of this group and those above; None: all."""
    found: list[float] = []
    for folder in _folders(cgroups, own, "cpu"):
        words = _words(folder / "cpu.max") or _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def memory_limit_bytes(cgroups: Path = CGROUPS, own: Path = OWN) -> int | None:
    """The least limit of this group and those above; None: there is none."""
    found = []
    for folder in _folders(cgroups, own, "memory"):
        words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        if words and words[0].isdecimal() and int(words[0]) < NO_LIMIT_BYTES:
            found.append(int(words[0]))
    return min(found, default=None)


def available_bytes() -> int:
    """Memory that is free here, and no more than the limit."""
    memory = psutil.virtual_memory()
    return min(memory_limit_bytes() or memory.total, memory.available)


def _folders(cgroups: Path, own: Path, controller: str) -> Iterator[Path]:
    """Of version 2, then of version 1: the group of this process and those above it, as far as they can be seen."""
    groups = {names: path for _, names, path in (line.split(":", 2) for line in _lines(own) if line.count(":") >= 2)}
    of_version_1 = next((path for names, path in groups.items() if controller in names.split(",")), "/")
    for root, path in ((cgroups, groups.get("", "/")), (cgroups / controller, of_version_1)):
        folder = root / path.lstrip("/")
        yield from (one for one in (folder, *folder.parents) if one.is_relative_to(root))


def _words(file: Path) -> list[str]:
    return [word for line in _lines(file) for word in line.split()]


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
