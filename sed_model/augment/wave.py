"""Augmentation of single waveforms with audiomentations: gain, stretch, pitch, noise, filters, room, limiter, mask."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from sed_model.augment.sound_folders import Waveform
from sed_model.config.augment import WaveAugment
from sed_model.core.errors import ConfigError

PACKAGES = {"audiomentations": "audiomentations", "python_stretch": "python-stretch"}
LIMITER_PACKAGES = {"numpy_audio_limiter": "numpy-audio-limiter"}
"""Module -> package. audiomentations imports the limiter's when it first applies it: too late to find it missing."""


class WaveAugmenter:
    """A random chain of transforms; the same seed gives the same result.

    Raises:
        ConfigError: at construction, where a transform that is switched on lacks its package or its sounds.
    """

    def __init__(self, settings: WaveAugment, sample_rate_hz: int) -> None:
        self._sample_rate_hz = sample_rate_hz
        self._chain: Callable[..., np.ndarray] | None = None
        self._stretch: Any = None
        if settings.prob == 0:
            return
        _require_packages(PACKAGES | (LIMITER_PACKAGES if settings.limiter_prob > 0 else {}))
        from sed_model.augment.wave_transforms import StretchAndPitch, build_chain

        chain = build_chain(settings, sample_rate_hz)
        if chain.transforms:
            self._chain = chain
            self._stretch = next((one for one in chain.transforms if isinstance(one, StretchAndPitch)), None)

    def __call__(self, waveform: Waveform, seed: int) -> Waveform:
        """An augmented waveform of the same length (the input itself where nothing is switched on)."""
        return self.stretched(waveform, seed)[0]

    def stretched(self, waveform: Waveform, seed: int) -> tuple[Waveform, float]:
        """The augmented waveform, and how many times as fast it plays: its start stays, all else moves."""
        if self._chain is None or len(waveform) == 0:
            return waveform, 1.0
        if self._stretch is not None:
            self._stretch.forget()
        with _seeded(seed):
            augmented = np.asarray(self._chain(samples=waveform, sample_rate=self._sample_rate_hz), np.float32)
        return augmented, 1.0 if self._stretch is None else self._stretch.rate


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, which are what audiomentations draws from, and put them back afterwards."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def _require_packages(packages: dict[str, str]) -> None:
    missing = [package for module, package in packages.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ConfigError(
            "\n".join(
                f"augment.wave needs the package {name}, which is not installed; run `pip install {name}`, or "
                + ("set augment.wave.limiter_prob=0." if name in LIMITER_PACKAGES.values() else "augment.wave.prob=0.")
                for name in missing
            )
        )
