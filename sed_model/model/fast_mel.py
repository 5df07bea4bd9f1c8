"""Log-mel of single clips on one CPU core: the values of `frontend.LogMel` at a fraction of its time.

Frames are windowed, transformed and summed into mel bands in chunks that stay in the cache; each band reads only the
bins under its triangle. A pitch ratio moves the triangles and a stretch moves the frames, at no further cost.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Float32
from torchaudio.functional import melscale_fbanks

from sed_model.config.sed_config import FrontEnd
from sed_model.model.mel_kernels import cut_frames, join_steps, pitched_bands, sum_bands

Samples = Any  # [n_samples] of int16 or float32
FrameMels = Float32[np.ndarray, "frames mels"]
LogMels = Float32[np.ndarray, "mels frames"]
MelFilters = Float32[np.ndarray, "mels bins"]

POWER_FLOOR = 1e-10
REFERENCE_FLOOR_DB = -20.0
"""About 75 dB below a full-scale sine: quieter clips are not amplified any further, and digital silence maps to 0."""
CHUNK_SAMPLES = 65_536
"""Samples a pass, in whole frames: window, spectrum and power of a chunk fit into a core's second-level cache."""
INT16_SCALE = np.float32(1 / 32768)


def hann(n_fft: int) -> Float32[np.ndarray, " n_fft"]:
    """The periodic Hann window, as `scipy.signal.get_window` makes it; to import that takes half a second of CPU."""
    return (0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, n_fft + 1)))[:-1].astype(np.float32)


