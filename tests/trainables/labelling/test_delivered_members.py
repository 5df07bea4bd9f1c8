"""Ensembles of a run that delivers finalists: who labels for whom, so that nothing learns from what validates it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sed_model.clips.pseudo_clips import read_pseudo_labels
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import CheckpointError, DataError
from sed_model.core.parquet import write_parquet
from sed_model.data.recordings import read_data_folder
from sed_model.data.splits import split
from sed_model.model.devices import prediction_runtime
from sed_model.run_folder.folder import labels_of_part
from tests.models import save_random_model
from tests.trainables.delivered import write_delivered_run
from tests.trainables.tiny import write_data
from trainables.labelling.candidates import EnsembleJob
from trainables.labelling.job import predict_shard, write_labels, write_sets
from trainables.labelling.plan import EnsemblePlan, members_record, plan_ensemble
from trainables.labelling.write_labels import joined_windows, member_weights
from trainables.trials.teacher import find_teacher

N_PARTS = 2
KEEP_ALL = {"pseudo.keep_window": 0.0, "pseudo.keep_class": 0.0, "pseudo.max_share": 100.0, "pseudo.balance": False}


@pytest.fixture(scope="module")
def written(tiny_base: SedConfig, cache_dir: Path, made_once: Callable[..., Path]) -> Path:
    """A data folder with four labelled soundscapes, and a run with three finalists of two parts; the last is left out.

    trial_0001 is the best of them.
    """

    def write(folder: Path) -> None:
        data = read_data_folder(write_data(folder / "data", 4), 1.0)
        write_delivered_run(folder / "run", tiny_base, data, N_PARTS)

    return made_once("delivered_run", write)


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    """A copy, free to be changed."""
    return Path(shutil.copytree(written / "run", tmp_path / "run"))


def plan(written: Path, run: Path, **changes: Any) -> EnsemblePlan:
    return plan_ensemble(EnsembleJob(run, written / "data", run / "ensemble", overrides=KEEP_ALL, **changes))


def test_members_are_the_models_of_the_finalists_in_parts(written: Path, run: Path) -> None:
    made = plan(written, run)

    names = ["trial_0001_part_0", "trial_0001_part_1", "trial_0000_part_0", "trial_0000_part_1"]
    assert [member.trial_id for member in made.choice.members] == names
    assert [folder.relative_to(run).as_posix() for folder in made.choice.folders][1] == "trials/trial_0001/part_1"
    assert made.choice.label_sets() == {0: (True, False, True, False), 1: (False, True, False, True)}
    assert made.choice.facts["left_out"] == {"trial_0002": "it is rather worse than the default"}
    assert [one["trial_id"] for one in members_record(made, (True, False, True, False))["members"]] == names[::2]


def test_so_many_finalists_as_are_asked_for(written: Path, run: Path) -> None:
    assert [one.trial_id[:10] for one in plan(written, run, top_k=1).choice.members] == ["trial_0001", "trial_0001"]


def test_trials_that_are_named_are_members_as_before(written: Path, run: Path) -> None:
    made = plan(written, run, members=("trial_0002",))
    assert [member.trial_id for member in made.choice.members] == ["trial_0002"]
    assert made.choice.label_sets() == {}


def test_a_model_that_is_not_the_delivered_one_is_refused(written: Path, run: Path, tiny_base: SedConfig) -> None:
    save_random_model(run / "trials/trial_0001/part_1", tiny_base, 5)
    with pytest.raises(CheckpointError, match=r"part_1: is not the model that delivered\.json names"):
        plan(written, run)


def test_softmax_finalists_do_not_label(written: Path, run: Path, tiny_base: SedConfig) -> None:
    save_random_model(run / "trials/trial_0001/part_0", tiny_base, 10, loss="ce")
    left_out = plan(written, run).choice.facts["left_out"]
    assert "does not mix with the sigmoids" in left_out["trial_0001"]


def test_labelled_soundscapes_are_judged_by_models_that_have_not_heard_them(written: Path, run: Path) -> None:
    made = plan(written, run)
    validated = [set(split(made.data, one.config.data).soundscapes_validation) for one in made.rules.load()]

    for path in sorted(set(made.data.soundscape_labels["path"])):  # type: ignore[index]
        weights = member_weights(made, pd.Series([Path(path).name]))[:, 0]
        assert (weights > 0).tolist() == [path in own for own in validated]
        assert sum(weights > 0) == 2


@pytest.fixture
def labelled(written: Path, run: Path) -> EnsemblePlan:
    """The labels of the run, of all members and for each part."""
    return label(plan(written, run))


def label(made: EnsemblePlan) -> EnsemblePlan:
    """As the job does it, without Ray."""
    members, runtime = made.rules.load(), prediction_runtime(made.config.optim)
    for shard in made.shards():
        write_parquet(shard.part, predict_shard(members, shard, runtime))
    write_sets(made, made.shards())
    write_labels(made, made.shards(), made.job.out)
    return made


def test_each_part_has_labels_of_those_that_have_not_heard_it(labelled: EnsemblePlan, run: Path) -> None:
    """The labels of part 1 are the mean of the second models; who made them is told with what validated these."""
    of_part = read_pseudo_labels(labels_of_part(run / "ensemble", 1))
    of_all = read_pseudo_labels(run / "ensemble")
    by_hand = joined_windows(labelled, labelled.shards(), (False, True, False, True))

    assert len(of_part) == len(of_all) == len(by_hand)
    order = {(name, start): row for row, (name, start) in enumerate(by_hand[["filename", "start_s"]].to_numpy())}
    rows = [order[Path(path).name, start] for path, start in zip(of_part.paths, of_part.start_s, strict=True)]
    assert of_part.probabilities == pytest.approx(np.stack(by_hand["probabilities"])[rows], abs=1e-6)
    assert not np.allclose(of_part.probabilities, of_all.probabilities, atol=1e-4)
    assert [split.fold for split in of_part.splits if split] == [1, 1]
    assert len(of_all.teachers) == 4


def test_a_student_learns_from_the_part_that_validates_it(labelled: EnsemblePlan, run: Path) -> None:
    teacher = find_teacher(run)
    data = labelled.config.data

    for part in range(N_PARTS):
        model, labels = teacher.of(data.model_copy(update={"soundscape_folds": N_PARTS, "fold": part}))
        assert (model, labels) == (run / f"trials/trial_0001/part_{part}", run / f"ensemble/parts/{part}")
    assert teacher.macro_auc == 0.6


def test_a_teacher_without_labels_for_each_part_is_none(labelled: EnsemblePlan, run: Path) -> None:
    shutil.rmtree(labels_of_part(run / "ensemble", 1))
    with pytest.raises(DataError, match=r"parts/1: holds no pseudo-labels; run python -m trainables\.ensemble first"):
        find_teacher(run)


def test_where_trials_have_labelled_the_best_trial_teaches(labelled: EnsemblePlan, run: Path, written: Path) -> None:
    """They have heard no labelled soundscape; the labels of the finalists' parts are gone then."""
    made = label(plan(written, run, members=("trial_0002",)))

    teacher = find_teacher(run)

    assert teacher.models == ()
    assert teacher.of(made.config.data) == (run / "trials/trial_0000", run / "ensemble")
