"""Windows -> scores: the one way from a waveform to class probabilities, for validation and for soundscapes.

A target window is heard in its context, and by the windows a target earlier and later whose contexts reach into it. Its
score is a share of its own clip probability and of its best frame, averaged over all of these; silence has 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from sed_model.audio.windows import Context, context_of, level_of, window_samples
from sed_model.clips.dataset import Batch
from sed_model.clips.validation_windows import ValidationWindows, WindowImages
from sed_model.config.sed_config import Inference, SedConfig
from sed_model.model.checkpoint import LoadedModel
from sed_model.model.devices import Runtime
from sed_model.model.graph import GraphModel
from sed_model.model.network import SedModel
from sed_model.model.probe_model import ProbeModel
from sed_model.scores.overlap import EDGE_TOLERANCE_S, Hearing, MemberScores, best_frames, hearing
from sed_model.scores.smoothing import silence


@dataclass(frozen=True)
class WindowScores:
    """What a model says of target windows: of each as a whole, and of its best frame. All scores are made of these.

    Attributes:
        clip: probabilities of the target windows.
        best: probabilities of their best frames, each averaged over the windows that hear it.
        rms: levels of the target windows, full scale 1.
    """

    clip: Float32[np.ndarray, "windows classes"]
    best: Float32[np.ndarray, "windows classes"]
    rms: Float32[np.ndarray, " windows"]

    def probabilities(self, settings: Inference) -> Float32[np.ndarray, "windows classes"]:
        """The score of each window: validation, selection, pseudo-labels, report and submission go by this one."""
        mixed = target_probabilities(self.clip, self.best, settings.frame_share)
        return silence(mixed, self.rms <= settings.silence_rms)


def target_probabilities(
    clip: Float[np.ndarray, "*batch classes"],
    best: Float[np.ndarray, "*batch classes"],
    frame_share: float | Float64[np.ndarray, " classes"],
) -> Float32[np.ndarray, "*batch classes"]:
    """What a model says of target windows: the clip probabilities with a share of the best frames'.

    The clip score is a mean that a short call hardly moves; the best frame alone is that of any click. Half of each
    ranked the windows of labelled train soundscapes better than either.
    """
    return ((1 - frame_share) * clip + frame_share * best).astype(np.float32)


@dataclass(frozen=True)
class DatasetScores:
    """What a model says of validation windows: the clip logits, which have a loss, and the parts of the score."""

    clip_logits: Float32[np.ndarray, "windows classes"]
    best: Float32[np.ndarray, "windows classes"]

    def window_scores(self, loss: str, rms: Float32[np.ndarray, " windows"]) -> WindowScores:
        """
        Args:
            loss: what the model was trained with.
            rms: the levels of the windows.
        """
        return WindowScores(probabilities_of(self.clip_logits, loss), self.best, rms)


@torch.inference_mode()
def predict_dataset(
    model: SedModel | ProbeModel,
    windows: ValidationWindows | WindowImages,
    config: SedConfig,
    runtime: Runtime,
    loss: str,
) -> DatasetScores:
    """Scores of every target window, in order, by a model that was trained with `loss`; a recording at a time."""
    model.eval()
    batches = _batch_logits(model, windows, config, runtime)
    clip, frames = next(batches)
    shape = (sum(len(recording.targets) for recording in windows.recordings), clip.shape[1])
    logits, best = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for recording in windows.recordings:
        n_heard = len(recording.contexts_s)
        while len(clip) < n_heard:
            further = next(batches)
            clip, frames = np.concatenate([clip, further[0]]), np.concatenate([frames, further[1]])
        scores = member_scores(clip[:n_heard], frames[:n_heard], loss, recording.contexts_s, config.data.window_s)
        logits[recording.targets] = clip[:n_heard][recording.hearing.own]
        best[recording.targets] = best_frames(recording.hearing, scores)
        clip, frames = clip[n_heard:], frames[n_heard:]
    return DatasetScores(logits, best)


def _batch_logits(
    model: SedModel | ProbeModel, windows: Dataset[Batch], config: SedConfig, runtime: Runtime
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Clip and frame logits of each batch of windows."""
    for batch in DataLoader(windows, config.inference.batch_size, num_workers=config.data.num_workers):
        inputs = batch.inputs.to(runtime.device)
        images = inputs if inputs.ndim == 4 else model.images(inputs)
        yield _logits(model, images, batch.part.to(runtime.device), runtime)


