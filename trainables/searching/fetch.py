"""With `--storage`: trials' files come into the run folder as trials end, so that all that reads it works as ever."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ray.tune import Callback

from sed_model.core.errors import DataError
from sed_model.model.checkpoint import PREVIOUS_STATE_FILE, STATE_FILE
from trainables.on_ray.trial_storage import TrialFiles
from trainables.trials.trial import SearchJob

STATES = (STATE_FILE, PREVIOUS_STATE_FILE)


class Fetcher(Callback):
    """Tune callback: fetches the folder of each trial that ended; those that could not be fetched are in `left`.

    Args:
        folder_of: the folder of a Tune trial in the run folder.
    """

    def __init__(self, job: SearchJob, folder_of: Callable[[Any], Path]) -> None:
        self._job, self._folder_of = job, folder_of
        self.left: list[Path] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._try(self._folder_of(trial))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._try(self._folder_of(trial))

    def _try(self, folder: Path) -> None:
        try:
            fetch(self._job, folder)
        except OSError as error:
            self.left.append(folder)
            print(f"{folder.name} could not be fetched from the storage ({error}); tried again at the end", flush=True)


def fetch(job: SearchJob, folder: Path) -> None:
    """Bring a trial's model, predictions, configuration, lineage and events into `folder`; the states are dropped.

    Raises:
        OSError: the storage cannot be reached, or refuses.
        DataError: a stored file is damaged.
    """
    files = TrialFiles(folder, job.stored(folder))
    files.pull(skip=STATES)
    files.close(without=STATES)


def fetch_all(job: SearchJob, folders: Iterable[Path]) -> None:
    """Fetch what an earlier attempt, or a search that was killed, left in the storage.

    Raises:
        DataError: it cannot be fetched.
    """
    for folder in folders:
        try:
            fetch(job, folder)
        except OSError as error:
            raise DataError(
                f"{folder.name}: its files are still in {job.storage} ({error}); --resume fetches them."
            ) from None
