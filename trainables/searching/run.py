"""What the search command does, step by step."""

from __future__ import annotations

import math
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sed_model.config.stages import plan_stages
from sed_model.core import cli
from sed_model.core.errors import DiskFullError, TrainingError
from sed_model.core.files import explained_full_disk, remove_left_over
from sed_model.data.splits import unlabelled_soundscapes
from sed_model.model.checkpoint import CONFIG_FILE, delete_state
from sed_model.predict.frame_scores import write_frame_scores
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.run_tables import trial_id
from trainables.keeping.driver_lock import only_driver
from trainables.labelling.job import label_soundscapes
from trainables.labelling.members import EnsembleJob
from trainables.labelling.plan import plan_ensemble
from trainables.on_ray.abandoned_groups import AbandonedGroups
from trainables.on_ray.cluster import ClusterInfo, machine_for, ray_session
from trainables.on_ray.node_check import check_nodes
from trainables.on_ray.node_losses import NodeLosses
from trainables.on_ray.stopping import StoppedError, run_tuner
from trainables.searching.asha import Asha, rung_reports
from trainables.searching.checks import check_unused
from trainables.searching.dry_run import print_dry_run
from trainables.searching.fetch import Fetcher, fetch_all
from trainables.searching.leaderboard_text import print_leaderboard
from trainables.searching.options import DEFAULT_TOP_K, SearchOptions
from trainables.searching.recorder import Recorder
from trainables.searching.refit import deliver, plan_refits, refit
from trainables.searching.resources import check_room, room, trial_resources, unused_gpus
from trainables.searching.searcher import SedSearcher
from trainables.searching.setup import Prepared, prepare
from trainables.spaces.settings import TUNE_METRICS
from trainables.trials import model_costs
from trainables.trials.stage_trainer import RECORDS
from trainables.trials.trial import SearchJob, run_trial, training_data


def run_search(options: SearchOptions) -> None:
    """Check everything, then search, rank and label; tell what to type next where the command ends with it."""
    start_s = time.monotonic()
    machine = machine_for(options.address)
    prepared = prepare(options, machine)
    run, job = prepared.run, prepared.job
    if machine is not None:
        check_cluster(job, machine)
        if options.dry_run:
            print_dry_run(prepared, machine, options.max_concurrent)
            return
    with ray_session(options.address, options.dashboard) as cluster:
        check_cluster(job, cluster)
        if options.dry_run:
            print_dry_run(prepared, cluster, options.max_concurrent)
            return
        if note := unused_gpus(job, cluster):
            print(note, flush=True)
        with only_driver(run.path, "search"), hint_to_resume(run):
            if not options.resume:
                check_unused(run)  # another search may have taken the name meanwhile
                run.write_search(prepared.record)
            print(f"run folder {run.path}", flush=True)
            if cluster.dashboard:
                print(f"Ray dashboard {cluster.dashboard} (token: ray get-auth-token)", flush=True)
            print(f"set-up took {time.monotonic() - start_s:.0f} s; trials start", flush=True)
            search(prepared, cluster, options)
            refit_finalists(prepared, cluster, options)
            board = run.write_leaderboard()
            print_leaderboard(board, prepared.space, time.monotonic() - start_s)
            for best in best_trials(run.read_trials(), 1):
                print(f"scoring frames with {best['trial_id']}, for the report", flush=True)
                write_frame_scores(run.trial(best["number"]), prepared.data.root)
            if options.pseudo_labels and unlabelled_soundscapes(prepared.data) and best_trials(run.read_trials(), 1):
                top_k = options.top_k or DEFAULT_TOP_K
                label_soundscapes(plan_ensemble(EnsembleJob(run.path, job.data_dir, run.ensemble, top_k=top_k)))
    print_places(prepared, board)
    if options.is_last:
        print_next_commands(prepared, board)


def check_cluster(job: SearchJob, cluster: ClusterInfo) -> None:
    """Whether trials fit, and find on every machine what they need."""
    check_room(job, cluster)
    check_nodes(cluster.nodes, job.data_dir, job.run_dir, job.storage)


def trainable_of(job: SearchJob) -> Callable[..., None]:
    trainable: Callable[..., None] = tune.with_parameters(run_trial, job=job)
    return trainable


