"""Work that is shared out over actors: where they are, what becomes of their errors, and their end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError
from ray.util import ActorPool
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sed_model.core.errors import TrainingError, UserError

RETRIES = 2
"""Restarts of an actor that dies, and tries of what it was at."""
Options = Mapping[str, Any]


def place_on(node_id: str, num_cpus: int, num_gpus: float = 0) -> Options:
    """Options of an actor on a machine, which is started again where it dies."""
    return {
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "max_restarts": RETRIES,
        "max_task_retries": RETRIES,
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
    }


def place_here() -> Options:
    """Options of an actor on this machine that waits for no CPU."""
    return place_on(ray.get_runtime_context().get_node_id(), 0)


@contextmanager
def actor_pool(start: Callable[[Options], Any], places: Sequence[Options], killed: str) -> Iterator[ActorPool]:
    """An actor at each place, started by its options; all of them end with the block, however it ends.

    They would hold on to their CPUs: also where a model or the disk fails, or the user interrupts.

    Args:
        killed: what to say where an actor dies again and again: what it does, and the repair, with {} between.

    Raises:
        TrainingError: one dies again and again.
        UserError: as an actor raised it.
    """
    actors: list[Any] = []
    try:
        actors.extend(start(place) for place in places)
        yield ActorPool(actors)
    except RayActorError:
        raise TrainingError(killed.format(f"was killed {RETRIES + 1} times, perhaps for want of memory")) from None
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise error.cause from None
        raise
    finally:
        for actor in actors:
            ray.kill(actor)


def progress_line(verb: str, n_done: int, n_files: int, start_s: float) -> str:
    """How far work is that began at `start_s` of the monotonic clock."""
    rate = n_done / max(time.monotonic() - start_s, 1e-9)
    return f"{verb} {n_done}/{n_files} files  {rate:.1f} files/s  {(n_files - n_done) / rate:.0f} s left"
