"""What a search that learns from a probe of a foreign model has to beat: the score of that probe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sed_model.core.errors import UserError
from sed_model.core.paths import is_file
from sed_model.core.texts import first_line
from sed_model.run_folder.delivered import read_delivered
from sed_model.run_folder.folder import RunFolder, is_probe
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.window_metrics import MACRO_AUC, METRICS, OTHERS

COLUMNS = ("trial_id", "number", "status", "macro_auc", "refit_mean", "split")
FILES = {"soundscapes": "soundscapes", "folds": "recordings"}
"""What validates, by the kind of the split."""


def teacher_folder(run: Path, record: Mapping[str, Any], file: str = "trials.parquet") -> Path | None:
    """The run that a run learned from, as its search.yaml (`record`) says; None where it is not here with that `file`.

    A folder that was moved with its teacher beside it is still found.
    """
    teacher = record.get("teacher")
    if not isinstance(teacher, str):
        return None
    places = (Path(teacher), run.parent / Path(teacher).name)
    return next((place for place in places if is_file(place / file)), None)


def line_to_beat(run: Path, record: Mapping[str, Any], splits: Iterable[str | None]) -> str:
    """One sentence about the score of the probe that a run learned from, or nothing where there is none.

    Args:
        record: search.yaml of the run.
        splits: the column `split` of its trials. A score is told only where the probe was validated on the same files.
    """
    folder = teacher_folder(run, record)
    if folder is None:
        return ""
    teacher = RunFolder(folder)
    try:
        return _told(teacher, {split for split in splits if split}, _name(record)) if is_probe(teacher) else ""
    except UserError as error:
        return f"The score of the teacher's probe cannot be read: {first_line(error)}"


def _name(record: Mapping[str, Any]) -> str:
    """What names the probe's score in the text of a search that goes by another metric."""
    search = record.get("search")
    metric = search.get("metric") if isinstance(search, dict) else None
    return f"{METRICS[MACRO_AUC].title} " if metric in OTHERS else ""


def _told(teacher: RunFolder, splits: set[str], name: str) -> str:
    trials = teacher.read_trials(COLUMNS)
    best, delivered = best_trials([{**row, "refit_mean": None} for row in trials], 1), read_delivered(teacher.path)
    if not best or not splits:
        return ""
    if splits != {row["split"] for row in trials}:
        return "The teacher's probe was validated on other files: its score is not comparable."
    split = teacher.read_search()["data"].get("split")
    files = FILES.get(split.get("kind", ""), "files") if isinstance(split, dict) else "files"
    alone = f"{best[0]['macro_auc']:.4f}"
    if delivered is None:
        return f"The line to beat: the teacher's probe has {name}{alone} on the same {files}."
    return (
        f"The line to beat: the teacher's probe has {name}{delivered.macro_auc:.4f} on the same {files}, and {alone} "
        "where it learned from none of them."
    )
