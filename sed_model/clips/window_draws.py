"""Which pseudo-labelled window a student's clip meets: by class and weight, of the recording's own class, or capped.

A window of a class over its cap is not always taken when it is drawn: the clip then stays the recording that it was.
Targets are never scaled for that; they say how likely a class is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sed_model.clips.samplers import recording_weights
from sed_model.config.sed_config import Data, Pseudo
from sed_model.core.errors import DataError

MAX_STEPS = 100
"""Of the scaling; a class whose targets are all small comes down slowly, and the rest is taken off at once."""
CLOSE = 0.999
_TINY = 1e-12


@dataclass(frozen=True)
class Focal:
    """What recordings bring to a clip of an epoch, before pseudo-labels come in.

    Attributes:
        targets: [classes], mean of their targets.
        shares: primary label -> share of the clips.
    """

    targets: NDArray[np.float64]
    shares: Mapping[str, float]


class WindowDraws:
    """Draws windows by their weights and the sampler's rule for classes. Every draw follows from a number, 0..1."""

    def __init__(self, labels: Sequence[str], weights: NDArray[np.floating], data: Data) -> None:
        """
        Args:
            labels: the best class of each window.

        Raises:
            DataError: all weights are 0.
        """
        chances = recording_weights(labels, data) * weights
        if not chances.any():
            raise DataError("all pseudo-labelled windows have weight 0; make the pseudo-labels again.")
        of_class = np.asarray(labels)
        drawn = np.flatnonzero(chances)
        self._all = _Wheel.of(np.arange(len(chances)), chances)
        self._by_class = {
            str(label): _Wheel.of(places, chances[places])
            for label in np.unique(of_class[drawn])
            for places in [drawn[of_class[drawn] == label]]
        }

    def place(self, number: float, label: str = "") -> int:
        """Of the drawn window; one whose best class is `label`, unless there is none."""
        return self._by_class.get(label, self._all).place(number)

    def expected(self, settings: Pseudo, shares: Mapping[str, float]) -> NDArray[np.float64]:
        """How often a clip meets each window [windows], where recordings have these `shares` of the clips."""
        of_own_class = settings.replace_prob * settings.same_class_share
        met = (settings.prob - of_own_class) * self._all.chances
        for label, share in shares.items():
            wheel = self._by_class.get(label, self._all)
            met[wheel.places] += of_own_class * share * wheel.chances
        return met


@dataclass(frozen=True)
class _Wheel:
    """Places of windows, with chances that sum to 1."""

    places: NDArray[np.intp]
    chances: NDArray[np.float64]
    summed: NDArray[np.float64]

    @classmethod
    def of(cls, places: NDArray[np.intp], chances: NDArray[np.float64]) -> _Wheel:
        chances = chances / chances.sum()
        summed = chances.cumsum()
        return cls(places, chances, summed / summed[-1])

    def place(self, number: float) -> int:
        # As rng.choice draws with p, which would sum up the chances of all windows for every clip.
        return int(self.places[self.summed.searchsorted(number, side="right")])


def limits(focal: Focal, settings: Pseudo) -> NDArray[np.float64]:
    """Most targets of pseudo-labels that a clip may bring of each class [classes], as an expected value.

    `mass_cap` of what recordings bring where every drawn window is taken: then those that are replaced are not heard. A
    class without recordings, which only soundscapes hold, has the mean of the other ones' limits: without pseudo-labels
    it would be learned from labelled windows alone, and without a limit from nothing else.
    """
    heard = focal.targets * (1 - settings.replace_prob)
    return settings.mass_cap * np.where(heard > 0, heard, heard[heard > 0].mean())


def taken_shares(
    met: NDArray[np.float64], targets: NDArray[np.float32], limit: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Share of the draws of each window [windows] that are taken, so that no class is above its limit.

    Iterative scaling (Darroch & Ratcliff 1972): as near to taking all as the limits allow, so that a window pays for a
    class over its limit by its target of it, and a faint neighbour does not cost a rare class its windows.

    Args:
        met: how often a clip meets each window.
        targets: [windows, classes], 0..1.
        limit: [classes], above 0.
    """

    def room(taken: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.minimum(1, limit / np.maximum((met * taken) @ targets, _TINY))

    exponents = targets / np.maximum(1, targets.sum(axis=1, keepdims=True))
    taken = np.ones(len(met))
    for _ in range(MAX_STEPS):
        left = room(taken)
        if left.min() > CLOSE:
            break
        taken = taken * np.exp(exponents @ np.log(left))
    return taken * np.where(targets > 0, room(taken), 1).min(axis=1)
