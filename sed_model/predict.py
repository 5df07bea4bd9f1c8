"""Windows -> class probabilities, for validation and for soundscapes of any length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from sed_model.checkpoint import LoadedModel
from sed_model.config import SedConfig
from sed_model.dataset import Batch
from sed_model.devices import Runtime
from sed_model.graph import GraphModel
from sed_model.heads import frames_inside
from sed_model.model import SedModel
from sed_model.windows import Context, context_of, window_samples

EDGE_TOLERANCE_S = 0.1
"""A rest shorter than this at the end of a soundscape is no window of its own (encoders pad a little)."""


@dataclass(frozen=True)
class WindowScores:
    """What a model says of target windows: the clip logits, and the probabilities of the best frames in each."""

    clip_logits: Float32[np.ndarray, "windows classes"]
    best_frames: Float32[np.ndarray, "windows classes"]

    def probabilities(self, loss: str, frame_share: float) -> Float32[np.ndarray, "windows classes"]:
        return target_probabilities(probabilities_of(self.clip_logits, loss), self.best_frames, frame_share)


@torch.inference_mode()
def predict_dataset(
    model: SedModel, windows: Dataset[Batch], config: SedConfig, runtime: Runtime, loss: str
) -> WindowScores:
    """Scores of every window, in order, by a model that was trained with `loss`."""
    model.eval()
    logits, best = [], []
    for batch in DataLoader(windows, config.inference.batch_size, num_workers=config.data.num_workers):
        inputs = batch.inputs.to(runtime.device)
        images = inputs if inputs.ndim == 4 else model.images(inputs)
        clip, frames = _logits(model, images, batch.part.to(runtime.device), runtime)
        logits.append(clip)
        best.append(best_frames(frames, batch.part, loss))
    return WindowScores(np.concatenate(logits), np.concatenate(best))


def _logits(
    model: SedModel | GraphModel, images: torch.Tensor, parts: torch.Tensor, runtime: Runtime
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Clip and frame logits of a batch of log-mels."""
    with runtime.autocast():
        output = model(runtime.images(images), parts)
    return output.clip_logits.float().cpu().numpy(), output.frame_logits.float().cpu().numpy()


def best_frames(
    frame_logits: Float[np.ndarray, "windows steps classes"], parts: torch.Tensor, loss: str
) -> Float32[np.ndarray, "windows classes"]:
    """The highest probability of each class among the frames of the target.

    Args:
        parts: start and end of the targets, as shares of the windows [windows, 2].
    """
    n_windows, n_steps, n_classes = frame_logits.shape
    by_step = probabilities_of(frame_logits.reshape(-1, n_classes), loss).reshape(n_windows, n_steps, n_classes)
    inside = frames_inside(parts.cpu(), n_steps).numpy()
    return np.where(inside[:, :, None], by_step, np.float32(0)).max(axis=1)


def target_probabilities(
    clip: Float[np.ndarray, "*batch classes"], best: Float[np.ndarray, "*batch classes"], frame_share: float
) -> Float32[np.ndarray, "*batch classes"]:
    """What a model says of target windows: the clip probabilities with a share of the best frames'.

    The clip score is a mean that a short call hardly moves; the best frame alone is that of any click. Half of each
    ranked the windows of labelled train soundscapes better than either.
    """
    return ((1 - frame_share) * clip + frame_share * best).astype(np.float32)


def probabilities_of(logits: Float[np.ndarray, "windows classes"], loss: str) -> Float32[np.ndarray, "windows classes"]:
    """What the logits of a model trained with `loss` say: softmax after cross-entropy, else a sigmoid a class."""
    scores = torch.from_numpy(np.asarray(logits))
    probabilities = torch.softmax(scores, dim=1) if loss == "ce" else torch.sigmoid(scores)
    return np.asarray(probabilities.numpy(), dtype=np.float32)


def target_starts(duration_s: float, target_s: float, step_s: float) -> NDArray[np.float64]:
    """Start times of the windows that cover a recording, a step apart; at least one; the last may pass the end."""
    n_steps = math.ceil((duration_s - EDGE_TOLERANCE_S - target_s) / step_s)
    return np.arange(max(0, n_steps) + 1, dtype=np.float64) * step_s


@torch.inference_mode()
def predict_soundscape(
    members: Sequence[LoadedModel],
    waveform: Float32[np.ndarray, " samples"],
    starts_s: Float[np.ndarray, " windows"],
    runtime: Runtime,
) -> Float32[np.ndarray, "members windows classes"]:
    """Probabilities of each member for the windows of one soundscape; members with one front end share its log-mels.

    Args:
        waveform: decoded at the members' sample rate.
        starts_s: where the target windows (`data.target_s` long) start.
    """
    results = []
    for member, scores in zip(members, predict_members(members, waveform, starts_s, runtime), strict=True):
        results.append(target_probabilities(scores.clip, scores.best, member.config.inference.frame_share))
    return np.stack(results)


