"""Frame scores of overlapping windows -> one score a frame of the soundscape, and target windows from these."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Float32

from sed_model.predict import MemberScores

FRAME_S = 0.1
"""Length of a frame: finer than the steps of the usual backbones (0.3 to 0.5 s), so that no step is lost."""


def average_overlaps(
    scores: MemberScores, duration_s: float, frame_s: float = FRAME_S
) -> Float32[np.ndarray, "frames classes"]:
    """The mean over all windows that see a frame of what they say of it; 0 where no window looks.

    A frame takes the step of a window in which its centre lies.
    """
    n_windows, n_steps, n_classes = scores.frames.shape
    n_frames = max(1, math.ceil(duration_s / frame_s - 1e-6))
    edges_s = np.arange(n_frames + 1) * frame_s
    # The last frame ends with the soundscape.
    centres_s = (edges_s[:-1] + np.minimum(edges_s[1:], duration_s)) / 2
    total = np.zeros((n_frames, n_classes), np.float32)
    n_seen = np.zeros(n_frames, np.float32)
    for window in range(n_windows):
        start_s = scores.contexts_s[window]
        first, end = np.searchsorted(centres_s, [start_s, start_s + scores.window_s])
        shares = (centres_s[first:end] - start_s) / scores.window_s
        steps = np.minimum((shares * n_steps).astype(int), n_steps - 1)
        total[first:end] += scores.frames[window, steps]
        n_seen[first:end] += 1
    return total / np.maximum(n_seen, 1)[:, None]


def pool_targets(
    frames: Float[np.ndarray, "frames classes"],
    starts_s: Float[np.ndarray, " windows"],
    target_s: float,
    frame_s: float = FRAME_S,
) -> Float32[np.ndarray, "windows classes"]:
    """The maximum of the frames of each target window; 0 for a window beyond the end.

    A short call counts in full. Of mean, maximum, linear softmax and the mean of the highest quarter it ranked the
    windows of labelled train soundscapes best.
    """
    pooled = np.zeros((len(starts_s), frames.shape[1]), np.float32)
    for window, start_s in enumerate(starts_s):
        inside = frames[round(start_s / frame_s) : round((start_s + target_s) / frame_s)]
        if len(inside):
            pooled[window] = inside.max(axis=0)
    return pooled


def frames_heard(
    heard: Bool[np.ndarray, " windows"],
    starts_s: Float[np.ndarray, " windows"],
    target_s: float,
    n_frames: int,
    frame_s: float = FRAME_S,
) -> Bool[np.ndarray, " frames"]:
    """True for the frames that lie in at least one of the windows that are `heard`."""
    result = np.zeros(n_frames, bool)
    for start_s in starts_s[heard]:
        result[round(start_s / frame_s) : round((start_s + target_s) / frame_s)] = True
    return result
