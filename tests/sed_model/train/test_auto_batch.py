"""A batch that does not fit: what is tried, what it leaves alone, and real memory that runs out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sed_model.clips.dataset import EpochLoaders
from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.core.errors import TrainingError
from sed_model.model.checkpoint import read_config
from sed_model.model.devices import Runtime, ran_out_of_memory
from sed_model.model.network import SedModel, SedOutput
from sed_model.predict.window_scores import predict_dataset
from sed_model.train import validation
from sed_model.train.auto_batch import StageSetUp, halved_until_it_fits, with_fitting_batch
from sed_model.train.fit import FitJob, fit

CPU = Runtime(torch.device("cpu"), None)
ROOT = Path(__file__).resolve().parents[3]
WORKER = Path(__file__).parents[1] / "limited_worker.py"
EIGHT = {"optim.batch_size": 8, "optim.min_steps_per_epoch": 1, "optim.auto_batch": True}


class SmallMemory(SedModel):
    """Has room for `n_clips` at a time."""

    def __init__(self, config: SedConfig, n_classes: int, n_clips: int) -> None:
        super().__init__(config, n_classes)
        self.n_clips = n_clips
        self.tried: list[int] = []

    def forward(self, images: torch.Tensor, target: torch.Tensor | None = None) -> SedOutput:
        self.tried.append(len(images))
        output = super().forward(images, target)
        if len(images) > self.n_clips:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return output


def set_up(config: SedConfig, data: TrainingData, room_for: int) -> tuple[SmallMemory, StageSetUp]:
    model = SmallMemory(config, len(data.folder.classes), room_for)
    plan = plan_stages(config, ["pretrain_ce"])[0]
    return model, StageSetUp(model, plan, config, EpochLoaders(data, config, "pretrain_ce"), CPU)


@pytest.mark.parametrize(
    ("room_for", "accumulation_steps", "expected", "note"),
    [
        (8, 1, (8, 1), ""),
        (7, 1, (4, 2), "auto_batch: 8 clips do not fit, 4 a step x 2 accumulated"),
        (3, 3, (2, 12), "auto_batch: 8 clips do not fit, 2 a step x 12 accumulated"),
    ],
)
def test_a_batch_is_halved_until_it_fits(
    tiny_config: SedConfig,
    tiny_data: TrainingData,
    room_for: int,
    accumulation_steps: int,
    expected: tuple[int, int],
    note: str,
) -> None:
    config = tiny_config.with_overrides(EIGHT | {"optim.accumulation_steps": accumulation_steps})
    fitting, told = with_fitting_batch(set_up(config, tiny_data, room_for)[1])
    assert (fitting.optim.batch_size, fitting.optim.accumulation_steps) == expected
    assert told == note


def test_the_batch_of_a_small_set_is_halved_from_what_it_is(tiny_config: SedConfig, tiny_data: TrainingData) -> None:
    config = tiny_config.with_overrides(EIGHT | {"optim.batch_size": None, "optim.min_steps_per_epoch": 2})
    fitting, told = with_fitting_batch(set_up(config, tiny_data, room_for=3)[1])
    assert told == "auto_batch: 6 clips do not fit, 3 a step x 2 accumulated"
    assert EpochLoaders(tiny_data, fitting, "pretrain_ce").batch_size == 3


def test_a_try_leaves_model_and_random_numbers_alone(tiny_config: SedConfig, tiny_data: TrainingData) -> None:
    model, stage = set_up(tiny_config.with_overrides(EIGHT), tiny_data, room_for=4)
    torch.manual_seed(3)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random_state = torch.get_rng_state()
    with_fitting_batch(stage)
    assert model.tried == [8, 4, 4]  # forward and backward, twice where it fits
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_where_not_even_two_clips_fit_the_error_says_what_helps(
    tiny_config: SedConfig, tiny_data: TrainingData
) -> None:
    _, stage = set_up(tiny_config.with_overrides(EIGHT), tiny_data, room_for=1)
    with pytest.raises(TrainingError, match=r"out of memory in pretrain_ce with 2 clips of 1\.5 s a step; set optim\."):
        with_fitting_batch(stage)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried", True),
        ("could not create a primitive", True),
        ("could not create a primitive descriptor for a convolution forward propagation primitive", False),
    ],
)
def test_what_libraries_say_when_memory_runs_out(message: str, expected: bool) -> None:
    assert ran_out_of_memory(RuntimeError(message)) is expected


def test_another_error_is_no_reason_to_halve() -> None:
    tried = []

    def attempt(n: int) -> None:
        tried.append(n)
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        halved_until_it_fits(attempt, 8, least=1)
    assert tried == [8]


@pytest.mark.parametrize("auto_batch", [True, False])
def test_validation_batches_are_halved_too(
    tiny_config: SedConfig,
    tiny_data: TrainingData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    auto_batch: bool,
) -> None:
    tried: list[int] = []

    def short_of_memory(model: SedModel, windows: Any, config: SedConfig, runtime: Runtime, loss: str) -> Any:
        tried.append(config.inference.batch_size)
        if tried[-1] > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return predict_dataset(model, windows, config, runtime, loss)

    monkeypatch.setattr(validation, "predict_dataset", short_of_memory)
    config = tiny_config.with_overrides(
        {"optim.auto_batch": auto_batch, "inference.batch_size": 8, "stages.pretrain_ce.epochs": 2}
    )
    run = fit(FitJob(config, plan_stages(config, ["pretrain_ce"]), tmp_path), tiny_data)
    if auto_batch:
        notes = [result.note for result in run]
        assert notes == ["auto_batch: 8 windows do not fit, 4 are predicted at a time", ""]
        assert tried == [8, 4, 4]
    else:
        with pytest.raises(TrainingError, match=r"out of memory in the validation.*lower inference\.batch_size"):
            next(run)


@pytest.mark.slow  # a Python process that imports torch, and clips that take memory
def test_memory_that_really_runs_out(
    tiny_root: Path, tiny_config: SedConfig, tiny_data: TrainingData, cache_dir: Path, tmp_path: Path
) -> None:
    """Six clips fit into 0.9 GB of address space, twelve not into 1.4 GB; the process may have 1.2 GB."""
    config = tiny_config.with_overrides(
        {
            "front_end.n_mels": 128,
            "front_end.n_fft": 2048,
            "front_end.hop_length": 32,
            "data.window_s": 12.0,
            "stages.pretrain_ce.epochs": 1,
            "optim.batch_size": 12,
            "optim.min_steps_per_epoch": 1,
            "inference.batch_size": 2,
        }
    )
    # Not those that a search sets for its workers: memory that is kept would be missing here.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    limited = subprocess.run(
        [sys.executable, str(WORKER), str(tiny_root), str(tmp_path), config.model_dump_json()],
        env=inherited
        | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "SED_CACHE_DIR": str(cache_dir)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert limited.returncode == 0, limited.stderr
    halved, error, of_a_convolution = (json.loads(line) for line in limited.stdout.splitlines()[-3:])
    assert halved["note"] == "auto_batch: 12 clips do not fit, 6 a step x 2 accumulated"
    assert error.startswith("out of memory in pretrain_ce with 12 clips of 12 s a step; lower optim.batch_size")
    assert ran_out_of_memory(RuntimeError(of_a_convolution))

    by_hand = config.with_overrides({"optim.batch_size": 6, "optim.accumulation_steps": 2})
    recorded = read_config(tmp_path / "auto")
    assert recorded == by_hand.with_overrides({"optim.auto_batch": True})
    expected = next(fit(FitJob(by_hand, plan_stages(by_hand, ["pretrain_ce"]), tmp_path / "by_hand"), tiny_data))
    assert halved["train_loss"] == pytest.approx(expected.train_loss, abs=1e-5)
    assert halved["val_loss"] == pytest.approx(expected.val_loss, abs=1e-5)
