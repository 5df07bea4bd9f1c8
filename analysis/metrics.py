"""Macro ROC-AUC of validation predictions, once and over bootstrap resamples of the files."""

import numpy as np
from sklearn.metrics import roc_auc_score

POSITIVE_FROM = 0.5


def class_aucs(target: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """ROC-AUC of each class, float64 [classes]; NaN for a class without a positive (target >= 0.5) or a negative.

    Args:
        target: labels in 0..1, [windows, classes]; soft labels are positive from 0.5.
        probabilities: scores, [windows, classes].
    """
    positive = target >= POSITIVE_FROM
    aucs = np.full(positive.shape[1], np.nan)
    for index in np.flatnonzero(positive.any(axis=0) & ~positive.all(axis=0)):
        aucs[index] = roc_auc_score(positive[:, index], probabilities[:, index])
    return aucs


def macro_auc(target: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean ROC-AUC over the classes with at least one positive and one negative; NaN where no class has both."""
    aucs = class_aucs(target, probabilities)
    scored = aucs[~np.isnan(aucs)]
    return float(scored.mean()) if len(scored) else float("nan")


def weighted_macro_aucs(target: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`macro_auc` under each of many weightings of the windows, float64 [resamples]; NaN where no class counts.

    A weight of 2 is a window drawn twice, 0 one not drawn.

    Args:
        target: labels in 0..1, [windows, classes].
        probabilities: scores, [windows, classes].
        weights: how often each window counts, [resamples, windows].
    """
    aucs = weighted_class_aucs(target, probabilities, weights)
    n_scored = (~np.isnan(aucs)).sum(axis=1)
    means = np.full(len(weights), np.nan)
    np.divide(np.nansum(aucs, axis=1), n_scored, out=means, where=n_scored > 0)
    return means


def weighted_class_aucs(target: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`class_aucs` under each weighting, float64 [resamples, classes]; NaN where a class has no pair. See above.

    The pairs of a class are compared once for all resamples, which makes a bootstrap over hundreds of classes
    affordable; scikit-learn gives the same values one at a time.
    """
    weights = weights.astype(np.float32)
    n_drawn = weights.sum(axis=1, dtype=np.float64)
    aucs = np.full((len(weights), target.shape[1]), np.nan)
    for index in range(target.shape[1]):
        positive = target[:, index] >= POSITIVE_FROM
        drawn_positive = weights[:, positive]
        n_positive = drawn_positive.sum(axis=1, dtype=np.float64)
        n_won = weights @ _win_shares(probabilities[:, index], positive)
        n_won_drawn = (n_won * drawn_positive).sum(axis=1, dtype=np.float64)
        n_pairs = n_positive * (n_drawn - n_positive)
        np.divide(n_won_drawn, n_pairs, out=aucs[:, index], where=n_pairs > 0)
    return aucs


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
