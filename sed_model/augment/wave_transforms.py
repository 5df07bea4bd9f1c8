"""The audiomentations chain. Transforms that audiomentations has in a slower form are replaced by subclasses with the
same arguments, draws and result; imported only by `augment_wave`, after it has checked that the packages are there."""

# mypy: disable-error-code="misc, no-any-return"
# (audiomentations ships no types)
from __future__ import annotations

import random
from collections.abc import Callable

import audiomentations
import numpy as np
import python_stretch
import torch
from audiomentations.core.transforms_interface import BaseWaveformTransform
from scipy.signal import oaconvolve

from sed_model.audio.decoding import decode
from sed_model.augment.sound_folders import Rooms, Sound, Waveform, open_backgrounds, open_rooms
from sed_model.config.augment import WaveAugment

ROOM_PEAK = 0.5
"""Peak after a room response, as in audiomentations."""


class StretchAndPitch(BaseWaveformTransform):
    """TimeStretch and PitchShift of audiomentations: one pass where both apply, for they cost more than all the rest.

    Method (signalsmith), preset and draws are the same, and so are the samples wherever only one of the two applies.
    """

    def __init__(self, stretch: audiomentations.TimeStretch, pitch: audiomentations.PitchShift) -> None:
        super().__init__(p=1.0)
        self.stretch, self.pitch = stretch, pitch

    def randomize_parameters(self, samples: Waveform, sample_rate: int) -> None:
        self.stretch.randomize_parameters(samples, sample_rate)
        self.pitch.randomize_parameters(samples, sample_rate)
        on = self.stretch.parameters["should_apply"] or self.pitch.parameters["should_apply"]
        self.parameters = {"should_apply": on}

    def forget(self) -> None:
        """Before a pass of the chain, which may leave this transform out: nothing is stretched yet."""
        self.stretch.parameters["should_apply"] = False

    @property
    def rate(self) -> float:
        """How many times as fast the clip of the last pass plays."""
        return float(self.stretch.parameters["rate"]) if self.stretch.parameters["should_apply"] else 1.0

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        engine = python_stretch.Signalsmith.Stretch()
        engine.preset(1, sample_rate)
        if self.stretch.parameters["should_apply"]:
            engine.setTimeFactor(self.stretch.parameters["rate"])
        if self.pitch.parameters["should_apply"]:
            engine.setTransposeSemitones(self.pitch.parameters["num_semitones"])
        stretched: Waveform = np.asarray(engine.process(samples[np.newaxis]))[0, : len(samples)]
        return np.pad(stretched, (0, len(samples) - len(stretched)))


class GaussianNoise(audiomentations.AddGaussianNoise):
    """AddGaussianNoise with torch's generator: five times as fast as numpy's global one."""

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        return samples + _gaussian(len(samples), self.parameters["amplitude"])


class GaussianSNR(audiomentations.AddGaussianSNR):
    """AddGaussianSNR with torch's generator."""

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        return samples + _gaussian(len(samples), self.parameters["noise_std"])


def _gaussian(n_samples: int, amplitude: float) -> Waveform:
    generator = torch.Generator().manual_seed(int(np.random.randint(2**31)))  # noqa: NPY002 (seeded by WaveAugmenter)
    noise: Waveform = torch.randn(n_samples, generator=generator).mul_(amplitude).numpy()
    return noise


class RoomResponse(BaseWaveformTransform):
    """ApplyImpulseResponse for responses from a folder or generated, by overlap-add in single precision."""

    def __init__(self, rooms: Rooms, p: float) -> None:
        super().__init__(p)
        self.rooms = rooms

    def randomize_parameters(self, samples: Waveform, sample_rate: int) -> None:
        super().randomize_parameters(samples, sample_rate)
        if self.parameters["should_apply"]:
            self.parameters["room"] = random.randrange(len(self.rooms))  # noqa: S311

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        wet = oaconvolve(samples, self.rooms.response(self.parameters["room"]))
        peak = np.abs(wet).max()
        return wet[: len(samples)] * np.float32(ROOM_PEAK / peak if peak > 0 else 1)


