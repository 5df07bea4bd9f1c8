"""Training the finalists of a search again, on other folds or with other seeds: was their score luck?"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray import tune

from sed_model.checkpoint import delete_state
from sed_model.config import SedConfig
from sed_model.errors import DiskFullError
from trainables.abandoned_groups import AbandonedGroups
from trainables.cluster import ClusterInfo
from trainables.fetch import Fetcher, fetch_all
from trainables.leaderboard import best_trials
from trainables.node_losses import NodeLosses
from trainables.recorder import epoch_line
from trainables.resources import room, trial_resources
from trainables.run_tables import trial_id
from trainables.runs import RunFolder
from trainables.stage_trainer import RECORDS
from trainables.stopping import StoppingCallback, run_tuner
from trainables.trial import SearchJob, run_refit
from trainables.trial_errors import trial_error


@dataclass(frozen=True)
class Refit:
    """A finalist, and what is changed for its training: the fold that validates, or the seed."""

    number: int
    values: Mapping[str, Any]
    fold: int
    changes: Mapping[str, int]


def changes_for(config: SedConfig, validation: str, fold: int) -> dict[str, int]:
    """Where held-out recordings validate, the fold; where labelled soundscapes do, the seed, moved by `fold`.

    Raises:
        ConfigError: there is no such fold.
    """
    changes = {"data.fold": fold} if validation == "folds" else {"seed": config.seed + fold}
    config.with_overrides(changes)
    return changes


def plan_refits(trials: Sequence[Mapping[str, Any]], job: SearchJob, validation: str, n_finalists: int) -> list[Refit]:
    """The finalists' trainings: each of the folds, but for the one that a complete finalist was trained with."""
    plans = []
    for row in best_trials(trials, n_finalists):
        values = job.space.point_of(row)
        config = job.config(values)
        for fold in job.space.search.refit_folds:
            changes = changes_for(config, validation, fold)
            if row["status"] != "complete" or config.with_overrides(changes) != config:
                plans.append(Refit(row["number"], values, fold, changes))
    return plans


def refit(run: RunFolder, plans: Sequence[Refit], job: SearchJob, cluster: ClusterInfo, max_concurrent: int) -> None:
    """Train what has not been trained yet, and put mean and standard deviation of each finalist into trials.parquet.

    Raises:
        DiskFullError: the disk is full; what has ended is recorded, the rest can be gone on with.
    """
    recorder = RefitRecorder(run, job)
    left = [plan for plan in plans if (plan.number, plan.fold) not in recorder.done]
    fetcher = Fetcher(job, lambda trial: run.refit(trial.config["refit"]["number"], trial.config["refit"]["fold"]))
    if left:
        print(
            f"\n{len(left)} trainings of the {len({plan.number for plan in left})} best trials, all epochs", flush=True
        )
        points = [{"number": p.number, "values": p.values, "fold": p.fold, "changes": p.changes} for p in left]
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(run_refit, job=job), trial_resources(job)),
            param_space={"refit": tune.grid_search(points)},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=min(room(job, cluster), max_concurrent),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: "{number}_{fold}".format(**trial.config["refit"]),
            ),
            run_config=tune.RunConfig(
                name="refits",
                storage_path=str(run.path / "tune"),
                callbacks=[fetcher, recorder, NodeLosses(), AbandonedGroups(job.workers_per_trial > 0)],
                failure_config=tune.FailureConfig(max_failures=1),
                verbose=0,
            ),
        )
        run_tuner(tuner, recorder)
        fetch_all(job, fetcher.left)
        for plan in plans:
            shutil.rmtree(run.trial(plan.number) / RECORDS, ignore_errors=True)  # of trainings that were killed
    write_spread(run)


def write_spread(run: RunFolder) -> None:
    """trials.parquet and the leaderboard with the mean and the standard deviation of each finalist's scores."""
    refits = run.read_refits()
    trials = run.read_trials()
    for row in trials:
        scores = [other["macro_auc"] for other in refits if other["number"] == row["number"] and not other["error"]]
        if row["status"] == "complete" and scores:
            scores.append(row["macro_auc"])
        if scores:
            sd = statistics.stdev(scores) if len(scores) > 1 else None
            row |= {"refit_mean": statistics.mean(scores), "refit_sd": sd, "n_refits": len(scores)}
    run.write_tables(trials, run.read_curves())
    run.write_leaderboard()


class RefitRecorder(StoppingCallback):
    """Tune callback: refits.parquet and one line an epoch. It stops Tune when the disk is full."""

    def __init__(self, run: RunFolder, job: SearchJob) -> None:
        super().__init__(run.path)
        self._run, self._job = run, job
        self._rows = {(row["number"], row["fold"]): row for row in run.read_refits()}
        self.done = {place for place, row in self._rows.items() if not row["error"]}

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        if result.get("disk_full"):
            self.stop(DiskFullError(result["failure"]))
        elif "failure" not in result:
            print(epoch_line(_name(trial), result), flush=True)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not self.is_disk_full(trial):
            print(f"{_name(trial)} broke off and starts again: {trial_error(trial)}", flush=True)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not trial.last_result.get("disk_full"):
            self._record(trial, trial.last_result.get("failure"))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if not self.is_disk_full(trial):
            self._record(trial, trial_error(trial))

    def _record(self, trial: Any, error: str | None) -> None:
        point, result = trial.config["refit"], trial.last_result or {}
        config = self._job.config(point["values"]).with_overrides(point["changes"])
        score = result.get("best_macro_auc", math.nan)
        self._rows[point["number"], point["fold"]] = {
            "trial_id": trial_id(point["number"]),
            "number": point["number"],
            "fold": point["fold"],
            "seed": config.seed,
            "macro_auc": score,
            "epochs": result.get("epoch"),
            "duration_s": result.get("time_total_s"),
            "error": error,
        }
        with self.held_back():
            self._run.write_refits([self._rows[place] for place in sorted(self._rows)])
            end = f"failed: {error}" if error else f"complete, best macro AUC {score:.4f}"
            print(f"{_name(trial)} {end}", flush=True)
            delete_state(self._run.refit(point["number"], point["fold"]))


def _name(trial: Any) -> str:
    """For people."""
    point = trial.config["refit"]
    return f"{trial_id(point['number'])} refit {point['fold']}"
