"""Training the finalists of a search again: on other folds, with other seeds, or on parts of the soundscapes."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray import tune

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import DiskFullError
from sed_model.core.files import replacing
from sed_model.core.paths import is_file
from sed_model.core.texts import counted
from sed_model.model.checkpoint import CONFIG_FILE, LINEAGE_FILE, WEIGHTS_FILE, delete_state, read_lineage
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import finalists
from sed_model.run_folder.predictions import FRAMES_FILE, OOF_FILE
from sed_model.run_folder.run_tables import trial_id
from sed_model.run_folder.window_metrics import MACRO_AUC, METRICS, metric_of
from trainables.on_ray.cluster import ClusterInfo
from trainables.on_ray.repairs import AbandonedGroups, NodeLosses, trial_error
from trainables.on_ray.stopping import StoppingCallback, run_tuner
from trainables.searching.fetch import Fetcher, fetch_all
from trainables.searching.recorder import epoch_line
from trainables.searching.resources import at_a_time, memory_to_reserve, trial_resources
from trainables.trials.stage_trainer import RECORDS
from trainables.trials.trial import SearchJob, run_refit


@dataclass(frozen=True)
class Refit:
    """A finalist, and what is changed for its training: the fold that validates, the seed, or the part."""

    number: int
    values: Mapping[str, Any]
    fold: int
    changes: Mapping[str, int]
    in_parts: bool = False
    """`fold` is a part of the labelled soundscapes, the others of which train."""

    @property
    def place(self) -> tuple[int, bool, int]:
        return self.number, self.in_parts, self.fold


def changes_for(config: SedConfig, validation: str, fold: int) -> dict[str, int]:
    """Where held-out recordings validate, the fold; where labelled soundscapes do, the seed, moved by `fold`.

    Raises:
        ConfigError: there is no such fold.
    """
    changes = {"data.fold": fold} if validation == "folds" else {"seed": config.seed + fold}
    config.with_overrides(changes)
    return changes


def plan_refits(trials: Sequence[Mapping[str, Any]], job: SearchJob, validation: str, n_finalists: int) -> list[Refit]:
    """The finalists' trainings: each of the folds but the search's own; in that, those that were pruned end theirs."""
    plans = []
    for row in finalists(trials, n_finalists):
        values = job.space.point_of(row)
        config = job.config(values)
        own = own_fold(row, validation)
        unfinished = [own] if row["status"] != "complete" else []
        folds = [*unfinished, *(fold for fold in job.space.search.refit_folds if fold != own)]
        plans += [Refit(row["number"], values, fold, changes_for(config, validation, fold)) for fold in folds]
    return plans


def own_fold(row: Mapping[str, Any], validation: str) -> int:
    """What stands in --refit-folds for the training that chose the trial, with its own fold and seed."""
    return int(row["fold"] or 0) if validation == "folds" else 0


def refit(
    run: RunFolder, plans: Sequence[Refit], job: SearchJob, cluster: ClusterInfo, max_concurrent: int | None
) -> None:
    """Train what has not been trained yet, and record it in refits.parquet.

    Raises:
        DiskFullError: the disk is full; what has ended is recorded, the rest can be gone on with.
    """
    recorder = RefitRecorder(run, job)
    recorder.take_over(plans)
    left = [plan for plan in plans if plan.place not in recorder.done]
    fetcher = Fetcher(job, lambda trial: run.refit(*place_of(trial)))
    if left:
        n_finalists = len({plan.number for plan in left})
        n_trainings = f"{counted(len(left), 'training')} of {counted(n_finalists, 'finalist')}"
        print(f"\n{n_trainings}, all epochs (pruned ones end theirs)", flush=True)
        points = [asdict(plan) for plan in left]
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(run_refit, job=job),
                trial_resources(job, memory_to_reserve(job, cluster, max_concurrent)),
            ),
            param_space={"refit": tune.grid_search(points)},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=at_a_time(job, cluster, max_concurrent, len(left)),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: "_".join(map(str, place_of(trial))),
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


def write_spread(run: RunFolder) -> None:
    """trials.parquet and the leaderboard with the mean and the standard deviation of each finalist's new scores.

    The score that chose a finalist is none of them: it is the best of many, and too good. Nor does a mean of whole
    trainings rank a model that is half trained: without a whole one, a pruned finalist has no mean.
    """
    refits, trials = of_folds(run.read_refits()), run.read_trials()
    whole = deliver(run, refits, trials)
    for row in trials:
        scores = _new_scores(run, row, refits)
        if scores and row["status"] != "complete" and row["number"] not in whole:
            print(f"{row['trial_id']} was not trained to its end: it is ranked by its own score", flush=True)
            scores = []
        mean, sd = statistics.mean(scores) if scores else None, statistics.stdev(scores) if len(scores) > 1 else None
        row |= {"refit_mean": mean, "refit_sd": sd, "n_refits": len(scores) or None}
    run.write_tables(trials, run.read_curves())
    run.write_leaderboard()


def of_folds(refits: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without the trainings on parts of the soundscapes: those have heard what validates the trials."""
    return [row for row in refits if not row["in_parts"]]


