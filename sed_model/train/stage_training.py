"""Training one stage: batches -> augmentation on tensors -> loss -> optimiser step -> averaged weights.

Several processes train as one with their joint batch would: each has its rows of every batch (`shares.Share`), the
random draws are those of the whole batch, partners to mix with come from the other processes, and the loss is computed
in each from the scores of all. What is left to each process: dropout and stochastic depth, and on CPUs the statistics
of BatchNorm (on GPUs they are exchanged, see `Runtime.place`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sed_model.augment.batch import (
    LabelRule,
    Mix,
    apply_mix,
    draw_mix,
    filter_augment,
    label_rule,
    loudest_rule,
    mix_embeddings,
    mix_levels,
    mix_masks,
    mix_targets,
    mix_weights,
    mix_within,
    spec_augment,
)
from sed_model.clips.dataset import Batch, EpochLoaders
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import StagePlan
from sed_model.config.training import STAGE_NAMES
from sed_model.core.errors import TrainingError
from sed_model.data.targets import Truth
from sed_model.model.devices import Runtime, explained_memory_errors
from sed_model.model.heads import frames_inside
from sed_model.model.network import SedModel, SedOutput
from sed_model.model.shares import Share, share_of
from sed_model.train.distil import Distilled, DistilledOutput, distil_loss
from sed_model.train.frame_truth import frame_truth, mix_frames
from sed_model.train.losses import consistency, stage_loss, strong_loss
from sed_model.train.optim import Ema, build_optimizer, learning_rate, set_learning_rate

LEAST_LOSS_SCALE = 2.0**-14
"""fp16 halves the loss scale at every overflow; a gradient that overflows even so is not finite in itself."""


@dataclass(frozen=True)
class EpochStats:
    loss: float
    lr: float
    samples_per_s: float


class Inputs(NamedTuple):
    """What a step learns from: this process's rows of images and parts, and what is true of the whole batch.

    Images and parts have the rows of each view one after the other.
    """

    images: Float[Tensor, "own channels mels frames"]
    truth: Truth[Tensor]
    """Of the clips."""
    loudest: Truth[Tensor]
    """Of their loudest frames."""
    parts: Float[Tensor, "own 2"]
    """Start and end of what the truth is for, as shares of the window."""
    heard: Float[Tensor, "batch dim"]
    """What the teacher heard in the clips; nothing where the stage trains without one."""
    mix: Mix


@dataclass(frozen=True)
class Place:
    """Where in the training something happened; epoch (of the stage) and step count from 1."""

    stage: str
    epoch: int
    step: int
    files: tuple[str, ...]

    def not_finite(self, what: str, value: float) -> TrainingError:
        return TrainingError(
            f"{what} is {value} in {self.stage}, epoch {self.epoch}, step {self.step}; lower stages.{self.stage}.lr "
            f"or set optim.precision=fp32. Files of the batch: {', '.join(self.files)}"
        )


class StageTraining:
    """Optimiser, schedule and averaged weights of one stage, and its epochs."""

    def __init__(
        self,
        model: SedModel,
        plan: StagePlan,
        config: SedConfig,
        loaders: EpochLoaders,
        runtime: Runtime,
        projection: nn.Linear | None = None,
    ) -> None:
        """
        Args:
            projection: from the frames to a teacher's embedding, for a stage that is distilled (see `distil`); whoever
                made it keeps its state.
        """
        self.model, self.plan, self.config, self.loaders, self.runtime = model, plan, config, loaders, runtime
        self.stage = config.stages[plan.name]
        self.consistency_weight = config.pseudo.consistency_weight if plan.name == "pseudo" else 0.0
        self.n_views = 2 if self.consistency_weight > 0 else 1
        model.backbone.requires_grad_(not self.stage.freeze_backbone)
        self.optimizer = build_optimizer(model, self.stage, config.optim, projection)
        self.scaler = torch.GradScaler(runtime.device.type, enabled=runtime.autocast_dtype is torch.float16)
        self.ema = Ema(model, config.optim.ema_decay) if config.optim.ema_decay > 0 else None
        self.step = 0
        self.steps_per_epoch = -(-loaders.steps_per_epoch // config.optim.accumulation_steps)
        self._trained = model if projection is None else Distilled(model, projection)
        self._forward: nn.Module = self._trained
        self._ddp = DistributedDataParallel(self._trained) if runtime.world_size > 1 else None
        if self._ddp is not None:
            self._forward = self._ddp
        if config.optim.compile:
            self._forward = torch.compile(self._forward)  # type: ignore[assignment]

    def averaged(self) -> AbstractContextManager[None]:
        """The model holds the averaged weights inside the block: those that are validated and kept."""
        return self.ema.applied_to(self.model) if self.ema else nullcontext()

    def averaged_weights(self) -> Mapping[str, Tensor]:
        """The averaged weights, or the plain ones where averaging is off; not a copy."""
        return self.ema.average if self.ema else self.model.state_dict()

    def replace_averaged(self, weights: Mapping[str, Tensor]) -> None:
        """Take other weights for the averaged ones."""
        if self.ema:
            self.ema.load_state_dict({**self.ema.state_dict(), "average": weights})
        else:
            self.model.load_state_dict(weights)

    def train_epoch(self, stage_epoch: int) -> EpochStats:
        """One pass over the training clips; `stage_epoch` counts from 1."""
        self.set_training_mode()
        start_s = time.monotonic()
        loss_sum, n_samples, lr = 0.0, 0, 0.0
        loader = self.loaders.training(stage_epoch)
        group = self.config.optim.accumulation_steps
        for index, values in enumerate(loader):
            batch = _to_device(Batch(*values), self.runtime.device)
            share = share_of(len(batch.row), self.runtime)
            files = tuple(self.loaders.clips.paths[row] for row in share.gather(batch.row).tolist())
            place = Place(self.plan.name, stage_epoch, index + 1, files)
            n_in_group = min(group, len(loader) - index // group * group)
            steps = index % group + 1 == n_in_group
            with explained_memory_errors(self._memory_hint(len(files))):
                with nullcontext() if steps or self._ddp is None else self._ddp.no_sync():
                    loss = self._backward(batch, place, share, n_in_group)
                if steps:
                    lr = self._optimizer_step(place)
            loss_sum += loss * len(files)
            n_samples += len(files)
        return EpochStats(loss_sum / n_samples, lr, n_samples / (time.monotonic() - start_s))

    def set_training_mode(self) -> None:
        self.model.train()
        if self.stage.freeze_backbone:
            self.model.backbone.eval()

    def _backward(self, batch: Batch, place: Place, share: Share, n_in_group: int) -> float:
        loss = self.loss(batch, place, share)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise place.not_finite("loss", value)
        # Each process has the gradient through its own rows; DDP takes the mean of them, not the sum.
        self.scaler.scale(loss * share.world_size / n_in_group).backward()
        return value

    def loss(self, batch: Batch, place: Place, share: Share) -> Float[Tensor, ""]:
        """Loss of the whole batch, of which `batch` has this process's share; the same in every process.

        Of several views it is their mean, and what keeps them consistent. They are of one mix, with masks and dropout
        of their own; the waveforms are augmented once.
        """
        inputs = self._augmented(batch, place, share)
        with self.runtime.autocast():
            output: SedOutput | DistilledOutput = self._forward(self.runtime.images(inputs.images), inputs.parts)

        def by_view(own: Tensor) -> list[Tensor]:
            return [share.gather(rows) for rows in own.chunk(self.n_views)]

        clip_logits = by_view(output.clip_logits.float())
        loudest_frame = by_view(loudest_inside(output.frame_logits.float(), inputs.parts))
        settings, (of_clip, of_frame) = self.config.loss, (inputs.truth, inputs.loudest)
        losses = [
            stage_loss(self.stage.loss, clip, frame[:, None], of_clip, settings, of_frame)
            for clip, frame in zip(clip_logits, loudest_frame, strict=True)
        ]
        if isinstance(output, DistilledOutput):
            heard = [distil_loss(view, inputs.heard) for view in by_view(output.embedding.float())]
            losses = [loss + self.config.distil.weight * term for loss, term in zip(losses, heard, strict=True)]
        if settings.strong_weight > 0 and batch.events.shape[1]:
            frames = by_view(output.frame_logits.float())
            timed = self._frame_truth(batch, inputs, share, n_steps=frames[0].shape[1])
            losses = [
                loss + settings.strong_weight * strong_loss(view, timed)
                for loss, view in zip(losses, frames, strict=True)
            ]
        loss = torch.stack(losses).mean()
        return loss + self.consistency_weight * consistency(*clip_logits) if self.n_views > 1 else loss

    def _augmented(self, batch: Batch, place: Place, share: Share) -> Inputs:
        augment = self.config.augment
        stage_number = STAGE_NAMES.index(place.stage)
        # The same in every process: each draws for the whole batch. (The 0 is a rank, of which there is none here.)
        seeds = np.random.SeedSequence([self.config.seed, stage_number, place.epoch, place.step, 0])
        generator = torch.Generator(self.runtime.device).manual_seed(int(seeds.generate_state(1)[0]))
        mix = draw_mix(share.n_rows, augment.mix, self.stage, generator)
        mix, parts = mix_within(mix, share.gather(batch.part), share.gather(batch.origin))
        inputs, top_db = batch.inputs, self.config.front_end.top_db
        if inputs.ndim == 4 and augment.mix.domain == "waveform":  # the loader made images
            images = mix_levels(inputs, mix, top_db, share)
        elif inputs.ndim == 4:
            images = apply_mix(inputs, mix, share)
        elif augment.mix.domain == "waveform":
            images = self.model.images(apply_mix(inputs, mix, share))
        else:
            images = apply_mix(self.model.images(inputs), mix, share)
        views = []
        for _ in range(self.n_views):
            view = filter_augment(images, augment.spec, top_db, generator, share)
            views.append(spec_augment(view, augment.spec, generator, share))
        rule, of_loudest = label_rule(augment.mix, self.stage), loudest_rule(augment.mix, self.stage, mix)
        truth = self._mixed_truth(batch, mix, share, rule)
        loudest = truth if of_loudest == rule else self._mixed_truth(batch, mix, share, of_loudest)
        heard = batch.embedding
        if self._trained is not self.model:
            heard = mix_embeddings(share.gather(heard), mix)
        return Inputs(torch.cat(views), truth, loudest, share.of(parts).repeat(self.n_views, 1), heard, mix)

    def _frame_truth(self, batch: Batch, inputs: Inputs, share: Share, n_steps: int) -> Truth[Tensor]:
        """What is true of the frames of the whole batch, as far as their events tell, in the parts of the labels."""
        rule = label_rule(self.config.augment.mix, self.stage)
        own = frame_truth(share.gather(batch.events), share.gather(batch.targets), n_steps)
        targets, known = mix_frames(*own, inputs.mix, rule)
        parts = share.gather(inputs.parts.chunk(self.n_views)[0])
        return Truth(targets, known & frames_inside(parts, n_steps)[:, :, None], inputs.truth.weights)

    def _mixed_truth(self, batch: Batch, mix: Mix, share: Share, rule: LabelRule) -> Truth[Tensor]:
        mask, targets, weights = (share.gather(own) for own in (batch.mask, batch.targets, batch.weights))
        return Truth(mix_targets(targets, mix, rule), mix_masks(mask, targets, mix, rule), mix_weights(weights, mix))

    def _optimizer_step(self, place: Place) -> float:
        """One step at the rate that is due, which is returned.

        A step that overflowed in fp16 is left out: the schedule and the averaged weights wait for the next.
        """
        optim = self.config.optim
        total_steps = self.plan.epochs * self.steps_per_epoch
        lr = learning_rate(self.step, total_steps, self.steps_per_epoch, self.stage, optim)
        set_learning_rate(self.optimizer, lr)
        if optim.grad_clip_norm > 0:
            self.scaler.unscale_(self.optimizer)
            norm = float(nn.utils.clip_grad_norm_(self._trained.parameters(), optim.grad_clip_norm))
            if not (np.isfinite(norm) or self.scaler.is_enabled()):
                raise place.not_finite("gradient norm", norm)
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.scaler.get_scale() < scale:
            if self.scaler.get_scale() < LEAST_LOSS_SCALE:
                raise place.not_finite("gradient", float("inf"))
            return lr
        if self.ema:
            self.ema.update(self.model)
        self.step += 1
        return lr

    @torch.no_grad()
    def validation_loss(self, logits: Float[np.ndarray, "n k"], targets: Float[np.ndarray, "n k"]) -> float:
        """The stage's loss on clip logits alone (no frames, no smoothing, no weights).

        Raises:
            TrainingError: it is not finite.
        """
        clip_logits, truth = torch.from_numpy(logits), torch.from_numpy(targets)
        # Cross-entropy has no answer for a window without any class.
        used = truth.sum(dim=1) > 0 if self.stage.loss == "ce" else torch.ones(len(truth), dtype=torch.bool)
        everything = Truth(truth[used], torch.ones_like(truth[used], dtype=torch.bool), torch.ones(int(used.sum())))
        settings = self.config.loss.model_copy(update={"clip_weight": 1.0, "label_smoothing": 0.0})
        value = float(stage_loss(self.stage.loss, clip_logits[used], clip_logits[used, None], everything, settings))
        if not np.isfinite(value):
            raise TrainingError(f"validation loss is {value} in {self.plan.name}; lower stages.{self.plan.name}.lr.")
        return value

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema": self.ema.state_dict() if self.ema else None,
            "step": self.step,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
        self.step = state["step"]

    def _memory_hint(self, batch_size: int) -> str:
        return (
            f"{self.plan.name} with {batch_size} clips of {self.config.data.window_s:g} s a step; "
            "lower optim.batch_size (and raise optim.accumulation_steps; optim.auto_batch=true does both), "
            "set optim.grad_checkpointing=true, "
            "shorten data.window_s or choose a smaller model.backbone."
        )


def loudest_inside(
    frame_logits: Float[Tensor, "batch steps classes"], parts: Float[Tensor, "batch 2"]
) -> Float[Tensor, "batch classes"]:
    """The highest logit of each class among the frames of the part that the label is for."""
    outside = ~frames_inside(parts, frame_logits.shape[1])
    return frame_logits.masked_fill(outside[:, :, None], -torch.inf).amax(dim=1)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    return Batch(*(tensor.to(device, non_blocking=True) for tensor in batch))
