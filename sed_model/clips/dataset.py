"""Recordings -> batches: crops, targets, loaders. Every draw is a pure function of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sed_model.audio.windows import context_of, cut, level_of, stretched, window_samples
from sed_model.augment.spectral import SpectralFrontEnd
from sed_model.augment.wave import WaveAugmenter
from sed_model.clips.pseudo_clips import Clip, PseudoMixer
from sed_model.clips.samplers import EpochSampler, batch_size_for, recording_weights
from sed_model.clips.training_data import TrainingData
from sed_model.config.sed_config import Data, SedConfig
from sed_model.config.training import STAGE_NAMES, Stage
from sed_model.core.errors import DataError
from sed_model.data.targets import TargetBuilder
from sed_model.model.fast_mel import INT16_SCALE
from sed_model.scores.frames import Hearing, hearing


class Batch(NamedTuple):
    """Clips and what is true of them; `inputs` are waveforms, or log-mels or images where they were made already."""

    inputs: Tensor  # [batch, samples], [batch, mels, frames] or [batch, channels, mels, frames], float32
    targets: Tensor  # [batch, classes], 0..1
    mask: Tensor  # [batch, classes], False where a class is left out of the loss
    weights: Tensor  # [batch], weight of the sample's loss
    part: Tensor  # [batch, 2], the part of the window that the targets are for: start and end, as shares
    row: Tensor  # [batch], row of the recording or window: to name files in errors


class ClipKey(NamedTuple):
    """Names one training clip: which draw of which epoch, and which recording."""

    epoch: int
    position: int
    row: int


class ClipBatches(Sampler[list[ClipKey]]):
    """The batches of one epoch, in order; of each, process `rank` has every world_size-th clip."""

    def __init__(self, sampler: EpochSampler, epoch: int, batch_size: int, rank: int, world_size: int) -> None:
        self._sampler, self._epoch, self._batch_size = sampler, epoch, batch_size
        self._rank, self._world_size = rank, world_size

    def __len__(self) -> int:
        return n_batches(len(self._sampler), self._batch_size, self._world_size)

    def __iter__(self) -> Iterator[list[ClipKey]]:
        self._sampler.set_epoch(self._epoch)
        keys = [ClipKey(self._epoch, position, row) for position, row in enumerate(self._sampler)]
        for batch in range(len(self)):
            whole = keys[batch * self._batch_size : (batch + 1) * self._batch_size]
            yield whole[self._rank :: self._world_size]


def n_batches(n_clips: int, batch_size: int, world_size: int = 1) -> int:
    """Batches of an epoch. A last one with less than two clips a process is left out, unless it is the only one.

    Batch statistics of a single clip are undefined in layers after a global pooling.
    """
    full, rest = divmod(n_clips, batch_size)
    return full + (rest >= 2 * world_size or (full == 0 and rest > 0))


class TrainingClips(Dataset[Batch]):
    """Augmented crops around the loudest window of each training recording.

    The label of a recording is for all of the crop: it names what calls somewhere in the file, and the longer the part
    is, the more often the call is in it. That of a pseudo-labelled window is for the window alone.
    """

    def __init__(self, data: TrainingData, config: SedConfig, stage_name: str) -> None:
        self._cache, self._config, self._stage_name = data.cache, config, stage_name
        recordings = data.folder.recordings.iloc[data.split.train]
        recordings = recordings[~recordings["path"].isin(data.bad_paths)]
        self.paths: list[str] = recordings["path"].tolist()
        self.primary_labels: list[str] = recordings["primary_label"].tolist()
        self._secondary: list[tuple[str, ...]] = recordings["secondary_labels"].tolist()
        self._ratings: list[float] = recordings["rating"].tolist()
        self._truth = TargetBuilder(data.folder.classes)
        self._n_samples = window_samples(config)
        self._mixer = _mixer(data, config, stage_name)
        wave, front_end = config.augment.wave, config.front_end
        self._augment: Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], float]] = (
            SpectralFrontEnd(front_end, wave).stretched
            if config.augment.backend == "spectral"
            else WaveAugmenter(wave, front_end.sample_rate_hz).stretched
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: ClipKey) -> Batch:
        path = self.paths[key.row]
        stage_number = STAGE_NAMES.index(self._stage_name)
        seeds = np.random.SeedSequence([self._config.seed, stage_number, key.epoch, key.position])
        crop_seed, augment_seed, mix_seed = (int(word) for word in seeds.generate_state(3))
        start = self._crop_start(path, np.random.default_rng(crop_seed))
        truth = self._truth.for_recording(
            self.primary_labels[key.row],
            self._secondary[key.row],
            self._ratings[key.row],
            self._config.stages[self._stage_name],
            self._config.data,
        )
        clip = Clip(cut(self._cache, path, start, self._n_samples), truth)
        if self._mixer is not None:
            clip = self._mixer(clip, np.random.default_rng(mix_seed))
        inputs, rate = self._augment(clip.waveform, augment_seed)
        return Batch(
            torch.from_numpy(inputs),
            torch.as_tensor(clip.truth.targets),
            torch.as_tensor(clip.truth.mask),
            torch.as_tensor(clip.truth.weights, dtype=torch.float32),
            torch.tensor(stretched(clip.part, rate), dtype=torch.float32),
            torch.tensor(key.row),
        )

    def _crop_start(self, path: str, rng: np.random.Generator) -> int:
        data, rate = self._config.data, self._config.front_end.sample_rate_hz
        loudest = self._cache.loudest_start(path, data.window_s)
        shift = round(rng.uniform(-data.crop_shift_s, data.crop_shift_s) * rate)
        return int(np.clip(loudest + shift, 0, max(0, self._cache.n_samples(path) - self._n_samples)))


def _mixer(data: TrainingData, config: SedConfig, stage_name: str) -> PseudoMixer | None:
    """Only the stage pseudo mixes; the commands refuse it without pseudo-labels."""
    if stage_name != "pseudo" or data.pseudo is None:
        return None
    return PseudoMixer(data.pseudo, data.folder.classes, config)


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

    The tables (`paths`, `start_s`, `end_s`, `targets`) have a row a scored window. The items of the dataset are the
    windows that hear these (`frames.hearing`), one recording after the other: mostly the same ones.
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
            table = table[~table["path"].isin(data.bad_paths)]
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
            raise DataError(
                f"{len(beyond)} labelled windows lie beyond the end of their audio, first in {path} at "
                f"{self.start_s[beyond[0]]:g} s (decoded: {self._cache.n_samples(path) / rate:g} s); repair "
                f"the labels, or raise data.max_recording_s={settings.max_recording_s:g} to {end_s:g}."
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
        )


class EpochLoaders:
    """The training batches of a stage, and this process's share of each: `training(epoch)`.

    Attributes:
        batch_size: clips of a batch, over all processes.
    """

    def __init__(
        self, data: TrainingData, config: SedConfig, stage_name: str, rank: int = 0, world_size: int = 1
    ) -> None:
        """
        Raises:
            ConfigError: a batch of more than all clips, or that leaves a process of several with less than two.
        """
        self.clips = TrainingClips(data, config, stage_name)
        self._config, self._rank, self._world_size = config, rank, world_size
        weights = recording_weights(self.clips.primary_labels, config.data)
        self._sampler = EpochSampler(weights, len(self.clips), config.seed)
        self.batch_size = batch_size_for(len(data.split.train), config, world_size)

    @property
    def steps_per_epoch(self) -> int:
        return n_batches(len(self.clips), self.batch_size, self._world_size)

    def training(self, epoch: int) -> DataLoader[Batch]:
        batches = ClipBatches(self._sampler, epoch, self.batch_size, self._rank, self._world_size)
        return DataLoader(
            self.clips,
            batch_sampler=batches,
            num_workers=self._config.data.num_workers,
            pin_memory=torch.cuda.is_available(),
        )
