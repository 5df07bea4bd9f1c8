"""The run folder: names, writes and reads. Its files are the contract between trainables and analysis."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml

from sed_model.errors import DataError
from sed_model.files import read_parquet, write_parquet, write_text
from sed_model.paths import is_file
from sed_model.yaml_file import read_yaml

if TYPE_CHECKING:
    import pandas as pd

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
        ("on_front", pa.bool_()),
        ("refit_mean", pa.float64()),
        ("refit_sd", pa.float64()),
        ("n_refits", pa.int64()),
    ]
)
"""A row a trial; `macro_auc` is its best, reached in `stage` and `epoch`; `epochs` is how many it ran.

`on_front`: no other trial has a better score at no higher CPU time. Finalists that were trained again on several folds
or seeds have the mean and the standard deviation of these `n_refits` scores.
"""
REFIT_FIELDS = pa.schema(
    [
        ("trial_id", pa.string()),
        ("number", pa.int64()),
        ("fold", pa.int64()),
        ("seed", pa.int64()),
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
    ]
)


STATUSES = ("complete", "pruned", "failed", "running")
KEYS = frozenset({"trial_id", "number", "status", "macro_auc"})
"""What no table of trials lacks, whichever release wrote it."""


def trial_id(number: int) -> str:
    """Name of a trial and of its folder."""
    return f"trial_{number:04d}"


@dataclass(frozen=True)
class RunFolder:
    path: Path

    @property
    def search_file(self) -> Path:
        return self.path / "search.yaml"

    @property
    def journal(self) -> Path:
        return self.path / "optuna.journal"

    @property
    def recent(self) -> Path:
        """What the tables do not hold yet; there while a search runs, or after it was killed."""
        return self.path / "recent.jsonl"

    @property
    def ensemble(self) -> Path:
        return self.path / "ensemble"

    @property
    def leaderboard(self) -> Path:
        return self.path / "leaderboard.csv"

    def trial(self, number: int) -> Path:
        return self.path / "trials" / trial_id(number)

    def refit(self, number: int, fold: int) -> Path:
        """Folder of a finalist that was trained again; `fold` as in --refit-folds."""
        return self.trial(number) / f"refit_{fold}"

    def traceback_file(self, number: int) -> Path:
        """Where Ray Tune leaves the traceback of a trial that raised."""
        return self.path / "tune" / trial_id(number) / "error.txt"

    def write_search(self, tree: Mapping[str, Any]) -> None:
        write_text(self.search_file, yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True))

    def read_search(self) -> dict[str, Any]:
        """The search that made the folder.

        Raises:
            DataError: there is none, or it is damaged.
        """
        if not is_file(self.search_file):
            raise DataError(f"{self.path}: is no run folder (no search.yaml); give the folder of a search, runs/NAME.")
        record = read_yaml(self.search_file)
        data = record.get("data")
        known = (
            record.get("space_name"),
            *([data.get("folder"), data.get("fingerprint")] if isinstance(data, dict) else []),
        )
        if len(known) != 3 or not all(isinstance(value, str) for value in known):
            raise DataError(
                f"{self.search_file}: lacks space_name, data.folder or data.fingerprint, which the search writes; "
                "restore the file, or start a new search."
            )
        return record

    def write_tables(self, trials: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> None:
        """The curves first: whenever the search is killed, a trial that is shown to have ended has its whole curve."""
        write_parquet(self.path / "curves.parquet", pa.Table.from_pylist([dict(row) for row in curves], CURVE_FIELDS))
        write_parquet(self.path / "trials.parquet", _trial_table(trials))

    def write_refits(self, rows: Sequence[Mapping[str, Any]]) -> None:
        write_parquet(self.path / "refits.parquet", pa.Table.from_pylist([dict(row) for row in rows], REFIT_FIELDS))

    def read_refits(self) -> list[dict[str, Any]]:
        return _rows(self.path / "refits.parquet", REFIT_FIELDS)

    def read_trials(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """A row a trial: all columns, or some of TRIAL_FIELDS.

        Raises:
            DataError: the table is damaged, or no table of a search.
        """
        return _rows(self.path / "trials.parquet", TRIAL_FIELDS, columns)

    def read_curves(self) -> list[dict[str, Any]]:
        return _rows(self.path / "curves.parquet", CURVE_FIELDS)

    def write_leaderboard(self) -> pd.DataFrame:
        """Rank the trials, write leaderboard.csv and return it."""
        table = rank(self.read_trials())
        write_text(self.leaderboard, table.to_csv(index=False, float_format="%.6g"))
        return table


def newest_first(out: Path) -> list[Path]:
    """The run folders in `out`."""
    files = [path for path in out.glob("*/search.yaml") if is_file(path)]
    return [path.parent for path in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)]


def rank(trials: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The leaderboard: best score first, at equal scores complete before running before pruned; failed trials last.

    Finalists that were trained again come first, by the mean of their scores: the best of many single scores owes
    something to luck. It shows the configuration keys that differ between trials, without the prefix "config.".
    """
    import pandas as pd  # half a second, which `trainables.runs list` can do without

    frame = pd.DataFrame([dict(row) for row in trials])
    frame = frame.reindex(columns=list(dict.fromkeys([*frame.columns, *TRIAL_FIELDS.names])))
    frame["on_front"] = _on_front(trials)
    varied = [name for name in frame.columns if name.startswith("config.") and _varies(frame[name])]
    place = {"complete": 0, "running": 1, "pruned": 2, "failed": 3}
    frame["failed"] = frame["status"] == "failed"
    frame["place"] = frame["status"].map(place)
    frame = frame.sort_values(
        ["failed", "refit_mean", "macro_auc", "place", "number"], ascending=[True, False, False, True, True]
    )
    refits = ["refit_mean", "refit_sd", "n_refits"] if frame["refit_mean"].notna().any() else []
    columns = [
        "trial_id",
        "status",
        "macro_auc",
        *refits,
        "stage",
        "epoch",
        "epochs",
        "duration_s",
        "params_m",
        "cpu_ms_per_window",
        "on_front",
    ]
    board = frame[[*columns, *varied]].rename(columns=lambda name: name.removeprefix("config."))
    board.insert(0, "rank", range(1, len(board) + 1))
    return board.reset_index(drop=True)


