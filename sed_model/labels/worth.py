"""How right pseudo-labels are, judged where the truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool

from sed_model.config.sed_config import Pseudo
from sed_model.labels import rules
from sed_model.run_folder.metrics import POSITIVE_FROM

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def quality(
    table: pd.DataFrame, truth: Bool[np.ndarray, "windows classes"], classes: Sequence[str], settings: Pseudo
) -> dict[str, Any]:
    """Precision and recall of the labels that the rules keep, in all, by class and for other thresholds; no caps.

    A label is a class of a kept window in `labels`; recall counts what is in the windows that were not kept, too.

    Args:
        table: windows as `rules.label_table` makes them.
        truth: which classes are heard in them.
    """
    said = labelled_classes(table, classes, settings)
    by_class = {
        label: counts(said[:, [column]], truth[:, [column]])
        for column, label in enumerate(classes)
        if said[:, column].any() or truth[:, column].any()
    }
    return {
        "windows": len(table),
        "kept": int(said.any(axis=1).sum()),
        **counts(said, truth),
        "by_class": by_class,
        "by_keep_window": list(_by_threshold(table, truth, classes, settings)),
    }


def labelled_classes(
    table: pd.DataFrame, classes: Sequence[str], settings: Pseudo
) -> Bool[np.ndarray, "windows classes"]:
    """Which classes the rules write on each window; none on a window that is not kept."""
    numbered = table.assign(row=range(len(table)))
    kept = rules.keep_confident(rules.keep_agreeing(numbered, settings.max_disagreement), classes, settings)
    said = np.zeros((len(table), len(classes)), bool)
    columns = {label: column for column, label in enumerate(classes)}
    for row, labels in zip(kept["row"], kept["labels"], strict=True):
        said[row, [columns[label] for label in labels]] = True
    return said


def counts(said: Bool[np.ndarray, "windows classes"], truth: Bool[np.ndarray, "windows classes"]) -> dict[str, Any]:
    """`labels` given, `right` ones, `present` ones; precision = right / labels, recall = right / present, or None."""
    labels, right, present = int(said.sum()), int((said & truth).sum()), int(truth.sum())
    return {
        "labels": labels,
        "right": right,
        "present": present,
        "precision": right / labels if labels else None,
        "recall": right / present if present else None,
    }


def truth_of(labels: pd.DataFrame, classes: Sequence[str]) -> Bool[np.ndarray, "windows classes"]:
    """The columns of the classes as a matrix; a soft label is heard from 0.5."""
    return np.asarray(labels[list(classes)].to_numpy(np.float32) >= POSITIVE_FROM)


def _by_threshold(
    table: pd.DataFrame, truth: Bool[np.ndarray, "windows classes"], classes: Sequence[str], settings: Pseudo
) -> Iterator[dict[str, Any]]:
    for threshold in sorted({*THRESHOLDS, settings.keep_window}):
        update = {"keep_window": threshold, "keep_class": min(threshold, settings.keep_class)}
        said = labelled_classes(table, classes, settings.model_copy(update=update))
        in_use = threshold == settings.keep_window
        yield {"keep_window": threshold, "in_use": in_use, "kept": int(said.any(axis=1).sum()), **counts(said, truth)}


def lines(report: dict[str, Any]) -> list[str]:
    """What to print of `quality`: a line for each threshold, that of the rules among them."""
    table = [f"{'keep_window':>11} {'kept':>6} {'labels':>7} {'precision':>9} {'recall':>7}"]
    table += [
        f"{row['keep_window']:>11g} {row['kept']:>6} {row['labels']:>7} {_share(row['precision']):>9} "
        f"{_share(row['recall']):>7}{'  in use' * row['in_use']}"
        for row in report["by_keep_window"]
    ]
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
