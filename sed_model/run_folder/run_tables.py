"""The tables of a run folder: their columns, and their rows as they are written, read and checked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from sed_model.core.errors import DataError
from sed_model.core.parquet import holds, read_parquet
from sed_model.core.texts import examples, shown
from sed_model.run_folder.checks import duplicates, empty, outside, unknown
from sed_model.run_folder.window_metrics import MACRO_AUC, METRICS, OTHERS

TRIAL_FIELDS = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
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
        ("macro_auc_se", pa.float64()),
    ]
)
"""One row per trial; `macro_auc` is its best, reached in `stage` and `epoch`; `epochs` is how many it ran.
`macro_auc_se` is the standard error of that score, by a bootstrap over the files that validate.

`split` is the digest of the files that validated it. `drawn_by`: default (the base configuration), portfolio (what did
well on other data), quasi-random, or the method that learned from the scores so far. `on_front`: no other trial has a
better score at no higher CPU time.
Finalists that were trained again on other folds, or with other seeds, have the mean and the standard deviation of these
`n_refits` scores; the score that chose them is none of these. A pruned finalist was also trained to its end: its model,
and with it `macro_auc`, `stage` and `epoch`, are of that training; `epochs` stays what the search ran of it. Finalists
that were trained on parts of the soundscapes have the score of the parts' models and its standard error, but for pruned
ones, whose own model stays half trained: these columns rank models of trials.
"""
REFIT_FIELDS = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("number", pa.int64(), nullable=False),
        ("fold", pa.int64()),
        ("in_parts", pa.bool_()),
        ("seed", pa.int64()),
        ("split", pa.string()),
        ("macro_auc", pa.float64()),
        ("epochs", pa.int64()),
        ("duration_s", pa.float64()),
        ("error", pa.string()),
    ]
)
"""One row per finalist and training of it: with `in_parts` one for each part of the labelled soundscapes (`fold`;
numbers beyond the parts are of these in turn again, with other seeds), else one for each fold or seed of
--refit-folds."""
CURVE_FIELDS = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("stage_epoch", pa.int64(), nullable=False),
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
SCORE_FIELDS = pa.schema([(column, pa.float64()) for name in OTHERS for column in (name, f"{name}_se", f"best_{name}")])
"""What the tables of a search by another metric have beside macro AUC: its value, in trials.parquet with its standard
error (`macro_auc_se` is empty), in curves.parquet with the best so far. `stage`, `epoch` and `macro_auc` of a trial are
of its best epoch by that metric, and `refit_mean` and `refit_sd` are of the metric. Tables of other searches lack these
columns: see `window_metrics.metric_of`."""
STATUSES = ("complete", "pruned", "failed", "running")
LATER = frozenset(
    {
        *("cpu_ms_per_window", "drawn_by", "on_front", "refit_mean", "refit_sd", "n_refits", "split"),
        *("best_macro_auc", "in_parts", "macro_auc_se"),
        *SCORE_FIELDS.names,
    }
)
"""Columns that runs of earlier releases lack, and runs that did not measure the cost."""
LIMITS = {
    **dict.fromkeys(("refit_mean", *METRICS, *(f"best_{name}" for name in METRICS)), (0, 1)),
    **dict.fromkeys(
        ("epoch", "epochs", "duration_s", "params_m", "cpu_ms_per_window", "refit_sd", "n_refits"),
        (0, math.inf),
    ),
    **dict.fromkeys((f"{name}_se" for name in METRICS), (0, math.inf)),
}
CONFIG_PREFIX = "config."
"""Columns of this prefix hold the configuration of a trial."""
MAX_SETTINGS = 500
SETTINGS = (pa.bool_(), pa.float64(), pa.string(), pa.list_(pa.float64()), pa.list_(pa.string()))
"""The kinds of values that a configuration has."""
TRIAL_KEYS = ("trial_id", "number", "status")


def trial_id(number: int) -> str:
    """Name of a trial and of its folder."""
    return f"trial_{number:04d}"


def trial_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The fixed columns with their types, then the configuration's, typed by their values."""
    names = dict.fromkeys(name for row in rows for name in row if name.startswith(CONFIG_PREFIX))
    fields = list(with_scores(TRIAL_FIELDS, rows))
    arrays = [pa.array([row.get(field.name) for row in rows], type=field.type) for field in fields]
    for name in names:
        values = [row.get(name) for row in rows]
        kind = _column_type(values)
        arrays.append(pa.array([kind.cast(value) for value in values], type=kind.type))
        fields.append(pa.field(name, kind.type))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def with_scores(fields: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """The columns, and those of the metric that the rows are of where it is not macro AUC."""
    given = [field for field in SCORE_FIELDS if any(row.get(field.name) is not None for row in rows)]
    return pa.schema([*fields, *given])


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
    try:
        rows: list[dict[str, Any]] = read_table(path, schema, columns).to_pylist()
    except FileNotFoundError:
        return []
    return rows


def read_table(
    path: Path, schema: pa.Schema, columns: Sequence[str] | None = None, within: Path | None = None
) -> pa.Table:
    """A table of a run folder: the columns of `schema`, in their types, and whatever else the file has.

    Args:
        columns: read these only; with macro AUC comes what the search went by.
        within: a folder that no link may lead out of.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is damaged, or no table of a search.
    """
    try:
        wanted = [*columns, *SCORE_FIELDS.names] if columns is not None and MACRO_AUC in columns else columns
        table = read_parquet(path, pa.schema([*schema, *SCORE_FIELDS]), LATER, wanted, within)
        unused = [name for name in SCORE_FIELDS.names if name in table.column_names]
        table = table.drop_columns([name for name in unused if table[name].null_count == len(table)])
        filled = [field.name for field in schema if not field.nullable]
        problems = list(empty(table, filled)) or [*_odd_rows(table), *_odd_settings(table)]
        if problems:
            raise ValueError("; ".join(problems))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is damaged ({error}); restore it, or start a new search.") from None
    return table


def _odd_rows(table: pa.Table) -> Iterator[str]:
    """What no search has written. Paths are made of the names of trials."""
    given = {name: table[name] for name in table.column_names if name in LIMITS or name in TRIAL_KEYS}
    names, numbers = given.get("trial_id"), given.get("number")
    if names is not None and numbers is not None:
        pairs = zip(names.to_pylist(), numbers.to_pylist(), strict=True)
        odd = [f"{name!r:.80} is not that of number {number}" for name, number in pairs if name != trial_id(number)]
        if odd:
            yield f"trial_id {examples(odd)}"
    if "status" in given:
        yield from filter(None, [unknown("status", given["status"], STATUSES, names)])
        yield from filter(None, [duplicates(name, given[name]) for name in TRIAL_KEYS[:2] if name in given])
    found = [outside(name, given[name], *limits, names) for name, limits in LIMITS.items() if name in given]
    yield from filter(None, found)


def _odd_settings(table: pa.Table) -> Iterator[str]:
    """Columns of the configuration that hold what none takes."""
    settings = [field for field in table.schema if field.name.startswith(CONFIG_PREFIX)]
    if len(settings) > MAX_SETTINGS:
        yield f"it has more than {MAX_SETTINGS:,} columns {CONFIG_PREFIX}*"
        return
    if len({field.name for field in settings}) < len(settings):
        yield f"a column {CONFIG_PREFIX}* is there twice"
        return
    for field in settings:
        name = shown(field.name, 60)
        if not any(holds(field.type, kind) for kind in SETTINGS):
            yield f"column {name!r} is {shown(field.type)}, no setting"
