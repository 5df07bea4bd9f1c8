"""ASHA (Li et al. 2020) that takes up a broken-off search, and that draws its brackets from the search's seed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from ray.tune.schedulers import AsyncHyperBandScheduler

from trainables.search_settings import AshaSettings


class Asha(AsyncHyperBandScheduler):
    """Ray's ASHA over the global epoch counter.

    Ray does not save the rungs, so that after a restart the first trials would pass them all; `refill` plays back what
    the finished trials reported. Ray draws the brackets from numpy's global state; here they follow `seed`.
    """

    def __init__(self, settings: AshaSettings, last_epoch: int, seed: int) -> None:
        super().__init__(
            time_attr="epoch",
            # A trial that reaches the last epoch ends by itself: it must not count as stopped.
            max_t=last_epoch + 1,
            grace_period=min(settings.grace_period, last_epoch),
            reduction_factor=settings.reduction_factor,
            brackets=settings.brackets,
        )
        self._rng = np.random.default_rng(seed)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Assign a bracket: those with more rungs, which stop earlier, are more likely, as in Ray."""
        n_rungs = np.array([len(bracket._rungs) for bracket in self._brackets])
        weights = np.exp(n_rungs - n_rungs.max())
        self._trial_info[trial.trial_id] = self._brackets[self._rng.choice(len(weights), p=weights / weights.sum())]

    def refill(self, reports: Iterable[tuple[str, int, float]], mode: str) -> None:
        """Put earlier reports (trial, epoch, value) into the rungs of every bracket; `mode` is max or min.

        Give the finished trials only: those that go on report again, under a new name of Ray's.
        """
        sign = 1.0 if mode == "max" else -1.0
        by_trial: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        for name, epoch, value in reports:
            by_trial[name].append((epoch, value))
        for name, values in by_trial.items():
            trial: Any = SimpleNamespace(trial_id=name)
            for epoch, value in sorted(values):
                for bracket in self._brackets:
                    bracket.on_result(trial, epoch, sign * value)


def rung_reports(curves: Iterable[Mapping[str, Any]], finished: set[str], metric: str) -> list[tuple[str, int, float]]:
    """What the finished trials told ASHA: the best macro AUC so far, or the validation loss, after each epoch."""
    best: dict[str, float] = {}
    reports = []
    for row in sorted(curves, key=lambda row: (row["trial_id"], row["epoch"])):
        name = row["trial_id"]
        if name not in finished:
            continue
        best[name] = max(best.get(name, row["macro_auc"]), row["macro_auc"])
        reports.append((name, row["epoch"], best[name] if metric == "macro_auc" else row["val_loss"]))
    return reports
