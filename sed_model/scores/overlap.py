"""Which windows hear a target window, and their frame scores -> one score a frame, and target windows from these."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from numpy.typing import NDArray

FRAME_S = 0.1
"""Length of a frame: finer than the steps of the usual backbones (0.3 to 0.5 s), so that no step is lost."""
EDGE_TOLERANCE_S = 0.1
"""A rest shorter than this at the end of a soundscape is no window of its own (encoders pad a little)."""
SAME_S = 1e-6
"""Starts that lie closer together than this are one."""


@dataclass(frozen=True)
class MemberScores:
    """What one member says of windows of a recording.

    Attributes:
        clip: probabilities of the target windows.
        frames: probabilities of the equally long steps of the whole windows around the targets.
        contexts_s: where these windows, each `window_s` long, start.
    """

    clip: Float32[np.ndarray, "windows classes"]
    frames: Float32[np.ndarray, "windows steps classes"]
    contexts_s: NDArray[np.float64]
    window_s: float

    def of_windows(self, places: NDArray[np.int64]) -> MemberScores:
        """The scores of some of the windows."""
        return MemberScores(self.clip[places], self.frames[places], self.contexts_s[places], self.window_s)


@dataclass(frozen=True)
class Hearing:
    """The windows that are heard to score target windows of one recording, and which of them each target needs.

    Attributes:
        starts_s: of the targets, each `target_s` long.
        heard_s: where the windows that are heard start (as targets, each in its context); ascending, none twice.
        own: the place of each target's own window in `heard_s`.
        around: the places of the windows that hear a target, -1 where there is none; its own is among them.
        shifted: the places of each target's windows `shift_s` earlier and later, held inside the recording.
    """

    starts_s: Float[np.ndarray, " targets"]
    target_s: float
    duration_s: float
    heard_s: Float[np.ndarray, " heard"]
    own: Int[np.ndarray, " targets"]
    around: Int[np.ndarray, "targets offsets"]
    shifted: Int[np.ndarray, "targets 2"]

    def targets_frames(self) -> Int[np.ndarray, "targets 2"]:
        """The first frame of each target, and the one behind its last; both at the end for one beyond the recording."""
        first = np.rint(self.starts_s / FRAME_S)
        end = np.maximum(np.rint((self.starts_s + self.target_s) / FRAME_S), first + 1)
        return np.minimum(np.stack([first, end], axis=1), n_frames_of(self.duration_s)).astype(int)


def hearing(
    starts_s: Float[np.ndarray, " targets"], target_s: float, duration_s: float, window_s: float, shift_s: float = 0.0
) -> Hearing:
    """Which windows hear the targets: those a whole number of targets away whose context, `window_s`, reaches into it.

    The score of a target then does not depend on which others are asked for. With `shift_s` above 0 the windows so much
    earlier and later hear it, too.
    """
    reach_s = (window_s + target_s) / 2
    n_each_side = max(0, math.ceil((reach_s - SAME_S) / target_s) - 1)
    steps_s = np.arange(-n_each_side, n_each_side + 1) * target_s
    offsets_s = np.unique(np.round([steps_s, steps_s - shift_s, steps_s + shift_s], 6))
    offsets_s = offsets_s[np.abs(offsets_s) < reach_s - SAME_S]
    near_s = np.round(starts_s[:, None] + offsets_s, 6)
    there = (near_s > -SAME_S) & (near_s < duration_s - EDGE_TOLERANCE_S) | (offsets_s == 0)
    last_s = np.maximum(starts_s, duration_s - target_s)
    held_s = np.round([np.maximum(starts_s - shift_s, 0), np.minimum(starts_s + shift_s, last_s)], 6).T
    heard_s = np.unique(np.concatenate([near_s[there], held_s.ravel()]))
    around = np.where(there, np.searchsorted(heard_s, near_s), -1)
    own = np.searchsorted(heard_s, np.round(starts_s, 6))
    return Hearing(starts_s, target_s, duration_s, heard_s, own, around, np.searchsorted(heard_s, held_s))


def n_frames_of(duration_s: float, frame_s: float = FRAME_S) -> int:
    return max(1, math.ceil(duration_s / frame_s - 1e-6))


def frame_centres_s(
    frames: Int[np.ndarray, "*shape"], duration_s: float, frame_s: float = FRAME_S
) -> Float[np.ndarray, "*shape"]:
    """The last frame ends with the recording."""
    return (frames * frame_s + np.minimum((frames + 1) * frame_s, duration_s)) / 2


def best_frames(heard: Hearing, scores: MemberScores) -> Float32[np.ndarray, "targets classes"]:
    """The best frame of each target, after each is averaged over the windows that hear it; 0 beyond the recording.

    A short call counts in full. Of mean, maximum, linear softmax and the mean of the highest quarter it ranked the
    windows of labelled train soundscapes best.

    Args:
        scores: of the windows at `heard.heard_s`.
    """
    bounds = heard.targets_frames()
    most = int((bounds[:, 1] - bounds[:, 0]).max(initial=0))
    frames = bounds[:, :1] + np.arange(most)
    centres_s = frame_centres_s(frames, heard.duration_s)
    in_target = frames < bounds[:, 1:]
    n_steps, n_classes = scores.frames.shape[1:]
    total = np.zeros((*frames.shape, n_classes), np.float32)
    n_seen = np.zeros(frames.shape, np.float32)
    for places in heard.around.T:
        shares = (centres_s - scores.contexts_s[places][:, None]) / scores.window_s
        seen = in_target & (shares >= 0) & (shares < 1) & (places >= 0)[:, None]
        target, frame = np.nonzero(seen)
        steps = np.minimum((shares[seen] * n_steps).astype(int), n_steps - 1)
        total[target, frame] += scores.frames[places[target], steps]
        n_seen[target, frame] += 1
    return (total / np.maximum(n_seen, 1)[:, :, None]).max(axis=1, initial=0)


def average_overlaps(
    scores: MemberScores, duration_s: float, frame_s: float = FRAME_S
) -> Float32[np.ndarray, "frames classes"]:
    """The mean over all windows that see a frame of what they say of it; 0 where no window looks.

    A frame takes the step of a window in which its centre lies.
    """
    n_windows, n_steps, n_classes = scores.frames.shape
    n_frames = n_frames_of(duration_s, frame_s)
    centres_s = frame_centres_s(np.arange(n_frames), duration_s, frame_s)
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
