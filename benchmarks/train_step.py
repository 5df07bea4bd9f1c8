"""A training step on windows of 10 s: PyTorch's defaults against the runtime that is chosen here, one thread.

Plain: fp32, contiguous tensors, BCE of the clip scores, AdamW. Ours: `StageTraining` as a trial runs it, with clipping,
spectrogram mixup, masks, both parts of the loss and averaged weights on top.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from _common import Side, interleaved_ms, report
from torch.nn import functional as F

from sed_model.clips.dataset import Batch
from sed_model.config.sed_config import SedConfig, n_frames_in
from sed_model.config.stages import plan_stages
from sed_model.model.devices import choose_runtime
from sed_model.model.network import SedModel
from sed_model.train.stage_training import StageTraining

N_CLASSES = 206
N_ROUNDS = 4
CASES = {"seresnext26t_32x4d": 8, "efficientnet_b0": 32}
"""Backbone -> batch size."""
TARGET_RATIO = 2.0


@dataclass
class OneBatch:
    """Stands in for the loaders of a stage: an epoch is one batch of log-mels."""

    batch: Batch
    steps_per_epoch: int = 1
    paths: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.paths = [f"{row}.ogg" for row in self.batch.row.tolist()]

    @property
    def clips(self) -> OneBatch:
        return self

    def training(self, epoch: int) -> OneBatch:
        return self

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield self.batch


def image_batch(batch_size: int, config: SedConfig) -> Batch:
    generator = torch.Generator().manual_seed(0)
    shape = (batch_size, 1, config.front_end.n_mels, n_frames_in(config.data.window_s, config.front_end))
    targets = F.one_hot(torch.arange(batch_size) % N_CLASSES, N_CLASSES).float()
    return Batch(
        torch.rand(shape, generator=generator),
        targets,
        torch.ones_like(targets, dtype=torch.bool),
        torch.ones(batch_size),
        torch.tensor([[0.0, 1.0]] * batch_size),
        torch.arange(batch_size),
        torch.zeros(batch_size, 0),
        torch.zeros(batch_size, dtype=torch.int8),
        torch.zeros(batch_size, 0, 3),
    )


def plain_step(config: SedConfig, batch: Batch) -> Callable[[int], object]:
    model = SedModel(config, N_CLASSES).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4)
    images = batch.inputs

    def step(_: int) -> None:
        loss = F.binary_cross_entropy_with_logits(model(images).clip_logits, batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def our_step(config: SedConfig, batch: Batch) -> Callable[[int], object]:
    runtime = choose_runtime(config.optim)
    model = SedModel(config, N_CLASSES)
    runtime.place(model)
    plan = plan_stages(config, ["train_bce"])[0]
    training = StageTraining(model, plan, config, OneBatch(batch), runtime)  # type: ignore[arg-type]
    return lambda number: training.train_epoch(number + 1)


def main() -> int:
    holds = []
    for backbone, batch_size in CASES.items():
        config = SedConfig().with_overrides(
            {"model.backbone": backbone, "model.pretrained": False, "augment.mix.domain": "spectrogram"}
        )
        batch = image_batch(batch_size, config)
        torch.manual_seed(0)
        sides = [Side(plain_step(config, batch)), Side(our_step(config, batch))]
        holds.append(report(f"train_step_{backbone}_batch_{batch_size}", interleaved_ms(sides, N_ROUNDS), TARGET_RATIO))
    return 0 if all(holds) else 1


if __name__ == "__main__":
    sys.exit(main())