def search(
    prepared: Prepared,
    cluster: ClusterInfo,
    options: SearchOptions,
    trainable_of: Callable[[SearchJob], Callable[..., None]] = trainable_of,
) -> None:
    """Run the trials that are still to be run. `trainable_of` is what a trial does (benchmarks replace it).

    Raises:
        TrainingError: no trial has a score.
    """
    run, space, job = prepared.run, prepared.space, prepared.job
    settings = space.search
    for folder in (
        run.path,
        run.path / model_costs.FOLDER,
        *run.path.glob("trials/*/"),
        *run.path.glob("trials/*/refit_*/"),
    ):
        remove_left_over(folder)
    epochs_left = math.inf if options.epoch_budget is None else options.epoch_budget - len(run.read_curves())
    searcher = SedSearcher(space, run.journal, options.time_budget, prepared.earlier, epochs_left)
    finished = searcher.finished()
    fetch_all(job, [run.trial(number) for number in finished])
    deliver(run, run.read_refits(), run.read_trials())  # what a storage has of a pruned finalist is half trained
    fetcher = Fetcher(job, lambda trial: run.trial(trial.config["number"]))
    recorder = Recorder(run, space.config, settings.num_trials, finished)
    recorder.flush()
    n_left = settings.num_trials - len(finished)
    if n_left <= 0:
        print(f"all {settings.num_trials} trials are done; raise --num-trials for more", flush=True)
        end_of_search(run, settings.num_trials)  # the search may have been killed before it
        return
    tuner = tune.Tuner(
        tune.with_resources(trainable_of(job), trial_resources(job)),
        tune_config=tune.TuneConfig(
            metric=TUNE_METRICS[settings.metric],
            mode=settings.mode,
            search_alg=searcher,
            scheduler=scheduler(prepared, finished),
            num_samples=n_left,
            max_concurrent_trials=min(room(job, cluster), options.max_concurrent or n_left),
            # Tune gives a pruned trial 2 s to leave its actor; Ray Train takes longer, and the next one would be lost.
            reuse_actors=job.workers_per_trial == 0,
            trial_dirname_creator=trial_dirname,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(run.path),
            callbacks=[fetcher, recorder, NodeLosses(), AbandonedGroups(job.workers_per_trial > 0)],
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
    run_tuner(tuner, recorder)
    fetch_all(job, fetcher.left)
    end_of_search(run, settings.num_trials)


def refit_finalists(prepared: Prepared, cluster: ClusterInfo, options: SearchOptions) -> None:
    """Train the best trials on the folds (or with the seeds) that the search names, where it names some."""
    run, job = prepared.run, prepared.job
    if not prepared.space.search.refit_folds:
        return
    validation = training_data(job.data_dir, prepared.space.base).split.kind
    plans = plan_refits(run.read_trials(), job, validation, options.top_k or DEFAULT_TOP_K)
    refit(run, plans, job, cluster, options.max_concurrent or len(plans))


def end_of_search(run: RunFolder, num_trials: int) -> None:
    """Tidy up, and say what did not come off."""
    trials = run.read_trials()
    ended = [row for row in trials if row["status"] != "running"]
    for row in ended:
        delete_state(run.trial(row["number"]))
    shutil.rmtree(run.path / "trials" / RECORDS, ignore_errors=True)  # of stopped trials
    if len(ended) < num_trials:
        print(f"the budget is used up after {len(ended)} of {num_trials} trials; {resume_command(run)} runs the rest")
    if not best_trials(trials, 1):
        errors = sorted({row["error"] for row in trials if row["error"]})
        raise TrainingError("no trial succeeded: " + ("; ".join(errors) or "none was run; raise --time-budget."))


@contextmanager
def hint_to_resume(run: RunFolder) -> Iterator[None]:
    """Whoever interrupts, or finds the disk full or Ray dead, is told how to go on."""
    try:
        with explained_full_disk(run.path):
            yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"go on with: {resume_command(run)}") from None
    except DiskFullError as error:
        raise DiskFullError(f"{error} All that is done is kept; then go on with: {resume_command(run)}") from None
    except StoppedError as error:
        raise StoppedError(f"{error} Then go on with: {resume_command(run)}") from None


def resume_command(run: RunFolder) -> str:
    """What to type to go on with a search."""
    words = ["python", "-m", "trainables.search", "--resume", "--name", run.path.name]
    return shlex.join(
        [*words, *([] if run.path.parent == Path("runs").absolute() else ["--out", str(run.path.parent)])]
    )


def trial_dirname(trial: Any) -> str:
    return trial_id(trial.config["number"])


def scheduler(prepared: Prepared, finished: dict[int, str]) -> TrialScheduler:
    """ASHA over the global epoch counter, whose stage boundaries are the same for all trials; or none.

    A resumed search starts with the rungs as its finished trials left them.
    """
    search_settings = prepared.space.search
    if search_settings.scheduler is None:
        return FIFOScheduler()
    plans = plan_stages(prepared.space.base, prepared.job.stages, prepared.job.epochs_scale)
    asha = Asha(search_settings.scheduler, plans, search_settings.seed, search_settings.cost)
    reports = rung_reports(prepared.run.read_curves(), finished, search_settings.metric)
    costs = {row["trial_id"]: row[search_settings.cost] for row in prepared.run.read_trials() if search_settings.cost}
    asha.refill(reports, search_settings.mode, costs)
    return asha


def print_places(prepared: Prepared, board: pd.DataFrame) -> None:
    """Where things are."""
    run, best = prepared.run, best_model(prepared.run, board)
    print(
        f"\nbest model      {best}\nleaderboard     {run.leaderboard}\nall tables      {run.path}/*.parquet", flush=True
    )
    if run.ensemble.is_dir():
        print(f"pseudo-labels   {run.ensemble / 'pseudo_labels'}", flush=True)


def best_model(run: RunFolder, board: pd.DataFrame) -> Path:
    return run.path / "trials" / str(board["trial_id"].iloc[0])


def print_next_commands(prepared: Prepared, board: pd.DataFrame) -> None:
    run, data_dir, best = prepared.run, prepared.data.root, best_model(prepared.run, board)
    folder, data, config, scapes, full = (
        shlex.quote(str(path))
        for path in (run.path, data_dir, best / CONFIG_FILE, data_dir / "test_soundscapes", f"{run.path}-full")
    )
    python = "python -m trainables."
    more = [
        f"{python}student --run {folder}",
        f"{python}train --config {config} --stage all --data {data} --out {full} --epochs-scale 5",
    ]
    cli.print_next(
        f"python -m analysis.report --run {folder}",
        *(more[not run.ensemble.is_dir() :] if prepared.job.teacher is None else ()),
        f"{python}predict --run {folder} --soundscapes {scapes} --out submission.csv",
        f"{resume_command(run)} --num-trials {2 * len(board)}",
    )
