"""How each trial of a search is drawn: which sampler of Optuna's, and from which trial on it learns from scores."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import qmc

from trainables.spaces.search_space import SearchSpace
from trainables.spaces.settings import DEFAULT, PORTFOLIO, QUASI_RANDOM, SearchSettings

METHODS = {"optuna": "TPE", "random": "random", "gp": "Gaussian process", "nsga2": "NSGA-II"}
"""What a draw of a searcher is called, once it learns from scores."""
LEARNS_FROM = {"optuna": (TrialState.COMPLETE, TrialState.PRUNED), "gp": (TrialState.COMPLETE,)}
STARTUP_SHARE = 0.25
"""Of the trials; Optuna starts with ten random ones, which is all that a small search has."""
STARTUP_TRIALS = (3, 10)
"""At least and at most."""
SMALLEST = 4
"""A search of so few trials would draw none, or one, by what it learned."""
LEAST_SCORED = 2
"""A model of fewer scores says nothing: more quasi-random draws, as when many machines start at once."""
NSGA2_POPULATION = (4, 16)
"""Optuna's default of 50 would be more trials than most searches have."""


def n_startup_trials(num_trials: int) -> int:
    """How many trials (earlier ones of a warm start count) a search has before it learns from scores."""
    least, most = STARTUP_TRIALS
    if num_trials <= SMALLEST:
        return LEAST_SCORED
    return max(least, min(most, round(num_trials * STARTUP_SHARE)))


class QuasiRandomSampler(BaseSampler):
    """A point of a scrambled Sobol sequence (Owen 1998) over all parameters.

    A few independent draws leave gaps and lie close together; place n of the sequence lies in a gap that the n points
    before it left. A conditional parameter has a coordinate of its own, which counts where it is active: Optuna's
    QMCSampler would draw it independently.

    Args:
        seed: scrambles the sequence; all points of a search need the same.
        place: of the point in the sequence, from 0.
    """

    def __init__(self, space: SearchSpace, seed: int, place: int) -> None:
        self._shares = sobol_point(space, seed, place)
        self._distributions = {parameter.key: parameter.distribution for parameter in space.parameters}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._distributions[param_name].at(self._shares[param_name])


class EvenNSGAII(optuna.samplers.NSGAIISampler):
    """NSGA-II whose first generation, and whose mutations, are quasi-random."""

    def __init__(self, start: QuasiRandomSampler, population_size: int, seed: int) -> None:
        super().__init__(population_size=population_size, seed=seed)
        self._start = start

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._start.sample_independent(study, trial, param_name, param_distribution)


def sobol_point(space: SearchSpace, seed: int, place: int) -> Mapping[str, float]:
    """Each parameter's coordinate, from 0 to below 1, of a point of the sequence."""
    sequence = qmc.Sobol(len(space.parameters), scramble=True, rng=np.random.default_rng(seed))
    if place > 0:  # scipy fails to go on by nothing
        sequence.fast_forward(place)
    (point,) = sequence.random(1)
    return dict(zip((parameter.key for parameter in space.parameters), map(float, point), strict=True))


def draws_by(settings: SearchSettings, number: int, n_earlier: int, known: Sequence[FrozenTrial]) -> str:
    """How trial `number` is drawn: DEFAULT, PORTFOLIO, QUASI_RANDOM or one of METHODS.

    The portfolio comes on top of the start: its points lie where trials are good, a start has to be everywhere. In the
    smallest searches it is part of it: nothing would be left to what was learned.

    Args:
        n_earlier: trials of other searches that the study started with; they have the first numbers.
        known: the trials of the study, those of the portfolio that wait for their turn too.
    """
    n_portfolio = n_of_portfolio(known)
    if number == n_earlier:
        return DEFAULT
    if number <= n_earlier + n_portfolio:
        return PORTFOLIO
    if settings.searcher in LEARNS_FROM:
        n_scored = sum(trial.state in LEARNS_FROM[settings.searcher] for trial in known)
        n_startup = settings.startup_trials or n_startup_trials(settings.num_trials)
        is_smallest = settings.startup_trials is None and settings.num_trials <= SMALLEST
        n_beside = 0 if is_smallest else n_portfolio
        if number - n_beside < n_startup or n_scored < LEAST_SCORED:
            return QUASI_RANDOM
    return METHODS[settings.searcher]


def n_of_portfolio(known: Sequence[FrozenTrial]) -> int:
    """How many trials of a study are of the portfolio; the searcher marks them."""
    return sum(PORTFOLIO in trial.user_attrs for trial in known)


def make_sampler(space: SearchSpace, number: int, n_before: int, drawn_by: str) -> BaseSampler:
    """The sampler that draws trial `number`.

    What the default and the portfolio leave open is quasi-random, and the same in all of them: they compare.

    Args:
        n_before: trials of other searches and of the portfolio; the quasi-random sequence is of the others.
    """
    settings = space.search
    seed = int(np.random.SeedSequence([settings.seed, number]).generate_state(1)[0])
    if settings.searcher == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if settings.searcher == "nsga2" or drawn_by in (DEFAULT, PORTFOLIO, QUASI_RANDOM):
        start = QuasiRandomSampler(space, settings.seed, max(0, number - n_before))
        least, most = NSGA2_POPULATION
        population = max(least, min(most, settings.num_trials // 4))
        return EvenNSGAII(start, population, seed) if settings.searcher == "nsga2" else start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if settings.searcher == "gp":
            return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1, warn_independent_sampling=False)
        # Constant liar: TPE keeps away from trials that still run. Group: it models conditional parts apart.
        return optuna.samplers.TPESampler(
            n_startup_trials=1, multivariate=True, group=True, constant_liar=True, seed=seed
        )
