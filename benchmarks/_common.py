"""What the benchmarks of CPU time share: both sides in one run, taking turns, on one thread, and the plain log-mel."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import threadpoolctl
import torch
from _result import print_result
from torch import Tensor
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from sed_model.config.sed_config import FrontEnd

torch.set_num_threads(1)
threadpoolctl.threadpool_limits(1)


@dataclass(frozen=True)
class Side:
    """One way to do the work: `run(round)` does a round of it; the CPU time is divided by `units`."""

    run: Callable[[int], object]
    units: int = 1


def interleaved_ms(sides: Iterable[Side], n_rounds: int) -> list[float]:
    """Median CPU milliseconds a unit of each side; the sides take turns, after one round that does not count."""
    sides = list(sides)
    times_ms: list[list[float]] = [[] for _ in sides]
    for number in range(-1, n_rounds):
        for side, times in zip(sides, times_ms, strict=True):
            start = time.process_time()
            side.run(max(0, number))
            if number >= 0:
                times.append(1000 * (time.process_time() - start) / side.units)
    return [float(np.median(times)) for times in times_ms]


def report(name: str, times_ms: Iterable[float], target: float) -> bool:
    """Print the result of both sides, the plain one first; whether the ratio reaches the target."""
    plain_ms, ours_ms = times_ms
    ratio = plain_ms / ours_ms
    return print_result(
        name, plain=plain_ms, ours=ours_ms, unit="ms CPU", ratio=ratio, target=target, holds=ratio >= target
    )


def plain_log_mel(front_end: FrontEnd) -> Callable[[Tensor], Tensor]:
    """Waveforms -> log-mels, 1 at the loudest point and 0 at `top_db` below, by torchaudio as it comes."""
    s = front_end
    mel = MelSpectrogram(
        s.sample_rate_hz, s.n_fft, hop_length=s.hop_length, f_min=s.f_min_hz, f_max=s.f_max_hz, n_mels=s.n_mels
    )
    to_db = AmplitudeToDB(top_db=s.top_db)

    def log_mel(waveforms: Tensor) -> Tensor:
        level_db = to_db(mel(waveforms))
        return (level_db - level_db.amax() + s.top_db) / s.top_db

    return log_mel
