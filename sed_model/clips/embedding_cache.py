"""What a foreign model heard in recordings: heard once, kept beside the decoded audio, read by all trials."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from tqdm import tqdm

from sed_model.audio.audio_files import QUIET_S
from sed_model.audio.cache_build import join_text, split_text
from sed_model.audio.decoding import BadAudio
from sed_model.clips.embedding_build import (
    HearingPlan,
    Survey,
    building,
    describe_folder,
    explained,
    hear_file,
    hearing_plan,
    loaded,
    survey,
)
from sed_model.clips.embedding_entry import Entry, entry_in, read_entry
from sed_model.config.sed_config import Data
from sed_model.core.errors import AudioError, DataError, some
from sed_model.core.files import read_arrays, replacing, write_text
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.runner import Teacher

TOLERANCE_S = 0.01
"""Times of clips are rounded to samples at another rate."""
KEPT_FILES = 32
"""Recordings whose embeddings a process keeps at hand: clips of a soundscape are asked for one after the other."""
_log = logging.getLogger(__name__)


class EmbeddingCache:
    """Read access to what was heard; an `EmbeddingSource`. Pickles as the name of its index.

    Nothing is held open, and of a thousand recordings only the few last ones are in memory; each read is checked.
    """

    name: str
    dim: int
    bad: tuple[BadAudio, ...]
    """Recordings that could not be decoded; nothing is known of them."""

    def __init__(self, index: Path) -> None:
        """Raises DataError when the index is missing or damaged."""
        self.index = index
        fields = ("name", "sizes", "paths", "digests", "bad_paths", "bad_reasons")
        try:
            arrays = read_arrays(index, fields)
            (self.name,) = split_text(arrays["name"])
            self.dim, self.n_matched = (int(number) for number in arrays["sizes"])
            paths, digests = split_text(arrays["paths"]), arrays["digests"]
            bad = zip(split_text(arrays["bad_paths"]), split_text(arrays["bad_reasons"]), strict=True)
            self.bad = tuple(BadAudio(path, reason) for path, reason in bad)
            self._digest = {path: row.tobytes() for path, row in zip(paths, digests, strict=True)}
        except ValueError as error:
            raise DataError(f"{index}: is no index of embeddings ({error}); open them again.") from None
        self._recent: OrderedDict[str, Entry] = OrderedDict()

    def __reduce__(self) -> tuple[type[EmbeddingCache], tuple[Path]]:
        return EmbeddingCache, (self.index,)

    def __contains__(self, path: object) -> bool:
        return path in self._digest

    def __len__(self) -> int:
        return len(self._digest)

    def mean(self, path: str, start_s: float, end_s: float) -> NDArray[np.float32] | None:
        """[dim], the mean of the windows that lie between the times; None where nothing is known.

        Where none does, it is the window whose centre is nearest, if at least half of it lies between the times.
        """
        found = self.clip(path, start_s, end_s)
        return None if found is None else found[0]

    def clip(
        self, path: str, start_s: float, end_s: float
    ) -> tuple[Float32[np.ndarray, " dim"], Float32[np.ndarray, " matched"]] | None:
        """As `mean`, with the mean of the matched labels' logits."""
        if path not in self._digest:
            return None
        entry = self._entry(path)
        inside = (entry.starts_s >= start_s - TOLERANCE_S) & (entry.ends_s <= end_s + TOLERANCE_S)
        if not inside.any():
            nearest = int(np.argmin(np.abs(entry.starts_s + entry.ends_s - start_s - end_s)))
            first_s, last_s = float(entry.starts_s[nearest]), float(entry.ends_s[nearest])
            if min(end_s, last_s) - max(start_s, first_s) < (last_s - first_s) / 2 - TOLERANCE_S:
                return None
            inside[nearest] = True
        embedding, logits = (
            values[inside].mean(axis=0, dtype=np.float32) for values in (entry.embeddings, entry.logits)
        )
        return embedding, logits

    def _entry(self, path: str) -> Entry:
        if path in self._recent:
            self._recent.move_to_end(path)
            return self._recent[path]
        file = entry_in(self.index.parent, self._digest[path])
        try:
            entry = read_entry(file)
        except ValueError as error:
            raise DataError(f"{file}: is damaged ({error}); start again: it is made anew.") from None
        self._recent[path] = entry
        if len(self._recent) > KEPT_FILES:
            self._recent.popitem(last=False)
        return entry