def _new_scores(run: RunFolder, row: Mapping[str, Any], refits: Sequence[Mapping[str, Any]]) -> list[float]:
    """Scores of a trial's trainings with other folds or seeds."""
    mine = [other for other in refits if other["number"] == row["number"] and not other["error"]]
    if not mine:
        return []
    own = own_fold(row, read_lineage(run.trial(row["number"])).validation)
    metric = metric_of([row])
    return [other[metric] for other in mine if other["fold"] != own]


def deliver(run: RunFolder, refits: Sequence[Mapping[str, Any]], trials: Sequence[dict[str, Any]]) -> set[int]:
    """Put the model of each pruned finalist that was trained to its end into the trial's folder, and tell its row.

    All that takes the models of trials looks there: ensembles, students and the report.

    Returns:
        The numbers of these trials.
    """
    whole = set()
    for row in trials:
        mine = {one["fold"]: one for one in of_folds(refits) if one["number"] == row["number"] and not one["error"]}
        if row["status"] != "pruned" or not mine:
            continue
        trained = mine.get(own_fold(row, read_lineage(run.trial(row["number"])).validation))
        if trained is not None:
            lineage = read_lineage(run.refit(row["number"], False, trained["fold"]))
            _copy_model(run.refit(row["number"], False, trained["fold"]), run.trial(row["number"]))
            metric = metric_of([row])
            row |= {"stage": lineage.stage, "epoch": lineage.epoch}
            row |= {name: lineage.metrics[name] for name in (MACRO_AUC, metric)}
            row[f"{metric}_se"] = None  # of the half-trained model
            whole.add(row["number"])
    return whole


def _copy_model(source: Path, target: Path) -> None:
    """Copy a model with its predictions; what is killed is found out by its lineage, which comes last."""
    if is_file(target / LINEAGE_FILE) and read_lineage(source).weights_sha256 == read_lineage(target).weights_sha256:
        return
    (target / FRAMES_FILE).unlink(missing_ok=True)  # of the model that is replaced
    for name in (WEIGHTS_FILE, CONFIG_FILE, OOF_FILE, LINEAGE_FILE):
        with replacing(target / name) as temporary:
            shutil.copyfile(source / name, temporary)


class RefitRecorder(StoppingCallback):
    """Tune callback: refits.parquet and one line per epoch. It stops Tune when the disk is full."""

    def __init__(self, run: RunFolder, job: SearchJob) -> None:
        super().__init__(run.path)
        self._run, self._job = run, job
        self._rows = {(row["number"], bool(row["in_parts"]), row["fold"]): row for row in run.read_refits()}
        self.done = {place for place, row in self._rows.items() if not row["error"]}

    def take_over(self, plans: Sequence[Refit]) -> None:
        """Copy what a trial has trained as its finalist would be: a student's trials train on one of the parts."""
        complete = {row["number"]: row for row in self._run.read_trials() if row["status"] == "complete"}
        for plan in plans:
            config = self._job.config(plan.values)
            if plan.place in self.done or plan.number not in complete or config.with_overrides(plan.changes) != config:
                continue
            source, target = self._run.trial(plan.number), self._run.refit(*plan.place)
            target.mkdir(exist_ok=True)
            _copy_model(source, target)
            scores = read_lineage(target).metrics
            of_model = {name: scores[name] for name in METRICS if name in scores}
            costs = {"epochs": 0, "duration_s": 0.0, "error": None}
            facts = {"seed": config.seed, "split": complete[plan.number]["split"], **of_model}
            self._rows[plan.place] = {"trial_id": trial_id(plan.number), **_columns(plan), **facts, **costs}
            self.done.add(plan.place)
        if self._rows:
            self._run.write_refits([self._rows[place] for place in sorted(self._rows)])

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
        metric = metric_of([result])
        scores = {name: result.get(f"best_{name}", math.nan) for name in (MACRO_AUC, metric)}
        self._rows[place_of(trial)] = {
            "trial_id": trial_id(point["number"]),
            "number": point["number"],
            "fold": point["fold"],
            "in_parts": point["in_parts"],
            "seed": config.seed,
            "split": result.get("split"),
            **scores,
            "epochs": result.get("epoch"),
            "duration_s": result.get("time_total_s"),
            "error": error,
        }
        with self.held_back():
            self._run.write_refits([self._rows[place] for place in sorted(self._rows)])
            end = f"failed: {error}" if error else f"complete, best {METRICS[metric].title} {scores[metric]:.4f}"
            print(f"{_name(trial)} {end}", flush=True)
            delete_state(self._run.refit(*place_of(trial)))


def _columns(plan: Refit) -> dict[str, Any]:
    return {"number": plan.number, "fold": plan.fold, "in_parts": plan.in_parts}


def place_of(trial: Any) -> tuple[int, bool, int]:
    """`Refit.place` of a trial of Tune."""
    point = trial.config["refit"]
    return point["number"], point["in_parts"], point["fold"]


def _name(trial: Any) -> str:
    """For people."""
    number, in_parts, fold = place_of(trial)
    return f"{trial_id(number)} {'part' if in_parts else 'refit'} {fold}"
