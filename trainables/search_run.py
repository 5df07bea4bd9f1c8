"""What the search command does, step by step."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from sed_model.backbones import create_timm_model
from sed_model.config import SedConfig, load_config
from sed_model.dataset import open_training_data
from sed_model.demo_data import write_demo_data
from sed_model.errors import ConfigError, DataError, TrainingError
from sed_model.recordings import DataFolder, read_data_folder
from sed_model.splits import unlabelled_soundscapes
from sed_model.stages import check_stage_names, plan_stages
from trainables.cluster import ClusterInfo, ray_session
from trainables.ensemble_run import EnsembleJob, label_soundscapes
from trainables.overrides import absolute_paths
from trainables.recorder import Recorder
from trainables.runs import RunFolder, trial_id
from trainables.search_settings import AshaSettings
from trainables.search_space import SearchSpace
from trainables.searcher import SedSearcher
from trainables.space import SPACES_DIR, load_space, parse_overrides
from trainables.space_check import SECTIONS, parse_space
from trainables.trial import SearchJob, run_trial

TUNE_METRICS = {"macro_auc": "best_macro_auc", "val_loss": "val_loss"}
"""What is reported to Tune: the best score so far, since the best epoch's model is the one that is kept."""

DEMO_TRIALS = 10


def run_search(options: argparse.Namespace) -> None:
    """Check everything, then search, rank and label."""
    start_s = time.monotonic()
    run, space, job, data = prepare(options)
    print(f"run folder {run.path}", flush=True)
    with ray_session(options.address, options.dashboard) as cluster:
        job = replace(job, workers_per_trial=workers_per_trial(options.workers_per_trial, options.gpus_per_trial))
        if cluster.dashboard:
            print(f"Ray dashboard {cluster.dashboard} (token: ray get-auth-token)", flush=True)
        print(f"set-up took {time.monotonic() - start_s:.0f} s; the first trial starts", flush=True)
        search(run, space, job, cluster, options)
        board = run.write_leaderboard()
        if options.pseudo_labels and unlabelled_soundscapes(data) and board["macro_auc"].notna().any():
            label_soundscapes(EnsembleJob(run.path, job.data_dir, run.ensemble, top_k=options.top_k))
    print_summary(run, board, time.monotonic() - start_s)


def prepare(options: argparse.Namespace) -> tuple[RunFolder, SearchSpace, SearchJob, DataFolder]:
    """Read and check all input; the run folder is written only when everything is right."""
    if options.resume:
        run, space, job = resumed(options)
    else:
        run, space, job = new_run(options)
    check_backbones(space)
    data = read_data_folder(job.data_dir, space.base.data.target_s)
    for note in data.notes:
        print(f"data: {note}", flush=True)
    for config in front_ends(space):
        training = open_training_data(data, config)
        if training.cache.bad:
            print(f"data: {len(training.cache.bad)} unreadable audio files are skipped", flush=True)
    if not options.resume:
        run.write_search(search_record(run, space, job, data, options))
    return run, space, job, data


