"""Models that predict together, and how their scores become one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32

from sed_model.model.checkpoint import LoadedModel, load_model
from sed_model.predict.soundscapes import (
    check_members_fit,
)
from sed_model.scores import combine


@dataclass(frozen=True)
class Joining:
    """How the probabilities of members become one.

    Attributes:
        weights: of the members, of any scale; None: equal.
        runs: a number for each member, that of the run that it is of: where some of a run's may not judge a window,
            the others have its share. Empty: all are of one.
        method: one of combine.COMBINE_METHODS.
        mean_exponent: of power_mean.
    """

    weights: tuple[float, ...] | None = None
    method: str = "mean"
    mean_exponent: float = 2.0
    runs: tuple[int, ...] = ()


def joining_problem(joining: Joining, n_members: int) -> str:
    """What is wrong with a way to join `n_members` members, or nothing."""
    weights = (1.0,) * n_members if joining.weights is None else joining.weights
    if joining.method not in combine.COMBINE_METHODS:
        return f"method {joining.method!r:.80} is none of {', '.join(combine.COMBINE_METHODS)}"
    if not 0 < joining.mean_exponent < math.inf:
        return f"mean_exponent {joining.mean_exponent!r} is no number above 0"
    if len(weights) != n_members:
        return f"there are {len(weights)} weights for {n_members} members"
    if len(joining.runs) not in (0, n_members):
        return f"there are {len(joining.runs)} numbers of runs for {n_members} members"
    good = all(0 <= weight < math.inf for weight in weights)
    return "" if good and 0 < sum(weights) < math.inf else "weights have to be finite numbers from 0, not all 0"


@dataclass(frozen=True)
class Ensemble:
    """Models that predict together."""

    members: tuple[LoadedModel, ...]
    joining: Joining = Joining()

    @property
    def classes(self) -> tuple[str, ...]:
        return self.members[0].lineage.classes

    @property
    def target_s(self) -> float:
        return self.members[0].config.data.target_s

    def combine(
        self,
        by_member: Float[np.ndarray, "members windows classes"],
        allowed: Bool[np.ndarray, "members windows"] | None = None,
    ) -> Float32[np.ndarray, "windows classes"]:
        """One probability from all members; with `allowed` from those of a window, and 0 where there are none."""
        weights = None if self.joining.weights is None else np.asarray(self.joining.weights)
        if allowed is not None:
            given = np.ones(len(self.members)) if weights is None else weights
            runs = np.array(self.joining.runs or (0,) * len(self.members))
            weights = combine.weights_by_window(given, runs, allowed)
        return combine.combine(by_member, self.joining.method, weights, self.joining.mean_exponent)


def load_ensemble(
    folders: Sequence[Path], joining: Joining = Joining(), load: Callable[[Path], LoadedModel] = load_model
) -> Ensemble:
    """The models of some folders, checked to fit together.

    Raises:
        CheckpointError: a model is missing or damaged, or they do not fit together.
    """
    members = tuple(load(folder) for folder in folders)
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):  # parts of several trials
        names = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    check_members_fit(members, names)
    return Ensemble(members, joining)
