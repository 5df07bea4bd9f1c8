"""Validation, selection, pseudo-labels, report, tuning, export and submission score the same windows alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from sed_model.audio.windows import decode_as_cached
from sed_model.clips.training_data import open_training_data
from sed_model.config.sed_config import SedConfig
from sed_model.config.stages import plan_stages
from sed_model.data.recordings import read_data_folder
from sed_model.export.check import Labelled, labelled_auc
from sed_model.model.checkpoint import LoadedModel, load_model
from sed_model.model.devices import Runtime
from sed_model.predict.ensemble import Ensemble
from sed_model.predict.job import PredictJob, predict_soundscapes
from sed_model.predict.report_frames import write_frame_scores
from sed_model.predict.tune_job import labelled_windows
from sed_model.predict.window_scores import predict_soundscape
from sed_model.run_folder.metrics import macro_auc
from sed_model.run_folder.predictions import FRAMES_FILE, OutOfFold, read_predictions
from sed_model.train.fit import FitJob, fit
from tests.tiny_data import PITCH_HZ, tone
from tests.trainables.tiny import write_data
from trainables.labelling.job import predict_shard
from trainables.labelling.plan import PredictionRules, Shard

CPU = Runtime(torch.device("cpu"), None)
ALIKE = {"rtol": 0, "atol": 2e-6}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Besides two whole labelled soundscapes one of 4.6 s at another rate, with labels for some windows, one silent."""
    root = write_data(tmp_path_factory.mktemp("scores") / "data")
    rng = np.random.default_rng(1)
    # 2.7 times full scale: what is louder than 16 bits is cut off by the cache.
    wave = 9 * np.concatenate([tone(pitch, 1.0, rng) for pitch in [*PITCH_HZ.values()] * 2])[: round(4.6 * 8_000)]
    wave[2 * 8_000 : 3 * 8_000] = 0
    with soundfile.SoundFile(root / "train_soundscapes" / "L2.flac", "w", 22_050, 1, subtype="PCM_24") as file:
        file.write(np.interp(np.arange(round(4.6 * 22_050)) / 22_050, np.arange(len(wave)) / 8_000, wave / 4))
    with (root / "train_soundscapes_labels.csv").open("a") as table:
        table.write("L2_2,0,1,0\nL2_3,0,0,0\nL2_5,1,0,0\n")
    return root


def trained(root: Path, config: SedConfig, folder: Path) -> tuple[LoadedModel, OutOfFold]:
    data = open_training_data(read_data_folder(root, 1.0), config, progress=False)
    for _ in fit(FitJob(config, plan_stages(config, ["train_bce"]), folder), data, CPU):
        pass
    return load_model(folder), read_predictions(folder)


@pytest.fixture(scope="module")
def config(tiny_base: SedConfig) -> SedConfig:
    return tiny_base.with_overrides(
        {
            "inference.frame_share": 0.3,
            "inference.silence_rms": 0.005,
            "stages.train_bce.lr": 0.01,
            "stages.train_bce.epochs": 6,
        }
    )


