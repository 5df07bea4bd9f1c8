"""Which audio files a folder holds, from one walk."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

AUDIO_SUFFIXES = frozenset({".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav"})
UNREADABLE_SUFFIXES = frozenset(
    {".3gp", ".aac", ".ac3", ".amr", ".ape", ".caf", ".m4a", ".mp4", ".webm", ".wma", ".wv"}
)
"""Of sound that libsndfile does not read, or that recordings are not handed round in."""
APPLE_DOUBLE = "._"
"""Begins the names of the files in which a Mac keeps its notes on another file of that name; they hold no sound."""


def is_audio(name: str) -> bool:
    """Whether a file of this name is taken for a recording."""
    return Path(name).suffix.lower() in AUDIO_SUFFIXES and not name.startswith(APPLE_DOUBLE)


@dataclass(frozen=True)
class AudioListing:
    """Files below `root/name`; all paths are posix and relative to `root`."""

    name: str
    sizes: dict[str, int]
    """Audio file -> bytes."""
    others: tuple[str, ...]
    """Files that are not audio by their suffix, and pipes and the like, which would block a reader."""
    outside: frozenset[str]
    """Links that lead out of the folder, or nowhere."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Folder -> why it cannot be listed."""
    apple_double: tuple[str, ...] = ()
    """A Mac's notes on files (`._x.ogg`); none of `others`."""

    def leads_outside(self, path: str) -> bool:
        """Whether the path is, or runs through, a link out of the folder."""
        return path in self.outside or any(parent.as_posix() in self.outside for parent in PurePosixPath(path).parents)


def list_audio(root: Path, name: str) -> AudioListing:
    """Walk `root/name` once. The folder itself may be a link; links inside it have to stay inside it or `root`."""
    sizes: dict[str, int] = {}
    others: list[str] = []
    apple_double: list[str] = []
    outside: set[str] = set()
    unreadable: dict[str, str] = {}
    allowed = (os.path.realpath(root), os.path.realpath(root / name))
    seen: set[str] = set()
    pending = [name] if os.path.lexists(root / name) else []
    while pending:
        folder = pending.pop()
        real = os.path.realpath(root / folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}/{entry.name}"
                    if entry.is_symlink() and not _stays_inside(entry.path, allowed):
                        outside.add(path)
                    elif entry.is_dir():
                        pending.append(path)
                    elif entry.name.startswith(APPLE_DOUBLE):
                        apple_double.append(path)
                    elif is_audio(entry.name) and entry.is_file():
                        sizes[path] = entry.stat().st_size
                    else:
                        others.append(path)
        except OSError as error:
            unreadable[folder] = str(error.strerror)
    listed = (tuple(sorted(paths)) for paths in (others, apple_double))
    return AudioListing(name, sizes, next(listed), frozenset(outside), unreadable, next(listed))


def _stays_inside(path: str, allowed: tuple[str, ...]) -> bool:
    real = os.path.realpath(path)
    return Path(real).exists() and any(os.path.commonpath([real, folder]) == folder for folder in allowed)


def beside(listing: AudioListing) -> dict[str, list[str]]:
    """The files of a listing that are no recordings, by what they are."""
    deaf = [path for path in listing.others if PurePosixPath(path).suffix.lower() in UNREADABLE_SUFFIXES]
    suffixes = ", ".join(sorted({PurePosixPath(path).suffix.lower() for path in deaf}))
    reasons = {
        f"sound files in {listing.name} that cannot be read ({suffixes}; convert them to .flac)": deaf,
        f"other files in {listing.name}": sorted(set(listing.others) - set(deaf)),
        f"a Mac's notes on files in {listing.name} (._*), no recordings": list(listing.apple_double),
    }
    return {reason: paths for reason, paths in reasons.items() if paths}


def below(listing: AudioListing) -> list[str]:
    """The audio files in folders below that of the listing, sorted."""
    return sorted(path for path in listing.sizes if path.count("/") > 1)


def name_in(listing: AudioListing, path: str) -> str:
    """A path of a listing, from the listed folder on."""
    return path.removeprefix(f"{listing.name}/")
