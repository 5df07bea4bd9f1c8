"""The clips of a student, from recordings, labelled windows and pseudo-labelled ones together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sed_model.clips.dataset import Batch, ClipKey, EpochLoaders, TrainingClips
from sed_model.clips.pseudo_clips import LABELLED, PSEUDO_LABELLED, RECORDED, PseudoLabels, PseudoSource
from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.config.sed_config import SedConfig

CLASS = 1
"""All windows are of it, with 0.8."""


def student(data: TrainingData, config: SedConfig) -> TrainingData:
    """Learns from pseudo-labels of a second of each recording, as if that were a soundscape."""
    paths = tuple(data.folder.recordings["path"])
    n, classes = len(paths), data.folder.classes
    said = np.zeros((n, len(classes)), np.float32)
    said[:, CLASS] = 0.8
    start_s = np.zeros(n)
    labels = PseudoLabels(
        classes, paths, start_s, start_s + 1, (classes[CLASS],) * n, said, np.ones(n, np.float32), ("t",), "f"
    )
    opened = open_training_data(data.folder, config, progress=False)
    return replace(opened, pseudo=PseudoSource(labels, opened.cache))


def changed(config: SedConfig, **changes: Any) -> SedConfig:
    always = {"data.soundscape_folds": 2, "data.window_s": 1.0, "augment.wave.prob": 0.0, "pseudo.prob": 1.0}
    return config.with_overrides(always | {name.replace("__", "."): value for name, value in changes.items()})


@pytest.mark.parametrize("replace_share", [0.0, 1.0])
def test_a_labelled_window_is_in_no_clip_with_a_pseudo_labelled_one(
    tiny_data: TrainingData, tiny_config: SedConfig, replace_share: float
) -> None:
    """A clip of a labelled window is what it is without pseudo-labels; every other one has one of these."""
    config = changed(tiny_config, data__soundscape_prob=0.5, pseudo__replace_share=replace_share)
    data = student(tiny_data, config)
    clips = TrainingClips(data, config, "pseudo")
    without = TrainingClips(replace(data, pseudo=None), config, "pseudo")
    origins = []
    for position in range(60):
        key = ClipKey(0, position, position % len(clips))
        clip, plain = clips[key], without[key]
        origins.append(int(clip.origin))
        if clip.origin == LABELLED:
            assert plain.origin == LABELLED
            np.testing.assert_array_equal(clip.inputs, plain.inputs)
            np.testing.assert_array_equal(clip.targets, plain.targets)
        else:
            assert (clip.origin, plain.origin) == (PSEUDO_LABELLED, RECORDED)
            assert clip.targets[CLASS] >= 0.8
    assert 15 < origins.count(LABELLED) < 45


@pytest.mark.parametrize(("cap", "expected"), [(0.0, 0.8 * 0.6), (0.5, 0.5 * 0.7 / 3)])
def test_an_epoch_brings_no_more_pseudo_labels_than_the_cap(
    tiny_data: TrainingData, tiny_config: SedConfig, cap: float, expected: float
) -> None:
    """A third of the recordings is of the class; 0.3 of the clips are replaced, 0.3 have a window beside them.

    Uncapped its windows bring 0.8 to 0.6 of the clips; the cap is half of what the recordings that stay bring. Of
    secondary labels nothing is known here.
    """
    settings = {"pseudo__prob": 0.6, "pseudo__replace_share": 0.5, "pseudo__mass_cap": cap}
    config = changed(tiny_config, stages__pseudo__secondary_weight=None, data__soundscape_prob=0.0, **settings)
    loaders = EpochLoaders(student(tiny_data, config), config, "pseudo")
    n_clips = n_with = 0
    for epoch in range(60):
        for values in loaders.training(epoch):
            batch = Batch(*values)
            n_clips += len(batch.row)
            n_with += int((batch.origin == PSEUDO_LABELLED).sum())
    assert 0.8 * n_with / n_clips == pytest.approx(expected, rel=0.2)
    assert loaders.clips.note == (
        "pseudo.mass_cap=0.5: 1 of 3 classes would be above it; 24% of the windows that are drawn are taken"
        if cap
        else ""
    )


def test_a_recording_knows_its_class(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    """All windows are of one class: its recordings are replaced by them, and so are the others, for want of theirs."""
    config = changed(tiny_config, data__soundscape_prob=0.0, pseudo__replace_share=1.0, pseudo__same_class_share=1.0)
    data = student(tiny_data, config)
    assert data.pseudo is not None
    labels, recordings = data.pseudo.labels, data.folder.recordings
    said = np.zeros_like(labels.probabilities)
    own = replace(labels, primary_labels=tuple(recordings["primary_label"]), probabilities=said)
    said[np.arange(12), [labels.classes.index(name) for name in own.primary_labels]] = 0.5
    clips = TrainingClips(replace(data, pseudo=replace(data.pseudo, labels=own)), config, "pseudo")
    for position in range(24):
        clip = clips[ClipKey(0, position, position % len(clips))]
        assert clip.targets.argmax() == labels.classes.index(clips.primary_labels[position % len(clips)])
