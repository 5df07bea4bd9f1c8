"""A linear probe of a foreign model, in the place of an SED model: waveform -> its embeddings and logits -> classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import soxr
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor, nn

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError, ConfigError
from sed_model.model.network import SedOutput
from sed_model.teacher.description import TeacherDescription
from sed_model.teacher.runner import Heard, Teacher, load_teacher
from sed_model.teacher.windows import window_starts

SAME_S = 1e-3
"""Windows that start as close together are one."""
FRAMES_PER_S = 1.0
"""Steps of a probe's frame scores: as fine as the usual hop of its windows."""


@dataclass(frozen=True)
class HeardBefore:
    """What a foreign model has said of windows of a recording, in the order of their starts."""

    starts_s: Float64[np.ndarray, " windows"]
    features: Float32[np.ndarray, "windows features"]

    def of(self, starts_s: Float64[np.ndarray, " windows"]) -> Float32[np.ndarray, "windows features"] | None:
        """Of the windows that start there; None where one of them has not been heard."""
        places = np.searchsorted(self.starts_s, starts_s - SAME_S)
        if not len(self.starts_s) or (np.abs(self.starts_s.take(places, mode="clip") - starts_s) > SAME_S).any():
            return None
        return self.features[places]


class ProbeModel(nn.Module):
    """Class logits are linear in the embedding of what the foreign model hears at a time, and in its logits.

    The logit of a clip is that of the highest of its windows: a short call is in one of them. A frame has the highest
    of the windows that hear it.

    Attributes:
        weight: [classes, features]; the features are the embedding, then the logits of the labels in `columns`.
        columns: which of the foreign model's logits are used.
        before: of the recording that is scored: clips whose windows are all in it are not heard again.
    """

    weight: Tensor
    bias: Tensor
    columns: Tensor
    before: HeardBefore | None = None

    def __init__(
        self, description: TeacherDescription, config: SedConfig, weights: Mapping[str, Tensor], sha256: str
    ) -> None:
        """
        Args:
            sha256: of the foreign model's file that the weights were fitted to.
        """
        super().__init__()
        self.description, self._sha256 = description, sha256
        self._rate_hz, self._window_s = config.front_end.sample_rate_hz, config.data.window_s
        for name in ("weight", "bias", "columns"):
            self.register_buffer(name, weights[name].clone())

    @cached_property
    def teacher(self) -> Teacher:
        """Opened when it first hears: its file need not be here for what never listens.

        Raises:
            ConfigError: its file is not the one that the probe was fitted to, or is not there.
            CheckpointError: it is not the model that the probe's weights are for.
        """
        self.description.check_file(self._sha256)
        teacher, n_columns = load_teacher(self.description), len(self.columns)
        dim, n_logits = self.weight.shape[1] - n_columns, 1 + max(self.columns.tolist(), default=-1)
        if teacher.dim != dim or teacher.n_logits < n_logits:
            raise CheckpointError(
                f"{self.description.path}: has {teacher.dim} values in an embedding and {teacher.n_logits} logits, but "
                f"the probe was fitted to {dim} and at least {n_logits}; restore that model, or run trainables.probe "
                "again."
            )
        return teacher

    @property
    def key(self) -> str:
        """What the features depend on: probes of one foreign model share them."""
        return f"{self.description!r} {self.columns.tolist()}"

    def images(
        self, waveforms: Float[Tensor, "batch samples"], clips_s: Sequence[float | None] | None = None
    ) -> Float[Tensor, "batch 1 windows features"]:
        """The features of the foreign model's windows of each clip.

        Args:
            clips_s: where the clips start in the recording that `before` is of; None: there is no such place.
        """
        places = [None] * len(waveforms) if clips_s is None else clips_s
        clips = zip(waveforms.detach().cpu().numpy(), places, strict=True)
        return torch.from_numpy(np.stack([self._features(waveform, place_s) for waveform, place_s in clips]))[:, None]

    def _features(
        self, waveform: Float32[np.ndarray, " samples"], clip_s: float | None
    ) -> Float32[np.ndarray, "windows features"]:
        if self.before is not None and clip_s is not None:
            starts = starts_in(len(waveform), self._rate_hz, self.description)
            known = self.before.of(clip_s + starts / self.description.sample_rate_hz)
            if known is not None:
                return known
        return features(self.teacher.hear(windows_of(waveform, self._rate_hz, self.description)), self.columns.numpy())

    def forward(
        self, images: Float[Tensor, "batch 1 windows features"], target: Float[Tensor, "batch 2"] | None = None
    ) -> SedOutput:
        """Logits; the clip is what the target is for."""
        logits = images[:, 0].float().cpu() @ self.weight.float().cpu().T + self.bias.float().cpu()
        n_samples = round(self._window_s * self._rate_hz)
        starts_s = starts_in(n_samples, self._rate_hz, self.description) / self.description.sample_rate_hz
        ends_s = starts_s + self.description.window_s
        ends_s[-1] = max(ends_s[-1], self._window_s)  # a little may be left behind it
        n_frames = max(1, round(self._window_s * FRAMES_PER_S))
        middles_s = (np.arange(n_frames) + 0.5) * self._window_s / n_frames
        hears = (starts_s <= middles_s[:, None]) & (middles_s[:, None] < ends_s)
        by_frame = [logits[:, np.flatnonzero(row)].amax(dim=1) for row in hears]
        return SedOutput(logits.amax(dim=1), torch.stack(by_frame, dim=1))


