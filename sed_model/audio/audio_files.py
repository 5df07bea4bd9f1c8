"""Which audio files a folder holds, from one walk; and a digest of what each of them holds."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from sed_model.core.errors import DiskFullError
from sed_model.core.files import read_arrays, replacing
from sed_model.core.paths import expanded

AUDIO_SUFFIXES = frozenset({".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav"})
UNREADABLE_SUFFIXES = frozenset(
    {".3gp", ".aac", ".ac3", ".amr", ".ape", ".caf", ".m4a", ".mp4", ".webm", ".wma", ".wv"}
)
"""Of sound that libsndfile does not read, or that recordings are not handed round in."""
APPLE_DOUBLE = "._"
"""Begins the names of the files in which a Mac keeps its notes on another file of that name; they hold no sound."""
DIGEST_BYTES = 16
UNREADABLE = bytes(DIGEST_BYTES)
"""In place of the digest of a file that is not there, or that nobody may read."""
EMPTY = hashlib.blake2b(digest_size=DIGEST_BYTES).digest()
"""The digest of a file of no bytes."""
SMALL_BYTES = 64 * 2**20
"""Files that are together no larger are read at each start: that takes no longer than to look after a table."""
SETTLED_NS = 2_000_000_000
"""A file that was touched less long ago may change again without a new time: clocks of file systems are coarse."""
QUIET_S = 30.0
"""Away from a terminal, only what takes longer than this shows its progress."""

_log = logging.getLogger(__name__)
_Stamp = tuple[int, int, int]
_NO_STAMP: _Stamp = (-1, -1, -1)


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


def list_audio(root: Path, name: str, follow_links: bool = False) -> AudioListing:
    """Walk `root/name` once. The folder itself may be a link; links inside it have to stay inside it or `root`.

    With `follow_links` they may lead anywhere, but to something.
    """
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
                    if entry.is_symlink() and not _may_follow(entry.path, allowed, follow_links):
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


def _may_follow(path: str, allowed: tuple[str, ...], anywhere: bool) -> bool:
    real = os.path.realpath(path)
    return Path(real).exists() and (anywhere or any(os.path.commonpath([real, folder]) == folder for folder in allowed))


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


def default_cache_home() -> Path:
    """$SED_CACHE_DIR or ~/.cache/sed-search."""
    return expanded(os.environ.get("SED_CACHE_DIR") or "~/.cache/sed-search")


def content_digests(root: Path, paths: Sequence[str], home: Path | None = None) -> list[bytes]:
    """The digest (BLAKE2b, 16 bytes) of every byte of each file, in the order of `paths`, which are relative to `root`.

    Of large folders they are kept in a table in `home` (default: where audio caches are). A file is read again when its
    size, its time of modification or its time of change (ctime, which no program can set back) differ.
    """
    stamps = {path: _stamp(root / path) for path in dict.fromkeys(paths)}
    if sum(max(0, size) for size, _, _ in stamps.values()) <= SMALL_BYTES:
        known = _read_all(root, stamps, progress=False)
    else:
        known = _remembered(root, stamps, (home or default_cache_home()) / "digests")
    return [known[path].digest for path in paths]


@dataclass(frozen=True)
class _Content:
    """What a file holds, and the times and size that it had when it was read."""

    stamp: _Stamp
    digest: bytes


def _stamp(path: Path) -> _Stamp:
    try:
        return _stamp_of(path.stat())
    except (OSError, ValueError):
        return _NO_STAMP


def _stamp_of(status: os.stat_result) -> _Stamp:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _remembered(root: Path, stamps: dict[str, _Stamp], home: Path) -> dict[str, _Content]:
    """What the files hold by the table of their folder, to which is added what it lacks."""
    name = hashlib.blake2b(os.fsencode(root.resolve()), digest_size=DIGEST_BYTES).hexdigest()
    table = home / f"{name}.npz"
    known = _read_table(table)
    if not _changed(stamps, known):
        return known
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f"{name}.lock"):  # trials that start together read the files once
            known = _read_table(table)
            known |= _read_all(root, _changed(stamps, known))
            _write_table(table, known)
    except (OSError, DiskFullError) as error:
        _log.warning(
            "what the audio files of %s hold cannot be noted (%s): each start reads them; set SED_CACHE_DIR to a "
            "folder that can be written",
            *(root, error),
        )
    return known | _read_all(root, _changed(stamps, known))


def _changed(stamps: dict[str, _Stamp], known: dict[str, _Content]) -> list[str]:
    return [path for path, stamp in stamps.items() if path not in known or known[path].stamp != stamp]


def _read_all(root: Path, paths: Iterable[str], progress: bool = True) -> dict[str, _Content]:
    names = list(paths)
    on_terminal = sys.stderr.isatty()
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        bar = tqdm(
            pool.map(lambda path: _read(root / path), names),
            total=len(names),
            desc="reading audio files for their digests",
            unit="file",
            disable=not progress,  # a bar has a thread of its own, which stays
            delay=2.0 if on_terminal else QUIET_S,
            mininterval=0.1 if on_terminal else QUIET_S,
            dynamic_ncols=True,
        )
        return dict(zip(names, bar, strict=True))


def _read(path: Path) -> _Content:
    """What a file holds; without a stamp where it changed while it was read."""
    try:
        if not path.is_file():  # a pipe would block for ever
            return _Content(_NO_STAMP, UNREADABLE)
        with path.open("rb") as file:
            before = _stamp_of(os.fstat(file.fileno()))
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_BYTES)).digest()
            same = before == _stamp_of(os.fstat(file.fileno()))
    except (OSError, ValueError):
        return _Content(_NO_STAMP, UNREADABLE)
    return _Content(before if same else _NO_STAMP, digest)


def _read_table(path: Path) -> dict[str, _Content]:
    """What is noted; nothing where there is no table, or a damaged one, which is then written anew."""
    try:
        arrays = read_arrays(path, ("paths", "stamps", "digests"))
        names = arrays["paths"].tobytes().decode("utf-8", "surrogateescape").split("\0")
        stamps, digests = arrays["stamps"], arrays["digests"]
        fits = stamps.shape == (len(names), 3) and digests.shape == (len(names), DIGEST_BYTES)
        if not fits or stamps.dtype != np.int64 or digests.dtype != np.uint8:
            return {}
    except ValueError:
        return {}
    rows = zip(names, stamps.tolist(), digests, strict=True)
    return {name: _Content((stamp[0], stamp[1], stamp[2]), digest.tobytes()) for name, stamp, digest in rows}


def _write_table(path: Path, known: dict[str, _Content]) -> None:
    """Note what lay still long enough for its times to mean something."""
    settled_ns = time.time_ns() - SETTLED_NS
    kept = {name: one for name, one in known.items() if one.stamp != _NO_STAMP and one.stamp[2] < settled_ns}
    if not kept:
        return
    digests = b"".join(one.digest for one in kept.values())
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            paths=np.frombuffer("\0".join(kept).encode("utf-8", "surrogateescape"), np.uint8),
            stamps=np.array([one.stamp for one in kept.values()], np.int64),
            digests=np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES),
        )
