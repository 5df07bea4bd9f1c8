"""The hearing job: share recordings out over actors that hear them with a foreign model, and keep what it says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from sed_model.clips.embedding_build import HearingPlan, building, explained, hear_file, hearing_plan, loaded, survey
from sed_model.clips.embedding_cache import EmbeddingCache, finished
from sed_model.config.sed_config import Data
from sed_model.core.texts import counted
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.runner import load_teacher
from trainables.on_ray.actors import Options, actor_pool, place_here, place_on, progress_line
from trainables.on_ray.cluster import cluster_nodes, ray_session
from trainables.on_ray.node_check import nodes_with

KILLED = (
    "a process that hears recordings {}; lower the number of workers. What is heard is kept: the same command goes on."
)
TELL_S = 10.0
"""Between two lines of progress."""


@dataclass(frozen=True)
class EmbedPlan:
    """What to hear, with what.

    Attributes:
        paths: recordings and soundscapes, relative to `root`.
        columns: of the teacher's logits, those to keep: the labels that were matched.
        workers: at most so many actors; None: one a CPU.
        address: of a Ray that runs, see `ray_session`; None uses this process's own, or starts one.
    """

    root: Path
    paths: tuple[str, ...]
    teacher: TeacherDescription
    columns: tuple[int, ...]
    settings: Data
    workers: int | None = None
    address: str | None = None
    dashboard: bool = False


def embed_files(plan: EmbedPlan) -> EmbeddingCache:
    """Hear what is not there yet, on all CPUs; Ray is not started, nor the teacher loaded, where nothing is missing.

    Raises:
        ConfigError, DataError, AudioError, DiskFullError: as `open_embeddings`.
        TrainingError: an actor dies again and again.
    """
    hearing = hearing_plan(plan.root, plan.paths, plan.teacher, plan.settings, plan.columns)
    found = survey(hearing)
    with explained(hearing.folder):
        if found.missing:
            with building(hearing):
                found = survey(hearing)
                _print_start(hearing, len(found.missing))
                loaded(plan.teacher, hearing)  # what is wrong with it is told here, once, before Ray starts
                with ray_session(plan.address, plan.dashboard):
                    _hear_on_actors(hearing, found.missing, plan.workers)
            found = survey(hearing)
        return finished(hearing, found, plan.settings)


def _print_start(hearing: HearingPlan, n_missing: int) -> None:
    teacher, n_all = hearing.teacher, len(hearing.content)
    there = f", {n_all - n_missing} are there already" if n_missing < n_all else ""
    print(
        f"{teacher.name} ({teacher.licence}) hears {counted(n_missing, 'file')} in windows of {teacher.window_s:g} s "
        f"every {teacher.hop_s:g} s{there}",
        flush=True,
    )


def _hear_on_actors(hearing: HearingPlan, missing: Sequence[str], workers: int | None) -> None:
    places = _places(hearing)
    n_actors = min(len(missing), workers or len(places), len(places))

    def start(place: Options) -> Any:
        return _Listener.options(**place).remote(hearing)  # type: ignore[attr-defined]

    with actor_pool(start, places[:n_actors], KILLED) as pool:
        _watch(pool.map_unordered(lambda actor, path: actor.hear.remote(path), list(missing)), len(missing))


def _watch(results: Iterator[str], n_files: int) -> None:
    """Lines of progress; each file that cannot be read is told at once."""
    start_s = last_s = time.monotonic()
    for n_done, problem in enumerate(results, start=1):
        if problem:
            print(f"cannot be read: {problem}", flush=True)
        if time.monotonic() - last_s >= TELL_S or n_done == n_files:
            last_s = time.monotonic()
            print(progress_line("heard", n_done, n_files, start_s), flush=True)


def _places(hearing: HearingPlan) -> list[Options]:
    """A place for each CPU of the machines that see the recordings, the teacher and the cache, or one on this."""
    seeing = nodes_with(cluster_nodes(), hearing.folder, [hearing.root, hearing.teacher.path])
    return [place_on(node.id, 1) for node in seeing for _ in range(int(node.cpus))] or [place_here()]


@ray.remote
class _Listener:
    """Holds the teacher, on one thread, and hears recordings, each into an entry of its own."""

    def __init__(self, hearing: HearingPlan) -> None:
        self.hearing = hearing
        self.teacher = load_teacher(hearing.teacher, is_tried=True)

    def hear(self, path: str) -> str:
        """Hear a recording; path and reason where it cannot be decoded, or nothing."""
        reason = hear_file(self.teacher, self.hearing, path)
        return f"{path}: {reason}" if reason else ""
