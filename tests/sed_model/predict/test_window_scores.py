"""Fault 16: any length of soundscape, a row every step, nothing twice; and what logits mean."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sed_model.clips.training_data import TrainingData
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import Inference, SedConfig
from sed_model.model.devices import Runtime
from sed_model.predict.window_scores import (
    WindowScores,
    contexts,
    member_scores,
    predict_dataset,
    predict_soundscape,
    probabilities_of,
    target_starts,
    window_rms,
)
from sed_model.run_folder.predictions import write_predictions
from tests.models import random_model

CPU = Runtime(torch.device("cpu"), None)


@pytest.mark.parametrize(
    ("duration_s", "step_s", "n_windows", "last_s"),
    [
        (60.0, 5.0, 12, 55),
        (60.02, 5.0, 12, 55),  # an encoder's padding is no window
        (61.0, 5.0, 13, 60),
        (3.0, 5.0, 1, 0),
        (5.0, 5.0, 1, 0),
        (600.0, 5.0, 120, 595),
        (60.0, 2.5, 23, 55),
        (61.0, 2.5, 24, 57.5),
    ],
)
def test_windows_cover_a_soundscape(duration_s: float, step_s: float, n_windows: int, last_s: float) -> None:
    starts = target_starts(duration_s, 5.0, step_s)
    assert len(starts) == n_windows
    assert starts[-1] == last_s


@given(st.floats(0.01, 4000), st.floats(0.5, 20), st.floats(0.1, 1))
def test_every_moment_has_a_window_and_no_window_is_twice_there(
    duration_s: float, target_s: float, overlap: float
) -> None:
    step_s = target_s * overlap
    starts = target_starts(duration_s, target_s, step_s)
    assert starts[0] == 0
    np.testing.assert_allclose(np.diff(starts), step_s, rtol=1e-6)
    assert starts[-1] + target_s >= duration_s - 0.1 - 1e-6
    assert starts[-1] < max(duration_s, 1e-9)
    assert len(starts) == 1 or starts[-2] + target_s < duration_s - 0.1 + 1e-6  # without the last one it would not do


def test_cross_entropy_means_a_softmax_and_all_else_a_sigmoid() -> None:
    logits = np.array([[0.0, math.log(3)]], np.float32)
    np.testing.assert_allclose(probabilities_of(logits, "ce"), [[0.25, 0.75]], rtol=1e-6)
    for loss in ("bce", "focal_bce", "asymmetric", "soft_auc"):
        np.testing.assert_allclose(probabilities_of(logits, loss), [[0.5, 0.75]], rtol=1e-6)


def test_windows_of_a_soundscape_are_its_samples(tiny_config: SedConfig) -> None:
    waveform = np.arange(48_000, dtype=np.float32)  # 6 s; windows of 1.5 s around targets of 1 s
    clips, parts = contexts(waveform, target_starts(6.0, 1.0, 1.0), tiny_config)
    assert clips.shape == (6, 12_000)
    assert [int(clip[0]) for clip in clips] == [0, 6_000, 14_000, 22_000, 30_000, 36_000]
    torch.testing.assert_close(parts[[0, 1, 5]], torch.tensor([[0, 2 / 3], [1 / 6, 5 / 6], [1 / 3, 1]]))


def test_a_short_soundscape_is_repeated(tiny_config: SedConfig) -> None:
    waveform = np.arange(5_000, dtype=np.float32)
    clips, parts = contexts(waveform, target_starts(5_000 / 8_000, 1.0, 1.0), tiny_config)
    np.testing.assert_array_equal(clips, np.resize(waveform, 12_000)[None])
    torch.testing.assert_close(parts, torch.tensor([[0, 2 / 3]]))


def test_a_last_window_that_passes_the_end_looks_at_what_is_there(tiny_config: SedConfig) -> None:
    waveform = np.arange(round(6.5 * 8_000), dtype=np.float32)
    clips, parts = contexts(waveform, target_starts(6.5, 1.0, 1.0), tiny_config)
    assert len(clips) == 7
    assert int(clips[-1][-1]) == len(waveform) - 1
    torch.testing.assert_close(parts[-1], torch.tensor([1.0 / 1.5, 1.0]))


def test_levels_are_root_mean_squares() -> None:
    waveform = np.concatenate([np.full(1000, 0.5), np.zeros(1000), np.tile([0.3, -0.3], 250)]).astype(np.float32)
    levels = window_rms(waveform, np.array([0.0, 1.0, 2.0, 3.0]), 1.0, 1000)
    np.testing.assert_allclose(levels, [0.5, 0, 0.3, 0], atol=1e-6)


def test_soundscape_windows_get_the_scores_that_validation_gives_them(
    tiny_data: TrainingData, tiny_config: SedConfig
) -> None:
    one = random_model(tiny_config)
    windows = ValidationWindows(tiny_data, tiny_config)
    path = windows.paths[0]
    waveform = tiny_data.cache.samples(path) / np.float32(32768)
    scores = predict_soundscape([one], waveform, target_starts(6.0, 1.0, 1.0), CPU)
    predicted = predict_dataset(one.model, windows, tiny_config, CPU, "bce")
    expected = predicted.window_scores("bce", windows.rms).probabilities(tiny_config.inference)
    np.testing.assert_allclose(scores[0], expected[:6], atol=1e-6)


def test_validation_of_some_windows_gives_the_scores_that_they_have_among_all(
    tiny_data: TrainingData, tiny_config: SedConfig
) -> None:
    """In any order, as processes share them out; neighbours that are not scored are heard all the same."""
    model = random_model(tiny_config).model
    everything = predict_dataset(model, ValidationWindows(tiny_data, tiny_config), tiny_config, CPU, "bce")
    rows = [10, 1, 4]
    some_windows = ValidationWindows(tiny_data, tiny_config, rows)
    assert len(some_windows) == 3 * 3
    some = predict_dataset(model, some_windows, tiny_config, CPU, "bce")
    np.testing.assert_allclose(some.clip_logits, everything.clip_logits[rows], atol=1e-5)
    np.testing.assert_allclose(some.best, everything.best[rows], atol=1e-6)


def test_a_score_does_not_depend_on_what_else_is_asked_for(tiny_config: SedConfig) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 52_000).astype(np.float32)  # 6.5 s
    members = [random_model(tiny_config), random_model(tiny_config.with_overrides({"data.window_s": 2.5}), 1)]
    finely = predict_soundscape(members, waveform, target_starts(6.5, 1.0, 0.5), CPU)
    for start_s in (0.0, 2.5, 5.5):
        alone = predict_soundscape(members, waveform, np.array([start_s]), CPU)
        np.testing.assert_allclose(alone[:, 0], finely[:, round(start_s / 0.5)], atol=1e-6)


def test_a_window_is_scored_by_its_clip_and_its_best_frame_and_silence_has_0() -> None:
    rows = np.array([[0.25, 0.5], [0.25, 0.5]], np.float32)
    scores = WindowScores(rows, np.full((2, 2), 0.75, np.float32), np.array([0.1, 0.002], np.float32))
    settings = Inference(frame_share=0.2, silence_rms=0.002)
    np.testing.assert_allclose(scores.probabilities(settings), [[0.8 * 0.25 + 0.2 * 0.75, 0.55], [0, 0]], atol=1e-6)


def test_after_cross_entropy_each_frame_is_shared_among_the_classes() -> None:
    frame_logits = np.array([[[math.log(3), 0.0], [0.0, 0.0]]], np.float32)
    scores = member_scores(frame_logits[:, 0], frame_logits, "ce", np.zeros(1), 1.0)
    np.testing.assert_allclose(scores.frames, [[[0.75, 0.25], [0.5, 0.5]]], atol=1e-6)
    np.testing.assert_allclose(scores.clip, [[0.75, 0.25]], atol=1e-6)


def test_members_are_scored_as_if_alone(tiny_config: SedConfig) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 40_000).astype(np.float32)
    starts = target_starts(5.0, 1.0, 0.5)
    wide = tiny_config.with_overrides({"front_end.hop_length": 160, "inference.batch_size": 2})
    members = [random_model(tiny_config), random_model(tiny_config, 1, loss="ce"), random_model(wide, 2)]
    together = predict_soundscape(members, waveform, starts, CPU)
    assert together.shape == (3, len(starts), 3)
    for row, one in enumerate(members):
        np.testing.assert_allclose(together[row], predict_soundscape([one], waveform, starts, CPU)[0], atol=1e-5)


def test_predictions_are_written_with_their_windows(
    tiny_data: TrainingData, tiny_config: SedConfig, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    windows = ValidationWindows(tiny_data, tiny_config)
    probabilities = np.linspace(0, 1, 36, dtype=np.float32).reshape(12, 3)
    write_predictions(tmp_path / "oof.parquet", windows, probabilities, tiny_data.folder.classes)
    table = pq.read_table(tmp_path / "oof.parquet")
    assert table.column_names == ["filename", "start_s", "end_s", "target", "probabilities"]
    assert json.loads(table.schema.metadata[b"classes"]) == list(tiny_data.folder.classes)
    assert table["filename"].to_pylist() == windows.paths
    np.testing.assert_array_equal(np.array(table["probabilities"].to_pylist(), np.float32), probabilities)
    np.testing.assert_array_equal(np.array(table["target"].to_pylist(), np.float32), windows.targets)
