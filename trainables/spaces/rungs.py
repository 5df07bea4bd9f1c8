"""The rungs of ASHA: after which epochs trials are compared, and what stopping the weak ones there saves at best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sed_model.config.stages import StagePlan
from trainables.spaces.settings import AshaSettings

RUNG_SHARES = (0.4, 0.8)
"""Of the second stage: scores of the first say little of where a trial ends (docs/search_efficiency.md)."""
LEAST_EPOCHS = 2
"""In the stage, before a rung: right after a boundary the scores are those of a model that is not used to its loss."""


def rung_epochs(settings: AshaSettings, plans: Sequence[StagePlan]) -> tuple[int, ...]:
    """The global epochs after which trials are compared, in order; all before the last epoch.

    Without a grace period they lie at RUNG_SHARES of the second stage (or of the only one), else at the grace period
    times powers of the reduction factor.
    """
    last_epoch = plans[-1].last_epoch
    if settings.grace_period is None:
        stage = plans[min(1, len(plans) - 1)]
        epochs = {stage.first_epoch + _epochs_into(stage, share) for share in RUNG_SHARES}
        return tuple(sorted(epoch for epoch in epochs if epoch < last_epoch))
    rungs: list[int] = []
    milestone: float = settings.grace_period
    while milestone < last_epoch:
        epoch = math.ceil(milestone - 1e-9)
        if epoch < last_epoch and epoch not in rungs:
            rungs.append(epoch)
        milestone *= settings.reduction_factor
    return tuple(rungs)


def _epochs_into(stage: StagePlan, share: float) -> int:
    return min(stage.epochs, max(LEAST_EPOCHS, math.ceil(share * stage.epochs - 1e-9)))


def ideal_saving(rungs: Sequence[int], last_epoch: int, reduction_factor: float) -> float:
    """Share of the epochs that is saved when one of `reduction_factor` trials passes each rung, in 0..1."""
    passing, mean_epochs = 1.0, 0.0
    for epoch in rungs:
        mean_epochs += passing * (1 - 1 / reduction_factor) * epoch
        passing /= reduction_factor
    return 1 - (mean_epochs + passing * last_epoch) / last_epoch


def describe_rungs(settings: AshaSettings | None, plans: Sequence[StagePlan]) -> str:
    """The rungs and the ideal saving, for people."""
    last_epoch = plans[-1].last_epoch
    if settings is None:
        return f"none: every trial runs its {last_epoch} epochs"
    rungs = rung_epochs(settings, plans)
    if not rungs:
        return f"none before the last of {last_epoch} epochs: no trial is stopped early"
    places = [f"{epoch} ({_place(epoch, plans)})" for epoch in rungs]
    saving = ideal_saving(rungs, last_epoch, settings.reduction_factor)
    text = f"after epoch {', '.join(places)} of {last_epoch}, one of {settings.reduction_factor:g} goes on: "
    return f"{text}ideally {100 * saving:.0f} % of the epochs are saved"


def _place(epoch: int, plans: Sequence[StagePlan]) -> str:
    plan = next(plan for plan in plans if epoch <= plan.last_epoch)
    return f"{plan.name} {epoch - plan.first_epoch} of {plan.epochs}"
