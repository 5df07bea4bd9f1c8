"""Scores of windows that models have not learned from -> what probability a score is, and from which on a class counts.

Each member's scores become probabilities by a fit of its own, on the windows that it has not heard, before members are
joined: models of several parts of the labels each have a calibration of their own. (So does scikit-learn's
CalibratedClassifierCV with `ensemble=True`.) The joined probabilities are calibrated by class where it has positives
enough, and thresholds are chosen on these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from sed_model.run_folder.decisions import ClassHeldOut, HeldOut, Platt
from sed_model.scores.calibration import calibrated, fit_platt
from sed_model.scores.thresholds import (
    SHRINKAGE_POSITIVES,
    common_f1_threshold,
    f1_per_class,
    f1_threshold,
    precision_threshold,
    shrunk_threshold,
)

LEAST_POSITIVES = 30
"""So many positive windows make a calibration of their own; a class with fewer has that of all classes, a member with
fewer that of all members. (With 10 the macro F1 on other soundscapes fell on two of three recorded data sets.)"""
N_HELD_OUT = 4
"""Parts of the files, each of which is decided by what is fitted on the others."""
HALF = 0.5
Join = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.float32]]
"""Members' probabilities and which members may judge each window -> one probability each."""


@dataclass(frozen=True)
class JudgedWindows:
    """Labelled windows with what the members say that have not learned from them.

    Attributes:
        scores: of the members as they are; where a member may not judge, anything.
        allowed: which member may judge which window; some may each.
        files: a number for the file of each window.
    """

    scores: Float[np.ndarray, "members windows classes"]
    allowed: Bool[np.ndarray, "members windows"]
    positive: Bool[np.ndarray, "windows classes"]
    files: NDArray[np.intp]

    def take(self, chosen: Bool[np.ndarray, " windows"]) -> JudgedWindows:
        return JudgedWindows(self.scores[:, chosen], self.allowed[:, chosen], self.positive[chosen], self.files[chosen])


@dataclass(frozen=True)
class Fitted:
    """Calibrations of the members and of the classes, and thresholds of the calibrated probabilities.

    Attributes:
        alone: whether a class has a calibration of its own; `own_thresholds` are not shrunk towards `common`.
    """

    members: tuple[Platt, ...]
    classes: tuple[Platt, ...]
    alone: tuple[bool, ...]
    thresholds: NDArray[np.float64]
    own_thresholds: NDArray[np.float64]
    common: float

    def probabilities(
        self, scores: Float[np.ndarray, "members windows classes"], allowed: NDArray[np.bool_], join: Join
    ) -> NDArray[np.float64]:
        """What the members' scores of windows are, calibrated; windows that are silent for all stay 0."""
        return calibrated_classes(joined(scores, allowed, self.members, join), self.classes)


def joined(
    scores: Float[np.ndarray, "members windows classes"],
    allowed: Bool[np.ndarray, "members windows"],
    platts: Sequence[Platt],
    join: Join,
) -> NDArray[np.float32]:
    """The members' calibrated probabilities as one; 0 of a window that is silence, with a score of 0, to each."""
    each = [calibrated(one, platt) for one, platt in zip(scores, platts, strict=True)]
    return join(np.stack(each).astype(np.float32), allowed)


def calibrated_classes(
    probabilities: Float[np.ndarray, "windows classes"], platts: Sequence[Platt]
) -> NDArray[np.float64]:
    columns = [calibrated(column, platt) for column, platt in zip(probabilities.T, platts, strict=True)]
    return np.stack(columns, axis=1)


