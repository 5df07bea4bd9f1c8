"""Which files an ensemble labels in folders of recorders, without Ray."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import ConfigError
from sed_model.core.parquet import write_parquet
from sed_model.model.devices import Runtime
from sed_model.run_folder.folder import RunFolder
from tests.models import random_model, save_random_model
from trainables import ensemble
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.job import label_soundscapes, predict_shard
from trainables.labelling.plan import plan_ensemble


@pytest.fixture
def run(tiny_base: SedConfig, tmp_path: Path) -> RunFolder:
    """A run of one trial with random weights."""
    run = RunFolder(tmp_path / "run")
    save_random_model(run.trial(0), tiny_base)
    run.write_tables([{"trial_id": "trial_0000", "number": 0, "status": "complete", "macro_auc": 0.6}], [])
    return run


@pytest.fixture
def recorders(tiny_root: Path, tmp_path: Path) -> Path:
    """Two sites with a file of the same name each, a copy of a labelled soundscape, and what is no recording."""
    folder = tmp_path / "recorders"
    for name, source in (("top.wav", "U2"), ("A/0600.wav", "U3"), ("B/0600.wav", "U4"), ("B/L0.wav", "L0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_root / "train_soundscapes" / f"{source}.wav", folder / name)
    for name in ("._top.wav", "A/x.m4a"):
        (folder / name).touch()
    return folder


def plan(run: RunFolder, data: Path, **changes: Any) -> Any:
    return plan_ensemble(EnsembleJob(run.path, data, run.ensemble, **changes))


def test_what_is_left_out_is_counted(run: RunFolder, recorders: Path, tiny_root: Path) -> None:
    sources = plan(run, tiny_root, soundscapes=recorders).sources
    assert sources.filenames == ("top.wav",)
    assert sources.left_out == {
        "soundscapes in folders below recorders (--recursive takes them)": 3,
        "sound files in recorders that cannot be read (.m4a; convert them to .flac)": 1,
        "a Mac's notes on files in recorders (._*), no recordings": 1,
    }


def test_folders_below_are_labelled_by_their_paths(
    run: RunFolder, recorders: Path, tiny_root: Path, tiny_base: SedConfig
) -> None:
    """The copy of a soundscape that validates is left out wherever it lies."""
    made = plan(run, tiny_root, soundscapes=recorders, recursive=True)
    assert made.filenames == ("A/0600.wav", "B/0600.wav", "top.wav")
    assert made.sources.left_out["labelled soundscapes, which validate"] == 1
    (shard,) = made.shards()
    table = predict_shard([random_model(tiny_base)], shard, Runtime(torch.device("cpu"), None))
    assert sorted(set(table["filename"].to_pylist())) == ["A/0600.wav", "B/0600.wav", "top.wav"]


def test_allowed_copies_of_labelled_soundscapes_are_labelled_and_marked(
    run: RunFolder, recorders: Path, tiny_root: Path, tiny_base: SedConfig
) -> None:
    """All predictions are there, so that Ray has no part in it."""
    every = {"pseudo.keep_window": 0, "pseudo.keep_class": 0, "pseudo.max_share": 1000}
    allowed = {"recursive": True, "allow_validation_soundscapes": True, "overrides": every}
    made = plan(run, tiny_root, soundscapes=recorders, **allowed)
    for shard in [*made.shards(), *made.labelled_shards()]:
        write_parquet(shard.part, predict_shard([random_model(tiny_base)], shard, Runtime(torch.device("cpu"), None)))
    label_soundscapes(made)
    labels = pd.read_parquet(run.ensemble / "pseudo_labels" / "part-00000.parquet")

    assert made.sources.from_validation == {"B/L0.wav"}
    assert set(labels["filename"]) == {"A/0600.wav", "B/0600.wav", "B/L0.wav", "top.wav"}
    assert set(labels.loc[labels["from_validation"], "filename"]) == {"B/L0.wav"}
    summary = json.loads((run.ensemble / "summary.json").read_text(encoding="utf-8"))
    assert summary["from_validation"] == labels["from_validation"].sum()


def test_recursive_needs_the_folder_that_it_is_about(run: RunFolder) -> None:
    with pytest.raises(ConfigError, match="--recursive: is about the folders below --soundscapes DIR"):
        ensemble.main(["--run", str(run.path), "--recursive"])
