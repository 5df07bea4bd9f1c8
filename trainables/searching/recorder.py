"""Writes a search's tables as it goes, and one clear line per epoch."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import DataError, DiskFullError
from sed_model.core.files import drop_torn_line
from sed_model.model.checkpoint import delete_state
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.run_tables import CURVE_FIELDS, SCORE_FIELDS, TRIAL_FIELDS, trial_id
from sed_model.run_folder.window_metrics import MACRO_AUC, METRICS, metric_of
from trainables.on_ray.repairs import trial_error
from trainables.on_ray.stopping import StoppedError, StoppingCallback

WRITE_EVERY_S = 1.0
WRITE_SHARE = 0.05
"""Tables grow with the search: they are written so seldom that it takes at most this share of the time. What happens
in between is a line each in recent.jsonl: what a trial costs must not depend on how many there were before."""
EMPTY_ROW: MappingProxyType[str, Any] = MappingProxyType(dict.fromkeys(TRIAL_FIELDS.names))
ENDED = ("complete", "pruned", "failed")
COST_FIELDS = ("params_m", "cpu_ms_per_window")
FIRST_TRIALS = 3
"""When so many trials end, and all fail with the same error, it is not the trials' fault."""


class Recorder(StoppingCallback):
    """Tune callback: trials.parquet, curves.parquet, leaderboard.csv and the terminal. It also stops the search.

    Tune's loop raises DiskFullError when the disk is full, and StoppedError when the first trials to end all failed
    with the same error.

    Args:
        finished: number -> status of the trials that need no more work. A search that was killed may have told Optuna
            of the end of a trial, and not the tables: these are put right.
        at_a_time: trials that run side by side.
    """

    def __init__(
        self,
        run: RunFolder,
        config_of: Callable[[Mapping[str, Any]], SedConfig],
        num_trials: int,
        finished: Mapping[int, str],
        at_a_time: int = 1,
    ) -> None:
        super().__init__(run.path)
        self._run, self._config_of, self._num_trials = run, config_of, num_trials
        self._trials: dict[str, dict[str, Any]] = {
            row["trial_id"]: EMPTY_ROW | with_new_keys(row) for row in run.read_trials()
        }
        self._curves = {(row["trial_id"], row["epoch"]): row for row in run.read_curves()}
        self._recent = RecentEntries(run.recent)
        self._next_write_s = 0.0
        self._start_s, self._n_ended = time.monotonic(), 0
        self._at_a_time: int | None = at_a_time
        self._waiting = False
        self._first_errors: list[str | None] = []
        self._take_up(self._recent.read())
        self._earlier_s = {name: row["duration_s"] or 0.0 for name, row in self._trials.items()}
        for row in self._trials.values():
            if row["number"] in finished and row["status"] == "running":
                self._settle(row, finished[row["number"]])

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        print(f"{row['trial_id']} starts: {describe_draw(trial.config)}", flush=True)
        self._keep(row["trial_id"], row | {"status": "running"})

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        row = self._row(trial)
        name = row["trial_id"]
        updates = {"duration_s": self._earlier_s.get(name, 0.0) + result["time_total_s"]}
        if result.get("disk_full"):
            self.stop(DiskFullError(result["failure"]))
            return
        if "failure" in result:
            self._keep(name, updates | {"error": result["failure"]}, at_once=True)
            return
        updates |= {field: result[field] for field in ("finished", *COST_FIELDS)} | {"epochs": result["epoch"]}
        if (name, result["epoch"]) not in self._curves:  # a trial that goes on repeats what it reported before
            print(epoch_line(name, result), flush=True)
            if result["epoch"] == 2 and self._at_a_time:  # the first epoch takes longer: it compiles
                self._announce(updates["duration_s"] - (row["duration_s"] or 0.0), result["epochs"])
            metric = metric_of([result])
            updates |= {field: result[f"best_{field}"] for field in ("macro_auc", metric, "stage", "epoch")}
            updates[f"{metric}_se"] = known(result[f"best_{metric}_se"])
        updates["split"] = result.get("split")
        given = [*CURVE_FIELDS.names[1:], *(field for field in SCORE_FIELDS.names if field in result)]
        self._keep(name, updates, {field: result[field] for field in given}, at_once=True)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        if row["error"]:
            self._fail(row, row["error"], "")
            return
        status = "complete" if row.get("finished") else "pruned"
        metric = metric_of([row])
        score = "no score" if row[metric] is None else f"best {METRICS[metric].title} {row[metric]:.4f}"
        self._finish(row, {"status": status}, f"{status}, {score}")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        if self.is_disk_full(trial):
            return
        self._earlier_s[row["trial_id"]] = row["duration_s"] or 0.0
        print(f"{row['trial_id']} broke off and starts again: {trial_error(trial)}", flush=True)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._row(trial)
        if self.is_disk_full(trial):
            return
        self._fail(row, trial_error(trial), f" (traceback: {self._run.traceback_file(row['number'])})")

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune calls this several times a second, also while nothing happens."""
        if self._waiting and time.monotonic() >= self._next_write_s:
            self._write()
        super().on_step_end(iteration, trials, **info)

    def flush(self) -> None:
        if self._waiting:
            self._write()
        super().flush()

    def _keep(
        self, name: str, updates: dict[str, Any], curve: dict[str, Any] | None = None, at_once: bool = False
    ) -> None:
        """Note what is new of a trial. `at_once`: a full disk stops the search before Optuna hears of it."""
        with self.held_back():
            self._recent.add({"name": name, "updates": updates, "curve": curve})
        if at_once:
            self.raise_stop()
        self._take(name, updates, curve)

    def _take(self, name: str, updates: Mapping[str, Any], curve: Mapping[str, Any] | None) -> None:
        self._trials[name] |= updates
        if curve is not None:
            self._curves[name, curve["epoch"]] = {"trial_id": name, **curve}
        self._waiting = True

    def _take_up(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """What an earlier process noted after it had last written the tables."""
        n_left_out = 0
        for entry in entries:
            name, updates = entry["name"], entry["updates"]
            if name not in self._trials and _is_row(name, updates):
                self._trials[name] = dict(EMPTY_ROW)
            if name in self._trials:
                self._take(**entry)
            else:
                n_left_out += 1
        if n_left_out:
            print(f"{self._run.recent}: {n_left_out} lines are of trials whose start is lost: left out", flush=True)

    def _fail(self, row: dict[str, Any], error: str, where: str) -> None:
        self._finish(row, {"status": "failed", "error": error}, f"failed: {error}{where}")

    def _finish(self, row: dict[str, Any], updates: dict[str, Any], message: str) -> None:
        delete_state(self._run.trial(row["number"]))
        self._keep(row["trial_id"], updates)
        done = sum(other["status"] in ENDED for other in self._trials.values())
        self._n_ended += 1
        print(f"{row['trial_id']} {message}   [{self._progress(done)}]", flush=True)
        self._watch_first_trials(updates.get("error"), self._num_trials - done)

    def _progress(self, done: int) -> str:
        """How far the search is; the time left as if the other trials took as long as those that have ended."""
        metric = metric_of(self._trials.values())
        scores = [row[metric] for row in self._trials.values() if row.get(metric) is not None]
        best = f", best {max(scores):.4f}" if scores else ""
        left_s = (time.monotonic() - self._start_s) / self._n_ended * (self._num_trials - done)
        left = f", about {left_s / 60:.0f} min left" if left_s > 30 else ""
        return f"{done} of {self._num_trials} trials{best}{left}"

    def _announce(self, epoch_s: float, n_epochs: int) -> None:
        """Once, as measured here: how long the trials take, if none is stopped early."""
        n_left = self._num_trials - sum(row["status"] in ENDED for row in self._trials.values())
        left_s = epoch_s * n_epochs * math.ceil(n_left / (self._at_a_time or 1))
        self._at_a_time = None
        left = f"{left_s:.0f} s" if left_s < 90 else f"{left_s / 60:.0f} min"
        print(
            f"an epoch takes {epoch_s:.1f} s: {n_left} trials of {n_epochs} epochs take at most about {left}",
            flush=True,
        )

    def _watch_first_trials(self, error: str | None, n_left: int) -> None:
        """Stop when the first to end since the search was started, or gone on with, fail in the same way."""
        self._first_errors.append(error)
        if len(self._first_errors) != FIRST_TRIALS:
            return
        kinds = {None if error is None else re.sub(r"\d+", "#", error) for error in self._first_errors}
        if len(kinds) == 1 and error is not None and n_left > 0:
            self.stop(
                StoppedError(
                    f"the first {FIRST_TRIALS} trials all failed with the same error: {error}\n"
                    f"{n_left} trials were not run; mend the cause."
                )
            )

    def _settle(self, row: dict[str, Any], status: str) -> None:
        """A trial that ended in the moment when the search was killed."""
        row["status"] = status
        if status == "failed":
            row["error"] = row["error"] or "the search was killed when the trial failed"
        delete_state(self._run.trial(row["number"]))
        self._waiting = True

    def _row(self, trial: Any) -> dict[str, Any]:
        name = trial_id(trial.config["number"])
        if name not in self._trials:
            config = self._config_of(trial.config["values"])
            flat = {f"config.{key}": value for key, value in config.flat().items()}
            own = {"trial_id": name, "status": "running"} | {key: trial.config[key] for key in ("number", "drawn_by")}
            self._trials[name] = EMPTY_ROW | own | {"fold": config.data.fold, "seed": config.seed} | flat
        return self._trials[name]

    def _write(self) -> None:
        start_s = time.monotonic()
        rows = sorted(self._trials.values(), key=lambda row: row["number"])
        with self.held_back():
            self._run.write_tables(rows, [self._curves[place] for place in sorted(self._curves)])
            self._run.write_leaderboard()
            self._recent.clear()
            self._waiting = False
        end_s = time.monotonic()
        self._next_write_s = end_s + max(WRITE_EVERY_S, (end_s - start_s) / WRITE_SHARE)


def with_new_keys(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of an earlier release with the keys that are new since, at their defaults: what it was trained with."""
    known = {f"config.{key}": value for key, value in SedConfig().flat().items()}
    own = {name for name in row if name.startswith("config.")}
    return known | dict(row) if own and own <= set(known) else dict(row)


