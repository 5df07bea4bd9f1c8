"""A tiny data folder and search space: three species of one tone each at 8 kHz, an epoch in a fraction of a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import yaml

RATE_HZ = 8_000
PITCH_HZ = {"1139490": 500.0, "abethr1": 1200.0, "grekis": 2600.0}
N_UNLABELLED = 10
BASE = {
    "seed": 7,
    "front_end": {
        "sample_rate_hz": RATE_HZ, "n_fft": 512, "hop_length": 128, "n_mels": 32, "f_min_hz": 50, "f_max_hz": 4000
    },
    "model": {"backbone": "mobilenetv3_small_050", "pretrained": False},
    "augment": {"wave": {"prob": 0.0}},
    "stages": {
        # A sigmoid from the first stage on: models that are best in it may join an ensemble.
        "pretrain_ce": {"epochs": 2, "lr": 2.0e-3, "loss": "bce"}, "train_bce": {"epochs": 1, "lr": 1.0e-3},
        "finetune": {"epochs": 1, "lr": 1.0e-3},
    },
    "optim": {"batch_size": 4, "min_steps_per_epoch": 2, "ema_decay": 0.5, "precision": "fp32"},
    "data": {"window_s": 1.5, "target_s": 1.0, "crop_shift_s": 0.25},
    "pseudo": {"keep_class": 0.05, "keep_window": 0.05, "max_share": 5.0},
}  # fmt: skip
SPACE = {
    "base": "base.yaml",
    "search": {
        "num_trials": 4, "stages": ["pretrain_ce", "train_bce"],
        "startup_trials": 3,  # however many trials a test runs, or asks for: all draw alike
        "scheduler": {"asha": {"grace_period": 1, "reduction_factor": 2}},
    },
    "space": {
        "model.pool_type": {"choice": ["avg", "gem"]},
        "model.gem_p": {"uniform": [1, 6], "when": {"model.pool_type": "gem"}},
        "stages.pretrain_ce.lr": {"loguniform": [1.0e-5, 1.0e-2]},
    },
}  # fmt: skip


def tone(pitch_hz: float, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """A call with a soft start and end, in noise."""
    time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    call = 0.3 * np.sin(2 * np.pi * pitch_hz * time_s) * np.hanning(len(time_s))
    return (call + 0.01 * rng.standard_normal(len(time_s))).astype(np.float32)


def write_wav(path: Path, wave: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, RATE_HZ, subtype="PCM_16")


def write_data(root: Path, n_labelled: int = 2) -> Path:
    """BirdCLEF layout: four recordings of 2 s a class, two labelled and ten unlabelled soundscapes."""
    rng = np.random.default_rng(0)
    lines = ["primary_label,secondary_labels,filename,rating,author"]
    for label, pitch_hz in PITCH_HZ.items():
        for number in range(4):
            write_wav(root / "train_audio" / label / f"XC{number}.wav", tone(pitch_hz, 2.0, rng))
            lines.append(f"{label},['grekis'],{label}/XC{number}.wav,{number + 1},author {number}")
    (root / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = [f"Avis {label}" for label in PITCH_HZ]
    taxonomy = [f"{label},{name}" for label, name in zip(PITCH_HZ, names, strict=True)]
    (root / "taxonomy.csv").write_text("\n".join(["primary_label,scientific_name", *taxonomy]) + "\n", encoding="utf-8")
    labels = list(PITCH_HZ)
    rows = [",".join(["row_id", *labels])]
    for number in range(n_labelled + N_UNLABELLED):
        heard = [labels[(second + number) % 3] for second in range(4)]
        name = f"L{number}" if number < n_labelled else f"U{number}"
        wave = np.concatenate([tone(PITCH_HZ[label], 1.0, rng) for label in heard])
        write_wav(root / "train_soundscapes" / f"{name}.wav", wave)
        if number < n_labelled:
            rows += [
                f"{name}_{end_s}," + ",".join(str(int(label == other)) for other in labels)
                for end_s, label in enumerate(heard, start=1)
            ]
    (root / "train_soundscapes_labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def write_space(folder: Path, tree: dict[str, object] | None = None) -> Path:
    """The tiny base and space in a folder; the path of the space."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree or SPACE), encoding="utf-8")
    return path