def new_run(options: argparse.Namespace) -> tuple[RunFolder, SearchSpace, SearchJob]:
    if options.space is None:
        raise ConfigError("--space is missing; name a search space, e.g. --space arch.yaml (or go on with --resume).")
    overrides = absolute_paths(parse_overrides(options.overrides))
    if options.seed is not None:
        overrides.setdefault("seed", options.seed)
    data_dir, base = options.data, None
    if data_dir is None:
        base = SPACES_DIR / "demo.yaml"
        overrides.setdefault("model.backbone", load_config(base).model.backbone)
        data_dir = write_demo_data(Path("demo_data").absolute())
        print(f"no --data: using the demo data in {data_dir} with the small settings of {base.name}", flush=True)
    space = load_space(options.space, overrides, base)
    updates = search_updates(options)
    if base is not None:
        updates.setdefault("num_trials", min(DEMO_TRIALS, space.search.num_trials))
    space = replace(space, search=space.search.model_copy(update=updates))
    stages = tuple(options.stages.split(",")) if options.stages else space.search.stages
    check_stage_names(stages)
    if stages[0] != "pretrain_ce":
        raise ConfigError(f"--stages {options.stages}: a search starts with pretrain_ce; put it first.")
    space = replace(space, search=space.search.model_copy(update={"stages": stages}))
    run = RunFolder(options.out / (options.name or f"{space.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    if run.path.exists() and any(run.path.iterdir()):
        raise ConfigError(
            f"{run.path} exists; choose another --name, or go on with it: --resume --name {run.path.name}."
        )
    return run, space, search_job(run, space, data_dir, options)


def resumed(options: argparse.Namespace) -> tuple[RunFolder, SearchSpace, SearchJob]:
    """The run of --name, or the newest one; its own space and data, but this call's budget."""
    folders = [options.out / options.name] if options.name else sorted(options.out.glob("*/search.yaml"), key=_age)
    if not folders:
        raise DataError(f"--resume: no run folder in {options.out}; name one with --name, or start a new search.")
    path = folders[0] if options.name else folders[0].parent
    run = RunFolder(path)
    record = run.read_search()
    space = parse_space({name: record[name] for name in SECTIONS if name in record}, run.search_file, {})
    space = replace(space, name=record["space_name"])
    if options.num_trials is not None:
        space = replace(space, search=space.search.model_copy(update={"num_trials": options.num_trials}))
    return run, space, search_job(run, space, Path(record["data"]["folder"]), options)


def _age(path: Path) -> float:
    return -path.stat().st_mtime


def search_updates(options: argparse.Namespace) -> dict[str, Any]:
    """The settings of the search that the command line replaces."""
    given = {
        "num_trials": options.num_trials,
        "epochs_scale": options.epochs_scale,
        "searcher": options.searcher,
        "seed": options.seed,
    }
    updates = {name: value for name, value in given.items() if value is not None}
    if options.scheduler == "none":
        updates["scheduler"] = None
    elif options.scheduler == "asha":
        updates["scheduler"] = AshaSettings()
    return updates


def search_job(run: RunFolder, space: SearchSpace, data_dir: Path, options: argparse.Namespace) -> SearchJob:
    return SearchJob(
        space=space,
        data_dir=data_dir,
        run_dir=run.path,
        stages=space.search.stages,
        epochs_scale=space.search.epochs_scale,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        workers_per_trial=0,
    )


def check_backbones(space: SearchSpace) -> None:
    """Build every backbone of the space: unknown names and missing weights show here, and downloads happen once."""
    for parameter in space.parameters:
        if parameter.key == "model.backbone":
            names = list(parameter.distribution.as_dict()["choice"])
            break
    else:
        names = [space.base.model.backbone]
    problems = []
    for name in names:
        try:
            create_timm_model(space.base.with_overrides({"model.backbone": name}).model, in_channels=1)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))


def front_ends(space: SearchSpace) -> list[SedConfig]:
    """The base, once for each sample rate of the space: what the audio caches differ by."""
    for parameter in space.parameters:
        if parameter.key == "front_end.sample_rate_hz":
            rates = parameter.distribution.as_dict().get("choice", [])
            return [space.base.with_overrides({"front_end.sample_rate_hz": rate}) for rate in rates]
    return [space.base]


def search_record(
    run: RunFolder, space: SearchSpace, job: SearchJob, data: DataFolder, options: argparse.Namespace
) -> dict[str, Any]:
    """search.yaml: all that a reader, or --resume, needs to know."""
    return {
        "name": run.path.name,
        "space_name": space.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": shlex.join(["python", "-m", "trainables.search", *sys.argv[1:]]),
        "seed": space.search.seed,
        "versions": {
            name: version(name) for name in ("sed-search", "torch", "timm", "ray", "optuna", "audiomentations")
        },
        "data": {
            "folder": str(job.data_dir),
            "fingerprint": data.fingerprint,
            "classes": list(data.classes),
            "recordings": len(data.recordings),
        },
        **space.as_dict(),
    }


def workers_per_trial(text: str, gpus_per_trial: float) -> int:
    """`auto`: one Ray Train worker where trials have a GPU (they last long), none where they do not (it costs 30 s)."""
    if text == "auto":
        return 1 if gpus_per_trial > 0 else 0
    if not text.isdecimal():
        raise ConfigError(f"--workers-per-trial {text}: is no number; use auto, 0, 1, 2, ...")
    return int(text)


def search(
    run: RunFolder, space: SearchSpace, job: SearchJob, cluster: ClusterInfo, options: argparse.Namespace
) -> None:
    """Run the trials that are still to be run."""
    settings = space.search
    metric, mode = TUNE_METRICS[settings.metric], settings.mode
    searcher = SedSearcher(space, run.journal, settings.searcher, settings.seed, metric, mode)
    n_left = settings.num_trials - searcher.n_finished()
    if n_left <= 0:
        print(f"all {settings.num_trials} trials are done; raise --num-trials for more", flush=True)
        return
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(run_trial, job=job), trial_resources(job, cluster)),
        tune_config=tune.TuneConfig(
            metric=metric,
            mode=mode,
            search_alg=searcher,
            scheduler=scheduler(space, job),
            num_samples=n_left,
            max_concurrent_trials=max_concurrent(job, cluster, options.max_concurrent),
            time_budget_s=options.time_budget,
            reuse_actors=True,
            trial_dirname_creator=trial_dirname,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(run.path),
            callbacks=[Recorder(run, space.config, settings.num_trials)],
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
    # Tune looks for the files of its own loggers, which the run folder's tables replace.
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)
    tuner.fit()
    if not run.read_trials() or all(row["status"] == "failed" for row in run.read_trials()):
        errors = {row["error"] for row in run.read_trials()}
        raise TrainingError("no trial succeeded: " + ("; ".join(sorted(errors)) or "none was run."))


