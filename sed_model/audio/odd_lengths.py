"""Files that are read although their headers do not tell how long they are, and what people are told of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class OddLength:
    """What is odd about the length of a file.

    Attributes:
        padding_s: what its header promises beyond what there is, as MP3 in WAV does.
        is_open: its header leaves the length open, so nothing tells whether it was cut off.
    """

    padding_s: float = 0.0
    is_open: bool = False


def odd_lines(found: Sequence[OddLength], n_files: int) -> list[str]:
    """A line for each kind, with the number of its files among all `n_files`."""
    lines = []
    if paddings_s := [one.padding_s for one in found if one.padding_s]:
        lines.append(
            f"{len(paddings_s)} of {n_files:,} audio files are up to {max(paddings_s):.2f} s shorter than "
            "they say, as MP3 is; they are read"
        )
    if n_open := sum(one.is_open for one in found):
        lines.append(
            f"{n_open} of {n_files:,} audio files leave their length open, as what is written into a pipe "
            "does; they are read to the end of the file"
        )
    return lines
