"""Synthetic animals, rooms and recorders for the demo data: float64 waves at 16 kHz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy  # which imports its parts when they are first used

SAMPLE_RATE_HZ = 16_000


@dataclass(frozen=True)
class Species:
    """A song is a row of notes that glide from `start_hz` to `end_hz`."""

    label: str
    common_name: str
    start_hz: float
    end_hz: float
    note_s: float
    gap_s: float
    notes: tuple[int, int]
    harmonics: tuple[float, ...] = (1.0,)
    vibrato: float = 0.0
    """Depth as a share of the pitch, at 9 Hz."""
    buzz_hz: float = 0.0
    """Rate of full amplitude modulation."""

    @property
    def scientific_name(self) -> str:
        return f"Avis {self.common_name.replace(' ', '')}"


# Neighbours in pitch that differ in direction, tempo or modulation: a mean spectrum tells them apart only in part.
SPECIES = (
    Species("1139490", "slow triller", 6000, 5700, 0.045, 0.075, (8, 16), (1.0, 0.2)),
    Species("22973", "low hooter", 720, 660, 0.45, 0.35, (2, 4), (1.0, 0.5, 0.25, 0.1)),
    Species("fatril1", "fast triller", 4900, 4700, 0.025, 0.022, (20, 45), (1.0, 0.2)),
    Species("fchirp1", "falling chirper", 4000, 2000, 0.12, 0.10, (4, 8), (1.0, 0.3)),
    Species("gbuzzr1", "grey buzzer", 3700, 4000, 0.70, 0.30, (1, 3), (1.0, 0.3), buzz_hz=110),
    Species("rchirp1", "rising chirper", 2500, 4500, 0.12, 0.10, (4, 8), (1.0, 0.3)),
    Species("swarbl1", "swaying warbler", 2500, 2500, 0.90, 0.30, (1, 2), (1.0, 0.3), vibrato=0.12),
    Species("wwhist1", "white whistler", 1450, 1350, 0.60, 0.25, (2, 3), (1.0,)),
)


@dataclass(frozen=True)
class Individual:
    """How one animal differs from its species."""

    pitch: float
    tempo: float
    brightness: float


def draw_individual(rng: np.random.Generator) -> Individual:
    return Individual(*np.exp(rng.normal(0.0, [0.05, 0.12, 0.4])))


def song(species: Species, individual: Individual, rng: np.random.Generator) -> np.ndarray:
    """One song, about 0.6 to 4 s long, of root mean square 1."""
    parts: list[np.ndarray] = []
    for _ in range(rng.integers(species.notes[0], species.notes[1] + 1)):
        parts.append(_note(species, individual, rng))
        parts.append(np.zeros(_samples(species.gap_s * rng.uniform(0.9, 1.1) / individual.tempo)))
    wave = np.concatenate(parts[:-1])
    return wave / np.sqrt(np.mean(wave**2))


def _note(species: Species, individual: Individual, rng: np.random.Generator) -> np.ndarray:
    time_s = np.arange(_samples(species.note_s * rng.uniform(0.9, 1.1) / individual.tempo)) / SAMPLE_RATE_HZ
    glide = np.linspace(species.start_hz, species.end_hz, len(time_s)) * individual.pitch * rng.uniform(0.98, 1.02)
    pitch_hz = glide * (1 + species.vibrato * np.sin(2 * np.pi * (9 * individual.tempo * time_s + rng.random())))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    wave = np.zeros(len(time_s))
    for number, weight in enumerate(species.harmonics, start=1):
        if number * pitch_hz.max(initial=0) < SAMPLE_RATE_HZ / 2:
            wave += weight * individual.brightness ** (number > 1) * np.sin(number * phase)
    if species.buzz_hz:
        wave *= 0.5 + 0.5 * np.sin(2 * np.pi * species.buzz_hz * individual.tempo * time_s)
    return wave * scipy.signal.windows.tukey(len(wave), 0.3)


def coloured_noise(n_samples: int, slope: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of root mean square 1 whose power falls with frequency to the power of `slope` above 60 Hz."""
    n_fft = scipy.fft.next_fast_len(n_samples, real=True)
    spectrum = scipy.fft.rfft(rng.normal(size=n_fft))
    frequency_hz = np.maximum(scipy.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE_HZ), 60)
    noise = scipy.fft.irfft(spectrum * frequency_hz ** (-slope / 2), n_fft)[:n_samples]
    return noise / np.sqrt(np.mean(noise**2))


def far_away(wave: np.ndarray, distance: float, rng: np.random.Generator) -> np.ndarray:
    """The wave heard from a distance (0 near to 1 far): duller, with more and longer reverberation; same loudness."""
    b, a = scipy.signal.butter(1, 7000 * (1 - 0.7 * distance), fs=SAMPLE_RATE_HZ)
    dull = scipy.signal.lfilter(b, a, wave)
    decay_s = rng.uniform(0.15, 0.3) + 0.5 * distance
    time_s = np.arange(_samples(decay_s)) / SAMPLE_RATE_HZ
    room = rng.normal(size=len(time_s)) * 10 ** (-3 * time_s / decay_s)
    room *= (0.15 + 0.8 * distance) / np.sqrt(np.sum(room**2))
    room[0] += 1.0
    heard = scipy.signal.fftconvolve(dull, room)
    return heard * np.sqrt(np.mean(wave**2) / np.mean(heard[: len(wave)] ** 2))


def rain_drops(n_samples: int, per_s: float, rng: np.random.Generator) -> np.ndarray:
    """Sparse clicks of amplitude up to 1: a sound that is no class."""
    clicks = np.zeros(n_samples)
    at = rng.integers(0, n_samples, rng.poisson(per_s * n_samples / SAMPLE_RATE_HZ))
    clicks[at] = rng.uniform(0.2, 1.0, len(at))
    b, a = scipy.signal.butter(1, [900, 5000], btype="bandpass", fs=SAMPLE_RATE_HZ)
    drops: np.ndarray = scipy.signal.lfilter(b, a, clicks)
    return drops


def _samples(duration_s: float) -> int:
    return max(8, round(duration_s * SAMPLE_RATE_HZ))