def _is_row(name: str, updates: Mapping[str, Any]) -> bool:
    """Whether this is the row that a trial starts with; its folder is named by its number."""
    number, known = updates.get("number"), ("trial_id", "status", "macro_auc")
    return type(number) is int and number >= 0 and name == trial_id(number) and all(key in updates for key in known)


def known(number: float) -> float | None:
    """None for NaN."""
    return None if math.isnan(number) else number


def epoch_line(name: str, result: Mapping[str, Any]) -> str:
    """One epoch for people, and below it what they ought to know of it."""
    metric = metric_of([result])
    best = f"(best {result[f'best_{metric}']:.4f})"
    scores = f"AUC {result['macro_auc']:.4f}"
    if metric != MACRO_AUC:
        scores += f"  {METRICS[metric].title} {result[metric]:.4f}"
    return (
        f"{name}  {result['stage']:<11} epoch {result['epoch']:>3}/{result['epochs']}  "
        f"loss {result['train_loss']:.4f}  "
        f"val {result['val_loss']:.4f}  {scores} {best}  "
        f"{result['samples_per_s']:.1f} clips/s" + (f"\n{name}  {result['note']}" if result.get("note") else "")
    )


def describe_draw(point: Mapping[str, Any]) -> str:
    """What was drawn, and how."""
    return f"{describe_point(point['values'])} ({point['drawn_by']})"


