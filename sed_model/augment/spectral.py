"""`augment.backend: spectral`: waveform -> augmented log-mel in one pass, ten times faster than by the waveform.

What audiomentations does to samples is done here to mel power, in the same order: a pitch shift moves the mel
triangles, a time stretch moves the frames, and gain, noise, filters, room, limiter, mask and background are
multiplications and sums of [frames, mels]. Phases are not modelled: noise adds in power, a room is the decay of each
band's energy, and the limiter turns down whole frames.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float32

from sed_model.audio.decoding import decode
from sed_model.augment.sound_folders import Rooms, open_backgrounds, open_rooms
from sed_model.augment.wave_draw import Background, Limit, Span, WaveDraw, draw_wave, filter_power
from sed_model.config.augment import WaveAugment
from sed_model.config.sed_config import FrontEnd
from sed_model.model.fast_mel import FastMel, FrameMels, LogMels, Samples, shared_fast_mel, shared_short_mel
from sed_model.model.mel_kernels import convolve_frames

NOISE_BANK_S = 120.0
"""Length of the noise that slices are taken from: 4 MB of mel power at the default front end."""
CREST_DB = 3.0
"""The loudest sample of a clip stands about so much higher above its frame than the peaks of other frames do."""
LIMITER_DECAY_DB = 60.0
"""Fall of the limiter's envelope over its release time, as in audiomentations."""


class SpectralImages:
    """What the backbone sees of augmented clips: with `multi_resolution` both log-mels, augmented alike."""

    def __init__(self, front_end: FrontEnd, settings: WaveAugment, multi_resolution: bool) -> None:
        kinds = (False, True) if multi_resolution else (False,)
        self._log_mels = [SpectralFrontEnd(front_end, settings, short) for short in kinds]

    def stretched(self, waveform: Samples, seed: int) -> tuple[Float32[np.ndarray, "channels mels frames"], float]:
        """The image of an augmented clip, and how many times as fast it plays: its start stays, all else moves."""
        draw = self._log_mels[0].draw(seed)
        return np.stack([log_mel.render(waveform, draw) for log_mel in self._log_mels]), draw.stretch_rate


