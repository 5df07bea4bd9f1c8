"""What was trained on recordings that validate is no parent, and no teacher.

The tiny data has four authors with one recording in each of three classes: of four folds each is one author (3
recordings), of two folds each is two authors (6 recordings).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sed_model.clips.pseudo_clips import PseudoLabels, PseudoSource
from sed_model.clips.training_data import TrainingData, check_leaks, open_training_data
from sed_model.config.sed_config import Data, SedConfig
from sed_model.core.errors import CheckpointError
from sed_model.data.leaks import check_sources, heard
from sed_model.data.recordings import DataFolder
from sed_model.data.splits import Split, split
from sed_model.run_folder.split_record import Source, SplitRecord
from sed_model.train.fit import fit
from tests.models import random_model
from tests.sed_model.fit_jobs import job

SEEDS = range(20)


def by(n_folds: int, fold: int, split_seed: int = 42) -> Data:
    return Data(validation="folds", n_folds=n_folds, fold=fold, split_seed=split_seed)


@pytest.fixture
def folder(tiny_data: TrainingData) -> DataFolder:
    return tiny_data.folder


def authors(folder: DataFolder, parts: Split) -> set[str]:
    return set(folder.recordings["author"].iloc[parts.validation])


def with_author(folder: DataFolder, name: str) -> Split:
    """The split by four folds in which that author validates."""
    splits = [split(folder, by(4, fold)) for fold in range(4)]
    return next(parts for parts in splits if authors(folder, parts) == {name})


def test_the_training_seed_leaves_the_folds_as_they_are(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    folds = tiny_config.with_overrides({"data.validation": "folds", "data.n_folds": 4})
    opened = [
        open_training_data(tiny_data.folder, folds.with_overrides({"seed": seed}), progress=False) for seed in (0, 1, 7)
    ]
    digests = {data.split.record.digest for data in opened}
    drawn = {split(tiny_data.folder, by(4, 0, seed)).record.digest for seed in SEEDS}

    assert len(digests) == 1
    assert len(drawn) == 4, "of twenty seeds none has some author in fold 0: this test cannot tell seeds apart"


def test_the_digest_is_that_of_the_files_that_validate(folder: DataFolder) -> None:
    """Four authors make no more than four folds, so asking for five is asking for four."""
    assert split(folder, by(5, 1)).record.digest == split(folder, by(4, 1)).record.digest
    assert split(folder, by(4, 0)).record.digest != split(folder, by(4, 1)).record.digest
    ratings = by(4, 1).model_copy(update={"min_rating": 1.5})
    assert split(folder, ratings).record.digest == split(folder, by(4, 1)).record.digest


def test_recordings_heard_are_counted(folder: DataFolder) -> None:
    """By hand: an author of two that validated trained nothing; the other three are the training part."""
    two = split(folder, by(2, 0))
    inside, outside = min(authors(folder, two)), sorted({f"author {n}" for n in range(4)} - authors(folder, two))

    assert heard(two.record, split(folder, by(2, 1)), folder) == 6
    assert heard(two.record, with_author(folder, inside), folder) == 0
    assert heard(two.record, with_author(folder, outside[0]), folder) == 3
    assert heard(with_author(folder, inside).record, two, folder) == 3
    assert heard(split(folder, Data(validation="soundscapes")).record, two, folder) == 6


def test_seeds_of_one_fold_overlap_as_counted_by_hand(folder: DataFolder) -> None:
    """Fold 0 of four is one author: that of another seed is the same three recordings, or three that trained."""
    first = split(folder, by(4, 0, split_seed=0))
    counts = {}
    for seed in SEEDS:
        other = split(folder, by(4, 0, seed))
        counts[seed] = (authors(folder, other) == authors(folder, first), heard(first.record, other, folder))

    assert set(counts.values()) == {(True, 0), (False, 3)}


def test_what_other_data_made_cannot_be_counted(folder: DataFolder) -> None:
    record = split(folder, by(4, 0)).record.model_copy(update={"digest": "0" * 32})
    assert heard(record, split(folder, by(4, 1)), folder) is None


def refused(folder: DataFolder, ours: Split, record: SplitRecord | None, **facts: Any) -> str:
    """The message, or "" where nothing is refused."""
    try:
        check_sources([Source("the parent", record, **facts)], ours, folder)
    except CheckpointError as error:
        return str(error)
    return ""


def test_another_fold_is_refused_with_count_and_repair(folder: DataFolder) -> None:
    message = refused(folder, split(folder, by(4, 1)), split(folder, by(4, 0)).record)

    assert message.startswith("the parent: ")
    assert "trained on 3 of the 3 recordings that validate here" in message
    assert "add --set data.validation=folds --set data.fold=0 --set data.n_folds=4 --set data.split_seed=42" in message


def test_the_same_fold_and_a_part_of_it_are_no_leak(folder: DataFolder) -> None:
    two = split(folder, by(2, 0))

    assert refused(folder, two, two.record) == ""
    assert refused(folder, with_author(folder, min(authors(folder, two))), two.record) == ""


def test_who_was_validated_on_soundscapes_trained_on_every_recording(folder: DataFolder) -> None:
    record = split(folder, Data(validation="soundscapes")).record
    message = refused(folder, split(folder, by(4, 1)), record)

    assert "3 of the 3 recordings" in message
    assert message.endswith("add --set data.validation=soundscapes, or train it again.")


def test_an_older_version_s_model_is_refused_by_name_where_recordings_validate(folder: DataFolder) -> None:
    message = refused(folder, split(folder, by(4, 1)), None)

    assert "the parent: was made by a version that did not record what validated it" in message
    assert "train it again, or set data.validation=soundscapes" in message


def test_soundscapes_have_trained_nobody(folder: DataFolder) -> None:
    """Whatever fold, seed or version the parent is of."""
    ours = split(folder, Data(validation="soundscapes"))

    assert refused(folder, ours, None) == refused(folder, ours, split(folder, by(4, 0)).record) == ""
    assert refused(folder, ours, None, pseudo_labelled=folder.fingerprint) == ""


def parts(fold: int, n_parts: int = 2) -> Data:
    return Data(validation="soundscapes", soundscape_folds=n_parts, fold=fold)


def test_who_trained_on_soundscapes_that_validate_is_refused(folder: DataFolder) -> None:
    """Of two parts the other one, and all of them together; its own part it has not heard, nor has who heard none."""
    trained_on_part_1 = split(folder, parts(0)).record
    everything = split(folder, Data(validation="soundscapes"))

    message = refused(folder, split(folder, parts(1)), trained_on_part_1)
    assert (
        "was validated on part 0 of 2 of the labelled soundscapes and trained on the others, some of which" in message
    )
    assert "--set data.fold=0 --set data.soundscape_folds=2 --set data.split_seed=42, or train it again" in message
    assert refused(folder, everything, trained_on_part_1) != ""
    assert refused(folder, split(folder, parts(0)), trained_on_part_1) == ""
    assert refused(folder, split(folder, parts(0)), everything.record) == ""


def test_parts_of_other_soundscapes_cannot_be_told_and_are_refused(folder: DataFolder) -> None:
    record = split(folder, parts(0)).record
    assert refused(folder, split(folder, parts(0)), record.model_copy(update={"digest": "0", "fold": 1})) != ""
    assert (
        refused(folder, split(folder, parts(0)), record.model_copy(update={"digest": "0", "soundscape_folds": 9})) != ""
    )


def test_a_student_of_other_data_may_have_heard_the_soundscapes(folder: DataFolder) -> None:
    labelled = folder.soundscape_labels
    assert isinstance(labelled, pd.DataFrame)
    fewer = replace(folder, soundscape_labels=labelled[labelled["path"] == labelled["path"].iloc[0]], fingerprint="old")
    student = split(fewer, Data(validation="soundscapes")).record

    message = refused(folder, split(folder, Data()), student, pseudo_labelled="old")
    assert "perhaps of soundscapes that validate here; train it again" in message


@pytest.fixture
def fold_1(tiny_data: TrainingData, tiny_config: SedConfig) -> Callable[..., TrainingData]:
    config = tiny_config.with_overrides({"data.validation": "folds", "data.n_folds": 4, "data.fold": 1})
    return lambda **changes: replace(open_training_data(tiny_data.folder, config, progress=False), **changes)


def test_fit_refuses_a_parent_of_another_fold_before_it_trains(
    fold_1: Callable[..., TrainingData], tiny_config: SedConfig, tmp_path: Path
) -> None:
    data = fold_1()
    parents = [random_model(tiny_config, split=split(data.folder, by(4, fold)).record) for fold in (0, 1)]
    jobs = [replace(job(tiny_config, tmp_path, ("train_bce",)), parent=parent) for parent in parents]

    with pytest.raises(CheckpointError, match=r"the train_bce model: was validated on fold 0 of 4"):
        fit(jobs[0], data)
    fit(jobs[1], data)


def test_labels_of_a_teacher_of_another_fold_are_refused(fold_1: Callable[..., TrainingData]) -> None:
    data = fold_1()

    def taught_by(*folds: int) -> TrainingData:
        nothing, times = np.empty(0, np.float32), np.empty(0, np.float64)
        splits = tuple(split(data.folder, by(4, fold)).record for fold in folds)
        labels = PseudoLabels((), (), times, times, (), nothing, nothing, (), "", splits)
        return replace(data, pseudo=PseudoSource(labels, data.cache))

    check_leaks(taught_by(1, 1), None)
    with pytest.raises(CheckpointError, match="a model that made the pseudo-labels: was validated on"):
        check_leaks(taught_by(1, 0), None)
