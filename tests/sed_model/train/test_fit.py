"""The epoch loop: which numbers come out, and that a broken run goes on as if unbroken."""

from __future__ import annotations

import gc
import json
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from sed_model.clips.training_data import TrainingData
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError
from sed_model.core.files import sha256_of
from sed_model.model.checkpoint import load_model, load_state, read_lineage, save_state
from sed_model.model.devices import choose_runtime
from sed_model.predict.window_scores import predict_dataset
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import read_predictions
from sed_model.run_folder.window_metrics import score
from sed_model.scores.leads import resampled_scores
from sed_model.train.fit import fit
from sed_model.train.progress import EpochResult
from tests.sed_model.fit_jobs import CHAIN, job, short

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


def test_an_open_batch_size_is_recorded_as_what_was_used(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """Twelve recordings in at least five steps: two clips per step."""
    config = short(tiny_config).with_overrides({"optim.batch_size": None, "optim.min_steps_per_epoch": 5})
    run = fit(job(config, tmp_path), tiny_data)
    next(run)
    assert load_model(tmp_path).config.optim.batch_size == 2


def test_epochs_count_through_the_stages(unbroken: tuple[Path, list[EpochResult]]) -> None:
    results = unbroken[1]
    assert [(r.stage, r.epoch, r.stage_epoch) for r in results] == [
        ("pretrain_ce", 1, 1), ("pretrain_ce", 2, 2), ("pretrain_ce", 3, 3), ("train_bce", 4, 1), ("train_bce", 5, 2),
        ("train_bce", 6, 3),
    ]  # fmt: skip
    assert {r.epochs for r in results} == {6}
    assert [r.finished for r in results] == [False] * 5 + [True]


def test_the_best_score_is_the_highest_so_far_since_cross_entropy(unbroken: tuple[Path, list[EpochResult]]) -> None:
    folder, results = unbroken
    for of_stage in (results[:3], results[3:]):
        best = max(of_stage, key=lambda result: result.macro_auc)  # the first of equals
        assert [result.best_macro_auc for result in of_stage] == [
            max(result.macro_auc for result in of_stage[: place + 1]) for place in range(3)
        ]
        assert (of_stage[-1].best_stage, of_stage[-1].best_epoch) == (best.stage, best.epoch)
    lineage = read_lineage(folder)
    assert (lineage.stage, lineage.epoch) == ("train_bce", results[-1].best_epoch)
    assert lineage.metrics["macro_auc"] == results[-1].best_macro_auc


def test_the_best_score_comes_with_its_error_over_files(unbroken: tuple[Path, list[EpochResult]]) -> None:
    folder, results = unbroken
    told = read_predictions(folder)
    draws = resampled_scores(told.targets, [told.probabilities], told.files, n_resamples=200)

    assert results[-1].best_se == pytest.approx(draws[0].std(), rel=1e-5)
    assert 0 < results[-1].best_se < 0.5


def test_the_best_epoch_is_that_of_the_job_s_metric(
    augmented: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    results = list(fit(replace(job(augmented, tmp_path), metric="cmap"), tiny_data))

    for of_stage in (results[:3], results[3:]):
        best = max(of_stage, key=lambda result: result.score)
        told = of_stage[-1]
        assert (told.best_score, told.best_epoch, told.best_macro_auc) == (best.score, best.epoch, best.macro_auc)
    said = read_predictions(tmp_path)
    assert score("cmap", said.targets, said.probabilities) == pytest.approx(results[-1].best_score, abs=1e-6)
    assert read_lineage(tmp_path).metrics["cmap"] == results[-1].best_score
    draws = resampled_scores(said.targets, [said.probabilities], said.files, n_resamples=200, metric="cmap")
    assert results[-1].best_se == pytest.approx(draws[0].std(), rel=1e-4)
    assert {"cmap", "best_cmap", "best_cmap_se"} <= set(results[-1].as_report())


def test_a_weak_model_of_a_sigmoid_replaces_a_better_one_of_a_softmax(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """Its scores do not compare with those of trials that are further on, nor its probabilities in an ensemble."""
    rates = {"stages.pretrain_ce.lr": 3e-3, "stages.train_bce.lr": 0.3, "stages.train_bce.warmup_epochs": 0}
    config = short(tiny_config, pretrain_ce=3, train_bce=1).with_overrides(rates | {"optim.ema_decay": 0})
    results = list(fit(job(config, tmp_path), tiny_data))

    assert results[3].macro_auc < results[2].best_macro_auc
    assert results[3].best_macro_auc == results[3].macro_auc
    assert read_lineage(tmp_path).stage == "train_bce"


def test_a_run_that_is_over_leaves_its_memory_at_once(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """Trials that share a process would have the models and data of earlier ones beside theirs, on a GPU as well."""
    data = replace(tiny_data)
    its_memory = weakref.ref(data)
    gc.disable()
    try:
        next(fit(job(short(tiny_config), tmp_path), data))
        del data
        assert its_memory() is None
    finally:
        gc.enable()


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


def test_every_stage_is_scored_by_the_macro_auc_of_its_predictions(
    unbroken: tuple[Path, list[EpochResult]], tiny_data: TrainingData
) -> None:
    folder, results = unbroken
    table = pq.read_table(folder / "oof.parquet")
    score = macro_auc(np.array(table["target"].to_pylist()), np.array(table["probabilities"].to_pylist()))
    best = max(result.macro_auc for result in results if result.stage == "train_bce")  # after cross-entropy
    assert score == best
    assert read_lineage(folder).metrics["macro_auc"] == best


def test_a_model_written_by_fit_gives_the_predictions_written_with_it(
    unbroken: tuple[Path, list[EpochResult]], tiny_data: TrainingData, augmented: SedConfig
) -> None:
    folder, _ = unbroken
    loaded = load_model(folder)
    windows = ValidationWindows(tiny_data, augmented)
    loss = loaded.lineage.loss
    scores = predict_dataset(loaded.model, windows, augmented, choose_runtime(augmented.optim), loss)
    written = np.array(pq.read_table(folder / "oof.parquet")["probabilities"].to_pylist(), np.float32)
    expected = scores.window_scores(loss, windows.rms).probabilities(augmented.inference)
    np.testing.assert_allclose(expected, written, atol=1e-5)


def test_a_state_of_the_release_before_is_gone_on_with(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """Its configuration lacks the keys that are new since, and it averages no weights."""
    whole = replace(job(tiny_config, tmp_path), checkpoint_every_s=0.0)
    broken = fit(whole, tiny_data)
    next(broken), next(broken)
    broken.close()
    state, _ = load_state(tmp_path)
    assert state is not None
    tree = json.loads(state["run"]["configuration"])
    del tree["optim"]["average_epochs"], state["mean_weights"], state["n_averaged"]
    state["run"]["configuration"] = json.dumps(tree)
    save_state(tmp_path, state)

    assert next(fit(whole, tiny_data)).epoch == 3
