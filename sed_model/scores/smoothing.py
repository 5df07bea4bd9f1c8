"""What windows say to their neighbours, and silence."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64


def smooth(
    probabilities: Float[np.ndarray, "windows classes"], centre: float | Float64[np.ndarray, " classes"]
) -> Float32[np.ndarray, "windows classes"]:
    """Weight each window with its two neighbours, (1 - centre) / 2 each; a missing neighbour is the window itself."""
    side = (1 - centre) / 2
    before = np.concatenate([probabilities[:1], probabilities[:-1]])
    after = np.concatenate([probabilities[1:], probabilities[-1:]])
    return (centre * probabilities + side * (before + after)).astype(np.float32)


def smooth_files(
    probabilities: Float[np.ndarray, "windows classes"], filenames: Sequence[str], centre: float
) -> Float32[np.ndarray, "windows classes"]:
    """`smooth` in each soundscape by itself; its windows lie together, in the order of time."""
    names = np.asarray(filenames, dtype=object)
    starts = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1), len(names)]
    smoothed = np.empty(probabilities.shape, np.float32)
    for first, end in pairwise(starts):
        smoothed[first:end] = smooth(probabilities[first:end], centre)
    return smoothed


def silence(
    probabilities: Float[np.ndarray, "windows classes"], is_silent: Bool[np.ndarray, " windows"]
) -> Float32[np.ndarray, "windows classes"]:
    """Set the windows without sound to 0."""
    return np.where(is_silent[:, None], 0, probabilities).astype(np.float32)
