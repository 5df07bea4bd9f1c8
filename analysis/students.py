"""Where the pseudo-labels changed things: a student against the teacher that labelled for it, class by class."""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.predictions import PseudoLabels, oof_path, read_delivered_mean, read_oof
from analysis.tables import Run, RunFolderError, read_run
from sed_model.core.paths import is_file, is_folder, is_there
from sed_model.run_folder.leaderboard import finalists
from sed_model.run_folder.line_to_beat import teacher_folder
from sed_model.run_folder.metrics import POSITIVE_FROM
from sed_model.run_folder.predictions import OutOfFold
from sed_model.run_folder.resampling import class_aucs
from sed_model.run_folder.window_metrics import MACRO_AUC, metric_in

CHANGE_COLUMNS = ("label", "n_positive", "n_labels", "teacher_auc", "student_auc", "gain")


def label_counts(labels: PseudoLabels) -> pd.DataFrame:
    """The pseudo-labels of each class, commonest first: label, n_windows (that carry it), n_primary, mean_confidence.

    mean_confidence is that of the windows where the class is the primary label, NaN where it is none's.
    """
    carried = labels.table["labels"].explode().value_counts()
    primary = labels.table.groupby("primary_label")["confidence"].agg(["size", "mean"])
    table = pd.DataFrame({"label": labels.classes})
    table["n_windows"] = table["label"].map(carried).fillna(0).astype("int64")
    table["n_primary"] = table["label"].map(primary["size"]).fillna(0).astype("int64")
    table["mean_confidence"] = table["label"].map(primary["mean"]).astype("float64")
    return table.sort_values("n_windows", ascending=False, ignore_index=True, kind="stable")


def related_run(run: Run) -> tuple[Path, Path] | None:
    """Folders of teacher and student: of the run and its teacher, or else of the run and its last student round."""
    if isinstance(run.search.get("teacher"), str):
        found = teacher_folder(run.path, run.search)
        return None if found is None else (found, run.path)
    rounds = [folder for folder in run.path.parent.glob(f"{_literal(run.path.name)}-student-*") if _round(folder) > 0]
    rounds = [folder for folder in rounds if is_file(folder / "trials.parquet")]
    return (run.path, max(rounds, key=_round)) if rounds else None


def labels_place(run: Path, pair: tuple[Path, Path] | None) -> tuple[Path, str]:
    """The run folder, and the folder in it, with the labels that the student learned from, or else with the run's own.

    Args:
        pair: teacher and student, as from `related_run`.
    """
    if pair is None:
        return run, "ensemble"
    teacher, student = pair
    return (student, "taught") if is_folder(student / "taught") else (teacher, "ensemble")


def teacher_and_student(teacher: Path, student: Path, labels: PseudoLabels | None) -> pd.DataFrame:
    """ROC-AUC of each class before and after a student learned from the labels, the greatest loss first.

    Both are what the run delivers, or else its best trial that has predictions. Where they were validated on other
    windows, only those that both saw count.

    Returns:
        label, n_positive (common windows with the class), n_labels (pseudo-labelled windows with it; 0 without labels),
        teacher_auc, student_auc, gain (student minus teacher; NaN where the class cannot be scored).

    Raises:
        RunFolderError: a folder without predictions, of other classes, or without a common window.
    """
    before, after = (best_predictions(path) for path in (teacher, student))
    if before.classes != after.classes:
        raise RunFolderError(student, [f"its classes are not those of {teacher.name}; compare runs of one data set."])
    keys = [pd.MultiIndex.from_tuples(oof.windows) for oof in (before, after)]
    common = keys[0].intersection(keys[1])
    if common.empty:
        raise RunFolderError(student, [f"it was validated on other windows than {teacher.name}; nothing to compare."])
    rows = [key.get_indexer(common) for key in keys]
    target = before.targets[rows[0]]
    table = pd.DataFrame(
        {
            "label": before.classes,
            "n_positive": (target >= POSITIVE_FROM).sum(axis=0),
            "teacher_auc": _aucs(before, rows[0]),
            "student_auc": _aucs(after, rows[1]),
        }
    )
    counts = {} if labels is None else label_counts(labels).set_index("label")["n_windows"].to_dict()
    table["n_labels"] = [int(counts.get(label, 0)) for label in table["label"]]
    table["gain"] = table["student_auc"] - table["teacher_auc"]
    return table.sort_values("gain", ignore_index=True, kind="stable", na_position="last")[list(CHANGE_COLUMNS)]


def _aucs(said: OutOfFold, rows: np.ndarray) -> np.ndarray:
    """Of each class, on some of the windows."""
    parts = None if said.parts is None else said.parts[rows]
    return class_aucs(said.targets[rows], said.probabilities[rows], parts)


def best_predictions(path: Path) -> OutOfFold:
    """Validation predictions of what the run folder at `path` delivers, or else of its best trial.

    Raises:
        RunFolderError: there are none, or they are damaged.
    """
    delivered = read_delivered_mean(path)
    return read_oof(path, best_with_predictions(read_run(path))) if delivered is None else delivered


def best_with_predictions(run: Run) -> str:
    """The best scored trial that has an oof.parquet.

    Raises:
        RunFolderError: there is none.
    """
    columns = dict.fromkeys(["trial_id", "number", "status", MACRO_AUC, metric_in(run.trials.columns)])
    rows = run.trials[list(columns)].to_dict("records")
    for row in finalists(rows, len(rows)):
        if is_there(oof_path(run.path, row["trial_id"])):
            return str(row["trial_id"])
    raise RunFolderError(run.path, ["no trial has validation predictions (trials/*/oof.parquet)."])


def _round(folder: Path) -> int:
    number = folder.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _literal(name: str) -> str:
    """A name as a glob pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def mean_gain(changes: pd.DataFrame) -> float:
    """The mean gain over the classes that could be scored; NaN where none could."""
    gains = changes["gain"].dropna().to_numpy()
    return float(np.mean(gains)) if len(gains) else float("nan")
