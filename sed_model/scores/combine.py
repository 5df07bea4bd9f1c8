"""Scores of several members -> one, and how far the members differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy  # which imports its parts when they are first used
from jaxtyping import Bool, Float, Float32, Float64, Int, Shaped
from numpy.typing import NDArray

from sed_model.core.errors import ConfigError

COMBINE_METHODS = ("mean", "power_mean", "max", "vote", "rank")
VOTE_FROM = 0.5
"""A member votes for a class above this."""


def combine(
    probabilities: Float[np.ndarray, "members windows classes"],
    method: str,
    weights: Shaped[np.ndarray, "members ..."] | None = None,
    exponent: float = 2.0,
) -> Float32[np.ndarray, "windows classes"]:
    """One probability from all members, by one of COMBINE_METHODS.

    `mean`; `power_mean`, whose `exponent` (1: the mean) draws it to the higher values; `max`; `vote`, the share of
    members above 0.5; `rank`, see `rank_average`.

    Args:
        weights: of the members, or of each member for each window; any scale. `max` only asks which are above 0. A
            window in which no member has a weight gets 0.

    Raises:
        ConfigError: the method is unknown.
    """
    shares = _shares(probabilities, weights)
    if method == "mean":
        combined = _weighted_sum(probabilities, shares)
    elif method == "power_mean":
        combined = _weighted_sum((rows.astype(np.float64) ** exponent for rows in probabilities), shares)
        combined **= 1 / exponent
    elif method == "max":
        combined = np.where(shares > 0, probabilities, 0).max(axis=0)
    elif method == "vote":
        combined = _weighted_sum((rows > VOTE_FROM for rows in probabilities), shares)
    elif method == "rank":
        combined = rank_average(probabilities, shares)
    else:
        raise ConfigError(f"method={method}: unknown; use one of {', '.join(COMBINE_METHODS)}.")
    # Rounding may leave 1.0000001, which is no probability.
    return np.clip(combined, 0, 1).astype(np.float32)


def weights_by_window(
    weights: Float[np.ndarray, " members"],
    runs: Int[np.ndarray, " members"],
    allowed: Bool[np.ndarray, "members windows"],
) -> Float64[np.ndarray, "members windows"]:
    """What each member counts for each window: 0 where it may not judge, and a run's others have its share then.

    The share of a run is the sum of its members' weights; a window that none of them may judge is left to other runs.
    """
    by_window: NDArray[np.float64] = np.asarray(weights, np.float64)[:, None] * allowed
    for run in np.unique(runs):
        own = runs == run
        left = by_window[own].sum(axis=0)
        by_window[own] *= weights[own].sum() / np.where(left > 0, left, 1)
    return by_window


def rank_average(
    probabilities: Float[np.ndarray, "members windows classes"], shares: Float[np.ndarray, "members windows 1"]
) -> Float[np.ndarray, "windows classes"]:
    """In each class the windows in the order of their average rank, with the sorted values of the mean.

    Members that are sure of themselves count no more than others; and thresholds still mean probabilities.
    """
    order = _weighted_sum((scipy.stats.rankdata(rows, axis=0) for rows in probabilities), shares)
    values = np.sort(_weighted_sum(probabilities, shares), axis=0)
    places = scipy.stats.rankdata(order, axis=0) - 1
    below = places.astype(int)
    above = np.minimum(below + 1, len(values) - 1)
    lower, upper = (np.take_along_axis(values, index, axis=0) for index in (below, above))
    return np.asarray(lower + (places - below) * (upper - lower))


def _shares(
    probabilities: Float[np.ndarray, "members windows classes"], weights: Shaped[np.ndarray, "members ..."] | None
) -> Float[np.ndarray, "members windows 1"]:
    n_members, n_windows, _ = probabilities.shape
    given = np.ones(n_members) if weights is None else np.asarray(weights, np.float64)
    by_window = np.broadcast_to(given.reshape(n_members, -1), (n_members, n_windows))
    total = by_window.sum(axis=0)
    return np.asarray(by_window / np.where(total > 0, total, 1))[:, :, None]


def _weighted_sum(
    members: Iterable[NDArray[Any]], shares: Float[np.ndarray, "members windows 1"]
) -> Float64[np.ndarray, "windows classes"]:
    """Member by member: all of them at once would take several times their memory."""
    total: NDArray[np.float64] = sum(rows * share for rows, share in zip(members, shares, strict=True))
    return total


def disagreement(
    probabilities: Float[np.ndarray, "members windows classes"],
    weights: Shaped[np.ndarray, "members ..."] | None = None,
) -> Float32[np.ndarray, " windows"]:
    """Standard deviation over the members for the class that they score highest together, 0..0.5."""
    shares = _shares(probabilities, weights)
    top = _weighted_sum(probabilities, shares).argmax(axis=1)
    scores = probabilities[:, np.arange(len(top)), top].astype(np.float64)
    mean = (shares[:, :, 0] * scores).sum(axis=0)
    variance = (shares[:, :, 0] * (scores - mean) ** 2).sum(axis=0)
    return np.minimum(np.sqrt(variance), 0.5).astype(np.float32)
