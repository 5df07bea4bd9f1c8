"""The training loop: a generator that trains a chain of stages and yields one result per epoch. It resumes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sed_model.clips.dataset import EpochLoaders
from sed_model.clips.samplers import with_batch_size
from sed_model.clips.training_data import TrainingData, check_distil, check_events, check_leaks
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import StagePlan
from sed_model.config.training import STAGE_NAMES
from sed_model.core.errors import CheckpointError
from sed_model.model.checkpoint import (
    PREVIOUS_STATE_FILE,
    STATE_FILE,
    Lineage,
    LoadedModel,
    Parent,
    load_state,
    save_model,
    save_state,
    start_from,
    weights_digest,
    without_pretraining,
)
from sed_model.model.devices import Runtime, choose_runtime, has_batch_norm
from sed_model.model.network import SedModel
from sed_model.run_folder.predictions import OOF_FILE, write_predictions
from sed_model.run_folder.window_metrics import MACRO_AUC
from sed_model.train.auto_batch import StageSetUp, with_fitting_batch
from sed_model.train.distil import projection_to
from sed_model.train.progress import EpochResult, Progress, with_new_keys
from sed_model.train.stage_training import StageTraining
from sed_model.train.validation import Validated, Validation


@dataclass(frozen=True)
class FitJob:
    """A chain of stages to train. `folder` gets the best model, its validation predictions and the training state.

    With `repeat_results` a run that resumes first yields the results of the epochs that it does not train again. Others
    go on from the last of `plans` where it is not `is_last`: it is none that `distil.last_stage` means. The best epoch,
    and when to stop early, are told by `metric`, of `window_metrics.METRICS`.
    """

    config: SedConfig
    plans: tuple[StagePlan, ...]
    folder: Path
    parent: LoadedModel | None = None
    round: int = 0
    checkpoint_every_s: float = 20.0
    repeat_results: bool = False
    is_last: bool = True
    metric: str = MACRO_AUC


def fit(job: FitJob, data: TrainingData, runtime: Runtime | None = None) -> Iterator[EpochResult]:
    """Train the stages of `job` one after the other, each from the best weights of the one before.

    The best model is written as it appears: of all epochs, or of those after a stage with cross-entropy. The state goes
    to the folder at least every `checkpoint_every_s` seconds (looked at after each epoch) and at the end of each stage,
    and a new call continues from it; `checkpoint.delete_state` removes it once nobody needs it. An epoch's random draws
    depend only on the seed and its number, so a resumed run gives the same losses.

    With `runtime.world_size` processes (torch.distributed is initialised; each calls this with its rank) the result is
    that of one process, up to dropout, stochastic depth and, on CPUs, the batch statistics of BatchNorm.

    Raises:
        ConfigError: `distil.weight` asks for a teacher's embeddings, or `loss.strong_weight` for events, and the data
            has none.
        TrainingError: a non-finite loss, with step and files, or memory that ran out.
        CheckpointError: the folder holds the state of another run, or the parent does not fit; it or who made the
            pseudo-labels was trained on what validates here.
    """
    return _Run(job, data, runtime or choose_runtime(job.config.optim)).epochs()


class _Run:
    def __init__(self, job: FitJob, data: TrainingData, runtime: Runtime) -> None:
        self.job, self.data, self.runtime = job, data, runtime
        self.config = with_batch_size(job.config, len(data.split.train), self.runtime.world_size)
        check_leaks(data, job.parent.lineage if job.parent else None)
        check_distil(self.config.distil.weight, has_embeddings=data.embeddings is not None)
        check_events(self.config.loss.strong_weight, data.folder)
        self.state, self.note = load_state(job.folder)
        torch.manual_seed(self.config.seed)
        starts_afresh = job.parent is None and self.state is None
        config = self.config if starts_afresh else without_pretraining(self.config)
        self.model = SedModel(config, len(data.folder.classes))
        if job.parent is not None:
            start_from(self.model, job.parent, self.config, data.folder.classes)
        runtime.place(self.model)
        teacher = data.teacher(self.config)
        self.projection = projection_to(teacher.dim, self.config.seed).to(runtime.device) if teacher else None
        self.validation = Validation(self.model, data, self.config, runtime, job.metric)
        self.progress = Progress(parent=job.parent.as_parent if job.parent else None)
        self.notes: list[str] = []
        self.last_save_s = time.monotonic()
        if runtime.world_size > 1 and runtime.device.type == "cpu" and has_batch_norm(self.model):
            self._tell("BatchNorm normalises by each worker's own clips: PyTorch exchanges its statistics on GPUs only")

    def epochs(self) -> Iterator[EpochResult]:
        if self.note:
            print(self.note, flush=True)
        stage_state = self._restore(self.state) if self.state else None
        self.state = None
        earlier = self.progress.results
        if self.job.repeat_results:
            yield from tuple(earlier)
        elif earlier and earlier[-1].finished:
            yield earlier[-1]  # broken off after the last epoch, before anyone heard of it
        for plan in self.job.plans:
            if plan.last_epoch > self.progress.epoch:
                yield from self._stage(plan, stage_state)
                stage_state = None

    def _stage(self, plan: StagePlan, state: dict[str, Any] | None) -> Iterator[EpochResult]:
        progress = self.progress
        training = self._training(plan)
        if state:
            training.load_state_dict(state)
        else:
            progress.stage_best_score, progress.epochs_without_gain = -math.inf, 0
            if self._is_first_after_cross_entropy(plan):
                progress.best_score = -math.inf
        while progress.epoch < plan.last_epoch:
            stage_epoch = progress.epoch - plan.first_epoch + 1
            torch.manual_seed(epoch_seed(self.config.seed, plan.name, stage_epoch, self.runtime.rank))
            stats = training.train_epoch(stage_epoch)
            validated = self.validation.of(training, self._tell)
            progress.epoch += 1
            self._keep_best(training, plan, validated)
            patience = self.config.optim.early_stopping_epochs
            stop_early = 0 < patience <= progress.epochs_without_gain
            finished = plan is self.job.plans[-1] and (stop_early or progress.epoch == plan.last_epoch)
            self._keep_mean(training, plan, finished)
            result = EpochResult(
                plan.name,
                progress.epoch,
                stage_epoch,
                self.job.plans[-1].last_epoch,
                stats.loss,
                validated.loss,
                validated.macro_auc,
                progress.best_macro_auc,
                progress.best_stage,
                progress.best_epoch,
                stats.lr,
                stats.samples_per_s,
                finished=finished,
                best_se=progress.best_se,
                note="; ".join(self.notes),
                metric=self.job.metric,
                score=validated.score,
                best_score=progress.best_score,
            )
            self.notes.clear()
            progress.results.append(result)
            if stop_early or progress.epoch == plan.last_epoch:
                self._end_stage(plan)
            elif time.monotonic() - self.last_save_s >= self.job.checkpoint_every_s:
                self._save(plan, training.state_dict())
            yield result

    def _is_first_after_cross_entropy(self, plan: StagePlan) -> bool:
        """Whether the scores so far are those of a softmax, and this stage's will not be."""
        place = self.job.plans.index(plan)
        if place == 0:
            return False
        before, own = (self.config.stages[name].loss for name in (self.job.plans[place - 1].name, plan.name))
        return before == "ce" != own

    def _training(self, plan: StagePlan) -> StageTraining:
        """The stage, with a batch that fits where `optim.auto_batch` says so."""
        rank, world_size = self.runtime.rank, self.runtime.world_size
        is_last = self.job.is_last and plan is self.job.plans[-1]
        is_distilled = self.config.distil.last_stage or not is_last
        unheard = replace(self.data, embeddings=None), None
        data, projection = (self.data, self.projection) if is_distilled else unheard
        loaders = EpochLoaders(data, self.config, plan.name, rank, world_size)
        if loaders.clips.note:
            self._tell(loaders.clips.note)
        if not self.config.optim.auto_batch:
            return StageTraining(self.model, plan, self.config, loaders, self.runtime, projection)
        config, note = with_fitting_batch(StageSetUp(self.model, plan, self.config, loaders, self.runtime))
        if note:
            self._tell(note)
            loaders = EpochLoaders(data, config, plan.name, rank, world_size)
        return StageTraining(self.model, plan, config, loaders, self.runtime, projection)

    def _tell(self, note: str) -> None:
        """For the log at once, and for whoever hears of the epoch."""
        self.notes.append(note)
        if self.runtime.rank == 0:
            print(note, flush=True)

    def _keep_best(self, training: StageTraining, plan: StagePlan, validated: Validated) -> None:
        progress, score = self.progress, validated.score
        progress.epochs_without_gain += 1
        if score > progress.stage_best_score:
            weights = training.averaged_weights()
            progress.stage_best = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
            progress.stage_best_score, progress.epochs_without_gain = score, 0
        if score > progress.best_score:
            self._take_best(training, plan, validated)

    def _take_best(self, training: StageTraining, plan: StagePlan, validated: Validated) -> None:
        progress = self.progress
        progress.best_score, progress.best_stage, progress.best_epoch = validated.score, plan.name, progress.epoch
        progress.best_macro_auc = validated.macro_auc
        progress.best_se = validated.standard_error(self.validation.windows, self.job.metric)
        if self.runtime.rank == 0:
            self._write_best(plan, validated, training.config)

    def _keep_mean(self, training: StageTraining, plan: StagePlan, finished: bool) -> None:
        """At the end of the run, the mean of the last epochs in place of the best one: `optim.average_epochs`.

        A validation of few windows chooses an epoch by its noise; the last epochs of a falling learning rate are near
        each other, and so is their mean to all of them (stochastic weight averaging, Izmailov et al. 2018).
        """
        n_epochs, progress = self.config.optim.average_epochs, self.progress
        if n_epochs == 0 or plan is not self.job.plans[-1]:
            return
        if progress.epoch > plan.last_epoch - n_epochs or (finished and progress.n_averaged == 0):
            progress.take_into_mean(training.averaged_weights())
        if not finished:
            return
        training.replace_averaged(progress.mean_weights)
        validated = self.validation.of(training, self._tell)
        progress.stage_best = progress.mean_weights
        self._take_best(training, plan, validated)

    def _write_best(self, plan: StagePlan, validated: Validated, config: SedConfig) -> None:
        """`config` is the stage's own, with the batch that fitted."""
        parent = self.job.parent.lineage if self.job.parent else None
        lineage = Lineage(
            stage=plan.name,
            loss=self.config.stages[plan.name].loss,
            epoch=self.progress.epoch,
            parent=self.progress.parent,
            classes=self.data.folder.classes,
            data_fingerprint=self.data.folder.fingerprint,
            validation=self.data.split.kind,
            seed=self.config.seed,
            metrics={
                MACRO_AUC: validated.macro_auc,
                self.job.metric: validated.score,
                "val_loss": validated.loss,
            },
            round=max(self.job.round, parent.round if parent else 0),
            teachers=self.data.pseudo.labels.teachers if self.data.pseudo else (),
            pseudo_labels=self.data.pseudo.labels.fingerprint if self.data.pseudo else None,
            split=self.data.split.record,
            foreign=tuple(dict.fromkeys((*(parent.foreign if parent else ()), *self.data.foreign(config)))),
        )
        save_model(self.job.folder, self.progress.stage_best, config, lineage)
        write_predictions(
            self.job.folder / OOF_FILE, self.validation.windows, validated.probabilities, self.data.folder.classes
        )

    def _end_stage(self, plan: StagePlan) -> None:
        """The next stage starts from this one's best weights. A stage that stopped early gives up its other epochs."""
        progress = self.progress
        progress.epoch = plan.last_epoch
        progress.parent = Parent(stage=plan.name, weights_sha256=weights_digest(progress.stage_best))
        self.model.load_state_dict(progress.stage_best)
        self._save(plan, None)

    def _save(self, plan: StagePlan, stage_state: dict[str, Any] | None) -> None:
        self.last_save_s = time.monotonic()
        if self.runtime.rank != 0:
            return
        state = {
            "run": self._identity(),
            "stage": plan.name,
            "stage_state": stage_state,
            "model": self.model.state_dict(),
            "projection": self.projection.state_dict() if self.projection else None,
            **self.progress.as_state(),
        }
        save_state(self.job.folder, state)

    def _identity(self) -> dict[str, str]:
        """What a run has in common with the one that it continues."""
        identity = {
            "configuration": self.config.model_dump_json(),
            "chain of stages": ",".join(f"{plan.name}:{plan.epochs}" for plan in self.job.plans),
            "data folder content": self.data.folder.fingerprint,
            "table of pseudo-labels": self.data.pseudo.labels.fingerprint if self.data.pseudo else "none",
        }
        if self.job.metric != MACRO_AUC:
            identity["metric"] = self.job.metric
        if teacher := self.data.teacher(self.config):
            identity["teacher's embedding"] = f"{teacher.name}, {teacher.dim} wide"
        return identity

    def _restore(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """Take up a saved state; the part of it that belongs to an unfinished stage is returned."""
        saved = with_new_keys(state.get("run", {}))
        differing = [name for name, value in self._identity().items() if saved.get(name) != value]
        if differing:
            raise CheckpointError(
                f"{self.job.folder}: holds the training state of a run with another {' and another '.join(differing)}; "
                f"use another folder, or delete {STATE_FILE} and {PREVIOUS_STATE_FILE} in it to start anew."
            )
        self.model.load_state_dict(state["model"])
        if self.projection:
            self.projection.load_state_dict(state["projection"])
        self.progress = Progress.from_state(state)
        stage_state: dict[str, Any] | None = state["stage_state"]
        return stage_state


def epoch_seed(seed: int, stage_name: str, stage_epoch: int, rank: int = 0) -> int:
    """Seed of an epoch's dropout and stochastic depth in one process."""
    words = np.random.SeedSequence([seed, STAGE_NAMES.index(stage_name), stage_epoch, rank]).generate_state(1)
    return int(words[0])
