"""Pseudo-labelled windows as training clips: reading their table, and mixing them with real ones."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import soundfile
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sed_model.audio.cache import open_cache
from sed_model.clips.pseudo_clips import (
    LABELLED,
    PSEUDO_LABELLED,
    Clip,
    PseudoMixer,
    PseudoSource,
    added,
    read_pseudo_labels,
)
from sed_model.clips.window_draws import Focal
from sed_model.config.sed_config import SedConfig
from sed_model.core.errors import DataError
from sed_model.data.targets import TargetBuilder
from sed_model.labels.rules import to_arrow
from sed_model.run_folder.split_record import SplitRecord
from tests.sed_model.teachers import TimesTeacher

RATE_HZ = 8_000
CLASSES = ("a", "b", "c")
NEVER = {"pseudo.prob": 0}
REPLACED = {"pseudo.prob": 1, "pseudo.replace_share": 1}
ADDED = {"pseudo.prob": 1, "pseudo.replace_share": 0, "pseudo.join_share": 0}
JOINED = {"pseudo.prob": 1, "pseudo.replace_share": 0, "pseudo.join_share": 1}


def write_labels(folder: Path, names: list[str], weights: list[float]) -> Path:
    """An ensemble's folder: window n of a file is from second n to n + 1 and holds class b with 0.8, c with 0.3."""
    table = pd.DataFrame(
        {
            "filename": names, "start_s": np.arange(len(names)) % 2, "end_s": np.arange(len(names)) % 2 + 1,
            "primary_label": "b", "confidence": 0.8, "labels": [["b"]] * len(names), "from_validation": False,
            "probabilities": [np.array([0, 0.8, 0.3], np.float32)] * len(names), "disagreement": 0.1, "weight": weights,
        }
    )  # fmt: skip
    (folder / "pseudo_labels").mkdir(parents=True)
    pq.write_table(to_arrow(table, CLASSES, 2), folder / "pseudo_labels" / "part-00000.parquet")
    (folder / "members.json").write_text(json.dumps({"members": [{"weights_sha256": "m1"}, {"weights_sha256": "m2"}]}))
    return folder


def tiny_config(**changes: Any) -> SedConfig:
    front_end = {"front_end.sample_rate_hz": RATE_HZ, "front_end.f_max_hz": 4000, "augment.wave.prob": 0}
    return SedConfig().with_overrides(front_end | NEVER | changes)


def source_of(
    tmp_path: Path, config: SedConfig, levels: Sequence[float] = (0.25, 0.5), weights: Sequence[float] = (0.5, 0.0)
) -> PseudoSource:
    """One soundscape with a second at each level (of full scale); its first two are pseudo-labelled in turn."""
    (tmp_path / "train_soundscapes").mkdir()
    wave = np.repeat(np.array(levels), RATE_HZ)
    soundfile.write(tmp_path / "train_soundscapes" / "s.wav", wave, RATE_HZ, subtype="PCM_16")
    labels = read_pseudo_labels(write_labels(tmp_path / "ensemble", ["s.wav"] * len(weights), list(weights)))
    return PseudoSource(labels, open_cache(tmp_path, labels.paths, RATE_HZ, config.data, progress=False))


def mixer_of(tmp_path: Path, weights: Sequence[float] = (0.5, 0.0), **changes: Any) -> PseudoMixer:
    config = tiny_config(**changes)
    return PseudoMixer(source_of(tmp_path, config, weights=weights), CLASSES, config)


def real_clip(level: float = 0.1, n_samples: int = 2 * RATE_HZ) -> Clip:
    config = SedConfig()
    truth = TargetBuilder(CLASSES).for_recording("a", (), 0, config.stages["train_bce"], config.data)
    return Clip(np.full(n_samples, level, np.float32), truth)


def test_the_table_says_what_was_heard_where_and_by_whom(tmp_path: Path) -> None:
    labels = read_pseudo_labels(write_labels(tmp_path, ["s.wav", "t.ogg"], [0.5, 0.9]))

    assert labels.paths == ("train_soundscapes/s.wav", "train_soundscapes/t.ogg")
    assert labels.start_s.tolist() == [0, 1]
    assert labels.probabilities[0].tolist() == pytest.approx([0, 0.8, 0.3])
    assert labels.teachers == ("m1", "m2")


