"""How sure a score is, and a lead over another: a bootstrap over the files that the windows are of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from sed_model.run_folder.delivered import Lead
from sed_model.run_folder.resampling import draws_of_files
from sed_model.run_folder.window_metrics import MACRO_AUC, METRICS, Said

N_RESAMPLES = 1_000
N_RESAMPLES_OF_A_TRIAL = 200
"""Each trial has its error, as often as it gets better; that of so many draws is right to 5 %."""
SPREAD_OF_CONFIGURATIONS = 0.02
"""How much configurations of a search differ in truth, as a standard deviation of macro AUC: leads are shrunk by it.
It was measured for macro AUC alone, and is taken for other metrics as well."""
SD_OF_A_LEAD = 0.075
"""The paired difference of two models has about so large a standard deviation, over the root of the number of files: of
macro AUC, for which alone it was measured."""
ONE_SIDED = 1.645
"""Standard errors that a lead has to be above 0, to be right in 95 % of the cases."""


def resampled_scores(
    targets: Float[np.ndarray, "windows classes"],
    by_model: Sequence[Float[np.ndarray, "windows classes"]],
    files: Sequence[str],
    parts: NDArray[np.integer] | None = None,
    n_resamples: int = N_RESAMPLES,
    metric: str = MACRO_AUC,
) -> NDArray[np.float64]:
    """The metric of each model on each of many draws of the files, the same ones for all: [models, resamples].

    Args:
        parts: windows of which one part of a model was the judge; pairs across parts do not count.
    """
    names, file_of = np.unique(np.asarray(files, object).astype(str), return_inverse=True)
    drawn = draws_of_files(len(names), n_resamples, np.random.default_rng(0))
    weights = drawn[:, file_of]
    said = [Said(targets, probabilities, weights, parts) for probabilities in by_model]
    return np.stack([METRICS[metric].of(one) for one in said])


def standard_error(scores: NDArray[np.float64]) -> float:
    """Of a score, from its resamples; draws in which no class counts are left out."""
    return float(np.nanstd(scores))


def lead_over(mean: float, resampled: NDArray[np.float64], default: NDArray[np.float64]) -> Lead:
    """A lead of `mean`, from the resampled scores of both.

    The shrunken lead is the posterior mean under a normal prior (James and Stein 1961; Efron and Morris 1975): the best
    of many noisy scores is too good.
    """
    differences = resampled - default
    differences = differences[~np.isnan(differences)]
    se = float(differences.std())
    kept = SPREAD_OF_CONFIGURATIONS**2 / (SPREAD_OF_CONFIGURATIONS**2 + se**2)
    p_better = float((differences > 0).mean() + (differences == 0).mean() / 2)
    return Lead(mean=mean, se=se, p_better=p_better, shrunken=kept * mean)


def provable_lead(n_files: int) -> float:
    """The lead that so many labelled files can about prove (one-sided, 95 %)."""
    return float(ONE_SIDED * SD_OF_A_LEAD / np.sqrt(n_files))


def files_to_prove(lead: float) -> int:
    """How many labelled files can about prove a lead."""
    return int(np.ceil((ONE_SIDED * SD_OF_A_LEAD / lead) ** 2))
