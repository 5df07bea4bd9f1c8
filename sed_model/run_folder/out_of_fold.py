"""Predictions of models that were trained on parts of the labelled soundscapes: each part by who has not heard it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from sed_model.core.errors import CheckpointError
from sed_model.run_folder import window_metrics
from sed_model.run_folder.delivered import Delivered, Member
from sed_model.run_folder.predictions import OutOfFold, read_predictions
from sed_model.run_folder.window_metrics import MACRO_AUC


def joined(parts: Sequence[OutOfFold]) -> OutOfFold:
    """The windows of all parts, sorted by file and time.

    Raises:
        CheckpointError: a window is in two parts: they are not those of one split.
    """
    windows = [window for part in parts for window in part.windows]
    order = sorted(range(len(windows)), key=windows.__getitem__)
    if len(set(windows)) < len(windows):
        raise CheckpointError("parts of a finalist hold the same window; train them again (delete its part_* folders).")
    targets, probabilities = (
        np.concatenate([getattr(part, name) for part in parts])[order] for name in ("targets", "probabilities")
    )
    numbers = np.repeat(np.arange(len(parts)), [len(part.windows) for part in parts])[order]
    return OutOfFold(parts[0].classes, tuple(windows[place] for place in order), targets, probabilities, numbers)


def score(said: OutOfFold, metric: str = MACRO_AUC) -> float:
    """One of `window_metrics.METRICS`, by windows that one model scored: see there.

    Raises:
        DataError: the windows do not define it.
    """
    return window_metrics.score(metric, said.targets, said.probabilities, said.parts)


def of_members(run: Path, members: Sequence[Member], within: Path | None = None) -> OutOfFold:
    """What the models of one finalist say, each of the part that it has not heard.

    Args:
        within: a folder that no link may lead out of.

    Raises:
        CheckpointError: predictions are missing or damaged, or parts overlap.
    """
    return joined([read_predictions(run / member.folder, within) for member in members])


def rounds_of(run: Path, members: Sequence[Member], n_parts: int, within: Path | None = None) -> list[OutOfFold]:
    """The same of each so many members of a finalist, in turn: each time there is one for each part.

    Raises:
        CheckpointError: see `of_members`.
    """
    firsts = range(0, len(members), n_parts)
    return [of_members(run, members[first : first + n_parts], within) for first in firsts]


def of_mean(run: Path, delivered: Delivered, within: Path | None = None) -> OutOfFold:
    """What a run delivers says of the labelled soundscapes: the mean of its members of which each part has as many.

    Raises:
        CheckpointError: predictions are missing or damaged, or the finalists' windows differ.
    """
    kept = rounds_of(run, delivered.members, delivered.n_parts, within)
    if any(one.windows != kept[0].windows or one.classes != kept[0].classes for one in kept):
        raise CheckpointError(f"{run}: its finalists were validated on other windows; resume the search.")
    mean = np.mean([one.probabilities for one in kept], axis=0)
    return replace(kept[0], probabilities=mean)