def check_weights(weights: Mapping[str, Tensor], n_classes: int) -> None:
    """Whether the tensors of a file are those of a probe for so many classes.

    Raises:
        ConfigError: one is missing, or is none of a probe's.
    """
    if missing := [name for name in ("weight", "bias", "columns") if name not in weights]:
        raise ConfigError(f"a probe's {missing[0]} is missing")
    weight, bias, columns = weights["weight"], weights["bias"], weights["columns"]
    if weight.ndim != 2 or len(weight) != n_classes or bias.shape != (n_classes,):
        shapes = f"weight {tuple(weight.shape)} and bias {tuple(bias.shape)}"
        raise ConfigError(f"{shapes} are not a probe's for {n_classes} classes")
    if columns.ndim != 1 or columns.is_floating_point() or (columns < 0).any() or len(columns) >= weight.shape[1]:
        raise ConfigError(f"columns {tuple(columns.shape)} are not those of logits among {weight.shape[1]} features")


def features(heard: Heard, columns: np.ndarray) -> Float32[np.ndarray, "windows features"]:
    """What a probe is linear in: the embedding, and the logits of some labels."""
    return np.concatenate([heard.embeddings, heard.logits[:, columns]], axis=1)


def starts_in(n_samples: int, rate_hz: int, description: TeacherDescription) -> Int64[np.ndarray, " windows"]:
    """Where a foreign model's windows start in a clip of `n_samples` at `rate_hz`; in samples at its own rate."""
    rate = description.sample_rate_hz
    return window_starts(round(n_samples * rate / rate_hz), description.window_samples, description.hop_s * rate)


def windows_of(
    waveform: Float32[np.ndarray, " samples"], rate_hz: int, description: TeacherDescription
) -> Float32[np.ndarray, "windows window_samples"]:
    """The windows of a clip at the foreign model's own rate; a clip shorter than a window is repeated."""
    n_samples, rate = description.window_samples, description.sample_rate_hz
    resampled = np.asarray(soxr.resample(waveform, rate_hz, rate) if rate != rate_hz else waveform, np.float32)
    if len(resampled) < n_samples:
        resampled = np.resize(resampled, n_samples)
    firsts = np.minimum(starts_in(len(waveform), rate_hz, description), len(resampled) - n_samples)
    return np.stack([resampled[first : first + n_samples] for first in firsts])
