from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sed_model.audio.decoding import decode
from sed_model.clips.training_data import TrainingData
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import SedConfig
from sed_model.model.checkpoint import load_model
from sed_model.model.devices import choose_runtime
from sed_model.predict.report_frames import telling_windows, write_frame_scores
from sed_model.predict.window_scores import predict_soundscape
from sed_model.run_folder.predictions import FRAMES_FILE, OOF_FILE, write_predictions


@pytest.fixture
def model_folder(tiny_models: list[Path], tiny_data: TrainingData, tiny_config: SedConfig, tmp_path: Path) -> Path:
    """A model with predictions of its 12 validation windows: class 0 is told well, the rest badly."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models[0], folder)
    probabilities = np.tile(np.array([0.8, 0.3, 0.1], np.float32), (12, 1))
    windows = ValidationWindows(tiny_data, tiny_config)
    write_predictions(folder / OOF_FILE, windows, probabilities, tiny_data.folder.classes)
    return folder


def test_frame_scores_are_those_that_the_score_is_made_of(
    model_folder: Path, tiny_data: TrainingData, tiny_config: SedConfig
) -> None:
    """The best of them in the target, and the clip's own probability, half each."""
    write_frame_scores(model_folder, tiny_data.folder.root)

    model = load_model(model_folder)
    clips = replace(model, config=tiny_config.with_overrides({"inference.frame_share": 0.0}))
    rows = pq.read_table(model_folder / FRAMES_FILE).to_pylist()
    assert rows
    for row in rows:
        waveform = decode(tiny_data.folder.root / row["filename"], tiny_config.front_end.sample_rate_hz)
        predicted = predict_soundscape(
            [model, clips], waveform, np.array([row["start_s"]]), choose_runtime(tiny_config.optim)
        )
        score, clip = predicted[:, 0, tiny_data.folder.classes.index(row["label"])]
        first, end = (round((row[name] - row["frames_start_s"]) / 0.1) for name in ("start_s", "end_s"))
        assert score == pytest.approx((clip + max(row["scores"][first:end])) / 2, abs=1e-5)
        assert len(row["scores"]) == 15
        assert row["frames_end_s"] == pytest.approx(row["frames_start_s"] + 1.5)


def test_a_recording_that_cannot_be_read_is_left_out(model_folder: Path, tmp_path: Path) -> None:
    write_frame_scores(model_folder, tmp_path / "nothing_here")

    assert pq.read_table(model_folder / FRAMES_FILE).num_rows == 0


def test_windows_are_told_by_their_margin_one_a_file_and_end() -> None:
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.2], [0.5, 0.5]], np.float32)

    # Margins 0.8 and 0.7 in x, -0.5 in y; a window without a class has none.
    assert telling_windows(targets, probabilities, ["x", "x", "y", "z"], n_each=1) == [0, 2]
    assert telling_windows(targets, probabilities, ["x", "x", "y", "z"], n_each=2) == [0, 2, 1]
