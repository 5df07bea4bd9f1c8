"""Stopping Tune's loop between two steps: most of its hooks swallow what they raise, or wrap it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, TuneError

from sed_model.core.errors import DiskFullError, TrainingError, UserError
from sed_model.core.files import explained_full_disk, tells_of_full_disk
from trainables.on_ray.cluster import has_ended, own_raylets
from trainables.on_ray.repairs import error_text

LEAST_FREE_BYTES = 2**20
"""Tune stops before the disk is quite full: tables and journal can still be written then."""
LOOK_EVERY_S = 5.0
"""At the machines."""
OUT_OF_MEMORY = (
    "Ray ended trials because the machine's memory was nearly full, by them or by other processes; free some, or run "
    "fewer at a time with --max-concurrent 1."
)
RAY_KILLED = "Ray's processes were killed, perhaps for want of memory."


class StoppedError(TrainingError):
    """It cannot go on as it is; trials that ran can be gone on with."""


class StoppingCallback(Callback):
    """Tune callback that makes Tune's loop raise what it is told, or that the disk of `folder` is full, or Ray is dead.

    Trials that run then can be gone on with.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stop: UserError | None = None
        self._next_look_s = 0.0
        self._raylets = own_raylets()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        if self._folder.exists() and shutil.disk_usage(self._folder).free < LEAST_FREE_BYTES:
            self.stop(DiskFullError(f"{self._folder}: less than 1 MB is left on this disk; make some space."))
        if self._raylets and all(map(has_ended, self._raylets)):
            # Ray notices after a quarter of a minute, and ends this process without a word on how to go on.
            self.stop(StoppedError(RAY_KILLED))
        elif time.monotonic() > self._next_look_s:
            self._next_look_s = time.monotonic() + LOOK_EVERY_S
            # Tune would wait for ever for a machine that can take a trial.
            if ray.is_initialized() and not any(node["Alive"] for node in ray.nodes()):
                self.stop(StoppedError(RAY_KILLED))
        self.raise_stop()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.raise_stop()

    def stop(self, reason: UserError) -> None:
        """Have the loop raise it."""
        self._stop = reason

    def flush(self) -> None:
        """Write what has not been written yet, where there is such; then as `raise_stop`."""
        self.raise_stop()

    def raise_stop(self) -> None:
        """
        Raises:
            UserError: why the loop was stopped, if it was.
        """
        if self._stop is not None:
            raise self._stop

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """A full disk that the block finds is raised between two steps."""
        try:
            with explained_full_disk(self._folder):
                yield
        except DiskFullError as error:
            self.stop(error)

    def is_disk_full(self, trial: Any) -> bool:
        """Whether that is why Tune gave the trial up; then it is no error of the trial's, and the loop is stopped."""
        if not tells_of_full_disk(error_text(trial)):
            return False
        self.stop(self.disk_full())
        return True

    def disk_full(self) -> DiskFullError:
        return DiskFullError(f"{self._folder}: no space is left on this disk; make some.")


def run_tuner(tuner: tune.Tuner, stopping: StoppingCallback) -> None:
    """Tune's loop, which has `stopping` among its callbacks.

    Raises:
        UserError: why the loop was stopped.
        DiskFullError: no space is left.
        StoppedError: Ray ended trials for want of memory.
    """
    try:
        try:
            tuner.fit()
        finally:
            stopping.flush()  # raises what stopped the loop, which Tune may have wrapped
    except TuneError as error:
        if not tells_of_full_disk(error):
            raise
        raise stopping.disk_full() from None
    except RuntimeError as error:
        # Ray ends workers before the machine's memory is full, and Tune ends the loop of those that train.
        if not isinstance(error.__cause__, ray.exceptions.OutOfMemoryError):
            raise
        raise StoppedError(OUT_OF_MEMORY) from None
