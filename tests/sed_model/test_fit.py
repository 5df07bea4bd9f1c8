"""The chain of stages: what starts from what, which numbers come out, and that a broken run goes on as if unbroken."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from sed_model.checkpoint import load_model, read_lineage
from sed_model.config import SedConfig
from sed_model.dataset import TrainingData, ValidationWindows
from sed_model.devices import Runtime, choose_runtime
from sed_model.errors import CheckpointError, TrainingError
from sed_model.files import sha256_of
from sed_model.fit import EpochResult, FitJob, fit
from sed_model.metrics import macro_auc
from sed_model.predict import predict_dataset
from sed_model.stages import plan_stages

CHAIN = ("pretrain_ce", "train_bce")
AUGMENTED = {
    "augment.wave.prob": 1.0,
    "augment.wave.stretch_prob": 0.0,
    "augment.wave.pitch_prob": 0.0,
    "augment.wave.room_prob": 0.0,
    "augment.wave.limiter_prob": 0.0,
    "stages.pretrain_ce.epochs": 3,
    "stages.train_bce.epochs": 3,
    "optim.accumulation_steps": 2,
}
"""Gain, noise and time masks; mixup and cutmix are on anyway: every random draw that a resumed run has to repeat."""


GOLDEN_TRAIN = [1.09519, 1.11793, 0.71913, 0.68817]
GOLDEN_VAL = [1.09902, 1.09864, 0.59794, 0.59811]
"""As on 22 November 2026; the processors and kernels tried agree within 2e-5."""


def job(config: SedConfig, folder: Path, stages: tuple[str, ...] = CHAIN, checkpoint_every_s: float = 1e9) -> FitJob:
    return FitJob(config, plan_stages(config, stages), folder, checkpoint_every_s=checkpoint_every_s)


def short(config: SedConfig, **epochs: int) -> SedConfig:
    return config.with_overrides({f"stages.{stage}.epochs": n for stage, n in epochs.items()})


def numbers(result: EpochResult) -> EpochResult:
    """All but the speed."""
    return replace(result, samples_per_s=0.0)


@pytest.fixture(scope="module")
def augmented(tiny_config: SedConfig) -> SedConfig:
    return tiny_config.with_overrides(AUGMENTED)


@pytest.fixture(scope="module")
def unbroken(
    augmented: SedConfig, tiny_data: TrainingData, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[EpochResult]]:
    """Two stages of three epochs without a break, and their folder."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, [numbers(result) for result in fit(job(augmented, folder), tiny_data)]


