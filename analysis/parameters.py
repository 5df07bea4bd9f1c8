"""Which settings a search varied, under short names, with inactive conditional ones left empty."""

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables import Run
from sed_model.run_folder.run_tables import CONFIG_PREFIX, TRIAL_FIELDS


@dataclass(frozen=True)
class Parameter:
    """A varied setting: `key` is the dotted key of the configuration, `name` the shortest part of it that is unique."""

    key: str
    name: str
    is_number: bool
    is_log: bool


def varied_parameters(run: Run) -> list[Parameter]:
    """The settings with more than one value among the trials, in the order of the table's columns."""
    values = _active_values(run)
    keys = [key for key in values.columns if _n_distinct(values[key]) > 1]
    names = short_names(keys, reserved={*TRIAL_FIELDS.names, "rank", "gap", "minutes"})
    space = _space(run)
    return [Parameter(key, names[key], _is_number(values[key]), "loguniform" in space.get(key, {})) for key in keys]


def parameter_values(run: Run, parameters: list[Parameter]) -> pd.DataFrame:
    """One row per trial (in the order of run.trials), a column a parameter's name; NA where the parameter was
    inactive.
    """
    values = _active_values(run)
    columns = {}
    for parameter in parameters:
        column = values[parameter.key]
        columns[parameter.name] = column.astype("Float64") if parameter.is_number else column.map(as_text).astype("str")
    return pd.DataFrame(columns, index=run.trials.index)


def short_names(keys: Collection[str], reserved: Collection[str] = ()) -> dict[str, str]:
    """The shortest dotted ending of each key that no other key shares and that is not reserved.

    >>> short_names(["model.gem_p", "stages.a.lr", "stages.b.lr"])
    {'model.gem_p': 'gem_p', 'stages.a.lr': 'a.lr', 'stages.b.lr': 'b.lr'}
    """
    shared = Counter(ending for key in keys for ending in _endings(key))
    free = {key: [name for name in _endings(key) if shared[name] == 1 and name not in reserved] for key in keys}
    # A key that ends as another key is named, whole; one that is reserved even so, as its column is.
    return {key: next(iter(names), key if key not in reserved else CONFIG_PREFIX + key) for key, names in free.items()}


def as_text(value: Any) -> Any:
    """A setting as people write it: 4.0 as 4, 0.00031 as 0.00031, lists as JSON; None where there is none."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True)
    if pd.isna(value):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _endings(key: str) -> list[str]:
    """The dotted endings of a key, the shortest first, the key itself last."""
    parts = key.split(".")
    return [".".join(parts[-n_parts:]) for n_parts in range(1, len(parts) + 1)]


def _active_values(run: Run) -> pd.DataFrame:
    """The config columns by dotted key; a value whose `when` in the search space does not hold becomes NA."""
    columns = [name for name in run.trials.columns if name.startswith(CONFIG_PREFIX)]
    values = run.trials[columns].rename(columns=lambda name: name.removeprefix(CONFIG_PREFIX))
    conditions = {key: entry.get("when") or {} for key, entry in _space(run).items() if key in values}
    active = {key: _meets(values, conditions.get(key, {})) for key in values.columns}
    # A condition may rest on a setting that has conditions itself: passed on until all have heard of all.
    n_active = -1
    while n_active != (n_active := sum(int(rows.sum()) for rows in active.values())):
        for key, wanted in conditions.items():
            for other in wanted:
                active[key] &= active.get(other, True)
    return pd.DataFrame({key: values[key].where(rows) for key, rows in active.items()}, index=values.index)


def _meets(values: pd.DataFrame, conditions: Mapping[str, Any]) -> np.ndarray:
    """Whether each trial has the values that the conditions ask for; those on settings without a column hold."""
    met = np.ones(len(values), bool)
    for other, wanted in conditions.items():
        if other in values:
            allowed = {as_text(value) for value in (wanted if isinstance(wanted, list) else [wanted])}
            met &= values[other].map(as_text).isin(allowed).to_numpy()
    return met


def _space(run: Run) -> dict[str, Mapping[str, Any]]:
    """The distributions of search.yaml by dotted key; a run that records none has no conditions."""
    space = run.search.get("space")
    if not isinstance(space, Mapping):
        return {}
    return {key: entry for key, entry in space.items() if isinstance(entry, Mapping)}


def _n_distinct(values: pd.Series) -> int:
    """How many different settings there are; being inactive is not one of them."""
    if not pd.api.types.is_object_dtype(values):  # lists cannot be told apart without their text
        values = values.drop_duplicates()
    return int(values.map(as_text).dropna().nunique())


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
