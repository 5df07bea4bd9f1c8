"""A recording in ogg -> augmented log-mel of a 10 s window, on one core.

Plain: read the whole file, find the loudest window with a loop, audiomentations, torchaudio. Ours: the decoded cache
with its stored energies, then either backend. All sides draw their augmentation from the same seeds.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import audiomentations as a
import numpy as np
import soundfile
import torch
from _common import Side, interleaved_ms, plain_log_mel, report
from torch import Tensor

from sed_model.audio.cache import AudioCache, open_cache
from sed_model.audio.decoding import decode
from sed_model.audio.windows import cut
from sed_model.augment.sound_folders import open_rooms
from sed_model.augment.spectral import SpectralFrontEnd
from sed_model.augment.wave import WaveAugmenter
from sed_model.config.augment import WaveAugment
from sed_model.config.sed_config import SedConfig
from sed_model.model.frontend import LogMel

N_RECORDINGS, RECORDING_S = 8, 40
WINDOWS_A_ROUND, N_ROUNDS = 48, 5
WAVE_TARGET, SPECTRAL_TARGET = 2.0, 10.0
CLIPS = Path(__file__).resolve().parents[2] / "shared" / "data"
CONFIG = SedConfig()
RATE_HZ = CONFIG.front_end.sample_rate_hz
N_WINDOW = round(CONFIG.data.window_s * RATE_HZ)
MAX_SHIFT = round(CONFIG.data.crop_shift_s * RATE_HZ)


def write_recordings(folder: Path) -> list[str]:
    """Recordings of `RECORDING_S` in ogg: real clips one after the other where there are some, else sweeps in noise."""
    paths = sorted(CLIPS.glob("*/train_audio/*/*"))
    rng = np.random.default_rng(0)
    names = [f"recording_{number}.ogg" for number in range(N_RECORDINGS)]
    for name in names:
        if paths:
            chosen = rng.choice(len(paths), 12, replace=False)
            samples = np.concatenate([decode(paths[i], RATE_HZ) for i in chosen])
        else:
            time_s = np.arange(RECORDING_S * RATE_HZ) / RATE_HZ
            sweep = np.sin(2 * np.pi * (3000 * time_s + 800 * np.sin(2 * np.pi * rng.uniform(0.2, 2) * time_s)))
            samples = 0.2 * sweep * (np.sin(time_s) > 0) + 0.01 * rng.standard_normal(len(time_s))
        samples = np.resize(samples, RECORDING_S * RATE_HZ)
        with soundfile.SoundFile(folder / name, "w", RATE_HZ, 1) as file:
            for start in range(0, len(samples), RATE_HZ):  # libsndfile overflows its stack on long writes of ogg
                file.write(samples[start : start + RATE_HZ])
    return names


class PlainPipeline:
    """The straightforward chain of library calls."""

    def __init__(self, folder: Path, names: list[str]) -> None:
        self.folder, self.names = folder, names
        rooms = folder / "rooms"
        rooms.mkdir()
        generated = open_rooms(CONFIG.augment.wave, RATE_HZ)
        for number in range(len(generated)):
            soundfile.write(rooms / f"{number:02}.wav", generated.response(number), RATE_HZ, subtype="FLOAT")
        s = WaveAugment()
        self.augment = a.Compose(
            [
                a.Gain(-s.gain_max_db, s.gain_max_db, p=s.gain_prob),
                a.TimeStretch(s.stretch_min_rate, s.stretch_max_rate, p=s.stretch_prob),
                a.PitchShift(-s.pitch_max_semitones, s.pitch_max_semitones, p=s.pitch_prob),
                a.AddGaussianNoise(s.noise_min_amplitude, s.noise_max_amplitude, p=s.noise_prob),
                a.AddGaussianSNR(s.snr_noise_min_db, s.snr_noise_max_db, p=s.snr_noise_prob),
                a.BandPassFilter(
                    s.band_pass_min_centre_hz,
                    s.band_pass_max_centre_hz,
                    s.band_pass_min_width,
                    s.band_pass_max_width,
                    p=s.band_pass_prob,
                ),
                a.HighPassFilter(s.high_pass_min_hz, s.high_pass_max_hz, p=s.high_pass_prob),
                a.LowPassFilter(s.low_pass_min_hz, s.low_pass_max_hz, p=s.low_pass_prob),
                a.ApplyImpulseResponse(rooms, p=s.room_prob),
                a.Limiter(s.limiter_min_db, s.limiter_max_db, p=s.limiter_prob),
                a.TimeMask(s.time_mask_min_share, s.time_mask_max_share, p=s.time_mask_prob),
            ],
            p=s.prob,
        )
        self.log_mel = plain_log_mel(CONFIG.front_end)

    def __call__(self, number: int, shift: int) -> Tensor:
        samples, _ = soundfile.read(self.folder / self.names[number % N_RECORDINGS], dtype="float32")
        loudest, loudest_rms = 0, -1.0
        for start in range(0, len(samples) - N_WINDOW + 1, RATE_HZ):
            rms = float(np.sqrt(np.mean(samples[start : start + N_WINDOW] ** 2)))
            if rms > loudest_rms:
                loudest, loudest_rms = start, rms
        start = min(max(0, loudest + shift), len(samples) - N_WINDOW)
        random.seed(number)
        np.random.seed(number)  # noqa: NPY002 (what audiomentations draws from)
        augmented = self.augment(samples=samples[start : start + N_WINDOW], sample_rate=RATE_HZ)
        return self.log_mel(torch.from_numpy(augmented))


class CachedWindows:
    """Crops from the decoded cache."""

    def __init__(self, cache: AudioCache, names: list[str]) -> None:
        self.cache, self.names = cache, names

    def __call__(self, number: int, shift: int) -> np.ndarray:
        name = self.names[number % N_RECORDINGS]
        start = self.cache.loudest_start(name, CONFIG.data.window_s) + shift
        return cut(self.cache, name, min(max(0, start), self.cache.n_samples(name) - N_WINDOW), N_WINDOW)


def measure(folder: Path) -> bool:
    names = write_recordings(folder)
    settings = CONFIG.data.model_copy(update={"cache_dir": folder / "cache"})
    windows = CachedWindows(open_cache(folder, names, RATE_HZ, settings, progress=False), names)
    plain = PlainPipeline(folder, names)
    augment, log_mel = WaveAugmenter(CONFIG.augment.wave, RATE_HZ), LogMel(CONFIG.front_end)
    spectral = SpectralFrontEnd(CONFIG.front_end, CONFIG.augment.wave)

    def by_wave(number: int, shift: int) -> Tensor:
        return log_mel(torch.from_numpy(augment(windows(number, shift), number))[None])

    def by_spectrum(number: int, shift: int) -> np.ndarray:
        return spectral.augmented_log_mel(windows(number, shift), number)

    def side(one_window: object) -> Side:
        def run(round_number: int) -> None:
            for number in range(round_number * WINDOWS_A_ROUND, (round_number + 1) * WINDOWS_A_ROUND):
                one_window(number, random.Random(number).randint(-MAX_SHIFT, MAX_SHIFT))  # type: ignore[operator]

        return Side(run, WINDOWS_A_ROUND)

    plain_ms, wave_ms, spectral_ms = interleaved_ms([side(plain), side(by_wave), side(by_spectrum)], N_ROUNDS)
    wave_holds = report("input_path_10s_audiomentations", (plain_ms, wave_ms), WAVE_TARGET)
    return report("input_path_10s_spectral", (plain_ms, spectral_ms), SPECTRAL_TARGET) and wave_holds


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        return 0 if measure(Path(folder)) else 1


if __name__ == "__main__":
    sys.exit(main())
