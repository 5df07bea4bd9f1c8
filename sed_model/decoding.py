"""An audio file -> mono float32 at one sample rate."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from sed_model.errors import AudioError

SHORTEST_SHARE = 0.98
"""A file that yields less of its announced length is damaged."""


@dataclass(frozen=True)
class BadAudio:
    """A file that cannot be read; `path` as it was asked for."""

    path: str
    reason: str


class UnreadableAudioError(AudioError):
    """One file that cannot be decoded, and why."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; replace or remove the file."


def decode(path: Path, sample_rate_hz: int, max_s: float | None = None, start_s: float = 0.0) -> np.ndarray:
    """The mean of all channels, resampled: float32 of full scale 1.

    Reads from `start_s` on, at most `max_s` seconds; no more of the file than that is decoded.

    Raises:
        UnreadableAudioError: an AudioError; the file is missing, no audio, damaged, holds NaN or Inf, or has no
            samples from start_s on.
    """
    try:
        with soundfile.SoundFile(path) as audio:
            source_hz, is_estimate = audio.samplerate, audio.format == "MP3"
            first = round(start_s * source_hz)
            wanted = max(0, audio.frames - first)
            if max_s is not None:
                wanted = min(wanted, round(max_s * source_hz))
            if wanted and first:
                audio.seek(first)
            channels = audio.read(wanted, dtype="float32", always_2d=True)
            broken_off = _broken_off(audio.extra_info)
    except FileNotFoundError:
        raise UnreadableAudioError(path, "the file is not there") from None
    except (soundfile.SoundFileError, OSError) as error:
        raise UnreadableAudioError(path, _reason(path, error)) from None
    if not len(channels):
        raise UnreadableAudioError(path, f"has no samples from {start_s:g} s on")
    if broken_off:
        raise UnreadableAudioError(path, broken_off)
    if len(channels) < SHORTEST_SHARE * wanted and not is_estimate:
        raise UnreadableAudioError(
            path, f"breaks off after {len(channels) / source_hz:.2f} of {wanted / source_hz:.2f} s"
        )
    if not np.isfinite(channels).all():
        raise UnreadableAudioError(path, "holds NaN or Inf samples")
    mono = channels.mean(axis=1, dtype=np.float32)
    resampled: np.ndarray = soxr.resample(mono, source_hz, sample_rate_hz)
    if not len(resampled):
        raise UnreadableAudioError(path, f"is shorter than one sample at {sample_rate_hz} Hz")
    return resampled


def _broken_off(log: str) -> str | None:
    """Why a file is only the first part of a recording, by libsndfile's log; it would read that part as the whole."""
    if sizes := re.search(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", log, re.MULTILINE):
        announced, there = (int(size) for size in sizes.groups())
        if there < SHORTEST_SHARE * announced:
            return f"breaks off: {there} of {announced} bytes of sound are there"
    # A recorder may leave the mark of the end out; half a page besides is what a broken copy ends with.
    if "Last page lacks an end-of-stream bit" in log and "Junk after the last page" in log:
        return "breaks off in the middle of a page"
    return None


def _reason(path: Path, error: Exception) -> str:
    if not path.exists():
        return "the file is not there"
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty (0 bytes)"
    if isinstance(error, soundfile.LibsndfileError):
        return f"is no readable audio ({error.error_string.strip().rstrip('.')})"
    return f"is no readable audio ({error})"


def duration_s(path: Path) -> float:
    """Length by the file's header; 0 for a file that cannot be opened."""
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError):
        return 0.0
    return float(info.duration)
