"""The mean of the last epochs' weights, which is kept where `optim.average_epochs` asks for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import SedConfig
from sed_model.model.checkpoint import load_model, read_lineage
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import read_predictions
from sed_model.train.fit import fit
from sed_model.train.progress import Progress
from tests.sed_model.fit_jobs import job, short


def test_the_mean_of_three_epochs_by_hand() -> None:
    progress = Progress()
    for weight, counter in ((1.0, 10), (2.0, 20), (6.0, 30)):
        progress.take_into_mean({"weight": torch.tensor([weight]), "counter": torch.tensor(counter)})
    assert progress.mean_weights["weight"].item() == pytest.approx(3.0)
    assert progress.mean_weights["counter"].item() == 30


def watched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The weights that are taken into the mean, in order."""
    taken: list[dict[str, Tensor]] = []
    take = Progress.take_into_mean

    def watch(self: Progress, weights: Any) -> None:
        taken.append({name: tensor.detach().clone() for name, tensor in weights.items()})
        take(self, weights)

    monkeypatch.setattr(Progress, "take_into_mean", watch)
    return taken


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_mean_of_the_last_two_epochs_is_kept_and_scored(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ema_decay: float
) -> None:
    changes = {"optim.average_epochs": 2, "optim.ema_decay": ema_decay}
    config = short(tiny_config, pretrain_ce=1, train_bce=4).with_overrides(changes)
    taken = watched(monkeypatch)
    last = list(fit(job(config, tmp_path), tiny_data))[-1]

    assert len(taken) == 2
    for name, tensor in load_model(tmp_path).model.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, (taken[0][name] + taken[1][name]) / 2)
    assert (last.best_stage, last.best_epoch, last.finished) == ("train_bce", 5, True)
    told = read_predictions(tmp_path)
    assert last.best_macro_auc == macro_auc(told.targets, told.probabilities)
    assert read_lineage(tmp_path).epoch == 5


def test_a_run_that_stops_early_keeps_its_last_epoch(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"optim.average_epochs": 2, "optim.early_stopping_epochs": 1, "stages.train_bce.lr": 1e-6}
    config = short(tiny_config, pretrain_ce=1, train_bce=30).with_overrides(changes)
    taken = watched(monkeypatch)
    results = list(fit(job(config, tmp_path), tiny_data))
    assert len(results) < 20
    assert len(taken) == 1
    assert results[-1].best_epoch == results[-1].epoch


def test_a_resumed_run_keeps_the_same_mean(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    config = short(tiny_config, pretrain_ce=1, train_bce=4).with_overrides({"optim.average_epochs": 3})
    unbroken = list(fit(job(config, tmp_path / "unbroken"), tiny_data))
    broken = fit(job(config, tmp_path / "broken", checkpoint_every_s=0), tiny_data)
    for _ in range(4):
        next(broken)
    broken.close()
    *_, last = fit(job(config, tmp_path / "broken", checkpoint_every_s=0), tiny_data)
    assert last.best_macro_auc == unbroken[-1].best_macro_auc
    first, second = (load_model(tmp_path / name).model.state_dict() for name in ("unbroken", "broken"))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=0)
