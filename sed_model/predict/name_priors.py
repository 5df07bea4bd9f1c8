"""What calls where and when: how much likelier each class is at a soundscape's site, hour or month, by its name.

The rate of a class at a place is that of the soundscapes in which it was heard there, shrunk towards its rate
everywhere: a beta-binomial whose strength is the likeliest one (empirical Bayes; Robbins 1956, Casella 1985). So a
place with a few soundscapes says little, and where places do not differ none says anything.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # which imports its parts when they are first used
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sed_model.core.soundscape_names import NAME_GROUPS, SITE, keys_of

STRENGTHS = tuple(2.0**power for power in range(-1, 11))
"""Soundscapes that the rate everywhere counts like; with the largest, places say next to nothing."""


class NamePrior(BaseModel):
    """Shifts of classes' log-odds by what the name of a soundscape tells; a part of the post-processing's file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    pattern: str = Field(SITE.pattern, description="regular expression with groups named site, date and time")
    weight: float = Field(1.0, gt=0, le=4, description="power of the ratio of odds")
    classes: tuple[str, ...] = Field(min_length=1, description="in the order of the shifts")
    shifts: dict[str, tuple[float, ...]] = Field(description="a place (site=H02, hour=07, month=04) -> log-odds")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, text: str) -> str:
        checked_pattern(text)
        return text

    @model_validator(mode="after")
    def _fits(self) -> NamePrior:
        if odd := [place for place, shifts in self.shifts.items() if len(shifts) != len(self.classes)]:
            raise ValueError(f"{odd[0]} has other than {len(self.classes)} shifts")
        return self


@dataclass(frozen=True)
class Heard:
    """In which soundscapes each class was heard; `present` is 0..1, a probability where it is not known."""

    stems: tuple[str, ...]
    present: Float[np.ndarray, "files classes"]

    def without(self, stems: frozenset[str]) -> Heard:
        kept = [row for row, stem in enumerate(self.stems) if stem not in stems]
        return Heard(tuple(self.stems[row] for row in kept), self.present[kept])

    def with_others(self, others: Heard) -> Heard:
        return Heard((*self.stems, *others.stems), np.concatenate([self.present, others.present]))


def checked_pattern(text: str) -> re.Pattern[str]:
    """
    Raises:
        ValueError: it is no regular expression, or has no group, or one of another name.
    """
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r:.80} is no regular expression: {error}") from None
    if not pattern.groupindex or set(pattern.groupindex) - set(NAME_GROUPS):
        raise ValueError(
            f"{text!r:.80} has the groups {', '.join(pattern.groupindex) or '(none)'}; name some of "
            f"{', '.join(NAME_GROUPS)}, as in (?P<site>[A-Z]+)_(?P<date>\\d{{8}})"
        )
    return pattern


def fit_shifts(heard: Heard, pattern: re.Pattern[str], kinds: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The log-odds of each class at each place, less those everywhere; `kinds` are some of site, hour and month."""
    shifts: dict[str, NDArray[np.float64]] = {}
    for kind in kinds:
        places = [keys_of(stem, pattern).get(kind) for stem in heard.stems]
        names = sorted({place for place in places if place is not None})
        rows = [[row for row, place in enumerate(places) if place == name] for name in names]
        if not rows:
            continue
        n_files = np.array([len(one) for one in rows], np.float64)
        n_heard = np.stack([heard.present[one].sum(axis=0, dtype=np.float64) for one in rows])
        for name, shift in zip(names, _shrunk(n_heard, n_files[:, None]), strict=True):
            shifts[f"{kind}={name}"] = shift
    return shifts


def _shrunk(
    n_heard: Float[np.ndarray, "places classes"], n_files: Float[np.ndarray, "places 1"]
) -> Float[np.ndarray, "places classes"]:
    rates = (n_heard.sum(axis=0) + 0.5) / (n_files.sum() + 1)
    strength = max(STRENGTHS, key=lambda one: _log_likelihood(n_heard, n_files, one * rates, one * (1 - rates)))
    # The half soundscape with the class, and the half one without, are shared out: where a class is heard alike
    # everywhere no place has a shift.
    shares = n_files / n_files.sum()
    at_place = (n_heard + 0.5 * shares + strength * rates) / (n_files + shares + strength)
    return np.asarray(scipy.special.logit(at_place) - scipy.special.logit(rates))


def _log_likelihood(
    n_heard: Float[np.ndarray, "places classes"],
    n_files: Float[np.ndarray, "places 1"],
    alpha: Float[np.ndarray, " classes"],
    beta: Float[np.ndarray, " classes"],
) -> float:
    """Of the counts, if the rates of places are drawn from a beta distribution, one for each class."""
    seen = scipy.special.betaln(n_heard + alpha, n_files - n_heard + beta)
    return float((seen - scipy.special.betaln(alpha, beta)).sum())


def known_places(stem: str, pattern: re.Pattern[str], shifts: Container[str]) -> list[str]:
    """The places of a soundscape that have shifts."""
    return [place for kind, name in keys_of(stem, pattern).items() if (place := f"{kind}={name}") in shifts]


def places_of(stem: str, prior: NamePrior) -> list[str]:
    """What a prior knows of a soundscape's places."""
    return known_places(stem, re.compile(prior.pattern), prior.shifts)


def shift_of(
    stem: str, pattern: re.Pattern[str], shifts: Mapping[str, Sequence[float] | NDArray[np.float64]]
) -> float | NDArray[np.float64]:
    """The sum of the log-odds of a soundscape's places; 0 where none of them is known."""
    known = [np.asarray(shifts[place]) for place in known_places(stem, pattern, shifts)]
    return np.sum(known, axis=0) if known else 0.0


def shift_odds(
    probabilities: Float[np.ndarray, "windows classes"], log_odds: float | Float[np.ndarray, " classes"]
) -> Float32[np.ndarray, "windows classes"]:
    """Odds times exp(log_odds); 0 and 1 stay."""
    ratio = np.exp(np.asarray(log_odds, np.float64))
    raised = probabilities * ratio
    return np.asarray(raised / (raised + (1 - probabilities)), np.float32)


def apply_prior(
    probabilities: Float[np.ndarray, "windows classes"],
    stems: Sequence[str],
    n_windows: Sequence[int],
    prior: NamePrior,
) -> Float32[np.ndarray, "windows classes"]:
    """The prior on the windows of some soundscapes, `n_windows` of each, one soundscape after the other."""
    pattern = re.compile(prior.pattern)
    pieces = np.split(probabilities, np.cumsum(n_windows)[:-1])
    shifts = [prior.weight * np.asarray(shift_of(stem, pattern, prior.shifts)) for stem in stems]
    return np.concatenate([shift_odds(piece, shift) for piece, shift in zip(pieces, shifts, strict=True)])
