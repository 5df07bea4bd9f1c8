"""What ends Tune's loop is told to the user, with the repair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray

from trainables.on_ray.stopping import StoppedError, StoppingCallback, run_tuner


class FailingTuner:
    """Stands for Tune, whose loop raises so where Ray has ended workers for want of memory."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause

    def fit(self) -> None:
        raise RuntimeError(f"Caught unexpected exception: {self.cause}") from self.cause


def fit(cause: Exception, folder: Path) -> None:
    tuner: Any = FailingTuner(cause)
    run_tuner(tuner, StoppingCallback(folder))


def test_workers_that_ray_ends_for_want_of_memory_are_told_with_the_repair(tmp_path: Path) -> None:
    with pytest.raises(StoppedError, match=r"memory was nearly full, .* --max-concurrent 1\."):
        fit(ray.exceptions.OutOfMemoryError("2 worker(s) were killed due to the node running low on memory."), tmp_path)


def test_other_faults_of_the_loop_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Caught unexpected exception: odd"):
        fit(ValueError("odd"), tmp_path)
