"""Which models make a good ensemble, by their predictions on validation windows: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # which imports its parts when they are first used
from jaxtyping import Float, Shaped
from numpy.typing import NDArray

from sed_model.core.errors import DataError
from sed_model.run_folder.metrics import macro_auc

MAX_STEPS = 50
"""Members chosen by `greedy`, repetitions counted."""
LEAST_GAIN = 1e-9
"""Less is rounding."""

Join = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""(probabilities [members, windows, classes], weights [members]) -> probabilities [windows, classes]."""
Choose = Callable[[NDArray[Any], NDArray[Any]], Sequence["Step"]]
"""(targets [windows, classes], probabilities [models, windows, classes]) -> steps."""


@dataclass(frozen=True)
class Step:
    """A model that joined the ensemble, and the macro AUC of the ensemble with it."""

    model: int
    score: float


def greedy(
    targets: Shaped[np.ndarray, "windows classes"],
    by_model: Float[np.ndarray, "models windows classes"],
    join: Join,
    max_members: int,
) -> list[Step]:
    """Forward selection with replacement (Caruana et al. 2004): each step adds the model that helps most.

    Starts from the best single model and stops when none gains anything. Of equal ones the first is taken: have the
    models in the order of a ranking. A model that is chosen twice weighs twice.

    Args:
        max_members: different models at most.

    Raises:
        DataError: the macro AUC of the windows is undefined.
    """
    steps: list[Step] = []
    times = np.zeros(len(by_model), int)
    while len(steps) < MAX_STEPS:
        full = np.count_nonzero(times) >= max_members
        best: Step | None = None
        for model in np.flatnonzero(times) if full else range(len(by_model)):
            times[model] += 1
            score = joined_score(targets, by_model, times, join)
            times[model] -= 1
            if best is None or score > best.score + LEAST_GAIN:
                best = Step(int(model), score)
        if best is None or (steps and best.score <= steps[-1].score + LEAST_GAIN):
            break
        steps.append(best)
        times[best.model] += 1
    return steps


def in_order(
    targets: Shaped[np.ndarray, "windows classes"], by_model: Float[np.ndarray, "models windows classes"], join: Join
) -> list[Step]:
    """Every model once, in the given order."""
    equal = np.ones(len(by_model), int)
    return [
        Step(last, joined_score(targets, by_model[: last + 1], equal[: last + 1], join))
        for last in range(len(by_model))
    ]


def joined_score(
    targets: Shaped[np.ndarray, "windows classes"],
    by_model: Float[np.ndarray, "models windows classes"],
    weights: Shaped[np.ndarray, " models"],
    join: Join,
) -> float:
    """Macro AUC of the models that have a weight, joined."""
    chosen = np.flatnonzero(weights)
    return macro_auc(targets, join(by_model[chosen], weights[chosen]))


def times_chosen(steps: Sequence[Step], n_models: int) -> NDArray[np.int64]:
    """How often each model was chosen; over their sum these are its weight."""
    return np.bincount([step.model for step in steps], minlength=n_models).astype(np.int64)


def cross_validated(
    targets: Shaped[np.ndarray, "windows classes"],
    by_model: Float[np.ndarray, "models windows classes"],
    groups: Sequence[str],
    join: Join,
    choose: Choose,
) -> float | None:
    """Macro AUC of an ensemble on windows that it was not chosen by; a choice's own score is too good to be true.

    Every second group (soundscape or recordist, by name) makes one half; each half is scored by what the other one
    chooses. None where a half has no class with both positives and negatives.
    """
    names = sorted(set(groups))
    first = np.isin(np.asarray(groups, dtype=object), names[::2])
    scores = []
    for chosen_by in (first, ~first):
        try:
            steps = choose(targets[chosen_by], by_model[:, chosen_by])
            weights = times_chosen(steps, len(by_model))
            scores.append(joined_score(targets[~chosen_by], by_model[:, ~chosen_by], weights, join))
        except DataError:
            return None
    return float(np.mean(scores))


def rank_correlations(by_model: Float[np.ndarray, "models windows classes"]) -> Float[np.ndarray, "models models"]:
    """Spearman's correlation of each pair, -1..1, the mean over the classes; near 1 they know the same.

    A class for which a model gives the same value everywhere is passed over; NaN where no class is left.
    """
    ranks = [scipy.stats.rankdata(rows, axis=0) for rows in by_model]
    centred = [rows - rows.mean(axis=0) for rows in ranks]
    norms = [np.sqrt((rows**2).sum(axis=0)) for rows in centred]
    correlations = np.full((len(by_model), len(by_model)), np.nan)
    for row, column in np.ndindex(correlations.shape):
        scale = norms[row] * norms[column]
        if (varies := scale > 0).any():
            products = (centred[row] * centred[column]).sum(axis=0)
            correlations[row, column] = np.clip((products[varies] / scale[varies]).mean(), -1, 1)
    return correlations
