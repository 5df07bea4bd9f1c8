"""OptunaSearch that tells Optuna the truth about stopped trials, and that can take up a broken-off study."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState
from ray.tune.search.optuna import OptunaSearch

from trainables.search_space import SearchSpace

STUDY_NAME = "sed-search"


class SedSearcher(OptunaSearch):
    """Draws points of a search space; each trial gets its Optuna number, which names its folder.

    Ray's own OptunaSearch hands stopped trials to Optuna as complete, with their last value, and leaves out the report
    that stopped them: TPE then takes a score after two epochs for a final one. Here they are PRUNED, with all values.
    Trials that a broken-off search left RUNNING in the journal are suggested again, with the same number and values.
    """

    def __init__(self, space: SearchSpace, journal: Path, searcher: str, seed: int, metric: str, mode: str) -> None:
        # Constant liar: TPE keeps away from trials that still run. Group: it models conditional parts apart.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler: optuna.samplers.BaseSampler = (
                optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
                if searcher == "optuna"
                else optuna.samplers.RandomSampler(seed=seed)
            )
            storage = open_journal(journal)
        super().__init__(space=space, metric=metric, mode=mode, sampler=sampler, study_name=STUDY_NAME, storage=storage)
        self.study: optuna.Study = self._ot_study  # type: ignore[assignment]
        self._unfinished = [
            optuna.trial.Trial(self.study, trial._trial_id)
            for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        ]
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(space.base_point())

    def n_finished(self) -> int:
        """Trials of the journal that need no more work."""
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        return len(self.study.get_trials(deepcopy=False, states=states))

    def suggest(self, trial_id: str) -> dict[str, Any]:
        if trial_id not in self._ot_trials and self._unfinished:
            self._ot_trials[trial_id] = self._unfinished.pop(0)
        values = super().suggest(trial_id)
        return {"number": self._ot_trials[trial_id].number, "values": values}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._ot_trials[trial_id].report(result[self.metric], result["epoch"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id in self._completed_trials:
            return
        self._completed_trials.add(trial_id)
        trial = self._ot_trials[trial_id]
        value = (result or {}).get(self.metric)
        if error or result is None or value is None or not math.isfinite(value):
            self.study.tell(trial, state=TrialState.FAIL)
        elif result["finished"]:
            self.study.tell(trial, value)
        else:
            # Tune does not hand over the report that stopped the trial; Optuna keeps the first report of a step.
            trial.report(value, result["epoch"])
            self.study.tell(trial, state=TrialState.PRUNED)


def open_journal(path: Path) -> optuna.storages.JournalStorage:
    """Optuna's storage in one file; optuna-dashboard opens it, also while the search runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    backend = JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))
    return optuna.storages.JournalStorage(backend)
