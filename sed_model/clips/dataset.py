"""Recordings -> batches: crops, targets, loaders. Every draw is a pure function of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from sed_model.audio.windows import cut, stretched, window_samples
from sed_model.augment.spectral import SpectralImages
from sed_model.augment.wave import WaveAugmenter
from sed_model.clips.clip_events import padded, stretched_events
from sed_model.clips.embeddings import Embedding, centre_of, embedding_of_cut
from sed_model.clips.pseudo_clips import Clip, PseudoMixer
from sed_model.clips.samplers import EpochSampler, batch_size_for, recording_weights
from sed_model.clips.soundscape_clips import SoundscapeMixer
from sed_model.clips.training_data import TrainingData
from sed_model.clips.window_draws import Focal
from sed_model.config.sed_config import SedConfig
from sed_model.config.training import STAGE_NAMES
from sed_model.data.targets import TargetBuilder, Truth


class Batch(NamedTuple):
    """Clips and what is true of them; `inputs` are waveforms, or images where they were made already."""

    inputs: Tensor  # [batch, samples] or [batch, channels, mels, frames], float32
    targets: Tensor  # [batch, classes], 0..1
    mask: Tensor  # [batch, classes], False where a class is left out of the loss
    weights: Tensor  # [batch], weight of the sample's loss
    part: Tensor  # [batch, 2], the part of the window that the targets are for: start and end, as shares
    row: Tensor  # [batch], row of the recording or window: to name files in errors
    embedding: Tensor  # [batch, dim], of the teacher, around its centre; zeros where unknown; dim is 0 without one
    origin: Tensor  # [batch], see `Clip.origin`
    events: Tensor  # [batch, events, 3], see `clip_events`; no rows where frames are not trained by them


NO_EMBEDDING = torch.zeros(0)
"""Of a clip or window without a teacher."""


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
    """Batches of an epoch. A last one with less than two clips per process is left out, unless it is the only one.

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
        self._teacher = data.teacher(config)
        # Mixing is by shares of 1, so that it does not matter whether the centre is taken off before or after it.
        self._centre = None if self._teacher is None else centre_of(self._teacher, data.cache, self.paths)
        self._mixer = self._pseudo_mixer(data)
        self._soundscapes = _soundscape_mixer(data, config, stage_name)
        self._n_events = 0 if self._soundscapes is None else self._soundscapes.n_events
        wave, front_end = config.augment.wave, config.front_end
        self._augment: Callable[[NDArray[np.float32], int], tuple[NDArray[np.float32], float]] = (
            SpectralImages(front_end, wave, config.model.multi_resolution).stretched
            if config.augment.backend == "spectral"
            else WaveAugmenter(wave, front_end.sample_rate_hz).stretched
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, key: ClipKey) -> Batch:
        path = self.paths[key.row]
        stage_number = STAGE_NAMES.index(self._stage_name)
        seeds = np.random.SeedSequence([self._config.seed, stage_number, key.epoch, key.position])
        crop_seed, augment_seed, mix_seed, soundscape_seed = (int(word) for word in seeds.generate_state(4))
        start = self._crop_start(path, np.random.default_rng(crop_seed))
        place = self._cache, path, start, self._n_samples
        embedding, label = embedding_of_cut(self._teacher, *place), self.primary_labels[key.row]
        clip = Clip(cut(*place), self._truth_of(key.row), embedding=embedding, primary_label=label)
        if self._mixer is not None:
            clip = self._mixer(clip, np.random.default_rng(mix_seed))
        if self._soundscapes is not None:
            clip = self._soundscapes(clip, np.random.default_rng(soundscape_seed))
        inputs, rate = self._augment(clip.waveform, augment_seed)
        return Batch(
            torch.from_numpy(inputs),
            torch.as_tensor(clip.truth.targets),
            torch.as_tensor(clip.truth.mask),
            torch.as_tensor(clip.truth.weights, dtype=torch.float32),
            torch.tensor(stretched(clip.part, rate), dtype=torch.float32),
            torch.tensor(key.row),
            self._around_centre(clip.embedding),
            torch.tensor(clip.origin, dtype=torch.int8),
            torch.from_numpy(padded(stretched_events(clip.events, rate), self._n_events)),
        )

    @property
    def note(self) -> str:
        """What was decided about the clips, for people; or nothing."""
        return self._mixer.note if self._mixer is not None else ""

    def _truth_of(self, row: int) -> Truth[NDArray[Any]]:
        return self._truth.for_recording(
            self.primary_labels[row],
            self._secondary[row],
            self._ratings[row],
            self._config.stages[self._stage_name],
            self._config.data,
        )

    def _pseudo_mixer(self, data: TrainingData) -> PseudoMixer | None:
        """Only the stage pseudo mixes; the commands refuse it without pseudo-labels."""
        if self._stage_name != "pseudo" or data.pseudo is None:
            return None
        focal = self._focal() if self._config.pseudo.mass_cap > 0 else None
        return PseudoMixer(data.pseudo, data.folder.classes, self._config, self._teacher, focal)

    def _focal(self) -> Focal:
        weights = recording_weights(self.primary_labels, self._config.data)
        chances = weights / weights.sum()
        shares: dict[str, float] = {}
        targets = np.zeros(len(self._truth.classes))
        for row, (label, chance) in enumerate(zip(self.primary_labels, chances.tolist(), strict=True)):
            shares[label] = shares.get(label, 0.0) + chance
            targets += chance * self._truth_of(row).targets
        return Focal(targets, shares)

    def _around_centre(self, embedding: Embedding) -> Tensor:
        if self._centre is None:
            return NO_EMBEDDING
        return torch.from_numpy(np.zeros_like(self._centre) if embedding is None else embedding - self._centre)

    def _crop_start(self, path: str, rng: np.random.Generator) -> int:
        data, rate = self._config.data, self._config.front_end.sample_rate_hz
        loudest = self._cache.loudest_start(path, data.window_s)
        shift = round(rng.uniform(-data.crop_shift_s, data.crop_shift_s) * rate)
        return int(np.clip(loudest + shift, 0, max(0, self._cache.n_samples(path) - self._n_samples)))


def _soundscape_mixer(data: TrainingData, config: SedConfig, stage_name: str) -> SoundscapeMixer | None:
    """None where no labelled soundscape trains. A window of none or several classes has no place in a softmax."""
    table = data.folder.soundscape_labels
    if table is None or not data.split.soundscapes_train or config.stages[stage_name].loss == "ce":
        return None
    return SoundscapeMixer(table, data, config)


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