def test_golden_losses_of_a_seeded_run(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    # At higher rates AdamW makes much of the last digits, which differ between processors.
    config = short(tiny_config, pretrain_ce=2, train_bce=2).with_overrides(
        {"stages.pretrain_ce.lr": 1e-4, "stages.train_bce.lr": 1e-4, "inference.frame_share": 0.0}
    )
    results = list(fit(job(config, tmp_path), tiny_data))
    assert [result.train_loss for result in results] == pytest.approx(GOLDEN_TRAIN, abs=1e-4)
    assert [result.val_loss for result in results] == pytest.approx(GOLDEN_VAL, abs=1e-4)


def test_epochs_count_through_the_stages(unbroken: tuple[Path, list[EpochResult]]) -> None:
    results = unbroken[1]
    assert [(r.stage, r.epoch, r.stage_epoch) for r in results] == [
        ("pretrain_ce", 1, 1),
        ("pretrain_ce", 2, 2),
        ("pretrain_ce", 3, 3),
        ("train_bce", 4, 1),
        ("train_bce", 5, 2),
        ("train_bce", 6, 3),
    ]
    assert {r.epochs for r in results} == {6}
    assert [r.finished for r in results] == [False] * 5 + [True]


def test_the_best_score_is_the_highest_so_far(unbroken: tuple[Path, list[EpochResult]]) -> None:
    best = -math.inf
    for result in unbroken[1]:
        best = max(best, result.macro_auc)
        assert result.best_macro_auc == best


def test_the_same_seed_gives_the_same_numbers(
    augmented: SedConfig, tiny_data: TrainingData, tmp_path: Path, unbroken: tuple[Path, list[EpochResult]]
) -> None:
    again = fit(job(augmented, tmp_path), tiny_data)
    assert [numbers(next(again)) for _ in range(2)] == unbroken[1][:2]


def test_another_seed_gives_other_numbers(
    augmented: SedConfig, tiny_data: TrainingData, tmp_path: Path, unbroken: tuple[Path, list[EpochResult]]
) -> None:
    other = augmented.with_overrides({"seed": 8})
    assert next(fit(job(other, tmp_path), tiny_data)).train_loss != unbroken[1][0].train_loss


@pytest.mark.parametrize("n_epochs", [1, 2, 3, 4, 5, 6])
def test_a_resumed_run_gives_the_numbers_of_an_unbroken_one(  # weights, EMA, optimiser, schedule, RNG, sampler
    augmented: SedConfig,
    tiny_data: TrainingData,
    tmp_path: Path,
    unbroken: tuple[Path, list[EpochResult]],
    n_epochs: int,
) -> None:
    every_epoch = job(augmented, tmp_path, checkpoint_every_s=0)
    broken = fit(every_epoch, tiny_data)
    before = [numbers(next(broken)) for _ in range(n_epochs)]
    broken.close()
    torch.rand(17)  # what happens in between must not matter
    after = [numbers(result) for result in fit(every_epoch, tiny_data)]
    # A run that broke off after its last epoch says so again.
    assert before + after == unbroken[1] + unbroken[1][-1:] * (n_epochs == 6)
    assert sha256_of(tmp_path / "model.safetensors") == sha256_of(unbroken[0] / "model.safetensors")
    assert read_lineage(tmp_path) == read_lineage(unbroken[0])


def test_a_resumed_run_repeats_its_results_where_that_is_asked_for(
    augmented: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    every_epoch = replace(job(augmented, tmp_path, checkpoint_every_s=0), repeat_results=True)
    broken = fit(every_epoch, tiny_data)
    before = [next(broken), next(broken)]
    broken.close()
    resumed = fit(every_epoch, tiny_data)
    assert [next(resumed), next(resumed)] == before
    assert next(resumed).epoch == 3


def test_a_run_that_broke_before_its_first_state_starts_anew(
    augmented: SedConfig, tiny_data: TrainingData, tmp_path: Path, unbroken: tuple[Path, list[EpochResult]]
) -> None:
    broken = fit(job(augmented, tmp_path), tiny_data)
    next(broken)
    broken.close()
    assert numbers(next(fit(job(augmented, tmp_path), tiny_data))) == unbroken[1][0]


def test_states_are_written_no_more_often_than_asked(
    augmented: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    run = fit(job(augmented, tmp_path, checkpoint_every_s=1e9), tiny_data)
    next(run)
    assert not (tmp_path / "state.pt").exists()
    for _ in range(2):
        next(run)  # the end of a stage is always kept
    assert (tmp_path / "state.pt").exists()


def test_a_truncated_state_falls_back_to_the_one_before(
    augmented: SedConfig,
    tiny_data: TrainingData,
    tmp_path: Path,
    unbroken: tuple[Path, list[EpochResult]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    every_epoch = job(augmented, tmp_path, checkpoint_every_s=0)
    broken = fit(every_epoch, tiny_data)
    for _ in range(3):
        next(broken)
    broken.close()
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:-1000])
    assert [numbers(result) for result in fit(every_epoch, tiny_data)] == unbroken[1][2:]
    assert "state.pt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "stages", "named"),
    [
        ({"optim.weight_decay": 0.01}, CHAIN, "configuration"),
        ({}, ("pretrain_ce",), "chain of stages"),
    ],
)
def test_a_state_of_another_run_is_refused(
    tiny_config: SedConfig,
    tiny_data: TrainingData,
    tmp_path: Path,
    overrides: dict[str, object],
    stages: tuple[str, ...],
    named: str,
) -> None:
    next(fit(job(tiny_config, tmp_path, checkpoint_every_s=0), tiny_data))
    other = job(tiny_config.with_overrides(overrides), tmp_path, stages)
    with pytest.raises(CheckpointError, match=f"{tmp_path}.*another {named}.*delete state.pt"):
        next(fit(other, tiny_data))


def test_a_state_of_other_data_is_refused(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    next(fit(job(tiny_config, tmp_path, checkpoint_every_s=0), tiny_data))
    other = replace(tiny_data, folder=replace(tiny_data.folder, fingerprint="other"))
    with pytest.raises(CheckpointError, match="another data folder"):
        next(fit(job(tiny_config, tmp_path), other))


# --- the chain: fault 6


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
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = short(tiny_config, pretrain_ce=1, train_bce=1)
    list(fit(job(config, tmp_path / "ce", ("pretrain_ce",)), tiny_data))
    first = read_lineage(tmp_path / "ce")
    assert first.parent is None
    assert (first.stage, first.loss, first.epoch, first.validation) == ("pretrain_ce", "ce", 1, "soundscapes")
    assert first.classes == tiny_data.folder.classes
    assert first.data_fingerprint == tiny_data.folder.fingerprint

    parent = load_model(tmp_path / "ce")
    list(fit(replace(job(config, tmp_path / "bce", ("train_bce",)), parent=parent), tiny_data))
    second = read_lineage(tmp_path / "bce")
    assert second.parent is not None
    assert second.parent.stage == "pretrain_ce"
    assert second.parent.weights_sha256 == sha256_of(tmp_path / "ce" / "model.safetensors")


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


def test_a_parent_of_other_classes_is_refused(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    config = short(tiny_config, pretrain_ce=1)
    list(fit(job(config, tmp_path / "ce", ("pretrain_ce",)), tiny_data))
    parent = load_model(tmp_path / "ce")
    reordered = replace(parent, lineage=parent.lineage.model_copy(update={"classes": parent.lineage.classes[::-1]}))
    with pytest.raises(CheckpointError, match=r"classes.*in another order"):
        fit(replace(job(config, tmp_path / "bce", ("train_bce",)), parent=reordered), tiny_data)


def test_a_parent_that_is_built_otherwise_is_refused(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = short(tiny_config, pretrain_ce=1)
    list(fit(job(config, tmp_path / "ce", ("pretrain_ce",)), tiny_data))
    gem = config.with_overrides({"model.pool_type": "gem"})
    with pytest.raises(CheckpointError, match=r"does not fit model.pool_type=gem \(there avg\)"):
        fit(replace(job(gem, tmp_path / "bce", ("train_bce",)), parent=load_model(tmp_path / "ce")), tiny_data)


def test_a_parent_spares_the_published_weights(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = short(tiny_config, pretrain_ce=1, train_bce=1)
    list(fit(job(config, tmp_path / "ce", ("pretrain_ce",)), tiny_data))
    wants_weights = config.with_overrides({"model.weights": str(tmp_path / "nowhere.safetensors")})
    separate = replace(job(wants_weights, tmp_path / "bce", ("train_bce",)), parent=load_model(tmp_path / "ce"))
    assert next(fit(separate, tiny_data)).finished


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
        ("pretrain_ce", 1),
        ("pretrain_ce", 2),
        ("pretrain_ce", 3),
        ("train_bce", 7),
        ("train_bce", 8),
        ("train_bce", 9),
    ]
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


# --- scores and failures: faults 9 and 11


def test_every_stage_is_scored_by_the_macro_auc_of_its_predictions(
    unbroken: tuple[Path, list[EpochResult]], tiny_data: TrainingData
) -> None:
    folder, results = unbroken
    table = pq.read_table(folder / "oof.parquet")
    score = macro_auc(np.array(table["target"].to_pylist()), np.array(table["probabilities"].to_pylist()))
    assert score == max(result.macro_auc for result in results)
    assert read_lineage(folder).metrics["macro_auc"] == max(result.macro_auc for result in results)


def test_weights_that_are_not_finite_stop_the_run_with_stage_step_and_files(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = short(tiny_config, pretrain_ce=1, train_bce=1)
    list(fit(job(config, tmp_path / "ce", ("pretrain_ce",)), tiny_data))
    parent = load_model(tmp_path / "ce")
    with torch.no_grad():
        parent.model.head.classify.weight.fill_(torch.inf)
    diverged = fit(replace(job(config, tmp_path / "bce", ("train_bce",)), parent=parent), tiny_data)
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) in train_bce, epoch 1, step 1;.*train_audio/\S+\.wav"):
        next(diverged)
    assert not (tmp_path / "bce" / "model.safetensors").exists()


def test_a_model_written_by_fit_gives_the_predictions_written_with_it(
    unbroken: tuple[Path, list[EpochResult]], tiny_data: TrainingData, augmented: SedConfig
) -> None:
    folder, _ = unbroken
    loaded = load_model(folder)
    windows = ValidationWindows(tiny_data, augmented)
    loss = loaded.lineage.loss
    scores = predict_dataset(loaded.model, windows, augmented, choose_runtime(augmented.optim), loss)
    written = np.array(pq.read_table(folder / "oof.parquet")["probabilities"].to_pylist(), np.float32)
    np.testing.assert_allclose(scores.probabilities(loss, augmented.inference.frame_share), written, atol=1e-5)


def test_bf16_trains_too(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    config = short(tiny_config, pretrain_ce=1, train_bce=1)
    runtime = Runtime(torch.device("cpu"), torch.bfloat16)
    results = list(fit(job(config, tmp_path), tiny_data, runtime))
    assert results[-1].finished
    assert {tensor.dtype for tensor in load_file(tmp_path / "model.safetensors").values()} <= {
        torch.float32,
        torch.int64,
    }
