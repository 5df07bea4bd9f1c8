"""What the search command checks before Ray starts: all input, so that nothing is written for a wrong one."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from sed_model.backbones import Backbone, HubError
from sed_model.checkpoint import CONFIG_FILE
from sed_model.config import SedConfig, load_config
from sed_model.dataset import TrainingClips, ValidationWindows
from sed_model.demo_data import write_demo_data
from sed_model.errors import ConfigError, DataError
from sed_model.paths import LONGEST_NAME, check_folder
from sed_model.pseudo_clips import PseudoLabels, read_pseudo_labels
from sed_model.recordings import DataFolder, read_data_folder
from sed_model.stages import check_stage_names
from sed_model.training_data import open_training_data
from trainables.cluster import ClusterInfo
from trainables.driver_lock import HOLDER_FILE, LOCK_FILE
from trainables.overrides import absolute_paths
from trainables.refit import changes_for
from trainables.resources import check_room
from trainables.runs import RunFolder, newest_first
from trainables.search_settings import AshaSettings, parse_search
from trainables.search_space import SearchSpace
from trainables.space import SPACES_DIR, load_space, parse_overrides
from trainables.space_check import SECTIONS, parse_space
from trainables.teacher import Teacher, check_student_space, find_teacher
from trainables.trial import SearchJob
from trainables.trial_storage import Storage, join_uri
from trainables.warm_start import earlier_trials

DEMO_TRIALS = 10
JOB_COPY = "working_dir_files"
"""Ray's folder for what `ray job submit --working-dir` uploads."""
FIXED_BY_RESUME = (
    "space", "stages", "epochs_scale", "searcher", "scheduler", "cost", "seed", "overrides", "warm_start",
    "storage", "teacher",
)  # fmt: skip


@dataclass(frozen=True)
class Prepared:
    """A search whose input is right. `record` is what search.yaml holds; nothing has been written yet.

    `earlier` are trials of other searches that a new one starts from.
    """

    run: RunFolder
    space: SearchSpace
    job: SearchJob
    data: DataFolder
    record: Mapping[str, Any]
    earlier: tuple[FrozenTrial, ...] = ()


def prepare(options: argparse.Namespace, machine: ClusterInfo | None = None) -> Prepared:
    """Read and check all input, a new search's or that of the one to go on with: what is quick to check first.

    `machine` is the one that trials have to fit, where no cluster is asked.

    Raises:
        UserError: of the kind of the input that is wrong.
    """
    check_place(options.out, options.name)
    check_workers(options)
    run, space, data_dir = resumed(options) if options.resume else new_run(options)
    teacher_dir = teacher_folder(run, options)
    teacher = None if teacher_dir is None else find_teacher(teacher_dir)
    check_method(space)
    check_stages(space.search.stages, teacher)
    if teacher is not None:
        check_student_space(space)
    data = None if data_dir is None else read_data_folder(data_dir, space.base.data.target_s)
    check_backbones(space)
    if data is None:
        data = demo_data(space)
    if options.resume:
        record = run.read_search()
        check_same_data(run, record, data)
    else:
        record = search_record(run, space, data, options.words) | storage_record(options.storage, run)
        if teacher_dir is not None:
            check_same_data(RunFolder(teacher_dir), RunFolder(teacher_dir).read_search(), data)
            record["teacher"] = str(teacher_dir)
    for note in data.notes:
        print(f"data: {note}", flush=True)
    job = replace(search_job(run, space, data.root, options, record.get("storage")), teacher=teacher)
    if machine is not None:
        check_room(job, machine)
    labels = None if teacher is None else read_pseudo_labels(teacher.labels)
    for config in front_ends(space):
        validation = check_data(data, config, space.search.stages[0], labels)
    for fold in space.search.refit_folds:
        changes_for(space.base, validation, fold)
    earlier = [trial for folder in options.warm_start for trial in earlier_trials(space, folder, data.fingerprint)]
    return Prepared(run, space, job, data, record, tuple(earlier))


def demo_data(space: SearchSpace) -> DataFolder:
    root = write_demo_data(Path("demo_data").absolute())
    print(f"no --data: using the demo data in {root} with the small settings of demo.yaml", flush=True)
    return read_data_folder(root, space.base.data.target_s)


def teacher_folder(run: RunFolder, options: argparse.Namespace) -> Path | None:
    """The run that a student learns from: that of --teacher, or of the search that is gone on with."""
    if not options.resume:
        teacher: Path | None = options.teacher
        return teacher
    known = run.read_search().get("teacher")
    return None if known is None else Path(known)


