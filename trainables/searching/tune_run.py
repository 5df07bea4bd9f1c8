"""The trials of a search in Ray Tune: drawn, stopped, recorded."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from sed_model.config.stages import plan_stages
from sed_model.core.errors import TrainingError
from sed_model.core.files import remove_left_over
from sed_model.model.checkpoint import delete_state
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.run_tables import trial_id
from trainables.on_ray.cluster import ClusterInfo
from trainables.on_ray.repairs import AbandonedGroups, NodeLosses
from trainables.on_ray.stopping import run_tuner
from trainables.searching.asha import Asha, rung_reports
from trainables.searching.fetch import Fetcher, fetch_all
from trainables.searching.next_steps import resume_command
from trainables.searching.options import SearchOptions
from trainables.searching.recorder import Recorder
from trainables.searching.refit import deliver
from trainables.searching.resources import at_a_time, memory_to_reserve, trial_resources
from trainables.searching.searcher import SedSearcher
from trainables.searching.setup import Prepared
from trainables.spaces.settings import TUNE_METRICS
from trainables.trials import model_costs
from trainables.trials.stage_trainer import RECORDS
from trainables.trials.trial import SearchJob, run_trial


def trainable_of(job: SearchJob) -> Callable[..., None]:
    trainable: Callable[..., None] = tune.with_parameters(run_trial, job=job)
    return trainable


def search(
    prepared: Prepared,
    cluster: ClusterInfo,
    options: SearchOptions,
    trainable_of: Callable[[SearchJob], Callable[..., None]] = trainable_of,
    tracking: Sequence[tune.Callback] = (),
) -> None:
    """Run the trials that are still to be run. `trainable_of` is what a trial does (benchmarks replace it).

    `tracking` hears of trials beside the run folder.

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
    searcher = SedSearcher(space, run.journal, options.time_budget, prepared.earlier, epochs_left, prepared.portfolio)
    finished = searcher.finished()
    fetch_all(job, [run.trial(number) for number in finished])
    deliver(run, run.read_refits(), run.read_trials())  # what a storage has of a pruned finalist is half trained
    fetcher = Fetcher(job, lambda trial: run.trial(trial.config["number"]))
    n_left = settings.num_trials - len(finished)
    n_at_once = at_a_time(job, cluster, options.max_concurrent, n_left)
    recorder = Recorder(run, space.config, settings.num_trials, finished, n_at_once)
    recorder.flush()
    if n_left <= 0:
        print(f"all {settings.num_trials} trials are done; raise --num-trials for more", flush=True)
        end_of_search(run, settings.num_trials, options.is_last)  # the search may have been killed before it
        return
    tuner = tune.Tuner(
        tune.with_resources(
            trainable_of(job), trial_resources(job, memory_to_reserve(job, cluster, options.max_concurrent))
        ),
        tune_config=tune.TuneConfig(
            metric=TUNE_METRICS[settings.metric],
            mode=settings.mode,
            search_alg=searcher,
            scheduler=scheduler(prepared, finished),
            num_samples=n_left,
            max_concurrent_trials=n_at_once,
            # Tune gives a pruned trial 2 s to leave its actor; Ray Train takes longer, and the next one would be lost.
            reuse_actors=job.workers_per_trial == 0,
            trial_dirname_creator=trial_dirname,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(run.path),
            callbacks=[fetcher, recorder, NodeLosses(), AbandonedGroups(job.workers_per_trial > 0), *tracking],
            failure_config=tune.FailureConfig(max_failures=1),
            verbose=0,
        ),
    )
    run_tuner(tuner, recorder)
    fetch_all(job, fetcher.left)
    end_of_search(run, settings.num_trials, options.is_last)


def end_of_search(run: RunFolder, num_trials: int, is_last: bool = True) -> None:
    """Tidy up, and say what did not come off; what would run the rest only where the command ends with the search."""
    trials = run.read_trials()
    ended = [row for row in trials if row["status"] != "running"]
    for row in ended:
        delete_state(run.trial(row["number"]))
    shutil.rmtree(run.path / "trials" / RECORDS, ignore_errors=True)  # of stopped trials
    if len(ended) < num_trials and is_last:
        print(f"the budget is used up after {len(ended)} of {num_trials} trials; {resume_command(run)} runs the rest")
    if not best_trials(trials, 1):
        errors = sorted({row["error"] for row in trials if row["error"]})
        raise TrainingError("no trial succeeded: " + ("; ".join(errors) or "none was run; raise --time-budget."))


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
    asha = Asha(search_settings.scheduler, plans, search_settings.cost)
    reports = rung_reports(prepared.run.read_curves(), finished, search_settings.metric)
    costs = {row["trial_id"]: row[search_settings.cost] for row in prepared.run.read_trials() if search_settings.cost}
    asha.refill(reports, search_settings.mode, costs)
    return asha
