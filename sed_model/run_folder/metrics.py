"""The one definition of the scores: ROC-AUC of each class and their mean (macro); average precision of each class.

For the AUC a class counts when it has at least one positive and one negative; a soft target is a positive from 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped
from numpy.typing import NDArray

from sed_model.core.errors import DataError, TrainingError

POSITIVE_FROM = 0.5
"""A soft target is a positive from here, in losses, mixing and metrics alike."""


def auc_per_class(
    targets: Shaped[np.ndarray, "rows classes"], scores: Shaped[np.ndarray, "rows classes"]
) -> Float64[np.ndarray, " classes"]:
    """ROC-AUC of each class, 0..1; NaN for a class without a positive or without a negative.

    The share of (positive, negative) pairs that the scores order rightly, ties counting half (Mann-Whitney U), so any
    increasing scale of scores will do.

    Raises:
        DataError: the shapes differ, or a target is NaN.
        TrainingError: a score is NaN.
    """
    return _per_class(_auc, targets, scores)


def macro_auc(targets: Shaped[np.ndarray, "rows classes"], scores: Shaped[np.ndarray, "rows classes"]) -> float:
    """Mean ROC-AUC over the classes that have both a positive and a negative.

    Raises:
        DataError: no class has both, the shapes differ, or a target is NaN.
        TrainingError: a score is NaN.
    """
    auc = auc_per_class(targets, scores)
    defined = auc[~np.isnan(auc)]
    if defined.size == 0:
        n_rows, n_classes = targets.shape
        n_with_positive = int((targets >= POSITIVE_FROM).any(axis=0).sum())
        raise DataError(
            f"macro AUC is undefined over {n_rows} rows: {n_with_positive} of {n_classes} classes have a positive, "
            "none has both a positive and a negative; validate on more rows (more labelled soundscapes, another "
            "data.fold, or fewer data.n_folds)."
        )
    return float(defined.mean())


def ap_per_class(
    targets: Shaped[np.ndarray, "rows classes"], scores: Shaped[np.ndarray, "rows classes"]
) -> Float64[np.ndarray, " classes"]:
    """Average precision of each class, 0..1; NaN for a class without a positive. Ties are taken together.

    `resampling.weighted_class_aps` gives the same; it compares each pair, which is worth it for many resamples.

    Raises:
        DataError: the shapes differ, or a target is NaN.
        TrainingError: a score is NaN.
    """
    return _per_class(_average_precision, targets, scores)


def _per_class(
    of_class: Callable[[NDArray[Any], NDArray[Any]], float], targets: NDArray[Any], scores: NDArray[Any]
) -> NDArray[np.float64]:
    """What `of_class` makes of the scores of the positives and of the negatives of each class."""
    _check(targets, scores)
    # Columns become contiguous rows, in a type that sorts fast (float16 does not) and keeps every tie.
    scores_by_class = np.ascontiguousarray(scores.T, dtype=np.result_type(scores.dtype, np.float32))
    positives_by_class = np.ascontiguousarray(targets.T) >= POSITIVE_FROM
    columns = zip(scores_by_class, positives_by_class, strict=True)
    return np.array([of_class(values[positive], values[~positive]) for values, positive in columns], dtype=np.float64)


def _average_precision(positive_scores: NDArray[Any], negative_scores: NDArray[Any]) -> float:
    if not positive_scores.size:
        return float("nan")
    positive_scores, negative_scores = np.sort(positive_scores), np.sort(negative_scores)
    right = positive_scores.size - np.searchsorted(positive_scores, positive_scores, side="left")
    wrong = negative_scores.size - np.searchsorted(negative_scores, positive_scores, side="left")
    return float((right / (right + wrong)).mean())


def _auc(positive_scores: NDArray[Any], negative_scores: NDArray[Any]) -> float:
    n_pairs = positive_scores.size * negative_scores.size
    if n_pairs == 0:
        return float("nan")
    if positive_scores.size > negative_scores.size:
        return 1.0 - _auc(negative_scores, positive_scores)
    # Sorted look-ups stay in the cache: with many positives three times as fast as unsorted ones.
    positive_scores, negative_scores = np.sort(positive_scores), np.sort(negative_scores)
    below = np.searchsorted(negative_scores, positive_scores, side="left").sum()
    not_above = np.searchsorted(negative_scores, positive_scores, side="right").sum()
    return float(below + not_above) / (2 * n_pairs)


def _check(targets: NDArray[Any], scores: NDArray[Any]) -> None:
    if targets.ndim != 2 or targets.shape != scores.shape:
        raise DataError(
            f"targets have shape {targets.shape} and scores {scores.shape}; both have to be [rows, classes] alike."
        )
    if np.isnan(targets).any():
        row, column = np.argwhere(np.isnan(targets))[0]
        raise DataError(f"targets hold NaN, first in row {row}, class {column}; repair the label table.")
    unordered = np.isnan(scores)
    if unordered.any():
        row, column = np.argwhere(unordered)[0]
        raise TrainingError(
            f"{int(unordered.sum())} of {scores.size} scores are NaN, first in row {row}, class {column}: the model "
            "has diverged; lower the stage's lr or set optim.precision=fp32."
        )
