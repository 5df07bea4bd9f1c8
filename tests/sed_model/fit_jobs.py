"""Jobs for `fit` on the tiny data."""

from __future__ import annotations

from pathlib import Path

from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.train.fit import FitJob

CHAIN = ("pretrain_ce", "train_bce")


def job(config: SedConfig, folder: Path, stages: tuple[str, ...] = CHAIN, checkpoint_every_s: float = 1e9) -> FitJob:
    return FitJob(config, plan_stages(config, stages), folder, checkpoint_every_s=checkpoint_every_s)


def short(config: SedConfig, **epochs: int) -> SedConfig:
    return config.with_overrides({f"stages.{stage}.epochs": n for stage, n in epochs.items()})
