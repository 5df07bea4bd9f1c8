"""A run folder on disk -> checked tables. Every problem of a folder is reported at once, each with its repair.

The column constants are the contract with whoever writes the folder: a writer may add columns,
never rename or drop one.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.checks import (
    duplicate_windows,
    duplicates,
    examples,
    first_line,
    is_plain_name,
    matrix,
    no_names,
    outside,
    shown,
    unknown,
    vector_problems,
)
from analysis.files import is_file, is_folder, parse_yaml, read_file
from analysis.parquet import Kind, read_classes, read_table

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
# Of finalists that were trained again: mean, standard deviation and number of their scores. Older runs lack them.
REFIT_COLUMNS: dict[str, Kind] = {"refit_mean": Kind.NUMBER, "refit_sd": Kind.NUMBER, "n_refits": Kind.INTEGER}
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
PSEUDO_LABEL_COLUMNS: dict[str, Kind] = {
    "filename": Kind.TEXT,
    "start_s": Kind.NUMBER,
    "end_s": Kind.NUMBER,
    "primary_label": Kind.TEXT,
    "confidence": Kind.NUMBER,
    "labels": Kind.TEXTS,
    "probabilities": Kind.NUMBERS,
    "n_members": Kind.INTEGER,
    "disagreement": Kind.NUMBER,
    "weight": Kind.NUMBER,
}
OOF_COLUMNS: dict[str, Kind] = {
    "filename": Kind.TEXT,
    "start_s": Kind.NUMBER,
    "end_s": Kind.NUMBER,
    "target": Kind.NUMBERS,
    "probabilities": Kind.NUMBERS,
}

# A trial that failed early, or runs still, has only its names; an epoch need not be validated.
TRIAL_KEYS = frozenset({"trial_id", "number", "status"})
COMPLETE_TRIAL_COLUMNS = ("macro_auc", "stage", "epoch", "epochs", "duration_s")
CURVE_NULLABLE = frozenset({"val_loss", "macro_auc", "samples_per_s"})
MEMBER_COLUMNS = ("trial_id", "weight", "macro_auc", "score_after", "correlation")
HUGE = 1e300
MAX_TEXT = 50_000
"""Characters of a text in search.yaml; the longest, the command, has some hundred."""


class RunFolderError(ValueError):
    """A run folder that breaks the contract; `problems` holds one line for each fault: path, thing, repair."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  - ".join([f"{shown(path)}: {count} in this run folder", *self.problems]))


@dataclass(frozen=True)
class Run:
    """The tables of one search. `trials` follows TRIAL_COLUMNS and REFIT_COLUMNS, with config.<dotted.key> beside."""

    path: Path
    search: dict[str, Any]
    trials: pd.DataFrame
    curves: pd.DataFrame


@dataclass(frozen=True)
class PseudoLabels:
    """Pseudo-labelled windows; `table` follows PSEUDO_LABEL_COLUMNS, its probabilities in the order of `classes`."""

    classes: tuple[str, ...]
    table: pd.DataFrame

    @property
    def probabilities(self) -> np.ndarray:
        """float32 array [windows, classes] in 0..1."""
        return matrix(self.table["probabilities"], len(self.classes))


@dataclass(frozen=True)
class OutOfFold:
    """A trial's predictions on its validation windows; arrays are float32 [windows, classes] in 0..1."""

    classes: tuple[str, ...]
    windows: pd.DataFrame
    target: np.ndarray
    probabilities: np.ndarray


def read_run(path: Path) -> Run:
    """Read search.yaml, trials.parquet and curves.parquet of a run folder.

    Raises:
        RunFolderError: with every missing file or column, wrong type and wrong value of the folder.
    """
    path = Path(path)
    _require_folder(path)
    problems: list[str] = []
    search = _read_search(path, problems)
    trials = _read_trials(path, problems)
    curves = _read_curves(path, trials, problems)
    if problems or trials is None or curves is None:
        raise RunFolderError(path, problems)
    return Run(path, search, trials, curves)


def read_pseudo_labels(path: Path) -> PseudoLabels:
    """Read and join ensemble/pseudo_labels/part-*.parquet of the run folder at `path`.

    Raises:
        RunFolderError: no part, a damaged part, parts with different classes, or values outside the contract.
    """
    path = Path(path)
    _require_folder(path)
    folder = path / "ensemble" / "pseudo_labels"
    files = sorted(folder.glob("part-*.parquet"))
    if not files:
        raise RunFolderError(path, [f"{folder}: no part-*.parquet; write it with python -m trainables.ensemble --run"])
    problems: list[str] = []
    parts: list[pd.DataFrame] = []
    classes_of: dict[Path, tuple[str, ...]] = {}
    for file in files:
        part, classes = _read_predictions(file, path, PSEUDO_LABEL_COLUMNS, problems)
        if part is not None:
            parts.append(part)
            classes_of[file] = classes
            problems += [f"{file}: {problem}" for problem in _pseudo_label_problems(part, classes)]
    problems += _mixed_classes(classes_of)
    if problems:
        raise RunFolderError(path, problems)
    table = pd.concat(parts, ignore_index=True)
    problems = [f"{folder}: {problem}" for problem in duplicate_windows(table)]
    if problems:
        raise RunFolderError(path, problems)
    return PseudoLabels(next(iter(classes_of.values())), table)


