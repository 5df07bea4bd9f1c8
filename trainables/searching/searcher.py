"""Draws the points of a search with Optuna, tells it the truth about stopped trials, takes up a broken-off study."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import NSGAIISampler
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState
from ray.tune.search import Searcher

from sed_model.core.files import drop_torn_line
from trainables.searching.sampling import draws_by, make_sampler, n_of_portfolio
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import DEFAULT, PORTFOLIO, QUASI_RANDOM, TUNE_METRICS

STUDY_NAME = "sed-search"
WARM_START = "warm_start"
"""User attribute of a trial that another search ran: the name of its run folder."""
DRAWN_BY = "drawn_by"
"""User attribute of a trial of this search: how it was drawn."""
DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
STATUSES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


class SedSearcher(Searcher):
    """Draws points of a search space; each trial gets its Optuna number, which names its folder.

    Ray's own OptunaSearch hands stopped trials to Optuna as complete, with their last value, and leaves out the report
    that stopped them: TPE then takes a score after two epochs for a final one. Here they are PRUNED, with all values.
    Trials that a broken-off search left RUNNING in the journal are suggested again, with the same number and values.

    Args:
        time_budget_s: no trial is suggested after so many seconds; those that run then are not touched.
        epoch_budget: no trial is suggested once the trials of this process have reported so many epochs.
        earlier: trials of other searches, by which a new study starts better informed; see `warm_start`.
        portfolio: points that a new study tries right after the default, unless it has earlier trials.
    """

    def __init__(
        self,
        space: SearchSpace,
        journal: Path,
        time_budget_s: float | None = None,
        earlier: Sequence[optuna.trial.FrozenTrial] = (),
        epoch_budget: float = math.inf,
        portfolio: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        settings = space.search
        metric = TUNE_METRICS[settings.metric]
        self.objectives = (metric,) if settings.cost is None else (metric, settings.cost)
        modes: list[str] = [settings.mode, "min"]
        super().__init__(*((metric, modes[0]) if settings.cost is None else (list(self.objectives), modes)))
        self._storage = open_journal(drop_torn_line(journal))
        directions = [DIRECTIONS[mode] for mode in modes[: len(self.objectives)]]
        self.study = optuna.create_study(
            storage=self._storage, study_name=STUDY_NAME, directions=directions, load_if_exists=True
        )
        known = self.study.get_trials(deepcopy=False)
        self._space = space
        self._trials: dict[str, optuna.trial.Trial] = {}
        self._points: dict[str, dict[str, Any]] = {}
        self._ended: set[str] = set()
        self._unfinished = [trial for trial in known if trial.state is TrialState.RUNNING]
        self._deadline_s = math.inf if time_budget_s is None else time.monotonic() + time_budget_s
        self._epochs_left = epoch_budget
        if all(WARM_START in trial.user_attrs for trial in known):
            self.study.add_trials(earlier[len(known) :])
        self._enqueue(portfolio)
        trials = self.study.get_trials(deepcopy=False)
        self._n_earlier = sum(WARM_START in trial.user_attrs for trial in trials)
        self._n_before = self._n_earlier + n_of_portfolio(trials)

    def _enqueue(self, portfolio: Sequence[Mapping[str, Any]]) -> None:
        """What a new study tries first, or what is missing of it where a search was killed just here."""
        trials = self.study.get_trials(deepcopy=False)
        own = [trial for trial in trials if WARM_START not in trial.user_attrs]
        if any(trial.state is not TrialState.WAITING for trial in own):
            return
        points = [self._space.base_point(), *(portfolio if len(own) == len(trials) else ())]
        for place, point in list(enumerate(points))[len(own) :]:
            self.study.enqueue_trial(dict(point), user_attrs={PORTFOLIO: place} if place else None)

    def finished(self) -> dict[int, str]:
        """Number -> status (complete, pruned, failed) of this search's trials that need no more work."""
        trials = self.study.get_trials(deepcopy=False, states=tuple(STATUSES))
        return {trial.number: STATUSES[trial.state] for trial in trials if WARM_START not in trial.user_attrs}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]
        """The trial's `number`, the `values` drawn for it, and how it was drawn (`drawn_by`).

        Searcher.FINISHED once the budget is used up.
        """
        if trial_id not in self._trials:
            if time.monotonic() > self._deadline_s or self._epochs_left <= 0:
                return Searcher.FINISHED
            trial, drawn_by = self._next_trial()
            values = self._space.suggest(trial)
            trial.set_user_attr(DRAWN_BY, drawn_by)
            self._trials[trial_id] = trial
            self._points[trial_id] = {"number": trial.number, "values": values, DRAWN_BY: drawn_by}
        return self._points[trial_id]

    def save(self, checkpoint_path: str) -> None:
        """Nothing: Tune asks for it all the time, and the journal has all."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""

    def _next_trial(self) -> tuple[optuna.trial.Trial, str]:
        """A trial that was broken off, or a new one; and how it is drawn.

        Its draws depend on the seed, its number and the history, and on no draws before: a search that was broken off
        goes on with the points that an unbroken one would draw.
        """
        if self._unfinished:
            known = self._unfinished.pop(0)
            drawn_by = known.user_attrs.get(DRAWN_BY) or self._set_sampler(known.number)
            study = self._storage.get_study_id_from_name(STUDY_NAME)
            place = self._storage.get_trial_id_from_study_id_trial_number(study, known.number)
            return optuna.trial.Trial(self.study, place), drawn_by
        trials = self.study.get_trials(deepcopy=False)
        drawn_by = self._set_sampler(sum(trial.state is not TrialState.WAITING for trial in trials))
        trial = self.study.ask()
        if isinstance(self.study.sampler, NSGAIISampler) and drawn_by not in (DEFAULT, PORTFOLIO):
            frozen = self.study.get_trials(deepcopy=False)[trial.number]
            if self.study.sampler.get_trial_generation(self.study, frozen) == 0:
                drawn_by = QUASI_RANDOM
        return trial, drawn_by

    def _set_sampler(self, number: int) -> str:
        """The sampler that draws trial `number`; how it draws comes back."""
        space, known = self._space, self.study.get_trials(deepcopy=False)
        drawn_by = draws_by(space.search, number, self._n_earlier, known)
        self.study.sampler = make_sampler(space, number, self._n_before, drawn_by)
        return drawn_by

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        if "failure" not in result:
            self._epochs_left -= 1
            self._report(self._trials[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        if trial_id in self._ended:
            return
        self._ended.add(trial_id)
        trial = self._trials[trial_id]
        values: list[Any] = [(result or {}).get(name) for name in self.objectives]
        if error or result is None or any(value is None or not math.isfinite(value) for value in values):
            self.study.tell(trial, state=TrialState.FAIL)
        elif result["finished"]:
            self.study.tell(trial, values)
        else:
            self._epochs_left -= 1
            self._report(trial, result)  # Tune does not hand over the report that stopped the trial
            self.study.tell(trial, state=TrialState.PRUNED)

    def _report(self, trial: Any, result: dict[str, Any]) -> None:
        """An intermediate value. Optuna keeps the first of an epoch, and warns of others: a resumed trial has them.

        With two objectives Optuna takes none: it then ranks stopped trials behind all others.
        """
        if len(self.objectives) > 1:
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*is already reported", category=UserWarning)
            trial.report(result[self.objectives[0]], result["epoch"])


def open_journal(path: Path) -> optuna.storages.JournalStorage:
    """Optuna's storage in one file; optuna-dashboard opens it, also while the search runs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.JournalStorage(JournalFileBackend(str(path)))
