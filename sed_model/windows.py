"""Windows of recordings: where one lies around its target, its samples, and how loud they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from sed_model.audio_cache import AudioCache
from sed_model.cache_build import to_int16
from sed_model.config import SedConfig
from sed_model.decoding import decode
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


def decode_as_cached(path: Path, sample_rate_hz: int) -> Float32[np.ndarray, " samples"]:
    """`decode` in the 16 bits of the audio cache, so that a model hears what it heard in training, to the last bit.

    Raises:
        UnreadableAudioError: the file cannot be decoded.
    """
    return to_int16(decode(path, sample_rate_hz)) * INT16_SCALE


def level_of(samples: Float32[np.ndarray, " samples"]) -> float:
    """Root mean square, full scale 1; 0 of no samples."""
    return math.sqrt(float(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
