"""ASHA (Li et al. 2020) that takes up a broken-off search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from sed_model.config.stages import StagePlan
from sed_model.run_folder.run_tables import trial_id
from sed_model.run_folder.window_metrics import MACRO_AUC
from trainables.spaces.rungs import rung_epochs
from trainables.spaces.settings import DEFAULT, VAL_LOSS, AshaSettings

FIRST_STAGE = "pretrain_ce"
"""In tables of earlier releases, which lack the best so far of comparable stages: that of cross-entropy."""
SAME_COST = 1.05
"""Costs are measured: up to this ratio they are taken for equal."""


class Asha(AsyncHyperBandScheduler):
    """Ray's ASHA over the global epoch counter.

    Its rungs are those of `rungs.rung_epochs`. The default configuration, which all others are compared with, is never
    stopped. Ray does not save the rungs, so that after a restart the first trials would pass them all; `refill` plays
    back what the finished trials reported.

    Args:
        plans: the stages of every trial.
        cost: name of a second objective, to be small: a trial that is weak but cheap is not stopped, as long as no
            other of its rung is better at no higher cost.
    """

    def __init__(self, settings: AshaSettings, plans: Sequence[StagePlan], cost: str | None = None) -> None:
        super().__init__(
            time_attr="epoch",
            # A trial that reaches the last epoch ends by itself: it must not count as stopped.
            max_t=plans[-1].last_epoch + 1,
            reduction_factor=settings.reduction_factor,
        )
        (self._only_bracket,) = self._brackets
        self._only_bracket._rungs = [(epoch, {}) for epoch in reversed(rung_epochs(settings, plans))]
        self._cost = cost
        self._costs: dict[str, float] = {}

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if self._cost in result:
            self._costs[trial.trial_id] = result[self._cost]
        decision = super().on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP and self._is_kept(trial, result):
            self._num_stopped -= 1
            return TrialScheduler.CONTINUE
        return decision

    def _is_kept(self, trial: Any, result: Mapping[str, Any]) -> bool:
        """Whether a weak trial goes on all the same."""
        if trial.config.get("drawn_by") == DEFAULT:
            return True
        return self._cost in result and self._on_front(trial.trial_id)

    def _on_front(self, trial_id: str) -> bool:
        """Whether no other trial of the rung that judges this one is better at a cost that is no higher."""
        rung = next(recorded for _, recorded in self._only_bracket._rungs if trial_id in recorded)
        highest = self._costs[trial_id] * SAME_COST
        return not any(
            value >= rung[trial_id] and self._costs.get(other, math.inf) <= highest
            for other, value in rung.items()
            if other != trial_id
        )

    def refill(
        self, reports: Iterable[tuple[int, int, float]], mode: str, costs: Mapping[str, float] | None = None
    ) -> None:
        """Put earlier reports (a trial's number, epoch, value) into the rungs; `mode` is max or min.

        Give the finished trials only: those that go on report again, under a new name of Ray's. `costs` has the second
        objective of each trial, by its name.
        """
        self._costs |= costs or {}
        sign = 1.0 if mode == "max" else -1.0
        for number, epoch, value in sorted(reports):
            trial: Any = SimpleNamespace(trial_id=trial_id(number))
            self._only_bracket.on_result(trial, epoch, sign * value)


def rung_reports(
    curves: Iterable[Mapping[str, Any]], finished: Iterable[int], metric: str
) -> list[tuple[int, int, float]]:
    """What the finished trials (by their numbers) told ASHA: number, epoch, and best score so far or loss."""
    numbers = {trial_id(number): number for number in finished}
    best: dict[int, tuple[str, float]] = {}
    reports, scored_by = [], MACRO_AUC if metric == VAL_LOSS else metric
    for row in sorted(curves, key=lambda row: (row["trial_id"], row["epoch"])):
        number, stage, score = numbers.get(row["trial_id"]), row["stage"], row.get(scored_by)
        if number is None or score is None:
            continue
        before, highest = best.get(number, (stage, score))
        if before == FIRST_STAGE != stage:
            highest = score
        told = row.get(f"best_{scored_by}")
        best[number] = stage, max(highest, score) if told is None else told
        reports.append((number, row["epoch"], row[VAL_LOSS] if metric == VAL_LOSS else best[number][1]))
    return reports
