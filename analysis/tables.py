"""A run folder on disk -> checked tables. Every problem of a folder is reported at once, each with its repair.

The column constants are the contract with whoever writes the folder: a writer may add columns,
never rename or drop one.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.checks import (
    duplicates,
    examples,
    first_line,
    no_names,
    outside,
    shown,
    unknown,
)
from analysis.files import is_file, is_folder, parse_yaml, read_file
from analysis.parquet import Kind, read_table
from sed_model.core.errors import DataError

STATUSES = ("complete", "pruned", "failed", "running")

# `macro_auc` is the best of the trial, `stage` and `epoch` (global) are where it was reached, `epochs` is how many ran.
TRIAL_COLUMNS: dict[str, Kind] = {
    "trial_id": Kind.TEXT,
    "number": Kind.INTEGER,
    "status": Kind.TEXT,
    "macro_auc": Kind.NUMBER,
    "stage": Kind.TEXT,
    "epoch": Kind.INTEGER,
    "epochs": Kind.INTEGER,
    "duration_s": Kind.NUMBER,
    "params_m": Kind.NUMBER,
    "cpu_ms_per_window": Kind.NUMBER,
    "fold": Kind.INTEGER,
    "seed": Kind.INTEGER,
    "error": Kind.TEXT,
}
# How a trial was drawn: default, quasi-random, TPE, .. Older runs lack it.
DRAW_COLUMNS: dict[str, Kind] = {"drawn_by": Kind.TEXT}
# Of finalists that were trained again: mean, standard deviation and number of their new scores (the one that chose them
# is none of these). Older runs lack them.
REFIT_COLUMNS: dict[str, Kind] = {"refit_mean": Kind.NUMBER, "refit_sd": Kind.NUMBER, "n_refits": Kind.INTEGER}
# The digest of the files that validated a trial. Older runs lack it.
SPLIT_COLUMN: dict[str, Kind] = {"split": Kind.TEXT}
LATER_COLUMNS = DRAW_COLUMNS | REFIT_COLUMNS | SPLIT_COLUMN
CURVE_COLUMNS: dict[str, Kind] = {
    "trial_id": Kind.TEXT,
    "stage": Kind.TEXT,
    "epoch": Kind.INTEGER,
    "stage_epoch": Kind.INTEGER,
    "train_loss": Kind.NUMBER,
    "val_loss": Kind.NUMBER,
    "macro_auc": Kind.NUMBER,
    "lr": Kind.NUMBER,
    "samples_per_s": Kind.NUMBER,
}

# The best so far of comparable stages: after cross-entropy it begins anew. Older runs lack it.
BEST_COLUMNS: dict[str, Kind] = {"best_macro_auc": Kind.NUMBER}

# A trial that failed early, or runs still, has only its names; an epoch need not be validated.
TRIAL_KEYS = frozenset({"trial_id", "number", "status"})
COMPLETE_TRIAL_COLUMNS = ("macro_auc", "stage", "epoch", "epochs", "duration_s")
CURVE_NULLABLE = frozenset({"val_loss", "macro_auc", "samples_per_s"})
MAX_TEXT = 50_000
"""Characters of a text in search.yaml; the longest, the command, has some hundred."""


class RunFolderError(DataError):
    """A run folder that breaks the contract; `problems` holds one line for each fault: path, thing, repair."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  - ".join([f"{shown(path)}: {count} in this run folder", *self.problems]))


@dataclass(frozen=True)
class Run:
    """The tables of one search; `trials` follows TRIAL_COLUMNS and LATER_COLUMNS, with config.<dotted.key> beside."""

    path: Path
    search: dict[str, Any]
    trials: pd.DataFrame
    curves: pd.DataFrame


def read_run(path: Path) -> Run:
    """Read search.yaml, trials.parquet and curves.parquet of a run folder.

    Raises:
        RunFolderError: with every missing file or column, wrong type and wrong value of the folder.
    """
    path = Path(path)
    require_folder(path)
    problems: list[str] = []
    search = _read_search(path, problems)
    trials = _read_trials(path, problems)
    curves = _read_curves(path, trials, problems)
    if problems or trials is None or curves is None:
        raise RunFolderError(path, problems)
    return Run(path, search, trials, curves)


def newest_runs(folder: Path) -> list[Path]:
    """The run folders in `folder`, the one whose trials.parquet was written last in front."""
    tables = [file for file in Path(folder).glob("*/trials.parquet") if is_file(file)]
    return [file.parent for file in sorted(tables, key=lambda file: (file.stat().st_mtime_ns, file), reverse=True)]


def newest_run(folder: Path) -> Path:
    """The first of `newest_runs`.

    Raises:
        RunFolderError: `folder` holds no run folder.
    """
    runs = newest_runs(folder)
    if not runs:
        raise RunFolderError(Path(folder), ["no folder with a trials.parquet; run python -m trainables.search first"])
    return runs[0]


