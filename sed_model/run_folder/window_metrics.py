"""The metrics of windows scored by class, by name: those that a search may go by, and that analysis.score tells.

macro AUC: mean ROC-AUC, as the competitions since 2024 score. cmAP: mean of the classes' average precision (also called
macro AP). cmAP5: the same over classes with at least five windows (BirdSet, Rauch et al. 2024). Padded cmAP: as
BirdCLEF 2023 scored, with five windows more that hold every class and score 1. Top-1: the share of windows with a call
whose best-scored class is in them.

Of windows that models of several parts scored, only windows of one model are compared (see `resampling.class_aucs`):
the AUC is over such pairs, and a positive's precision is that among the windows of its part.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from sed_model.core.errors import DataError
from sed_model.run_folder.metrics import POSITIVE_FROM, ap_per_class, macro_auc
from sed_model.run_folder.resampling import mean_of_classes, weighted_class_aps, weighted_macro_aucs

MACRO_AUC = "macro_auc"
N_PADDED = 5
FROM_WINDOWS = 5
"""Windows that a class of cmAP5 is in at least."""


@dataclass(frozen=True)
class Said:
    """What models said of windows.

    Attributes:
        targets: labels in 0..1, [windows, classes].
        scores: [windows, classes].
        weights: how often each window counts, [resamples, windows]; None: once, in one resample.
        parts: which model scored each window, [windows]; None: one scored all.
    """

    targets: np.ndarray
    scores: np.ndarray
    weights: np.ndarray | None = None
    parts: np.ndarray | None = None

    @property
    def positive(self) -> np.ndarray:
        return self.targets >= POSITIVE_FROM

    @property
    def every_weight(self) -> np.ndarray:
        return np.ones((1, len(self.targets))) if self.weights is None else self.weights


@dataclass(frozen=True)
class Metric:
    """A metric: what people call it, when it is undefined, and its values, 0..1, float64 [resamples]."""

    title: str
    undefined: str
    of: Callable[[Said], np.ndarray]


def score(name: str, targets: np.ndarray, scores: np.ndarray, parts: np.ndarray | None = None) -> float:
    """The metric of that name, 0..1.

    Raises:
        DataError: the windows do not define it, the shapes differ, or a target is NaN.
        TrainingError: a score is NaN.
    """
    if name == MACRO_AUC and parts is None:
        return macro_auc(targets, scores)
    value = float(METRICS[name].of(Said(targets, scores, parts=parts))[0])
    if np.isnan(value):
        repair = (
            "validate on more (more labelled soundscapes, another data.fold, or fewer data.n_folds)"
            if parts is None
            else "label more soundscapes, or give --finalists 0"
        )
        raise DataError(
            f"{METRICS[name].title} is undefined over {len(targets)} windows: {METRICS[name].undefined}; {repair}."
        )
    return value


def often(targets: np.ndarray) -> np.ndarray:
    """Which classes cmAP5 is of, bool [classes]."""
    return np.asarray((targets >= POSITIVE_FROM).sum(axis=0) >= FROM_WINDOWS)


def padded(said: Said) -> Said:
    """The windows with those of padded cmAP. Each of several parts has its share of them."""
    parts = None if said.parts is None else np.unique(said.parts)
    n_parts = 1 if parts is None else len(parts)
    n_rows, n_classes = N_PADDED * n_parts, said.targets.shape[1]
    ones, weights = np.ones((n_rows, n_classes), np.float32), said.every_weight
    of_rows = np.full((len(weights), n_rows), 1 / n_parts)
    return Said(
        np.concatenate([said.targets, ones]),
        np.concatenate([said.scores, ones]),
        None if said.weights is None and parts is None else np.concatenate([weights, of_rows], axis=1),
        None if parts is None else np.concatenate([said.parts, np.repeat(parts, N_PADDED)]),
    )


def class_aps(said: Said) -> np.ndarray:
    """The average precision of each class, [resamples, classes]; NaN without a positive."""
    if said.weights is None and said.parts is None:
        return ap_per_class(said.targets, said.scores)[None]
    return weighted_class_aps(said.targets, said.scores, said.every_weight, said.parts)


def padded_aps(said: Said) -> np.ndarray:
    """The average precision of each class, padded, [resamples, classes]; NaN where scores are outside 0..1."""
    if said.scores.min() < 0 or said.scores.max() > 1:
        return np.full((len(said.every_weight), said.targets.shape[1]), np.nan)
    return class_aps(padded(said))


def top1_accuracies(said: Said) -> np.ndarray:
    """The share of windows with a call whose best class is in them, float64 [resamples]; NaN without such a window.

    Of several classes that score best alike, the share that is in the window counts.
    """
    positive, weights = said.positive, said.every_weight
    called = positive.any(axis=1)
    best = said.scores[called] == said.scores[called].max(axis=1, keepdims=True)
    right = (best & positive[called]).sum(axis=1) / best.sum(axis=1)
    n_windows = weights[:, called].sum(axis=1)
    return np.divide(weights[:, called] @ right, n_windows, out=np.full(len(weights), np.nan), where=n_windows > 0)


def _macro_aucs(said: Said) -> np.ndarray:
    return weighted_macro_aucs(said.targets, said.scores, said.every_weight, said.parts)


def _cmaps(said: Said) -> np.ndarray:
    return mean_of_classes(class_aps(said))


def _cmap5s(said: Said) -> np.ndarray:
    kept = often(said.targets)
    return mean_of_classes(class_aps(Said(said.targets[:, kept], said.scores[:, kept], said.weights, said.parts)))


def _padded_cmaps(said: Said) -> np.ndarray:
    return mean_of_classes(padded_aps(said))


METRICS = {
    MACRO_AUC: Metric(
        "macro AUC",
        "in no part of the labelled soundscapes has a class both windows with it and without it",
        _macro_aucs,
    ),
    "cmap": Metric("cmAP", "no class is in any of them", _cmaps),
    "cmap5": Metric("cmAP5", f"no class is in {FROM_WINDOWS} of them", _cmap5s),
    "padded_cmap": Metric("padded cmAP", "their scores leave 0..1", _padded_cmaps),
    "top1": Metric("top-1 accuracy", "no class is in any of them", top1_accuracies),
}
"""By the name of the column that holds it."""
OTHERS = tuple(name for name in METRICS if name != MACRO_AUC)
"""Those that only tables of searches by them have a column of."""


def score_text(name: str, value: float) -> str:
    """A score for people, who take one without a name for macro AUC."""
    return f"{value:.4f}" if name == MACRO_AUC else f"{METRICS[name].title} {value:.4f}"


def metric_of(rows: Iterable[Mapping[Any, Any]]) -> str:
    """What a search went by, as rows of its tables tell: all have macro AUC, those of another metric that as well."""
    return next((name for row in rows for name in OTHERS if row.get(name) is not None), MACRO_AUC)


def metric_in(columns: Collection[str]) -> str:
    """The same by the columns of a table, as it is read."""
    return next((name for name in OTHERS if name in columns), MACRO_AUC)
