"""Two processes train one model: the numbers of one process, the same scores in both, one checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.model.checkpoint import load_model
from sed_model.model.devices import Runtime, choose_runtime
from sed_model.predict.window_scores import predict_dataset
from sed_model.train.fit import FitJob, fit
from tests.sed_model.ddp_worker import stages_of, taught

pytestmark = pytest.mark.slow  # two more Python processes that import torch
ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("ddp_worker.py")
SHORT = {"stages.pretrain_ce.epochs": 2, "stages.train_bce.epochs": 2}
BATCH_NORM = SHORT | {"stages.train_bce.freeze_backbone": True, "optim.batch_size": 6}
EXACT = SHORT | {
    # No batch statistics and no dropout: nothing is left that depends on how a batch is shared out.
    "model.backbone": "test_nfnet",
    "model.drop_rate": 0.0,
    "model.drop_path_rate": 0.0,
    "model.final_dropout": 0.0,
    # Unlike AdamW it tells a gradient from half of it.
    "optim.optimizer": "sgd",
    "optim.grad_clip_norm": 0.0,
    "stages.pretrain_ce.lr": 0.05,
    "stages.train_bce.lr": 0.05,
    # Batches of 7 and 5: shares of 4 + 3 and 3 + 2 clips.
    "optim.batch_size": 7,
    "optim.min_steps_per_epoch": 1,
    # Every batch is mixed, every clip masked and changed; weights and masks differ between the shares.
    "augment.mix.prob": 1.0,
    "augment.mix.cutmix_share": 0.5,
    "augment.spec.prob": 1.0,
    "augment.spec.filter_prob": 0.5,
    "augment.wave.prob": 1.0,
    "data.rating_weight": True,
    "stages.train_bce.loss": "soft_auc",
    "stages.train_bce.secondary_weight": 0.0,
    # A teacher that knows more of some shares than of others.
    "distil.weight": 1.0,
    "distil.last_stage": True,
}
FOUR_BY_TWO = EXACT | {"optim.batch_size": 4, "optim.accumulation_steps": 2}
TWO_VIEWS = EXACT | {"pseudo.consistency_weight": 1.0, "stages.pseudo.epochs": 4, "stages.pseudo.lr": 0.05}
STRONG = EXACT | {"loss.strong_weight": 1.0, "data.soundscape_folds": 2, "data.soundscape_prob": 0.9}
JOBS: dict[str, dict[str, Any]] = {
    "batch_norm": BATCH_NORM,
    "exact": EXACT,
    "two_views": TWO_VIEWS,
    "strong": STRONG,
    # Its second process has room for two clips, and so the first takes no more either.
    "short_of_memory": EXACT | {"optim.batch_size": 8, "optim.auto_batch": True},
}
Results = dict[str, list[list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def two_processes(
    tiny_root: Path, tiny_config: SedConfig, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Results]:
    """The folder in which two processes trained all jobs, and the epochs of each process."""
    folder = tmp_path_factory.mktemp("ddp")
    configs = {name: tiny_config.with_overrides(job).model_dump(mode="json") for name, job in JOBS.items()}
    (folder / "jobs.json").write_text(json.dumps(configs))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "SED_CACHE_DIR": str(cache_dir)}
    workers = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(rank), "2", str(tiny_root), str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    for worker in workers:
        errors = worker.communicate(timeout=240)[1]
        assert worker.returncode == 0, errors
    return folder, {
        name: [json.loads((folder / name / f"results_{rank}.json").read_text()) for rank in (0, 1)] for name in JOBS
    }


def probabilities(folder: Path) -> np.ndarray:
    return np.array(pq.read_table(folder / "oof.parquet")["probabilities"].to_pylist(), np.float32)


@pytest.mark.parametrize("job", JOBS)
def test_both_processes_report_the_same(two_processes: tuple[Path, Results], job: str) -> None:
    first, second = two_processes[1][job]
    assert len(first) == len(second) == 4
    for name in set(first[0]) - {"samples_per_s"}:
        assert [result[name] for result in first] == [result[name] for result in second], name


def test_the_shared_validation_is_that_of_the_model_that_is_kept(
    two_processes: tuple[Path, Results], tiny_data: TrainingData
) -> None:
    folder = two_processes[0] / "batch_norm"
    loaded = load_model(folder)
    windows = ValidationWindows(tiny_data, loaded.config)
    config, loss = loaded.config, loaded.lineage.loss
    scores = predict_dataset(loaded.model, windows, config, choose_runtime(config.optim), loss)
    expected = scores.window_scores(loss, windows.rms).probabilities(config.inference)
    np.testing.assert_allclose(expected, probabilities(folder), atol=1e-5)


@pytest.mark.parametrize(
    ("job", "job_alone"),
    [("exact", EXACT), ("two_views", TWO_VIEWS), ("strong", STRONG), ("short_of_memory", FOUR_BY_TWO)],
    ids=["exact", "two_views", "strong", "short_of_memory"],
)
def test_two_processes_give_the_numbers_of_one(
    two_processes: tuple[Path, Results],
    tiny_data: TrainingData,
    tiny_config: SedConfig,
    tmp_path: Path,
    job: str,
    job_alone: dict[str, Any],
) -> None:
    """Losses of all epochs and predictions of the best model, with mixing, augmentation, weights and masks."""
    config = tiny_config.with_overrides(job_alone)
    plans = plan_stages(config, stages_of(config))
    data = taught(open_training_data(tiny_data.folder, config, progress=False))
    alone = list(fit(FitJob(config, plans, tmp_path), data, Runtime(torch.device("cpu"), None)))
    together = two_processes[1][job][0]
    for name in ("train_loss", "val_loss", "macro_auc", "lr"):
        assert [result[name] for result in together] == pytest.approx(
            [getattr(result, name) for result in alone], abs=1e-5
        ), name
    np.testing.assert_allclose(probabilities(two_processes[0] / job), probabilities(tmp_path), atol=1e-5)


def test_the_process_with_the_least_room_decides(two_processes: tuple[Path, Results]) -> None:
    for results in two_processes[1]["short_of_memory"]:
        assert results[0]["note"] == "auto_batch: 8 clips do not fit, 4 a step x 2 accumulated"


def test_processes_on_cpus_say_that_batch_statistics_are_their_own(two_processes: tuple[Path, Results]) -> None:
    notes = {job: [result["note"] for result in two_processes[1][job][0]] for job in ("batch_norm", "exact")}
    assert notes["batch_norm"][0].startswith("BatchNorm normalises by each worker's own clips")
    assert notes["batch_norm"][1:] == ["", "", ""]
    assert notes["exact"] == ["", "", "", ""]
