"""Which recordings an epoch draws, in which order, and how many a step takes: a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from sed_model.config.sed_config import Data, SedConfig
from sed_model.core.errors import ConfigError, DataError

LARGEST_BATCH = 64
"""Clips a step where the configuration leaves their number open, and there are recordings enough."""


def with_batch_size(config: SedConfig, n_clips: int, world_size: int = 1) -> SedConfig:
    """The configuration with what `batch_size_for` says: what is recorded is then what is used."""
    optim = config.optim.model_copy(update={"batch_size": batch_size_for(n_clips, config, world_size)})
    return config.model_copy(update={"optim": optim})


def batch_size_for(n_clips: int, config: SedConfig, world_size: int = 1) -> int:
    """How many of `n_clips` training recordings a step takes, over all workers.

    `optim.batch_size` as it is; null stands for 64, or less where an epoch would have under
    `optim.min_steps_per_epoch` steps, but at least two clips per worker.

    Raises:
        ConfigError: a step would take more clips than there are, or a worker of several less than two.
    """
    least, given = 2 * world_size, config.optim.batch_size
    if n_clips < least and world_size > 1:
        raise _too_few("training clips", n_clips, world_size)
    if given is None:
        return min(LARGEST_BATCH, max(least, n_clips // config.optim.min_steps_per_epoch), max(1, n_clips))
    if given < least and world_size > 1:
        raise _too_few("optim.batch_size", given, world_size)
    if given > n_clips:
        raise ConfigError(
            f"optim.batch_size={given} is more than the {n_clips} training recordings; lower it, or set it to null, "
            f"which takes as many as leave optim.min_steps_per_epoch={config.optim.min_steps_per_epoch} steps "
            "per epoch."
        )
    return given


def _too_few(name: str, value: int, n_workers: int) -> ConfigError:
    return ConfigError(
        f"{name}={value} is under {2 * n_workers}, two clips for each of {n_workers} workers; "
        f"raise it, or use {max(1, value // 2)} workers."
    )


def recording_weights(primary_labels: Sequence[str], settings: Data) -> NDArray[np.float64]:
    """How often each recording is drawn, relative to the others; mean 1.

    `uniform`: all alike. `inverse_frequency`: (1 / recordings of its class) ** sampler_power; power 1 draws every class
    equally often, power 0 every recording.

    Raises:
        DataError: there are no recordings.
    """
    if len(primary_labels) == 0:
        raise DataError("there is no recording to draw from; check the filters data.min_rating and data.on_bad_audio.")
    if settings.sampler == "uniform":
        return np.ones(len(primary_labels))
    _, class_of, class_size = np.unique(np.asarray(primary_labels), return_inverse=True, return_counts=True)
    weights = (1.0 / class_size[class_of]) ** settings.sampler_power
    return np.asarray(weights / weights.mean(), dtype=np.float64)


class EpochSampler(Sampler[int]):
    """Draws `n_samples` positions an epoch, in proportion to the weights.

    Each position comes up as often as expected, rounded down or up (systematic draw), in shuffled order; equal weights
    and n_samples = number of weights give a permutation. The order depends on (seed, epoch) alone, so a resumed run
    needs no more than `set_epoch`, and processes that train one model know each other's.
    """

    def __init__(self, weights: NDArray[np.floating], n_samples: int, seed: int) -> None:
        """
        Raises:
            DataError: a weight is negative or not finite, or none is above 0.
        """
        self._weights = np.asarray(weights, dtype=np.float64)
        if not (np.isfinite(self._weights).all() and (self._weights >= 0).all() and self._weights.sum() > 0):
            raise DataError(
                "sampling weights have to be finite, none below 0 and one above 0; check the sampler settings."
            )
        self._n_samples, self._seed = n_samples, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) that the next iteration draws."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._n_samples

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self._seed, self._epoch))
        return iter(_systematic_draw(self._weights, self._n_samples, rng).tolist())


def _systematic_draw(weights: NDArray[np.float64], n_samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """n_samples positions, shuffled, each as often as expected rounded down or up (Madow 1949)."""
    expected = n_samples * weights / weights.sum()
    counts = np.floor(expected).astype(np.int64)
    n_left = n_samples - int(counts.sum())
    # Neighbours in a systematic draw exclude one another; in random order that binds no two positions for good.
    drawing_order = rng.permutation(len(weights))
    reached = np.cumsum((expected - counts)[drawing_order])
    if n_left:
        reached *= n_left / reached[-1]
        marks = np.minimum(rng.random() + np.arange(n_left), np.nextafter(reached[-1], 0))
        counts[drawing_order[np.searchsorted(reached, marks, side="right")]] += 1
    return rng.permutation(np.repeat(np.arange(len(weights)), counts))
