"""Half a second of noise in every format, and headers that lie about it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8_000
N_SAMPLES = 4_000
NOISE = np.random.default_rng(0).normal(0, 0.1, N_SAMPLES)


def encoded(suffix: str, wave: np.ndarray = NOISE, rate_hz: int = RATE_HZ, subtype: str | None = None) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, wave, rate_hz, format=suffix.upper(), subtype=subtype)
    return content.getvalue()


WHOLE = {suffix: encoded(suffix) for suffix in ("wav", "flac", "ogg", "mp3")}


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def wav_with(place: int, kind: str, value: int) -> bytes:
    content = bytearray(WHOLE["wav"])
    struct.pack_into(kind, content, place, value)
    return bytes(content)


def flac_with(total: int | None = None, rate_hz: int | None = None, channels: int | None = None) -> bytes:
    """STREAMINFO: 20 bits of sample rate, 3 of channels - 1, 5 of bits - 1, 36 of the number of samples."""
    content = bytearray(WHOLE["flac"])
    fields = int.from_bytes(content[18:26], "big")
    for value, shift, bits in ((rate_hz, 44, 20), (channels, 41, 3), (total, 0, 36)):
        if value is not None:
            fields = fields & ~((2**bits - 1) << shift) | value << shift
    content[18:26] = fields.to_bytes(8, "big")
    return bytes(content)


def id3(picture: bytes) -> bytes:
    """A tag with a front cover."""
    body = b"\0image/png\0\x03\0" + picture
    frame = b"APIC" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = bytes((len(frame) >> shift) & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + size + frame
