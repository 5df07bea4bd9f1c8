"""What is odd in the sounds of a data folder: copies, recordings of the same sound, clipping, silence, damage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt32

from sed_model.audio.audio_files import content_digests
from sed_model.audio.decoding import UnreadableAudioError, decode
from sed_model.audio.fingerprint import RATE_HZ, same_sounds, words_of
from sed_model.audio.windows import level_of
from sed_model.config.sed_config import Data, Inference
from sed_model.data.recordings import DataFolder, copies
from sed_model.data.splits import split

SILENCE_RMS = Inference().silence_rms
LEVEL_S = 5.0
"""Silent is what has no stretch of this length above SILENCE_RMS."""
FULL_SCALE = 0.99
MAX_FULL_SHARE = 0.001
"""Clipped is what is at full scale in more of its samples: louder than loud calls, which are there for moments."""
KINDS = ("copy", "same sound", "silent", "clipped", "unreadable")


@dataclass(frozen=True)
class Finding:
    """Something odd about a file.

    Attributes:
        kind: one of KINDS.
        other: the file that it is a copy of, or holds the sound of; or nothing.
        told: what it is, in words.
        leave_out: whether to leave it out loses nothing: all of it is in `other`, or it is silent.
    """

    kind: str
    path: str
    other: str
    told: str
    leave_out: bool


@dataclass(frozen=True)
class _Heard:
    """A file as it was heard; `problem` is why it could not be."""

    path: str
    duration_s: float
    words: UInt32[np.ndarray, " words"]
    loudest_rms: float
    full_share: float
    problem: str = ""


def check_sounds(folder: DataFolder, settings: Data, report: Callable[[int, int], None]) -> list[Finding]:
    """Hear all recordings and soundscapes, several at a time; findings in the order of KINDS.

    Args:
        settings: which recordings validate; what trains and validates is told.
        report: called after each file with how many are done, and of how many.
    """
    order = _kept_first(folder)
    contents = dict(zip(order, content_digests(folder.root, order), strict=True))
    same_bytes = {path: group[0] for group in copies(folder, contents) for path in group[1:]}
    to_hear = [path for path in order if path not in same_bytes]
    heard: list[_Heard] = []
    for one in _hear_all(folder.root, to_hear):
        heard.append(one)
        report(len(heard), len(to_hear))
    labels, sides = _labels(folder), _sides(folder, settings)
    found = [
        Finding("copy", path, first, f"the same bytes{_apart(path, first, labels, sides)}", _like(path, first, labels))
        for path, first in same_bytes.items()
    ]
    found += _same_sounds(heard, labels, sides)
    for one in heard:
        if one.problem:
            found.append(Finding("unreadable", one.path, "", one.problem, leave_out=True))
        elif one.loudest_rms <= SILENCE_RMS:
            told = f"the loudest {LEVEL_S:g} s have a level of {one.loudest_rms:.5f}"
            found.append(Finding("silent", one.path, "", told, one.path not in _labelled(folder)))
        elif one.full_share > MAX_FULL_SHARE:
            found.append(
                Finding("clipped", one.path, "", f"{one.full_share:.1%} of it is at full scale", leave_out=False)
            )
    return sorted(found, key=lambda one: KINDS.index(one.kind))


def _kept_first(folder: DataFolder) -> list[str]:
    """Labelled soundscapes, recordings, other soundscapes: of two that are alike the first is kept."""
    labelled = _labelled(folder)
    rest = [path for path in folder.soundscapes if path not in labelled]
    return [*sorted(labelled), *folder.recordings["path"], *rest]


def _labelled(folder: DataFolder) -> set[str]:
    return set() if folder.soundscape_labels is None else set(folder.soundscape_labels["path"])


def _hear_all(root: Path, paths: Sequence[str]) -> Iterator[_Heard]:
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(lambda path: _hear(root, path), paths)


def _hear(root: Path, path: str) -> _Heard:
    try:
        waveform = decode(root / path, RATE_HZ)
    except UnreadableAudioError as error:
        return _Heard(path, 0.0, np.zeros(0, np.uint32), 0.0, 0.0, error.reason)
    full = float((np.abs(waveform) >= FULL_SCALE).mean()) if len(waveform) else 0.0
    return _Heard(path, len(waveform) / RATE_HZ, words_of(waveform), _loudest(waveform), full)


def _loudest(waveform: Float32[np.ndarray, " samples"]) -> float:
    n = round(LEVEL_S * RATE_HZ)
    return max((level_of(waveform[first : first + n]) for first in range(0, len(waveform), n)), default=0.0)


def _same_sounds(heard: Sequence[_Heard], labels: dict[str, str], sides: dict[str, str]) -> list[Finding]:
    """The shorter of two is named: all of it may be in the other."""
    found = []
    for match in same_sounds([one.words for one in heard]):
        pair = heard[match.first], heard[match.second]
        longer, shorter = pair if pair[0].duration_s >= pair[1].duration_s else pair[::-1]
        share = min(1.0, match.shared_s / max(shorter.duration_s, 1e-9))
        told = f"{match.shared_s:.1f} s ({share:.0%} of it), {match.error:.0%} of the bits differ"
        told += _apart(shorter.path, longer.path, labels, sides)
        whole = share > 0.95 and _like(shorter.path, longer.path, labels)
        found.append(Finding("same sound", shorter.path, longer.path, told, whole))
    return found


def _labels(folder: DataFolder) -> dict[str, str]:
    return dict(zip(folder.recordings["path"], folder.recordings["primary_label"], strict=True))


def _sides(folder: DataFolder, settings: Data) -> dict[str, str]:
    """Whether a file trains or validates; soundscapes that do neither are in it without a side."""
    parts = split(folder, settings)
    paths = folder.recordings["path"].to_numpy(dtype=object)
    sides = dict.fromkeys(paths[parts.train], "trains") | dict.fromkeys(paths[parts.validation], "validates")
    return sides | dict.fromkeys(parts.soundscapes_validation, "validates")


def _like(path: str, other: str, labels: dict[str, str]) -> bool:
    """Whether one may stand for the other: both have one label, or neither has any."""
    return labels.get(path) == labels.get(other)


def _apart(path: str, other: str, labels: dict[str, str], sides: dict[str, str]) -> str:
    """What makes a pair worse: other labels, or one trains and one validates."""
    told = ""
    if path in labels and other in labels and labels[path] != labels[other]:
        told += f"; labelled {labels[path]} and {labels[other]}"
    if {sides.get(path), sides.get(other)} == {"trains", "validates"}:
        told += "; one trains and one validates"
    return told


def finding_table(found: Sequence[Finding]) -> pd.DataFrame:
    """path, kind, other, what, leave_out: a row a finding."""
    rows = [(one.path, one.kind, one.other, one.told, one.leave_out) for one in found]
    return pd.DataFrame(rows, columns=["path", "kind", "other", "what", "leave_out"])
