"""What has to hold of a run folder, whatever befell the search that wrote it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from optuna.trial import TrialState

from sed_model.core.errors import CheckpointError
from sed_model.core.files import sha256_of
from sed_model.model.checkpoint import load_model
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import rank
from trainables.searching.searcher import STATUSES, STUDY_NAME, open_journal

MEASURED = ["duration_s", "cpu_ms_per_window", "on_front", "samples_per_s"]
"""Columns that no two runs have in common: times, and what is ranked by them."""
LEFT_OVER = ("*.tmp", "state*.pt", "recent.jsonl", ".ray_train", ".driver.*")


def started(output: str) -> list[str]:
    """The trials that a search said to start."""
    return re.findall(r"^(trial_\d+) starts", output, re.MULTILINE)


def ended(output: str) -> list[str]:
    """The trials whose end it told."""
    return re.findall(r"^(trial_\d+) (?:complete|pruned|failed)", output, re.MULTILINE)


def tables(run: Path, n_trials: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """trials.parquet and curves.parquet without what is measured, of the first trials."""
    trials, curves = pd.read_parquet(run / "trials.parquet"), pd.read_parquet(run / "curves.parquet")
    trials = trials.head(n_trials)
    curves = curves[curves["trial_id"].isin(trials["trial_id"])].reset_index(drop=True)
    return trials.drop(columns=MEASURED, errors="ignore"), curves.drop(columns=MEASURED, errors="ignore")


def history(run: Path) -> list[tuple[Any, ...]]:
    """What Optuna knows of each trial."""
    study = optuna.load_study(study_name=STUDY_NAME, storage=open_journal(run / "optuna.journal"))
    return [(trial.number, trial.state, trial.params, trial.intermediate_values) for trial in study.get_trials()]


def left_over(folder: Path) -> list[str]:
    """Files that a search that has ended should have removed."""
    return sorted(str(path.relative_to(folder)) for pattern in LEFT_OVER for path in folder.rglob(pattern))


def check_equal(run: Path, unbroken: Path, n_trials: int, n_more: int = 0) -> None:
    """A search that was broken off has given what one gives that was not, and `n_more` trials after those."""
    for broken, whole in zip(tables(run, n_trials), tables(unbroken, n_trials), strict=True):
        pd.testing.assert_frame_equal(broken, whole, check_dtype=False, check_exact=True)
    trials = history(run)
    assert len(trials) == n_trials + n_more
    assert trials[:n_trials] == history(unbroken)[:n_trials]
    assert left_over(run) == []


class Ledger:
    """Remembers each trial that has ended, and looks again later: it must be there, and be the same."""

    def __init__(self, run: Path) -> None:
        self._run = RunFolder(run)
        self._known: dict[str, tuple[dict[str, Any], str]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def look(self) -> list[str]:
        """What is wrong with the trials that had ended before; those that have ended since are remembered."""
        rows = {row["trial_id"]: row for row in self._run.read_trials() if row["status"] != "running"}
        problems = [f"{name}: had ended, and is lost" for name in self._known.keys() - rows.keys()]
        for name, row in rows.items():
            now = {key: value for key, value in row.items() if key != "on_front"}, self._weights(row)
            if self._known.setdefault(name, now) != now:
                problems.append(f"{name}: had ended, and has changed")
        return problems

    def _weights(self, row: dict[str, Any]) -> str:
        path = self._run.trial(row["number"]) / "model.safetensors"
        return sha256_of(path) if path.is_file() else ""


def problems_of(run: Path, n_trials: int) -> list[str]:
    """What is wrong with a run whose search has ended: each table by itself, and against the others."""
    folder = RunFolder(run)
    trials = folder.read_trials()
    problems = [f"left over: {name}" for name in left_over(run)]
    if [row["number"] for row in trials] != list(range(n_trials)):
        problems.append(f"trials.parquet has the numbers {[row['number'] for row in trials]}")
    study = optuna.load_study(study_name=STUDY_NAME, storage=open_journal(folder.journal))
    told = {trial.number: trial for trial in study.get_trials()}
    if sorted(told) != list(range(n_trials)):
        problems.append(f"optuna.journal has the numbers {sorted(told)}")
    curves: dict[str, list[dict[str, Any]]] = {}
    for point in folder.read_curves():
        curves.setdefault(point["trial_id"], []).append(point)
    for row in trials:
        found = problems_of_trial(folder, row, curves.get(row["trial_id"], []), told.get(row["number"]))
        problems += [f"{row['trial_id']}: {problem}" for problem in found]
    board = pd.read_csv(folder.leaderboard)
    if board["trial_id"].to_list() != rank(trials)["trial_id"].to_list():
        problems.append("leaderboard.csv does not rank what trials.parquet holds")
    return problems


def problems_of_trial(
    run: RunFolder, row: dict[str, Any], curve: list[dict[str, Any]], told: optuna.trial.FrozenTrial | None
) -> Iterator[str]:
    """What does not fit of a trial: its row, its curve, its model, and what Optuna was told."""
    if told is None:
        return
    if STATUSES.get(told.state) != row["status"]:
        yield f"{row['status']} in the table, {told.state.name} in the journal"
    if [point["epoch"] for point in curve] != list(range(1, (row["epochs"] or 0) + 1)):
        yield f"ran {row['epochs']} epochs, its curve has {[point['epoch'] for point in curve]}"
    if row["status"] == "failed" or row["config.optim.average_epochs"]:
        return  # the mean of the last epochs is scored: no best of the curve
    best, so_far, loss = float("-inf"), {}, ""
    for point in curve:
        before, loss = loss, row[f"config.stages.{point['stage']}.loss"]
        best = max(float("-inf") if before == "ce" != loss else best, point["macro_auc"])
        so_far[point["epoch"]] = best
    if row["macro_auc"] != best:
        yield f"has the score {row['macro_auc']}, its curve reaches {best}"
    if so_far != told.intermediate_values:
        yield "Optuna was told another curve"
    if told.state is TrialState.COMPLETE and told.value != best:
        yield f"Optuna was told the score {told.value}"
    try:
        metrics = load_model(run.trial(row["number"])).lineage.metrics
    except CheckpointError as error:
        yield str(error)
        return
    if metrics["macro_auc"] != best:
        yield f"its model has the score {json.dumps(metrics)}"
