"""The same sound is found whatever was done to it; another one is not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
from scipy.signal import chirp, lfilter

from sed_model.audio.fingerprint import RATE_HZ, same_sounds, words_of


def song(seed: int, duration_s: float = 8.0) -> np.ndarray:
    """Chirps at random times and pitches over coloured noise."""
    rng = np.random.default_rng(seed)
    wave = 0.02 * lfilter([1.0], [1.0, -0.9], rng.standard_normal(round(duration_s * RATE_HZ)))
    for _ in range(round(3 * duration_s)):
        first, n = int(rng.integers(0, len(wave) - 4_000)), int(rng.integers(1_000, 4_000))
        low, high = rng.uniform(500, 7_000, 2)
        wave[first : first + n] += 0.2 * np.hanning(n) * chirp(np.arange(n) / RATE_HZ, low, n / RATE_HZ, high)
    return wave.astype(np.float32)


def coded(wave: np.ndarray, name: str) -> np.ndarray:
    file = io.BytesIO()
    soundfile.write(file, wave, RATE_HZ, format=name)
    file.seek(0)
    return soundfile.read(file, dtype="float32")[0]


@pytest.mark.parametrize("name", ["OGG", "MP3"])
def test_a_quiet_coded_cutting_is_found_at_its_place(name: str) -> None:
    whole = song(0)
    part = coded(0.1 * whole[2 * RATE_HZ : 7 * RATE_HZ], name)
    (match,) = same_sounds([words_of(song(1)), words_of(whole), words_of(part)])
    assert (match.first, match.second) == (1, 2)
    assert match.shift_s == pytest.approx(-2.0, abs=0.1)
    assert match.shared_s == pytest.approx(5.0, abs=0.2)
    assert match.error < 0.2


def test_songs_of_one_kind_are_not_the_same() -> None:
    assert same_sounds([words_of(song(seed)) for seed in range(12)]) == []


def test_silence_is_like_nothing() -> None:
    silence = np.zeros(5 * RATE_HZ, np.float32)
    assert same_sounds([words_of(silence), words_of(silence), words_of(song(0))]) == []


def test_a_hum_is_like_nothing() -> None:
    hums = [np.sin(np.arange(20 * RATE_HZ) * 0.1).astype(np.float32) * gain for gain in (0.1, 0.3)]
    assert same_sounds([words_of(hum) for hum in hums]) == []


def test_what_is_too_short_has_no_words() -> None:
    assert [len(words_of(np.ones(n, np.float32))) for n in (0, 8_000, 8_600)] == [0, 0, 0]
    assert same_sounds([]) == []
    assert same_sounds([words_of(song(0)), np.zeros(0, np.uint32)]) == []
