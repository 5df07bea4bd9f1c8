"""Ray Train: one TorchTrainer around a chain of stages, for `trainables.train` and for trials with several workers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ray.train
import torch
from pyarrow import fs
from ray.train import FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.util.queue import Empty, Queue
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sed_model.audio.cache import cache_home
from sed_model.config.sed_config import SedConfig, config_from_dict
from sed_model.config.stages import plan_stages
from sed_model.core.errors import UserError
from sed_model.data.recordings import read_configured
from sed_model.model.checkpoint import load_model
from sed_model.model.devices import choose_runtime
from sed_model.run_folder.window_metrics import MACRO_AUC
from sed_model.teacher.description import TeacherDescription
from sed_model.train.fit import FitJob, fit
from sed_model.train.progress import EpochResult
from trainables.on_ray.trial_storage import working_files
from trainables.trials.event_file import EventFile
from trainables.trials.hearing import Hearing, opened

RECORDS = ".ray_train"
CONTROLLER_FAILURE_LIMIT = 3
"""Workers that cannot start are tried again so often; Ray's own default is for ever."""


@dataclass(frozen=True)
class RayTrainJob:
    """A chain of stages for Ray Train. Paths are absolute; `parent` is the folder of the model to start from.

    A student has the folder of the ensemble that made its `pseudo_labels`, and its `round`; `hearing` is the foreign
    model that it may learn from. `is_last`: no further stage goes on from the last of these. The best epoch is told by
    `metric`.

    `drawn` are the values that a search drew, for TensorBoard; `storage` is the URI of the folder's files, where the
    nodes share no folder.
    """

    config: SedConfig
    data_dir: Path
    folder: Path
    stages: tuple[str, ...]
    epochs_scale: float = 1.0
    n_workers: int = 1
    cpus_per_worker: float = 1
    gpus_per_worker: float = 0
    parent: Path | None = None
    pseudo_labels: Path | None = None
    round: int = 0
    drawn: Mapping[str, Any] = field(default_factory=dict)
    storage: str | None = None
    hearing: Hearing | None = None
    is_last: bool = True
    metric: str = MACRO_AUC

    @property
    def records_place(self) -> str:
        """Where Ray Train keeps its own records of runs: a folder, or a URI."""
        return str(self.folder.parent / RECORDS) if self.storage is None else self.storage

    @property
    def records_name(self) -> str:
        """The folder in it of this run."""
        return f"train_{self.folder.name}"


class _Trainer(TorchTrainer):
    """A trainer that leaves Ctrl-C to the command: Ray's handler would end the process without a word."""

    def _register_sigint_handler(self, controller: object) -> None:
        pass


class _Epochs:
    """The way of results from the first worker to the process that trains, and of the word that it has heard them.

    Ray's TuneReportCallback has no such word: a worker would train on while Tune decides to stop its trial, and leave
    a model of an epoch that nobody was told of.
    """

    def __init__(self) -> None:
        # On this node: the death of another one would end the training.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "scheduling_strategy": here}
        self._told, self._heard = Queue(actor_options=options), Queue(actor_options=options)

    def tell(self, result: EpochResult) -> None:
        """In the worker: returns when the other side has heard it, which a trial that is stopped never does."""
        self._told.put(asdict(result))
        self._heard.get()

    def listen(self, on_epoch: Callable[[EpochResult], None], done: threading.Event) -> None:
        """Until `done`. No worker ends before it is heard; those of an interrupted training are heard no further."""
        while not done.is_set():
            try:
                told = self._told.get(timeout=0.5)
            except Empty:
                continue
            on_epoch(EpochResult(**told))
            self._heard.put(None)

    def close(self) -> None:
        """Whoever waits gets an error."""
        self._told.shutdown(force=True)  # without force a queue waits for those who wait for it
        self._heard.shutdown(force=True)


def fit_with_ray_train(job: RayTrainJob, on_epoch: Callable[[EpochResult], None], repeat_results: bool = False) -> None:
    """Train `job` in one TorchTrainer, data-parallel over its workers.

    Args:
        on_epoch: called in this process after each epoch, from another thread; the workers wait for its return. What
            it raises ends the training.
        repeat_results: training that goes on tells of the epochs before as well.
    """
    _delete_records(job)  # of an attempt that was killed
    epochs = _Epochs()
    trainer = _Trainer(
        _train_worker,
        train_loop_config={"job": _as_json(job), "repeat_results": repeat_results, "epochs": epochs},
        scaling_config=ScalingConfig(
            num_workers=job.n_workers,
            use_gpu=job.gpus_per_worker > 0,
            resources_per_worker={"CPU": job.cpus_per_worker, "GPU": job.gpus_per_worker}
            if job.gpus_per_worker
            else {"CPU": job.cpus_per_worker},
        ),
        run_config=RunConfig(
            name=job.records_name,
            storage_path=job.records_place,
            failure_config=FailureConfig(
                max_failures=0,
                controller_failure_limit=CONTROLLER_FAILURE_LIMIT,  # type: ignore[call-arg]  # typed as the old class
            ),
        ),
    )
    try:
        _fit_and_listen(trainer, epochs, on_epoch)
    finally:
        _delete_records(job)