def test_the_labels_know_what_validated_who_made_them(tmp_path: Path) -> None:
    record = {"kind": "folds", "split_seed": 42, "fold": 1, "n_folds": 5, "digest": "d"}
    members = [
        {"weights_sha256": "m1", "validation": record},
        {"weights_sha256": "m2", "validation": {"kind": "folds"}},
    ]
    write_labels(tmp_path, ["s.wav"], [0.5])
    (tmp_path / "members.json").write_text(json.dumps({"members": members}))

    assert read_pseudo_labels(tmp_path).splits == (SplitRecord.model_validate(record), None)


def test_a_folder_without_labels_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"trainables\.ensemble"):
        read_pseudo_labels(tmp_path)


def test_windows_beyond_the_decoded_audio_are_not_audible(tmp_path: Path, cache_dir: Path) -> None:
    assert source_of(tmp_path, tiny_config(), levels=(0.25,)).audible().tolist() == [0]


def test_without_chances_the_real_clip_stays(tmp_path: Path, cache_dir: Path) -> None:
    clip = real_clip()

    assert mixer_of(tmp_path)(clip, np.random.default_rng(0)) is clip


def test_a_replaced_clip_is_the_window_in_its_soundscape_with_its_soft_targets(tmp_path: Path, cache_dir: Path) -> None:
    """The first window weighs nothing, so that of the second second is drawn: with half a second on either side."""
    config = tiny_config(**REPLACED)
    source = source_of(tmp_path, config, levels=(0.1, 0.2, 0.3, 0.4), weights=(0.0, 0.5))
    clip = PseudoMixer(source, CLASSES, config)(real_clip(), np.random.default_rng(0))

    np.testing.assert_allclose(clip.waveform, np.repeat([0.1, 0.2, 0.2, 0.3], RATE_HZ // 2), atol=1e-4)
    assert clip.part == pytest.approx((0.25, 0.75))
    assert clip.truth.targets.tolist() == pytest.approx([0, 0.8, 0.3])
    assert float(clip.truth.weights) == pytest.approx(0.5)


def test_confidence_weighs_the_loss_by_its_power(tmp_path: Path, cache_dir: Path) -> None:
    mixer = mixer_of(tmp_path, **REPLACED, **{"pseudo.loss_power": 2.0})

    assert float(mixer(real_clip(), np.random.default_rng(0)).truth.weights) == pytest.approx(0.25)


def test_a_window_at_the_end_of_a_short_soundscape_has_its_place_in_it(tmp_path: Path, cache_dir: Path) -> None:
    """Two seconds in all, which fill three as `cut` does; the label is for the second one."""
    config = tiny_config(**REPLACED)
    source = source_of(tmp_path, config, weights=(0.0, 0.5))
    clip = PseudoMixer(source, CLASSES, config)(real_clip(n_samples=3 * RATE_HZ), np.random.default_rng(0))

    np.testing.assert_allclose(clip.waveform, np.repeat([0.25, 0.5, 0.25], RATE_HZ), atol=1e-4)
    assert clip.part == pytest.approx((1 / 3, 2 / 3))


def test_an_added_window_joins_its_classes_where_its_label_is(tmp_path: Path, cache_dir: Path) -> None:
    """There both levels are brought to 0.25 before they are shared out, so the sum has it too."""
    clip = mixer_of(tmp_path, **ADDED)(real_clip(0.1), np.random.default_rng(0))

    assert clip.part == (0, 0.5)
    np.testing.assert_allclose(clip.waveform[:RATE_HZ], 0.25, atol=1e-4)
    assert (clip.waveform[RATE_HZ:] > 0.3).all()  # the louder second that follows in the soundscape
    assert clip.truth.targets.tolist() == pytest.approx([1, 0.8, 0.3])
    assert float(clip.truth.weights) == pytest.approx((1 + 0.5) / 2)


@pytest.mark.parametrize("seed", range(5))
def test_a_joined_window_follows_the_real_clip_whole(tmp_path: Path, cache_dir: Path, seed: int) -> None:
    """Then the soundscape goes on, for which there is no label."""
    clip = mixer_of(tmp_path, **JOINED)(real_clip(0.1), np.random.default_rng(seed))
    n_real = int((np.abs(clip.waveform - 0.1) < 1e-4).sum())

    assert 0.3 * len(clip.waveform) <= n_real <= 0.5 * len(clip.waveform)
    np.testing.assert_allclose(clip.waveform[n_real : n_real + RATE_HZ], 0.25, atol=1e-4)
    np.testing.assert_allclose(clip.waveform[n_real + RATE_HZ :], 0.5, atol=1e-4)
    assert clip.part == (0, pytest.approx((n_real + RATE_HZ) / (2 * RATE_HZ)))
    assert clip.truth.targets.tolist() == pytest.approx([1, 0.8, 0.3])


def test_a_joined_window_as_long_as_the_clip_is_cut(tmp_path: Path, cache_dir: Path) -> None:
    clip = mixer_of(tmp_path, **JOINED)(real_clip(0.1, RATE_HZ), np.random.default_rng(0))
    n_real = int((np.abs(clip.waveform - 0.1) < 1e-4).sum())

    assert n_real == round(0.3 * RATE_HZ)
    np.testing.assert_allclose(clip.waveform[n_real:], 0.25, atol=1e-4)
    assert clip.part == (0, 1)


def test_what_is_joined_at_the_end_of_a_soundscape_is_repeated(tmp_path: Path, cache_dir: Path) -> None:
    config = tiny_config(**JOINED)
    source = source_of(tmp_path, config, weights=(0.0, 0.5))
    clip = PseudoMixer(source, CLASSES, config)(real_clip(0.1, 4 * RATE_HZ), np.random.default_rng(0))
    n_real = int((np.abs(clip.waveform - 0.1) < 1e-4).sum())

    np.testing.assert_allclose(clip.waveform[n_real:], 0.5, atol=1e-4)
    assert clip.part == (0, pytest.approx((n_real + RATE_HZ) / (4 * RATE_HZ)))


# --- what a teacher heard


HEARD = np.array([10, 20], np.float32)
"""In the real clip."""


def taught(
    tmp_path: Path, kind: dict[str, Any], real: Clip, levels: Sequence[float] = (0.1, 0.2, 0.3, 0.4), **teacher: Any
) -> Clip:
    """A mix with the second of the soundscape's seconds; the teacher heard the times in it."""
    config = tiny_config(**kind)
    source = source_of(tmp_path, config, levels, weights=(0.0, 0.5))
    return PseudoMixer(source, CLASSES, config, TimesTeacher(**teacher))(real, np.random.default_rng(0))


def test_in_a_window_the_teacher_heard_all_that_is_heard_of_its_soundscape(tmp_path: Path, cache_dir: Path) -> None:
    clip = taught(tmp_path, REPLACED, replace(real_clip(), embedding=HEARD))
    assert clip.embedding is not None
    assert clip.embedding.tolist() == [0.5, 2.5]


def test_in_an_added_window_the_teacher_heard_both_by_their_shares(tmp_path: Path, cache_dir: Path) -> None:
    """Whatever their levels were before: both are brought to one."""
    clip = taught(tmp_path, ADDED, replace(real_clip(0.0), embedding=HEARD), levels=(0.25, 0.25, 0.25))
    share = 1 - float(clip.waveform[0]) / 0.25  # of the real clip, which is silent
    assert 0.3 <= share <= 0.7
    assert clip.embedding is not None
    expected = share * HEARD + (1 - share) * np.array([0.5, 2.5])
    np.testing.assert_allclose(clip.embedding, expected, atol=1e-2)


@pytest.mark.parametrize("n_seconds", [2, 4])
def test_in_a_joined_window_the_teacher_heard_both_by_their_times(
    tmp_path: Path, cache_dir: Path, n_seconds: int
) -> None:
    """From second 1 on, up to the end of the soundscape of 3 s where there is room for more."""
    real = replace(real_clip(0.05, n_seconds * RATE_HZ), embedding=HEARD)
    clip = taught(tmp_path, JOINED, real, levels=(0.1, 0.2, 0.3))
    share = float((np.abs(clip.waveform - 0.05) < 1e-4).mean())
    window = np.array([1, min(3.0, 1 + (1 - share) * n_seconds)])
    assert clip.embedding is not None
    np.testing.assert_allclose(clip.embedding, share * HEARD + (1 - share) * window, rtol=1e-5)


@pytest.mark.parametrize("kind", [ADDED, JOINED], ids=["added", "joined"])
def test_of_a_mix_with_something_unknown_nothing_is_known(
    tmp_path: Path, cache_dir: Path, kind: dict[str, Any]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    assert taught(tmp_path / "one", kind, real_clip()).embedding is None
    unknown = taught(
        tmp_path / "other", kind, replace(real_clip(), embedding=HEARD), unknown=("train_soundscapes/s.wav",)
    )
    assert unknown.embedding is None


def test_windows_are_drawn_by_their_weights(tmp_path: Path, cache_dir: Path) -> None:
    """One number tells how to mix; then the window is drawn as numpy draws with p."""
    weights = (0.4, 0.0, 0.8, 0.2)
    mixer = mixer_of(tmp_path, weights, **REPLACED)
    for seed in range(20):
        ours, numpys = np.random.default_rng(seed), np.random.default_rng(seed)
        numpys.random()
        expected = weights[numpys.choice(4, p=np.array(weights) / 1.4)]
        assert float(mixer(real_clip(), ours).truth.weights) == pytest.approx(expected)


def of_classes(source: PseudoSource, labels: str, probabilities: list[list[float]]) -> PseudoSource:
    """The windows with other best classes and targets."""
    said = replace(source.labels, primary_labels=tuple(labels), probabilities=np.array(probabilities, np.float32))
    return replace(source, labels=said)


def test_a_recording_is_replaced_by_windows_of_its_class_so_often(tmp_path: Path, cache_dir: Path) -> None:
    """Of 1,000 clips of class a half are asked for theirs, and a third of the others meet it: 2/3; c has no window."""
    config = tiny_config(**REPLACED, **{"pseudo.same_class_share": 0.5, "data.sampler": "uniform"})
    source = source_of(tmp_path, config, weights=(1.0, 1.0, 1.0))
    mixer = PseudoMixer(of_classes(source, "abb", [[1, 0, 0], [0, 1, 0], [0, 1, 0]]), CLASSES, config)

    def share_of(label: str) -> float:
        clip = replace(real_clip(), primary_label=label)
        drawn = [mixer(clip, np.random.default_rng(seed)).truth.targets for seed in range(1000)]
        return float(np.mean(drawn, axis=0)[0])

    assert share_of("a") == pytest.approx(2 / 3, abs=0.05)
    assert share_of("c") == pytest.approx(1 / 3, abs=0.05)


def test_added_and_joined_windows_are_of_any_class(tmp_path: Path, cache_dir: Path) -> None:
    config = tiny_config(**ADDED, **{"pseudo.same_class_share": 1.0})
    source = of_classes(source_of(tmp_path, config, weights=(0.1, 1.0)), "ab", [[1, 0, 0], [0, 1, 0]])
    clip = replace(real_clip(), primary_label="a")
    drawn = [PseudoMixer(source, CLASSES, config)(clip, np.random.default_rng(seed)) for seed in range(20)]
    assert any(one.truth.targets[1] for one in drawn)


@pytest.mark.parametrize("kind", [REPLACED, ADDED, JOINED], ids=["replaced", "added", "joined"])
def test_a_labelled_window_meets_no_pseudo_labelled_one(tmp_path: Path, cache_dir: Path, kind: dict[str, Any]) -> None:
    mixer, labelled = mixer_of(tmp_path, **kind), replace(real_clip(), origin=LABELLED)
    assert mixer(labelled, np.random.default_rng(0)) is labelled
    assert mixer(real_clip(), np.random.default_rng(0)).origin == PSEUDO_LABELLED


def test_pseudo_labels_bring_no_more_of_a_class_than_their_cap(tmp_path: Path, cache_dir: Path) -> None:
    """Half of all clips would be windows, of which a quarter is a. Recordings are a in 0.2, b in 0.8 of the clips.

    Half of them are not replaced: a has 0.1, b 0.4, of which half are the caps. So the 0.125 of a become 0.05, the
    0.375 of b 0.2. Of c there is no recording: its cap is the mean, 0.125, and the 0.375 x 0.5 of it are over that.
    """
    config = tiny_config(**REPLACED | {"pseudo.prob": 0.5, "pseudo.mass_cap": 0.5, "data.sampler": "uniform"})
    source = of_classes(source_of(tmp_path, config, weights=(0.25, 0.75)), "ab", [[1, 0, 0], [0, 1, 0.5]])
    focal = Focal(np.array([0.2, 0.8, 0.0]), {"a": 0.2, "b": 0.8})
    mixer = PseudoMixer(source, CLASSES, config, focal=focal)
    rng = np.random.default_rng(0)
    drawn = [mixer(real_clip(), rng) for _ in range(4000)]
    brought = np.sum([one.truth.targets for one in drawn if one.origin == PSEUDO_LABELLED], axis=0) / len(drawn)
    assert brought[0] == pytest.approx(0.05, abs=0.01)
    assert brought[1] == pytest.approx(0.2, abs=0.02)
    assert brought[2] == pytest.approx(0.1, abs=0.01)
    assert mixer.note == (
        "pseudo.mass_cap=0.5: 3 of 3 classes would be above it; 50% of the windows that are drawn are taken"
    )


def test_reading_takes_little_more_memory_than_the_table(tmp_path: Path) -> None:
    """Each trial of a student reads it: 223,698 windows of 206 classes were 4 GB as Python's floats."""
    n_windows, classes = 500, tuple(f"class{index:03d}" for index in range(206))
    table = pd.DataFrame(
        {
            "filename": "s.wav", "start_s": np.arange(n_windows), "end_s": np.arange(n_windows) + 1,
            "primary_label": classes[0], "confidence": 0.8, "labels": [[]] * n_windows, "from_validation": False,
            "probabilities": [np.full(206, 0.5, np.float32)] * n_windows, "disagreement": 0.1, "weight": 0.5,
        }
    )  # fmt: skip
    folder = write_labels(tmp_path / "ensemble", [], [])
    pq.write_table(to_arrow(table, classes, 2), folder / "pseudo_labels" / "part-00000.parquet")
    tracemalloc.start()
    labels = read_pseudo_labels(folder)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert labels.probabilities.shape == (n_windows, 206)
    assert peak_bytes < 2 * labels.probabilities.nbytes


def test_the_same_draws_give_the_same_clip(tmp_path: Path, cache_dir: Path) -> None:
    mixer = mixer_of(tmp_path, **{"pseudo.prob": 0.9, "pseudo.replace_share": 1 / 3, "pseudo.join_share": 0.5})
    first, second = (mixer(real_clip(), np.random.default_rng(5)) for _ in range(2))

    np.testing.assert_array_equal(first.waveform, second.waveform)


def test_the_three_ways_share_the_chance() -> None:
    pseudo = (
        SedConfig().with_overrides({"pseudo.prob": 0.8, "pseudo.replace_share": 0.5, "pseudo.join_share": 0.25}).pseudo
    )
    assert (pseudo.replace_prob, pseudo.join_prob, pseudo.add_prob) == pytest.approx((0.4, 0.1, 0.3))


@example(first=[0.0, 0.0, 0.0, 1.0], second=[0.0, 0.0, 0.0, 1.6409205e-42], share=0.5)
@settings(deadline=None)
@given(
    st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4),
    st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4),
    st.floats(0.3, 0.7),
)
def test_a_sum_stays_within_full_scale(first: list[float], second: list[float], share: float) -> None:
    mixed = added(np.array(first, np.float32), np.array(second, np.float32), share)

    assert np.isfinite(mixed).all()
    assert np.abs(mixed).max() <= 1 + 1e-6
