"""A tiny data folder and a tiny configuration: three species of one tone each, a step of training in milliseconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.config.sed_config import Data, SedConfig
from sed_model.data.recordings import read_data_folder
from tests.models import save_random_model
from tests.sed_model.csv_folder import GOOD, LABELS, TAXONOMY
from tests.sed_model.decoded_clips import RATE, Clips
from tests.tiny_data import PITCH_HZ, RATE_HZ, label_row, tone, write_recordings, write_wav

FRONT_END = {
    "front_end.sample_rate_hz": RATE_HZ, "front_end.n_fft": 512, "front_end.hop_length": 128,
    "front_end.n_mels": 32, "front_end.f_min_hz": 50.0, "front_end.f_max_hz": 4_000.0,
    "augment.wave.band_pass_prob": 0.0, "augment.wave.high_pass_prob": 0.0, "augment.wave.low_pass_prob": 0.0,
}  # fmt: skip
"""Log-mels of 32 bands at 8 kHz, and no filter with an edge above its 4 kHz."""
TINY = FRONT_END | {
    "seed": 7, "model.backbone": "mobilenetv3_small_050", "model.pretrained": False, "augment.wave.prob": 0.0,
    "stages.pretrain_ce.lr": 1e-3, "stages.train_bce.lr": 1e-3, "stages.finetune.lr": 1e-3,
    "optim.batch_size": 4, "optim.min_steps_per_epoch": 2, "optim.ema_decay": 0.5, "optim.precision": "fp32",
    "data.window_s": 1.5, "data.target_s": 1.0, "data.crop_shift_s": 0.25,
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BirdCLEF layout: four recordings of 2 s a class, each by another author; two labelled soundscapes of 6 s."""
    root, rng = tmp_path_factory.mktemp("tiny") / "data", np.random.default_rng(0)
    write_recordings(root, rng, {"1139490": "", "abethr1": "grekis", "grekis": ""})
    rows = [",".join(["row_id", *PITCH_HZ])]
    for number in range(2):
        heard = [list(PITCH_HZ)[(second + number) % 3] for second in range(5)]
        rows += [label_row(f"S{number}_{end_s}", name) for end_s, name in enumerate([*heard, None], start=1)]
        wave = [tone(PITCH_HZ[name] if name else 0.0, 1.0, rng) for name in [*heard, None]]
        write_wav(root / "train_soundscapes" / f"S{number}.wav", np.concatenate(wave))
    (root / "train_soundscapes_labels.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def tiny_config() -> SedConfig:
    """One thread, fp32, no waveform augmentation; windows of 1.5 s at 8 kHz."""
    return SedConfig().with_overrides(TINY)


@pytest.fixture(scope="session")
def tiny_data(tiny_root: Path, tiny_config: SedConfig, cache_dir: Path) -> TrainingData:
    """The tiny folder opened: trains on all 12 recordings, validates on the 12 windows of the soundscapes."""
    return open_training_data(read_data_folder(tiny_root, target_s=1.0), tiny_config, progress=False)


@pytest.fixture(scope="session")
def tiny_models(tiny_config: SedConfig, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Folders of two models with random weights; read-only by agreement."""
    return [save_random_model(tmp_path_factory.mktemp("model"), tiny_config, seed) for seed in range(2)]


@pytest.fixture
def own_model(tiny_models: list[Path], tmp_path: Path) -> Path:
    """A copy of a model, free to be damaged."""
    return Path(shutil.copytree(tiny_models[0], tmp_path / "model"))


@pytest.fixture
def bird_folder(tmp_path: Path) -> Path:
    """A data folder of empty audio files: reading the tables opens none of them."""
    folder = tmp_path / "data"
    for name in ("train_audio/grekis/a.ogg", "train_audio/1139490/b.ogg", "train_soundscapes/S0.ogg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    for name, text in (("train", GOOD), ("taxonomy", TAXONOMY), ("train_soundscapes_labels", LABELS)):
        (folder / f"{name}.csv").write_text(text)
    (tmp_path / "secret.ogg").touch()
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> Clips:
    """Files short.wav (0.5 s of 0.25), steps.wav (seconds of 0, .1, .5, .5, 0, .2) and a folder for the cache."""
    made = Clips(tmp_path / "data", Data(cache_dir=tmp_path / "cache"))
    made.root.mkdir()
    made.write("short.wav", np.full(RATE // 2, 0.25))
    made.write("steps.wav", np.repeat([0, 0.1, 0.5, 0.5, 0, 0.2], RATE))
    return made
