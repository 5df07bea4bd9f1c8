"""Recordings of tones at 8 kHz: what the tiny data folders of the suites have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 8_000
PITCH_HZ = {"1139490": 500.0, "abethr1": 1200.0, "grekis": 2600.0}
"""Label -> pitch of its call."""


def tone(pitch_hz: float, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """A call with a soft start and end, in noise."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    call = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) * np.hanning(len(time_s))
    return (call + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32)


def write_wav(path: Path, wave: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE_HZ, subtype="PCM_16")


def write_recordings(root: Path, rng: np.random.Generator, secondary: dict[str, str]) -> None:
    """BirdCLEF layout: four recordings of 2 s a class, each by another author, and their tables."""
    lines = ["primary_label,secondary_labels,filename,rating,author"]
    for label, pitch_hz in PITCH_HZ.items():
        for number in range(4):
            write_wav(root / "train_audio" / label / f"XC{number}.wav", tone(pitch_hz, 2.0, rng))
            lines.append(f"{label},['{secondary[label]}'],{label}/XC{number}.wav,{number + 1},author {number}")
    (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    taxonomy = ["primary_label,scientific_name", *(f"{label},Avis {label}" for label in PITCH_HZ)]
    (root / "taxonomy.csv").write_text("\n".join(taxonomy) + "\n", encoding="utf-8")


def label_row(row_id: str, heard: str | None) -> str:
    """A row of train_soundscapes_labels.csv: which of the classes a second holds."""
    return ",".join([row_id, *(str(int(label == heard)) for label in PITCH_HZ)])