def _logits(
    model: SedModel | GraphModel | ProbeModel, images: torch.Tensor, parts: torch.Tensor, runtime: Runtime
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Clip and frame logits of a batch of log-mels."""
    with runtime.autocast():
        output = model(runtime.images(images), parts)
    return output.clip_logits.float().cpu().numpy(), output.frame_logits.float().cpu().numpy()


def probabilities_of(logits: Float[np.ndarray, "windows classes"], loss: str) -> Float32[np.ndarray, "windows classes"]:
    """What the logits of a model trained with `loss` say: softmax after cross-entropy, else a sigmoid a class."""
    scores = torch.from_numpy(np.asarray(logits))
    probabilities = torch.softmax(scores, dim=1) if loss == "ce" else torch.sigmoid(scores)
    return np.asarray(probabilities.numpy(), dtype=np.float32)


def target_starts(duration_s: float, target_s: float, step_s: float) -> NDArray[np.float64]:
    """Start times of the windows that cover a recording, a step apart; at least one; the last may pass the end."""
    n_steps = math.ceil((duration_s - EDGE_TOLERANCE_S - target_s) / step_s)
    return np.arange(max(0, n_steps) + 1, dtype=np.float64) * step_s


def predict_soundscape(
    members: Sequence[LoadedModel],
    waveform: Float32[np.ndarray, " samples"],
    starts_s: Float[np.ndarray, " windows"],
    runtime: Runtime,
) -> Float32[np.ndarray, "members windows classes"]:
    """The score of each member for target windows of one soundscape, by the member's own `inference.*`.

    The score of a window does not depend on which others are asked for.

    Args:
        waveform: decoded at the members' sample rate (`windows.decode_as_cached`).
        starts_s: where the target windows (`data.target_s` long) start.
    """
    data, rate = members[0].config.data, members[0].config.front_end.sample_rate_hz
    rms = window_rms(waveform, starts_s, data.target_s, rate)
    results = []
    for member, (heard, scores) in zip(members, hear_members(members, waveform, starts_s, runtime), strict=True):
        of_windows = WindowScores(scores.clip[heard.own], best_frames(heard, scores), rms)
        results.append(of_windows.probabilities(member.config.inference))
    return np.stack(results)


def hear_members(
    members: Sequence[LoadedModel],
    waveform: Float32[np.ndarray, " samples"],
    starts_s: Float[np.ndarray, " windows"],
    runtime: Runtime,
    shift_s: float = 0.0,
) -> list[tuple[Hearing, MemberScores]]:
    """Of each member the windows that hear the targets, and their scores; windows that several need are scored once."""
    rate, target_s = members[0].config.front_end.sample_rate_hz, members[0].config.data.target_s
    results: list[tuple[Hearing, MemberScores] | None] = [None] * len(members)
    for window_s in dict.fromkeys(member.config.data.window_s for member in members):
        heard = hearing(starts_s, target_s, len(waveform) / rate, window_s, shift_s)
        places = [place for place, member in enumerate(members) if member.config.data.window_s == window_s]
        group = [members[place] for place in places]
        for place, scores in zip(places, predict_members(group, waveform, heard.heard_s, runtime), strict=True):
            results[place] = (heard, scores)
    return [result for result in results if result is not None]


@torch.inference_mode()
def predict_members(
    members: Sequence[LoadedModel],
    waveform: Float32[np.ndarray, " samples"],
    starts_s: Float[np.ndarray, " windows"],
    runtime: Runtime,
) -> list[MemberScores]:
    """What each member says of windows as they are; members with one front end share its log-mels."""
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
        results.append(member_scores(clip, frames, loss, contexts_s, config.data.window_s))
    return results


def member_scores(
    clip_logits: Float32[np.ndarray, "windows classes"],
    frame_logits: Float32[np.ndarray, "windows steps classes"],
    loss: str,
    contexts_s: NDArray[np.float64],
    window_s: float,
) -> MemberScores:
    """Logits of a model that was trained with `loss`, as probabilities."""
    by_step = probabilities_of(frame_logits.reshape(-1, frame_logits.shape[-1]), loss).reshape(frame_logits.shape)
    return MemberScores(probabilities_of(clip_logits, loss), by_step, contexts_s, window_s)


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
        if isinstance(member.model, ProbeModel):
            key += member.model.key
        if key not in inputs:
            clips, parts = contexts(waveform, starts_s, config)
            on_device = torch.from_numpy(clips).to(runtime.device)
            if isinstance(member.model, ProbeModel):
                images = member.model.images(on_device, clip_places(len(waveform), starts_s, config))
            else:
                images = member.model.images(on_device)
            inputs[key] = images, parts.to(runtime.device)
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
    firsts = _firsts(around, len(waveform), config)
    clips = np.stack([waveform[first : first + n_samples] for first in firsts])
    return clips, torch.tensor([context.part for context in around], dtype=torch.float32)


def clip_places(n_samples: int, starts_s: Float[np.ndarray, " windows"], config: SedConfig) -> list[float | None]:
    """Where the windows that `contexts` cuts start in a recording, s; None for one that is shorter, and repeated."""
    rate = config.front_end.sample_rate_hz
    if n_samples < window_samples(config):
        return [None] * len(starts_s)
    return [first / rate for first in _firsts(target_contexts(starts_s, n_samples / rate, config), n_samples, config)]


def _firsts(around: Sequence[Context], n_samples: int, config: SedConfig) -> list[int]:
    last = n_samples - window_samples(config)
    return [min(round(context.start_s * config.front_end.sample_rate_hz), last) for context in around]


def window_rms(
    waveform: Float32[np.ndarray, " samples"], starts_s: Float[np.ndarray, " windows"], target_s: float, rate_hz: int
) -> Float32[np.ndarray, " windows"]:
    """Level of each target window, full scale 1; silence is judged by it. A window beyond the end has level 0."""
    levels = [
        level_of(waveform[round(start_s * rate_hz) : round((start_s + target_s) * rate_hz)]) for start_s in starts_s
    ]
    return np.asarray(levels, dtype=np.float32)
