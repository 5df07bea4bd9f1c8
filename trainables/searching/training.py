"""What the train command does."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sed_model.clips.samplers import batch_size_for, with_batch_size
from sed_model.clips.training_data import check_distil, check_events, check_leaks, n_training_recordings
from sed_model.config.sed_config import SedConfig, load_config
from sed_model.config.stages import PARENTS, SUPERVISED_STAGES, plan_stages
from sed_model.config.training import STAGE_NAMES
from sed_model.core import cli
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.data.demo import write_demo_data
from sed_model.data.recordings import read_configured
from sed_model.data.splits import validation_kind
from sed_model.model.checkpoint import (
    STATE_FILE,
    WEIGHTS_FILE,
    delete_state,
    load_model,
    start_from,
    without_pretraining,
)
from sed_model.model.devices import emulation_note
from sed_model.model.model_trial import try_model
from sed_model.model.network import SedModel
from sed_model.run_folder.folder import RunFolder, is_probe
from trainables.keeping.driver_lock import only_driver
from trainables.on_ray.cluster import ClusterInfo, machine_for, ray_session
from trainables.searching.checks import check_place
from trainables.searching.data_checks import batch_line, check_data, check_same_data, tell_data
from trainables.searching.hear_once import heard_once
from trainables.searching.recorder import epoch_line
from trainables.spaces.check import SPACES_DIR, find_file
from trainables.spaces.overrides import Use, absolute_paths, check_used, parse_overrides
from trainables.trials.hearing import Hearing
from trainables.trials.stage_trainer import RECORDS, RayTrainJob, fit_with_ray_train
from trainables.trials.teacher import find_teacher

UNFINISHED = ".unfinished"
"""In the folder of a stage until its last epoch: its best model is there after the first, and a state only later."""


@dataclass(frozen=True)
class TrainOptions:
    """The options of the train command, as its --help explains them; None: found out.

    Attributes:
        words: what the user typed, to tell how to go on.
        stage: one of the supervised stages, or `all`.
        overrides: `key=value` of each --set.
    """

    words: tuple[str, ...]
    stage: str
    config: str | None = None
    data: Path | None = None
    out: Path = Path("runs/train")
    epochs_scale: float = 1.0
    workers: int = 1
    cpus_per_worker: int | None = None
    gpus_per_worker: float | None = None
    resume: bool = False
    address: str | None = None
    overrides: tuple[str, ...] = ()
    teacher: Path | None = None


def run_training(options: TrainOptions) -> None:
    """Check everything, then train the stages one after the other, each in its own TorchTrainer."""
    stages = SUPERVISED_STAGES if options.stage == "all" else (options.stage,)
    hearing = None if options.teacher is None else hearing_of(options.teacher)
    config = training_config(options, stages, hearing)
    check_place(options.out, None)
    parent = parent_folder(options.out, stages[0], options.words)
    done = [stage for stage in stages if is_done(options.out / stage, config, options.resume)]
    if (machine := machine_for(options.address)) is not None:
        worker_resources(options, machine)
    folder = None if options.data is None else read_configured(options.data, config.data)
    for note in filter(None, [*try_model(config).left_out, emulation_note(config.optim.precision)]):
        print(note, flush=True)
    if folder is None:
        root = Path("demo_data").absolute()
        print(f"no --data: using the demo data in {root}", flush=True)
        folder = read_configured(write_demo_data(root), config.data)
    kind = validation_kind(folder, config.data)
    check_used(parse_overrides(options.overrides), config, Use("train", stages, validation=kind))
    check_events(config.loss.strong_weight, folder)
    if options.teacher is not None:
        teacher = RunFolder(options.teacher)
        check_same_data(teacher, teacher.read_search(), folder)
    tell_data(folder)
    n_clips = n_training_recordings(folder, config)
    config = with_batch_size(config, n_clips, options.workers)
    print(batch_line([batch_size_for(n_clips, config)], n_clips), flush=True)
    data = check_data(folder, config, stages[0])
    if parent is not None:
        loaded = load_model(parent)
        check_leaks(data, loaded.lineage, str(parent))
        start_from(SedModel(without_pretraining(config), len(folder.classes)), loaded, config, folder.classes)
    with (
        only_driver(options.out, "training"),
        hint_to_resume(options),
        ray_session(options.address, dashboard=True) as cluster,
    ):
        if cluster.dashboard:
            print(f"Ray dashboard {cluster.dashboard} (token: ray get-auth-token)", flush=True)
        hearing = hearing and heard_once(hearing, folder, config.data)
        for stage in stages:
            if stage in done:
                print(f"{stage} is done already", flush=True)
            else:
                train_stage(options, cluster, config, (folder.root, hearing), (stage, parent))
            parent = options.out / stage
        shutil.rmtree(options.out / RECORDS, ignore_errors=True)  # of trainings that were killed
    print(f"\nbest model      {parent}")
    model, scapes = shlex.quote(str(parent)), cli.soundscapes_to_predict(folder.root)
    following = next((stage for stage in SUPERVISED_STAGES if PARENTS[stage] == stages[-1]), None)
    cli.print_next(
        *([command([word for word in options.words if word != "--resume"], following)] if following else []),
        f"python -m trainables.predict --model {model} --soundscapes {scapes} --out submission.csv",
    )


@contextmanager
def hint_to_resume(options: TrainOptions) -> Iterator[None]:
    """Whoever interrupts is told how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        words = options.words if options.resume else [*options.words, "--resume"]
        raise KeyboardInterrupt(f"go on with: {command(words)}") from None


