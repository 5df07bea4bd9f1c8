"""What a run folder holds: how far its search is, how large it is, and what of it can go."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sed_model.core.errors import DataError, UserError
from sed_model.core.texts import printable
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.window_metrics import MACRO_AUC, metric_of
from trainables.keeping.driver_lock import is_held, may_be_held

STILL_RUNS_S = 600.0
"""A search writes after each epoch; one of another machine that has written nothing for so long has ended."""
COLUMNS = ("trial_id", "number", "status", "macro_auc", "stage", "epochs", "duration_s", "error", "refit_mean")


@dataclass(frozen=True)
class RunSummary:
    """What there is to know of a run at a glance; `problem` says what is damaged, and then the rest is unknown."""

    name: str
    path: str
    status: str
    size_bytes: int
    changed: str
    space: str | None = None
    started: str | None = None
    data: str | None = None
    n_trials: int | None = None
    n_ended: int | None = None
    n_pruned: int | None = None
    n_failed: int | None = None
    best_trial: str | None = None
    best_macro_auc: float | None = None
    metric: str = MACRO_AUC
    best_score: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Removable:
    """Files of a run that can go: what they are, what is lost, and how large they are."""

    run: str
    what: str
    effect: str
    size_bytes: int
    paths: tuple[str, ...]


def summarise(run: RunFolder) -> RunSummary:
    """Read a run's tables; a damaged one is reported, not raised, so that the others are listed."""
    common: dict[str, Any] = {
        "name": run.path.name,
        "path": str(run.path),
        "size_bytes": size_of(run.path),
        "changed": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(last_change_s(run))),
    }
    try:
        record = run.read_search()
        trials = run.read_trials(COLUMNS)
        wanted = wanted_trials(run, record, len(trials))
    except (UserError, pa.ArrowException) as error:
        return RunSummary(**common, status="damaged", problem=printable(str(error).splitlines()[0]))
    counts = {status: sum(row["status"] == status for row in trials) for status in ("complete", "pruned", "failed")}
    best, metric = next(iter(best_trials(trials, 1)), None), metric_of(trials)
    return RunSummary(
        **common,
        status="complete" if sum(counts.values()) >= wanted else "running" if is_busy(run) else "interrupted",
        space=record["space_name"],
        started=record.get("created"),
        data=record["data"]["folder"],
        n_trials=wanted,
        n_ended=sum(counts.values()),
        n_pruned=counts["pruned"],
        n_failed=counts["failed"],
        best_trial=None if best is None else best["trial_id"],
        best_macro_auc=None if best is None else best["macro_auc"],
        metric=metric,
        best_score=None if best is None else best[metric],
    )


def wanted_trials(run: RunFolder, record: Mapping[str, Any], n_trials: int) -> int:
    """How many trials the search was to run, or all that there are where its record does not say.

    Raises:
        DataError: the record is damaged.
    """
    search = record.get("search", {})
    wanted = search.get("num_trials") if isinstance(search, dict) else 0
    if (wanted is None or (isinstance(wanted, int) and wanted > 0)) and isinstance(record.get("created", ""), str):
        return n_trials if wanted is None else wanted
    raise DataError(f"{run.search_file}: search.num_trials is no number of trials, or created no text; restore it.")


def is_busy(run: RunFolder) -> bool:
    """Whether a command writes to the run, as far as can be told."""
    return may_be_held(run.path) and time.time() - last_change_s(run) < STILL_RUNS_S


def last_change_s(run: RunFolder) -> float:
    """When a search or an ensemble last wrote; now, where one runs (not all shared folders tell of other machines')."""
    if is_held(run.path):
        return time.time()
    names = ("search.yaml", "trials.parquet", "curves.parquet", "recent.jsonl", "optuna.journal")
    growing = (*run.path.glob("trials/*/state*.pt"), *run.path.glob("ensemble/predictions/*/*"))
    files = [*(run.path / name for name in names), *growing]
    return max((path.stat().st_mtime for path in files if path.exists()), default=0.0)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder that can be listed; links count as themselves."""
    if path.is_symlink() or not path.is_dir():
        return _size(path)
    return sum(_size(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)


def _size(file: Path) -> int:
    try:
        return file.lstat().st_size
    except FileNotFoundError:  # a search that runs has removed it meanwhile
        return 0


def removable(run: RunFolder) -> Iterator[Removable]:
    """What can go of a run that does not run; tracebacks of failed trials stay, and what lies behind links."""
    name = run.path.name
    states = [
        path for kind in ("state.pt", "state.previous.pt", ".ray_train") for path in run.path.glob(f"trials/**/{kind}")
    ]
    left_over = [path for folder in (run.path, *run.path.glob("trials/*/")) for path in folder.glob(".*.tmp")]
    tune = [path for path in (run.path / "tune").rglob("*") if path.is_file() and path.name != "error.txt"]
    predictions = [path for path in [run.ensemble / "predictions"] if path.is_dir()]
    root = os.path.realpath(run.path)
    for what, effect, paths in (
        ("training states", "trials that had not ended start anew after --resume", states),
        ("Ray Tune's own files", "nothing: --resume reads the study and the tables", tune),
        ("predictions of the ensemble", "trainables.ensemble predicts again", predictions),
        ("half-written files", "nothing", left_over),
    ):
        inside = sorted(path for path in paths if Path(os.path.realpath(path.parent)).is_relative_to(root))
        if inside:
            yield Removable(name, what, effect, sum(map(size_of, inside)), tuple(map(str, inside)))


def remove(items: Iterable[Removable]) -> None:
    for item in items:
        for path in map(Path, item.paths):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