def best_trials(trials: Sequence[Mapping[str, Any]], k: int) -> list[dict[str, Any]]:
    """The k best trials that have a model, in the order of the leaderboard."""
    scored = [dict(row) for row in trials if row["status"] in ("complete", "pruned") and not _missing(row["macro_auc"])]
    return sorted(scored, key=_merit)[:k]


def _merit(row: Mapping[str, Any]) -> tuple[Any, ...]:
    mean: Any = row.get("refit_mean")
    return (
        _missing(mean),
        0.0 if _missing(mean) else -mean,
        -row["macro_auc"],
        row["status"] != "complete",
        row["number"],
    )


def _on_front(trials: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Whether no other trial scores higher at no more CPU time a window, or as high at less."""
    points: list[tuple[Any, Any]] = [(row.get("cpu_ms_per_window"), row["macro_auc"]) for row in trials]
    valid = [
        (cost, score)
        for (cost, score), row in zip(points, trials, strict=True)
        if row["status"] != "failed" and not (_missing(cost) or _missing(score))
    ]
    front: set[tuple[float, float]] = set()
    highest = -math.inf
    for cost, score in sorted(valid, key=lambda point: (point[0], -point[1])):
        if score > highest:
            front.add((cost, score))
            highest = score
    return [point in front and row["status"] != "failed" for point, row in zip(points, trials, strict=True)]


def _trial_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The fixed columns with their types, then the configuration's, typed by their values."""
    rows = [{**row, "on_front": front} for row, front in zip(rows, _on_front(rows), strict=True)]
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


def _varies(column: pd.Series) -> bool:
    return len({None if _missing(value) else value for value in column}) > 1


def _rows(path: Path, schema: pa.Schema, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """
    Raises:
        DataError: the table is damaged, or no table of a search.
    """
    if not os.path.lexists(path):
        return []
    try:
        if not is_file(path):
            raise ValueError("it is no file")
        rows: list[dict[str, Any]] = read_parquet(path, schema, set(schema.names) - KEYS, columns).to_pylist()
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


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


if __name__ == "__main__":
    from trainables import cli, runs_command

    cli.run(runs_command.main)
