"""A class that no recording holds, only labelled soundscapes: it learns where these train, and does not where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import SedConfig, config_from_dict
from sed_model.config.stages import plan_stages
from sed_model.data.recordings import read_data_folder
from sed_model.run_folder.metrics import auc_per_class
from sed_model.run_folder.predictions import read_predictions
from sed_model.train.fit import FitJob, fit
from tests.trainables.tiny import BASE, write_data

HEARD_ONLY_THERE = "grekis"
LONG = {
    "stages.train_bce.epochs": 80,
    "stages.train_bce.lr": 3.0e-3,
    "optim.ema_decay": 0.9,
    "optim.average_epochs": 1,
    "optim.early_stopping_epochs": 0,
}
"""160 steps of four clips: from random weights to three tones."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eight labelled soundscapes of tones; the recordings of one class are gone."""
    root = write_data(tmp_path / "data", 8)
    lines = (root / "train.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line.replace(f"['{HEARD_ONLY_THERE}']", "[]") for line in lines if not line.startswith(HEARD_ONLY_THERE)]
    (root / "train.csv").write_text("".join(kept), encoding="utf-8")
    return root


def auc_of_that_class(root: Path, folder: Path, changes: dict[str, object]) -> float:
    config: SedConfig = config_from_dict(BASE).with_overrides({**LONG, **changes})
    data = open_training_data(read_data_folder(root, config.data.target_s), config, progress=False)
    list(fit(FitJob(config, plan_stages(config, ("pretrain_ce", "train_bce")), folder), data))
    said = read_predictions(folder)
    return float(auc_per_class(said.targets, said.probabilities)[said.classes.index(HEARD_ONLY_THERE)])


def test_a_class_that_only_soundscapes_hold_learns_where_they_train(root: Path, tmp_path: Path) -> None:
    """Judged on the part that the model has not heard."""
    assert auc_of_that_class(root, tmp_path / "trains", {"data.soundscape_folds": 4, "data.fold": 0}) > 0.9
    assert auc_of_that_class(root, tmp_path / "does not", {}) < 0.8