@dataclass(frozen=True)
class MemberScores:
    """What one member says of the windows of a soundscape.

    Attributes:
        clip: probabilities of the target windows.
        best: probabilities of the best frames of the target windows.
        frames: probabilities of the equally long steps of the whole windows around the targets.
        contexts_s: where these windows, each `window_s` long, start.
    """

    clip: Float32[np.ndarray, "windows classes"]
    best: Float32[np.ndarray, "windows classes"]
    frames: Float32[np.ndarray, "windows steps classes"]
    contexts_s: NDArray[np.float64]
    window_s: float

    def of_windows(self, places: NDArray[np.int64]) -> MemberScores:
        """The scores of some of the windows."""
        return MemberScores(
            self.clip[places], self.best[places], self.frames[places], self.contexts_s[places], self.window_s
        )


@torch.inference_mode()
def predict_members(
    members: Sequence[LoadedModel],
    waveform: Float32[np.ndarray, " samples"],
    starts_s: Float[np.ndarray, " windows"],
    runtime: Runtime,
) -> list[MemberScores]:
    """Like `predict_soundscape`, with the scores of every step of the windows too."""
    # Some windows at a time: an hour of them would be gigabytes.
    n_windows = max(member.config.inference.batch_size for member in members)
    pieces = [starts_s[first : first + n_windows] for first in range(0, len(starts_s), n_windows)]
    by_piece = [_predict_windows(members, waveform, piece, runtime) for piece in pieces]
    results = []
    for member, logits in zip(members, zip(*by_piece, strict=True), strict=True):
        config, loss = member.config, member.lineage.loss
        clip, frames = (np.concatenate(parts) for parts in zip(*logits, strict=True))
        around = target_contexts(starts_s, len(waveform) / config.front_end.sample_rate_hz, config)
        contexts_s = np.array([context.start_s for context in around])
        best = best_frames(frames, torch.tensor([context.part for context in around], dtype=torch.float32), loss)
        by_step = probabilities_of(frames.reshape(-1, frames.shape[-1]), loss).reshape(frames.shape)
        results.append(MemberScores(probabilities_of(clip, loss), best, by_step, contexts_s, config.data.window_s))
    return results


def _predict_windows(
    members: Sequence[LoadedModel],
    waveform: Float32[np.ndarray, " samples"],
    starts_s: Float[np.ndarray, " windows"],
    runtime: Runtime,
) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Clip and frame logits of each member."""
    inputs: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    results = []
    for member in members:
        config = member.config
        key = f"{config.front_end!r} {config.model.multi_resolution} {config.data.window_s} {config.data.target_s}"
        if key not in inputs:
            clips, parts = contexts(waveform, starts_s, config)
            inputs[key] = member.model.images(torch.from_numpy(clips).to(runtime.device)), parts.to(runtime.device)
        batches = zip(*(tensor.split(config.inference.batch_size) for tensor in inputs[key]), strict=True)
        logits = [_logits(member.model, images, part, runtime) for images, part in batches]
        clip, frames = (np.concatenate(arrays) for arrays in zip(*logits, strict=True))
        results.append((clip, frames))
    return results


def target_contexts(starts_s: Float[np.ndarray, " windows"], duration_s: float, config: SedConfig) -> list[Context]:
    """The windows around the targets."""
    data = config.data
    return [context_of(start_s, start_s + data.target_s, duration_s, data.window_s) for start_s in starts_s]


def contexts(
    waveform: Float32[np.ndarray, " samples"], starts_s: Float[np.ndarray, " windows"], config: SedConfig
) -> tuple[Float32[np.ndarray, "windows window_samples"], torch.Tensor]:
    """The windows around targets, and each target's place in its window [windows, 2]; short recordings are repeated."""
    rate, n_samples = config.front_end.sample_rate_hz, window_samples(config)
    around = target_contexts(starts_s, len(waveform) / rate, config)
    if len(waveform) < n_samples:
        waveform = np.resize(waveform, n_samples)
    firsts = [min(round(context.start_s * rate), len(waveform) - n_samples) for context in around]
    clips = np.stack([waveform[first : first + n_samples] for first in firsts])
    return clips, torch.tensor([context.part for context in around], dtype=torch.float32)


def window_rms(
    waveform: Float32[np.ndarray, " samples"], starts_s: Float[np.ndarray, " windows"], target_s: float, rate_hz: int
) -> Float32[np.ndarray, " windows"]:
    """Level of each target window, full scale 1; silence is judged by it. A window beyond the end has level 0."""
    levels = []
    for start_s in starts_s:
        window = waveform[round(start_s * rate_hz) : round((start_s + target_s) * rate_hz)]
        levels.append(math.sqrt(float(np.mean(np.square(window, dtype=np.float64)))) if len(window) else 0.0)
    return np.asarray(levels, dtype=np.float32)
