"""What a clip's augmentation drew: the parameters of every transform, distributed as audiomentations draws them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from sed_model.config.augment import WaveAugment

Bins = Float64[np.ndarray, " bins"]
FilterKind = Literal["band_pass", "high_pass", "low_pass"]

# audiomentations' defaults.
FILTER_ORDERS = (2, 4)
LIMITER_RELEASE_S = (0.05, 0.7)


@dataclass(frozen=True)
class Filter:
    """A Butterworth filter of `order` (6 dB an octave each); `low_hz` or `high_hz` is unused by one-sided kinds."""

    kind: FilterKind
    order: int
    low_hz: float = 0.0
    high_hz: float = 0.0


@dataclass(frozen=True)
class Limit:
    """A limiter: threshold relative to the clip's peak, and the time its gain takes to come back."""

    threshold_db: float
    release_s: float


@dataclass(frozen=True)
class Span:
    """A stretch of a clip, as shares of its length."""

    start: float
    length: float


@dataclass(frozen=True)
class Background:
    """Which background recording, where in it (share of what can be chosen), and the signal-to-background ratio."""

    number: int
    start: float
    snr_db: float


@dataclass(frozen=True)
class WaveDraw:
    """Parameters of one pass of the chain; the defaults leave a clip as it is."""

    gain_db: float = 0.0
    stretch_rate: float = 1.0
    pitch_semitones: float = 0.0
    noise_amplitude: float = 0.0
    snr_noise_db: float | None = None
    filters: tuple[Filter, ...] = ()
    room: int | None = None
    limit: Limit | None = None
    time_mask: Span | None = None
    background: Background | None = None
    noise_seed: int = 0


def draw_wave(settings: WaveAugment, n_rooms: int, n_backgrounds: int, rng: np.random.Generator) -> WaveDraw:
    """Draw what happens to one clip."""
    s = settings
    if rng.random() >= s.prob:
        return WaveDraw()

    def on(prob: float) -> bool:
        return bool(rng.random() < prob)

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    return WaveDraw(
        gain_db=between(-s.gain_max_db, s.gain_max_db) if on(s.gain_prob) else 0.0,
        stretch_rate=between(s.stretch_min_rate, s.stretch_max_rate) if on(s.stretch_prob) else 1.0,
        pitch_semitones=between(-s.pitch_max_semitones, s.pitch_max_semitones) if on(s.pitch_prob) else 0.0,
        noise_amplitude=between(s.noise_min_amplitude, s.noise_max_amplitude) if on(s.noise_prob) else 0.0,
        snr_noise_db=between(s.snr_noise_min_db, s.snr_noise_max_db) if on(s.snr_noise_prob) else None,
        filters=_draw_filters(s, rng),
        room=int(rng.integers(n_rooms)) if on(s.room_prob) else None,
        limit=Limit(between(s.limiter_min_db, s.limiter_max_db), between(*LIMITER_RELEASE_S))
        if on(s.limiter_prob)
        else None,
        time_mask=_draw_mask(s, rng) if on(s.time_mask_prob) else None,
        background=Background(
            int(rng.integers(n_backgrounds)),
            between(0.0, 1.0),
            between(s.background_min_snr_db, s.background_max_snr_db),
        )
        if n_backgrounds and on(s.background_prob)
        else None,
        noise_seed=int(rng.integers(2**31)),
    )


def _draw_mask(settings: WaveAugment, rng: np.random.Generator) -> Span:
    length = float(rng.uniform(settings.time_mask_min_share, settings.time_mask_max_share))
    return Span(float(rng.uniform(0, 1 - length)), length)


def _draw_filters(settings: WaveAugment, rng: np.random.Generator) -> tuple[Filter, ...]:
    s, filters = settings, []
    low_order, high_order = FILTER_ORDERS
    if rng.random() < s.band_pass_prob:
        centre_hz = _uniform_in_mel(s.band_pass_min_centre_hz, s.band_pass_max_centre_hz, rng)
        half_hz = centre_hz * rng.uniform(s.band_pass_min_width, s.band_pass_max_width) / 2
        order = int(rng.integers(low_order, high_order + 1))
        filters.append(Filter("band_pass", order, centre_hz - half_hz, centre_hz + half_hz))
    if rng.random() < s.high_pass_prob:
        order = int(rng.integers(low_order, high_order + 1))
        cutoff_hz = _uniform_in_mel(s.high_pass_min_hz, s.high_pass_max_hz, rng)
        filters.append(Filter("high_pass", order, low_hz=cutoff_hz))
    if rng.random() < s.low_pass_prob:
        order = int(rng.integers(low_order, high_order + 1))
        cutoff_hz = _uniform_in_mel(s.low_pass_min_hz, s.low_pass_max_hz, rng)
        filters.append(Filter("low_pass", order, high_hz=cutoff_hz))
    return tuple(filters)


def _uniform_in_mel(low_hz: float, high_hz: float, rng: np.random.Generator) -> float:
    low, high = np.log1p(low_hz / 700), np.log1p(high_hz / 700)
    return float(700 * np.expm1(rng.uniform(low, high)))


def filter_power(design: Filter, frequencies_hz: Bins, sample_rate_hz: int) -> Bins:
    """|H|^2 of a digital Butterworth filter, as `scipy.signal.butter` designs it (bilinear transform)."""

    def warp(frequency_hz: Any) -> Any:
        return np.tan(np.pi * np.minimum(frequency_hz, 0.49999 * sample_rate_hz) / sample_rate_hz)

    w = warp(frequencies_hz)
    if design.kind == "low_pass":
        relative = w / warp(design.high_hz)
    elif design.kind == "high_pass":
        relative = warp(design.low_hz) / np.maximum(w, 1e-9)
    else:
        low, high = warp(design.low_hz), warp(design.high_hz)
        relative = (w**2 - low * high) / np.maximum((high - low) * w, 1e-12)
    return 1 / (1 + np.abs(relative) ** (2 * design.order))
