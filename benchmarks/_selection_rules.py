"""Rules that choose among the trained candidates of a search, and what each of them delivers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from _selection_auc import Floats

TODAY = "score of the best epoch (today)"
SCORE = "score"
WEIGHTS = (0.25, 0.5, 0.75, 1.0)
"""Of agreement, in its sum with the labelled score; weight 0 is the score alone."""
FINALISTS = (3, 4, 6, 8, None)
"""None: all candidates."""


@dataclass(frozen=True)
class Search:
    """A simulated search: candidates are rows of the table, the default first; scores are by row of the table."""

    candidates: tuple[int, ...]
    scores: dict[str, Floats]  # labelled macro AUC [rows] by variant of the weights
    variant: str
    agreement: dict[str, Floats]  # [candidates] by how the others are combined
    resampled: Floats  # [draws, candidates]: the score on resampled files
    twins: dict[int, tuple[int, ...]]  # the same configuration's rows of other seeds

    @property
    def default(self) -> int:
        return self.candidates[0]

    def candidate_scores(self, variant: str | None = None) -> Floats:
        return self.scores[variant or self.variant][list(self.candidates)]


@dataclass(frozen=True)
class Delivery:
    """`members` are combined `by` mean, ranks, or not at all: then the expected score of one of them counts."""

    members: tuple[int, ...]
    by: str = "one"
    variant: str | None = None
    trained: tuple[int, ...] | None = None  # None: the candidates


Rule = Callable[[Search], Delivery | None]
"""None: the search or the table is too small for it."""


def single(search: Search, values: Floats, variant: str | None = None) -> Delivery:
    return Delivery((search.candidates[int(np.argmax(values))],), variant=variant)


def by_score(search: Search, variant: str | None = None) -> Delivery | None:
    if variant is not None and variant not in search.scores:
        return None
    return single(search, search.candidate_scores(variant), variant)


def z_scores(values: Floats) -> Floats:
    spread = values.std()
    return (values - values.mean()) / (spread if spread > 0 else 1.0)


def score_and_agreement(search: Search, weight: float, kind: str) -> Floats:
    return (1 - weight) * z_scores(search.candidate_scores()) + weight * z_scores(search.agreement[kind])


def by_sum(search: Search, weight: float, kind: str) -> Delivery:
    return single(search, score_and_agreement(search, weight, kind))


def beyond_one_error(search: Search) -> Delivery:
    """The best score, if it leads the default by more than the standard error of their difference."""
    best = int(np.argmax(search.candidate_scores()))
    lead = search.candidate_scores()[best] - search.candidate_scores()[0]
    error = (search.resampled[:, best] - search.resampled[:, 0]).std(ddof=1)
    return Delivery((search.candidates[best if lead > error else 0],))


def probably_better(search: Search, at_least: float = 0.8) -> Delivery:
    """The best score, if it beats the default on that share of the resampled files."""
    best = int(np.argmax(search.candidate_scores()))
    share = (search.resampled[:, best] > search.resampled[:, 0]).mean()
    return Delivery((search.candidates[best if share > at_least else 0],))


def by_posterior(search: Search) -> Delivery | None:
    """The best posterior mean of the lead over the default, if it is above 0.

    Leads are normal around a mean that the candidates share; their spread is what the noise of the files leaves.
    """
    if len(search.candidates) < 3:
        return None
    leads = search.candidate_scores()[1:] - search.candidate_scores()[0]
    noise = (search.resampled[:, 1:] - search.resampled[:, :1]).var(axis=0, ddof=1)
    spread = max(0.0, float(leads.var(ddof=1) - noise.mean()))
    trust = spread / np.maximum(spread + noise, 1e-12)
    posterior = leads.mean() + trust * (leads - leads.mean())
    best = int(np.argmax(posterior))
    return Delivery((search.candidates[best + 1 if posterior[best] > 0 else 0],))


def finalists(values: Floats, n: int | None, with_default: bool) -> list[int]:
    """Places of the n best candidates; the default takes the last one's place, or is left out."""
    best_first = [int(place) for place in np.argsort(-values, kind="stable") if place > 0]
    if with_default:
        return [0, *best_first[: (n or len(values)) - 1]]
    return best_first[:n]


