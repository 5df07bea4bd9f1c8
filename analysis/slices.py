"""The score against each varied setting, and which trials are worth drawing where there are thousands."""

from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.parameters import Parameter, as_text, parameter_values, varied_parameters
from analysis.tables import Run

SLICE_COLUMNS = ("parameter", "trial_id", "number", "status", "macro_auc", "value", "text")
INACTIVE = "not active"


def thinned(run: Run, n_most: int = 300, seed: int = 0) -> Run:
    """The run with at most `n_most` trials: a third the best, a third around the median, the rest drawn at random.

    Trials without a score are left out first where there are too many.
    """
    trials = run.trials
    if len(trials) <= n_most:
        return run
    order = trials["macro_auc"].where(trials["status"] != "failed").dropna().sort_values(ascending=False).index
    third = n_most // 3
    middle = max(third, len(order) // 2 - third // 2)
    chosen = list(dict.fromkeys([*order[:third], *order[middle : middle + third]]))
    rest = order.difference(chosen, sort=False)
    drawn = np.random.default_rng(seed).permutation(len(rest))[: n_most - len(chosen)]
    kept = trials.loc[sorted([*chosen, *rest[drawn]])]
    return replace(run, trials=kept, curves=run.curves[run.curves["trial_id"].isin(kept["trial_id"])])


def slice_table(run: Run) -> pd.DataFrame:
    """A row a scored trial and setting that was active in it.

    Returns:
        parameter (short name), trial_id, number, status, macro_auc, value (a number, or the place 0, 1, .. of the text
        among the texts of the setting in order), text (as people write it).
    """
    trials, parameters, settings = _scored(run)
    tables = []
    for parameter in parameters:
        column = settings[parameter.name]
        table = trials.assign(parameter=parameter.name, value=_places(column, parameter), text=column.map(as_text))
        tables.append(table[column.notna()])
    if not tables:
        return pd.DataFrame(columns=list(SLICE_COLUMNS))
    return pd.concat(tables, ignore_index=True)[list(SLICE_COLUMNS)]


def parallel_table(run: Run) -> pd.DataFrame:
    """A row a scored trial and setting, for drawing each trial as a line across the settings.

    Returns:
        parameter, trial_id, macro_auc, position (0..1 from the least to the greatest value, in the logarithm where the
        setting was drawn so; -0.1 where it was not active), text.
    """
    trials, parameters, settings = _scored(run)
    tables = []
    for parameter in parameters:
        column = settings[parameter.name]
        place = _places(column, parameter)
        place = np.log(place) if parameter.is_log and (place.dropna() > 0).all() else place
        low, span = place.min(), place.max() - place.min()
        position = ((place - low) / (span or 1.0)).fillna(-0.1)
        text = column.map(as_text).where(column.notna(), INACTIVE)
        tables.append(trials[["trial_id", "macro_auc"]].assign(parameter=parameter.name, position=position, text=text))
    columns = ["parameter", "trial_id", "macro_auc", "position", "text"]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def _scored(run: Run) -> tuple[pd.DataFrame, list[Parameter], pd.DataFrame]:
    scored = run.scored
    parameters = varied_parameters(run)
    trials = run.trials.loc[scored, ["trial_id", "number", "status", "macro_auc"]]
    return trials, parameters, parameter_values(run, parameters)[scored]


def _places(column: pd.Series, parameter: Parameter) -> pd.Series:
    """float64; NaN where the setting was not active."""
    if parameter.is_number:
        return column.astype("float64")
    texts = {text: place for place, text in enumerate(sorted(column.dropna().unique()))}
    return column.map(texts).astype("float64")
