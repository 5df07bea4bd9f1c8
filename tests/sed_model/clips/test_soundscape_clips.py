"""Labelled soundscapes that train. The tiny data has two of six windows each: with two parts one of them trains."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sed_model.clips.dataset import ClipKey, TrainingClips
from sed_model.clips.soundscape_clips import SoundscapeMixer
from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import DataError
from tests.sed_model.teachers import TimesTeacher


@pytest.fixture
def always(tiny_config: SedConfig) -> SedConfig:
    """Every clip is a labelled window, as long as a target."""
    changes = {"data.soundscape_folds": 2, "data.soundscape_prob": 1.0, "data.window_s": 1.0}
    return tiny_config.with_overrides({**changes, "augment.wave.prob": 0.0})


def opened(data: TrainingData, config: SedConfig) -> TrainingData:
    return open_training_data(data.folder, config, progress=False)


def test_one_part_validates_and_the_other_trains(tiny_data: TrainingData, always: SedConfig) -> None:
    by_part = [opened(tiny_data, always.with_overrides({"data.fold": fold})) for fold in (0, 1)]
    validating = [set(ValidationWindows(data, always).paths) for data in by_part]

    assert [data.split.soundscapes_train for data in by_part] == [tuple(validating[1]), tuple(validating[0])]
    assert validating[0] | validating[1] == {"train_soundscapes/S0.wav", "train_soundscapes/S1.wav"}


def test_a_clip_is_a_window_of_a_training_part_with_its_labels(tiny_data: TrainingData, always: SedConfig) -> None:
    data = opened(tiny_data, always)
    clips = TrainingClips(data, always, "train_bce")
    (path,) = data.split.soundscapes_train
    windows = data.cache.samples(path).reshape(6, -1).astype(np.float32) / 32768
    table = data.folder.soundscape_labels
    assert table is not None
    labels = table.loc[table["path"] == path, list(data.folder.classes)].to_numpy()
    seen = set()
    for position in range(40):
        batch = clips[ClipKey(0, position, position % len(clips))]
        (window,) = np.flatnonzero((windows == batch.inputs.numpy()).all(axis=1))
        np.testing.assert_array_equal(batch.targets.numpy(), labels[window])
        seen.add(int(window))
    assert seen == set(range(6))


def test_in_a_labelled_window_the_teacher_heard_all_that_is_heard(tiny_data: TrainingData, always: SedConfig) -> None:
    """1.5 s of 6 s around the target, around the mean of the recordings of 2 s."""
    config = always.with_overrides({"data.window_s": 1.5, "distil.weight": 0.5})
    clips = TrainingClips(replace(opened(tiny_data, config), embeddings=TimesTeacher()), config, "train_bce")
    starts_s = set()
    for position in range(40):
        start_s, end_s = (clips[ClipKey(0, position, 0)].embedding + torch.tensor([0.0, 2.0])).tolist()
        assert end_s - start_s == 1.5
        starts_s.add(start_s)
    assert starts_s == {0.0, 0.75, 1.75, 2.75, 3.75, 4.5}


def test_so_many_clips_are_windows_as_the_configuration_says(tiny_data: TrainingData, always: SedConfig) -> None:
    def inputs(prob: float) -> np.ndarray:
        config = always.with_overrides({"data.soundscape_prob": prob})
        clips = TrainingClips(opened(tiny_data, config), config, "train_bce")
        return np.stack([clips[ClipKey(0, position, position % len(clips))].inputs.numpy() for position in range(400)])

    replaced = (inputs(0.25) != inputs(0.0)).any(axis=1).mean()
    assert 0.2 < replaced < 0.3  # of 400 draws


def test_cross_entropy_hears_recordings_alone(tiny_data: TrainingData, always: SedConfig) -> None:
    """A window of none or of two classes has no place in a softmax."""
    targets = TrainingClips(opened(tiny_data, always), always, "pretrain_ce")
    assert all(targets[ClipKey(0, row, row)].targets.sum() == 1 for row in range(len(targets)))


def test_a_window_beyond_the_end_of_its_audio_is_refused(tiny_data: TrainingData, always: SedConfig) -> None:
    data = opened(tiny_data, always)
    table = data.folder.soundscape_labels
    assert table is not None
    late = table.assign(start_s=table["start_s"] + 6, end_s=table["end_s"] + 6)
    with pytest.raises(DataError, match=r"is labelled at 6 s, beyond its end \(6 s are decoded\); repair the labels"):
        SoundscapeMixer(late, data, always)


def test_without_parts_no_soundscape_trains(tiny_data: TrainingData, always: SedConfig) -> None:
    config = always.with_overrides({"data.soundscape_folds": 0})
    data = opened(tiny_data, config)
    assert data.split.soundscapes_train == ()
    assert len(data.split.soundscapes_validation) == 2


# --- events with onset and offset


def with_events(data: TrainingData, *events: tuple[float, float, str]) -> TrainingData:
    """Events (start, end, class) in both soundscapes."""
    rows = [(f"train_soundscapes/S{number}.wav", *event) for number in range(2) for event in events]
    table = pd.DataFrame(rows, columns=["path", "start_s", "end_s", "primary_label"])
    return replace(data, folder=replace(data.folder, soundscape_events=table))


def events_of(data: TrainingData, config: SedConfig, n_clips: int = 40) -> set[tuple[tuple[float, ...], ...]]:
    """The rows of events of some clips, without padding."""
    clips = TrainingClips(data, config, "train_bce")
    tables = [clips[ClipKey(0, position, 0)].events for position in range(n_clips)]
    assert len({table.shape for table in tables}) == 1
    return {tuple(tuple(round(x, 4) for x in row) for row in table.tolist() if row[0] >= 0) for table in tables}


def test_a_clip_has_the_events_of_its_window_as_shares(tiny_data: TrainingData, always: SedConfig) -> None:
    """Clips of 1.5 s around windows of 1 s. The event from 1.75 s to 2.5 s is cut at 2 s, where one window ends.

    Clip of window 0: from 0 s; 1: from 0.75 s; 2: from 1.75 s. A point at 0.3 s.
    """
    config = always.with_overrides({"data.window_s": 1.5, "loss.strong_weight": 0.5})
    data = with_events(opened(tiny_data, config), (0.3, 0.3, "1139490"), (1.75, 2.5, "grekis"), (1.5, 1.6, "abethr1"))
    second = ((1.0, 0.5, 0.5667), (2.0, 0.6667, 0.8333))
    first, third = ((0.0, 0.2, 0.2),), ((2.0, 0.1667, 0.5),)
    found = events_of(data, config)
    assert {tuple(sorted(rows)) for rows in found} == {(), first, second, third}


def test_without_a_weight_batches_are_as_without_events(tiny_data: TrainingData, always: SedConfig) -> None:
    """Bit by bit; and with one all but the events."""
    event = (0.25, 0.5, "grekis")
    plain, timed = opened(tiny_data, always), with_events(opened(tiny_data, always), event)
    weighted = always.with_overrides({"loss.strong_weight": 0.5})
    sets = [TrainingClips(*one, "train_bce") for one in ((plain, always), (timed, always), (timed, weighted))]
    for position in range(12):
        without, unused, used = (clips[ClipKey(0, position, position)] for clips in sets)
        assert all(torch.equal(*pair) for pair in zip(without, unused, strict=True))
        assert all(torch.equal(*pair) for pair in zip(without[:-1], used[:-1], strict=True))
        assert (without.events.shape, used.events.shape) == ((0, 3), (1, 3))


def test_a_soundscape_that_is_repeated_to_fill_a_clip_has_no_events(tiny_data: TrainingData, always: SedConfig) -> None:
    """Of 6 s, for a window of 7 s: what is listed at 0.3 s sounds again at 6.3 s."""
    config = always.with_overrides({"data.window_s": 7.0, "loss.strong_weight": 0.5})
    assert events_of(with_events(opened(tiny_data, config), (0.25, 0.5, "grekis")), config) == {()}


def test_recordings_and_cross_entropy_have_no_events(tiny_data: TrainingData, always: SedConfig) -> None:
    config = always.with_overrides({"loss.strong_weight": 0.5})
    data = with_events(opened(tiny_data, config), (0.25, 0.5, "grekis"))
    assert events_of(data, config.with_overrides({"data.soundscape_prob": 0.0})) == {()}
    assert TrainingClips(data, config, "pretrain_ce")[ClipKey(0, 0, 0)].events.shape == (0, 3)


@pytest.mark.parametrize("backend", ["audiomentations", "spectral"])
def test_events_are_stretched_with_their_clip(tiny_data: TrainingData, always: SedConfig, backend: str) -> None:
    """Second 2 is the part from 1/6 on of its clip of 1.5 s, the event that from 1/3 to 1/2; then all play faster."""
    faster = {"augment.wave.prob": 1.0, "augment.wave.stretch_prob": 1.0, "augment.wave.stretch_min_rate": 1.0}
    changes = faster | {
        "data.window_s": 1.5,
        "loss.strong_weight": 0.5,
        "augment.backend": backend,
        "augment.mix.prob": 0.0,
    }
    config = always.with_overrides(changes)
    clips = TrainingClips(with_events(opened(tiny_data, config), (2.25, 2.5, "grekis")), config, "train_bce")
    batches = [clips[ClipKey(0, position, 0)] for position in range(30)]
    timed = [batch for batch in batches if batch.events[0, 0] >= 0]
    starts = [batch.part[0].item() for batch in timed]
    assert len(set(starts)) > 2
    assert 1 / 6 / 1.25 - 1e-4 < min(starts) < max(starts) < 1 / 6
    for batch, start in zip(timed, starts, strict=True):
        assert batch.events[0].tolist() == pytest.approx([2, 2 * start, 3 * start], abs=1e-5)
