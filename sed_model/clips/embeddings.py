"""What a frozen foreign model heard in a clip: the mean of its embeddings over the clip's times, or a mix of means.

An embedding is None where it is not known; nothing is guessed in its place. In a batch that is a row of zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from sed_model.audio.cache import AudioCache
from sed_model.core.errors import DataError

Embedding = NDArray[np.float32] | None
"""[dim], or None where it is not known."""
MOST_FOR_CENTRE = 2_000
"""Recordings that the centre is the mean of: more would not move it, and every trial works it out."""


@runtime_checkable
class EmbeddingSource(Protocol):
    """The embeddings of one foreign model, the teacher."""

    name: str
    """The teacher's."""
    dim: int

    def mean(self, path: str, start_s: float, end_s: float) -> NDArray[np.float32] | None:
        """[dim], of what the teacher heard between the times of a recording or soundscape.

        None where nothing is known. `path` is relative to the data folder.
        """


def embedding_of_cut(
    source: EmbeddingSource | None, cache: AudioCache, path: str, start: int, n_samples: int
) -> Embedding:
    """Of what `cut` gives for the same place: all of a shorter recording, which is repeated."""
    if source is None:
        return None
    first = min(start, max(0, cache.n_samples(path) - n_samples))
    return embedding_of_samples(source, cache, path, first, n_samples)


def embedding_of_samples(
    source: EmbeddingSource | None, cache: AudioCache, path: str, start: int, n_samples: int
) -> Embedding:
    """Of the samples from `start`, as far as there are any."""
    if source is None:
        return None
    end = min(start + n_samples, cache.n_samples(path))
    return source.mean(path, start / cache.sample_rate_hz, end / cache.sample_rate_hz)


def mixed_embedding(first: Embedding, second: Embedding, share: float) -> Embedding:
    """Of a clip that is `share` of the first and the rest of the second; unknown where one of them is."""
    if first is None or second is None:
        return None
    return (share * first + (1 - share) * second).astype(np.float32)


def centre_of(source: EmbeddingSource, cache: AudioCache, paths: Sequence[str]) -> Float32[np.ndarray, " dim"]:
    """The mean embedding of (at most `MOST_FOR_CENTRE`) recordings, each counted alike.

    Embeddings behind a ReLU all point into one corner: around their centre they differ by what sounds.

    Raises:
        DataError: the teacher knows none of the recordings.
    """
    chosen = paths[:: -(-len(paths) // MOST_FOR_CENTRE)]
    every = [embedding_of_cut(source, cache, path, 0, cache.n_samples(path)) for path in chosen]
    known = [one for one in every if one is not None]
    if not known:
        raise DataError(
            f"the embeddings of {source.name} are of none of the {len(chosen)} training recordings that were looked "
            "up; make them again for this data folder."
        )
    return np.stack(known).mean(axis=0, dtype=np.float64).astype(np.float32)
