"""A run folder on disk -> checked tables. Every file that breaks the contract is reported at once."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from sed_model.core.errors import DataError, UserError
from sed_model.core.paths import is_file, is_folder, is_there
from sed_model.core.texts import examples, shown
from sed_model.core.yaml_file import read_yaml
from sed_model.run_folder import folder as folders
from sed_model.run_folder.run_tables import CONFIG_PREFIX, CURVE_FIELDS, TRIAL_FIELDS, read_table

REFIT_COLUMNS = ("refit_mean", "refit_sd", "n_refits")
"""Columns of finalists that were trained again."""
COMPLETE_TRIAL_COLUMNS = ("macro_auc", "stage", "epoch", "epochs", "duration_s")
MAX_TEXT = 50_000
"""Characters of a text in search.yaml; the longest, the command, has some hundred."""

# Integers and booleans with gaps keep their type: 4 heads must not be shown as 4.0.
_PANDAS_TYPES: dict[pa.DataType, Any] = {
    pa.int32(): pd.Int64Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


class RunFolderError(DataError):
    """A run folder that breaks the contract; `problems` holds one line for each fault: path, thing, repair."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.path = path
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n  - ".join([f"{shown(path)}: {count} in this run folder", *self.problems]))


@dataclass(frozen=True)
class Run:
    """The tables of one search; `trials` follows TRIAL_FIELDS, with columns config.* beside, `curves` CURVE_FIELDS."""

    path: Path
    search: dict[str, Any]
    trials: pd.DataFrame
    curves: pd.DataFrame

    @property
    def scored(self) -> pd.Series:
        """Whether each trial has come to an end and has a score."""
        return self.trials["status"].isin(["complete", "pruned"]) & self.trials["macro_auc"].notna()


def read_run(path: Path) -> Run:
    """Read search.yaml, trials.parquet and curves.parquet of a run folder.

    Raises:
        RunFolderError: with what is wrong with each of them.
    """
    path = Path(path)
    require_folder(path)
    problems: list[str] = []
    search = _read_search(path, problems)
    trials, curves = (_read_frame(path, name, schema, problems) for name, schema in
                      (("trials.parquet", TRIAL_FIELDS), ("curves.parquet", CURVE_FIELDS)))  # fmt: skip
    if trials is not None and curves is not None:
        problems += [f"{path / name}: {problem}; mend the writer." for name, problem in _misfits(trials, curves)]
    if problems or trials is None or curves is None:
        raise RunFolderError(path, problems)
    return Run(path, search, trials, curves)


def newest_runs(folder: Path) -> list[Path]:
    """The run folders in `folder` that have a table of trials, the one that was started last in front."""
    return [run for run in folders.newest_runs(Path(folder)) if is_file(run / "trials.parquet")]


def newest_run(folder: Path) -> Path:
    """The first of `newest_runs`.

    Raises:
        RunFolderError: `folder` holds no run folder.
    """
    runs = newest_runs(folder)
    if not runs:
        raise RunFolderError(Path(folder), ["no folder with a trials.parquet; run python -m trainables.search first"])
    return runs[0]


def require_folder(path: Path) -> None:
    """Raises RunFolderError where there is no such folder; a near one is named."""
    if is_folder(path):
        return
    try:
        beside = sorted(entry.name for entry in path.parent.iterdir() if is_folder(entry))
    except (OSError, ValueError):  # where nothing can be listed, there is nothing to suggest
        beside = []
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {path.parent / near[0]}?" if near else "give a folder that python -m trainables.search wrote."
    raise RunFolderError(path, [f"no such folder; {hint}"])


def frame_of(table: pa.Table, schema: pa.Schema) -> pd.DataFrame:
    """The columns of the schema and the settings, in pandas types."""
    # By place: in a name, dots stand for nested columns.
    names = table.column_names
    places = [place for place, name in enumerate(names) if name in schema.names or name.startswith(CONFIG_PREFIX)]
    # Without the metadata, in which pandas may be told to make an index of a column.
    chosen = table.select(places).replace_schema_metadata(None)
    frame: pd.DataFrame = chosen.to_pandas(types_mapper=_PANDAS_TYPES.get, use_threads=False)
    return frame.astype({field.name: "float64" for field in schema if pa.types.is_floating(field.type)})


def _read_frame(path: Path, name: str, schema: pa.Schema, problems: list[str]) -> pd.DataFrame | None:
    try:
        return frame_of(read_table(path / name, schema, within=path), schema)
    except FileNotFoundError:
        problems.append(f"{path / name}: missing; the search has not come so far, or the folder was cut.")
    except DataError as error:
        problems.append(str(error))
    return None


def _misfits(trials: pd.DataFrame, curves: pd.DataFrame) -> Iterator[tuple[str, str]]:
    """What only a look at several columns shows: the table's name, and what is wrong."""
    settings = trials.filter(regex=f"^{re.escape(CONFIG_PREFIX)}").select_dtypes(np.floating)
    for name in settings.columns[np.isinf(settings.to_numpy()).any(axis=0)]:
        yield "trials.parquet", f"column {shown(name, 60)!r} holds inf"
    complete = trials[trials["status"] == "complete"]
    for name in COMPLETE_TRIAL_COLUMNS:
        missing = complete.loc[complete[name].isna(), "trial_id"]
        if len(missing):
            yield "trials.parquet", f"complete trials without {name}: {examples(missing)}"
    orphans = curves.loc[~curves["trial_id"].isin(trials["trial_id"]), "trial_id"].unique()
    if len(orphans):
        yield "curves.parquet", f"epochs of trials that trials.parquet lacks: {examples(orphans)}"
    twice = curves.duplicated(["trial_id", "epoch"])
    if twice.any():
        pairs = curves.loc[twice, "trial_id"] + " epoch " + curves.loc[twice, "epoch"].astype(str)
        yield "curves.parquet", f"the same epoch twice: {examples(pairs.unique())}"


def _read_search(path: Path, problems: list[str]) -> dict[str, Any]:
    file = path / "search.yaml"
    if not is_there(file):
        problems.append(f"{file}: missing; the search writes it first: is this a run folder?")
        return {}
    try:
        search = read_yaml(file, within=path)
    except UserError as error:
        problems.append(str(error))
        return {}
    if not search:
        problems.append(f"{file}: is empty; restore it or repeat the search.")
    problems += [f"{file}: {problem}; restore it or repeat the search." for problem in _search_problems(search)]
    return search


def _search_problems(search: Mapping[Any, Any]) -> list[str]:
    """What is not of the kind that the search writes; a section that is not there is no problem."""
    data, space = search.get("data") or {}, search.get("space") or {}
    texts = {name: search.get(name) for name in ("command", "created", "teacher")}
    found = [f"{name} is {type(part).__name__}, not a mapping" for name, part in (("data", data), ("space", space))
             if not isinstance(part, dict)]  # fmt: skip
    if isinstance(data, dict):
        texts |= {f"data.{name}": data.get(name) for name in ("folder", "fingerprint")}
    if isinstance(space, dict):
        conditions = {key: entry.get("when") or {} for key, entry in space.items() if isinstance(entry, dict)}
        found += [f"space.{shown(key)}.when is {type(when).__name__}, not a mapping"
                  for key, when in conditions.items() if not isinstance(when, dict)]  # fmt: skip
    for name, text in texts.items():
        if text is not None and not (isinstance(text, str) and len(text) <= MAX_TEXT):
            found.append(f"{name} is {shown(repr(text), 60)}, no text of up to {MAX_TEXT:,} characters")
    return found
