"""From which probability on a class counts as heard: thresholds of each class, shrunk towards that of all classes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.special import expit, logit

SHRINKAGE_POSITIVES = 2.0
"""A class with so many positive windows lies half-way between its own threshold and that of all classes.

On recorded scores of three data sets with 30, 60 and all labelled windows, 1 and 2 gave a higher macro F1 on other
soundscapes than no shrinkage in all nine cases, 10 in five of them (tests/sed_model/scores/test_thresholds.py).
"""
N_COMMON = 200
"""Thresholds that are tried for all classes together."""
LEAST, MOST = 1e-6, 1 - 1e-6
"""Thresholds stay within: their logits are finite, and silence, which is 0, is never heard."""


def f1_threshold(probabilities: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """The threshold of the highest F1, 0..1; of several the highest. Without a positive nothing is heard.

    It is half-way between two neighbouring probabilities.
    """
    cuts, n_right, n_heard = _cuts(probabilities, positive)
    if not positive.any():
        return float(cuts[0])
    return float(cuts[(2 * n_right / (n_heard + positive.sum())).argmax()])


def precision_threshold(
    probabilities: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], precision: float
) -> float:
    """The lowest threshold at which so large a share of what is heard is right; where none is, nothing is heard."""
    cuts, n_right, n_heard = _cuts(probabilities, positive)
    return float(cuts[np.flatnonzero(n_right >= precision * n_heard)[-1]])


def common_f1_threshold(
    probabilities: Float[np.ndarray, "windows classes"], positive: Bool[np.ndarray, "windows classes"]
) -> float:
    """The one threshold with which the mean F1 of the classes that have a positive is highest, 0..1.

    Not the F1 of all cells together, which a few frequent classes decide: its threshold is too high for rare ones.
    """
    if not positive.any():
        return MOST
    tried = np.unique(np.quantile(probabilities[positive], np.linspace(0, 1, N_COMMON), method="nearest"))
    total = np.zeros(len(tried))
    for column, is_positive in zip(probabilities.T, positive.T, strict=True):
        if n_positive := int(is_positive.sum()):
            n_heard = len(column) - np.searchsorted(np.sort(column), tried)
            n_right = n_positive - np.searchsorted(np.sort(column[is_positive]), tried)
            total += 2 * n_right / np.maximum(n_heard + n_positive, 1)
    return float(np.clip(tried[total.argmax()], LEAST, MOST))


def _cuts(
    probabilities: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " cuts"], Int[np.ndarray, " cuts"], Int[np.ndarray, " cuts"]]:
    """Thresholds from the highest down, none of them at a probability; what each finds rightly, and at all."""
    order = np.argsort(-probabilities, kind="stable")
    values = probabilities[order].astype(np.float64)
    ends = np.flatnonzero(np.diff(values, append=-1.0))  # equal probabilities are heard together
    below = np.append(values[ends[1:]], 0.0)
    cuts = np.append((1 + values[0]) / 2, (values[ends] + below) / 2)
    n_right = np.append(0, np.cumsum(positive[order])[ends])
    return np.clip(cuts, LEAST, MOST), n_right, np.append(0, ends + 1)


def shrunk_threshold(own: float, of_all: float, n_positive: int, strength: float = SHRINKAGE_POSITIVES) -> float:
    """A class's threshold, drawn towards that of all classes: the fewer positive windows, the more.

    The mean of their logits, with weights `n_positive` and `strength`: the mean of a posterior whose prior is worth
    `strength` observations, as in empirical Bayes (Efron and Morris 1975). The best threshold of few positives fits
    their noise (Lewis et al. 1996; Fan and Lin 2007, "A study on threshold selection for multi-label classification").
    """
    share = n_positive / (n_positive + strength) if n_positive else 0.0
    return float(expit(share * logit(own) + (1 - share) * logit(of_all)))


def f1_per_class(
    heard: Bool[np.ndarray, "windows classes"], positive: Bool[np.ndarray, "windows classes"]
) -> Float64[np.ndarray, " classes"]:
    """F1 of each class, 0..1; NaN for a class without a positive."""
    n_positive = positive.sum(axis=0)
    n_right = (heard & positive).sum(axis=0)
    return np.where(n_positive > 0, 2 * n_right / np.maximum(heard.sum(axis=0) + n_positive, 1), np.nan)
