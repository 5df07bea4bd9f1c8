"""ROC-AUC and average precision of predictions over bootstrap resamples of the files."""

from typing import Any

import numpy as np

from sed_model.run_folder.metrics import POSITIVE_FROM


def mean_of_classes(aucs: np.ndarray) -> np.ndarray:
    """The mean over the last axis, float64 [..]: NaN stands for a class that does not count, and where none does."""
    n_scored = (~np.isnan(aucs)).sum(axis=-1)
    means = np.full(aucs.shape[:-1], np.nan)
    return np.divide(np.nansum(aucs, axis=-1), n_scored, out=means, where=n_scored > 0)


def weighted_macro_aucs(
    target: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, parts: np.ndarray | None = None
) -> np.ndarray:
    """The macro AUC under each of many weightings of the windows, float64 [resamples]; NaN where no class counts.

    A weight of 2 is a window drawn twice, 0 one not drawn.

    Args:
        target: labels in 0..1, [windows, classes].
        probabilities: scores, [windows, classes].
        weights: how often each window counts, [resamples, windows].
        parts: which model scored each window, [windows]: only windows of one model are compared. None: one scored all.
    """
    return mean_of_classes(weighted_class_aucs(target, probabilities, weights, parts))


def class_aucs(target: np.ndarray, probabilities: np.ndarray, parts: np.ndarray | None = None) -> np.ndarray:
    """The AUC of each class, float64 [classes], over pairs of windows that one model scored: see above.

    Models of several parts are each of a calibration of their own. Pairs across them say how these differ, which is
    nothing that a ranking by one model, or by the mean of all, would meet: macro AUC was .06 to .11 too low by them.
    """
    return np.asarray(weighted_class_aucs(target, probabilities, np.ones((1, len(target))), parts)[0])


def weighted_class_aucs(
    target: np.ndarray, probabilities: np.ndarray, weights: np.ndarray, parts: np.ndarray | None = None
) -> np.ndarray:
    """`auc_per_class` under each weighting, float64 [resamples, classes]; NaN where a class has no pair. See above.

    The pairs of a class are compared once for all resamples, which makes a bootstrap over hundreds of classes
    affordable; scikit-learn gives the same values one at a time.
    """
    weights = weights.astype(np.float32)
    n_won, n_pairs = np.zeros((2, len(weights), target.shape[1]))
    for of_part in _rows_of(parts):
        for index in range(target.shape[1]):
            counts = _pairs(target[of_part, index], probabilities[of_part, index], weights[:, of_part])
            n_won[:, index] += counts[0]
            n_pairs[:, index] += counts[1]
    return np.divide(n_won, n_pairs, out=np.full(n_won.shape, np.nan), where=n_pairs > 0)


def weighted_class_aps(
    target: np.ndarray, scores: np.ndarray, weights: np.ndarray, parts: np.ndarray | None = None
) -> np.ndarray:
    """The average precision of each class under each weighting, float64 [resamples, classes]; NaN without a positive.

    The mean over the positives of the share of positives among all windows (of the same part) that score at least as
    much: the area under the steps of the precision-recall curve, ties taken together, as scikit-learn and torchmetrics
    have it. See above.
    """
    weights = weights.astype(np.float32)
    total, n_positive = np.zeros((2, len(weights), target.shape[1]))
    for of_part in _rows_of(parts):
        for index in range(target.shape[1]):
            sums = _precisions(target[of_part, index], scores[of_part, index], weights[:, of_part])
            total[:, index] += sums[0]
            n_positive[:, index] += sums[1]
    return np.divide(total, n_positive, out=np.full(total.shape, np.nan), where=n_positive > 0)


def _rows_of(parts: np.ndarray | None) -> list[Any]:
    """The windows of each part; None: all windows are of one."""
    return [slice(None)] if parts is None else [np.flatnonzero(parts == part) for part in np.unique(parts)]


def _precisions(target: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the positives' precisions, and their number, under each weighting."""
    positive = target >= POSITIVE_FROM
    not_below = (scores[:, None] >= scores[positive]).astype(np.float32)
    drawn = weights[:, positive]
    n_right = (drawn @ not_below[positive]).astype(np.float64)
    precision = np.divide(n_right, weights @ not_below, out=np.zeros_like(n_right), where=n_right > 0)
    return (precision * drawn).sum(axis=1), drawn.sum(axis=1, dtype=np.float64)


def _pairs(target: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a positive and a negative that are ordered rightly, and all of them, under each weighting."""
    positive = target >= POSITIVE_FROM
    drawn_positive = weights[:, positive]
    n_positive = drawn_positive.sum(axis=1, dtype=np.float64)
    n_won = weights @ _win_shares(scores, positive)
    n_won_drawn = (n_won * drawn_positive).sum(axis=1, dtype=np.float64)
    return n_won_drawn, n_positive * (weights.sum(axis=1, dtype=np.float64) - n_positive)


def draws_of_files(n_files: int, n_resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each file is drawn in each bootstrap resample, int64 [resamples, files]."""
    return rng.multinomial(n_files, np.full(n_files, 1 / n_files), size=n_resamples)


def _win_shares(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """float32 [windows, positives]: 1 where the positive beats the window, a half at a tie; 0 for positive windows.

    The rows of positives stay in: taking them out of the weights of all resamples costs more than multiplying zeros.
    """
    negative = ~positive[:, None]
    shares = np.zeros((len(scores), int(positive.sum())), dtype=np.float32)
    shares[negative & (scores[:, None] < scores[positive])] = 1.0
    shares[negative & (scores[:, None] == scores[positive])] = 0.5
    return shares