def combined(search: Search, values: Floats, n: int | None, by: str, with_default: bool) -> Delivery | None:
    if n is not None and n > len(search.candidates):
        return None
    places = finalists(values, n, with_default)
    return Delivery(tuple(sorted(search.candidates[place] for place in places)), by)


def combined_by_score(search: Search, n: int | None, by: str, with_default: bool) -> Delivery | None:
    return combined(search, search.candidate_scores(), n, by, with_default)


def combined_by_sum(search: Search, n: int | None, weight: float = 0.5) -> Delivery | None:
    return combined(search, score_and_agreement(search, weight, "mean"), n, "mean", with_default=True)


def combined_at_random(search: Search, n: int) -> Delivery | None:
    """The default and the first that were drawn: what a mean does without choosing, at n trainings."""
    members = search.candidates[:n]
    return Delivery(tuple(sorted(members)), "mean", trained=members) if len(members) == n else None


def default_alone(search: Search, variant: str | None = None) -> Delivery | None:
    if variant is not None and variant not in search.scores:
        return None
    return Delivery((search.default,), variant=variant, trained=(search.default,))


def default_often(search: Search, n: int) -> Delivery | None:
    """The mean of n seeds of the default: what a mean does without other configurations."""
    members = (search.default, *search.twins[search.default])[:n]
    return Delivery(tuple(sorted(members)), "mean", trained=members) if len(members) == n else None


def two_seeds(search: Search, n: int, by: str) -> Delivery | None:
    """The default and n - 1 finalists are trained once more with the same other seed; the best mean score wins."""
    ranked = (search.candidates[place] for place in finalists(search.candidate_scores(), None, True))
    pairs = [(row, search.twins[row][0]) for row in ranked if search.twins[row]][:n]
    if len(pairs) < n or pairs[0][0] != search.default:
        return None
    best = max(pairs, key=lambda pair: search.scores[search.variant][list(pair)].mean())
    return Delivery(best, by, trained=(*search.candidates, *(twin for _, twin in pairs)))


def all_rules() -> dict[str, Rule]:
    rules: dict[str, Rule] = {
        "default, best epoch": partial(default_alone, variant="best"),
        "default, last epoch": partial(default_alone, variant="last"),
        "default": default_alone,
        "default, mean of 2 seeds": partial(default_often, n=2),
        "default, mean of 4 seeds": partial(default_often, n=4),
        TODAY: partial(by_score, variant="best"),
        "score of the last epoch": partial(by_score, variant="last"),
        SCORE: by_score,
        "beyond one standard error": beyond_one_error,
        "probably better (.8)": probably_better,
        "posterior mean": by_posterior,
        "4 at random, mean": partial(combined_at_random, n=4),
    }
    for kind in ("mean", "ranks"):
        rules |= {sum_name(weight, kind): partial(by_sum, weight=weight, kind=kind) for weight in WEIGHTS}
    for n in FINALISTS:
        for by in ("mean", "ranks"):
            for with_default in (True, False):
                name = combined_name(n, by) + ("" if with_default else ", no default")
                rules[name] = partial(combined_by_score, n=n, by=by, with_default=with_default)
        if n is not None:
            rules[f"{n} by score + agreement, mean"] = partial(combined_by_sum, n=n)
    for n in (3, 4):
        rules[f"two seeds of {n}, one of them"] = partial(two_seeds, n=n, by="one")
        rules[f"two seeds of {n}, mean"] = partial(two_seeds, n=n, by="mean")
    return rules


def sum_name(weight: float, kind: str) -> str:
    return f"score + {weight:g} agreement with {kind}"


def combined_name(n: int | None, by: str) -> str:
    return f"{n or 'all'} finalists, {by}"