def describe_point(values: Mapping[str, Any]) -> str:
    """What was drawn, for people."""
    shown = [f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()]
    return ", ".join(shown) or "the base configuration"


FIELDS = ("name", "updates", "curve")
"""Of an entry: a trial's name, what is new in its row, and a row of its curve or null."""


class RecentEntries:
    """A file of JSON lines beside the tables. Only the writer of the tables may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, entry: Mapping[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(entry).encode() + b"\n"
        with self._path.open("ab", buffering=0) as file:
            n_written = file.write(line)
            if n_written < len(line):  # the disk is full: what did fit must not stand before the next line
                file.truncate(file.tell() - n_written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def read(self) -> list[dict[str, Any]]:
        """All entries; a last line that a kill or a full disk cut short is dropped.

        Raises:
            DataError: another line is damaged.
        """
        if not self._path.is_file():
            return []
        lines = drop_torn_line(self._path).read_bytes().split(b"\n")[:-1]
        return [self._entry(number, line) for number, line in enumerate(lines, start=1)]

    def _entry(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            entry: dict[str, Any] = json.loads(line)
            curve = entry["curve"]
            good = isinstance(entry["name"], str) and isinstance(entry["updates"], dict) and len(entry) == len(FIELDS)
            if not good or not (curve is None or (isinstance(curve, dict) and isinstance(curve["epoch"], int))):
                raise ValueError("no entry of a search")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{self._path} line {number}: is damaged ({error}); remove the line, then go on: its epoch is lost."
            ) from None
        return entry

    def clear(self) -> None:
        """Once the tables hold it all."""
        self._path.unlink(missing_ok=True)
