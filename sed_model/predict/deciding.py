"""The decisions of an ensemble: fitted on what each member says of windows that it has not learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sed_model.core.errors import CheckpointError
from sed_model.core.texts import counted
from sed_model.predict.ensemble import Ensemble
from sed_model.run_folder.decisions import (
    ClassDecision,
    DecidingMember,
    Decisions,
    read_decisions,
    write_decisions,
)
from sed_model.run_folder.metrics import POSITIVE_FROM
from sed_model.run_folder.predictions import read_predictions
from sed_model.scores.deciding import Join, JudgedWindows, calibrated_classes, fit, held_out, joined


def decisions_of(
    path: Path, folders: Sequence[Path], ensemble: Ensemble, precision: float | None, report: Callable[[str], None]
) -> Decisions:
    """The decisions that lie at `path`, or new ones where there are none of these models; they are written there.

    Args:
        folders: of the members, with their validation predictions.
        precision: the share of right ones that thresholds aim at; None: the best F1.

    Raises:
        CheckpointError: `path` is damaged; or predictions are missing, damaged, of other classes, or of nothing found.
    """
    known = read_decisions(path)
    if known and _facts(known) == _facts_of(ensemble, precision):
        report(f"decisions of these models are there already: {path}")
        return known
    made = make_decisions(folders, ensemble, precision)
    write_decisions(path, made)
    report(f"decisions       {path}")
    return made


def make_decisions(folders: Sequence[Path], ensemble: Ensemble, precision: float | None) -> Decisions:
    """Calibrations and thresholds by the members' validation predictions.

    Raises:
        CheckpointError: see `decisions_of`.
    """
    windows, join = judged_windows(folders, ensemble), mean_of(ensemble)
    if not windows.positive.any():
        raise CheckpointError(
            f"{folders[0]}: no class is in a window that validates, so none can be decided; label some."
        )
    fitted = fit(windows, join, precision)
    overall, of_classes = held_out(windows, join, precision)
    lineages = [member.lineage for member in ensemble.members]
    members = zip(lineages, fitted.members, strict=True)
    classes = tuple(
        ClassDecision(
            label=label,
            n_positive=int(windows.positive[:, place].sum()),
            platt=fitted.classes[place],
            is_calibrated_alone=fitted.alone[place],
            threshold=float(fitted.thresholds[place]),
            held_out=of_classes[place],
        )
        for place, label in enumerate(ensemble.classes)
    )
    return Decisions(
        precision=precision,
        windows="folds" if any(one.validation == "folds" for one in lineages) else "soundscapes",
        n_windows=len(windows.files),
        n_files=len(np.unique(windows.files)),
        members=tuple(DecidingMember(weights_sha256=one.weights_sha256, platt=platt) for one, platt in members),
        weights=ensemble.joining.weights,
        threshold=fitted.common,
        classes=classes,
        held_out=overall,
    )


def judged_windows(folders: Sequence[Path], ensemble: Ensemble) -> JudgedWindows:
    """All windows that members were validated on, each with who may judge it.

    Raises:
        CheckpointError: predictions are missing or damaged, of other classes, or members were told other labels.
    """
    said = [read_predictions(folder) for folder in folders]
    for folder, one in zip(folders, said, strict=True):
        if one.classes != ensemble.classes:
            raise CheckpointError(
                f"{folder}: its validation predictions are of other classes than the models; train again."
            )
    places = {window: place for place, window in enumerate(sorted({window for one in said for window in one.windows}))}
    targets = np.full((len(places), len(ensemble.classes)), np.nan, np.float32)
    scores = np.zeros((len(said), *targets.shape), np.float32)
    allowed = np.zeros(scores.shape[:2], bool)
    for member, one in enumerate(said):
        rows = np.array([places[window] for window in one.windows])
        earlier = targets[rows]
        if (differs := ~np.isnan(earlier) & (earlier != one.targets)).any():
            window = one.windows[int(differs.any(axis=1).argmax())]
            raise CheckpointError(
                f"{folders[member]}: {window[0]} was labelled otherwise for other members; leave one out."
            )
        targets[rows], scores[member, rows], allowed[member, rows] = one.targets, one.probabilities, True
    names = np.array([filename for filename, _, _ in places])
    return JudgedWindows(scores, allowed, targets >= POSITIVE_FROM, np.unique(names, return_inverse=True)[1])


def decide(
    decisions: Decisions, ensemble: Ensemble, by_member: Float[np.ndarray, "members windows classes"]
) -> NDArray[np.float64]:
    """The members' scores of windows -> calibrated probabilities [windows, classes], to be held against thresholds."""
    every = np.ones(by_member.shape[:2], bool)
    together = joined(by_member, every, [one.platt for one in decisions.members], mean_of(ensemble))
    return calibrated_classes(together, [one.platt for one in decisions.classes])


def mean_of(ensemble: Ensemble) -> Join:
    """The members' weighted mean, whatever the ensemble's method: a vote or a maximum is no probability."""
    return replace(ensemble, joining=replace(ensemble.joining, method="mean")).combine


def _facts(decisions: Decisions) -> tuple[object, ...]:
    shas = tuple(one.weights_sha256 for one in decisions.members)
    return shas, decisions.weights, decisions.precision, tuple(one.label for one in decisions.classes)


def _facts_of(ensemble: Ensemble, precision: float | None) -> tuple[object, ...]:
    shas = tuple(member.lineage.weights_sha256 for member in ensemble.members)
    return shas, ensemble.joining.weights, precision, ensemble.classes


def decision_lines(decisions: Decisions) -> list[str]:
    """What the decisions are worth, to be told."""
    aim = "the best F1" if decisions.precision is None else f"a precision of {decisions.precision:g}"
    of = "labelled soundscapes" if decisions.windows == "soundscapes" else "recordings of a fold"
    n_alone = sum(one.is_calibrated_alone for one in decisions.classes)
    lines = [
        f"thresholds for {aim} by {counted(decisions.n_windows, 'window')} of {decisions.n_files} {of}; {n_alone} of "
        f"{len(decisions.classes)} classes calibrated alone, the others by all"
    ]
    if decisions.windows == "folds":
        lines.append("recordings are no soundscapes: what calls there is nearer and louder; label some soundscapes")
    if (told := decisions.held_out) is None:
        return [*lines, "one file cannot tell what the thresholds are worth on others; label more"]
    return [
        *lines,
        f"macro F1 on files that had no part in it: {told.f1:.3f} ({told.f1_at_half:.3f} at .5 of the scores as they "
        f"are, {told.f1_unshrunk:.3f} with each class's own threshold)",
    ]