def command(words: Sequence[str], stage: str | None = None) -> str:
    """What was typed, for another stage where one is given."""
    if stage is not None:
        words = without_stages(words, [other for other in STAGE_NAMES if other != stage])
        at = next(place for place, word in enumerate(words) if word.partition("=")[0] == "--stage")
        words = [*words[:at], "--stage", stage, *words[at + (1 if "=" in words[at] else 2) :]]
    return shlex.join(["python", "-m", "trainables.train", *words])


def without_stages(words: Sequence[str], stages: Sequence[str]) -> list[str]:
    """What was typed, without what --set says of some stages: a command for others refuses it."""
    kept: list[str] = []
    for word in words:
        text = word.removeprefix("--set=") if word.startswith("--set=") else word
        is_set = word.startswith("--set=") or kept[-1:] == ["--set"]
        if is_set and text.strip().startswith(tuple(f"stages.{stage}." for stage in stages)):
            kept = kept[:-1] if kept[-1:] == ["--set"] else kept
        else:
            kept.append(word)
    return kept


def hearing_of(run: Path) -> Hearing:
    """What the foreign model of a probe heard.

    Raises:
        ConfigError: the run is that of no probe.
    """
    hearing = find_teacher(run).hearing if is_probe(RunFolder(run)) else None
    if hearing is None:
        raise ConfigError(
            f"--teacher {run}: is no run of python -m trainables.probe, whose embeddings a training learns from; "
            "pseudo-labels are for searches and students."
        )
    return hearing


def training_config(options: TrainOptions, stages: Sequence[str], hearing: Hearing | None) -> SedConfig:
    """--config with --set put in; without --config base.yaml, or demo.yaml for the demo data.

    Raises:
        ConfigError: what was set is refused, or would change nothing; or there is no teacher that it asks for, or one
            that it makes no use of.
    """
    default = SPACES_DIR / ("demo.yaml" if options.data is None else "base.yaml")
    config_file = default if options.config is None else find_file(options.config)
    overrides = absolute_paths(parse_overrides(options.overrides))
    config = load_config(config_file).with_overrides(overrides)
    check_distil(config.distil.weight, has_embeddings=hearing is not None)
    if hearing is not None and config.distil.weight == 0:
        raise ConfigError("--teacher: would change nothing, for distil.weight is 0; set it above, or leave it out.")
    check_used(overrides, config, Use("train", tuple(stages)))
    return config


