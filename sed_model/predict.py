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
from sed_model.dataset import Batch, context_of, window_samples
from sed_model.devices import Runtime
from sed_model.model import SedModel

EDGE_TOLERANCE_S = 0.1
"""A rest shorter than this at the end of a soundscape is no window of its own (encoders pad a little)."""


@torch.inference_mode()
def predict_dataset(
    model: SedModel, windows: Dataset[Batch], config: SedConfig, runtime: Runtime
) -> Float32[np.ndarray, "windows classes"]:
    """Clip logits of every window, in order."""
    model.eval()
    logits = []
    for batch in DataLoader(windows, config.inference.batch_size, num_workers=config.data.num_workers):
        images = model.images(batch.inputs.to(runtime.device))
        with runtime.autocast():
            output = model(runtime.images(images), batch.part.to(runtime.device))
        logits.append(output.clip_logits.float().cpu().numpy())
    return np.concatenate(logits)


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
    return np.stack([scores.clip for scores in predict_members(members, waveform, starts_s, runtime)])


@dataclass(frozen=True)
class MemberScores:
    """What one member says of the windows of a soundscape.

    Attributes:
        clip: probabilities of the target windows.
        frames: probabilities of the equally long steps of the whole windows around the targets.
        contexts_s: where these windows, each `window_s` long, start.
    """

    clip: Float32[np.ndarray, "windows classes"]
    frames: Float32[np.ndarray, "windows steps classes"]
    contexts_s: NDArray[np.float64]
    window_s: float

    def of_windows(self, places: NDArray[np.int64]) -> MemberScores:
        """The scores of some of the windows."""
        return MemberScores(self.clip[places], self.frames[places], self.contexts_s[places], self.window_s)


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
        starts = context_starts(starts_s, len(waveform) / config.front_end.sample_rate_hz, config)
        by_step = probabilities_of(frames.reshape(-1, frames.shape[-1]), loss).reshape(frames.shape)
        results.append(MemberScores(probabilities_of(clip, loss), by_step, starts, config.data.window_s))
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
        clip_logits, frame_logits = [], []
        for images, part in zip(*(tensor.split(config.inference.batch_size) for tensor in inputs[key]), strict=True):
            with runtime.autocast():
                output = member.model(runtime.images(images), part)
            clip_logits.append(output.clip_logits.float().cpu().numpy())
            frame_logits.append(output.frame_logits.float().cpu().numpy())
        results.append((np.concatenate(clip_logits), np.concatenate(frame_logits)))
    return results


def context_starts(
    starts_s: Float[np.ndarray, " windows"], duration_s: float, config: SedConfig
) -> NDArray[np.float64]:
    """Where the windows around the targets start."""
    data = config.data
    contexts_s = [
        context_of(start_s, start_s + data.target_s, duration_s, data.window_s).start_s for start_s in starts_s
    ]
    return np.asarray(contexts_s, np.float64)


def contexts(
    waveform: Float32[np.ndarray, " samples"], starts_s: Float[np.ndarray, " windows"], config: SedConfig
) -> tuple[Float32[np.ndarray, "windows window_samples"], torch.Tensor]:
    """The windows around targets, and each target's place in its window [windows, 2]; short recordings are repeated."""
    rate, n_samples = config.front_end.sample_rate_hz, window_samples(config)
    duration_s = len(waveform) / rate
    if len(waveform) < n_samples:
        waveform = np.resize(waveform, n_samples)
    clips, parts = [], []
    for start_s in starts_s:
        context = context_of(start_s, start_s + config.data.target_s, duration_s, config.data.window_s)
        first = min(round(context.start_s * rate), len(waveform) - n_samples)
        clips.append(waveform[first : first + n_samples])
        parts.append(context.part)
    return np.stack(clips), torch.tensor(parts, dtype=torch.float32)


def window_rms(
    waveform: Float32[np.ndarray, " samples"], starts_s: Float[np.ndarray, " windows"], target_s: float, rate_hz: int
) -> Float32[np.ndarray, " windows"]:
    """Level of each target window, full scale 1; silence is judged by it. A window beyond the end has level 0."""
    levels = []
    for start_s in starts_s:
        window = waveform[round(start_s * rate_hz) : round((start_s + target_s) * rate_hz)]
        levels.append(math.sqrt(float(np.mean(np.square(window, dtype=np.float64)))) if len(window) else 0.0)
    return np.asarray(levels, dtype=np.float32)