def trial_dirname(trial: Any) -> str:
    return trial_id(trial.config["number"])


def scheduler(space: SearchSpace, job: SearchJob) -> TrialScheduler:
    """ASHA over the global epoch counter, whose stage boundaries are the same for all trials; or none."""
    settings = space.search.scheduler
    if settings is None:
        return FIFOScheduler()
    last_epoch = plan_stages(space.base, job.stages, job.epochs_scale)[-1].last_epoch
    return AsyncHyperBandScheduler(
        time_attr="epoch",
        # A trial that reaches the last epoch ends by itself: it must not count as stopped.
        max_t=last_epoch + 1,
        grace_period=min(settings.grace_period, last_epoch),
        reduction_factor=settings.reduction_factor,
        brackets=settings.brackets,
    )


def trial_resources(job: SearchJob, cluster: ClusterInfo) -> dict[str, float]:
    """What Tune reserves for a trial. A trial that only drives Ray Train workers must not take the CPUs they need."""
    if job.cpus_per_trial > cluster.cpus or job.gpus_per_trial > cluster.gpus:
        raise ConfigError(
            f"a trial asks for {job.cpus_per_trial} CPUs and {job.gpus_per_trial:g} GPUs, but the cluster has "
            f"{cluster.cpus:g} and {cluster.gpus:g}; lower --cpus-per-trial or --gpus-per-trial."
        )
    if job.workers_per_trial > 0:
        return {"CPU": 0, "memory": 200 * 2**20}
    return {"CPU": job.cpus_per_trial} | ({"GPU": job.gpus_per_trial} if job.gpus_per_trial else {})


def max_concurrent(job: SearchJob, cluster: ClusterInfo, asked: int | None) -> int:
    """As many trials as the cluster has room for, or fewer where the user asks for that."""
    workers = max(1, job.workers_per_trial)
    room = int(cluster.cpus // (job.cpus_per_trial * workers))
    if job.gpus_per_trial:
        room = min(room, int(cluster.gpus // (job.gpus_per_trial * workers)))
    if room < 1:
        raise ConfigError(
            f"--workers-per-trial {job.workers_per_trial} with {job.cpus_per_trial} CPUs and "
            f"{job.gpus_per_trial:g} GPUs each does not fit the cluster's {cluster.cpus:g} CPUs and {cluster.gpus:g} "
            "GPUs; lower one of them."
        )
    return min(room, asked or room)


def leaderboard_text(board: pd.DataFrame, n_rows: int = 10) -> str:
    """The top of the leaderboard for a terminal: scores, and the settings that differ under their last names."""
    fixed = ["rank", "trial_id", "status", "macro_auc", "epochs"]
    names = list(board.columns)
    settings = names[names.index("cpu_ms_per_window") + 1 :]
    shown = board.head(n_rows)[[*fixed, *settings]].assign(macro_auc=board["macro_auc"].map("{:.4f}".format))
    shown.insert(5, "minutes", (board["duration_s"] / 60).map("{:.1f}".format))
    leaves = [name.rsplit(".", 1)[-1] for name in settings]
    short = {
        name: leaf if leaves.count(leaf) == 1 else ".".join(name.rsplit(".", 2)[-2:])
        for name, leaf in zip(settings, leaves, strict=True)
    }
    return shown.rename(columns=short).to_string(index=False, float_format="{:.3g}".format)


def print_summary(run: RunFolder, board: pd.DataFrame, duration_s: float) -> None:
    """The leaderboard, where things are, and what to type next."""
    print(f"\nleaderboard ({len(board)} trials, {duration_s / 60:.1f} minutes)")
    print(leaderboard_text(board))
    best = run.path / "trials" / str(board["trial_id"].iloc[0])
    print(f"\nbest model      {best}\nleaderboard     {run.leaderboard}\nall tables      {run.path}/*.parquet")
    if run.ensemble.is_dir():
        print(f"pseudo-labels   {run.ensemble / 'pseudo_labels'}")
    print(
        "\nnext:\n"
        f"  SED_RUN={run.path} jupyter lab analysis/rank_trials.ipynb\n"
        f"  python -m trainables.search --resume --name {run.path.name} --num-trials {2 * len(board)}",
        flush=True,
    )
