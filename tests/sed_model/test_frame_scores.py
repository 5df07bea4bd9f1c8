from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from sed_model.checkpoint import load_model
from sed_model.config import SedConfig
from sed_model.dataset import ValidationWindows
from sed_model.decoding import decode
from sed_model.devices import choose_runtime
from sed_model.frame_scores import FRAMES_FILE, telling_windows, write_frame_scores
from sed_model.oof import OOF_FILE, write_predictions
from sed_model.predict import predict_members
from sed_model.training_data import TrainingData


@pytest.fixture
def model_folder(tiny_models: list[Path], tiny_data: TrainingData, tiny_config: SedConfig, tmp_path: Path) -> Path:
    """A model with predictions of its 12 validation windows: class 0 is told well, the rest badly."""
    folder = tmp_path / "model"
    shutil.copytree(tiny_models[0], folder)
    probabilities = np.tile(np.array([0.8, 0.3, 0.1], np.float32), (12, 1))
    windows = ValidationWindows(tiny_data, tiny_config)
    write_predictions(folder / OOF_FILE, windows, probabilities, tiny_data.folder.classes)
    return folder


def test_frame_scores_are_those_that_predict_sees(
    model_folder: Path, tiny_data: TrainingData, tiny_config: SedConfig
) -> None:
    write_frame_scores(model_folder, tiny_data.folder.root)

    row = pq.read_table(model_folder / FRAMES_FILE).to_pylist()[0]
    waveform = decode(tiny_data.folder.root / row["filename"], tiny_config.front_end.sample_rate_hz)
    member = predict_members(
        [load_model(model_folder)], waveform, np.array([row["start_s"]]), choose_runtime(tiny_config.optim)
    )[0]
    column = tiny_data.folder.classes.index(row["label"])
    np.testing.assert_allclose(row["scores"], member.frames[0][:, column], atol=1e-5)
    assert row["frames_start_s"] == pytest.approx(member.contexts_s[0])
    assert row["frames_end_s"] == pytest.approx(member.contexts_s[0] + tiny_config.data.window_s)


def test_a_recording_that_cannot_be_read_is_left_out(model_folder: Path, tmp_path: Path) -> None:
    write_frame_scores(model_folder, tmp_path / "nothing_here")

    assert pq.read_table(model_folder / FRAMES_FILE).num_rows == 0


def test_windows_are_told_by_their_margin_one_a_file_and_end() -> None:
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    probabilities = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.2], [0.5, 0.5]], np.float32)

    # Margins 0.8 and 0.7 in x, -0.5 in y; a window without a class has none.
    assert telling_windows(targets, probabilities, ["x", "x", "y", "z"], n_each=1) == [0, 2]
    assert telling_windows(targets, probabilities, ["x", "x", "y", "z"], n_each=2) == [0, 2, 1]
