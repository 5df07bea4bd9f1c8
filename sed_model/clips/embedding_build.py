"""Hearing recordings with a foreign model: one file of embeddings a recording, named by what the recording holds.

A recording that several folders share is heard once, and a build that was killed goes on with what it left.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from jaxtyping import Float32
from numpy.typing import NDArray

from sed_model.audio.audio_files import UNREADABLE, content_digests
from sed_model.audio.cache import cache_home
from sed_model.audio.cache_build import bounded_map
from sed_model.audio.decoding import UnreadableAudioError
from sed_model.audio.windows import decode_as_cached
from sed_model.clips.embedding_entry import Entry, entry_in, read_entry, write_entry
from sed_model.config.sed_config import Data
from sed_model.core.errors import ConfigError, DataError
from sed_model.core.files import remove_left_over
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.runner import Teacher, load_teacher
from sed_model.teacher.windows import window_starts

FORMAT = 1
FOLDER = "embeddings"
"""In the folder of the audio caches; below it a folder for each teacher and way of hearing."""
BATCH = 16
"""Windows that are cut at a time: those of an hour would take gigabytes."""
LARGEST = float(np.finfo(np.float16).max)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HearingPlan:
    """What is heard, by whom, and where it is kept.

    Attributes:
        content: digest of each recording, by its path relative to `root`.
        columns: of the logits, those that are kept: the labels that were matched.
        folder: of the entries.
    """

    root: Path
    content: Mapping[str, bytes]
    teacher: TeacherDescription
    columns: tuple[int, ...]
    folder: Path

    def entry(self, path: str) -> Path:
        """Where the embeddings of a recording are kept."""
        return entry_in(self.folder, self.content[path])


@dataclass(frozen=True)
class Survey:
    """What a plan's folder holds: `missing` are paths to be heard, one a content; `bad` are paths and reasons."""

    missing: tuple[str, ...]
    bad: Mapping[str, str]
    dim: int
    """0 as long as nothing is there."""


def hearing_plan(
    root: Path, paths: Sequence[str], teacher: TeacherDescription, settings: Data, columns: Sequence[int]
) -> HearingPlan:
    """
    Args:
        paths: relative to `root`.
        columns: of the logits, those to keep, see `match_labels`.

    Raises:
        ConfigError: the teacher's file is not there, or it has no logits to keep.
        DataError: the cache folder cannot be written.
    """
    if columns and teacher.logits is None:
        raise ConfigError(f"{teacher.name}: {len(columns)} logits are wanted, but logits is null; name the tensor.")
    home = cache_home(settings)
    kept = tuple(int(column) for column in columns)
    folder = entries_folder(settings, teacher, teacher.digest(), kept)
    with explained(home):
        folder.mkdir(parents=True, exist_ok=True)
        names = sorted(set(paths))
        content = dict(zip(names, content_digests(root, names, home), strict=True))
    return HearingPlan(root, content, teacher, kept, folder)


def entries_folder(settings: Data, teacher: TeacherDescription, sha256: str, columns: Sequence[int]) -> Path:
    """Where entries are of what a teacher heard; `sha256` is that of its file."""
    hearing = (teacher.sample_rate_hz, teacher.window_s, teacher.hop_s, teacher.embedding, teacher.logits)
    kept = tuple(int(column) for column in columns)
    key = hashlib.blake2b(repr((FORMAT, sha256, *hearing, kept)).encode(), digest_size=16)
    return cache_home(settings) / FOLDER / key.hexdigest()


@contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turns errors of the system into one that names the cache's place."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the embeddings in {home} cannot be written ({error.strerror or error}); set data.cache_dir or "
            "SED_CACHE_DIR to a folder with room."
        ) from error


