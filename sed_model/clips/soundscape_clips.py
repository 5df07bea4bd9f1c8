"""Labelled soundscape windows as training clips: where a model is used sounds otherwise than focal recordings do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from sed_model.audio.windows import context_of, cut
from sed_model.clips.clip_events import NO_EVENTS, ClipEvents, as_shares, events_by_path, events_within
from sed_model.clips.embeddings import embedding_of_cut
from sed_model.clips.pseudo_clips import LABELLED, Clip
from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import DataError
from sed_model.data.targets import TargetBuilder


class SoundscapeMixer:
    """Puts labelled soundscape windows in the place of some clips. Draws follow the rng.

    A window is heard with what is around it in its soundscape, as when it is predicted.

    Attributes:
        n_events: the most events that a window has; 0 where frames are not trained by them.
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
        self._events = events_by_path(data.folder) if config.loss.strong_weight > 0 else {}
        self.n_events = max((len(self._events_in(row)) for row in range(len(self._paths))), default=0)

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
        truth, embedding = self._truth.for_soundscape(self._labels[row]), embedding_of_cut(self._teacher, *place)
        clip = Clip(cut(*place), truth, context.part, embedding, LABELLED)
        # A shorter soundscape is repeated to fill the clip, and with it what nobody lists.
        if duration_s < n_samples / rate:
            return clip
        return replace(clip, events=as_shares(self._events_in(row), context.start_s, n_samples / rate))

    def _events_in(self, row: int) -> ClipEvents:
        """The events in a window, cut at its ends: what is around it need not be labelled. Times are in seconds."""
        events = self._events.get(self._paths[row], NO_EVENTS)
        return events_within(events, float(self._start_s[row]), float(self._end_s[row]))