def _fit_and_listen(trainer: TorchTrainer, epochs: _Epochs, on_epoch: Callable[[EpochResult], None]) -> None:
    done = threading.Event()
    errors: list[Exception] = []

    def listen() -> None:
        try:
            epochs.listen(on_epoch, done)
        except Exception as error:  # noqa: BLE001  # raised below
            errors.append(error)
            epochs.close()

    listener = threading.Thread(target=listen, daemon=True)  # that of a stopped trial stays in Tune's report
    listener.start()
    try:
        _fit(trainer)
    finally:
        done.set()
        listener.join()
        if errors:
            raise errors[0]
        epochs.close()


def _delete_records(job: RayTrainJob) -> None:
    """Remove Ray Train's records of a run that is over: nobody reads them, and another attempt would take them up."""
    files, place = fs.FileSystem.from_uri(job.records_place)
    with suppress(OSError):
        files.delete_dir(f"{place}/{job.records_name}")
    if job.storage is None:
        with suppress(OSError):  # another run's records are in it
            Path(place).rmdir()


def _fit(trainer: TorchTrainer) -> None:
    """Run the trainer; a worker's error that names its repair comes out as it is."""
    try:
        trainer.fit()
    except WorkerGroupError as failure:
        for error in failure.worker_failures.values():
            if isinstance(error, UserError):
                raise error from None
        raise


def _train_worker(settings: dict[str, Any]) -> None:
    """The loop of one Ray Train worker: all workers train and report, the first one writes files."""
    job = _from_json(settings["job"])
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(max(1, int(job.cpus_per_worker)))
    runtime = choose_runtime(job.config.optim, rank, world_size)
    folder = read_configured(job.data_dir, job.config.data)
    data = opened(folder, job.config, job.pseudo_labels, job.hearing)
    plans = plan_stages(job.config, job.stages, job.epochs_scale)
    parent = load_model(job.parent) if job.parent else None
    with (
        working_files(job.folder, job.storage, scratch_folder(job.config, rank)) as files,
        EventFile(files.folder if rank == 0 else None) as events,
    ):
        if job.drawn:
            events.write_hparams(job.drawn)
        fit_job = FitJob(
            job.config,
            plans,
            files.folder,
            parent,
            repeat_results=settings["repeat_results"],
            round=job.round,
            is_last=job.is_last,
            metric=job.metric,
        )
        for result in fit(fit_job, data, runtime):
            events.write_epoch(result)
            if rank == 0:
                files.push()
                settings["epochs"].tell(result)
            ray.train.report(result.as_report())


def scratch_folder(config: SedConfig, rank: int = 0) -> Path:
    """Where a worker keeps its copies of files that belong to the storage: beside the audio cache, on its own node."""
    return cache_home(config.data) / "trials" / f"worker_{rank}"


def _as_json(job: RayTrainJob) -> dict[str, Any]:
    """Ray records the loop's configuration: plain values keep it readable."""
    values = {name: getattr(job, name) for name in job.__dataclass_fields__}
    paths = {name: str(value) for name, value in values.items() if isinstance(value, Path)}
    hearing = job.hearing and {
        "description": job.hearing.description.model_dump(),
        "columns": list(job.hearing.columns),
        "sha256": job.hearing.sha256,
        "index": job.hearing.index and str(job.hearing.index),
    }
    return {**values, **paths, "config": job.config.model_dump(mode="json"), "hearing": hearing}


def _from_json(values: Mapping[str, Any]) -> RayTrainJob:
    names = ("data_dir", "folder", "parent", "pseudo_labels")
    paths = {name: Path(values[name]) for name in names if values[name] is not None}
    hearing = values["hearing"] and Hearing(
        TeacherDescription.model_validate(values["hearing"]["description"]),
        tuple(values["hearing"]["columns"]),
        values["hearing"]["sha256"],
        values["hearing"]["index"] and Path(values["hearing"]["index"]),
    )
    return RayTrainJob(**{**values, **paths, "config": config_from_dict(values["config"]), "hearing": hearing})
