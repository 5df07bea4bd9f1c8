"""What models said, from a run folder: predictions and frame scores of its trials, pseudo-labels, and who made these.

As in `tables`, the columns are the contract with whoever writes the folder.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.checks import (
    duplicate_windows,
    examples,
    first_line,
    is_plain_name,
    matrix,
    outside,
    shown,
    unknown,
    vector_problems,
)
from analysis.files import is_there, read_file
from analysis.parquet import Kind, read_classes, read_table
from analysis.tables import RunFolderError, require_folder

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
MEMBER_COLUMNS = ("trial_id", "weight", "macro_auc", "score_after", "correlation")
HUGE = 1e300


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


def read_pseudo_labels(path: Path) -> PseudoLabels:
    """Read and join ensemble/pseudo_labels/part-*.parquet of the run folder at `path`.

    Raises:
        RunFolderError: no part, a damaged part, parts with different classes, or values outside the contract.
    """
    path = Path(path)
    require_folder(path)
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
    require_folder(path)
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
    require_folder(path)
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


FRAME_COLUMNS: dict[str, Kind] = {
    "filename": Kind.TEXT,
    "start_s": Kind.NUMBER,
    "end_s": Kind.NUMBER,
    "label": Kind.TEXT,
    "frames_start_s": Kind.NUMBER,
    "frames_end_s": Kind.NUMBER,
    "scores": Kind.NUMBERS,
}


def read_frame_scores(path: Path, trial_id: str) -> pd.DataFrame | None:
    """trials/<trial_id>/frames.parquet of the run folder at `path`, where the search left it.

    Returns:
        A row a validation window and class worth showing: filename, start_s, end_s (of the window), label,
        frames_start_s, frames_end_s (what the equally long frames cover), scores (a list, 0..1). None without the file.

    Raises:
        RunFolderError: the file is damaged, or holds values outside the contract.
    """
    path = Path(path)
    file = path / "trials" / trial_id / "frames.parquet"
    if not is_there(file):
        return None
    problems: list[str] = []
    frames, _ = read_table(file, path, FRAME_COLUMNS, problems)
    if frames is not None:
        scores = frames["scores"].explode()  # a missing one of an empty list
        found = [outside(name, frames[name], -np.inf) for name in ("start_s", "frames_start_s", "frames_end_s")]
        found += [outside("scores", scores, 0, 1), "scores are missing; write one a frame." if scores.hasnans else ""]
        problems += [f"{file}: {problem}" for problem in found if problem]
    if problems or frames is None:
        raise RunFolderError(path, problems)
    return frames
