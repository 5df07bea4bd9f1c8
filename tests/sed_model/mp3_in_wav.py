"""MP3 in a WAV file, as some recorders and editors write it; libsndfile reads that and cannot write it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile

KBITS = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, *range(16, 65, 8), *range(80, 161, 16)),
}
RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def mp3_frames(path: Path, wave: np.ndarray, rate_hz: int) -> list[bytes]:
    """The frames of a constant bit rate, without the first, which counts the others (Xing's tag)."""
    soundfile.write(path, wave, rate_hz, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    data, frames, at = path.read_bytes(), [], 0
    while at + 4 <= len(data):
        version, index = (data[at + 1] >> 3) & 3, data[at + 2]
        bits = KBITS[1 if version == 3 else 2][(index >> 4) - 1] * 1000
        length = (144 if version == 3 else 72) * bits // RATES_HZ[version][(index >> 2) & 3] + ((index >> 1) & 1)
        frames.append(data[at : at + length])
        at += length
    return frames[1:]


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def write_mp3_in_wav(
    path: Path,
    stream: bytes,
    rate_hz: int,
    n_announced: int | None = None,
    first: bytes = b"",
    between: bytes = b"",
    last: bytes = b"",
) -> None:
    """`stream` in a WAV file of one channel; `n_announced` bytes of it by the header (default: all).

    `first`, `between` and `last` are other chunks: before the format, before the sound, and behind it.
    """
    layout = struct.pack("<HHIIHHH", 0x55, 1, rate_hz, 8_000, 1, 0, 12) + struct.pack("<HIHHH", 1, 2, 418, 1, 1393)
    n_announced = len(stream) if n_announced is None else n_announced
    head = b"WAVE" + first + chunk(b"fmt ", layout) + between + b"data" + struct.pack("<I", n_announced)
    n_bytes = min(len(head) + n_announced + len(last), 2**32 - 1)
    path.write_bytes(b"RIFF" + struct.pack("<I", n_bytes) + head + stream + last)
