"""Compiled loops of the fast log-mel. Arrays are float32 unless said otherwise; the callers check shapes."""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

VECTORISE = {"reassoc", "contract", "nsz"}
"""Sums may be reordered, which lets the compiler use vector registers; NaN and infinity keep their meaning."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Numba's njit with a cache; without one where neither the package's folder nor the home can be written."""

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, **options)(function)
        except RuntimeError:
            return njit(**options)(function)

    return decorate


@compiled(nogil=True)
def cut_frames(padded, centres, window, frames):
    for i in range(len(centres)):
        for n in range(len(window)):
            frames[i, n] = padded[centres[i] + n] * window[n]


@compiled(nogil=True, fastmath=VECTORISE)
def sum_bands(spectrum, bands, power):
    """`spectrum` holds real and imaginary parts in turn, [frames, 2 bins]; `bands` are those of `pitched_bands`."""
    first, count, weights = bands
    n_bins = spectrum.shape[1] // 2
    bins = np.empty(n_bins, np.float32)
    for t in range(spectrum.shape[0]):
        for k in range(n_bins):
            bins[k] = spectrum[t, 2 * k] ** 2 + spectrum[t, 2 * k + 1] ** 2
        for m in range(len(first)):
            total = np.float32(0)
            start = first[m]
            for i in range(count[m]):
                total += weights[m, i] * bins[start + i]
            power[t, m] = total


@compiled(nogil=True)
def pitched_bands(filters, ratio):
    """First bin, number of bins and weights of each mel band over the bins of the unshifted spectrum.

    A shifted spectrum at bin k is the unshifted one at k / ratio, interpolated, over ratio: total power stays.
    """
    n_mels, n_bins = filters.shape
    first = np.zeros(n_mels, np.int64)
    count = np.zeros(n_mels, np.int64)
    weights = np.zeros((n_mels, n_bins + 1), np.float32)
    for m in range(n_mels):
        for k in range(n_bins):
            source = k / ratio
            low = int(source)
            if filters[m, k] == 0 or low >= n_bins:
                continue
            if count[m] == 0:
                first[m] = low
            share = source - low
            weights[m, low - first[m]] += filters[m, k] * (1 - share) / ratio
            if share > 0 and low + 1 < n_bins:
                weights[m, low + 1 - first[m]] += filters[m, k] * share / ratio
                low += 1
            count[m] = low - first[m] + 1
    return first, count, weights


@compiled(nogil=True)
def join_steps(steps):
    """Every second row of `steps` [steps, mels], half of it, and a quarter of the rows before and behind it."""
    last = steps.shape[0] - 1
    out = np.empty((last // 2 + 1, steps.shape[1]), np.float32)
    for t in range(out.shape[0]):
        before, behind = max(2 * t - 1, 0), min(2 * t + 1, last)
        for m in range(steps.shape[1]):
            neighbours = steps[before, m] + steps[behind, m]
            out[t, m] = np.float32(0.5) * steps[2 * t, m] + np.float32(0.25) * neighbours
    return out


@compiled(nogil=True, fastmath=VECTORISE)
def convolve_frames(power, decay):
    """Each band of `power` [frames, mels] convolved over time with its column of `decay` [lags, mels]."""
    out = np.zeros_like(power)
    for t in range(power.shape[0]):
        for lag in range(min(t + 1, decay.shape[0])):
            for m in range(power.shape[1]):
                out[t, m] += decay[lag, m] * power[t - lag, m]
    return out
