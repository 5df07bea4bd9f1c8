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

from sed_model.audio.decoding import BadAudio, UnreadableAudioError
from sed_model.audio.odd_lengths import OddLength
from sed_model.audio.windows import decode_as_cached
from sed_model.core.errors import CheckpointError
from sed_model.model.checkpoint import LoadedModel
from sed_model.model.devices import Runtime
from sed_model.predict.postprocess import ScoreParts
from sed_model.predict.window_scores import hear_members, target_starts, window_rms
from sed_model.scores.overlap import Hearing, MemberScores, average_overlaps, best_frames, frames_heard, hearing


@dataclass(frozen=True)
class ScoreOptions:
    """How soundscapes are scored.

    Attributes:
        step_s: from one window to the next; None: the length of a target window, so that they do not overlap.
        shift_s: time shift of the further windows of test-time augmentation; 0: none.
        silence_rms: windows at or below this level are silence; None: `inference.silence_rms` of each member.
    """

    step_s: float | None = None
    shift_s: float = 0.0
    silence_rms: float | None = None


@dataclass(frozen=True)
class Task:
    """A soundscape to score; `starts_s` None: windows a step apart over all of it."""

    path: Path
    starts_s: tuple[float, ...] | None = None


@dataclass(frozen=True)
class SoundscapeScores:
    """Probabilities of the windows of one soundscape.

    Attributes:
        parts: what the scores of the windows are made of, with time-shifted windows where they were asked for.
        best_alone: the best frames of each target window without the shifted windows.
        frames: of every FRAME_S of the soundscape, averaged over all windows that hear it.
        silent_frames: frames that lie only in windows which are silent for all members.
        odd: what is odd about the length of the file.
    """

    starts_s: NDArray[np.float64]
    parts: ScoreParts
    best_alone: Float32[np.ndarray, "members windows classes"]
    frames: Float32[np.ndarray, "members frames classes"]
    silent_frames: Bool[np.ndarray, " frames"]
    odd: tuple[OddLength, ...] = ()


def check_members_fit(members: Sequence[LoadedModel], names: Sequence[str]) -> None:
    """
    Raises:
        CheckpointError: members know other classes, or hear at another rate, or are for windows of another length, or
            their probabilities are of two kinds.
    """
    first = members[0]
    for name, member in zip(names, members, strict=True):
        if member.lineage.classes != first.lineage.classes:
            odd = set(member.lineage.classes) ^ set(first.lineage.classes)
            what = f"{', '.join(sorted(odd)[:5])} are known to one of them only" if odd else "their order differs"
            raise CheckpointError(f"{name}: its classes are not those of {names[0]} ({what}); leave one out.")
        if (kind := member.lineage.scores) != first.lineage.scores:
            stages = (f"{model.lineage.stage} with loss {model.lineage.loss}" for model in (member, first))
            raise CheckpointError(
                f"{name}: its best epoch is of {next(stages)}, that of {names[0]} of {next(stages)}: a {kind} and a "
                f"{first.lineage.scores} do not mix; leave one out, or train it on in a later stage."
            )
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
    odd: list[OddLength] = []
    waveform = decode_as_cached(task.path, rate, odd.append)
    duration_s = len(waveform) / rate
    if task.starts_s is None:
        starts_s = target_starts(duration_s, target_s, options.step_s or target_s)
    else:
        starts_s = np.asarray(task.starts_s, np.float64)
    heard = hear_members(members, waveform, starts_s, runtime, options.shift_s)
    clip = np.stack([scores.clip[near.own] for near, scores in heard])
    # A shift ends at the ends of the recording: before and behind them nothing is heard.
    shifted = np.stack([scores.clip[near.shifted].mean(axis=1) for near, scores in heard])
    frames = np.stack([average_overlaps(scores, duration_s) for _, scores in heard])
    rms = window_rms(waveform, starts_s, target_s, rate)
    own = [member.config.inference.silence_rms for member in members]
    silent = np.stack([rms <= (level if options.silence_rms is None else options.silence_rms) for level in own])
    best = np.stack([best_frames(near, scores) for near, scores in heard])
    alone = best if options.shift_s == 0 else np.stack([_without_shift(near, scores) for near, scores in heard])
    shares = np.array([member.config.inference.frame_share for member in members])
    parts = ScoreParts(clip, shifted, best, silent, shares)
    quiet_frames = ~frames_heard(~parts.silent_for_all, starts_s, target_s, frames.shape[1])
    return SoundscapeScores(starts_s, parts, alone, frames, quiet_frames, tuple(odd))


def _without_shift(heard: Hearing, scores: MemberScores) -> Float32[np.ndarray, "windows classes"]:
    """The best frames as they are without test-time augmentation, from the same scores."""
    alone = hearing(heard.starts_s, heard.target_s, heard.duration_s, scores.window_s)
    return best_frames(alone, scores.of_windows(np.searchsorted(heard.heard_s, alone.heard_s)))


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
