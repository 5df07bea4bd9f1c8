"""An audio file -> mono float32 at one sample rate."""

from __future__ import annotations

import math
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from sed_model.audio.decoder_notes import without_notes
from sed_model.audio.odd_lengths import OddLength
from sed_model.audio.wav_chunks import SoundAlone, WavLayout, read_layout
from sed_model.core.errors import AudioError

SHORTEST_SHARE = 0.98
"""A file that yields less of its announced length is damaged."""
MPEG_PADDING = 1_105 + 1_152
"""Samples that an MP3 in WAV may lack of its length by the header: the delay of the codec, and a last frame."""
RATES_HZ = (1_000, 1_000_000)
"""A header that says another sample rate is damaged; it would stretch a second to hours."""
LOUDEST = 1_000.0
"""Of full scale. Floats that go beyond were never divided by the full scale of their integers, or are damaged."""
BLOCK_VALUES = 2**24
"""So many samples of all channels are read at once: a header may announce more than the memory holds."""
UNKNOWN_LENGTH = 2**63 - 1
"""libsndfile's number of samples where a FLAC's header leaves it open, as encoders do that write into a pipe."""


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


class _Stream(soundfile.SoundFile):
    """Read from the start to the end: libsndfile cannot seek in a file of unknown length."""

    def seekable(self) -> bool:
        return False


def decode(
    path: Path,
    sample_rate_hz: int,
    max_s: float | None = None,
    start_s: float = 0.0,
    on_odd: Callable[[OddLength], None] = lambda odd: None,
) -> np.ndarray:
    """The mean of all channels, resampled: float32 of full scale 1.

    Reads from `start_s` on, at most `max_s` seconds; no more of the file than that is decoded. `on_odd` is called where
    an MP3 has less than its header promises, beyond what SHORTEST_SHARE allows for, or a header leaves it open.

    Raises:
        UnreadableAudioError: an AudioError; the file is missing, no audio, damaged, holds NaN or Inf, or has no
            samples from start_s on.
    """
    if no_file := _no_file(path):
        raise UnreadableAudioError(path, no_file)
    layout = read_layout(path)
    try:
        with _open(path, layout) as audio:
            # A count of frames, in a file of MP3 alone, knows what its padding is.
            padding = MPEG_PADDING if audio.subtype.startswith("MPEG") and audio.format != "MP3" else 0
            is_estimate = not audio.seekable() or (audio.format == "MP3" and not _counts_frames(path))
            source_hz = audio.samplerate
            if not RATES_HZ[0] <= source_hz <= RATES_HZ[1]:
                raise UnreadableAudioError(path, f"says that its sample rate is {source_hz} Hz")
            first = round(start_s * source_hz)
            wanted = max(0, audio.frames - first)
            if max_s is not None:
                wanted = min(wanted, round(max_s * source_hz))
            if wanted and first:
                _skip(audio, first)
            mono = _read_mono(audio, wanted)
            damage = _broken_off(audio.extra_info) or _contradiction(audio.extra_info)
    except (soundfile.SoundFileError, OSError) as error:
        raise UnreadableAudioError(path, _reason(path, error)) from None
    if not len(mono):
        raise UnreadableAudioError(path, f"has no samples from {start_s:g} s on")
    if damage := damage or _level_problem(mono):
        raise UnreadableAudioError(path, damage)
    if len(mono) < SHORTEST_SHARE * wanted and not is_estimate:
        if wanted - len(mono) > padding:
            found = f"breaks off after {len(mono) / source_hz:.2f} of {wanted / source_hz:.2f} s"
            raise UnreadableAudioError(path, found)
        on_odd(OddLength(padding_s=(wanted - len(mono)) / source_hz))
    if audio.frames == UNKNOWN_LENGTH or (layout and layout.is_open):
        on_odd(OddLength(is_open=True))
    resampled: np.ndarray = soxr.resample(mono, source_hz, sample_rate_hz)
    if not len(resampled):
        raise UnreadableAudioError(path, f"is shorter than one sample at {sample_rate_hz} Hz")
    return resampled


def _level_problem(mono: np.ndarray) -> str:
    """What is wrong with the samples, or nothing."""
    loudest = float(np.abs(mono).max())
    if not math.isfinite(loudest):
        return "holds NaN or Inf samples"
    return f"holds samples of {loudest:.3g} times full scale" if loudest > LOUDEST else ""


