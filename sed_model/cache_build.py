"""Building an audio cache: decode in parallel, write in order, publish whole."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from sed_model.decoding import BadAudio, UnreadableAudioError, decode, duration_s
from sed_model.errors import DataError
from sed_model.files import write_text

FORMAT = 1
FULL_SCALE = 32_768.0
"""int16 value of a sample of 1.0."""
SAMPLES_FILE, ENERGIES_FILE, INDEX_FILE = "samples.int16", "energies.float32", "index.npz"
EDGE_BYTES = 65_536
SPARE_BYTES = 16 * 2**20
_KEY = re.compile("[0-9a-f]{32}")
QUIET_S = 30.0
"""Away from a terminal, only builds longer than this show their progress."""

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class CachePlan:
    """What a cache holds: `paths` are sorted, unique and relative to `root`."""

    root: Path
    paths: tuple[str, ...]
    sample_rate_hz: int
    max_recording_s: float


@dataclass(frozen=True)
class _Decoded:
    path: str
    samples: np.ndarray
    energies: np.ndarray
    reason: str = ""


def content_key(plan: CachePlan, home: Path) -> str:
    """Hex key of the plan's content: names, sizes, first and last 64 KiB of the files, and how they are decoded.

    The key of an unchanged folder (names, sizes, modification times) is remembered in `home/keys`, so that only the
    first of many trials reads the files for it.
    """
    stamps = [_stamp(plan.root / path) for path in plan.paths]
    asked = _digest(repr((FORMAT, str(plan.root.resolve()), plan.paths, stamps, _how(plan))).encode(errors="replace"))
    memo = home / "keys" / asked
    if memo.is_file() and _KEY.fullmatch(known := memo.read_text(encoding="utf-8", errors="replace")):
        return known
    digest = hashlib.blake2b(repr(_how(plan)).encode(), digest_size=16)
    for path, edges in zip(plan.paths, bounded_map(lambda path: _edges(plan.root / path), plan.paths), strict=True):
        digest.update(repr(path).encode(errors="replace") + edges)
    write_text(memo, digest.hexdigest())
    return digest.hexdigest()


def _how(plan: CachePlan) -> tuple[object, ...]:
    return FORMAT, plan.sample_rate_hz, plan.max_recording_s


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _edges(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(EDGE_BYTES)
            file.seek(max(len(head), size - EDGE_BYTES))
            return hashlib.blake2b(size.to_bytes(8, "little") + head + file.read(), digest_size=16).digest()
    except OSError:
        return b"unreadable"


def build(plan: CachePlan, home: Path, key: str, progress: bool) -> None:
    """Decode into `home/building-KEY`, then rename to `home/KEY`. The caller holds the lock of the key.

    Raises:
        DataError: the disk has too little room.
    """
    need_bytes = estimated_bytes(plan)
    free_bytes = shutil.disk_usage(home).free
    if need_bytes + SPARE_BYTES > free_bytes:
        raise DataError(
            f"decoding {len(plan.paths)} recordings needs {need_bytes / 1e9:.2f} GB, but {home} has "
            f"{free_bytes / 1e9:.2f} GB free; "
            "set data.cache_dir or SED_CACHE_DIR to a larger disk, or lower data.max_recording_s."
        )
    temporary = home / f"building-{key}"
    temporary.mkdir()
    try:
        _write(plan, temporary, _bar(len(plan.paths), need_bytes, progress))
        if (home / key).exists():
            shutil.rmtree(home / key)
        temporary.replace(home / key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def estimated_bytes(plan: CachePlan) -> int:
    """Size of the cache by the headers of the files."""
    durations_s = bounded_map(lambda path: min(duration_s(plan.root / path), plan.max_recording_s), plan.paths)
    return int(sum(durations_s) * (2 * plan.sample_rate_hz + 4))


def _bar(total: int, n_bytes: int, progress: bool) -> tqdm[NoReturn]:
    on_terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=f"decoding audio ({n_bytes / 1e9:.2f} GB)",
        unit="file",
        disable=not progress,
        delay=0.5 if on_terminal else QUIET_S,
        mininterval=0.1 if on_terminal else QUIET_S,
        dynamic_ncols=True,
    )


def _write(plan: CachePlan, folder: Path, bar: tqdm[NoReturn]) -> None:
    paths: list[str] = []
    lengths: list[int] = []
    bad: list[BadAudio] = []
    one = functools.partial(_decode_one, plan)
    with bar, (folder / SAMPLES_FILE).open("wb") as samples, (folder / ENERGIES_FILE).open("wb") as energies:
        for decoded in bounded_map(one, plan.paths):
            bar.update()
            if decoded.reason:
                bad.append(BadAudio(decoded.path, decoded.reason))
                bar.set_postfix(unreadable=len(bad), refresh=False)  # a refresh would not wait for `delay`
                continue
            paths.append(decoded.path)
            lengths.append(len(decoded.samples))
            samples.write(decoded.samples.data)
            energies.write(decoded.energies.data)
    np.savez(
        folder / INDEX_FILE,
        header=np.array([FORMAT, plan.sample_rate_hz]),
        paths=join_text(paths),
        lengths=np.array(lengths, np.int64),
        bad_paths=join_text([item.path for item in bad]),
        bad_reasons=join_text([item.reason for item in bad]),
    )


def _decode_one(plan: CachePlan, path: str) -> _Decoded:
    nothing = np.empty(0, np.int16)
    try:
        wave = decode(plan.root / path, plan.sample_rate_hz, plan.max_recording_s)
    except UnreadableAudioError as error:
        return _Decoded(path, nothing, nothing, error.reason)
    samples = np.clip(np.rint(wave * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return _Decoded(path, samples, second_energies(samples, plan.sample_rate_hz))


def second_energies(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Mean square of each whole second of int16 samples; float32, full scale 1."""
    n_seconds = len(samples) // sample_rate_hz
    seconds = samples[: n_seconds * sample_rate_hz].reshape(n_seconds, sample_rate_hz).astype(np.float32) / FULL_SCALE
    energies: np.ndarray = np.einsum("st,st->s", seconds, seconds) / np.float32(sample_rate_hz)
    return energies


def bounded_map(function: Callable[[In], Out], items: Iterable[In]) -> Iterator[Out]:
    """Results in order, computed by a thread a core; only a few are held at a time, however many items there are."""
    n_threads = min(32, os.cpu_count() or 1)
    pending: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) >= 2 * n_threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def remove_stale(home: Path, own_key: str) -> None:
    """Delete what builders left behind that died; those alive hold the lock of their key."""
    for folder in home.glob("building-*"):
        key = folder.name.removeprefix("building-")
        if key == own_key:
            shutil.rmtree(folder)
            continue
        lock = FileLock(home / f"{key}.lock")
        try:
            with lock.acquire(timeout=0):
                shutil.rmtree(folder, ignore_errors=True)
        except Timeout:
            continue


def join_text(texts: list[str]) -> np.ndarray:
    """Texts as one array of bytes that np.savez stores without pickling."""
    return np.frombuffer("\0".join(texts).encode("utf-8", "surrogateescape"), np.uint8)


def split_text(data: np.ndarray) -> list[str]:
    """The inverse of `join_text`."""
    return data.tobytes().decode("utf-8", "surrogateescape").split("\0") if len(data) else []