def open_embeddings(
    root: Path,
    paths: Sequence[str],
    teacher: Teacher | TeacherDescription,
    settings: Data,
    columns: Sequence[int],
    progress: bool = True,
) -> EmbeddingCache:
    """What the teacher hears in the recordings `paths` (relative to `root`); heard on the first call, here.

    They lie in `embeddings` in `settings.cache_dir`, $SED_CACHE_DIR or ~/.cache/sed-search, by teacher and by what the
    recordings hold. Those that are there are read; missing and damaged ones are heard. The teacher is not loaded where
    nothing is missing.

    Args:
        columns: of the teacher's logits, those to keep: the labels that were matched.

    Raises:
        ConfigError: the teacher cannot be loaded, or fails.
        DataError: the cache folder cannot be written.
        AudioError: files cannot be decoded and `settings.on_bad_audio` is "fail" (the message lists all), or none can.
        DiskFullError: the disk is too small; what is heard stays.
    """
    description = teacher.description if isinstance(teacher, Teacher) else teacher
    plan = hearing_plan(root, paths, description, settings, columns)
    found = survey(plan)
    with explained(plan.folder):
        if found.missing:
            with building(plan):
                found = survey(plan)
                _hear_all(loaded(teacher, plan), plan, found.missing, progress)
            found = survey(plan)
        return finished(plan, found, settings)


def _hear_all(teacher: Teacher, plan: HearingPlan, paths: Sequence[str], progress: bool) -> None:
    on_terminal = sys.stderr.isatty()
    bar = tqdm(
        paths,
        desc=f"hearing with {plan.teacher.name}",
        unit="file",
        disable=not progress,
        delay=0.5 if on_terminal else QUIET_S,
        mininterval=0.1 if on_terminal else QUIET_S,
        dynamic_ncols=True,
    )
    for path in bar:
        hear_file(teacher, plan, path)


def finished(plan: HearingPlan, found: Survey, settings: Data) -> EmbeddingCache:
    """The reader of a plan of which nothing is missing any more.

    Raises:
        AudioError: see `open_embeddings`.
    """
    cache = EmbeddingCache(_write_index(plan, found))
    _report_bad(cache, plan, settings)
    return cache


def _write_index(plan: HearingPlan, found: Survey) -> Path:
    good = {path: digest for path, digest in plan.content.items() if path not in found.bad}
    name, bad = plan.teacher.name, sorted(found.bad.items())
    digest = hashlib.blake2b(repr((name, sorted(good.items()), bad)).encode(errors="replace"), digest_size=16)
    index = plan.folder / f"index-{digest.hexdigest()}.npz"
    with suppress(DataError):
        return EmbeddingCache(index).index
    if not (about := plan.folder / "about.json").exists():
        write_text(about, describe_folder(plan))
    with replacing(index) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            name=join_text([name]),
            sizes=np.array([found.dim, len(plan.columns)]),
            paths=join_text(list(good)),
            digests=np.frombuffer(b"".join(good.values()), np.uint8).reshape(len(good), -1 if good else 0),
            bad_paths=join_text([path for path, _ in bad]),
            bad_reasons=join_text([reason for _, reason in bad]),
        )
    return index


def _report_bad(cache: EmbeddingCache, plan: HearingPlan, settings: Data) -> None:
    if not cache.bad:
        return
    count = f"{len(cache.bad)} of {len(plan.content)} audio files in {plan.root} cannot be heard"
    if settings.on_bad_audio == "skip" and len(cache):
        _log.warning("%s and are left out: %s", count, some([bad.path for bad in cache.bad]))
        return
    for one in cache.bad:  # a disk that failed for a moment is asked again
        plan.entry(one.path).unlink(missing_ok=True)
    lines = "\n".join(f"  {bad.path}: {bad.reason}" for bad in cache.bad)
    repair = "replace them, or set data.on_bad_audio=skip to leave them out" if len(cache) else "replace them"
    raise AudioError(f"{count}:\n{lines}\n{repair}.")