def _no_file(path: Path) -> str:
    """Why nothing can be read there, or nothing; a pipe would block for ever."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else "is no readable audio (it is no file)"
    except (FileNotFoundError, ValueError):
        return "the file is not there"
    except OSError as error:
        return f"cannot be opened ({error.strerror})"


def _is_mpeg(path: Path, layout: WavLayout | None) -> bool:
    """Whether mpg123 may decode a file: all but those that begin as another format does, and WAV files without MP3."""
    if layout is not None:
        return layout.is_mpeg
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except (OSError, ValueError):
        return False
    return head not in (b"OggS", b"fLaC", b"FORM", b"caff")


@contextmanager
def _open(path: Path, layout: WavLayout | None) -> Iterator[soundfile.SoundFile]:
    """The file, as libsndfile reads all of it: by itself it takes metadata beside MP3 for MP3, an open length for 0."""
    with ExitStack() as opened:
        if _is_mpeg(path, layout):
            opened.enter_context(without_notes())
        whole: Path | SoundAlone = path
        if layout and (layout.is_mpeg or layout.is_open):
            whole = opened.enter_context(SoundAlone(path, layout))
        audio = opened.enter_context(soundfile.SoundFile(whole))
        yield audio if audio.frames < UNKNOWN_LENGTH else opened.enter_context(_Stream(path))


def _skip(audio: soundfile.SoundFile, n_frames: int) -> int:
    """How many of the next `n_frames` there were, all of them by the header where there is seeking."""
    if audio.seekable():
        return int(audio.seek(n_frames))
    at_once, n_read = max(1, BLOCK_VALUES // audio.channels), 0
    while n_read < n_frames and (n_new := len(audio.read(min(at_once, n_frames - n_read), dtype="float32"))):
        n_read += n_new
    return n_read


def _read_mono(audio: soundfile.SoundFile, n_frames: int) -> np.ndarray:
    """The mean of all channels of the next `n_frames`, or of those that are there."""
    at_once = max(1, BLOCK_VALUES // audio.channels)
    blocks = [np.empty(0, np.float32)]
    left = n_frames
    while left:
        block = audio.read(min(left, at_once), dtype="float32", always_2d=True)
        with np.errstate(over="ignore", invalid="ignore"):  # asked about by the caller
            blocks.append(block.mean(axis=1, dtype=np.float32))
        left = left - len(block) if len(block) == min(left, at_once) else 0
    return np.concatenate(blocks)


def _counts_frames(path: Path) -> bool:
    """Whether an MP3 has a count of its frames (Xing's, or LAME's Info), without which its length is an estimate."""
    with path.open("rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3" and len(tag) == 10:  # its length: four times seven bits
            file.seek(10 + sum((byte & 127) << shift for byte, shift in zip(tag[6:], (21, 14, 7, 0), strict=True)))
        else:
            file.seek(0)
        head = file.read(256)
    return b"Xing" in head or b"Info" in head


def _contradiction(log: str) -> str | None:
    """Why a WAV file's header cannot be true: it would read as noise, or as another number of samples."""
    fields = r"Format +: 0x1 =>.*?Channels +: (\d+).*?Block Align +: (\d+).*?Bit Width +: (\d+)"
    if match := re.search(fields, log, re.DOTALL):
        n_channels, block_bytes, bits = (int(number) for number in match.groups())
        if block_bytes and block_bytes != n_channels * math.ceil(bits / 8):
            return f"contradicts itself: {n_channels} channels of {bits} bits in {block_bytes} bytes"
    return None


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
    if path.stat().st_size == 0:
        return "the file is empty (0 bytes)"
    if isinstance(error, soundfile.LibsndfileError):
        return f"is no readable audio ({error.error_string.strip().rstrip('.')})"
    return f"is no readable audio ({error})"


def duration_s(path: Path) -> float:
    """`length_s`; 0 for a file that cannot be opened."""
    try:
        return length_s(path)
    except (soundfile.SoundFileError, OSError):
        return 0.0


def length_s(path: Path) -> float:
    """Seconds by the file's header; where it leaves them open, the file is read.

    Raises:
        soundfile.SoundFileError, OSError: it cannot be opened, or breaks off.
    """
    with _open(path, read_layout(path)) as audio:
        n_frames = audio.frames if audio.seekable() else _skip(audio, UNKNOWN_LENGTH)
        return float(n_frames / audio.samplerate)
