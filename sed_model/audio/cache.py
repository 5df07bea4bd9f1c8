"""Decoded recordings in one memory-mapped int16 file: decoded once, shared by all trials, never loaded as a whole."""

from __future__ import annotations

import logging
import mmap
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from sed_model.audio.audio_files import default_cache_home
from sed_model.audio.cache_build import (
    ENERGIES_FILE,
    FORMAT,
    INDEX_FILE,
    SAMPLES_FILE,
    CachePlan,
    build,
    content_key,
    earlier_formats,
    remove_stale,
    split_text,
)
from sed_model.audio.decoding import BadAudio
from sed_model.config.sed_config import Data
from sed_model.core.errors import AudioError, DataError, some
from sed_model.core.files import ARCHIVE_ERRORS, read_arrays
from sed_model.core.paths import expanded

RESIDENT_LIMIT_BYTES = 64 * 2**20
"""So much of the map may count as the process's own memory before its pages are handed back to the page cache."""

_log = logging.getLogger(__name__)


class DamagedCacheError(Exception):
    """The files of a cache do not fit together."""


class AudioCache:
    """Read access to a finished cache. Pickles as its folder's name; each process maps the file anew."""

    sample_rate_hz: int
    bad: tuple[BadAudio, ...]
    """Files that could not be decoded; they have no samples here."""

    def __init__(self, folder: Path) -> None:
        """Raises DamagedCacheError when files are missing, truncated or of another format."""
        self.folder = folder
        try:
            index = read_arrays(folder / INDEX_FILE, ("header", "paths", "lengths", "bad_paths", "bad_reasons"))
            version, self.sample_rate_hz = (int(number) for number in index["header"])
            paths, lengths = split_text(index["paths"]), index["lengths"]
            bad_paths, bad_reasons = split_text(index["bad_paths"]), split_text(index["bad_reasons"])
        except ARCHIVE_ERRORS as error:
            raise DamagedCacheError(f"{folder}: {error}") from None
        if version != FORMAT or not self.sample_rate_hz > 0 or lengths.dtype != np.int64 or (lengths < 0).any():
            raise DamagedCacheError(f"{folder}: index of another format")
        if lengths.shape != (len(set(paths)),) or len(paths) != len(lengths) or len(bad_paths) != len(bad_reasons):
            raise DamagedCacheError(f"{folder}: index that does not fit itself")
        self.bad = tuple(BadAudio(path, reason) for path, reason in zip(bad_paths, bad_reasons, strict=True))
        self._row = {path: row for row, path in enumerate(paths)}
        self._start = np.concatenate([[0], np.cumsum(lengths)])
        self._start_second = np.concatenate([[0], np.cumsum(lengths // self.sample_rate_hz)])
        self._map, samples = _map(folder / SAMPLES_FILE, int(self._start[-1]) * 2)
        self._samples = samples.view(np.int16)
        self._energies = _map(folder / ENERGIES_FILE, int(self._start_second[-1]) * 4)[1].view(np.float32)
        self._touched_bytes = 0

    def __reduce__(self) -> tuple[type[AudioCache], tuple[Path]]:
        return AudioCache, (self.folder,)

    def __contains__(self, path: object) -> bool:
        return path in self._row

    def __len__(self) -> int:
        return len(self._row)

    def n_samples(self, path: str) -> int:
        """Length of a recording at `sample_rate_hz`."""
        row = self._row[path]
        return int(self._start[row + 1] - self._start[row])

    def samples(self, path: str, start: int = 0, n: int | None = None) -> np.ndarray:
        """Samples [start, start + n) as a read-only int16 view (full scale 32768); fewer where the recording ends."""
        length = self.n_samples(path)
        begin = min(max(0, start), length)
        end = length if n is None else min(length, begin + n)
        self._release_pages(2 * (end - begin))
        offset = self._start[self._row[path]]
        return self._samples[offset + begin : offset + end]

    def energies(self, path: str) -> np.ndarray:
        """Mean square (full scale 1) of each whole second; a read-only float32 view, empty below one second."""
        row = self._row[path]
        return self._energies[self._start_second[row] : self._start_second[row + 1]]

    def loudest_start(self, path: str, window_s: float) -> int:
        """Sample offset of the loudest window at a stride of 1 s (the first of equals; 0 for short clips)."""
        spare = self.n_samples(path) - round(window_s * self.sample_rate_hz)
        if spare < self.sample_rate_hz:
            return 0
        n_seconds = max(1, int(window_s))
        total = np.concatenate([[0.0], np.cumsum(self.energies(path), dtype=np.float64)])
        window_energy = total[n_seconds:] - total[:-n_seconds]
        return int(np.argmax(window_energy[: spare // self.sample_rate_hz + 1])) * self.sample_rate_hz

    def _release_pages(self, n_bytes: int) -> None:
        # Mapped pages that were read count as resident. Dropping them costs minor faults only: they stay in the page
        # cache, and views that were handed out stay valid.
        self._touched_bytes += n_bytes
        if self._touched_bytes > RESIDENT_LIMIT_BYTES and self._map is not None:
            self._touched_bytes = 0
            if hasattr(mmap, "MADV_DONTNEED"):
                self._map.madvise(mmap.MADV_DONTNEED)


def _map(path: Path, n_bytes: int) -> tuple[mmap.mmap | None, np.ndarray]:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != n_bytes:
                raise DamagedCacheError(f"{path}: {size} bytes where the index says {n_bytes}")
            if not size:
                return None, np.empty(0, np.uint8)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise DamagedCacheError(f"{path}: {error}") from None
    return mapped, np.frombuffer(mapped, np.uint8)


def open_cache(
    root: Path, paths: Sequence[str], sample_rate_hz: int, settings: Data, progress: bool = True
) -> AudioCache:
    """The decoded recordings `paths` (relative to `root`), built on the first call and mapped on later ones.

    The cache lies in `settings.cache_dir`, $SED_CACHE_DIR or ~/.cache/sed-search, in a folder named by the content of
    the recordings. Processes that ask for the same one build it once; a damaged one is built again.

    Raises:
        DataError: the disk is too small (before anything is decoded), or the cache folder cannot be written.
        AudioError: files cannot be decoded and `settings.on_bad_audio` is "fail" (the message lists all), or none can.
    """
    home = cache_home(settings)
    plan = CachePlan(root, tuple(sorted(set(paths))), sample_rate_hz, settings.max_recording_s)
    try:
        home.mkdir(parents=True, exist_ok=True)
        key = content_key(plan, home)
        cache = _open(home / key) or _build_once(plan, home, key, progress)
    except OSError as error:
        raise DataError(
            f"the audio cache in {home} cannot be written ({error.strerror or error}); "
            "set data.cache_dir or SED_CACHE_DIR to a folder with room."
        ) from error
    _report_bad(cache, plan, settings)
    return cache


def cache_home(settings: Data) -> Path:
    """Folder of all caches."""
    if settings.cache_dir is not None:
        return expanded(settings.cache_dir)
    return default_cache_home()


def _open(folder: Path) -> AudioCache | None:
    if not folder.is_dir():
        return None
    try:
        return AudioCache(folder)
    except DamagedCacheError as error:
        _log.warning("audio cache is damaged and is built again (%s)", error)
        return None


def _build_once(plan: CachePlan, home: Path, key: str, progress: bool) -> AudioCache:
    lock = FileLock(home / f"{key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("waiting for another process that decodes the same recordings into %s", home / key)
        lock.acquire()
    try:
        cache = _open(home / key)
        if cache is None:
            remove_stale(home, key)
            _tell_of_earlier(home)
            build(plan, home, key, progress)
            if content_key(plan, home) != key:
                shutil.rmtree(home / key)
                raise DataError(f"recordings in {plan.root} changed while they were decoded; start again.")
            cache = AudioCache(home / key)
        return cache
    finally:
        lock.release()


def _tell_of_earlier(home: Path) -> None:
    """Earlier releases' caches are not read; they may be large, and only their owner may delete them."""
    if old := earlier_formats(home):
        n_bytes = sum(file.stat().st_size for folder in old for file in folder.glob("*"))
        _log.warning(
            "%d audio caches of earlier releases (%.2f GB) are no longer read, and can be deleted: %s",
            *(len(old), n_bytes / 1e9, some([str(folder) for folder in old])),
        )


def _report_bad(cache: AudioCache, plan: CachePlan, settings: Data) -> None:
    if not cache.bad:
        return
    count = f"{len(cache.bad)} of {len(plan.paths)} audio files in {plan.root} cannot be read"
    if settings.on_bad_audio == "skip" and len(cache):
        _log.warning("%s and are left out: %s", count, some([bad.path for bad in cache.bad]))
        return
    lines = "\n".join(f"  {bad.path}: {bad.reason}" for bad in cache.bad)
    repair = "replace them, or set data.on_bad_audio=skip to leave them out" if len(cache) else "replace them"
    raise AudioError(f"{count}:\n{lines}\n{repair}.")
