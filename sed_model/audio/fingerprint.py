"""Audio fingerprints: which recordings hold the same sound, whatever its level, format, start and length.

Bits say of each moment and band whether the step to the next band grows or shrinks in time (Haitsma and Kalker 2002, "A
highly robust audio fingerprinting system"). Two recordings of the same sound share parts of some words of 32 bits at
one time shift, and most bits there. The same species at another time shares neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt32
from scipy.fft import rfft  # in single precision, which numpy's is not

RATE_HZ = 16_000
N_BITS = 32
FFT_SAMPLES = 8_192
HOP_SAMPLES = 512
"""Windows of half a second every 32 ms: a start between two hops changes few bits."""
BAND_HZ = (300.0, 7_500.0)
KEY_BITS = 24
KEY_SHIFTS = (0, N_BITS - KEY_BITS)
"""Recordings are looked up by the lower and the upper bits of their words: coding changes a tenth of the bits, and few
whole words come through."""
MAX_SHARED = 20
"""A key in more places than this is a hum or digital silence, and is passed over."""
LEAST_KEYS = 4
"""Keys that two recordings share at one time shift, before their bits are compared."""
LEAST_S = 2.0
MAX_ERROR = 0.25
"""Share of bits that may differ. Others differ in a half; the authors take 0.35 for three seconds of music."""


@dataclass(frozen=True)
class Match:
    """Two recordings of the same sound: their places, and how it lies in them.

    Attributes:
        shift_s: where the first one's start lies in the second; below 0: before it.
        shared_s: length of what both hold.
        error: share of bits in which they differ there.
    """

    first: int
    second: int
    shift_s: float
    shared_s: float
    error: float


def words_of(waveform: Float32[np.ndarray, " samples"]) -> UInt32[np.ndarray, " words"]:
    """A word of 32 bits every HOP_SAMPLES of a waveform of RATE_HZ; none of one that is shorter than a window."""
    n_frames = (len(waveform) - FFT_SAMPLES) // HOP_SAMPLES + 1
    if n_frames < 2:
        return np.zeros(0, np.uint32)
    edges_hz = np.geomspace(*BAND_HZ, N_BITS + 2)
    edges = np.rint(edges_hz * FFT_SAMPLES / RATE_HZ).astype(int)
    window = np.hanning(FFT_SAMPLES).astype(np.float32)
    energies = np.empty((n_frames, N_BITS + 1), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FFT_SAMPLES)[::HOP_SAMPLES]
    for first in range(0, n_frames, 64):  # an hour at once would be gigabytes
        power = np.abs(rfft(frames[first : first + 64] * window)) ** 2
        energies[first : first + 64] = np.add.reduceat(power, edges, axis=1)[:, :-1]
    steps = np.diff(np.diff(energies, axis=1), axis=0)
    return np.packbits(steps > 0, axis=1).view(">u4")[:, 0].astype(np.uint32)


def same_sounds(words: Sequence[UInt32[np.ndarray, " _"]]) -> list[Match]:
    """Which of the recordings hold the same sound, by their words; the first places first."""
    matches: dict[tuple[int, int], Match] = {}
    for first, second, shift in _candidates(words):
        match = _compare(words, first, second, shift)
        known = matches.get((first, second))
        if match and (known is None or match.shared_s > known.shared_s):
            matches[first, second] = match
    return [matches[pair] for pair in sorted(matches)]


def _candidates(words: Sequence[np.ndarray]) -> Iterator[tuple[int, int, int]]:
    """Pairs of recordings with the shift, in hops, at which they share LEAST_KEYS or more."""
    lengths = [len(one) for one in words]
    files = np.tile(np.repeat(np.arange(len(words)), lengths), len(KEY_SHIFTS))
    places = np.tile(np.concatenate([*map(np.arange, lengths), np.zeros(0, int)]), len(KEY_SHIFTS))
    whole = np.concatenate([*words, np.zeros(0, np.uint32)]).astype(np.int64)
    mask = (1 << KEY_BITS) - 1
    every = np.concatenate([(whole >> shift & mask) + (n << KEY_BITS) for n, shift in enumerate(KEY_SHIFTS)])
    order = np.argsort(every, kind="stable")
    every, files, places = every[order], files[order], places[order]
    _, group, counts = np.unique(every, return_inverse=True, return_counts=True)
    rare = counts[group] <= MAX_SHARED
    every, files, places = every[rare], files[rare], places[rare]
    found: list[np.ndarray] = []
    for step in range(1, MAX_SHARED):
        same = (every[step:] == every[:-step]) & (files[step:] != files[:-step])
        found.append(np.stack([files[:-step], files[step:], places[step:] - places[:-step]], axis=1)[same])
    pairs, n_shared = np.unique(np.concatenate(found), axis=0, return_counts=True)
    yield from ((int(a), int(b), int(shift)) for a, b, shift in pairs[n_shared >= LEAST_KEYS])


def _compare(words: Sequence[np.ndarray], first: int, second: int, shift: int) -> Match | None:
    """The match of two recordings at a shift, if few of their bits differ there."""
    one, other = words[first][max(0, -shift) :], words[second][max(0, shift) :]
    n_shared = min(len(one), len(other))
    shared_s = (n_shared * HOP_SAMPLES + FFT_SAMPLES) / RATE_HZ
    error = float(np.bitwise_count(one[:n_shared] ^ other[:n_shared]).mean() / N_BITS)
    if error > MAX_ERROR or shared_s < LEAST_S:
        return None
    return Match(first, second, shift * HOP_SAMPLES / RATE_HZ, shared_s, error)
