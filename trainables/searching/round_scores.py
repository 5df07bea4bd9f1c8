"""What a round of students is worth against its teacher, on the files that validate both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sed_model.core.errors import CheckpointError
from sed_model.core.texts import counted
from sed_model.run_folder.delivered import DELIVERED_FILE, Lead, read_delivered
from sed_model.run_folder.folder import RunFolder
from sed_model.run_folder.leaderboard import best_trials
from sed_model.run_folder.out_of_fold import of_mean, score
from sed_model.run_folder.predictions import OutOfFold, read_predictions
from sed_model.run_folder.window_metrics import MACRO_AUC, metric_of
from sed_model.scores.leads import lead_over, resampled_scores


def predictions_of(run_dir: Path) -> OutOfFold:
    """What the finalists' mean, or else the best trial, says of what it has not heard."""
    delivered = read_delivered(run_dir)
    return read_predictions(best_folder(RunFolder(run_dir))) if delivered is None else of_mean(run_dir, delivered)


def best_folder(run: RunFolder) -> Path:
    """
    Raises:
        CheckpointError: no trial has a model.
    """
    best = best_trials(run.read_trials(), 1)
    if not best:
        raise CheckpointError(f"{run.path}: no trial has a model; see the errors above, and remove it to begin anew.")
    return run.trial(best[0]["number"])


def metric_of_run(run_dir: Path) -> str:
    return metric_of(RunFolder(run_dir).read_trials([MACRO_AUC]))


def score_of(run_dir: Path) -> float:
    """By the metric that the run went by."""
    return score(predictions_of(run_dir), metric_of_run(run_dir))


def lead_of(student: Path, teacher: Path) -> Lead:
    """Of a round over its teacher by the round's metric, in a paired bootstrap over the files that validate both.

    Raises:
        CheckpointError: predictions are damaged, or have no window in common.
    """
    new, old = predictions_of(student), predictions_of(teacher)
    place = {window: number for number, window in enumerate(old.windows)}
    common = [number for number, window in enumerate(new.windows) if window in place]
    if not common:
        raise CheckpointError(f"{student}: was validated on other windows than {teacher.name}; train the round anew.")
    after = of_windows(new, common)
    before = of_windows(old, [place[new.windows[number]] for number in common])
    metric = metric_of_run(student)
    resampled = [
        resampled_scores(one.targets, [one.probabilities], one.files, one.parts, metric=metric)[0]
        for one in (after, before)
    ]
    return lead_over(score(after, metric) - score(before, metric), resampled[0], resampled[1])


def of_windows(said: OutOfFold, numbers: Sequence[int]) -> OutOfFold:
    rows = list(numbers)
    windows, parts = tuple(said.windows[row] for row in rows), None if said.parts is None else said.parts[rows]
    return OutOfFold(said.classes, windows, said.targets[rows], said.probabilities[rows], parts)


def lead_text(lead: Lead) -> str:
    return f"{lead.mean:+.4f} ± {lead.se:.4f} over its teacher, better with a chance of {lead.p_better:.0%}"


def models_of(run: RunFolder) -> str:
    delivered = read_delivered(run.path)
    if delivered is None:
        return str(best_folder(run))
    return f"{counted(len(delivered.members), 'model')}, whose mean predict --run takes: {run.path / DELIVERED_FILE}"
