"""ROC-AUC of validation predictions over bootstrap resamples of the files."""

import numpy as np

from sed_model.run_folder.metrics import POSITIVE_FROM


def mean_of_classes(aucs: np.ndarray) -> np.ndarray:
    """The mean over the last axis, float64 [..]: NaN stands for a class that does not count, and where none does."""
    n_scored = (~np.isnan(aucs)).sum(axis=-1)
    means = np.full(aucs.shape[:-1], np.nan)
    return np.divide(np.nansum(aucs, axis=-1), n_scored, out=means, where=n_scored > 0)


def weighted_macro_aucs(target: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The macro AUC under each of many weightings of the windows, float64 [resamples]; NaN where no class counts.

    A weight of 2 is a window drawn twice, 0 one not drawn.

    Args:
        target: labels in 0..1, [windows, classes].
        probabilities: scores, [windows, classes].
        weights: how often each window counts, [resamples, windows].
    """
    return mean_of_classes(weighted_class_aucs(target, probabilities, weights))


def weighted_class_aucs(target: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """`auc_per_class` under each weighting, float64 [resamples, classes]; NaN where a class has no pair. See above.

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
