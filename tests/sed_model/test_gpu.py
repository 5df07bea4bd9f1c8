"""Training and prediction on a GPU against the CPU's numbers; skipped without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sed_model.clips.training_data import TrainingData
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.core.errors import TrainingError
from sed_model.model.checkpoint import load_model
from sed_model.model.devices import Runtime, choose_runtime
from sed_model.predict.window_scores import predict_dataset
from sed_model.run_folder.predictions import read_predictions
from sed_model.train.fit import FitJob, fit
from sed_model.train.progress import EpochResult

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
CHAIN = ("pretrain_ce", "train_bce")
SHORT = {"stages.pretrain_ce.epochs": 2, "stages.train_bce.epochs": 2}
# From the same seed a GPU draws other masks, partners and dropped features than a CPU.
NO_DRAWS = SHORT | {
    "model.drop_rate": 0.0,
    "model.drop_path_rate": 0.0,
    "model.final_dropout": 0.0,
    "augment.mix.prob": 0.0,
    "augment.spec.prob": 0.0,
}


@pytest.fixture(scope="session")
def tiny_config(tiny_config: SedConfig) -> SedConfig:
    """With channels-last images cuDNN would compile for ten seconds a batch size."""
    return tiny_config.with_overrides({"optim.channels_last": False})


def train(config: SedConfig, data: TrainingData, folder: Path, runtime: Runtime | None = None) -> list[EpochResult]:
    return list(fit(FitJob(config, plan_stages(config, CHAIN), folder, checkpoint_every_s=0), data, runtime))


def test_the_gpu_is_chosen_with_bf16(tiny_config: SedConfig) -> None:
    runtime = choose_runtime(tiny_config.with_overrides({"optim.precision": "auto"}).optim)
    assert runtime.device.type == "cuda"
    assert runtime.autocast_dtype is torch.bfloat16


def test_fp32_gives_the_cpu_s_losses_and_predictions(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # convolutions in whole fp32
    config = tiny_config.with_overrides(NO_DRAWS)
    by_gpu = train(config, tiny_data, tmp_path / "gpu")
    by_cpu = train(config, tiny_data, tmp_path / "cpu", Runtime(torch.device("cpu"), None))
    for name in ("train_loss", "val_loss", "lr"):
        expected = [getattr(result, name) for result in by_cpu]
        assert [getattr(result, name) for result in by_gpu] == pytest.approx(expected, rel=1e-2), name
    np.testing.assert_allclose(
        read_predictions(tmp_path / "gpu").probabilities, read_predictions(tmp_path / "cpu").probabilities, atol=2e-2
    )


@pytest.mark.parametrize(
    ("half", "tolerance"),
    [({"optim.precision": "bf16", "optim.channels_last": True}, 0.05), ({"optim.precision": "fp16"}, 0.1)],
    ids=["bf16", "fp16"],
)
def test_half_precision_stays_near_fp32(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path, half: dict[str, object], tolerance: float
) -> None:
    """fp16 leaves out its first steps, until the loss scale fits."""
    config = tiny_config.with_overrides(NO_DRAWS)
    by_precision = [
        train(one, tiny_data, tmp_path / one.optim.precision) for one in (config.with_overrides(half), config)
    ]
    losses = [[result.train_loss for result in results] for results in by_precision]
    assert losses[0] == pytest.approx(losses[1], rel=tolerance)


def test_a_broken_run_goes_on_as_if_unbroken(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> None:
    """With mixing, masks and dropout, whose draws depend on seed and epoch alone."""
    config = tiny_config.with_overrides(SHORT)
    whole = train(config, tiny_data, tmp_path / "whole")
    job = FitJob(config, plan_stages(config, CHAIN), tmp_path / "broken", checkpoint_every_s=0)
    broken = fit(job, tiny_data)
    first = [next(broken) for _ in range(3)]
    broken.close()
    results = [*first, *fit(job, tiny_data)]
    assert [result.epoch for result in results] == [1, 2, 3, 4]
    assert [result.train_loss for result in results] == pytest.approx([r.train_loss for r in whole], rel=1e-2)


def test_a_model_of_the_gpu_predicts_the_same_on_a_cpu(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    train(tiny_config.with_overrides(SHORT), tiny_data, tmp_path)
    loaded = load_model(tmp_path)
    windows = ValidationWindows(tiny_data, loaded.config)
    scores = predict_dataset(
        loaded.model, windows, loaded.config, Runtime(torch.device("cpu"), None), loaded.lineage.loss
    )
    of_windows = scores.window_scores(loaded.lineage.loss, windows.rms)
    expected = of_windows.probabilities(loaded.config.inference)
    np.testing.assert_allclose(read_predictions(tmp_path).probabilities, expected, atol=2e-3)


def test_loader_processes_and_pinned_memory_change_nothing(
    tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    config = tiny_config.with_overrides(NO_DRAWS)
    alone = train(config, tiny_data, tmp_path / "alone")
    loaders = train(config.with_overrides({"data.num_workers": 2}), tiny_data, tmp_path / "loaders")
    assert [r.train_loss for r in loaders] == pytest.approx([r.train_loss for r in alone], rel=1e-2)


@pytest.fixture
def little_memory(tiny_config: SedConfig, tiny_data: TrainingData, tmp_path: Path) -> Iterator[SedConfig]:
    """A configuration, and three quarters of the GPU memory that its epochs take: too little for 12 clips per step.

    An H100 took 366 MB for 12 clips, 273 for 6, 220 for 3, 203 for 2, and 65 for what stays from stage to stage.
    """
    config = tiny_config.with_overrides(
        {
            "model.backbone": "efficientnet_b0",
            "front_end.hop_length": 32,
            "stages.pretrain_ce.epochs": 1,
            "stages.train_bce.epochs": 1,
            "optim.batch_size": 12,
            "optim.min_steps_per_epoch": 1,
        }
    )
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    train(config, tiny_data, tmp_path / "whole")
    limit = 0.75 * torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
    yield config
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_a_batch_too_large_for_the_gpu_is_halved(
    little_memory: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    results = train(little_memory.with_overrides({"optim.auto_batch": True}), tiny_data, tmp_path / "halved")
    assert "auto_batch: 12 clips do not fit" in results[0].note
    assert len(results) == 2


def test_without_auto_batch_the_error_names_what_helps(
    little_memory: SedConfig, tiny_data: TrainingData, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"out of memory in pretrain_ce with 12 clips .*optim\.auto_batch=true"):
        train(little_memory, tiny_data, tmp_path / "plain")
