"""How much each varied setting mattered, with error bars and the level that chance alone reaches."""

import warnings
from typing import Literal

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution
from optuna.importance import BaseImportanceEvaluator, FanovaImportanceEvaluator, PedAnovaImportanceEvaluator

from analysis.parameters import parameter_values, varied_parameters
from analysis.study import active_settings, distributions, quiet_study
from analysis.tables import Run

Method = Literal["ped_anova", "fanova"]
COLUMNS = ("parameter", "n_trials", "importance", "low", "high", "chance")
MIN_TRIALS = 4
MIN_TOP_TRIALS = 5
MAX_TRIALS = 500


def importance_by_parameter(
    run: Run, method: Method = "ped_anova", n_resamples: int = 30, seed: int = 0, max_trials: int = MAX_TRIALS
) -> pd.DataFrame:
    """The share of each varied setting in what separates good trials from bad ones.

    PED-ANOVA asks which settings the best trials share, and takes conditional settings as they are (Watanabe et al.,
    IJCAI 2023; conditional: arXiv 2601.20800). fANOVA explains the variance of all scores by a random forest (Hutter et
    al., ICML 2014); it knows no conditions, so settings that are inactive in some trials are left out.

    Complete and pruned trials count alike. Of more than `max_trials`, so many are drawn at random.

    Args:
        n_resamples: how often trials are drawn with replacement for low and high, and scores shuffled for chance. For
            40 trials PED-ANOVA takes 10 ms each, fANOVA 0.2 s.

    Returns:
        Most important first: parameter, n_trials (in which it was active), importance (0..1, sum 1), low and high
        (5 % and 95 % of the resamples), chance (95 % of what shuffled scores reach, on the scale of importance: below
        it there is nothing to see).
        Empty with under 4 scored trials, without variation, or where every score is the same.
    """
    rng = np.random.default_rng(seed)
    scored = run.scored
    parameters = varied_parameters(run)
    settings = parameter_values(run, parameters)[scored]
    scores = run.trials.loc[scored, "macro_auc"].to_numpy()
    if len(scores) > max_trials:
        chosen = np.sort(rng.choice(len(scores), max_trials, replace=False))
        settings, scores = settings.iloc[chosen], scores[chosen]
    space = distributions(parameters, settings, only_active=method == "fanova")
    if len(scores) < MIN_TRIALS or not space or np.ptp(scores) == 0:
        return pd.DataFrame(columns=list(COLUMNS))
    trials = active_settings(settings, space)
    evaluate = _Evaluation(space, _evaluator(method, len(scores), seed))
    raw = evaluate(trials, scores)
    draws = rng.integers(len(scores), size=(n_resamples, len(scores)))
    resampled = np.array([_shares(evaluate([trials[i] for i in draw], scores[draw])) for draw in draws])
    shuffled = np.array([evaluate(trials, rng.permutation(scores)) for _ in range(n_resamples)])
    table = pd.DataFrame(
        {
            "parameter": list(space),
            "n_trials": [int(settings[name].notna().sum()) for name in space],
            "importance": _shares(raw),
            "low": np.quantile(resampled, 0.05, axis=0),
            "high": np.quantile(resampled, 0.95, axis=0),
            "chance": np.quantile(shuffled, 0.95, axis=0) / (raw.sum() or 1.0),
        }
    )
    return table.sort_values("importance", ascending=False, ignore_index=True, kind="stable")


class _Evaluation:
    """Importances of given trials and scores as the method gives them (>= 0), in the order of the space."""

    def __init__(self, space: dict[str, BaseDistribution], evaluator: BaseImportanceEvaluator) -> None:
        self._space = space
        self._evaluator = evaluator

    def __call__(self, settings: list[dict[str, object]], scores: np.ndarray) -> np.ndarray:
        study = quiet_study()
        study.add_trials(
            optuna.create_trial(params=values, distributions={name: self._space[name] for name in values}, value=score)
            for values, score in zip(settings, scores.tolist(), strict=True)
        )
        with warnings.catch_warnings():
            # A resample may leave a setting with one trial; the error bar shows that better than a line of text.
            warnings.simplefilter("ignore", category=UserWarning)
            # `normalize` alone is experimental; with it, chance could not be put on the scale of the real scores.
            warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
            try:
                found = optuna.importance.get_param_importances(study, evaluator=self._evaluator, normalize=False)
            except RuntimeError:
                # fANOVA: no tree found a split. A resample of few trials may hold one score, or one setting, only.
                return np.zeros(len(self._space))
        return np.array([found.get(name, 0.0) for name in self._space])


def _shares(importances: np.ndarray) -> np.ndarray:
    """Importances that sum to 1; all zero where nothing differs."""
    shares: np.ndarray = importances / (importances.sum() or 1.0)
    return shares


def _evaluator(method: Method, n_trials: int, seed: int) -> BaseImportanceEvaluator:
    if method == "fanova":
        return FanovaImportanceEvaluator(n_trees=32, seed=seed)
    # The best tenth of few trials is one or two of them: take at least five, at most half.
    quantile = min(0.5, max(0.1, MIN_TOP_TRIALS / n_trials))
    return PedAnovaImportanceEvaluator(target_quantile=quantile)