def fit(windows: JudgedWindows, join: Join, precision: float | None = None) -> Fitted:
    """Calibrations and thresholds: of the best F1, or the lowest ones at which a share of `precision` is right."""
    members = _fit_members(windows)
    probabilities = joined(windows.scores, windows.allowed, members, join)
    of_all = _fit_heard(probabilities, windows.positive)
    n_positive = windows.positive.sum(axis=0)
    alone = n_positive >= LEAST_POSITIVES
    classes = tuple(
        _fit_heard(probabilities[:, place], windows.positive[:, place]) if alone[place] else of_all
        for place in range(len(n_positive))
    )
    sure = calibrated_classes(probabilities, classes)
    if precision is None:
        common = common_f1_threshold(sure, windows.positive)
        own = [f1_threshold(*columns) for columns in zip(sure.T, windows.positive.T, strict=True)]
    else:
        common = precision_threshold(sure.ravel(), windows.positive.ravel(), precision)
        own = [precision_threshold(*columns, precision) for columns in zip(sure.T, windows.positive.T, strict=True)]
    shrunk = [
        shrunk_threshold(one, common, int(n), SHRINKAGE_POSITIVES) for one, n in zip(own, n_positive, strict=True)
    ]
    return Fitted(members, classes, tuple(alone.tolist()), np.array(shrunk), np.array(own), common)


def _fit_members(windows: JudgedWindows) -> tuple[Platt, ...]:
    """Of each member on the windows that it may judge; of all together where those hold too few positives."""
    heard = [_fit_rows(windows, place) for place in range(len(windows.scores))]
    if all(n_positive >= LEAST_POSITIVES for _, _, n_positive in heard):
        return tuple(_fit_heard(scores, positive) for scores, positive, _ in heard)
    of_all = _fit_heard(np.concatenate([one for one, _, _ in heard]), np.concatenate([one for _, one, _ in heard]))
    return tuple(_fit_heard(*one[:2]) if one[2] >= LEAST_POSITIVES else of_all for one in heard)


def _fit_rows(windows: JudgedWindows, member: int) -> tuple[NDArray[np.float32], NDArray[np.bool_], int]:
    rows = windows.allowed[member]
    return windows.scores[member, rows], windows.positive[rows], int(windows.positive[rows].sum())


def _fit_heard(scores: NDArray[np.float32], positive: NDArray[np.bool_]) -> Platt:
    """Without silence, whose score of 0 no model has given."""
    heard = scores > 0
    return fit_platt(scores[heard], positive[heard]) if heard.any() else Platt(slope=1.0, intercept=0.0)


def held_out(
    windows: JudgedWindows, join: Join, precision: float | None = None, seed: int = 0
) -> tuple[HeldOut | None, list[ClassHeldOut]]:
    """What decisions are worth on files that they were not fitted on; of one file nothing is known."""
    files = np.unique(windows.files)
    n_classes = windows.positive.shape[1]
    if len(files) < 2 or not windows.positive.any():
        return None, [ClassHeldOut(precision=None, recall=None)] * n_classes
    parts = np.array_split(np.random.default_rng(seed).permutation(files), min(N_HELD_OUT, len(files)))
    heard, unshrunk = np.zeros((2, *windows.positive.shape), bool)
    for part in parts:
        rows = np.isin(windows.files, part)
        fitted = fit(windows.take(~rows), join, precision)
        sure = fitted.probabilities(windows.scores[:, rows], windows.allowed[:, rows], join)
        heard[rows], unshrunk[rows] = sure >= fitted.thresholds, sure >= fitted.own_thresholds
    at_half = join(windows.scores, windows.allowed) >= HALF
    f1, f1_at_half, f1_unshrunk = (
        float(np.nanmean(f1_per_class(one, windows.positive))) for one in (heard, at_half, unshrunk)
    )
    n_right = (heard & windows.positive).sum(axis=0)
    counts = zip(n_right, heard.sum(axis=0), windows.positive.sum(axis=0), strict=True)
    of_classes = [
        ClassHeldOut(precision=_share(n, n_heard), recall=_share(n, n_there)) for n, n_heard, n_there in counts
    ]
    return HeldOut(f1=f1, f1_at_half=f1_at_half, f1_unshrunk=f1_unshrunk), of_classes


def _share(n: np.integer, of: np.integer) -> float | None:
    return float(n / of) if of else None
