"""The windows that score a model, as batches; and their images, which are the same in every epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from sed_model.audio.windows import context_of, cut, level_of, window_samples
from sed_model.clips.clip_events import NO_EVENTS
from sed_model.clips.dataset import NO_EMBEDDING, Batch
from sed_model.clips.pseudo_clips import RECORDED
from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import Data, SedConfig
from sed_model.config.training import Stage
from sed_model.core.errors import DataError
from sed_model.data.targets import TargetBuilder
from sed_model.model.fast_mel import INT16_SCALE
from sed_model.scores.overlap import Hearing, hearing

KEPT_BYTES = 128 * 2**20
"""So much a trial keeps: 400 windows of 10 s at the default front end. Those beyond are made anew in each epoch."""


@dataclass(frozen=True)
class HeardRecording:
    """A recording of which windows are scored.

    Attributes:
        targets: the rows of these in the tables of `ValidationWindows`.
        hearing: the windows that hear them.
        contexts_s: where these, with their contexts, start.
    """

    path: str
    targets: NDArray[np.int64]
    hearing: Hearing
    contexts_s: NDArray[np.float64]


class ValidationWindows(Dataset[Batch]):
    """The windows that score a model: labelled soundscape windows in context, or the loudest of held-out recordings.

    The tables (`paths`, `start_s`, `end_s`, `targets`) have one row per scored window. The items of the dataset are the
    windows that hear these (`overlap.hearing`), one recording after the other: mostly the same ones.
    """

    def __init__(self, data: TrainingData, config: SedConfig, rows: Sequence[int] | None = None) -> None:
        """
        Args:
            rows: those of the tables that are kept; default: all.
        """
        self._cache, self._config = data.cache, config
        self._n_samples = window_samples(config)
        classes = data.folder.classes
        builder = TargetBuilder(classes)
        table = data.folder.soundscape_labels
        if data.split.kind == "soundscapes" and table is not None:
            table = table[table["path"].isin(data.split.soundscapes_validation) & ~table["path"].isin(data.bad_paths)]
            self.paths: list[str] = table["path"].tolist()
            self.start_s: np.ndarray = table["start_s"].to_numpy(float)
            self.end_s: np.ndarray = table["end_s"].to_numpy(float)
            labels = table[list(classes)].to_numpy(np.float32)
            truths = [builder.for_soundscape(row) for row in labels]
        else:
            held_out = data.folder.recordings.iloc[data.split.validation]
            held_out = held_out[~held_out["path"].isin(data.bad_paths)]
            self.paths = held_out["path"].tolist()
            rate = config.front_end.sample_rate_hz
            loudest = [data.cache.loudest_start(path, config.data.window_s) / rate for path in self.paths]
            self.start_s = np.asarray(loudest, dtype=float)
            self.end_s = self.start_s + config.data.window_s
            # A default stage counts secondary labels as absent, and unrated recordings weigh 1 in every score. To leave
            # secondary labels out would be fairer (the loudest seconds may hold them), but then oof.parquet would need
            # a mask: analysis and ensembles compute scores from its targets, which say present or absent.
            truths = [builder.for_recording(label, (), 0, Stage(), Data()) for label in held_out["primary_label"]]
        self.targets: np.ndarray = np.stack([truth.targets for truth in truths])
        self._check_ends()
        if rows is not None:
            self.paths = [self.paths[row] for row in rows]
            self.start_s, self.end_s, self.targets = (
                table[list(rows)] for table in (self.start_s, self.end_s, self.targets)
            )
        self.recordings = self._heard_recordings()
        self._items = [
            (recording, place) for recording in self.recordings for place in range(len(recording.contexts_s))
        ]

    def _heard_recordings(self) -> tuple[HeardRecording, ...]:
        window_s, rate = self._config.data.window_s, self._config.front_end.sample_rate_hz
        result = []
        # An array: a list of one path would be taken for a list of keys.
        by_path = pd.Series(range(len(self.paths))).groupby(np.array(self.paths, object), sort=False)
        for path, rows in by_path:
            targets = np.asarray(rows, np.int64)
            target_s = float(self.end_s[targets[0]] - self.start_s[targets[0]])
            duration_s = self._cache.n_samples(str(path)) / rate
            heard = hearing(self.start_s[targets], target_s, duration_s, window_s)
            contexts_s = [context_of(start, start + target_s, duration_s, window_s).start_s for start in heard.heard_s]
            result.append(HeardRecording(str(path), targets, heard, np.array(contexts_s)))
        return tuple(result)

    @cached_property
    def rms(self) -> Float32[np.ndarray, " windows"]:
        """Levels of the scored windows, full scale 1."""
        rate = self._config.front_end.sample_rate_hz
        levels = []
        for path, start_s, end_s in zip(self.paths, self.start_s, self.end_s, strict=True):
            first, end = round(start_s * rate), round(end_s * rate)
            levels.append(level_of(self._cache.samples(path, first, end - first) * INT16_SCALE))
        return np.asarray(levels, np.float32)

    def _check_ends(self) -> None:
        """Audio that is not there, or not decoded, must not be scored by what is next to it."""
        settings, rate = self._config.data, self._config.front_end.sample_rate_hz
        beyond = [row for row, path in enumerate(self.paths) if self.start_s[row] * rate >= self._cache.n_samples(path)]
        if beyond:
            path, end_s = self.paths[beyond[0]], self.end_s[beyond].max()
            was_cut = end_s > settings.max_recording_s
            longer = f", or raise data.max_recording_s={settings.max_recording_s:g} to {end_s:g}" if was_cut else ""
            raise DataError(
                f"labelled windows lie beyond the end of their audio: {len(beyond)}, first in {path} at "
                f"{self.start_s[beyond[0]]:g} s (decoded: {self._cache.n_samples(path) / rate:g} s); "
                f"repair the labels{longer}."
            )

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, item: int) -> Batch:
        """A window that is heard; its targets are those of the window itself where it is scored, else 0."""
        recording, place = self._items[item]
        heard, rate = recording.hearing, self._config.front_end.sample_rate_hz
        start_s = float(heard.heard_s[place])
        context = context_of(start_s, start_s + heard.target_s, heard.duration_s, self._config.data.window_s)
        scored = recording.targets[heard.own == place]
        targets = torch.from_numpy(self.targets[scored[0]] if len(scored) else np.zeros_like(self.targets[0]))
        return Batch(
            torch.from_numpy(cut(self._cache, recording.path, round(context.start_s * rate), self._n_samples)),
            targets,
            torch.ones_like(targets, dtype=torch.bool),
            torch.tensor(1.0),
            torch.tensor(context.part, dtype=torch.float32),
            torch.tensor(item),
            NO_EMBEDDING,
            torch.tensor(RECORDED, dtype=torch.int8),  # or labelled: nothing mixes them
            torch.from_numpy(NO_EVENTS),
        )


class WindowImages(Dataset[Batch]):
    """Validation windows with their images [channels, mels, frames] as inputs, for a model on the CPU."""

    def __init__(self, windows: ValidationWindows, make_images: nn.Module, kept_bytes: int = KEPT_BYTES) -> None:
        self._windows, self._make_images = windows, make_images
        self.recordings = windows.recordings
        self._kept: dict[int, Batch] = {}
        self._bytes_left = kept_bytes

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, row: int) -> Batch:
        if row in self._kept:
            return self._kept[row]
        batch = self._windows[row]
        batch = batch._replace(inputs=self._images(batch.inputs))
        if batch.inputs.nbytes <= self._bytes_left:
            self._bytes_left -= batch.inputs.nbytes
            self._kept[row] = batch
        return batch

    @torch.no_grad()
    def _images(self, waveform: Tensor) -> Tensor:
        images: Tensor = self._make_images(waveform[None])[0]
        return images