class BackgroundNoise(BaseWaveformTransform):
    """AddBackgroundNoise (relative level) that reads only the span it adds; short recordings are repeated."""

    def __init__(self, sounds: tuple[Sound, ...], snr_db: tuple[float, float], p: float) -> None:
        super().__init__(p)
        self.sounds, self.snr_db = sounds, snr_db

    def randomize_parameters(self, samples: Waveform, sample_rate: int) -> None:
        super().randomize_parameters(samples, sample_rate)
        if self.parameters["should_apply"]:
            sound = random.choice(self.sounds)  # noqa: S311
            self.parameters["snr_db"] = random.uniform(*self.snr_db)  # noqa: S311
            self.parameters["path"] = sound.path
            self.parameters["start_s"] = random.uniform(0, max(0.0, sound.duration_s - len(samples) / sample_rate))  # noqa: S311

    def apply(self, samples: Waveform, sample_rate: int) -> Waveform:
        duration_s = len(samples) / sample_rate
        span = decode(self.parameters["path"], sample_rate, duration_s, self.parameters["start_s"])
        background = np.resize(span, len(samples))
        background_rms = np.sqrt(np.mean(background**2))
        if background_rms == 0:
            return samples
        wanted_rms = np.sqrt(np.mean(samples**2)) / 10 ** (self.parameters["snr_db"] / 20)
        return samples + background * np.float32(wanted_rms / background_rms)


def build_chain(settings: WaveAugment, sample_rate_hz: int) -> audiomentations.Compose:
    """Every transform whose probability is above 0, in the order of the configuration.

    Raises:
        ConfigError: a folder of sounds cannot be used.
    """
    a, s = audiomentations, settings
    stretch = a.TimeStretch(s.stretch_min_rate, s.stretch_max_rate, p=s.stretch_prob)
    pitch = a.PitchShift(-s.pitch_max_semitones, s.pitch_max_semitones, p=s.pitch_prob)
    centre_hz = (s.band_pass_min_centre_hz, s.band_pass_max_centre_hz)
    width = (s.band_pass_min_width, s.band_pass_max_width)
    makers: list[tuple[float, Callable[[], BaseWaveformTransform]]] = [
        (s.gain_prob, lambda: a.Gain(-s.gain_max_db, s.gain_max_db, p=s.gain_prob)),
        (max(s.stretch_prob, s.pitch_prob), lambda: StretchAndPitch(stretch, pitch)),
        (s.noise_prob, lambda: GaussianNoise(s.noise_min_amplitude, s.noise_max_amplitude, p=s.noise_prob)),
        (s.snr_noise_prob, lambda: GaussianSNR(s.snr_noise_min_db, s.snr_noise_max_db, p=s.snr_noise_prob)),
        (s.band_pass_prob, lambda: a.BandPassFilter(*centre_hz, *width, p=s.band_pass_prob)),
        (s.high_pass_prob, lambda: a.HighPassFilter(s.high_pass_min_hz, s.high_pass_max_hz, p=s.high_pass_prob)),
        (s.low_pass_prob, lambda: a.LowPassFilter(s.low_pass_min_hz, s.low_pass_max_hz, p=s.low_pass_prob)),
        (s.room_prob, lambda: RoomResponse(open_rooms(s, sample_rate_hz), s.room_prob)),
        (s.limiter_prob, lambda: a.Limiter(s.limiter_min_db, s.limiter_max_db, p=s.limiter_prob)),
        (s.time_mask_prob, lambda: a.TimeMask(s.time_mask_min_share, s.time_mask_max_share, p=s.time_mask_prob)),
    ]
    if backgrounds := open_backgrounds(s):
        snr_db = (s.background_min_snr_db, s.background_max_snr_db)
        makers.append((s.background_prob, lambda: BackgroundNoise(backgrounds, snr_db, s.background_prob)))
    return a.Compose([make() for prob, make in makers if prob > 0], p=s.prob)
