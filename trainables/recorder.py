"""Writes a search's tables as it goes, and one clear line an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.tune import Callback

from sed_model.checkpoint import delete_state
from sed_model.config import SedConfig
from trainables.runs import CURVE_FIELDS, RunFolder, trial_id

WRITE_EVERY_S = 1.0
COST_FIELDS = ("params_m", "cpu_ms_per_window")


class Recorder(Callback):
    """Tune callback: trials.parquet, curves.parquet, leaderboard.csv and the terminal."""

    def __init__(self, run: RunFolder, config_of: Callable[[Mapping[str, Any]], SedConfig], num_trials: int) -> None:
        self._run, self._config_of, self._num_trials = run, config_of, num_trials
        self._trials: dict[str, dict[str, Any]] = {row["trial_id"]: row for row in run.read_trials()}
        self._curves = {(row["trial_id"], row["epoch"]): row for row in run.read_curves()}
        self._last_write_s = 0.0

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        row["status"] = "running"
        print(f"{row['trial_id']} starts: {_describe(trial.config['values'])}", flush=True)
        self._write()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        row = self._row(trial)
        curve = {"trial_id": row["trial_id"]} | {name: result[name] for name in CURVE_FIELDS.names[1:]}
        self._curves[row["trial_id"], result["epoch"]] = curve
        if row["macro_auc"] is None or result["macro_auc"] > row["macro_auc"]:
            row |= {"macro_auc": result["macro_auc"], "stage": result["stage"], "epoch": result["epoch"]}
        row["epochs"] = result["epoch"]
        row["duration_s"] = result["time_total_s"]
        row["finished"] = result["finished"]
        row |= {name: result[name] for name in COST_FIELDS}
        print(epoch_line(row["trial_id"], result), flush=True)
        if time.monotonic() - self._last_write_s >= WRITE_EVERY_S:
            self._write()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        row["status"] = "complete" if row.get("finished") else "pruned"
        delete_state(self._run.trial(row["number"]))
        self._finish(row, f"{row['status']}, best macro AUC {row['macro_auc']:.4f}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        row["status"] = "failed"
        row["error"] = _last_line(trial.get_error() or "")
        self._finish(row, f"failed: {row['error']}")

    def _finish(self, row: dict[str, Any], message: str) -> None:
        done = sum(other["status"] in ("complete", "pruned", "failed") for other in self._trials.values())
        print(f"{row['trial_id']} {message}   [{done} of {self._num_trials} trials]", flush=True)
        self._write()
        self._run.write_leaderboard()

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
        rows = sorted(self._trials.values(), key=lambda row: row["number"])
        self._run.write_tables(rows, [self._curves[place] for place in sorted(self._curves)])
        self._last_write_s = time.monotonic()


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


def _last_line(traceback: str) -> str:
    lines = [line for line in traceback.strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "unknown error"
