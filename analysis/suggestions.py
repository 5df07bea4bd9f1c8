"""Which windows to label next: those that members differ about, of classes with few labels, from many files and sites.

A window is worth, for each class, what its label would tell which member is right: the mutual information between the
label and the member (BALD: Houlsby et al. 2011, arXiv:1112.5745), and where there is one member, how unsure it is (the
entropy). The classes are weighted by 1 / (1 + n), n the labelled windows with the class: macro AUC counts all classes
alike, and the variance of a class's AUC goes with 1 / n (Hanley & McNeil 1982). Windows are taken one after the other,
each for its worth over 1 + the windows already taken from its file, and over 1 + those from its site, as d'Hondt's
method deals out seats; what a taken window probably holds (the members' mean) counts as labelled.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from sed_model.core.soundscape_names import site_of
from sed_model.run_folder.member_scores import MemberScores

SUGGESTION_COLUMNS = ("filename", "start_s", "end_s", "site", "worth", "row")
ON_GRID_S = 1e-3


def suggest_windows(scores: MemberScores, n_labelled: Float[np.ndarray, " classes"], count: int) -> pd.DataFrame:
    """The `count` windows to label next, the first one first; fewer where there are no more.

    Args:
        n_labelled: of each class, the windows with it that are labelled already.

    Returns:
        SUGGESTION_COLUMNS: site is empty where the name does not tell it; worth (in bits, weighted by class) when the
        window was taken, over nothing; row is its place in `scores`.
    """
    files = pd.factorize(np.array([name for name, _, _ in scores.windows], dtype=object))[0]
    sites = [site_of(name) or "" for name, _, _ in scores.windows]
    places = _greedy(scores, n_labelled.astype(float), count, [files, pd.factorize(np.array(sites, dtype=object))[0]])
    rows = [(*scores.windows[row], sites[row], worth, row) for row, worth in places]
    return pd.DataFrame(rows, columns=list(SUGGESTION_COLUMNS))


def _greedy(
    scores: MemberScores, n_labelled: np.ndarray, count: int, groups: Sequence[np.ndarray]
) -> list[tuple[int, float]]:
    """Rows in the order in which they are taken, with their worth then; `groups` holds the group of each window."""
    bits, mean = information_bits(scores.by_member), scores.by_member.mean(axis=0)
    is_free = on_label_grid(scores) & (scores.rms > 0)
    taken = [np.zeros(group.max(initial=-1) + 1) for group in groups]
    found: list[tuple[int, float]] = []
    while len(found) < count and is_free.any():
        worth = bits @ (1 / (1 + n_labelled))
        share = np.prod([1 + n[group] for n, group in zip(taken, groups, strict=True)], axis=0)
        row = int(np.where(is_free, worth / share, -1).argmax())
        found.append((row, float(worth[row])))
        is_free[row] = False
        n_labelled = n_labelled + mean[row]
        for n, group in zip(taken, groups, strict=True):
            n[group[row]] += 1
    return found


def information_bits(by_member: Float[np.ndarray, "members windows classes"]) -> Float[np.ndarray, "windows classes"]:
    """What a label would tell about which member is right, 0..1 bit; of one member, its entropy."""
    of_mean = _entropy_bits(by_member.mean(axis=0))
    if len(by_member) == 1:
        return of_mean
    of_members: np.ndarray = np.mean([_entropy_bits(rows) for rows in by_member], axis=0)
    return np.maximum(of_mean - of_members, 0)  # below 0 by rounding alone


def _entropy_bits(probabilities: np.ndarray) -> np.ndarray:
    p = np.clip(probabilities.astype(float), 1e-12, 1 - 1e-12)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)))


def on_label_grid(scores: MemberScores) -> Bool[np.ndarray, " windows"]:
    """Windows that begin at a multiple of their length, as labelled ones do; others lie between (inference.overlap)."""
    bounds_s = np.array([(start_s, end_s) for _, start_s, end_s in scores.windows], float).reshape(-1, 2)
    start_s, length_s = bounds_s[:, 0], bounds_s[:, 1] - bounds_s[:, 0]
    return np.asarray(np.abs(start_s - np.round(start_s / length_s) * length_s) < ON_GRID_S)
