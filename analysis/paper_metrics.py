"""The metrics of `sed_model.run_folder.window_metrics` with bootstrap intervals over the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # scikit-learn brings it

from sed_model.run_folder import window_metrics
from sed_model.run_folder.metrics import POSITIVE_FROM
from sed_model.run_folder.predictions import OutOfFold
from sed_model.run_folder.resampling import draws_of_files, mean_of_classes, weighted_class_aps, weighted_class_aucs
from sed_model.run_folder.window_metrics import Said, often, padded_aps, top1_accuracies

METRICS = {name: metric.title for name, metric in window_metrics.METRICS.items()} | {"cmap": "cmAP (macro AP)"}
"""Column -> what people call it."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
        n_resamples: of the files, with replacement.
        confidence: share of the resamples within an interval, 0..1.
    """

    seed: int = 0
    n_resamples: int = 200
    confidence: float = 0.95


@dataclass(frozen=True)
class Resampled:
    """AUC and average precision of each class, [1 + resamples, classes]: of all windows, then of resampled files."""

    weights: np.ndarray
    aucs: np.ndarray
    aps: np.ndarray
    confidence: float


def resample(scored: OutOfFold, bootstrap: Bootstrap) -> Resampled:
    """What the intervals of all metrics are made of."""
    names, of_window = np.unique(np.asarray(scored.files, dtype=str), return_inverse=True)
    weights = file_weights(len(names), bootstrap)[:, of_window]
    with threadpool_limits(1, user_api="blas"):  # the products are small
        aucs = weighted_class_aucs(scored.targets, scored.probabilities, weights)
        aps = weighted_class_aps(scored.targets, scored.probabilities, weights)
    return Resampled(weights, aucs, aps, bootstrap.confidence)


def file_weights(n_files: int, bootstrap: Bootstrap) -> np.ndarray:
    """How often each file counts, [1 + resamples, files]: once, then as it is drawn; one file is not drawn."""
    n_resamples = bootstrap.n_resamples if n_files > 1 else 0
    draws = draws_of_files(n_files, n_resamples, np.random.default_rng(bootstrap.seed))
    return np.concatenate([np.ones((1, n_files)), draws])


def metric_table(scored: OutOfFold, resampled: Resampled) -> pd.DataFrame:
    """A row a metric: metric, value, low, high, n_classes (that it is the mean of; NaN for top-1).

    NaN stands where a metric is not defined: no class with a positive (and, for the AUC, a negative); padded cmAP of
    scores outside 0..1; an interval of fewer than two files.
    """
    said = Said(scored.targets, scored.probabilities, resampled.weights)
    with threadpool_limits(1, user_api="blas"):
        of_padded = padded_aps(said)
    of_classes = {
        "macro_auc": resampled.aucs,
        "cmap": resampled.aps,
        "cmap5": resampled.aps[:, often(scored.targets)],
        "padded_cmap": of_padded,
    }
    rows: list[tuple[str, float, float, float, float]] = []
    for name, values in of_classes.items():
        n_classes = (~np.isnan(values[0])).sum()
        rows.append((name, *interval(mean_of_classes(values), resampled.confidence), float(n_classes)))
    rows.append(("top1", *interval(top1_accuracies(said), resampled.confidence), float("nan")))
    return pd.DataFrame(rows, columns=["metric", "value", "low", "high", "n_classes"])


def class_metrics(scored: OutOfFold, resampled: Resampled) -> pd.DataFrame:
    """A row a class, by average precision, the worst first: label, n_windows and n_files (that hold it), auc, auc_low,
    auc_high, ap, ap_low, ap_high; NaN where it is not defined.
    """
    positive, files = scored.targets >= POSITIVE_FROM, np.asarray(scored.files, dtype=object)
    table = pd.DataFrame(
        {
            "label": scored.classes,
            "n_windows": positive.sum(axis=0),
            "n_files": [len(set(files[column])) for column in positive.T],
        }
    )
    for name, values in (("auc", resampled.aucs), ("ap", resampled.aps)):
        intervals = [interval(column, resampled.confidence) for column in values.T]
        table[[name, f"{name}_low", f"{name}_high"]] = np.array(intervals).reshape(-1, 3)
    return table.sort_values(["ap", "label"], na_position="last", ignore_index=True)


def site_metrics(scored: OutOfFold, sites: Sequence[str], bootstrap: Bootstrap) -> pd.DataFrame:
    """A row a site, in order: site, n_windows, n_files, and value, low and high of each metric; empty without sites."""
    rows = []
    for site in sorted(set(sites) - {""}):
        here = np.flatnonzero(np.asarray(sites, dtype=object) == site)
        windows = tuple(scored.windows[row] for row in here)
        part = OutOfFold(scored.classes, windows, scored.targets[here], scored.probabilities[here])
        counts = {"site": site, "n_windows": len(here), "n_files": len(set(part.files))}
        for row in metric_table(part, resample(part, bootstrap)).to_dict("records"):
            name = str(row["metric"])
            counts |= {name: row["value"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        rows.append(counts)
    return pd.DataFrame(rows)


def interval(of_draws: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """The value, which comes first, and the interval of the values of resamples, which follow it."""
    value, drawn = of_draws[0], of_draws[1:][~np.isnan(of_draws[1:])]
    if np.isnan(value) or not len(drawn):
        return float(value), float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(value), float(low), float(high)