@pytest.fixture(scope="module")
def model(root: Path, config: SedConfig, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    trained(root, config, folder)
    return folder


def by_window(oof: OutOfFold) -> dict[tuple[str, float], np.ndarray]:
    rows = zip(oof.windows, oof.probabilities, strict=True)
    return {(Path(name).stem, end_s): row for (name, _, end_s), row in rows}


def test_validation_is_what_the_submission_says(model: Path, root: Path, tmp_path: Path) -> None:
    known = by_window(read_predictions(model))
    assert np.ptp(list(known.values()), axis=0).min() > 0.05  # windows that differ, or nothing would be shown
    job = PredictJob(root / "train_soundscapes", tmp_path / "submission.csv", n_threads=2)
    predict_soundscapes(job, Ensemble((load_model(model),)), lambda line: None)

    table = pd.read_csv(job.out).set_index("row_id")
    assert len(known) == 11
    for (stem, end_s), probabilities in known.items():
        np.testing.assert_allclose(table.loc[f"{stem}_{end_s:g}"], probabilities, **ALIKE)
    assert (known["L2", 3.0] == 0).all()  # silence, in both
    assert (known["L2", 5.0] > 0).all()


@pytest.mark.parametrize("step_s", [1.0, 0.5, 0.2])
def test_validation_is_what_an_ensembles_member_says_at_any_overlap(
    model: Path, root: Path, tmp_path: Path, step_s: float
) -> None:
    known = by_window(read_predictions(model))
    names = ("L0.wav", "L1.wav", "L2.flac")
    shard = Shard(tmp_path / "part.parquet", root / "train_soundscapes", names, step_s)
    part = predict_shard(PredictionRules((model,), tmp_path).load(), shard, CPU).to_pandas()

    found = {(Path(row["filename"]).stem, round(row["end_s"], 3)): row["member_0"] for _, row in part.iterrows()}
    # The last window of 4.6 s is heard whole at a finer step.
    assert known.keys() - found.keys() == (set() if step_s == 1.0 else {("L2", 5.0)})
    for window in known.keys() & found.keys():
        np.testing.assert_allclose(found[window], known[window], **ALIKE)


def test_validation_is_what_the_report_shows(model: Path, root: Path) -> None:
    """Three tenths of a score are the best frame of the target."""
    known = by_window(read_predictions(model))
    write_frame_scores(model, root)

    loaded = load_model(model)
    clip = replace(loaded, config=loaded.config.with_overrides({"inference.frame_share": 0.0}))
    rows = [row for row in pq.read_table(model / FRAMES_FILE).to_pylist() if row["filename"].startswith("train_sound")]
    assert {Path(row["filename"]).name for row in rows} == {"L0.wav", "L1.wav", "L2.flac"}
    for row in rows:
        waveform = decode_as_cached(root / row["filename"], 8_000)
        column = loaded.lineage.classes.index(row["label"])
        own = predict_soundscape([clip], waveform, np.array([row["start_s"]]), CPU)[0, 0, column]
        first, end = (round((row[name] - row["frames_start_s"]) / 0.1) for name in ("start_s", "end_s"))
        score = 0.7 * own + 0.3 * max(row["scores"][first:end])
        assert score == pytest.approx(known[Path(row["filename"]).stem, row["end_s"]][column], abs=2e-6)


def test_validation_is_what_exports_are_judged_by(model: Path, root: Path) -> None:
    loaded, oof = load_model(model), read_predictions(model)
    windows, tasks = labelled_windows(read_data_folder(root, 1.0), Ensemble((loaded,)))
    assert labelled_auc(loaded, Labelled(windows, tuple(tasks))) == macro_auc(oof.targets, oof.probabilities)


def test_held_out_recordings_are_scored_like_soundscapes(
    root: Path, config: SedConfig, cache_dir: Path, tmp_path: Path
) -> None:
    """A window of 1.5 s is its own target there."""
    changes = {"data.validation": "folds", "data.n_folds": 4, "data.crop_shift_s": 0.0}
    loaded, oof = trained(root, config.with_overrides(changes), tmp_path)
    member = replace(loaded, config=loaded.config.with_overrides({"data.target_s": 1.5}))
    for (name, start_s, end_s), probabilities in zip(oof.windows, oof.probabilities, strict=True):
        waveform = decode_as_cached(root / name, 8_000)
        assert end_s - start_s == 1.5
        np.testing.assert_allclose(
            predict_soundscape([member], waveform, np.array([start_s]), CPU)[0, 0], probabilities, **ALIKE
        )


def test_settings_of_the_command_line_replace_those_of_every_member(model: Path, root: Path, tmp_path: Path) -> None:
    """What `ensemble --set inference.frame_share=0` and `--set inference.silence_rms=1` do."""
    shard = Shard(tmp_path / "part.parquet", root / "train_soundscapes", ("L0.wav",), 1.0)

    def scores(**settings: float) -> np.ndarray:
        changes = {f"inference.{name}": value for name, value in settings.items()}
        members = PredictionRules((model, model), tmp_path, changes).load()
        table = predict_shard(members, shard, CPU)
        return np.array([table[name].to_pylist() for name in ("member_0", "member_1")])

    half, clip, best = scores(frame_share=0.5), scores(frame_share=0.0), scores(frame_share=1.0)
    assert np.abs(best - clip).max() > 0.001
    np.testing.assert_allclose(half, (clip + best) / 2, atol=1e-6)
    assert (scores(silence_rms=1.0) == 0).all()
