"""The tables of a run folder: their columns, and their rows as they are written, read and checked."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sed_model.core.errors import DataError
from sed_model.core.files import read_parquet
from sed_model.core.paths import is_file

TRIAL_FIELDS = pa.schema(
    [
        ("trial_id", pa.string()),
        ("number", pa.int64()),
        ("status", pa.string()),
        ("macro_auc", pa.float64()),
        ("stage", pa.string()),
        ("epoch", pa.int64()),
        ("epochs", pa.int64()),
        ("duration_s", pa.float64()),
        ("params_m", pa.float64()),
        ("cpu_ms_per_window", pa.float64()),
        ("fold", pa.int64()),
        ("seed", pa.int64()),
        ("error", pa.string()),
        ("drawn_by", pa.string()),
        ("on_front", pa.bool_()),
        ("refit_mean", pa.float64()),
        ("refit_sd", pa.float64()),
        ("n_refits", pa.int64()),
        ("split", pa.string()),
    ]
)
"""One row per trial; `macro_auc` is its best, reached in `stage` and `epoch`; `epochs` is how many it ran.

`split` is the digest of the files that validated it. `drawn_by`: default (the base configuration), quasi-random, or the
method that learned from the scores so far. `on_front`: no other trial has a better score at no higher CPU time.
Finalists that were trained again on other folds, or with other seeds, have the mean and the standard deviation of these
`n_refits` scores; the score that chose them is none of these. A pruned finalist was also trained to its end: its model,
and with it `macro_auc`, `stage` and `epoch`, are of that training; `epochs` stays what the search ran of it.
"""
REFIT_FIELDS = pa.schema(
    [
        ("trial_id", pa.string()),
        ("number", pa.int64()),
        ("fold", pa.int64()),
        ("seed", pa.int64()),
        ("split", pa.string()),
        ("macro_auc", pa.float64()),
        ("epochs", pa.int64()),
        ("duration_s", pa.float64()),
        ("error", pa.string()),
    ]
)
CURVE_FIELDS = pa.schema(
    [
        ("trial_id", pa.string()),
        ("stage", pa.string()),
        ("epoch", pa.int64()),
        ("stage_epoch", pa.int64()),
        ("train_loss", pa.float64()),
        ("val_loss", pa.float64()),
        ("macro_auc", pa.float64()),
        ("lr", pa.float64()),
        ("samples_per_s", pa.float64()),
        ("best_macro_auc", pa.float64()),
    ]
)
"""One row per trial and epoch. `best_macro_auc` is the best so far, which begins anew after a stage with
cross-entropy; it is what rungs and Optuna compare. Runs of earlier releases lack it."""
STATUSES = ("complete", "pruned", "failed", "running")
NEVER_MISSING = frozenset({"trial_id", "number", "status", "macro_auc"})
"""What no table of trials lacks, whichever release wrote it."""


def trial_id(number: int) -> str:
    """Name of a trial and of its folder."""
    return f"trial_{number:04d}"


def trial_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The fixed columns with their types, then the configuration's, typed by their values."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith("config."))
    arrays = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in TRIAL_FIELDS]
    fields = list(TRIAL_FIELDS)
    for name in names:
        values = [row.get(name) for row in rows]
        kind = _column_type(values)
        arrays.append(pa.array([kind.cast(value) for value in values], type=kind.type))
        fields.append(pa.field(name, kind.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


@dataclass(frozen=True)
class _Kind:
    type: pa.DataType
    python: type

    def cast(self, value: Any) -> Any:
        return None if value is None else self.python(value)


def _column_type(values: Sequence[Any]) -> _Kind:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return _Kind(pa.bool_(), bool)
    if kinds == {int}:
        return _Kind(pa.int64(), int)
    if kinds and kinds <= {int, float}:
        return _Kind(pa.float64(), float)
    return _Kind(pa.string(), str)


def read_rows(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a table, or none where there is no file; some of the fixed columns, or all there are.

    Raises:
        DataError: the table is damaged, or no table of a search.
    """
    if not os.path.lexists(path):
        return []
    try:
        if not is_file(path):
            raise ValueError("it is no file")
        rows: list[dict[str, Any]] = read_parquet(path, schema, set(schema.names) - NEVER_MISSING, columns).to_pylist()
        for row in rows:
            _check_keys(row)
            _check_values(row)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DataError(f"{path}: is damaged ({reason}); restore it, or start a new search.") from None
    return rows


def _check_keys(row: Mapping[str, Any]) -> None:
    """Raises ValueError for a row that names no trial; paths are made of the name."""
    empty = [name for name in ("trial_id", "number", "status") if name in row and row[name] is None]
    if empty:
        raise ValueError(f"column {empty[0]} has an empty cell")
    if "number" in row and row["trial_id"] != trial_id(row["number"]):
        raise ValueError(f"trial_id {row['trial_id']!r} is not that of number {row['number']}")


def _check_values(row: Mapping[str, Any]) -> None:
    """Raises ValueError for a row that no search has written."""
    score, epoch = row.get("macro_auc"), row.get("epoch")
    if score is not None and not math.isnan(score) and not 0 <= score <= 1:
        raise ValueError(f"macro_auc {score} of {row['trial_id']} is not within 0 and 1")
    if "status" in row and row["status"] not in STATUSES:
        raise ValueError(f"status {row['status']!r:.40} of {row['trial_id']} is none of {', '.join(STATUSES)}")
    if epoch is not None and epoch < 0:
        raise ValueError(f"epoch {epoch} of {row['trial_id']} is below 0")
