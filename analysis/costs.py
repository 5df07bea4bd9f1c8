"""What a search cost, what stopping weak trials early saved, and which trials are worth their cost."""

import shlex

import pandas as pd

from analysis.curves import epochs_saved
from analysis.tables import Run
from sed_model.run_folder.leaderboard import on_front
from sed_model.run_folder.run_tables import STATUSES

MAX_DIGITS = 6
"""Of a number of CPUs; no machine has a million."""
FRONT_COLUMNS = ("trial_id", "number", "status", "macro_auc", "cpu_ms_per_window", "params_m")
STATUS_COLUMNS = ("status", "n_trials", "epochs", "hours")


def cost(run: Run) -> pd.DataFrame:
    """One row: `curves.epochs_saved` with cpus_per_trial, core_hours and hours_saved.

    core_hours are the hours of the trials times the CPUs that each was given: the recorded command says how many, one
    where it does not. hours_saved takes an epoch that was not run to last as long as the mean of those that were.
    """
    row = epochs_saved(run).iloc[0].to_dict()
    cpus = cpus_per_trial(run)
    epoch_hours = row["trial_hours"] / row["epochs_run"] if row["epochs_run"] else 0.0
    return pd.DataFrame(
        [
            row
            | {
                "cpus_per_trial": cpus,
                "core_hours": row["trial_hours"] * cpus,
                "hours_saved": (row["epochs_full"] - row["epochs_run"]) * epoch_hours,
            }
        ]
    )


def pareto_front(run: Run) -> pd.DataFrame:
    """The trials by cost, those on the Pareto front marked: macro_auc up, CPU time a window down.

    Failed trials and those without a score or a cost are left out. Of trials equal in both, all are on the front.

    Returns:
        trial_id, number, status, macro_auc, cpu_ms_per_window (milliseconds), params_m (millions), on_front; cheapest
        first, at equal cost the better one first.
    """
    trials = run.trials[list(FRONT_COLUMNS)]
    trials = trials.assign(on_front=on_front(trials.to_dict("records")))
    trials = trials[trials["status"] != "failed"].dropna(subset=["macro_auc", "cpu_ms_per_window"])
    return trials.sort_values(["cpu_ms_per_window", "macro_auc"], ascending=[True, False], ignore_index=True)


def cpus_per_trial(run: Run) -> int:
    """CPUs that each trial was given: --cpus-per-trial times --workers-per-trial of the recorded command."""
    words = _words(str(run.search.get("command") or ""))
    per_worker, n_workers = (_number_after(words, flag) for flag in ("--cpus-per-trial", "--workers-per-trial"))
    return max(1, per_worker) * max(1, n_workers)


def cost_by_status(run: Run) -> pd.DataFrame:
    """A row a status that occurs: status, n_trials, epochs, hours."""
    by_status = run.trials.groupby("status").agg(
        n_trials=("trial_id", "size"), epochs=("epochs", "sum"), seconds=("duration_s", "sum")
    )
    table = by_status.reindex([status for status in STATUSES if status in by_status.index]).reset_index()
    table["hours"] = table.pop("seconds") / 3600
    return table[list(STATUS_COLUMNS)]


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that is not closed
        words = command.split()
    return [part for word in words for part in (word.split("=", 1) if word.startswith("--") else [word])]


def _number_after(words: list[str], flag: str) -> int:
    places = [index for index, word in enumerate(words[:-1]) if word == flag]
    value = words[places[-1] + 1] if places else ""
    return int(value) if value.isdecimal() and len(value) <= MAX_DIGITS else 1
