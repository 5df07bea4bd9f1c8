"""The hearing job: share recordings out over actors that hear them with a foreign model, and keep what it says."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util import ActorPool
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sed_model.clips.embedding_build import HearingPlan, building, explained, hear_file, hearing_plan, loaded, survey
from sed_model.clips.embedding_cache import EmbeddingCache, finished
from sed_model.config.sed_config import Data
from sed_model.core.errors import TrainingError, UserError
from sed_model.core.texts import counted
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.runner import load_teacher
from trainables.on_ray.cluster import cluster_nodes, ray_session
from trainables.on_ray.node_check import nodes_with

RETRIES = 2
"""Restarts of an actor that dies, and tries of the recording that it was at."""
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
    actors: list[Any] = []
    try:
        actors.extend(_Listener.options(**place).remote(hearing) for place in places[:n_actors])  # type: ignore[attr-defined]
        results = ActorPool(actors).map_unordered(lambda actor, path: actor.hear.remote(path), list(missing))
        with _users_errors():
            _watch(results, len(missing))
    except RayActorError:
        raise TrainingError(
            f"a process that hears recordings was killed {RETRIES + 1} times, perhaps for want of memory; lower the "
            "number of workers. What is heard is kept: the same command goes on."
        ) from None
    finally:  # also where the teacher or the disk fails, or the user interrupts: they would hold on to their CPUs
        for actor in actors:
            ray.kill(actor)


@contextmanager
def _users_errors() -> Iterator[None]:
    """Errors that are the user's to mend, raised in an actor, are raised here as they are."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise


def _watch(results: Iterator[str], n_files: int) -> None:
    """Lines of progress; each file that cannot be read is told at once."""
    start_s = last_s = time.monotonic()
    for n_done, problem in enumerate(results, start=1):
        if problem:
            print(f"cannot be read: {problem}", flush=True)
        now_s = time.monotonic()
        if now_s - last_s >= TELL_S or n_done == n_files:
            last_s, rate = now_s, n_done / max(now_s - start_s, 1e-9)
            left_s = (n_files - n_done) / rate
            print(f"heard {n_done}/{n_files} files  {rate:.1f} files/s  {left_s:.0f} s left", flush=True)


def _places(hearing: HearingPlan) -> list[dict[str, Any]]:
    """A place for each CPU of the machines that see the recordings, the teacher and the cache, or one on this."""
    seeing = nodes_with(cluster_nodes(), hearing.folder, [hearing.root, hearing.teacher.path])
    places = [(node.id, 1) for node in seeing for _ in range(int(node.cpus))]
    return [
        {
            "num_cpus": cpus,
            "max_restarts": RETRIES,
            "max_task_retries": RETRIES,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
        }
        for node_id, cpus in places or [(ray.get_runtime_context().get_node_id(), 0)]
    ]


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