def check_place(out: Path, name: str | None) -> None:
    """Whether run folders can go to `out`, and `name` is a plain folder name."""
    if name is not None and (name != Path(name).name or name in ("", ".", "..")):
        raise ConfigError(f"--name {name!r}: is no plain folder name; leave out slashes and dots, and use --out DIR.")
    if name is not None and not (name.isprintable() and len(name.encode(errors="replace")) <= LONGEST_NAME):
        raise ConfigError(f"--name {name!r:.80}: is no folder name; give up to {LONGEST_NAME} printable characters.")
    if JOB_COPY in out.parts:
        raise ConfigError(
            f"--out {out}: is in the copy of the code that Ray makes for a job, and deletes; give an absolute path."
        )
    check_folder(out, "--out")


def workers_per_trial(options: argparse.Namespace) -> int:
    """`auto`: one Ray Train worker where trials have a GPU (they last long), none elsewhere (it costs 30 s)."""
    return int(options.gpus_per_trial > 0) if options.workers_per_trial is None else int(options.workers_per_trial)


def check_workers(options: argparse.Namespace) -> None:
    """Ray frees the workers of a stopped trial through its dashboard: without one the search would hang."""
    if workers_per_trial(options) > 0 and not options.dashboard:
        raise ConfigError(
            "--no-dashboard: Ray Train workers of stopped trials are freed through the dashboard; leave it on, or add "
            "--workers-per-trial 0."
        )


