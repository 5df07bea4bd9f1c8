"""From the options of the search command to a search whose input is right; nothing is written for a wrong one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from sed_model.clips.pseudo_clips import PseudoLabels, read_pseudo_labels
from sed_model.clips.training_data import TrainingData, check_events, check_leaks
from sed_model.config.sed_config import load_config
from sed_model.core.errors import ConfigError, DataError
from sed_model.data.demo import write_demo_data
from sed_model.data.recordings import DataFolder, read_configured
from sed_model.data.splits import validation_kind
from sed_model.model.checkpoint import CONFIG_FILE, read_lineage
from sed_model.model.devices import emulation_note
from sed_model.run_folder.folder import RunFolder, newest_runs
from trainables.keeping.driver_lock import check_free
from trainables.on_ray.cluster import ClusterInfo
from trainables.on_ray.trial_storage import Storage, join_uri
from trainables.searching.checks import (
    check_backbones,
    check_method,
    check_metric,
    check_one_split,
    check_place,
    check_refit_folds,
    check_stages,
    check_teacher_heard,
    check_top_k,
    check_unused,
    check_workers,
    highest,
)
from trainables.searching.data_checks import (
    check_data,
    check_same_data,
    check_same_split,
    front_ends,
    tell_data,
    with_known_batch,
)
from trainables.searching.finalists import base_in_parts, check_finalists, in_parts, tell_finalists
from trainables.searching.options import SearchOptions
from trainables.searching.resources import check_room
from trainables.searching.trackers import check_tracker
from trainables.searching.trial_memory import trial_bytes
from trainables.searching.warm_start import earlier_trials
from trainables.spaces.check import GONE, SECTIONS, SPACES_DIR, parse_space
from trainables.spaces.load import load_space, with_settings
from trainables.spaces.overrides import Use, absolute_paths, check_used, parse_overrides
from trainables.spaces.portfolio import portfolio_line, portfolio_of
from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import AshaSettings
from trainables.trials.teacher import Teacher, check_student_space, find_teacher
from trainables.trials.trial import SearchJob

DEMO_TRIALS = 10
FIXED_BY_RESUME = (
    "space", "stages", "epochs_scale", "searcher", "scheduler", "cost", "seed", "overrides", "warm_start",
    "storage", "teacher",
)  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """A search whose input is right. `record` is what search.yaml holds; nothing has been written yet.

    `earlier` are trials of other searches that a new one starts from, `portfolio` what it tries after the default.
    """

    run: RunFolder
    space: SearchSpace
    job: SearchJob
    data: DataFolder
    record: Mapping[str, Any]
    earlier: tuple[FrozenTrial, ...] = ()
    portfolio: tuple[Mapping[str, Any], ...] = ()


def prepare(options: SearchOptions, machine: ClusterInfo | None = None) -> Prepared:
    """Read and check all input, a new search's or that of the one to go on with: what is quick to check first.

    `machine` is the one that trials have to fit, where no cluster is asked.

    Raises:
        UserError: of the kind of the input that is wrong.
    """
    check_place(options.out, options.name)
    check_tracker(options.track)
    check_workers(options.n_workers, options.dashboard)
    run, space, data_dir = resumed(options) if options.resume else new_run(options)
    check_top_k(options.top_k, options.pseudo_labels, space)
    if not options.dry_run:
        check_free(run.path)
    teacher_dir, teachers = teacher_folders(run, options)
    teacher = None if teacher_dir is None else find_teacher(teacher_dir, run.taught if teachers else None)
    check_method(space)
    check_metric(space)
    check_stages(space.search.stages, teacher)
    check_teacher_heard(space, has_embeddings=teacher is not None and teacher.hearing is not None)
    check_one_split(space)
    if teacher is not None and teacher.model is not None:
        check_student_space(space)
    data = None if data_dir is None else read_configured(data_dir, space.base.data)
    tried = check_backbones(space)
    for note in filter(None, [*tried.left_out, emulation_note(space.base.optim.precision)]):
        print(note, flush=True)
    if data is None:
        data = demo_data(space)
    kind = validation_kind(data, space.base.data)
    space = space if options.resume else in_parts(space, data)  # one that is gone on with stays as it was begun
    check_used(parse_overrides(options.overrides), space.base, use_of(space, teacher, kind))
    check_events(highest(space, "loss.strong_weight"), data)
    check_finalists(options.finalists, space, data)
    space = with_known_batch(space, data, max(1, options.n_workers))
    record = record_of(options, run, space, data)
    tell_data(data)
    job = replace(search_job(run, space, data.root, options, record.get("storage")), teacher=teacher)
    job = replace(job, trial_bytes=0 if job.gpus_per_trial else trial_bytes(space, tried, job.workers_per_trial))
    if machine is not None:
        check_room(job, machine)
    labels = labels_for(space, teacher)
    for number, config in enumerate(front_ends(space)):
        training = check_data(
            data, config, space.search.stages[0], labels, tell_score=number == 0, metric=space.search.score
        )
    if training.split.kind == "soundscapes":
        tell_finalists(space, data, len(training.split.soundscapes_validation))
    earlier = [trial for folder in options.warm_start for trial in earlier_trials(space, folder, data.fingerprint)]
    portfolio = [] if earlier else portfolio_of(space)
    if portfolio and not options.resume:
        print(portfolio_line(len(portfolio)), flush=True)
    check_split(options, job, training, record)
    return Prepared(run, space, job, data, record, tuple(earlier), tuple(portfolio))


def record_of(options: SearchOptions, run: RunFolder, space: SearchSpace, data: DataFolder) -> dict[str, Any]:
    """What search.yaml holds, of a new search or of the one to go on with, which may go on with another tracker.

    Raises:
        UserError: of the kind of what is wrong: the data are others, or the tracker is not installed.
    """
    if options.resume:
        record = run.read_search()
        check_same_data(run, record, data)
    else:
        record = run_record(run, space, data, options.command, options.overrides) | storage_record(options.storage, run)
        teacher_dir, teachers = teacher_folders(run, options)
        if teacher_dir is not None:
            check_same_data(RunFolder(teacher_dir), RunFolder(teacher_dir).read_search(), data)
            record["teacher"] = str(teacher_dir)
            record |= {"teachers": list(teachers)} if teachers else {}
    if options.track:
        record["track"] = options.track
    check_tracker(record.get("track"))
    return record


def labels_for(space: SearchSpace, teacher: Teacher | None) -> PseudoLabels | None:
    """The pseudo-labels that trials learn from."""
    folder = None if teacher is None or "pseudo" not in space.search.stages else teacher.of(space.base.data)[1]
    return None if folder is None else read_pseudo_labels(folder)


def check_split(options: SearchOptions, job: SearchJob, training: TrainingData, record: dict[str, Any]) -> None:
    """Whether all that the search takes over fits to what validates here; a new search puts that into its record.

    Raises:
        UserError: of the kind of what does not fit.
    """
    split = training.split.record
    if job.teacher is not None:
        model, _ = job.teacher.of(job.space.base.data)
        check_leaks(training, None if model is None else read_lineage(model), f"--teacher {model}")
    if options.resume:
        check_same_split(f"--resume {job.run_dir}", record, split)
    else:
        record["data"]["split"] = split.model_dump()
    for folder in options.warm_start:
        check_same_split(f"--warm-start {folder}", RunFolder(folder).read_search(), split)
    check_refit_folds(job.space, split, job.teacher)


def demo_data(space: SearchSpace) -> DataFolder:
    root = Path("demo_data").absolute()
    print(f"no --data: using the demo data in {root} with the small settings of demo.yaml", flush=True)
    return read_configured(write_demo_data(root), space.base.data)


def teacher_folders(run: RunFolder, options: SearchOptions) -> tuple[Path | None, tuple[str, ...]]:
    """The run that a student starts from, and those that label for it where it is not this one alone.

    Those that were given, or of the search that is gone on with.
    """
    if not options.resume:
        return options.teacher, tuple(map(str, options.teachers))
    known = run.read_search().get("teacher")
    return None if known is None else Path(known), run.teachers()


def new_run(options: SearchOptions) -> tuple[RunFolder, SearchSpace, Path | None]:
    """The space with all that the command line replaces in it; no data folder stands for the demo data."""
    if options.space is None:
        raise ConfigError("--space is missing; name a search space, e.g. --space arch.yaml (or go on with --resume).")
    overrides = absolute_paths(parse_overrides(options.overrides))
    if options.seed is not None:
        overrides.setdefault("seed", options.seed)
    base, data_dir = None, options.data
    taught = RunFolder(options.out / str(options.name)).taught if options.teachers else None
    teacher = None if options.teacher is None else find_teacher(options.teacher, taught)
    if options.teacher is not None and teacher is not None:
        base = None if teacher.model is None else teacher.model / CONFIG_FILE
        data_dir = data_dir or Path(RunFolder(options.teacher).read_search()["data"]["folder"])
    if data_dir is None:
        base = SPACES_DIR / "demo.yaml"
        overrides.setdefault("model.backbone", load_config(base).model.backbone)
    space = load_space(options.space, overrides, base)
    updates = search_updates(options, space)
    if data_dir is None:
        updates.setdefault("num_trials", min(DEMO_TRIALS, space.search.num_trials))
    space = with_settings(space, updates)
    check_used(parse_overrides(options.overrides), base_in_parts(space), use_of(space, teacher))
    run = RunFolder(options.out / (options.name or f"{space.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    check_unused(run)
    return run, space, data_dir


def use_of(space: SearchSpace, teacher: Teacher | None, validation: str | None = None) -> Use:
    """What a search makes of a configuration; a student starts from weights."""
    searched = tuple(parameter.key for parameter in space.parameters)
    command = "search" if teacher is None or teacher.model is None else "student"
    return Use(command, space.search.stages, searched, validation=validation)


def resumed(options: SearchOptions) -> tuple[RunFolder, SearchSpace, Path]:
    """The run of --name, or the newest one, with its own space and settings; the number of trials may be raised."""
    given = [name for name in FIXED_BY_RESUME if getattr(options, name) not in (None, ())]
    if given:
        flags = ", ".join("--set" if name == "overrides" else f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"--resume goes on with the settings of the run's search.yaml; leave out {flags}.")
    folders = [options.out / options.name] if options.name else newest_runs(options.out)
    if not folders:
        raise DataError(f"--resume: no run folder in {options.out}; name one with --name, or start a new search.")
    run = RunFolder(folders[0])
    record = run.read_search()
    space = parse_space({name: record[name] for name in (*SECTIONS, GONE) if name in record}, run.search_file, {})
    space = replace(space, name=record["space_name"])
    updates = {
        "num_trials": options.num_trials,
        "finalists": options.finalists,
        "refit_folds": options.refit_folds,
    }
    space = with_settings(space, {name: value for name, value in updates.items() if value is not None})
    return run, space, options.data or Path(record["data"]["folder"])


def search_updates(options: SearchOptions, space: SearchSpace) -> dict[str, Any]:
    """The settings of the search that the command line replaces."""
    given: dict[str, Any] = {
        "num_trials": options.num_trials,
        "epochs_scale": options.epochs_scale,
        "searcher": options.searcher,
        "cost": options.cost,
        "finalists": options.finalists,
        "refit_folds": options.refit_folds,
        "seed": options.seed,
    }
    updates = {name: value for name, value in given.items() if value is not None}
    if options.stages is not None:
        updates["stages"] = [name.strip() for name in options.stages.split(",") if name.strip()]
    if options.scheduler == "none":
        updates["scheduler"] = "none"
    elif options.scheduler == "asha" and space.search.scheduler is None:
        updates["scheduler"] = AshaSettings()
    return updates


def run_record(
    run: RunFolder, space: SearchSpace, data: DataFolder, command: str, overrides: Sequence[str]
) -> dict[str, Any]:
    """search.yaml: all that a reader, or --resume, needs to know."""
    return {
        "name": run.path.name,
        "space_name": space.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": command,
        "set": list(overrides),
        "seed": space.search.seed,
        "versions": {
            name: version(name) for name in ("sed-search", "torch", "timm", "ray", "optuna", "audiomentations")
        },
        "data": {
            "folder": str(data.root),
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "recordings": len(data.recordings),
            **left_out_record(data),
        },
        **space.as_dict(),
    }


def left_out_record(data: DataFolder) -> dict[str, Any]:
    """What `data.leave_out` took out, and the checksum of its file."""
    if data.leave_out_sha256 is None:
        return {}
    return {"left_out": list(data.left_out), "leave_out_sha256": data.leave_out_sha256}


def storage_record(uri: str | None, run: RunFolder) -> dict[str, str]:
    """Where the files of a new run's trials go, unless into the run folder.

    Raises:
        ConfigError: the URI is wrong, or trials of another run are there.
    """
    if uri is None:
        return {}
    place = join_uri(uri, run.path.name)
    Storage(uri)
    if Storage(join_uri(place, "trials")).exists():
        raise ConfigError(f"--storage {place}: holds the trials of a run; choose another --name, or --resume that run.")
    return {"storage": place}


def search_job(
    run: RunFolder, space: SearchSpace, data_dir: Path, options: SearchOptions, storage: str | None
) -> SearchJob:
    return SearchJob(
        space=space,
        data_dir=data_dir,
        run_dir=run.path,
        stages=space.search.stages,
        epochs_scale=space.search.epochs_scale,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        workers_per_trial=options.n_workers,
        storage=storage,
    )
