"""Labelled soundscape windows as training clips: where a model is used sounds otherwise than focal recordings do."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sed_model.audio.windows import context_of, cut
from sed_model.clips.embeddings import embedding_of_cut
from sed_model.clips.pseudo_clips import LABELLED, Clip
from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import DataError
from sed_model.data.targets import TargetBuilder


class SoundscapeMixer:
    """Puts labelled soundscape windows in the place of some clips. Draws follow the rng.

    A window is heard with what is around it in its soundscape, as when it is predicted.
    """

    def __init__(self, table: pd.DataFrame, data: TrainingData, config: SedConfig) -> None:
        """
        Args:
            table: the labels of the data folder's soundscapes.

        Raises:
            DataError: a window lies beyond the end of its audio, as it is decoded.
        """
        table = table[table["path"].isin(data.split.soundscapes_train) & ~table["path"].isin(data.bad_paths)]
        self._cache, self._config, self._teacher = data.cache, config, data.teacher(config)
        self._paths: list[str] = table["path"].tolist()
        self._start_s, self._end_s = (table[name].to_numpy(float) for name in ("start_s", "end_s"))
        self._labels = table[list(data.folder.classes)].to_numpy(np.float32)
        self._truth = TargetBuilder(data.folder.classes)
        self._check_ends()

    def _check_ends(self) -> None:
        """The audio that is not there must not be trained on as what is next to it."""
        rate = self._cache.sample_rate_hz
        for path, start_s in zip(self._paths, self._start_s, strict=True):
            if start_s * rate >= self._cache.n_samples(path):
                raise DataError(
                    f"{path}: is labelled at {start_s:g} s, beyond its end ({self._cache.n_samples(path) / rate:g} s "
                    "are decoded); repair the labels, or raise data.max_recording_s."
                )

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """The clip, or with a chance of `data.soundscape_prob` a labelled window in its place."""
        if rng.random() >= self._config.data.soundscape_prob or not self._paths:
            return clip
        row = int(rng.integers(len(self._paths)))
        path, rate, n_samples = self._paths[row], self._cache.sample_rate_hz, len(clip.waveform)
        duration_s = self._cache.n_samples(path) / rate
        context = context_of(float(self._start_s[row]), float(self._end_s[row]), duration_s, n_samples / rate)
        place = self._cache, path, round(context.start_s * rate), n_samples
        truth = self._truth.for_soundscape(self._labels[row])
        return Clip(cut(*place), truth, context.part, embedding_of_cut(self._teacher, *place), LABELLED)