def oof_path(path: Path, trial_id: str) -> Path:
    """Where the validation predictions of a trial lie in the run folder at `path`."""
    return Path(path) / "trials" / trial_id / "oof.parquet"


def read_oof(path: Path, trial_id: str) -> OutOfFold:
    """Read the validation predictions of one trial of the run folder at `path`.

    Raises:
        RunFolderError: no such file, a damaged file, or values outside the contract.
    """
    path = Path(path)
    _require_folder(path)
    if not is_plain_name(trial_id):
        raise RunFolderError(path, [f"{shown(trial_id)} is no name of a trial; give one of trials.parquet."])
    file = oof_path(path, trial_id)
    problems: list[str] = []
    table, classes = _read_predictions(file, path, OOF_COLUMNS, problems)
    if table is not None:
        problems += [f"{file}: {problem}" for problem in duplicate_windows(table)]
        if table.empty:
            problems.append(f"{file}: holds no window; predict the validation fold again.")
    if problems or table is None:
        raise RunFolderError(path, problems)
    n_classes = len(classes)
    windows = table[["filename", "start_s", "end_s"]]
    return OutOfFold(classes, windows, matrix(table["target"], n_classes), matrix(table["probabilities"], n_classes))


def read_members(path: Path) -> pd.DataFrame:
    """Who labelled, from ensemble/members.json of the run folder at `path`: those of MEMBER_COLUMNS that are there.

    Empty without the file.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = Path(path)
    _require_folder(path)
    file = path / "ensemble" / "members.json"
    try:
        members: list[dict[str, Any]] = json.loads(read_file(file, path))["members"]
        if not all(isinstance(row, dict) for row in members):
            raise TypeError("members is no list of mappings")
        table = pd.DataFrame([{name: row[name] for name in MEMBER_COLUMNS if name in row} for row in members])
        damage = "" if _are_members(table) else "a trial_id is no name, or another value is no number"
    except FileNotFoundError:
        return pd.DataFrame()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        damage = f"{type(error).__name__}: {first_line(error)}"
    if damage:
        raise RunFolderError(path, [f"{file}: no table of members ({damage}); run trainables.ensemble again."])
    return table


def _are_members(table: pd.DataFrame) -> bool:
    if table.empty:
        return True
    names, numbers = table["trial_id"], table.drop(columns="trial_id").to_numpy(object).ravel()
    return all(isinstance(name, str) and is_plain_name(name) for name in names) and all(
        number is None or (isinstance(number, int | float) and -HUGE < number < HUGE) for number in numbers
    )


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


def _require_folder(path: Path) -> None:
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
    columns, optional = TRIAL_COLUMNS | REFIT_COLUMNS, frozenset(REFIT_COLUMNS)
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
    curves, _ = read_table(file, path, CURVE_COLUMNS, problems, CURVE_NULLABLE)
    if curves is None:
        return None
    found = [outside("macro_auc", curves["macro_auc"], 0, 1), outside("epoch", curves["epoch"], 0)]
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


def _read_predictions(
    file: Path, path: Path, columns: Mapping[str, Kind], problems: list[str]
) -> tuple[pd.DataFrame | None, tuple[str, ...]]:
    """A table of windows and the classes of its file; (None, ()) where the problems do not allow one."""
    table, metadata = read_table(file, path, columns, problems)
    classes = read_classes(file, metadata, problems) if metadata is not None else ()
    if table is None or not classes:
        return None, ()
    found = [outside(name, table[name], 0) for name in ("start_s", "end_s")]
    if (table["end_s"] <= table["start_s"]).any():
        found.append("windows with end_s not after start_s; both are seconds from the start of the file.")
    for name in ("probabilities", "target"):
        if name in columns:
            found += vector_problems(name, table[name], len(classes))
    found = [problem for problem in found if problem]
    problems += [f"{file}: {problem}" for problem in found]
    return (None, ()) if found else (table, classes)


def _pseudo_label_problems(table: pd.DataFrame, classes: tuple[str, ...]) -> list[str]:
    found = [
        unknown("primary_label", table["primary_label"], classes),
        unknown("labels", table["labels"].explode().dropna(), classes),
        outside("confidence", table["confidence"], 0, 1),
        outside("n_members", table["n_members"], 1),
        outside("disagreement", table["disagreement"], 0),
        outside("weight", table["weight"], 0),
    ]
    return [problem for problem in found if problem]


def _mixed_classes(classes_of: Mapping[Path, tuple[str, ...]]) -> list[str]:
    if len(set(classes_of.values())) <= 1:
        return []
    first, *others = classes_of
    different = [file.name for file in others if classes_of[file] != classes_of[first]]
    return [
        f"{first.parent}: other classes, or another order of them, than {first.name} in {examples(different)}; "
        "delete the folder and label with one ensemble."
    ]
