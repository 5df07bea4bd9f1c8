"""Crops, validation windows and loaders."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from sed_model.audio.cache import AudioCache, open_cache
from sed_model.audio.windows import context_of, cut, window_samples
from sed_model.clips.dataset import Batch, ClipKey, EpochLoaders, TrainingClips, n_batches
from sed_model.clips.samplers import batch_size_for
from sed_model.clips.training_data import TrainingData, open_training_data
from sed_model.clips.validation_windows import ValidationWindows
from sed_model.config.sed_config import Data, SedConfig
from sed_model.core.errors import ConfigError, DataError
from tests.sed_model.teachers import TimesTeacher

RATE = 1_000


@pytest.fixture
def cache(tmp_path: Path) -> AudioCache:
    """long.wav: 10 s, loudest from 6 s to 8 s, each sample its own; short.wav: 5 samples."""
    rng = np.random.default_rng(0)
    long = rng.integers(-3000, 3000, 10 * RATE).astype(np.int16)
    long[6 * RATE : 8 * RATE] *= 10
    for name, samples in (("long.wav", long), ("short.wav", np.array([100, 200, 300, 400, 500], np.int16))):
        soundfile.write(tmp_path / name, samples, RATE, subtype="PCM_16")
    return open_cache(tmp_path, ["long.wav", "short.wav"], RATE, Data(cache_dir=tmp_path / "cache"), progress=False)


def test_a_short_recording_is_repeated(cache: AudioCache) -> None:
    expected = np.array([1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2], np.float32) * 100 / 32768
    np.testing.assert_allclose(cut(cache, "short.wav", 0, 12), expected)


def test_a_cut_beyond_the_end_is_the_last_there_is(cache: AudioCache) -> None:
    np.testing.assert_array_equal(cut(cache, "long.wav", 9 * RATE + 1, RATE), cut(cache, "long.wav", 9 * RATE, RATE))


# --- training clips


@pytest.fixture(scope="module")
def long_data(
    tmp_path_factory: pytest.TempPathFactory, tiny_data: TrainingData, tiny_config: SedConfig
) -> TrainingData:
    """The tiny recordings with other audio: 12 s, a loud stretch from 5 s to 6.5 s, each sample its own number."""
    root, rng = tmp_path_factory.mktemp("long"), np.random.default_rng(1)
    rate = tiny_config.front_end.sample_rate_hz
    for path in tiny_data.folder.recordings["path"]:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        audio = rng.integers(-2000, 2000, 12 * rate).astype(np.int16)
        audio[5 * rate : round(6.5 * rate)] *= 10
        soundfile.write(root / path, audio, rate, subtype="PCM_16")
    settings = Data(cache_dir=root / "cache")
    paths = tiny_data.folder.recordings["path"].tolist()
    return replace(tiny_data, cache=open_cache(root, paths, rate, settings, progress=False))


def start_of(clip: torch.Tensor, path: str, data: TrainingData) -> int:
    """Where in its recording a clip was cut: every stretch of 20 samples is there once."""
    samples = data.cache.samples(path).astype(np.float32) / 32768
    windows = np.lib.stride_tricks.sliding_window_view(samples, 20)
    return int(np.flatnonzero((windows == clip[:20].numpy()).all(axis=1))[0])


def test_training_crops_lie_within_the_shift_of_the_loudest_window(
    long_data: TrainingData, tiny_config: SedConfig
) -> None:
    clips, rate = TrainingClips(long_data, tiny_config, "train_bce"), tiny_config.front_end.sample_rate_hz
    starts_s = [
        start_of(clips[ClipKey(1, position, row=0)].inputs, clips.paths[0], long_data) / rate for position in range(40)
    ]
    assert min(starts_s) >= 5 - 0.25
    assert max(starts_s) <= 5 + 0.25
    assert max(starts_s) - min(starts_s) > 0.25  # uniform over half a second: 40 draws span more than half of it


def test_without_a_shift_the_loudest_window_itself_is_cut(long_data: TrainingData, tiny_config: SedConfig) -> None:
    config = tiny_config.with_overrides({"data.crop_shift_s": 0})
    clips = TrainingClips(long_data, config, "train_bce")
    clip = clips[ClipKey(1, 3, row=2)]
    assert start_of(clip.inputs, clips.paths[2], long_data) == 5 * config.front_end.sample_rate_hz
    assert len(clip.inputs) == window_samples(config)


def test_a_clip_is_a_function_of_stage_epoch_and_position(long_data: TrainingData, tiny_config: SedConfig) -> None:
    clips = TrainingClips(long_data, tiny_config, "train_bce")
    key = ClipKey(2, 5, 1)
    first = clips[key].inputs
    assert torch.equal(clips[key].inputs, first)
    assert not torch.equal(clips[key._replace(epoch=3)].inputs, first)
    assert not torch.equal(clips[key._replace(position=6)].inputs, first)
    assert not torch.equal(TrainingClips(long_data, tiny_config, "finetune")[key].inputs, first)


def test_secondary_labels_follow_the_stage(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    def targets(stage: str) -> list[float]:
        clips = TrainingClips(tiny_data, tiny_config, stage)
        row = clips.primary_labels.index("abethr1")  # its secondary label is grekis
        return [round(float(target), 4) for target in clips[ClipKey(1, 0, row)].targets]

    assert targets("pretrain_ce") == [0, 1, 0]
    assert targets("train_bce") == [0, 1, 0.9]
    assert targets("finetune") == [0, 1, 0.95]


# --- what a teacher heard


def test_a_crop_knows_what_the_teacher_heard_in_it(long_data: TrainingData, tiny_config: SedConfig) -> None:
    """Around the mean of all recordings, which last 12 s."""
    data = replace(long_data, embeddings=TimesTeacher())
    clips = TrainingClips(data, tiny_config.with_overrides({"distil.weight": 0.5}), "train_bce")
    for position in range(5):
        batch = clips[ClipKey(1, position, row=0)]
        start_s = start_of(batch.inputs, clips.paths[0], data) / tiny_config.front_end.sample_rate_hz
        torch.testing.assert_close(batch.embedding, torch.tensor([start_s, start_s + 1.5 - 12]))


def test_what_the_teacher_does_not_know_is_a_row_of_zeros(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    config = tiny_config.with_overrides({"distil.weight": 0.5})
    path = TrainingClips(tiny_data, config, "train_bce").paths[4]
    clips = TrainingClips(replace(tiny_data, embeddings=TimesTeacher(unknown=(path,))), config, "train_bce")
    assert clips[ClipKey(1, 0, row=4)].embedding.tolist() == [0, 0]
    assert clips[ClipKey(1, 0, row=5)].embedding.all()


def test_embeddings_that_nobody_asks_for_are_not_looked_up(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    class Refusing(TimesTeacher):
        def mean(self, path: str, start_s: float, end_s: float) -> np.ndarray | None:
            raise AssertionError(path)

    clips = TrainingClips(replace(tiny_data, embeddings=Refusing()), tiny_config, "train_bce")
    assert clips[ClipKey(1, 0, row=4)].embedding.shape == (0,)


# --- validation windows


def test_validation_windows_are_the_same_every_time(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    first, second = (ValidationWindows(tiny_data, tiny_config) for _ in range(2))
    for row in (0, 7):
        assert torch.equal(first[row].inputs, second[row].inputs)


def test_soundscape_windows_have_their_labels_and_their_place(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    windows = ValidationWindows(tiny_data, tiny_config)
    table = tiny_data.folder.soundscape_labels
    assert table is not None
    np.testing.assert_array_equal(windows.targets, table[list(tiny_data.folder.classes)].to_numpy())
    first, middle, last = (windows[row] for row in (0, 2, 5))
    # Windows of 1.5 s: at the start 0 to 1.5 for 0 to 1; in the middle 1.75 to 3.25 for 2 to 3; at the end 4.5 to 6.
    torch.testing.assert_close(first.part, torch.tensor([0.0, 1 / 1.5]))
    torch.testing.assert_close(middle.part, torch.tensor([0.25 / 1.5, 1.25 / 1.5]))
    torch.testing.assert_close(last.part, torch.tensor([0.5 / 1.5, 1.0]))
    samples = tiny_data.cache.samples(windows.paths[2], round(1.75 * 8000), 12_000) / np.float32(32768)
    np.testing.assert_array_equal(middle.inputs.numpy(), samples)


def test_held_out_recordings_are_scored_on_their_loudest_window(
    tiny_data: TrainingData, tiny_config: SedConfig
) -> None:
    config = tiny_config.with_overrides({"data.validation": "folds", "data.n_folds": 4})
    folds = open_training_data(tiny_data.folder, config, progress=False)
    windows = ValidationWindows(folds, config)
    held_out = folds.folder.recordings.iloc[folds.split.validation]
    assert windows.paths == held_out["path"].tolist()
    for row, label in enumerate(held_out["primary_label"]):  # secondary labels do not count
        assert windows.targets[row].tolist() == [float(name == label) for name in folds.folder.classes]
        batch = windows[row]
        assert batch.part.tolist() == [0, 1]
        assert len(batch.inputs) == window_samples(config)
    assert not set(windows.paths) & set(TrainingClips(folds, config, "train_bce").paths)


def test_a_label_beyond_the_end_of_its_audio_is_refused(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    table = tiny_data.folder.soundscape_labels
    assert table is not None
    late = table.assign(start_s=table["start_s"] + 3, end_s=table["end_s"] + 3)
    data = replace(tiny_data, folder=replace(tiny_data.folder, soundscape_labels=late))
    where = r"windows lie beyond.*: 6, first in .*S0\.wav at 6 s \(decoded: 6 s\)"
    with pytest.raises(DataError, match=where + r"; repair the labels\.$"):  # 120 s are decoded: no use in raising that
        ValidationWindows(data, tiny_config)
    cut = tiny_config.with_overrides({"data.max_recording_s": 6.0})
    with pytest.raises(DataError, match=where + r"; repair the labels, or raise data\.max_recording_s=6 to 9\.$"):
        ValidationWindows(data, cut)


# --- the context of a target


@given(
    duration_s=st.floats(0.5, 700),
    window_s=st.floats(5, 60),
    target_share=st.floats(0.05, 1),
    place=st.floats(0, 1),
)
def test_the_target_lies_inside_a_window_that_stays_inside_the_recording(
    duration_s: float, window_s: float, target_share: float, place: float
) -> None:
    target_s = min(window_s * target_share, duration_s)
    start_s = place * (duration_s - target_s)
    context = context_of(start_s, start_s + target_s, duration_s, window_s)
    assert context.start_s >= 0
    assert context.start_s + window_s <= max(duration_s, window_s) + 1e-9
    assert 0 <= context.part[0] <= context.part[1] <= 1
    np.testing.assert_allclose(context.start_s + context.part[0] * window_s, start_s, atol=1e-6)
    np.testing.assert_allclose((context.part[1] - context.part[0]) * window_s, target_s, atol=1e-6)


def test_the_target_is_centred_where_the_recording_allows_it() -> None:
    assert context_of(20.0, 25.0, 60.0, 10.0).start_s == 17.5
    assert context_of(20.0, 25.0, 60.0, 10.0).part == (0.25, 0.75)
    assert context_of(0.0, 5.0, 60.0, 10.0).part == (0.0, 0.5)
    assert context_of(55.0, 60.0, 60.0, 10.0).part == (0.5, 1.0)


def test_a_recording_shorter_than_the_window_is_seen_from_its_start() -> None:
    assert context_of(0.0, 5.0, 3.0, 10.0).start_s == 0
    assert context_of(0.0, 5.0, 3.0, 10.0).part == (0.0, 0.5)


# --- loaders


def loader_config(config: SedConfig, batch_size: int, **overrides: object) -> SedConfig:
    sizes = {"optim.batch_size": batch_size, "optim.min_steps_per_epoch": 1}
    return config.with_overrides(sizes | {name.replace("__", "."): value for name, value in overrides.items()})


@pytest.mark.parametrize(
    ("n_clips", "batch_size", "expected"),
    [
        *((28_564, None, 64), (480, None, 48), (100, None, 10), (15, None, 2), (3, None, 2), (1, None, 1)),
        *((480, 64, 64), (480, 8, 8), (480, 1, 1), (64, 64, 64)),
    ],
)
def test_small_sets_get_smaller_batches_where_nobody_gives_their_size(
    n_clips: int, batch_size: int | None, expected: int
) -> None:
    config = SedConfig().with_overrides({"optim.batch_size": batch_size, "optim.min_steps_per_epoch": 10})
    assert batch_size_for(n_clips, config) == expected


def test_a_batch_of_more_than_all_recordings_is_refused() -> None:
    config = SedConfig().with_overrides({"optim.batch_size": 64})
    with pytest.raises(ConfigError, match=r"optim\.batch_size=64 is more than the 63 training recordings; lower it"):
        batch_size_for(63, config)


@pytest.mark.parametrize(("batch_size", "expected"), [(2, [2] * 6), (4, [4, 4, 4]), (6, [6, 6]), (None, [3] * 4)])
def test_each_batch_size_has_an_effect(
    tiny_data: TrainingData, tiny_config: SedConfig, batch_size: int | None, expected: list[int]
) -> None:
    """Of twelve recordings, though an epoch of four steps is asked for."""
    config = tiny_config.with_overrides({"optim.batch_size": batch_size, "optim.min_steps_per_epoch": 4})
    assert [len(batch) for batch in rows_of(EpochLoaders(tiny_data, config, "train_bce"), 1)] == expected


def rows_of(loaders: EpochLoaders, epoch: int) -> list[list[int]]:
    return [Batch(*batch).row.tolist() for batch in loaders.training(epoch)]


def test_an_epoch_draws_every_recording(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    loaders = EpochLoaders(tiny_data, loader_config(tiny_config, 5), "train_bce")
    rows = rows_of(loaders, 1)
    assert [len(batch) for batch in rows] == [5, 5, 2]
    assert loaders.steps_per_epoch == 3
    assert sorted(row for batch in rows for row in batch) == list(range(12))


def test_the_order_depends_on_the_epoch_alone(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    loaders = EpochLoaders(tiny_data, loader_config(tiny_config, 5), "train_bce")
    first = rows_of(loaders, 1)
    assert rows_of(loaders, 2) != first
    assert rows_of(loaders, 1) == first


def test_a_last_batch_of_one_clip_is_left_out(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    loaders = EpochLoaders(tiny_data, loader_config(tiny_config, 11), "train_bce")
    assert [len(batch) for batch in rows_of(loaders, 1)] == [11]
    assert loaders.steps_per_epoch == 1


def test_processes_share_the_batches_of_one(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    config = loader_config(tiny_config, 5)
    alone = rows_of(EpochLoaders(tiny_data, config, "train_bce"), 1)
    shares = [rows_of(EpochLoaders(tiny_data, config, "train_bce", rank, 2), 1) for rank in (0, 1)]
    # Of the last batch, of two clips, no process could take two.
    assert shares == [[batch[rank::2] for batch in alone[:2]] for rank in (0, 1)]


@pytest.mark.parametrize(
    ("n_clips", "batch_size", "world_size", "expected"),
    [
        (12, 4, 1, 3), (13, 4, 1, 3), (14, 4, 1, 4), (1, 4, 1, 1), (12, 4, 2, 3), (15, 4, 2, 3), (22, 6, 2, 4),
        (21, 6, 2, 3), (11, 12, 3, 1),
    ],
)  # fmt: skip
def test_a_last_batch_needs_two_clips_a_process(n_clips: int, batch_size: int, world_size: int, expected: int) -> None:
    assert n_batches(n_clips, batch_size, world_size) == expected


@pytest.mark.parametrize(
    ("n_clips", "batch_size", "message"),
    [
        (100, 5, r"optim.batch_size=5 is under 6, two clips for each of 3 workers; raise it, or use 2 workers"),
        (4, 64, "training clips=4 is under 6.*use 2 workers"),
    ],
)
def test_too_few_clips_for_the_workers_are_refused(n_clips: int, batch_size: int, message: str) -> None:
    config = SedConfig().with_overrides({"optim.batch_size": batch_size})
    with pytest.raises(ConfigError, match=message):
        batch_size_for(n_clips, config, world_size=3)


def test_processes_give_a_clip_the_crop_that_one_gives_it(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    def crops(loaders: EpochLoaders) -> dict[int, torch.Tensor]:
        batches = [Batch(*batch) for batch in loaders.training(1)]
        return {row: clip for batch in batches for row, clip in zip(batch.row.tolist(), batch.inputs, strict=True)}

    config = loader_config(tiny_config, 4)
    alone = crops(EpochLoaders(tiny_data, config, "train_bce"))
    for rank in (0, 1):
        for row, clip in crops(EpochLoaders(tiny_data, config, "train_bce", rank, 2)).items():
            assert torch.equal(clip, alone[row])


def test_loader_processes_give_what_the_trial_itself_does(tiny_data: TrainingData, tiny_config: SedConfig) -> None:
    here = EpochLoaders(tiny_data, loader_config(tiny_config, 6), "train_bce").training(1)
    there = EpochLoaders(tiny_data, loader_config(tiny_config, 6, data__num_workers=1), "train_bce").training(1)
    for ours, theirs in zip(here, there, strict=True):
        for tensor, other in zip(ours, theirs, strict=True):
            assert torch.equal(tensor, other)