def mel_filters(front_end: FrontEnd) -> MelFilters:
    """The HTK mel triangles over the bins of the Fourier transform."""
    f = front_end
    return melscale_fbanks(f.n_fft // 2 + 1, f.f_min_hz, f.f_max_hz, f.n_mels, f.sample_rate_hz).T.contiguous().numpy()


class FastMel:
    """Mel power and log-mel of waveforms in numpy; int16 counts as full scale 32768."""

    def __init__(self, front_end: FrontEnd, filters: MelFilters | None = None) -> None:
        self.settings = front_end
        self._window = hann(front_end.n_fft)
        self.filters = mel_filters(front_end) if filters is None else filters
        self._bands = pitched_bands(self.filters, 1.0)
        self.log_mel(np.zeros(front_end.n_fft, np.float32))  # compiles, or loads what an earlier process compiled

    def mel_power(self, waveform: Samples, rate: float = 1.0, pitch_ratio: float = 1.0) -> FrameMels:
        """Power in each mel band, with frames every `hop_length` samples (centred; reflected at the ends).

        Played `rate` times as fast, and with all frequencies times `pitch_ratio`. The number of frames is that of the
        input; where a faster clip has ended, they are zero.
        """
        s = self.settings
        if waveform.dtype == np.int16:
            waveform = waveform * INT16_SCALE
        n_samples = len(waveform)
        padded = np.pad(waveform, s.n_fft // 2, mode="reflect")
        centres = np.rint(np.arange(1 + n_samples // s.hop_length) * (s.hop_length * rate)).astype(np.int64)
        n_inside = int(np.searchsorted(centres, n_samples, side="right"))
        power = np.zeros((len(centres), s.n_mels), np.float32)
        bands = self._bands if pitch_ratio == 1 else pitched_bands(self.filters, pitch_ratio)
        n_a_chunk = max(1, CHUNK_SAMPLES // s.n_fft)
        frames = np.empty((n_a_chunk, s.n_fft), np.float32)
        for start in range(0, n_inside, n_a_chunk):
            part = centres[start : min(start + n_a_chunk, n_inside)]
            cut_frames(padded, part, self._window, frames)
            spectrum = scipy.fft.rfft(frames[: len(part)], overwrite_x=True)
            sum_bands(spectrum.view(np.float32), bands, power[start : start + len(part)])
        return power

    def n_frames(self, n_samples: int) -> int:
        return 1 + n_samples // self.settings.hop_length

    def log_mel(self, waveform: Samples) -> LogMels:
        """Log-mel of a clip, 0..1, as `frontend.LogMel` computes it."""
        return self.scaled(self.mel_power(waveform))

    def scaled(self, power: Float32[np.ndarray, "steps mels"]) -> LogMels:
        """Log-mel of the power in each mel band, 0..1."""
        return scale_power(power, self.settings.top_db)

    def log_mel_batch(self, waveforms: Samples, n_threads: int = 1) -> Float32[np.ndarray, "batch mels frames"]:
        """Log-mels of clips [batch, samples]; threads share them out, for all that takes time releases the GIL."""
        n_clips, n_samples = waveforms.shape
        out = np.empty((n_clips, self.settings.n_mels, self.n_frames(n_samples)), np.float32)

        def fill(number: int) -> None:
            out[number] = self.log_mel(waveforms[number])

        if min(n_threads, n_clips) <= 1:
            for number in range(n_clips):
                fill(number)
        else:
            with ThreadPoolExecutor(min(n_threads, n_clips)) as pool:
                list(pool.map(fill, range(n_clips)))  # the list raises what a thread raised
        return out


def short_transform(front_end: FrontEnd) -> FrontEnd:
    """The transform of `ShortMel`: a quarter of n_fft at half the hop, or longer where steps would hardly overlap."""
    n_fft = min(front_end.n_fft, 2 * scipy.fft.next_fast_len(max(front_end.n_fft // 8, front_end.hop_length * 5 // 16)))
    shorter = {"n_fft": n_fft, "hop_length": front_end.hop_length // 2}
    return front_end.model_copy(update=shorter)  # unchecked: `short_filters` have no empty band


def short_filters(front_end: FrontEnd) -> MelFilters:
    """The mel triangles of the front end over the bins of its short transform: [mels, short bins].

    They are applied to the short power spectrum interpolated to the long one's bins, so that no band is empty where the
    short bins lie wider than the bands. The level of a sound is the same in both.
    """
    n_fft = short_transform(front_end).n_fft
    divisor, n_short = front_end.n_fft / n_fft, n_fft // 2 + 1
    long_filters = mel_filters(front_end)
    places = np.minimum(np.arange(long_filters.shape[1]) / divisor, n_short - 1)
    low = np.minimum(places.astype(int), n_short - 2)
    filters = np.zeros((n_short, front_end.n_mels), np.float32)
    np.add.at(filters, low, long_filters.T * (1 - (places - low))[:, None] * divisor)
    np.add.at(filters, low + 1, long_filters.T * (places - low)[:, None] * divisor)
    return np.ascontiguousarray(filters.T)


class ShortMel(FastMel):
    """Log-mels that tell when a sound was: the frames of `FastMel`, each from a transform a quarter as long.

    Each frame is half of the short spectrum at its centre and a quarter of those half a hop before and behind, so that
    no sample lies between frames.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__(short_transform(front_end), short_filters(front_end))

    def n_frames(self, n_samples: int) -> int:
        return (super().n_frames(n_samples) + 1) // 2

    def scaled(self, power: Float32[np.ndarray, "steps mels"]) -> LogMels:
        return scale_power(join_steps(power), self.settings.top_db)


@lru_cache(maxsize=8)
def shared_fast_mel(front_end: FrontEnd) -> FastMel:
    """One `FastMel` of these settings for the whole process; it has no state that a call would change."""
    return FastMel(front_end)


@lru_cache(maxsize=8)
def shared_short_mel(front_end: FrontEnd) -> ShortMel:
    """One `ShortMel` of these settings for the whole process."""
    return ShortMel(front_end)


def scale_power(power: FrameMels, top_db: float) -> LogMels:
    """Mel power -> 0..1: the loudest point of the clip is 1, everything `top_db` below it is 0."""
    # Decibels above the floor, so that silence is exactly 0; numpy has a vector form of log, but none of log10.
    level = np.log(np.maximum(power.T * np.float32(1 / POWER_FLOOR), 1))
    level *= np.float32(10 / math.log(10))
    reference_db = max(float(level.max()), REFERENCE_FLOOR_DB - 10 * math.log10(POWER_FLOOR))
    level -= np.float32(reference_db - top_db)
    level /= np.float32(top_db)
    return np.ascontiguousarray(np.clip(level, 0, 1, out=level))