@contextmanager
def building(plan: HearingPlan) -> Iterator[None]:
    """Nobody else hears into the folder during the block; what a killed one left half-written is removed."""
    lock = FileLock(plan.folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _log.warning("waiting for another process that hears recordings into %s", plan.folder)
        lock.acquire()
    try:
        remove_left_over(plan.folder)
        yield
    finally:
        lock.release()


def survey(plan: HearingPlan) -> Survey:
    """Read all entries of the plan: a damaged one is missing."""
    first = {digest: path for path, digest in reversed(list(plan.content.items())) if digest != UNREADABLE}
    there = dict(zip(first, bounded_map(lambda digest: _of(entry_in(plan.folder, digest), plan), first), strict=True))
    bad: dict[str, str] = {}
    for path, digest in plan.content.items():
        if digest == UNREADABLE:
            bad[path] = _why_unreadable(plan.root / path)
        elif (known := there[digest]) and known[0]:
            bad[path] = known[0]
    missing = sorted(first[digest] for digest, known in there.items() if known is None)
    return Survey(tuple(missing), bad, max((known[1] for known in there.values() if known), default=0))


def _of(path: Path, plan: HearingPlan) -> tuple[str, int] | None:
    """Reason and width of the embeddings of an entry; None where there is none, or a damaged one."""
    if not path.exists():
        return None
    try:
        entry = read_entry(path)
    except ValueError as error:
        _log.warning("embeddings are damaged, and are made again (%s)", error)
        return None
    return (entry.reason, entry.embeddings.shape[1]) if entry.logits.shape[1] == len(plan.columns) else None


def _why_unreadable(path: Path) -> str:
    try:
        decode_as_cached(path, 8_000)
    except UnreadableAudioError as error:
        return error.reason
    return "it could not be read when it was looked for"


def hear_file(teacher: Teacher, plan: HearingPlan, path: str) -> str:
    """Hear a recording, and write its entry; why it cannot be decoded, or nothing.

    Raises:
        ConfigError: the teacher fails.
        DataError: the recording has changed since the plan was made.
        DiskFullError: there is no space for the entry.
    """
    try:
        entry = heard(teacher, decode_as_cached(plan.root / path, teacher.description.sample_rate_hz), plan.columns)
    except UnreadableAudioError as error:
        times, columns = np.empty(0, np.float64), np.empty((0, len(plan.columns)), np.float16)
        entry = Entry(times, times, np.empty((0, 0), np.float16), columns, error.reason)
    if content_digests(plan.root, [path], plan.folder.parents[1]) != [plan.content[path]]:
        raise DataError(f"{plan.root / path}: changed while it was heard; start again.")
    write_entry(plan.entry(path), entry)
    return entry.reason


def heard(teacher: Teacher, wave: Float32[np.ndarray, " samples"], columns: Sequence[int]) -> Entry:
    """What a teacher says of a whole recording, at its own sample rate."""
    description = teacher.description
    rate, length = description.sample_rate_hz, description.window_samples
    starts = window_starts(len(wave), length, description.hop_s * rate)
    whole = wave if len(wave) >= length else np.resize(wave, length)
    embeddings, logits = [], []
    for first in range(0, len(starts), BATCH):
        said = teacher.hear(np.stack([whole[start : start + length] for start in starts[first : first + BATCH]]))
        embeddings.append(_halved(said.embeddings))
        logits.append(_halved(said.logits[:, list(columns)]))
    ends = np.minimum(starts + length, len(wave))
    return Entry(starts / rate, ends / rate, np.concatenate(embeddings), np.concatenate(logits))


def _halved(values: NDArray[np.float32]) -> NDArray[np.float16]:
    return np.clip(values, -LARGEST, LARGEST).astype(np.float16)


def loaded(teacher: Teacher | TeacherDescription, plan: HearingPlan) -> Teacher:
    """
    Raises:
        ConfigError: it cannot be loaded, or has fewer logits than are to be kept.
    """
    ready = teacher if isinstance(teacher, Teacher) else load_teacher(teacher)
    outside = [column for column in plan.columns if not 0 <= column < ready.n_logits]
    if outside:
        raise ConfigError(f"{plan.teacher.name}: has {ready.n_logits} logits, and none at {outside[0]}; match again.")
    return ready


def describe_folder(plan: HearingPlan) -> str:
    """What a folder of entries is of, for people."""
    return json.dumps({"teacher": plan.teacher.model_dump(mode="json"), "columns": plan.columns}, indent=2) + "\n"
