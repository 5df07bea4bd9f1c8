"""Soundscapes -> scores of all members, several files at a time: what post-processing and events start from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32
from numpy.typing import NDArray

from sed_model.checkpoint import LoadedModel
from sed_model.decoding import BadAudio, UnreadableAudioError, decode
from sed_model.devices import Runtime
from sed_model.errors import CheckpointError
from sed_model.frames import average_overlaps, frames_heard, pool_targets
from sed_model.predict import predict_members, target_starts, window_rms


@dataclass(frozen=True)
class ScoreOptions:
    """How soundscapes are scored.

    Attributes:
        step_s: from one window to the next; None: the length of a target window, so that they do not overlap.
        shift_s: time shift of the further windows of test-time augmentation; 0: none.
        silence_rms: windows at or below this level are silence.
    """

    step_s: float | None = None
    shift_s: float = 0.0
    silence_rms: float = 0.0


@dataclass(frozen=True)
class Task:
    """A soundscape to score; `starts_s` None: windows a step apart over all of it."""

    path: Path
    starts_s: tuple[float, ...] | None = None


@dataclass(frozen=True)
class SoundscapeScores:
    """Probabilities of the windows of one soundscape.

    Attributes:
        clip: of the target windows as they are.
        shifted: the mean of the windows shifted to both sides (`clip` without a shift).
        framed: the best frames of each target window, averaged over all windows that see them.
        framed_alone: the same without the shifted windows.
        frames: of every FRAME_S of the soundscape, averaged over all windows that see it.
        silent: windows at or below the level of silence.
        silent_frames: frames of which no window is heard.
    """

    starts_s: NDArray[np.float64]
    clip: Float32[np.ndarray, "members windows classes"]
    shifted: Float32[np.ndarray, "members windows classes"]
    framed: Float32[np.ndarray, "members windows classes"]
    framed_alone: Float32[np.ndarray, "members windows classes"]
    frames: Float32[np.ndarray, "members frames classes"]
    silent: Bool[np.ndarray, " windows"]
    silent_frames: Bool[np.ndarray, " frames"]


def check_members_fit(members: Sequence[LoadedModel], names: Sequence[str]) -> None:
    """
    Raises:
        CheckpointError: members know other classes, or hear at another rate, or are for windows of another length.
    """
    first = members[0]
    for name, member in zip(names, members, strict=True):
        if member.lineage.classes != first.lineage.classes:
            odd = set(member.lineage.classes) ^ set(first.lineage.classes)
            what = f"{', '.join(sorted(odd)[:5])} are known to one of them only" if odd else "their order differs"
            raise CheckpointError(f"{name}: its classes are not those of {names[0]} ({what}); leave one out.")
        for key, value, wanted in (
            ("data.target_s", member.config.data.target_s, first.config.data.target_s),
            (
                "front_end.sample_rate_hz",
                member.config.front_end.sample_rate_hz,
                first.config.front_end.sample_rate_hz,
            ),
        ):
            if value != wanted:
                raise CheckpointError(f"{name}: its {key}={value} is not the {wanted} of {names[0]}; leave one out.")


def score_soundscape(
    members: Sequence[LoadedModel], task: Task, options: ScoreOptions, runtime: Runtime
) -> SoundscapeScores:
    """Decode one soundscape and score its windows; windows that several parts need are computed once.

    Raises:
        UnreadableAudioError: the file cannot be decoded.
    """
    rate, target_s = members[0].config.front_end.sample_rate_hz, members[0].config.data.target_s
    waveform = decode(task.path, rate)
    duration_s = len(waveform) / rate
    if task.starts_s is None:
        starts_s = target_starts(duration_s, target_s, options.step_s or target_s)
    else:
        starts_s = np.asarray(task.starts_s, np.float64)
    # A shift ends at the first and the last window: before and behind them nothing is heard.
    places = [np.clip(starts_s + shift_s, starts_s[0], starts_s[-1]) for shift_s in (-options.shift_s, options.shift_s)]
    every_s = np.unique(np.round([starts_s, *places], 6))
    by_member = predict_members(members, waveform, every_s, runtime)
    at, before, behind = (np.searchsorted(every_s, np.round(part, 6)) for part in (starts_s, *places))
    clip = np.stack([scores.clip for scores in by_member])
    frames = np.stack([average_overlaps(scores, duration_s) for scores in by_member])
    alone = [average_overlaps(scores.of_windows(at), duration_s) for scores in by_member]
    silent = window_rms(waveform, starts_s, target_s, rate) <= options.silence_rms
    return SoundscapeScores(
        starts_s,
        clip[:, at],
        (clip[:, before] + clip[:, behind]) / 2,
        np.stack([pool_targets(member, starts_s, target_s) for member in frames]),
        np.stack([pool_targets(member, starts_s, target_s) for member in alone]),
        frames,
        silent,
        ~frames_heard(~silent, starts_s, target_s, frames.shape[1]),
    )


def score_files(
    score: Callable[[Task], SoundscapeScores], tasks: Sequence[Task], n_threads: int
) -> Iterator[SoundscapeScores | BadAudio]:
    """Each task's scores in order, or why its file cannot be read; `n_threads` files at a time, one thread each.

    Whole files side by side leave no core idle while one is decoded, and give the same numbers with any `n_threads`.
    """
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(1,))
    pending: deque[Future[SoundscapeScores | BadAudio]] = deque()
    try:
        for task in tasks:
            pending.append(pool.submit(_score_or_report, score, task))
            # A few ahead: the results of thousands of files would wait in memory for a slow reader.
            if len(pending) > 2 * n_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _score_or_report(score: Callable[[Task], SoundscapeScores], task: Task) -> SoundscapeScores | BadAudio:
    try:
        return score(task)
    except UnreadableAudioError as error:
        return BadAudio(str(error.path), error.reason)
