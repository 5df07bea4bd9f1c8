"""Scores -> probabilities that are right as often as they say: Platt's sigmoid, fitted on what was not trained on."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from scipy.special import expit, logit

from sed_model.run_folder.decisions import Platt

LEAST_SCORE = 1e-6
"""Scores are taken this far from 0 and 1."""


def fit_platt(scores: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> Platt:
    """The sigmoid of the scores' logits that makes the labels likeliest.

    A positive counts as (n+ + 1) / (n+ + 2) and a negative as 1 / (n- + 2), so that the fit is finite where scores
    separate the two (Platt 1999, "Probabilistic outputs for support vector machines"). A slope below 0 would turn the
    ranking round: it becomes 0, and every score the share of positives.

    Raises:
        ValueError: there is no score.
    """
    from sklearn.linear_model import LogisticRegression  # seconds to import

    n_positive, n = int(positive.sum()), len(positive)
    if not n:
        raise ValueError("no scores to calibrate by")
    told = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n - n_positive + 2))
    of_scores = logits(scores)
    if np.ptp(of_scores) > 0:
        twice = np.concatenate([of_scores, of_scores])[:, None]
        answers, weights = np.repeat([1, 0], n), np.concatenate([told, 1 - told])
        fitted = LogisticRegression(C=np.inf, solver="newton-cholesky").fit(twice, answers, sample_weight=weights)
        slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
        if slope > 0:
            return Platt(slope=slope, intercept=intercept)
    return Platt(slope=0.0, intercept=float(logit(told.mean())))


def calibrated(scores: Float[np.ndarray, "*rows"], platt: Platt) -> Float[np.ndarray, "*rows"]:
    """The probabilities of scores; a score of exactly 0 is silence, and stays 0."""
    return np.where(scores > 0, expit(platt.slope * logits(scores) + platt.intercept), 0.0)


def logits(scores: Float[np.ndarray, "*rows"]) -> NDArray[np.float64]:
    return logit(np.clip(scores.astype(np.float64), LEAST_SCORE, 1 - LEAST_SCORE))
