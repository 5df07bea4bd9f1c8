"""Sounds that augmentation mixes in: background recordings and room impulse responses, from folders or generated."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float32

from sed_model.audio.audio_files import AUDIO_SUFFIXES, is_audio
from sed_model.audio.decoding import decode, length_s
from sed_model.config.augment import WaveAugment
from sed_model.core.errors import ConfigError
from sed_model.core.paths import is_file, is_folder

Waveform = Float32[np.ndarray, " samples"]

MAX_RESPONSE_S = 2.0
"""Longer impulse responses are cut here: a fall of 60 dB in 2 s is a cathedral."""
N_GENERATED = 32


@dataclass(frozen=True)
class Sound:
    """A file of a folder that was found readable."""

    path: Path
    duration_s: float


def find_sounds(folder: Path, key: str) -> tuple[Sound, ...]:
    """Every audio file below a folder, in the order of their paths; `key` is the configuration key that named it.

    Raises:
        ConfigError: no such folder, no audio in it, or files that are unreadable or empty (all of them are listed).
    """
    advice = f"give a folder of audio files, or set {key}=null."
    if not is_folder(folder):
        raise ConfigError(f"{key}={folder}: there is no such folder; {advice}")
    closed: list[OSError] = []
    found = (Path(parent, name) for parent, _, names in os.walk(folder, onerror=closed.append) for name in names)
    paths = sorted(path for path in found if is_audio(path.name) and is_file(path))
    if not paths and not closed:
        raise ConfigError(f"{key}={folder}: holds no audio ({', '.join(sorted(AUDIO_SUFFIXES))}); {advice}")
    sounds = []
    problems = [f"{key}: {error.filename} cannot be read ({error.strerror}); {advice}" for error in closed]
    for path in paths:
        try:
            duration_s = length_s(path)
        except (soundfile.SoundFileError, OSError) as error:
            problems.append(f"{key}: {path} cannot be read ({error}); remove it or replace it.")
            continue
        if duration_s == 0:
            problems.append(f"{key}: {path} is empty; remove it or replace it.")
        sounds.append(Sound(path, duration_s))
    if problems:
        raise ConfigError("\n".join(problems))
    return tuple(sounds)


def open_backgrounds(settings: WaveAugment) -> tuple[Sound, ...]:
    """The background recordings that the settings use: none without a folder.

    Raises:
        ConfigError: the folder cannot be used.
    """
    if settings.background_folder is None or settings.background_prob == 0:
        return ()
    return find_sounds(settings.background_folder, "augment.wave.background_folder")


@dataclass(frozen=True)
class Rooms:
    """Impulse responses, by number: read from `paths` when they are asked for, or else generated from their number."""

    sample_rate_hz: int
    paths: tuple[Path, ...]
    rt60_s: tuple[float, float]
    direct_db: tuple[float, float]

    def __len__(self) -> int:
        return len(self.paths) or N_GENERATED

    def response(self, number: int) -> Waveform:
        """Impulse response of room `number`, 0 <= number < len, at most `MAX_RESPONSE_S` long."""
        if self.paths:
            return _read_response(self.paths[number], self.sample_rate_hz)
        return generate_response(self.sample_rate_hz, number, self.rt60_s, self.direct_db)


def open_rooms(settings: WaveAugment, sample_rate_hz: int) -> Rooms:
    """The impulse responses of `room_folder`, or generated ones without it.

    Raises:
        ConfigError: the folder cannot be used.
    """
    paths: tuple[Path, ...] = ()
    if settings.room_folder is not None and settings.room_prob > 0:
        paths = tuple(sound.path for sound in find_sounds(settings.room_folder, "augment.wave.room_folder"))
    rt60_s = (settings.room_min_rt60_s, settings.room_max_rt60_s)
    return Rooms(sample_rate_hz, paths, rt60_s, (settings.room_min_direct_db, settings.room_max_direct_db))


@lru_cache(maxsize=64)
def _read_response(path: Path, sample_rate_hz: int) -> Waveform:
    return decode(path, sample_rate_hz, MAX_RESPONSE_S)


@lru_cache(maxsize=N_GENERATED)
def generate_response(
    sample_rate_hz: int, number: int, rt60_range_s: tuple[float, float], direct_range_db: tuple[float, float]
) -> Waveform:
    """A direct sound and a tail of exponentially decaying noise (Polack's model of a diffuse room).

    Reverberation time and direct-to-reverberant ratio are drawn from their ranges with `number` as the seed.
    """
    rng = np.random.default_rng(number)
    rt60_s = np.exp(rng.uniform(*np.log(rt60_range_s)))
    direct_to_reverb_db = rng.uniform(*direct_range_db)
    n_samples = int(rt60_s * sample_rate_hz)
    tail = rng.standard_normal(n_samples) * 10 ** (-3 * np.arange(n_samples) / n_samples)
    tail *= 10 ** (-direct_to_reverb_db / 20) / np.linalg.norm(tail)
    tail[0] += 1
    return tail.astype(np.float32)