def require_folder(path: Path) -> None:
    """Raises RunFolderError where there is no such folder; a near one is named."""
    if is_folder(path):
        return
    try:
        beside = sorted(entry.name for entry in path.parent.iterdir() if is_folder(entry))
    except (OSError, ValueError):  # where nothing can be listed, there is nothing to suggest
        beside = []
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {path.parent / near[0]}?" if near else "give a folder that python -m trainables.search wrote."
    raise RunFolderError(path, [f"no such folder; {hint}"])


def _read_search(path: Path, problems: list[str]) -> dict[str, Any]:
    file = path / "search.yaml"
    try:
        search = parse_yaml(read_file(file, path).decode("utf-8"))
    except FileNotFoundError:
        problems.append(f"{file}: missing; the search writes it first: is this a run folder?")
        return {}
    except (ValueError, OSError) as error:
        problems.append(f"{file}: not readable as YAML ({first_line(error)}); restore it or repeat the search.")
        return {}
    if not isinstance(search, dict):
        problems.append(f"{file}: holds {type(search).__name__}, not a mapping; restore it or repeat the search.")
        return {}
    problems += [f"{file}: {problem}; restore it or repeat the search." for problem in _search_problems(search)]
    return search


def _search_problems(search: Mapping[Any, Any]) -> list[str]:
    """What is not of the kind that the search writes; a section that is not there is no problem."""
    data, space = search.get("data") or {}, search.get("space") or {}
    texts = {name: search.get(name) for name in ("command", "created", "teacher")}
    found = [f"{name} is {type(part).__name__}, not a mapping" for name, part in (("data", data), ("space", space))
             if not isinstance(part, dict)]  # fmt: skip
    if isinstance(data, dict):
        texts |= {f"data.{name}": data.get(name) for name in ("folder", "fingerprint")}
    if isinstance(space, dict):
        conditions = {key: entry.get("when") or {} for key, entry in space.items() if isinstance(entry, dict)}
        found += [f"space.{shown(key)}.when is {type(when).__name__}, not a mapping"
                  for key, when in conditions.items() if not isinstance(when, dict)]  # fmt: skip
    for name, text in texts.items():
        if text is not None and not (isinstance(text, str) and len(text) <= MAX_TEXT):
            found.append(f"{name} is {shown(repr(text), 60)}, no text of up to {MAX_TEXT:,} characters")
    return found


def _read_trials(path: Path, problems: list[str]) -> pd.DataFrame | None:
    file = path / "trials.parquet"
    columns, optional = TRIAL_COLUMNS | LATER_COLUMNS, frozenset(LATER_COLUMNS)
    trials, _ = read_table(file, path, columns, problems, frozenset(columns) - TRIAL_KEYS, optional)
    if trials is None:
        return None
    found = [
        no_names("trial_id", trials["trial_id"]),
        unknown("status", trials["status"], STATUSES),
        duplicates("trial_id", trials["trial_id"]),
        duplicates("number", trials["number"]),
        *(outside(name, trials[name], 0, 1) for name in ("macro_auc", "refit_mean")),
        *(
            outside(name, trials[name], 0)
            for name in ("epochs", "duration_s", "params_m", "cpu_ms_per_window", "refit_sd", "n_refits")
        ),
    ]
    complete = trials[trials["status"] == "complete"]
    for name in COMPLETE_TRIAL_COLUMNS:
        missing = complete.loc[complete[name].isna(), "trial_id"]
        if len(missing):
            found.append(f"complete trials without {name}: {examples(missing)}; record it, or mark them failed.")
    problems += [f"{file}: {problem}" for problem in found if problem]
    return trials


def _read_curves(path: Path, trials: pd.DataFrame | None, problems: list[str]) -> pd.DataFrame | None:
    file = path / "curves.parquet"
    columns, optional = CURVE_COLUMNS | BEST_COLUMNS, frozenset(BEST_COLUMNS)
    curves, _ = read_table(file, path, columns, problems, CURVE_NULLABLE | optional, optional)
    if curves is None:
        return None
    found = [*(outside(name, curves[name], 0, 1) for name in ("macro_auc", "best_macro_auc"))]
    found.append(outside("epoch", curves["epoch"], 0))
    if trials is not None:
        orphans = curves.loc[~curves["trial_id"].isin(trials["trial_id"]), "trial_id"].unique()
        if len(orphans):
            found.append(f"epochs of trials that trials.parquet lacks: {examples(orphans)}; write both together.")
    twice = curves.duplicated(["trial_id", "epoch"])
    if twice.any():
        pairs = curves.loc[twice, "trial_id"] + " epoch " + curves.loc[twice, "epoch"].astype(str)
        found.append(f"the same epoch twice: {examples(pairs.unique())}; keep the last report of an epoch.")
    problems += [f"{file}: {problem}" for problem in found if problem]
    return curves
