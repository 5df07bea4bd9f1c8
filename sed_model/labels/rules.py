"""Joined predictions -> pseudo-labels: the rules that keep a window, and the table."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Float, Float32

from sed_model.config.sed_config import MAX_POWER, Pseudo
from sed_model.run_folder.predictions import PSEUDO_LABEL_SCHEMA


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

    So are those among the best `keep_top_share` of their best class: a rare class whose probabilities are all low would
    have none else. The best class of these is listed, however low it is, and its target is as low.

    `probabilities` become soft targets: 0 for classes that are neither listed nor above `trim`, the others to the power
    `power`; the largest is the `weight`. A window without any listed class is left out: it would be taken for a window
    in which nothing calls.
    """
    least, trim = max(settings.keep_window, settings.keep_class), min(settings.trim, settings.keep_class)
    is_best = among_best(table, settings.keep_top_share, trim)
    kept = table[(table["confidence"] > least) | is_best].reset_index(drop=True)
    names = np.asarray(classes, dtype=object)
    before = np.asarray(kept["probabilities"].tolist(), np.float32).reshape(len(kept), len(classes))
    listed = before > settings.keep_class
    listed |= (kept["confidence"] <= least).to_numpy()[:, None] & (names == kept["primary_label"].to_numpy()[:, None])
    labels = [list(names[row]) for row in listed]
    targets = soft_targets(before, trim, settings.power)
    return kept.assign(
        probabilities=pd.Series(list(targets), dtype=object),
        labels=pd.Series(labels, dtype=object),
        weight=targets.max(axis=1, initial=0),
    )


def among_best(table: pd.DataFrame, share: float, above: float) -> pd.Series:
    """Which windows are among the best `share` of those with the same best class, of those `above` this probability.

    So many are rounded up: each class with such a window has one, unless the share is 0.
    """
    counted = table[table["confidence"] > above]
    n_kept = np.ceil(share * counted.groupby("primary_label")["confidence"].transform("size"))
    best = (_place_in_class(counted) <= n_kept).to_numpy()
    return pd.Series(table.index.isin(counted.index[best]), index=table.index)


def power_in_round(number: int, settings: Pseudo) -> float:
    """Power of the labels that the students of a round learn from, counted from 1; at most MAX_POWER."""
    return min(MAX_POWER, settings.power * settings.power_growth ** (number - 1))


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