class SpectralFrontEnd:
    """Augmented log-mels of waveforms, on one CPU core; the same seed gives the same result.

    Args:
        short: log-mels of `fast_mel.ShortMel`.

    Raises:
        ConfigError: at construction, where a folder of sounds cannot be used.
    """

    def __init__(self, front_end: FrontEnd, settings: WaveAugment, short: bool = False) -> None:
        self._settings, self.short = settings, short
        self._mel = shared_short_mel(front_end) if short else shared_fast_mel(front_end)
        self._front_end = self._mel.settings
        self._rooms = open_rooms(settings, front_end.sample_rate_hz)
        self._backgrounds = open_backgrounds(settings)
        self._noise_bank = _noise_bank(self._mel)

    def augmented_log_mel(self, waveform: Samples, seed: int) -> LogMels:
        """Log-mel of an augmented clip (int16 or float32), 0..1."""
        return self.render(waveform, self.draw(seed))

    def draw(self, seed: int) -> WaveDraw:
        """What happens to a clip; the same for log-mels of both kinds."""
        return draw_wave(self._settings, len(self._rooms), len(self._backgrounds), np.random.default_rng(seed))

    def render(self, waveform: Samples, draw: WaveDraw) -> LogMels:
        """Log-mel of a clip with given parameters, 0..1."""
        power = self._mel.mel_power(waveform, draw.stretch_rate, 2 ** (draw.pitch_semitones / 12))
        power *= np.float32(10 ** (draw.gain_db / 10))
        self._add_noise(power, draw)
        if draw.filters:
            power *= self._filter_gains(draw)
        if draw.room is not None:
            power = convolve_frames(power, _room_decay(self._mel, self._rooms, draw.room))
        if draw.limit is not None:
            power *= self._limiter_gains(power, draw.limit)
        if draw.time_mask is not None:
            power *= self._mask_gains(len(waveform), len(power), draw.time_mask)
        if draw.background is not None:
            _add_at_snr(power, self._background_power(len(waveform), draw.background), draw.background.snr_db)
        return self._mel.scaled(power)

    def _add_noise(self, power: FrameMels, draw: WaveDraw) -> None:
        rng = np.random.default_rng(draw.noise_seed)
        if draw.noise_amplitude > 0:
            power += self._noise(len(power), rng) * np.float32(draw.noise_amplitude**2)
        if draw.snr_noise_db is not None:
            _add_at_snr(power, self._noise(len(power), rng), draw.snr_noise_db)

    def _noise(self, n_frames: int, rng: np.random.Generator) -> FrameMels:
        """A random slice of the bank, the same for log-mels of both kinds: mel power of white noise of amplitude 1."""
        start = int(rng.random() * len(self._noise_bank))
        return self._noise_bank.take(np.arange(start, start + n_frames), axis=0, mode="wrap")

    def _filter_gains(self, draw: WaveDraw) -> Float32[np.ndarray, " mels"]:
        rate_hz, filters = self._front_end.sample_rate_hz, self._mel.filters
        frequencies_hz = np.linspace(0, rate_hz / 2, filters.shape[1])
        bins = np.prod([filter_power(design, frequencies_hz, rate_hz) for design in draw.filters], axis=0)
        gains: Float32[np.ndarray, " mels"] = filters @ bins.astype(np.float32) / filters.sum(axis=1)
        return gains

    def _limiter_gains(self, power: FrameMels, limit: Limit) -> Float32[np.ndarray, "frames 1"]:
        level_db = 10 * np.log10(np.maximum(power.sum(axis=1), 1e-20))
        fall_db = LIMITER_DECAY_DB * self._front_end.hop_length / (limit.release_s * self._front_end.sample_rate_hz)
        # The envelope falls by so much a frame after each peak: a running maximum of the levels on a slope.
        slope_db = fall_db * np.arange(len(level_db))
        envelope_db = np.maximum.accumulate(level_db + slope_db) - slope_db
        over_db = np.maximum(envelope_db - (level_db.max() + limit.threshold_db + CREST_DB), 0)
        return _column(10 ** (-over_db / 10))

    def _mask_gains(self, n_samples: int, n_frames: int, mask: Span) -> Float32[np.ndarray, "frames 1"]:
        """Share of each frame's window that the mask leaves."""
        n_fft = self._front_end.n_fft
        energy = np.hanning(n_fft + 1)[:n_fft] ** 2
        before = np.concatenate([[0.0], np.cumsum(energy) / energy.sum()])
        window_start = np.arange(n_frames) * self._front_end.hop_length - n_fft // 2
        first, end = mask.start * n_samples, (mask.start + mask.length) * n_samples
        places = np.arange(n_fft + 1)
        masked = np.interp(end - window_start, places, before) - np.interp(first - window_start, places, before)
        return _column(1 - masked)

    def _background_power(self, n_samples: int, background: Background) -> FrameMels:
        sound, rate_hz = self._backgrounds[background.number], self._front_end.sample_rate_hz
        duration_s = n_samples / rate_hz
        start_s = background.start * max(0.0, sound.duration_s - duration_s)
        return self._mel.mel_power(np.resize(decode(sound.path, rate_hz, duration_s, start_s), n_samples))


def _column(per_frame: Any) -> Float32[np.ndarray, "frames 1"]:
    return np.asarray(per_frame, np.float32)[:, np.newaxis]


def _add_at_snr(power: FrameMels, noise: FrameMels, snr_db: float) -> None:
    """Add noise in place, scaled so that the clip's power is `snr_db` above it."""
    noise_power = float(noise.sum(dtype=np.float64))
    if noise_power > 0:
        noise *= np.float32(float(power.sum(dtype=np.float64)) / noise_power / 10 ** (snr_db / 10))
        power += noise


@lru_cache(maxsize=4)
def _noise_bank(mel: FastMel) -> FrameMels:
    """The mel power of white noise of amplitude 1, read-only: all stages and trials of a process share it."""
    noise = np.random.default_rng(0).standard_normal(int(NOISE_BANK_S * mel.settings.sample_rate_hz), np.float32)
    power = mel.mel_power(noise)
    power.flags.writeable = False
    return power


@lru_cache(maxsize=64)
def _room_decay(mel: FastMel, rooms: Rooms, number: int) -> Float32[np.ndarray, "lags mels"]:
    """Energy of an impulse response in each mel band and hop from its peak on; the mean band keeps its power."""
    response = rooms.response(number)
    onset = int(np.abs(response).argmax())
    hop = mel.settings.hop_length
    lags = -(-(len(response) - onset) // hop)
    segments = np.zeros((lags, hop), np.float32)
    segments.reshape(-1)[: len(response) - onset] = response[onset:]
    spectrum = np.abs(np.fft.rfft(segments, mel.settings.n_fft)) ** 2
    decay = spectrum @ mel.filters.T / mel.filters.sum(axis=1)
    return np.ascontiguousarray(decay / decay.sum(axis=0).mean(), np.float32)