def new_run(options: argparse.Namespace) -> tuple[RunFolder, SearchSpace, Path | None]:
    """The space with all that the command line replaces in it; no data folder stands for the demo data."""
    if options.space is None:
        raise ConfigError("--space is missing; name a search space, e.g. --space arch.yaml (or go on with --resume).")
    overrides = absolute_paths(parse_overrides(options.overrides))
    if options.seed is not None:
        overrides.setdefault("seed", options.seed)
    base, data_dir = None, options.data
    if options.teacher is not None:
        base = find_teacher(options.teacher).model / CONFIG_FILE
        data_dir = data_dir or Path(RunFolder(options.teacher).read_search()["data"]["folder"])
    if data_dir is None:
        base = SPACES_DIR / "demo.yaml"
        overrides.setdefault("model.backbone", load_config(base).model.backbone)
    space = load_space(options.space, overrides, base)
    updates = search_updates(options, space)
    if data_dir is None:
        updates.setdefault("num_trials", min(DEMO_TRIALS, space.search.num_trials))
    space = with_settings(space, updates)
    run = RunFolder(options.out / (options.name or f"{space.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    check_unused(run)
    return run, space, data_dir


def check_unused(run: RunFolder) -> None:
    """
    Raises:
        ConfigError: there is a run of that name, or something else.
    """
    if run.path.exists() and not (run.path.is_dir() and all(map(_is_lock, run.path.iterdir()))):
        raise ConfigError(
            f"{run.path} exists; choose another --name, or go on with it: --resume --name {run.path.name}."
        )


def _is_lock(path: Path) -> bool:
    """A search that is killed before it writes anything leaves its lock."""
    return path.name in (LOCK_FILE, HOLDER_FILE)


def resumed(options: argparse.Namespace) -> tuple[RunFolder, SearchSpace, Path]:
    """The run of --name, or the newest one, with its own space and settings; the number of trials may be raised."""
    given = [name for name in FIXED_BY_RESUME if getattr(options, name) not in (None, [])]
    if given:
        flags = ", ".join("--set" if name == "overrides" else f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"--resume goes on with the settings of the run's search.yaml; leave out {flags}.")
    folders = [options.out / options.name] if options.name else newest_first(options.out)
    if not folders:
        raise DataError(f"--resume: no run folder in {options.out}; name one with --name, or start a new search.")
    run = RunFolder(folders[0])
    record = run.read_search()
    space = parse_space({name: record[name] for name in SECTIONS if name in record}, run.search_file, {})
    space = replace(space, name=record["space_name"])
    updates = {"num_trials": options.num_trials, "refit_folds": options.refit_folds}
    space = with_settings(space, {name: value for name, value in updates.items() if value is not None})
    return run, space, options.data or Path(record["data"]["folder"])


def search_updates(options: argparse.Namespace, space: SearchSpace) -> dict[str, Any]:
    """The settings of the search that the command line replaces."""
    given = {
        "num_trials": options.num_trials,
        "epochs_scale": options.epochs_scale,
        "searcher": options.searcher,
        "cost": options.cost,
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


def with_settings(space: SearchSpace, updates: Mapping[str, Any]) -> SearchSpace:
    """The space with settings of its search replaced, and checked."""
    settings, problems = parse_search({**space.search.as_dict(), **updates})
    if problems:
        raise ConfigError("\n".join(problems))
    return replace(space, search=settings)


def check_method(space: SearchSpace) -> None:
    """A Gaussian process and NSGA-II model what all trials have in common, and draw all else independently."""
    conditional = [parameter.key for parameter in space.parameters if parameter.when]
    if space.search.searcher in ("gp", "nsga2") and conditional:
        parents = sorted({c.parent for parameter in space.parameters for c in parameter.when})
        raise ConfigError(
            f"searcher {space.search.searcher} takes no parameters that only some trials have: "
            f"{', '.join(conditional)}; fix {', '.join(parents)} with --set, or use --searcher optuna."
        )


def check_stages(stages: tuple[str, ...], teacher: Teacher | None) -> None:
    check_stage_names(stages)
    if teacher is not None:
        return
    if "pseudo" in stages:
        raise ConfigError(
            f"stages {','.join(stages)}: pseudo needs the pseudo-labels of a run; leave it out, or name the run "
            "with --teacher runs/NAME."
        )
    if stages[0] != "pretrain_ce":
        raise ConfigError(f"stages {','.join(stages)}: a search starts with pretrain_ce; put it first.")


def check_backbones(space: SearchSpace) -> None:
    """Build every backbone of the space: unknown names and missing weights show here, and downloads happen once."""
    choices = [p.distribution.probes() for p in space.parameters if p.key == "model.backbone"]
    problems = []
    for name in choices[0] if choices else (space.base.model.backbone,):
        try:
            Backbone(space.base.with_overrides({"model.backbone": name}).model, in_channels=1)
        except HubError as error:
            problems.append(str(error))
            break  # it would not be reached for the others either, after a minute of retries each
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def front_ends(space: SearchSpace) -> list[SedConfig]:
    """The base, once for each sample rate of the space: what the audio caches differ by."""
    rates = [p.distribution.probes() for p in space.parameters if p.key == "front_end.sample_rate_hz"]
    if not rates:
        return [space.base]
    return [space.config({"front_end.sample_rate_hz": rate}) for rate in rates[0]]


def check_data(data: DataFolder, config: SedConfig, stage: str, labels: PseudoLabels | None = None) -> str:
    """Decode the audio (once, for all trials), and open what training and validation read.

    Returns:
        What validates: folds or soundscapes.
    """
    training = open_training_data(data, config, pseudo=labels)
    if training.cache.bad:
        print(f"data: {len(training.cache.bad)} unreadable audio files are skipped", flush=True)
    if training.pseudo and (n_silent := len(training.pseudo.labels) - len(training.pseudo.audible())):
        print(
            f"data: {n_silent} of {len(training.pseudo.labels)} pseudo-labelled windows are left out: unreadable, or "
            f"beyond data.max_recording_s={config.data.max_recording_s:g}",
            flush=True,
        )
    TrainingClips(training, config, stage)
    ValidationWindows(training, config)
    return training.split.kind


def check_same_data(run: RunFolder, record: Mapping[str, Any], data: DataFolder) -> None:
    """Scores of two data sets must not share a leaderboard."""
    if record["data"]["fingerprint"] != data.fingerprint:
        raise DataError(
            f"{data.root}: is not the data that {run.path.name} was started with (tables, labels, or names or sizes of "
            "audio files differ); restore it, or start a new search."
        )


def search_record(run: RunFolder, space: SearchSpace, data: DataFolder, words: Sequence[str]) -> dict[str, Any]:
    """search.yaml: all that a reader, or --resume, needs to know."""
    return {
        "name": run.path.name,
        "space_name": space.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join(["python", "-m", "trainables.search", *words]),
        "seed": space.search.seed,
        "versions": {
            name: version(name) for name in ("sed-search", "torch", "timm", "ray", "optuna", "audiomentations")
        },
        "data": {
            "folder": str(data.root),
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "recordings": len(data.recordings),
        },
        **space.as_dict(),
    }


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
    run: RunFolder, space: SearchSpace, data_dir: Path, options: argparse.Namespace, storage: str | None
) -> SearchJob:
    return SearchJob(
        space=space,
        data_dir=data_dir,
        run_dir=run.path,
        stages=space.search.stages,
        epochs_scale=space.search.epochs_scale,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        workers_per_trial=workers_per_trial(options),
        storage=storage,
    )
