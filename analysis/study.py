"""Trials of a run as an Optuna study in memory: what Optuna's evaluators and plots want."""

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from analysis.parameters import Parameter, parameter_values, varied_parameters
from analysis.tables import Run

MAX_CATEGORIES = 5


def study_of(run: Run, names: list[str]) -> optuna.Study:
    """A study of the scored trials that has the varied settings of these short names only, active ones alone."""
    scored = run.scored
    parameters = [parameter for parameter in varied_parameters(run) if parameter.name in names]
    settings = parameter_values(run, parameters)[scored]
    space = distributions(parameters, settings, only_active=False)
    study = quiet_study()
    study.add_trials(
        optuna.create_trial(params=values, distributions={name: space[name] for name in values}, value=score)
        for values, score in zip(
            active_settings(settings, space), run.trials.loc[scored, "macro_auc"].tolist(), strict=True
        )
    )
    return study


def quiet_study() -> optuna.Study:
    """A study in memory, without Optuna's line on standard error for each one."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage())
    finally:
        optuna.logging.set_verbosity(verbosity)


def distributions(
    parameters: list[Parameter], settings: pd.DataFrame, only_active: bool
) -> dict[str, BaseDistribution]:
    """What each setting was drawn from, as far as the trials show it; settings without variation are left out."""
    space: dict[str, BaseDistribution] = {}
    for parameter in parameters:
        values = settings[parameter.name].dropna()
        if values.nunique() < 2 or (only_active and len(values) < len(settings)):
            continue
        if _is_continuous(parameter, values):
            space[parameter.name] = FloatDistribution(
                float(values.min()), float(values.max()), log=parameter.is_log and float(values.min()) > 0
            )
        else:
            space[parameter.name] = CategoricalDistribution(sorted(values.unique()))
    return space


def _is_continuous(parameter: Parameter, values: pd.Series) -> bool:
    # Densities over a few numbers (2, 4 or 8 heads) are spikes, which PED-ANOVA takes for importance.
    return parameter.is_number and values.nunique() > MAX_CATEGORIES


def active_settings(settings: pd.DataFrame, space: dict[str, BaseDistribution]) -> list[dict[str, object]]:
    """Each trial's active settings."""
    rows = settings[list(space)].to_dict("records")
    return [{str(name): value for name, value in row.items() if not pd.isna(value)} for row in rows]
