"""Which clips a probe is fitted to, what is true of them, and which of them go together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sed_model.clips.embedding_cache import EmbeddingCache, open_embeddings
from sed_model.config.sed_config import SedConfig, config_from_dict
from sed_model.data.recordings import DataFolder, read_data_folder
from sed_model.data.splits import split
from sed_model.train.probe import Clips
from sed_model.train.probe_clips import probe_clips
from tests.teachers import tiny_teacher
from tests.trainables.tiny import BASE, write_data

PARTS = {"soundscape_folds": 2, "fold": 0}


def config_of(**data: Any) -> SedConfig:
    return config_from_dict(BASE).with_overrides({f"data.{name}": value for name, value in data.items()})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    """Four recordings a class by four authors, whose second label is grekis; four labelled soundscapes of 4 s."""
    return read_data_folder(write_data(tmp_path_factory.mktemp("data") / "data", 4), 1.0)


@pytest.fixture(scope="module")
def heard(folder: DataFolder, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingCache:
    """The mean, first and last sample of each second."""
    teacher = tiny_teacher(tmp_path_factory.mktemp("teacher"), ".onnx", 1.0)
    settings = config_of(cache_dir=str(tmp_path_factory.mktemp("cache"))).data
    paths = [*folder.recordings["path"], *folder.soundscapes]
    return open_embeddings(folder.root, paths, teacher, settings, [1, 0], progress=False)


def clips_of(folder: DataFolder, heard: EmbeddingCache, **data: Any) -> Clips:
    config = config_of(**data)
    return probe_clips(folder, split(folder, config.data), config, heard)


def test_recordings_alone_where_all_soundscapes_validate(folder: DataFolder, heard: EmbeddingCache) -> None:
    clips = clips_of(folder, heard)
    assert len(clips.targets) == 12
    assert clips.scored.all()
    path, *_ = folder.recordings["path"]
    mean = heard.clip(path, 0.0, np.inf)
    assert mean is not None
    np.testing.assert_array_equal(clips.embeddings[0], mean[0])
    np.testing.assert_array_equal(clips.logits[0], mean[1])


def test_a_second_label_is_left_open(folder: DataFolder, heard: EmbeddingCache) -> None:
    clips = clips_of(folder, heard)
    grekis = folder.classes.index("grekis")
    is_grekis = (folder.recordings["primary_label"] == "grekis").to_numpy()
    assert clips.targets[:, grekis].tolist() == is_grekis.astype(float).tolist()
    assert clips.mask[:, grekis].tolist() == is_grekis.tolist()
    assert np.delete(clips.mask, grekis, axis=1).all()


def test_only_recordings_of_the_training_folds_fit(folder: DataFolder, heard: EmbeddingCache) -> None:
    clips = clips_of(folder, heard, validation="folds", n_folds=2)
    assert 0 < len(clips.targets) < 12
    assert len(set(clips.groups)) == len(clips.targets) // 3


def test_only_soundscapes_that_train_fit_and_they_are_what_is_scored(folder: DataFolder, heard: EmbeddingCache) -> None:
    """Two of the four, four windows each, each a group of its own."""
    clips = clips_of(folder, heard, **PARTS)
    part = split(folder, config_of(**PARTS).data)
    assert clips.scored.tolist() == [False] * 12 + [True] * 8
    assert sorted(set(clips.groups[12:])) == sorted(part.soundscapes_train)
    assert clips.targets[12:].sum(axis=1).tolist() == [1] * 8


def test_where_a_class_has_one_author_recordings_are_their_own_groups(
    folder: DataFolder, heard: EmbeddingCache
) -> None:
    assert len(set(clips_of(folder, heard).groups)) == 4
    table = folder.recordings.assign(
        author=folder.recordings["author"].where(folder.recordings["primary_label"] != "grekis", "author 0")
    )
    alone = DataFolder(**{**{name: getattr(folder, name) for name in folder.__dataclass_fields__}, "recordings": table})
    assert len(set(clips_of(alone, heard).groups)) == 12
