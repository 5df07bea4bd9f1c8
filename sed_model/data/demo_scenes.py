"""What is heard in the demo data: focal recordings of recordists with noises of their own, and soundscapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sed_model.data.demo_sounds import (
    SAMPLE_RATE_HZ,
    SPECIES,
    Individual,
    coloured_noise,
    draw_individual,
    far_away,
    rain_drops,
    song,
)

SOUNDSCAPE_S = 60
TARGET_S = 5
OVERLAP_S = 0.25
"""A window is positive when it holds that much of a song."""


@dataclass(frozen=True)
class Recordist:
    """Who records, with what noise, and the animal of each of two species that lives there."""

    name: str
    noise_slope: float
    noise_rms: float
    individuals: tuple[Individual, ...]


def draw_recordist(number: int, rng: np.random.Generator) -> Recordist:
    individuals = (draw_individual(rng), draw_individual(rng))
    return Recordist(f"Recordist {number:02d}", rng.uniform(0, 1.6), 10 ** rng.uniform(-3.0, -2.3), individuals)


def focal_recording(
    index: int, recordist: Recordist, member: int, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, object]]:
    """A focal recording of 3 to 12 s and its row without filename and author."""
    species = SPECIES[index]
    n_samples = int(rng.uniform(3, 12) * SAMPLE_RATE_HZ)
    wave = recordist.noise_rms * coloured_noise(n_samples, recordist.noise_slope, rng)
    distance = rng.uniform(0, 0.6)
    loudness = 0.04 * 10 ** (-0.8 * distance)
    end = int(rng.uniform(0, 0.3) * n_samples)
    while end < n_samples - SAMPLE_RATE_HZ // 2:
        sung = far_away(song(species, recordist.individuals[member], rng), distance, rng)
        _add(wave, loudness * sung, end)
        end += len(sung) + int(rng.exponential(1.5) * SAMPLE_RATE_HZ)
    secondary = ""
    if rng.random() < 0.2:
        other = SPECIES[(index + rng.integers(1, len(SPECIES))) % len(SPECIES)]
        faint = far_away(song(other, draw_individual(rng), rng), rng.uniform(0.4, 1), rng)
        _add(wave, 0.35 * loudness * faint, int(rng.integers(0, n_samples // 2)))
        secondary = other.label
    rating = 0.0 if rng.random() < 0.1 else float(np.clip(np.round(10 - 10 * distance + rng.normal()) / 2, 1, 5))
    return wave, {
        "primary_label": species.label,
        "secondary_labels": str([secondary]),
        "type": "['song']",
        "collection": "XC",
        "rating": rating,
        "latitude": round(rng.uniform(3, 9), 4),
        "longitude": round(rng.uniform(-77, -72), 4),
        "scientific_name": species.scientific_name,
        "common_name": species.common_name,
        "license": "CC0",
    }


def soundscape(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """60 s of wave, and 0/1 for each 5 s window and species."""
    n_samples = SOUNDSCAPE_S * SAMPLE_RATE_HZ
    noise_rms = 10 ** rng.uniform(-2.7, -2.45)
    wave = noise_rms * coloured_noise(n_samples, rng.uniform(0.2, 1.4), rng)
    wave += 6 * noise_rms * rain_drops(n_samples, rng.exponential(3.0), rng)
    truth = np.zeros((SOUNDSCAPE_S // TARGET_S, len(SPECIES)), np.int64)
    singers = rng.choice(len(SPECIES), rng.integers(4, 7), replace=False)
    for index in singers:
        individual, distance = draw_individual(rng), rng.uniform(0.1, 0.9)
        loudness = noise_rms * 10 ** (rng.normal(20 - 12 * distance, 3) / 20)
        for _ in range(rng.integers(1, 3)):
            start = int(rng.integers(0, n_samples - 5 * SAMPLE_RATE_HZ))
            for _ in range(rng.integers(3, 6)):
                sung = far_away(song(SPECIES[index], individual, rng), distance, rng)
                _add(wave, loudness * sung, start)
                truth[_windows_with(start, start + len(sung)), index] = 1
                start += len(sung) + int(rng.uniform(0.2, 1.5) * SAMPLE_RATE_HZ)
    return wave, truth


def _windows_with(start: int, end: int) -> list[int]:
    """Windows that hold at least 0.25 s of samples [start, end), or all of a shorter song."""
    step = TARGET_S * SAMPLE_RATE_HZ
    least = min(int(OVERLAP_S * SAMPLE_RATE_HZ), end - start)
    return [
        window
        for window in range(SOUNDSCAPE_S // TARGET_S)
        if min(end, (window + 1) * step) - max(start, window * step) >= least
    ]


def _add(wave: np.ndarray, sound: np.ndarray, start: int) -> None:
    n_samples = max(0, min(len(sound), len(wave) - start))
    wave[start : start + n_samples] += sound[:n_samples]
