"""A tiny data folder and search space: three species of one tone each at 8 kHz, an epoch in a fraction of a second."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from tests.tiny_data import PITCH_HZ, RATE_HZ, label_row, tone, write_recordings, write_wav

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
        "portfolio": "none",  # whose points change with each recording that it is made from
        "startup_trials": 3,  # however many trials a test runs, or asks for: all draw alike
        "scheduler": {"asha": {"grace_period": 1, "reduction_factor": 2}},
    },
    "space": {
        "model.pool_type": {"choice": ["avg", "gem"]},
        "model.gem_p": {"uniform": [1, 6], "when": {"model.pool_type": "gem"}},
        "stages.pretrain_ce.lr": {"loguniform": [1.0e-5, 1.0e-2]},
    },
}  # fmt: skip


def write_data(root: Path, n_labelled: int = 2) -> Path:
    """The recordings, two labelled and ten unlabelled soundscapes of 4 s."""
    rng, labels = np.random.default_rng(0), list(PITCH_HZ)
    write_recordings(root, rng, dict.fromkeys(PITCH_HZ, "grekis"))
    rows = [",".join(["row_id", *labels])]
    for number in range(n_labelled + N_UNLABELLED):
        heard = [labels[(second + number) % 3] for second in range(4)]
        name = f"L{number}" if number < n_labelled else f"U{number}"
        write_wav(
            root / f"train_soundscapes/{name}.wav", np.concatenate([tone(PITCH_HZ[one], 1.0, rng) for one in heard])
        )
        if number < n_labelled:
            rows += [label_row(f"{name}_{end_s}", one) for end_s, one in enumerate(heard, start=1)]
    (root / "train_soundscapes_labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def write_space(folder: Path, tree: dict[str, object] | None = None) -> Path:
    """The tiny base and space in a folder; the path of the space."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree or SPACE), encoding="utf-8")
    return path
