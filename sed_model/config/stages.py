"""What each stage is: which stage it starts from, and where its epochs lie on the global epoch counter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from sed_model.config.sed_config import SedConfig
from sed_model.config.training import STAGE_NAMES
from sed_model.core.errors import ConfigError

PARENTS: dict[str, str | None] = {
    "pretrain_ce": None,
    "train_bce": "pretrain_ce",
    "finetune": "train_bce",
    "pseudo": "finetune",
}
SUPERVISED_STAGES = ("pretrain_ce", "train_bce", "finetune")


@dataclass(frozen=True)
class StagePlan:
    """A stage's place in the chain: its epochs are first_epoch + 1 to first_epoch + epochs, globally."""

    name: str
    first_epoch: int
    epochs: int

    @property
    def last_epoch(self) -> int:
        return self.first_epoch + self.epochs


def plan_stages(config: SedConfig, names: Sequence[str], epochs_scale: float = 1.0) -> tuple[StagePlan, ...]:
    """The chain of stages, in order; every stage has at least one epoch however small `epochs_scale` is.

    Raises:
        ConfigError: a name is unknown, missing or out of order.
    """
    check_stage_names(names)
    plans: list[StagePlan] = []
    for name in names:
        first_epoch = plans[-1].last_epoch if plans else 0
        plans.append(StagePlan(name, first_epoch, max(1, math.ceil(config.stages[name].epochs * epochs_scale - 1e-9))))
    return tuple(plans)


def check_stage_names(names: Sequence[str]) -> None:
    """Raise ConfigError unless `names` is a run of stages in which each starts from the one before."""
    known = ", ".join(STAGE_NAMES)
    unknown = [name for name in names if name not in PARENTS]
    if unknown:
        raise ConfigError(f"stage {unknown[0]!r}: unknown; the stages are {known}.")
    if not names:
        raise ConfigError(f"no stage is named; choose from {known}.")
    for before, name in itertools.pairwise(names):
        if PARENTS[name] != before:
            raise ConfigError(
                f"stages {','.join(names)}: {name} starts from {PARENTS[name]}, not {before}; the order is {known}."
            )
