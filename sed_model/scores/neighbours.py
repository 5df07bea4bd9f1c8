"""Nearest neighbours of recordings by their embeddings, and what the labels of these say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

N_VOTES = 10
BLOCK_ROWS = 256
"""Whose similarities to all others are in memory at a time: 20 MB for 20,000 recordings."""


@dataclass(frozen=True)
class Labelled:
    """Recordings in one order: their labels, their authors, and further labels of which each is not surprising."""

    labels: Sequence[str]
    authors: Sequence[str]
    further: Sequence[Collection[str]]


@dataclass(frozen=True)
class Alike:
    """What one recording is like; similarities are cosines, -1..1.

    Attributes:
        nearest: place of the most similar other recording; None: there is no other.
        same_label_share: see `alike`; None: no other recording has its label.
        suggested_label: the commonest label of the voters, None where it is one of its own or no commoner than that.
    """

    nearest: int | None
    similarity: float | None
    same_label_share: float | None
    suggested_label: str | None


def alike(embeddings: Float32[np.ndarray, "recordings dim"], known: Labelled, n_votes: int = N_VOTES) -> list[Alike]:
    """The nearest other recording of each, and what the `n_votes` nearest by other authors say of its label.

    One recordist's files resemble each other, so these vote only where no other author has a recording of the label
    in question: else nobody could vote for it.
    """
    directions = centred_directions(embeddings)
    labels, authors = (np.unique(np.array(values, object), return_inverse=True)[1] for values in
                       (known.labels, known.authors))  # fmt: skip
    found: list[Alike] = []
    for rows, similarity in _blocks(directions):
        for row, values in zip(rows, similarity, strict=True):
            values[row] = -np.inf
            if len(values) < 2:
                found.append(Alike(None, None, None, None))
                continue
            nearest = int(values.argmax())
            highest = float(np.clip(values[nearest], -1, 1))
            is_same = labels == labels[row]
            is_other_author = authors != authors[row]
            may_vote = is_other_author if (is_same & is_other_author).any() else np.isfinite(values)
            share, suggested = (
                (None, None) if is_same.sum() < 2 else _vote(int(row), _nearest(values, may_vote, n_votes), known)
            )
            found.append(Alike(nearest, highest, share, suggested))
    return found


def centred_directions(embeddings: Float32[np.ndarray, "n dim"]) -> Float32[np.ndarray, "n dim"]:
    """Of length 1, after the mean of all is taken off; 0 where nothing is left."""
    centred = embeddings - embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)


def _blocks(directions: Float32[np.ndarray, "n dim"]) -> Iterator[tuple[np.ndarray, Float32[np.ndarray, "rows n"]]]:
    for first in range(0, len(directions), BLOCK_ROWS):
        rows = np.arange(first, min(first + BLOCK_ROWS, len(directions)))
        yield rows, directions[rows] @ directions.T


def _nearest(values: Float32[np.ndarray, " n"], may_vote: Bool[np.ndarray, " n"], k: int) -> list[int]:
    """Places of the k highest values among those that may vote, the highest first."""
    places = np.flatnonzero(may_vote)
    if len(places) > k:
        places = places[np.argpartition(-values[places], k - 1)[:k]]
    order: list[int] = places[np.argsort(-values[places], kind="stable")].tolist()
    return order


def _vote(row: int, voters: Sequence[int], known: Labelled) -> tuple[float, str | None]:
    """Share of the voters with the recording's label, and the label that they suggest; the nearest one's at a tie."""
    own = known.labels[row]
    counts = Counter(known.labels[place] for place in voters)
    label, n_most = counts.most_common(1)[0]
    is_own = label in known.further[row] or n_most <= counts[own]
    return counts[own] / len(voters), None if is_own else label
