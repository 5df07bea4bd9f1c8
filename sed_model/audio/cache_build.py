"""Building an audio cache: decode in parallel, write in order, publish whole; a build that was killed goes on."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import shutil
import sys
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from sed_model.audio.audio_files import QUIET_S, content_digests
from sed_model.audio.decoding import UnreadableAudioError, decode, duration_s
from sed_model.audio.odd_lengths import OddLength, odd_lines
from sed_model.core.errors import DataError
from sed_model.core.files import read_arrays

FORMAT = 2
"""1: keys that saw the first and last 64 KiB of each file alone."""
FULL_SCALE = 32_768.0
"""int16 value of a sample of 1.0."""
SAMPLES_FILE, ENERGIES_FILE, INDEX_FILE = "samples.int16", "energies.float32", "index.npz"
DONE_FILE = "done.jsonl"
"""One line per recording, as long as a cache is being built."""
SPARE_BYTES = 16 * 2**20
_log = logging.getLogger(__name__)
_KEY = re.compile("[0-9a-f]{32}")

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
    odd: tuple[OddLength, ...] = ()


@dataclass(frozen=True)
class _Done:
    """A recording that a build has dealt with; one with a `reason` cannot be decoded, and has no samples."""

    path: str
    reason: str
    n_samples: int
    checksum: int
    """Of samples and energies: when a machine fails, this line may be on its disk, and they not."""


def content_key(plan: CachePlan, home: Path) -> str:
    """Hex key of the plan's content: names and every byte of the files, and how they are decoded."""
    digest = hashlib.blake2b(repr((FORMAT, plan.sample_rate_hz, plan.max_recording_s)).encode(), digest_size=16)
    for path, content in zip(plan.paths, content_digests(plan.root, plan.paths, home), strict=True):
        digest.update(repr(path).encode(errors="replace") + content)
    return digest.hexdigest()


def earlier_formats(home: Path) -> list[Path]:
    """Caches of earlier releases, which none is read of: their keys did not see all bytes of the recordings."""
    folders = [path for path in sorted(home.iterdir()) if _KEY.fullmatch(path.name) and (path / INDEX_FILE).is_file()]
    return [folder for folder in folders if _format_of(folder) != FORMAT]


def _format_of(folder: Path) -> int | None:
    try:
        return int(read_arrays(folder / INDEX_FILE, ("header",))["header"][0])
    except (ValueError, IndexError):
        return None


def build(plan: CachePlan, home: Path, key: str, progress: bool) -> None:
    """Decode into `home/building-KEY`, then rename to `home/KEY`. The caller holds the lock of the key.

    What an earlier build has decoded, that was killed or interrupted, is not decoded again.

    Raises:
        DataError: the disk has too little room.
    """
    temporary = home / f"building-{key}"
    there_bytes = sum(file.stat().st_size for file in temporary.glob("*"))
    need_bytes = estimated_bytes(plan)
    free_bytes = shutil.disk_usage(home).free
    if need_bytes + SPARE_BYTES > free_bytes + there_bytes:
        raise DataError(
            f"decoding {len(plan.paths)} recordings needs {need_bytes / 1e9:.2f} GB, but {home} has "
            f"{free_bytes / 1e9:.2f} GB free; "
            "set data.cache_dir or SED_CACHE_DIR to a larger disk, or lower data.max_recording_s."
        )
    temporary.mkdir(exist_ok=True)
    try:
        done = _take_up(plan, temporary)
        _decode_rest(plan, temporary, done, _bar(len(plan.paths), len(done), need_bytes, progress))
        _write_index(plan, temporary, done)
        if (home / key).exists():
            shutil.rmtree(home / key)
        temporary.replace(home / key)
    except Exception:  # not an interrupt: what is decoded stays for the next build
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    (home / key / DONE_FILE).unlink()


def estimated_bytes(plan: CachePlan) -> int:
    """Size of the cache by the headers of the files."""
    durations_s = bounded_map(lambda path: min(duration_s(plan.root / path), plan.max_recording_s), plan.paths)
    return int(sum(durations_s) * (2 * plan.sample_rate_hz + 4))


def _bar(total: int, n_done: int, n_bytes: int, progress: bool) -> tqdm[NoReturn]:
    on_terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=n_done,
        desc=f"decoding audio ({n_bytes / 1e9:.2f} GB)",
        unit="file",
        disable=not progress,
        delay=0.5 if on_terminal else QUIET_S,
        mininterval=0.1 if on_terminal else QUIET_S,
        dynamic_ncols=True,
    )


