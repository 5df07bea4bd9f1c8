"""The chain of stages: what starts from what, when a stage stops early, and when a run stops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError, TrainingError
from sed_model.core.files import sha256_of
from sed_model.model.checkpoint import LoadedModel, load_model, read_lineage
from sed_model.model.devices import Runtime
from sed_model.train.fit import FitJob, fit
from tests.sed_model.fit_jobs import CHAIN, job, short


@pytest.fixture(scope="module")
def parent(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a first stage of one epoch; read-only by agreement."""
    folder = tmp_path_factory.mktemp("parent")
    list(fit(job(short(tiny_config, pretrain_ce=1), folder, ("pretrain_ce",)), tiny_data))
    return folder


@pytest.fixture
def next_stage(tiny_config: SedConfig, parent: Path, tmp_path: Path) -> Callable[..., FitJob]:
    """The stage of one epoch that starts from the model in `parent`, or from another."""

    def make(start: LoadedModel | None = None, **overrides: object) -> FitJob:
        config = short(tiny_config, pretrain_ce=1, train_bce=1).with_overrides(
            {name.replace("__", "."): value for name, value in overrides.items()}
        )
        return replace(job(config, tmp_path / "bce", ("train_bce",)), parent=start or load_model(parent))

    return make


# --- what starts from what


