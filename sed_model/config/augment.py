"""The sections `augment.*` of the configuration: waveforms, log-mels, and the mixing of two samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from sed_model.config.tree import Section, key, probability


class WaveAugment(Section):
    """Augmentation of single waveforms. Each `*_prob` holds once the outer `prob` has let the chain run.

    Filters fall by 12 to 24 dB an octave. Their ranges spare the call: over 40 recordings of birds the low-pass took
    more than 10 dB of it in 12 % of the draws and the band-pass in 26 %; with audiomentations' ranges, in 47 and 50 %.
    """

    prob: float = probability(0.8, "Chance that a clip passes through the chain at all.")
    gain_prob: float = probability(0.7, "Chance of a change of volume.")
    gain_max_db: float = key(12.0, "Largest change of volume, up or down.", "dB", ge=0, le=40)
    stretch_prob: float = probability(0.3, "Chance of a time stretch.")
    stretch_min_rate: float = key(0.8, "Slowest rate.", "ratio", ge=0.5, le=1)
    stretch_max_rate: float = key(1.25, "Fastest rate.", "ratio", ge=1, le=2)
    pitch_prob: float = probability(0.3, "Chance of a pitch shift.")
    pitch_max_semitones: float = key(4.0, "Largest pitch shift, up or down.", "semitones", ge=0, le=12)
    noise_prob: float = probability(0.5, "Chance of Gaussian noise of a given amplitude.")
    noise_min_amplitude: float = key(0.001, "Least noise amplitude.", "full scale", gt=0, le=1)
    noise_max_amplitude: float = key(0.015, "Greatest noise amplitude.", "full scale", gt=0, le=1)
    snr_noise_prob: float = probability(0.3, "Chance of Gaussian noise at a given signal-to-noise ratio.")
    snr_noise_min_db: float = key(5.0, "Least signal-to-noise ratio.", "dB", ge=-20, le=60)
    snr_noise_max_db: float = key(20.0, "Greatest signal-to-noise ratio.", "dB", ge=-20, le=60)
    band_pass_prob: float = probability(0.3, "Chance of a band-pass filter.")
    band_pass_min_centre_hz: float = key(500.0, "Lowest centre of the band.", "Hz", ge=20)
    band_pass_max_centre_hz: float = key(8_000.0, "Highest centre of the band.", "Hz", ge=20)
    band_pass_min_width: float = key(1.0, "Narrowest band.", "share of its centre", ge=0.05, le=1.99)
    band_pass_max_width: float = key(1.99, "Widest band.", "share of its centre", ge=0.05, le=1.99)
    high_pass_prob: float = probability(0.2, "Chance of a high-pass filter.")
    high_pass_min_hz: float = key(20.0, "Lowest cutoff of the high-pass.", "Hz", ge=10)
    high_pass_max_hz: float = key(2_000.0, "Highest cutoff of the high-pass.", "Hz", ge=10)
    low_pass_prob: float = probability(0.2, "Chance of a low-pass filter.")
    low_pass_min_hz: float = key(2_000.0, "Lowest cutoff of the low-pass.", "Hz", ge=100)
    low_pass_max_hz: float = key(8_000.0, "Highest cutoff of the low-pass.", "Hz", ge=100)
    room_prob: float = probability(0.2, "Chance of a room impulse response.")
    room_folder: Path | None = key(None, "Folder of impulse responses; without one they are generated.")
    room_min_rt60_s: float = key(0.1, "Shortest reverberation time of generated rooms.", "s", ge=0.02, le=2)
    room_max_rt60_s: float = key(1.0, "Longest reverberation time of generated rooms.", "s", ge=0.02, le=2)
    room_min_direct_db: float = key(-6.0, "Least direct sound over reverberation.", "dB", ge=-20, le=40)
    room_max_direct_db: float = key(12.0, "Most direct sound over reverberation.", "dB", ge=-20, le=40)
    limiter_prob: float = probability(0.3, "Chance of compression by a limiter.")
    limiter_min_db: float = key(-16.0, "Lowest limiter threshold.", "dB", ge=-40, le=0)
    limiter_max_db: float = key(-2.0, "Highest limiter threshold.", "dB", ge=-40, le=0)
    time_mask_prob: float = probability(0.4, "Chance of silencing a stretch of the clip.")
    time_mask_min_share: float = key(0.05, "Shortest silenced stretch.", "share of the clip", ge=0, le=1)
    time_mask_max_share: float = key(0.15, "Longest silenced stretch.", "share of the clip", ge=0, le=1)
    background_prob: float = probability(0.5, "Chance of background noise, when background_folder is given.")
    background_folder: Path | None = key(None, "Folder of background recordings.")
    background_min_snr_db: float = key(3.0, "Least signal-to-background ratio.", "dB", ge=-20, le=60)
    background_max_snr_db: float = key(30.0, "Greatest signal-to-background ratio.", "dB", ge=-20, le=60)

    def filters_above(self, nyquist_hz: float) -> list[str]:
        """Keys of the filters in use whose range goes beyond Nyquist, with their values."""
        filters = [
            (self.band_pass_prob, "band_pass_min_centre_hz", "band_pass_max_centre_hz"),
            (self.high_pass_prob, "high_pass_min_hz", "high_pass_max_hz"),
            (self.low_pass_prob, "low_pass_min_hz", "low_pass_max_hz"),
        ]
        return [
            f"augment.wave.{high}={getattr(self, high):g}"
            for prob, low, high in filters
            if prob * self.prob > 0 and (getattr(self, low) >= nyquist_hz or getattr(self, high) > nyquist_hz)
        ]

    def _problems(self) -> Iterator[str]:
        pairs = [
            ("noise_min_amplitude", "noise_max_amplitude"),
            ("snr_noise_min_db", "snr_noise_max_db"),
            ("band_pass_min_centre_hz", "band_pass_max_centre_hz"),
            ("band_pass_min_width", "band_pass_max_width"),
            ("high_pass_min_hz", "high_pass_max_hz"),
            ("low_pass_min_hz", "low_pass_max_hz"),
            ("room_min_rt60_s", "room_max_rt60_s"),
            ("room_min_direct_db", "room_max_direct_db"),
            ("limiter_min_db", "limiter_max_db"),
            ("time_mask_min_share", "time_mask_max_share"),
            ("background_min_snr_db", "background_max_snr_db"),
        ]
        for low, high in pairs:
            if getattr(self, low) > getattr(self, high):
                yield f"{low}={getattr(self, low):g} is above {high}={getattr(self, high):g}; swap them."


class SpecAugment(Section):
    """Masks and filters on log-mels, per sample. SpecAugment: Park et al. 2019; FilterAugment: Nam et al. 2022."""

    prob: float = probability(0.6, "Chance that a sample is masked.")
    freq_masks: int = key(2, "Frequency masks a sample.", "masks", ge=0, le=10)
    freq_mask_bands: int = key(15, "Widest frequency mask.", "mel bands", ge=0, le=512)
    time_masks: int = key(2, "Time masks a sample.", "masks", ge=0, le=10)
    time_mask_frames: int = key(35, "Widest time mask.", "frames", ge=0, le=8192)
    filter_prob: float = probability(0.0, "Chance of a random frequency-wise gain (FilterAugment).")
    filter_max_db: float = key(6.0, "Largest gain of the random filter, up or down.", "dB", ge=0, le=24)


class MixAugment(Section):
    """Mixing two samples of a batch; the stage gives the alphas. Mixup: Zhang et al. 2018; CutMix: Yun et al. 2019."""

    prob: float = probability(0.7, "Chance that a batch is mixed.")
    cutmix_share: float = key(
        0.3, "Share of the mixed batches that are cut and pasted along time; the rest is mixed up.", "share", ge=0, le=1
    )
    domain: Literal["waveform", "spectrogram"] = key(
        "waveform", "What mixup adds: waveforms (of the spectral backend their power) or log-mels."
    )
    labels: Literal["convex", "union"] = key("convex", "Targets weighted by the shares, or the larger of the two.")

    @property
    def mixup_prob(self) -> float:
        """Chance that a batch is mixed up."""
        return self.prob * (1 - self.cutmix_share)

    @property
    def cutmix_prob(self) -> float:
        """Chance that a batch is cut and pasted along time."""
        return self.prob * self.cutmix_share


class Augment(Section):
    backend: Literal["audiomentations", "spectral"] = key(
        "audiomentations", "Exact waveform transforms, or the fast path folded into the spectrogram."
    )
    wave: WaveAugment = WaveAugment()
    spec: SpecAugment = SpecAugment()
    mix: MixAugment = MixAugment()