def train_stage(
    options: TrainOptions,
    cluster: ClusterInfo,
    config: SedConfig,
    source: tuple[Path, Hearing | None],
    place: tuple[str, Path | None],
) -> None:
    """Train one stage, from its parent's model where it has one, on a data folder that a teacher may have heard."""
    data_dir, hearing = source
    stage, parent = place
    cpus, gpus = worker_resources(options, cluster)
    job = RayTrainJob(
        config=config,
        data_dir=data_dir,
        folder=options.out / stage,
        stages=(stage,),
        epochs_scale=options.epochs_scale,
        n_workers=options.workers,
        cpus_per_worker=cpus,
        gpus_per_worker=gpus,
        parent=parent,
        hearing=hearing,
        is_last=stage == SUPERVISED_STAGES[-1],
    )
    epochs = plan_stages(config, (stage,), options.epochs_scale)[-1].last_epoch
    workers = f"{options.workers} worker{'s' * (options.workers > 1)}, {cpus} CPUs and {gpus:g} GPUs each"
    print(f"{stage} starts: {epochs} epochs; {workers}", flush=True)
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / UNFINISHED).touch()
    fit_with_ray_train(job, on_epoch=lambda result: print(epoch_line(stage, asdict(result)), flush=True))
    delete_state(job.folder)
    (job.folder / UNFINISHED).unlink()


def worker_resources(options: TrainOptions, cluster: ClusterInfo) -> tuple[int, float]:
    """CPUs and GPUs of a worker.

    Raises:
        ConfigError: the workers do not fit.
    """
    gpus = options.gpus_per_worker if options.gpus_per_worker is not None else float(cluster.gpus > 0)
    cpus = options.cpus_per_worker or max(1, int(cluster.cpus) // options.workers)
    if cpus * options.workers > cluster.cpus or gpus * options.workers > cluster.gpus:
        place = "the cluster" if cluster.nodes else "this machine"
        repair = "lower one of them" if cluster.gpus or not gpus else "leave --gpus-per-worker out: no GPU is found"
        raise ConfigError(
            f"--workers {options.workers} with {cpus} CPUs and {gpus:g} GPUs each does not fit {place} "
            f"({cluster.cpus:g} CPUs, {cluster.gpus:g} GPUs); {repair}."
        )
    return cpus, gpus


def parent_folder(out: Path, stage: str, words: Sequence[str]) -> Path | None:
    """Folder of the model that a stage starts from; `words` are what was typed.

    Raises:
        CheckpointError: it is not there; the message says where it was looked for.
    """
    parent = PARENTS[stage]
    if parent is None:
        return None
    try:
        load_model(out / parent)
    except CheckpointError as error:
        raise CheckpointError(
            f"{stage} starts from the model of {parent}: {error}\nTrain it first: {command(words, parent)}"
        ) from None
    return out / parent


def is_done(folder: Path, config: SedConfig, resume: bool) -> bool:
    """Whether a stage was trained to its end, with this configuration.

    Raises:
        ConfigError: the folder holds a model, which is overwritten only by going on with it as it was begun.
    """
    if not (folder / WEIGHTS_FILE).exists():
        return False
    if not resume:
        raise ConfigError(f"{folder} holds a model already; choose another --out, or go on with --resume.")
    began = load_model(folder).config.flat()
    asked = config.flat()
    if config.optim.batch_size is None or config.optim.auto_batch:  # data and memory have decided on these
        asked |= {name: began[name] for name in ("optim.batch_size", "optim.accumulation_steps")}
    changed = [f"{name}={value} (was {began[name]})" for name, value in asked.items() if value != began[name]]
    if changed:
        raise ConfigError(
            f"{folder} was begun with another configuration: {', '.join(changed)}; set these as they were, or choose "
            "another --out."
        )
    return not any((folder / name).exists() for name in (UNFINISHED, STATE_FILE))
