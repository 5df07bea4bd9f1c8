"""Writes a search's tables as it goes, and one clear line an epoch."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.tune import Callback

from sed_model.checkpoint import delete_state, read_lineage
from sed_model.config import SedConfig
from sed_model.errors import CheckpointError
from trainables.runs import CURVE_FIELDS, RunFolder, trial_id

WRITE_EVERY_S = 1.0
WRITE_SHARE = 0.05
"""Tables grow with the search: epochs are written so seldom that it takes at most this share of the time."""
COST_FIELDS = ("params_m", "cpu_ms_per_window")


class Recorder(Callback):
    """Tune callback: trials.parquet, curves.parquet, leaderboard.csv and the terminal.

    Args:
        finished: number -> status of the trials that need no more work. A search that was killed may have told Optuna
            of the end of a trial, and not the tables: these are put right.
    """

    def __init__(
        self,
        run: RunFolder,
        config_of: Callable[[Mapping[str, Any]], SedConfig],
        num_trials: int,
        finished: Mapping[int, str],
    ) -> None:
        self._run, self._config_of, self._num_trials = run, config_of, num_trials
        self._trials: dict[str, dict[str, Any]] = {row["trial_id"]: row for row in run.read_trials()}
        self._curves = {(row["trial_id"], row["epoch"]): row for row in run.read_curves()}
        self._earlier_s = {name: row["duration_s"] or 0.0 for name, row in self._trials.items()}
        self._next_write_s = 0.0
        self._waiting = False
        for row in self._trials.values():
            if row["number"] in finished and row["status"] == "running":
                self._settle(row, finished[row["number"]])

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        row["status"] = "running"
        print(f"{row['trial_id']} starts: {_describe(trial.config['values'])}", flush=True)
        self._write()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        row = self._row(trial)
        row["duration_s"] = self._earlier_s.get(row["trial_id"], 0.0) + result["time_total_s"]
        if "failure" in result:
            row["error"] = result["failure"]
            return
        curve = {"trial_id": row["trial_id"]} | {name: result[name] for name in CURVE_FIELDS.names[1:]}
        self._curves[row["trial_id"], result["epoch"]] = curve
        if row["macro_auc"] is None or result["macro_auc"] > row["macro_auc"]:
            row |= {"macro_auc": result["macro_auc"], "stage": result["stage"], "epoch": result["epoch"]}
        row["epochs"] = result["epoch"]
        row["finished"] = result["finished"]
        row |= {name: result[name] for name in COST_FIELDS}
        print(epoch_line(row["trial_id"], result), flush=True)
        self._waiting = True
        if time.monotonic() >= self._next_write_s:
            self._write()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        if row.get("error"):
            self._fail(row, "")
            return
        row["status"] = "complete" if row.get("finished") else "pruned"
        score = "no score" if row["macro_auc"] is None else f"best macro AUC {row['macro_auc']:.4f}"
        self._finish(row, f"{row['status']}, {score}")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        print(f"{row['trial_id']} broke off and starts again: {trial_error(trial)}", flush=True)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        row["error"] = trial_error(trial)
        self._fail(row, f" (traceback: {self._run.traceback_file(row['number'])})")

    def flush(self) -> None:
        """Write what has not been written yet."""
        if self._waiting:
            self._write()

    def _fail(self, row: dict[str, Any], where: str) -> None:
        row["status"] = "failed"
        self._finish(row, f"failed: {row['error']}{where}")

    def _finish(self, row: dict[str, Any], message: str) -> None:
        delete_state(self._run.trial(row["number"]))
        done = sum(other["status"] in ("complete", "pruned", "failed") for other in self._trials.values())
        print(f"{row['trial_id']} {message}   [{done} of {self._num_trials} trials]", flush=True)
        self._write()
        self._run.write_leaderboard()

    def _settle(self, row: dict[str, Any], status: str) -> None:
        """A trial that ended in the moment when the search was killed: its model knows what the table missed."""
        row["status"] = status
        if status == "failed":
            row["error"] = row["error"] or "the search was killed when the trial failed"
        delete_state(self._run.trial(row["number"]))
        self._waiting = True
        try:
            lineage = read_lineage(self._run.trial(row["number"]))
        except CheckpointError:
            return  # it never had a model
        best = {"macro_auc": lineage.metrics["macro_auc"], "stage": lineage.stage, "epoch": lineage.epoch}
        row |= best | {"epochs": max(row["epochs"] or 0, lineage.epoch)}

    def _row(self, trial: Any) -> dict[str, Any]:
        name = trial_id(trial.config["number"])
        if name not in self._trials:
            config = self._config_of(trial.config["values"])
            flat = {f"config.{key}": value for key, value in config.flat().items()}
            self._trials[name] = {
                "trial_id": name,
                "number": trial.config["number"],
                "status": "running",
                "macro_auc": None,
                "fold": config.data.fold,
                "seed": config.seed,
            } | flat
        return self._trials[name]

    def _write(self) -> None:
        start_s = time.monotonic()
        rows = sorted(self._trials.values(), key=lambda row: row["number"])
        self._run.write_tables(rows, [self._curves[place] for place in sorted(self._curves)])
        end_s = time.monotonic()
        self._next_write_s = end_s + max(WRITE_EVERY_S, (end_s - start_s) / WRITE_SHARE)
        self._waiting = False


def epoch_line(name: str, result: Mapping[str, Any]) -> str:
    """One epoch for people."""
    return (
        f"{name}  {result['stage']:<11} epoch {result['epoch']:>3}/{result['epochs']}  "
        f"loss {result['train_loss']:.4f}  "
        f"val {result['val_loss']:.4f}  AUC {result['macro_auc']:.4f} (best {result['best_macro_auc']:.4f})  "
        f"{result['samples_per_s']:.1f} clips/s"
    )


def _describe(values: Mapping[str, Any]) -> str:
    shown = [f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()]
    return ", ".join(shown) or "the base configuration"


def trial_error(trial: Any) -> str:
    """What went wrong in a trial that raised, in one line."""
    return error_line(_error_text(trial))


def _error_text(trial: Any) -> str:
    """All that Tune wrote of a trial's errors; it is copied into the run folder a little later."""
    file = Path(trial.error_file) if trial.error_file else None
    return file.read_text(encoding="utf-8") if file is not None and file.is_file() else ""


def error_line(traceback: str) -> str:
    """The line of a traceback that names the error: the last that begins with its type, or the last of all."""
    lines = [line.strip() for line in traceback.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit)\b", line)]
    return (named or lines or ["unknown error"])[-1]
