"""A file of what was heard in one recording: a header, the arrays, and a checksum of all of it."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float16, Float64

from sed_model.core.files import replacing

MAGIC = b"SEDHEARD"
_HEADER = struct.Struct("<8s4I")
"""Magic; windows, width, matched labels, bytes of the reason."""
_CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True)
class Entry:
    """What was heard in a recording; none where there is a `reason` why it cannot be decoded."""

    starts_s: Float64[np.ndarray, " windows"]
    ends_s: Float64[np.ndarray, " windows"]
    """That of the recording, where it is shorter than a window and was repeated."""
    embeddings: Float16[np.ndarray, "windows dim"]
    logits: Float16[np.ndarray, "windows matched"]
    reason: str = ""


def entry_in(folder: Path, digest: bytes) -> Path:
    """Where the entry of a recording is that holds what the digest is of."""
    return folder / f"{digest.hex()}.heard"


def write_entry(path: Path, entry: Entry) -> None:
    """
    Raises:
        DiskFullError: there is no space for it.
    """
    reason = entry.reason.encode("utf-8", "backslashreplace")
    n_windows, dim = entry.embeddings.shape
    arrays = (entry.starts_s, entry.ends_s, entry.embeddings, entry.logits)
    header = _HEADER.pack(MAGIC, n_windows, dim, entry.logits.shape[1], len(reason))
    content = b"".join([header, *(array.tobytes() for array in arrays), reason])
    with replacing(path) as temporary:
        temporary.write_bytes(content + _CHECKSUM.pack(zlib.crc32(content)))


def read_entry(path: Path) -> Entry:
    """Its arrays are read-only.

    Raises:
        ValueError: it is missing or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from None
    end = len(content) - _CHECKSUM.size
    if end < _HEADER.size or _CHECKSUM.unpack_from(content, end) != (zlib.crc32(memoryview(content)[:end]),):
        raise ValueError(f"{path.name}: {len(content)} bytes whose checksum is another")
    magic, n_windows, dim, n_matched, n_reason = _HEADER.unpack_from(content)
    if magic != MAGIC or end != _HEADER.size + n_windows * (16 + 2 * dim + 2 * n_matched) + n_reason:
        raise ValueError(f"{path.name}: of another format")
    ends_at = _HEADER.size + 8 * n_windows
    embeddings_at = ends_at + 8 * n_windows
    logits_at = embeddings_at + 2 * n_windows * dim
    return Entry(
        np.frombuffer(content, np.float64, n_windows, _HEADER.size),
        np.frombuffer(content, np.float64, n_windows, ends_at),
        np.frombuffer(content, np.float16, n_windows * dim, embeddings_at).reshape(n_windows, dim),
        np.frombuffer(content, np.float16, n_windows * n_matched, logits_at).reshape(n_windows, n_matched),
        content[end - n_reason : end].decode(errors="replace"),
    )
