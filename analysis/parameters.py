"""Which settings a search varied, under short names, with inactive conditional ones left empty."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.tables import CONFIG_PREFIX, TRIAL_COLUMNS, Run


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
    names = short_names(keys, reserved={*TRIAL_COLUMNS, "rank", "gap"})
    space = _space(run)
    return [Parameter(key, names[key], _is_number(values[key]), "loguniform" in space.get(key, {})) for key in keys]


def parameter_values(run: Run, parameters: list[Parameter]) -> pd.DataFrame:
    """A row a trial (in the order of run.trials), a column a parameter's name; NA where the parameter was inactive."""
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
    return {key: _short_name(key, keys, reserved) for key in keys}


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


def _short_name(key: str, keys: Collection[str], reserved: Collection[str]) -> str:
    parts = key.split(".")
    for n_parts in range(1, len(parts)):
        name = ".".join(parts[-n_parts:])
        shared = any(other != key and (other == name or other.endswith("." + name)) for other in keys)
        if not shared and name not in reserved:
            return name
    return key


def _active_values(run: Run) -> pd.DataFrame:
    """The config columns by dotted key; a value whose `when` in the search space does not hold becomes NA."""
    columns = [name for name in run.trials.columns if name.startswith(CONFIG_PREFIX)]
    values = run.trials[columns].rename(columns=lambda name: name.removeprefix(CONFIG_PREFIX))
    space = _space(run)
    active: dict[str, pd.Series] = {}
    for key in values.columns:
        active[key] = values[key].where(_is_active(key, values, space, seen=frozenset()))
    return pd.DataFrame(active, index=values.index)


def _is_active(
    key: str, values: pd.DataFrame, space: Mapping[str, Mapping[str, Any]], seen: frozenset[str]
) -> pd.Series:
    """Whether each trial meets the conditions of the key, and of the keys its conditions rest on."""
    active = pd.Series(True, index=values.index)
    conditions = space.get(key, {}).get("when") or {}
    for other, wanted in conditions.items():
        if other not in values or other in seen:
            continue
        allowed = {as_text(value) for value in (wanted if isinstance(wanted, list) else [wanted])}
        active &= values[other].map(as_text).isin(allowed)
        active &= _is_active(other, values, space, seen | {key})
    return active


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
