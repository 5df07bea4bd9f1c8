"""Windows of recordings: where one lies around its target, and its samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from sed_model.audio_cache import AudioCache
from sed_model.config import SedConfig
from sed_model.fast_mel import INT16_SCALE


@dataclass(frozen=True)
class Context:
    """The window around a target: its start, and the target's place in it as shares of the window."""

    start_s: float
    part: tuple[float, float]


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
