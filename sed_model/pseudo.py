"""Predictions of an ensemble -> pseudo-labels: pure functions on arrays and tables."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from jaxtyping import Bool, Float, Float32

from sed_model.config import Pseudo
from sed_model.errors import ConfigError

COMBINE_METHODS = ("mean", "max", "vote")
PSEUDO_LABEL_SCHEMA = pa.schema(
    [
        ("filename", pa.string()),
        ("start_s", pa.float32()),
        ("end_s", pa.float32()),
        ("primary_label", pa.string()),
        ("confidence", pa.float32()),
        ("labels", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float32())),
        ("n_members", pa.int32()),
        ("disagreement", pa.float32()),
        ("weight", pa.float32()),
    ]
)


def combine(
    probabilities: Float[np.ndarray, "members windows classes"], method: str
) -> Float32[np.ndarray, "windows classes"]:
    """One probability from all members: their mean, their maximum, or the share of them that is above 0.5 (vote)."""
    if method == "mean":
        combined = probabilities.mean(axis=0)
    elif method == "max":
        combined = probabilities.max(axis=0)
    elif method == "vote":
        combined = (probabilities > 0.5).mean(axis=0)
    else:
        raise ConfigError(f"method={method}: unknown; use one of {', '.join(COMBINE_METHODS)}.")
    return combined.astype(np.float32)


def disagreement(probabilities: Float[np.ndarray, "members windows classes"]) -> Float32[np.ndarray, " windows"]:
    """Standard deviation over the members for the class that they score highest together, 0..0.5."""
    top = probabilities.mean(axis=0).argmax(axis=1)
    return probabilities[:, np.arange(len(top)), top].std(axis=0).astype(np.float32)


def smooth(
    probabilities: Float[np.ndarray, "windows classes"], centre: float
) -> Float32[np.ndarray, "windows classes"]:
    """Weight each window with its two neighbours, (1 - centre) / 2 each; a missing neighbour is the window itself."""
    side = (1 - centre) / 2
    before = np.concatenate([probabilities[:1], probabilities[:-1]])
    after = np.concatenate([probabilities[1:], probabilities[-1:]])
    return (centre * probabilities + side * (before + after)).astype(np.float32)


def silence(
    probabilities: Float[np.ndarray, "windows classes"], is_silent: Bool[np.ndarray, " windows"]
) -> Float32[np.ndarray, "windows classes"]:
    """Set the windows without sound to 0."""
    return np.where(is_silent[:, None], 0, probabilities).astype(np.float32)


def label_table(
    windows: pd.DataFrame, probabilities: Float[np.ndarray, "windows classes"], classes: Sequence[str]
) -> pd.DataFrame:
    """Windows (filename, start_s, end_s, disagreement) with their best class.

    `confidence` is the probability of that class, and so is the `weight` of the window in a loss.
    """
    best, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    return windows[["filename", "start_s", "end_s", "disagreement"]].assign(
        primary_label=[classes[index] for index in best],
        confidence=confidence,
        probabilities=list(probabilities),
        weight=confidence,
    )


def keep_confident(table: pd.DataFrame, classes: Sequence[str], settings: Pseudo) -> pd.DataFrame:
    """The windows whose best class is above `keep_window`; `labels` lists their classes above `keep_class`.

    Probabilities of the classes that are not listed become 0. A window without any is left out: it would be taken for
    a window in which nothing calls.
    """
    least = max(settings.keep_window, settings.keep_class)
    kept = table[table["confidence"] > least].reset_index(drop=True)
    names = np.asarray(classes, dtype=object)
    probabilities = [np.where(row > settings.keep_class, row, 0).astype(np.float32) for row in kept["probabilities"]]
    labels = [list(names[row > 0]) for row in probabilities]
    return kept.assign(probabilities=pd.Series(probabilities, dtype=object), labels=pd.Series(labels, dtype=object))


def cap_balanced(table: pd.DataFrame, max_rows: int) -> pd.DataFrame:
    """At most `max_rows` rows: the best of each class first, then the second best of each, ...; in table order."""
    place = table.groupby("primary_label")["confidence"].rank(method="first", ascending=False)
    order = table.assign(place=place).sort_values(["place", "confidence"], ascending=[True, False], kind="stable")
    return table.loc[order.index[:max_rows].sort_values()].reset_index(drop=True)


def to_arrow(table: pd.DataFrame, classes: Sequence[str], n_members: int) -> pa.Table:
    """The table in the run folder's format; the order of `probabilities` is in the metadata as `classes`."""
    columns = table.assign(n_members=np.int32(n_members))[PSEUDO_LABEL_SCHEMA.names]
    arrays = [pa.array(columns[field.name].tolist(), type=field.type) for field in PSEUDO_LABEL_SCHEMA]
    schema = PSEUDO_LABEL_SCHEMA.with_metadata({"classes": json.dumps(list(classes))})
    return pa.Table.from_arrays(arrays, schema=schema)
