"""Classes that are named like columns of the tables: each label that a taxonomy may have works in all of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from analysis.predictions import read_pseudo_labels
from sed_model.clips.pseudo_clips import read_pseudo_labels as read_for_training
from sed_model.config.sed_config import SedConfig
from sed_model.core.parquet import write_parquet
from sed_model.data.recordings import read_data_folder
from sed_model.data.train_table import RESERVED_LABELS
from sed_model.model.devices import Runtime
from sed_model.predict.ensemble import load_ensemble
from sed_model.predict.job import PredictJob, predict_soundscapes
from sed_model.run_folder.folder import RunFolder
from tests.models import save_random_model
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.job import label_soundscapes, predict_shard
from trainables.labelling.plan import EnsemblePlan, plan_ensemble

RATE_HZ = 8_000
NAMES = (
    *("weight", "confidence", "probabilities", "labels", "primary_label", "disagreement", "n_members", "filename"),
    *(
        "from_validation", "end_ms", "truth_row", "place", "row", "rms", "member_0", "target", "label", "index",
        "level_0",
    ),
    *("nan", "NA", "None", "True", "0", "1.0", "-inf", "a, b", "=1+1", "a[0]", "%s{}", "<b>x</b>", "é鳥", "x" * 60),
)  # fmt: skip
CPU = Runtime(torch.device("cpu"), None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording a class; two soundscapes of 4 s; the first is labelled: its window n holds classes n, n + 4, .."""
    root, rng = tmp_path_factory.mktemp("names") / "data", np.random.default_rng(0)
    for folder in ("train_audio/all", "train_soundscapes"):
        (root / folder).mkdir(parents=True)
    with (root / "train.csv").open("w", newline="", encoding="utf-8") as file:
        rows = ([name, repr([NAMES[n - 1]]), f"all/{n}.wav", "me"] for n, name in enumerate(NAMES))
        csv.writer(file).writerows([["primary_label", "secondary_labels", "filename", "author"], *rows])
    for number in range(len(NAMES)):
        (root / f"train_audio/all/{number}.wav").touch()
    for name in ("L0", "U0"):
        soundfile.write(root / f"train_soundscapes/{name}.wav", 0.1 * rng.standard_normal(4 * RATE_HZ), RATE_HZ)
    with (root / "train_soundscapes_labels.csv").open("w", newline="", encoding="utf-8") as file:
        windows = ([f"L0_{w + 1}", *(int(n % 4 == w) for n in range(len(NAMES)))] for w in range(4))
        csv.writer(file).writerows([["row_id", *NAMES], *windows])
    return root


@pytest.fixture(scope="module")
def plan(data: Path, tiny_base: SedConfig, tmp_path_factory: pytest.TempPathFactory) -> EnsemblePlan:
    """An ensemble of one random model, whose predictions are made."""
    run, classes = RunFolder(tmp_path_factory.mktemp("runs") / "run"), read_data_folder(data, 1.0).classes
    save_random_model(run.trial(0), tiny_base, classes=classes)
    run.write_tables([{"trial_id": "trial_0000", "number": 0, "status": "complete", "macro_auc": 0.6}], [])
    rules = {"pseudo.keep_window": 0.01, "pseudo.keep_class": 0.01, "pseudo.max_share": 100.0}
    plan = plan_ensemble(EnsembleJob(run.path, data, run.ensemble, overrides=rules))
    member = load_ensemble(plan.rules.members).members
    for shard in [*plan.shards(), *plan.labelled_shards()]:
        write_parquet(shard.part, predict_shard(member, shard, CPU))
    return plan


def test_the_names_are_not_those_that_a_taxonomy_refuses() -> None:
    assert sorted(RESERVED_LABELS) == ["end_s", "path", "row_id", "start_s"]
    assert RESERVED_LABELS.isdisjoint(NAMES)


@pytest.fixture(scope="module")
def labelled(plan: EnsemblePlan) -> Path:
    """The run's folder, with the pseudo-labels of the ensemble; its predictions are there, so that Ray has no part."""
    label_soundscapes(plan)
    return plan.job.run_dir


def test_labels_are_compared_with_the_truth_of_their_own_window(labelled: Path) -> None:
    """Each class is in one of the four labelled windows."""
    summary = json.loads((labelled / "ensemble" / "summary.json").read_text(encoding="utf-8"))
    quality = summary["labelled"]
    assert (quality["windows"], quality["present"]) == (4, len(NAMES))
    assert {name: counts["present"] for name, counts in quality["by_class"].items()} == dict.fromkeys(NAMES, 1)
    assert set(summary["by_class"]) <= set(NAMES)


def test_pseudo_labels_are_read_by_their_names(plan: EnsemblePlan, labelled: Path) -> None:
    read = read_pseudo_labels(labelled)
    assert read.classes == plan.classes
    assert len(read.table) == 7  # 4 s in windows of 1 s, half of which overlap
    top = [read.classes[column] for column in read.probabilities.argmax(axis=1)]
    assert top == read.table["primary_label"].to_list()
    assert read_for_training(labelled / "ensemble").classes == read.classes


def test_a_submission_has_a_column_for_each(plan: EnsemblePlan, data: Path, tmp_path: Path) -> None:
    job = PredictJob(data / "train_soundscapes", tmp_path / "submission.csv", events=tmp_path / "events")
    predict_soundscapes(job, load_ensemble(plan.rules.members), lambda line: None)
    with job.out.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["row_id", *plan.classes]
    assert [row[0] for row in rows] == [f"{name}_{end}" for name in ("L0", "U0") for end in range(1, 5)]
