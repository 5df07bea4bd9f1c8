"""Windows of recordings: where one lies around its target, its samples, how loud they are, and what its label is for.

A label says of each class whether it sounds somewhere in its part. It is true of nothing else: what is around the part
is context, which a model hears and nobody has judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from sed_model.audio.cache import AudioCache
from sed_model.audio.cache_build import to_int16
from sed_model.audio.decoding import decode
from sed_model.audio.odd_lengths import OddLength
from sed_model.config.sed_config import SedConfig
from sed_model.model.fast_mel import INT16_SCALE

Part = tuple[float, float]
"""Start and end, as shares of the window."""
WHOLE: Part = (0.0, 1.0)
LEAST_COMMON = 0.5
"""Of the shorter part. Clips whose parts have less in common are not mixed: what one label names may sound outside."""


def common_part(first: Part, second: Part) -> Part | None:
    """The part of a mix of two clips that both labels are for, or None where that is too little to judge by."""
    start, end = max(first[0], second[0]), min(first[1], second[1])
    shorter = min(first[1] - first[0], second[1] - second[0])
    return (start, end) if end - start >= LEAST_COMMON * shorter - 1e-6 else None


def stretched(part: Part, rate: float) -> Part:
    """Where a part lies once the clip plays `rate` times as fast, from the same start; what a slower one loses is gone.

    A part that reached to the end still does: behind the end of a faster clip is silence.
    """
    return min(1.0, part[0] / rate), 1.0 if part[1] >= 1 else min(1.0, part[1] / rate)


@dataclass(frozen=True)
class Context:
    """The window around a target: its start, and the target's place in it as shares of the window."""

    start_s: float
    part: Part


def context_of(start_s: float, end_s: float, duration_s: float, window_s: float) -> Context:
    """A window of `window_s` around the target, centred where the recording allows it, never beyond its ends."""
    centred_s = (start_s + end_s) / 2 - window_s / 2
    window_start_s = min(max(centred_s, 0.0), max(0.0, duration_s - window_s))
    part = ((start_s - window_start_s) / window_s, (end_s - window_start_s) / window_s)
    return Context(window_start_s, (max(0.0, part[0]), min(1.0, part[1])))


def window_samples(config: SedConfig) -> int:
    return round(config.data.window_s * config.front_end.sample_rate_hz)


def cut(cache: AudioCache, path: str, start: int, n_samples: int) -> Float32[np.ndarray, " {n_samples}"]:
    """Samples from `start` (or the last that there are), -1..1; a shorter recording is repeated to fill the window."""
    spare = cache.n_samples(path) - n_samples
    if spare < 0:
        return np.resize(cache.samples(path), n_samples) * INT16_SCALE
    return cache.samples(path, min(start, spare), n_samples) * INT16_SCALE


def decode_as_cached(
    path: Path, sample_rate_hz: int, on_odd: Callable[[OddLength], None] = lambda odd: None
) -> Float32[np.ndarray, " samples"]:
    """`decode` in the 16 bits of the audio cache, so that a model hears what it heard in training, to the last bit.

    Raises:
        UnreadableAudioError: the file cannot be decoded.
    """
    return to_int16(decode(path, sample_rate_hz, on_odd=on_odd)) * INT16_SCALE


def level_of(samples: Float32[np.ndarray, " samples"]) -> float:
    """Root mean square, full scale 1; 0 of no samples."""
    return math.sqrt(float(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