def _take_up(plan: CachePlan, folder: Path) -> list[_Done]:
    """The recordings that an earlier build left whole in its folder; what else is there is cut off."""
    names = (SAMPLES_FILE, ENERGIES_FILE, DONE_FILE)
    for name in names:
        (folder / name).touch()
    done: list[_Done] = []
    ends = [0, 0, 0]
    files = [(folder / name).open("rb") for name in names]
    with files[0] as samples, files[1] as energies, files[2] as lines:
        for path, line in zip(plan.paths, lines, strict=False):
            one = _parse_done(line)
            if one is None or one.path != path or 2 * one.n_samples > os.fstat(samples.fileno()).st_size:
                break
            n_seconds = one.n_samples // plan.sample_rate_hz
            if _checksum(samples.read(2 * one.n_samples), energies.read(4 * n_seconds)) != one.checksum:
                break
            done.append(one)
            ends = [ends[0] + 2 * one.n_samples, ends[1] + 4 * n_seconds, ends[2] + len(line)]
    for name, end in zip(names, ends, strict=True):
        os.truncate(folder / name, end)
    return done


def _parse_done(line: bytes) -> _Done | None:
    """None for a line that a kill cut short."""
    if not line.endswith(b"\n"):
        return None
    try:
        return _Done(**json.loads(line))
    except (ValueError, TypeError):
        return None


def _checksum(samples: bytes | memoryview, energies: bytes | memoryview) -> int:
    return zlib.crc32(energies, zlib.crc32(samples))


def _decode_rest(plan: CachePlan, folder: Path, done: list[_Done], bar: tqdm[NoReturn]) -> None:
    """Decode what is not in `done`, and add it there."""
    n_bad = sum(bool(one.reason) for one in done)
    odd: list[OddLength] = []
    one = functools.partial(_decode_one, plan)
    files = [(folder / name).open("ab") for name in (SAMPLES_FILE, ENERGIES_FILE, DONE_FILE)]
    with bar, files[0] as samples, files[1] as energies, files[2] as lines:
        for decoded in bounded_map(one, plan.paths[len(done) :]):
            bar.update()
            if decoded.reason:
                n_bad += 1
                bar.set_postfix(unreadable=n_bad, refresh=False)  # a refresh would not wait for `delay`
            odd.extend(decoded.odd)
            samples.write(decoded.samples.data)
            samples.flush()
            energies.write(decoded.energies.data)
            energies.flush()
            checksum = _checksum(decoded.samples.data, decoded.energies.data)
            done.append(_Done(decoded.path, decoded.reason, len(decoded.samples), checksum))
            lines.write(json.dumps(asdict(done[-1])).encode() + b"\n")
            lines.flush()
    for line in odd_lines(odd, len(plan.paths)):
        _log.warning(line)


def _write_index(plan: CachePlan, folder: Path, done: Sequence[_Done]) -> None:
    good = [one for one in done if not one.reason]
    bad = [one for one in done if one.reason]
    np.savez(
        folder / INDEX_FILE,
        header=np.array([FORMAT, plan.sample_rate_hz]),
        paths=join_text([one.path for one in good]),
        lengths=np.array([one.n_samples for one in good], np.int64),
        bad_paths=join_text([one.path for one in bad]),
        bad_reasons=join_text([one.reason for one in bad]),
    )


def _decode_one(plan: CachePlan, path: str) -> _Decoded:
    nothing = np.empty(0, np.int16)
    odd: list[OddLength] = []
    try:
        wave = decode(plan.root / path, plan.sample_rate_hz, plan.max_recording_s, 0.0, odd.append)
    except UnreadableAudioError as error:
        return _Decoded(path, nothing, nothing, error.reason)
    samples = to_int16(wave)
    return _Decoded(path, samples, second_energies(samples, plan.sample_rate_hz), odd=tuple(odd))


def to_int16(waveform: np.ndarray) -> np.ndarray:
    """Samples of full scale 1 as the cache keeps them; what is louder is cut off."""
    samples: np.ndarray = np.clip(np.rint(waveform * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return samples


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
    """Delete what builders of other caches left behind that died; those alive hold the lock of their key."""
    shutil.rmtree(home / "keys", ignore_errors=True)  # of an earlier release, by which nothing is looked up any more
    for folder in home.glob("building-*"):
        key = folder.name.removeprefix("building-")
        if key == own_key:
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
