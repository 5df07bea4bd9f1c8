"""Predictions of an ensemble -> pseudo-labels: pure functions on arrays and tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy  # which imports its parts when they are first used
from jaxtyping import Bool, Float, Float32, Float64, Shaped
from numpy.typing import NDArray

from sed_model.config.sed_config import Pseudo
from sed_model.core.errors import ConfigError
from sed_model.run_folder.predictions import PSEUDO_LABEL_SCHEMA

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


def smooth(
    probabilities: Float[np.ndarray, "windows classes"], centre: float
) -> Float32[np.ndarray, "windows classes"]:
    """Weight each window with its two neighbours, (1 - centre) / 2 each; a missing neighbour is the window itself."""
    side = (1 - centre) / 2
    before = np.concatenate([probabilities[:1], probabilities[:-1]])
    after = np.concatenate([probabilities[1:], probabilities[-1:]])
    return (centre * probabilities + side * (before + after)).astype(np.float32)


def smooth_files(
    probabilities: Float[np.ndarray, "windows classes"], filenames: Sequence[str], centre: float
) -> Float32[np.ndarray, "windows classes"]:
    """`smooth` in each soundscape by itself; its windows lie together, in the order of time."""
    names = np.asarray(filenames, dtype=object)
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1), len(names)]
    smoothed = np.empty(probabilities.shape, np.float32)
    for first, end in pairwise(starts):
        smoothed[first:end] = smooth(probabilities[first:end], centre)
    return smoothed


def silence(
    probabilities: Float[np.ndarray, "windows classes"], is_silent: Bool[np.ndarray, " windows"]
) -> Float32[np.ndarray, "windows classes"]:
    """Set the windows without sound to 0."""
    return np.where(is_silent[:, None], 0, probabilities).astype(np.float32)


def label_table(
    windows: pd.DataFrame, probabilities: Float[np.ndarray, "windows classes"], classes: Sequence[str]
) -> pd.DataFrame:
    """Windows (filename, start_s, end_s, disagreement, from_validation) with their best class.

    `confidence` is the probability of that class, and so is the `weight` of the window in a loss. `from_validation`
    (False where the column is missing): a member was validated on this file.
    """
    best, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    marked = windows.get("from_validation", pd.Series(False, index=windows.index))
    return windows[["filename", "start_s", "end_s", "disagreement"]].assign(
        primary_label=[classes[index] for index in best],
        confidence=confidence,
        probabilities=list(probabilities),
        weight=confidence,
        from_validation=marked,
    )


def apply_rules(
    table: pd.DataFrame, classes: Sequence[str], settings: Pseudo, n_real: int
) -> tuple[pd.DataFrame, dict[str, int]]:
    """All rules in turn on a table of `label_table`; the kept windows, and how many each rule left.

    Args:
        n_real: recordings of the training data; `max_share` counts by them.
    """
    agreed = keep_agreeing(table, settings.max_disagreement)
    confident = keep_confident(agreed, classes, settings)
    capped = cap_classes(confident, settings.max_per_class)
    max_rows = int(settings.max_share * n_real)
    kept = cap_balanced(capped, max_rows) if settings.balance else cap_confident(capped, max_rows)
    counts = {
        "windows": len(table),
        "agreed": len(agreed),
        "confident": len(confident),
        "class_cap": len(capped),
        "kept": len(kept),
    }
    return kept, counts


def keep_agreeing(table: pd.DataFrame, max_disagreement: float) -> pd.DataFrame:
    """The windows whose members differ by no more than this standard deviation."""
    return table[table["disagreement"] <= max_disagreement].reset_index(drop=True)


def keep_confident(table: pd.DataFrame, classes: Sequence[str], settings: Pseudo) -> pd.DataFrame:
    """The windows whose best class is above `keep_window`; `labels` lists their classes above `keep_class`.

    `probabilities` become soft targets: 0 for classes that are neither listed nor above `trim`, the others to the power
    `power`; the largest is the `weight`. A window without any listed class is left out: it would be taken for a window
    in which nothing calls.
    """
    least = max(settings.keep_window, settings.keep_class)
    kept = table[table["confidence"] > least].reset_index(drop=True)
    names = np.asarray(classes, dtype=object)
    before = np.asarray(kept["probabilities"].tolist(), np.float32).reshape(len(kept), len(classes))
    labels = [list(names[row]) for row in before > settings.keep_class]
    targets = soft_targets(before, min(settings.trim, settings.keep_class), settings.power)
    return kept.assign(
        probabilities=pd.Series(list(targets), dtype=object),
        labels=pd.Series(labels, dtype=object),
        weight=targets.max(axis=1, initial=0),
    )


def soft_targets(
    probabilities: Float[np.ndarray, "windows classes"], trim: float, power: float
) -> Float32[np.ndarray, "windows classes"]:
    """p ** power where p is above `trim`, else 0 (as the winners of BirdCLEF 2025 did it)."""
    return np.where(probabilities > trim, probabilities**power, 0).astype(np.float32)


def cap_classes(table: pd.DataFrame, max_per_class: int) -> pd.DataFrame:
    """The most confident windows of each primary label, at most so many (0: all); in table order."""
    if not max_per_class:
        return table
    return table[_place_in_class(table) <= max_per_class].reset_index(drop=True)


def cap_balanced(table: pd.DataFrame, max_rows: int) -> pd.DataFrame:
    """At most `max_rows` rows: the best of each class first, then the second best of each, ...; in table order."""
    ranked = table.assign(place=_place_in_class(table))
    order = ranked.sort_values(["place", "confidence"], ascending=[True, False], kind="stable")
    return table.loc[order.index[:max_rows].sort_values()].reset_index(drop=True)


def cap_confident(table: pd.DataFrame, max_rows: int) -> pd.DataFrame:
    """At most `max_rows` rows, the most confident; in table order."""
    order = table.sort_values("confidence", ascending=False, kind="stable")
    return table.loc[order.index[:max_rows].sort_values()].reset_index(drop=True)


def _place_in_class(table: pd.DataFrame) -> pd.Series:
    return table.groupby("primary_label")["confidence"].rank(method="first", ascending=False)


def to_arrow(table: pd.DataFrame, classes: Sequence[str], n_members: int) -> pa.Table:
    """The table in the run folder's format; the order of `probabilities` is in the metadata as `classes`."""
    columns = table.assign(n_members=np.int32(n_members))[PSEUDO_LABEL_SCHEMA.names]
    arrays = [pa.array(columns[field.name].tolist(), type=field.type) for field in PSEUDO_LABEL_SCHEMA]
    schema = PSEUDO_LABEL_SCHEMA.with_metadata({"classes": json.dumps(list(classes))})
    return pa.Table.from_arrays(arrays, schema=schema)
