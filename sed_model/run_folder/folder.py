"""The run folder: its files by name, written and read. They are the contract between trainables and analysis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml

from sed_model.core.errors import DataError
from sed_model.core.files import write_text
from sed_model.core.parquet import write_parquet
from sed_model.core.paths import is_file
from sed_model.core.texts import shown
from sed_model.core.yaml_file import read_yaml
from sed_model.run_folder.leaderboard import on_front, rank
from sed_model.run_folder.run_tables import (
    CURVE_FIELDS,
    REFIT_FIELDS,
    TRIAL_FIELDS,
    read_rows,
    trial_id,
    trial_table,
    with_scores,
)

if TYPE_CHECKING:
    import pandas as pd


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
    def taught(self) -> Path:
        """The ensemble of other runs whose labels the run learned from, where it was not that of its `teacher`."""
        return self.path / "taught"

    @property
    def leaderboard(self) -> Path:
        return self.path / "leaderboard.csv"

    def trial(self, number: int) -> Path:
        return self.path / "trials" / trial_id(number)

    def refit(self, number: int, in_parts: bool, fold: int) -> Path:
        """Folder of a finalist that was trained again; `fold` as in --refit-folds, or a part of the soundscapes."""
        return self.trial(number) / f"{'part' if in_parts else 'refit'}_{fold}"

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
        for name in ("teacher", "storage", "track"):
            if name in record and not isinstance(record[name], str):
                raise DataError(
                    f"{self.search_file}: {name} is {shown(record[name], 60)}, no text; restore the file, or start a "
                    "new search."
                )
        return record

    def teachers(self) -> tuple[str, ...]:
        """The runs whose models labelled for this one (`taught`); none where its `teacher` did, or it has none.

        Raises:
            DataError: see `read_search`.
        """
        names = self.read_search().get("teachers", [])
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise DataError(
                f"{self.search_file}: teachers is {shown(names, 60)}, no list of runs; restore the file, or start a "
                "new search."
            )
        return tuple(names)

    def write_tables(self, trials: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> None:
        """The curves first: whenever the search is killed, a trial that is shown to have ended has its whole curve."""
        write_parquet(self.path / "curves.parquet", _table(CURVE_FIELDS, curves))
        rows = [{**row, "on_front": front} for row, front in zip(trials, on_front(trials), strict=True)]
        write_parquet(self.path / "trials.parquet", trial_table(rows))

    def write_refits(self, rows: Sequence[Mapping[str, Any]]) -> None:
        write_parquet(self.path / "refits.parquet", _table(REFIT_FIELDS, rows))

    def read_refits(self) -> list[dict[str, Any]]:
        return read_rows(self.path / "refits.parquet", REFIT_FIELDS)

    def read_trials(self, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """One row per trial: all columns, or some of TRIAL_FIELDS.

        Raises:
            DataError: the table is damaged, or no table of a search.
        """
        return read_rows(self.path / "trials.parquet", TRIAL_FIELDS, columns)

    def read_curves(self) -> list[dict[str, Any]]:
        return read_rows(self.path / "curves.parquet", CURVE_FIELDS)

    def write_leaderboard(self) -> pd.DataFrame:
        """Rank the trials, write leaderboard.csv and return it."""
        table = rank(self.read_trials())
        write_text(self.leaderboard, table.to_csv(index=False, float_format="%.6g"))
        return table


def _table(fields: pa.Schema, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], with_scores(fields, rows))


def is_probe(run: RunFolder) -> bool:
    """Whether the run is of probes of a foreign model: whoever learns from it has its labels, and no weights.

    Raises:
        DataError: see `RunFolder.read_search`.
    """
    return "probe" in run.read_search()


def labels_of_part(ensemble: Path, part: int | None = None) -> Path:
    """Where the labels of members lie that have not heard a part of the labelled soundscapes; None: those of all."""
    parts = ensemble / "parts"
    return parts if part is None else parts / str(part)


def newest_runs(out: Path) -> list[Path]:
    """The run folders in `out`, the one that was started last in front."""
    files = [path for path in out.glob("*/search.yaml") if is_file(path)]
    return [path.parent for path in sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)]
