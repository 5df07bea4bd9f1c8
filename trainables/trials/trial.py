"""A trial: a point of the search space -> configuration -> stages -> a report after every epoch."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import torch
from ray import tune
from ray.train import WorkerGroupError

from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import Data, SedConfig
from sed_model.config.stages import plan_stages
from sed_model.core.errors import ConfigError, DiskFullError, UserError
from sed_model.core.files import explained_full_disk
from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.model.backbones import BACKBONE_ERRORS
from sed_model.model.checkpoint import load_model, without_pretraining
from sed_model.model.model_trial import try_model
from sed_model.run_folder.folder import RunFolder
from sed_model.train.fit import FitJob, fit
from sed_model.train.progress import EpochResult
from trainables.on_ray.trial_storage import join_uri, working_files
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import TUNE_METRICS, Cost
from trainables.trials.event_file import EventFile
from trainables.trials.hearing import Hearing, opened
from trainables.trials.model_costs import model_costs
from trainables.trials.stage_trainer import RayTrainJob, fit_with_ray_train, scratch_folder
from trainables.trials.teacher import Teacher


@dataclass(frozen=True)
class SearchJob:
    """What all trials of a search share. Paths are absolute: workers have another working directory.

    `storage` is the URI of the run's files, where the nodes share no folder; `trial_bytes` is what the process of a
    trial, or each of its workers, is estimated to take of a machine's memory; 0: nothing is known.
    """

    space: SearchSpace
    data_dir: Path
    run_dir: Path
    stages: tuple[str, ...]
    epochs_scale: float
    cpus_per_trial: int
    gpus_per_trial: float
    workers_per_trial: int
    storage: str | None = None
    teacher: Teacher | None = None
    trial_bytes: int = 0

    @property
    def round(self) -> int:
        """0 for a search, n for students of round n."""
        return 0 if self.teacher is None or "pseudo" not in self.stages else self.teacher.round + 1

    def learns_from(self, data: Data) -> tuple[Path | None, Path | None]:
        """The model that a trial starts from, and the labels that its stage pseudo learns from."""
        if self.teacher is None:
            return None, None
        model, labels = self.teacher.of(data)
        return model, labels if "pseudo" in self.stages else None

    @property
    def hearing(self) -> Hearing | None:
        """The foreign model that trials may learn from."""
        return None if self.teacher is None else self.teacher.hearing

    def stored(self, folder: Path) -> str | None:
        """Where a folder of the run is in the storage."""
        return None if self.storage is None else join_uri(self.storage, *folder.relative_to(self.run_dir).parts)

    def config(self, values: Mapping[str, Any]) -> SedConfig:
        return self.space.config(values)


def run_trial(point: Mapping[str, Any], job: SearchJob) -> None:
    """Tune's trainable. `point` has the trial's `number` and the `values` drawn for it.

    The actor is used again for the next trial: everything below depends on the arguments alone.
    """
    folder = RunFolder(job.run_dir).trial(point["number"])
    with reported_failure(folder):
        config = job.config(point["values"])
        with explained_model(config):
            _train(config, folder, job, point["values"])


def run_refit(config: Mapping[str, Any], job: SearchJob) -> None:
    """Tune's trainable for a finalist that is trained again: its point is that of a `refit.Refit`."""
    point = config["refit"]
    folder = RunFolder(job.run_dir).refit(point["number"], point["in_parts"], point["fold"])
    with reported_failure(folder):
        settings = job.config(point["values"]).with_overrides(point["changes"])
        with explained_model(settings):
            _train(settings, folder, job, {**point["values"], **point["changes"]})


@contextmanager
def reported_failure(folder: Path) -> Iterator[None]:
    """Reports an error that names its repair (a loss that is not finite, memory that ran out) as `failure`.

    Raising it would cost a second attempt, with the same end, and a new actor. `disk_full` asks the search to stop.
    """
    try:
        with explained_full_disk(folder):
            yield
    except UserError as error:
        failure = {"failure": str(error), "disk_full": isinstance(error, DiskFullError)}
        tune.report(dict.fromkeys((*TUNE_METRICS.values(), *get_args(Cost)), math.nan) | failure)


@contextmanager
def explained_model(config: SedConfig) -> Iterator[None]:
    """An error that the model itself raises for its own images is told as one that is certain to come again.

    Raises:
        ConfigError: in the place of such an error; others stay what they are.
    """
    try:
        yield
    except (*BACKBONE_ERRORS, WorkerGroupError) as error:
        try:
            try_model(without_pretraining(config))
        except ConfigError as certain:
            raise certain from error
        raise


def _train(config: SedConfig, folder: Path, job: SearchJob, drawn: Mapping[str, Any]) -> None:
    torch.set_num_threads(job.cpus_per_trial)
    start, labels = job.learns_from(config.data)
    data = training_data(job.data_dir, config, labels, job.hearing)
    costs = model_costs(config, len(data.folder.classes), job.run_dir, job.storage)

    def report(result: EpochResult) -> None:
        tune.report({**result.as_report(), **costs, "split": data.split.record.digest})

    if job.workers_per_trial > 0:
        # Tune wants to hear all epochs of a trial that goes on.
        fit_with_ray_train(replace(ray_train_job(job, config, folder), drawn=drawn), report, repeat_results=True)
        return
    plans = plan_stages(config, job.stages, job.epochs_scale)
    with (
        working_files(folder, job.stored(folder), scratch_folder(config)) as files,
        EventFile(files.folder) as events,
    ):
        events.write_hparams(drawn)
        parent = None if start is None else load_model(start)
        metric = job.space.search.score
        fit_job = FitJob(config, plans, files.folder, parent, repeat_results=True, round=job.round, metric=metric)
        for result in fit(fit_job, data):
            events.write_epoch(result)
            files.push()
            report(result)


def ray_train_job(job: SearchJob, config: SedConfig, folder: Path) -> RayTrainJob:
    parent, labels = job.learns_from(config.data)
    return RayTrainJob(
        config=config,
        data_dir=job.data_dir,
        folder=folder,
        stages=job.stages,
        epochs_scale=job.epochs_scale,
        n_workers=job.workers_per_trial,
        cpus_per_worker=job.cpus_per_trial,
        gpus_per_worker=job.gpus_per_trial,
        storage=job.stored(folder),
        parent=parent,
        pseudo_labels=labels,
        round=job.round,
        hearing=job.hearing,
        metric=job.space.search.score,
    )


def training_data(
    data_dir: Path, config: SedConfig, labels: Path | None = None, hearing: Hearing | None = None
) -> TrainingData:
    """The data folder opened for a configuration (see `opened`); the tables are read once a process."""
    data = config.data
    return opened(_data_folder(data_dir, data.target_s, data.leave_out, data.follow_links), config, labels, hearing)


@functools.lru_cache(maxsize=2)
def _data_folder(data_dir: Path, target_s: float, leave_out: Path | None, follow_links: bool) -> DataFolder:
    return read_data_folder(data_dir, target_s, leave_out, follow_links)
