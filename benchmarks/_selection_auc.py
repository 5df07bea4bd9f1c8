"""What the replay of rules computes many times: macro AUC of reweighted files, and agreement without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class FilePairs:
    """Pairs of a positive and a negative window that the scores order rightly (ties: half), by the files of the two.

    With it the AUC of any reweighted files is a quadratic form of their weights, exactly.
    """

    won: Floats  # [rows, classes, file of the positive, file of the negative]
    positives: Floats  # [classes, files]: windows
    negatives: Floats

    def macro_auc(self, weights: Floats) -> Floats:
        """Macro AUC [draws, rows] of weights [draws, files]; as everywhere over the classes that have both kinds.

        A draw without such a class is NaN.
        """
        used = np.flatnonzero(weights.any(axis=0))
        weights = weights[:, used].astype(np.float32)
        n_pairs = (weights @ self.positives[:, used].T) * (weights @ self.negatives[:, used].T)
        by_negative = np.tensordot(weights, self.won[:, :, used[:, None], used], axes=([1], [2]))
        n_won = np.einsum("drcf,df->drc", by_negative, weights)
        auc = n_won / np.maximum(n_pairs, 1)[:, None]
        defined = n_pairs > 0
        n_defined = np.where(defined.any(axis=1), defined.sum(axis=1), np.nan)
        return (auc * defined[:, None]).sum(axis=2) / n_defined[:, None]


def file_pairs(targets: NDArray[np.int8], scores: Floats, files: NDArray[np.int16]) -> FilePairs:
    """`targets` [windows, classes], `scores` [rows, windows, classes], `files` [windows], counted from 0."""
    positive = targets > 0
    of_file = np.eye(int(files.max()) + 1, dtype=np.float32)[files]
    won = [
        np.stack([_won(row[:, k], positive[:, k], of_file) for k in range(targets.shape[1])])
        for row in np.asarray(scores, dtype=np.float32)
    ]
    return FilePairs(np.stack(won), positive.T.astype(np.float32) @ of_file, (~positive.T).astype(np.float32) @ of_file)


def _won(scores: Floats, positive: NDArray[np.bool_], of_file: Floats) -> Floats:
    """Of one class: [file of the positive, file of the negative]."""
    own, other = scores[positive][:, None], scores[~positive][None]
    wins = (np.greater(own, other).astype(np.float32) + np.greater_equal(own, other)) / 2
    return of_file[positive].T @ (wins @ of_file[~positive])


def weighted_macro_auc(targets: NDArray[np.int8], scores: Floats, weights: Floats) -> Floats:
    """Macro AUC [rows, draws] of scores [rows, windows, classes], for weights of the windows [draws, windows].

    Quicker for scores that are needed once. Ties are broken by the sort: means of several predictions have hardly any.
    """
    order = np.argsort(np.ascontiguousarray(scores.swapaxes(1, 2)), axis=2)
    positive = np.take_along_axis(np.ascontiguousarray(targets.T > 0)[None], order, axis=2)
    columns = []
    for of_window in weights.astype(np.float32):
        sorted_weights = of_window[order]
        of_negatives = np.where(positive, 0, sorted_weights)
        of_positives = sorted_weights - of_negatives
        n_won = (np.cumsum(of_negatives, axis=2) * of_positives).sum(axis=2)
        n_pairs = of_positives.sum(axis=2) * of_negatives.sum(axis=2)
        columns.append(np.nanmean(np.where(n_pairs > 0, n_won / np.maximum(n_pairs, 1), np.nan), axis=1))
    return np.stack(columns, axis=1)


def standard_ranks(scores: Floats) -> Floats:
    """Ranks along the windows of scores [.., windows, classes], with mean 0 and squares that sum to 1 (constant: 0)."""
    ranks = rankdata(scores, axis=-2).astype(np.float32)
    return _standardised(ranks)


def agreement(scores: Floats) -> Floats:
    """Spearman correlation of each of scores [rows, windows, classes] with the mean of the others, mean of classes."""
    scores = np.asarray(scores, dtype=np.float32)
    others = (scores.sum(axis=0) - scores) / max(1, len(scores) - 1)
    return _correlation(standard_ranks(scores), standard_ranks(others))


def rank_agreement(ranks: Floats) -> Floats:
    """The same with the mean of the others' ranks, itself not ranked again; `ranks` as `standard_ranks` gives them."""
    return _correlation(ranks, _standardised(ranks.sum(axis=0) - ranks))


def _standardised(values: Floats) -> Floats:
    centred = values - values.mean(axis=-2, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=-2, keepdims=True))
    return centred / np.where(length > 0, length, 1)


def _correlation(one: Floats, other: Floats) -> Floats:
    return (one * other).sum(axis=-2).mean(axis=-1)