def test_a_stage_starts_from_the_best_weights_of_the_one_before(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    # With a learning rate of nothing the first epoch of train_bce validates the weights that it was given.
    still = short(tiny_config, pretrain_ce=3, train_bce=1).with_overrides(
        {
            "stages.train_bce.lr": 1e-12,
            "stages.train_bce.min_lr": 0.0,
            "stages.train_bce.freeze_backbone": True,
            "stages.train_bce.loss": "ce",
            "stages.train_bce.secondary_weight": None,
        }
    )
    results = list(fit(job(still, tmp_path), tiny_data))
    scores = [result.macro_auc for result in results[:3]]
    assert max(scores) != scores[-1], "the last epoch is the best one: this test cannot tell best from last"
    assert results[3].macro_auc == pytest.approx(max(scores), abs=1e-9)


def test_lineage_names_the_stage_it_started_from_and_its_weights(
    parent: Path, next_stage: Callable[..., FitJob], tiny_data: TrainingData, tmp_path: Path
) -> None:
    first = read_lineage(parent)
    assert first.parent is None
    assert (first.stage, first.loss, first.epoch, first.validation) == ("pretrain_ce", "ce", 1, "soundscapes")
    assert first.classes == tiny_data.folder.classes
    assert first.data_fingerprint == tiny_data.folder.fingerprint

    list(fit(next_stage(), tiny_data))
    second = read_lineage(tmp_path / "bce")
    assert second.parent is not None
    assert second.parent.stage == "pretrain_ce"
    assert second.parent.weights_sha256 == sha256_of(parent / "model.safetensors")


def test_separate_stages_give_what_the_chain_gives(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    # A first stage that hardly learns leaves the best model to the second.
    config = short(tiny_config, pretrain_ce=1, train_bce=3).with_overrides(
        {"stages.pretrain_ce.lr": 1e-12, "stages.pretrain_ce.min_lr": 0.0}
    )
    chain = list(fit(job(config, tmp_path / "chain"), tiny_data))
    list(fit(job(config, tmp_path / "ce", ("pretrain_ce",)), tiny_data))
    separate = replace(job(config, tmp_path / "bce", ("train_bce",)), parent=load_model(tmp_path / "ce"))
    assert [r.train_loss for r in fit(separate, tiny_data)] == [r.train_loss for r in chain[1:]]
    lineages = read_lineage(tmp_path / "bce"), read_lineage(tmp_path / "chain")
    assert lineages[0].parent == lineages[1].parent
    assert lineages[0].weights_sha256 == lineages[1].weights_sha256


def test_a_parent_of_other_classes_is_refused(
    parent: Path, next_stage: Callable[..., FitJob], tiny_data: TrainingData
) -> None:
    known = load_model(parent)
    reordered = replace(known, lineage=known.lineage.model_copy(update={"classes": known.lineage.classes[::-1]}))
    with pytest.raises(CheckpointError, match=r"classes.*in another order"):
        fit(next_stage(reordered), tiny_data)


def test_a_parent_that_is_built_otherwise_is_refused(
    next_stage: Callable[..., FitJob], tiny_data: TrainingData
) -> None:
    with pytest.raises(CheckpointError, match=r"does not fit model.pool_type=gem \(there avg\)"):
        fit(next_stage(model__pool_type="gem"), tiny_data)


def test_a_parent_spares_the_published_weights(
    next_stage: Callable[..., FitJob], tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert next(fit(next_stage(model__weights=str(tmp_path / "nowhere.safetensors")), tiny_data)).finished


# --- early stopping


@pytest.fixture(scope="module")
def impatient(tiny_config: SedConfig) -> SedConfig:
    """Weights that hardly move: the score of the first epoch is never beaten, and two epochs later a stage stops."""
    overrides: dict[str, object] = {"optim.early_stopping_epochs": 2, "optim.ema_decay": 0.0}
    for stage in CHAIN:
        overrides |= {f"stages.{stage}.lr": 1e-12, f"stages.{stage}.min_lr": 0.0, f"stages.{stage}.epochs": 6}
        overrides |= {f"stages.{stage}.freeze_backbone": True}
    return tiny_config.with_overrides(overrides)


def test_a_stage_that_stops_early_gives_up_its_other_epochs(
    impatient: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    results = list(fit(job(impatient, tmp_path), tiny_data))
    assert [(r.stage, r.epoch) for r in results] == [
        ("pretrain_ce", 1), ("pretrain_ce", 2), ("pretrain_ce", 3), ("train_bce", 7), ("train_bce", 8),
        ("train_bce", 9),
    ]  # fmt: skip
    assert [r.finished for r in results] == [False] * 5 + [True]
    assert {r.epochs for r in results} == {12}


@pytest.mark.parametrize("n_epochs", [2, 3, 5])
def test_early_stopping_is_resumed_too(
    impatient: SedConfig, tiny_data: TrainingData, tmp_path: Path, n_epochs: int
) -> None:
    every_epoch = job(impatient, tmp_path, checkpoint_every_s=0)
    broken = fit(every_epoch, tiny_data)
    for _ in range(n_epochs):
        next(broken)
    broken.close()
    assert [r.epoch for r in fit(every_epoch, tiny_data)] == [1, 2, 3, 7, 8, 9][n_epochs:]


def test_zero_patience_never_stops(impatient: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    patient = impatient.with_overrides({"optim.early_stopping_epochs": 0, "stages.pretrain_ce.epochs": 4})
    assert len(list(fit(job(patient, tmp_path, ("pretrain_ce",)), tiny_data))) == 4


# --- what stops a run, and what does not


def test_weights_that_are_not_finite_stop_the_run_with_stage_step_and_files(
    parent: Path, next_stage: Callable[..., FitJob], tiny_data: TrainingData, tmp_path: Path
) -> None:
    start = load_model(parent)
    with torch.no_grad():
        start.model.head.classify.weight.fill_(torch.inf)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in train_bce, epoch 1, step 1;.*train_audio/\S+\.wav"):
        next(fit(next_stage(start), tiny_data))
    assert not (tmp_path / "bce" / "model.safetensors").exists()


def test_bf16_trains_too(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    config = short(tiny_config, pretrain_ce=1, train_bce=1)
    runtime = Runtime(torch.device("cpu"), torch.bfloat16)
    results = list(fit(job(config, tmp_path), tiny_data, runtime))
    assert results[-1].finished
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} <= {
        torch.float32,
        torch.int64,
    }
