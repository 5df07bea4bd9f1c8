"""What a teacher heard in a cut, in a mix, and in the mean of the recordings."""

from __future__ import annotations

import numpy as np
import pytest

from sed_model.audio.cache import AudioCache
from sed_model.clips.embeddings import (
    EmbeddingSource,
    centre_of,
    embedding_of_cut,
    embedding_of_samples,
    mixed_embedding,
)
from sed_model.clips.training_data import check_distil
from sed_model.core.errors import ConfigError, DataError
from tests.sed_model.decoded_clips import RATE, Clips
from tests.sed_model.teachers import ClassTeacher, TimesTeacher

FILES = ("steps.wav", "short.wav")
"""6 s and 0.5 s."""


@pytest.fixture
def cache(clips: Clips) -> AudioCache:
    return clips.open(*FILES)


def test_a_teacher_is_known_by_what_it_has() -> None:
    assert isinstance(ClassTeacher(), EmbeddingSource)
    assert not isinstance(np.zeros(3), EmbeddingSource)


@pytest.mark.parametrize(
    ("path", "start_s", "expected"),
    [
        ("steps.wav", 1.5, [1.5, 3.5]),
        ("steps.wav", 5.0, [4.0, 6.0]),  # the last that there is, as it is cut
        ("short.wav", 0.0, [0.0, 0.5]),  # all of it, which is repeated
    ],
)
def test_a_cut_of_two_seconds_was_heard_at_its_times(
    cache: AudioCache, path: str, start_s: float, expected: list[float]
) -> None:
    heard = embedding_of_cut(TimesTeacher(), cache, path, round(start_s * RATE), 2 * RATE)
    assert heard is not None
    assert heard.tolist() == expected


def test_samples_beyond_the_end_were_not_heard(cache: AudioCache) -> None:
    heard = embedding_of_samples(TimesTeacher(), cache, "steps.wav", 5 * RATE, 2 * RATE)
    assert heard is not None
    assert heard.tolist() == [5, 6]


def test_nothing_is_known_without_a_teacher_and_of_files_that_it_does_not_know(cache: AudioCache) -> None:
    assert embedding_of_cut(None, cache, "steps.wav", 0, RATE) is None
    assert embedding_of_cut(TimesTeacher(unknown=FILES), cache, "steps.wav", 0, RATE) is None


def test_a_mix_has_the_embedding_of_each_by_its_share() -> None:
    first, second = np.array([4, 0], np.float32), np.array([0, 8], np.float32)
    mixed = mixed_embedding(first, second, 0.25)
    assert mixed is not None
    assert mixed.tolist() == [1, 6]
    assert mixed_embedding(None, second, 0.25) is None
    assert mixed_embedding(first, None, 0.25) is None


def test_the_centre_is_the_mean_over_whole_recordings_that_are_known(cache: AudioCache) -> None:
    assert centre_of(TimesTeacher(), cache, FILES).tolist() == [0, 3.25]
    assert centre_of(TimesTeacher(unknown=("short.wav",)), cache, FILES).tolist() == [0, 6]


def test_the_centre_of_many_recordings_is_that_of_some(cache: AudioCache) -> None:
    asked: list[str] = []

    class Counting(TimesTeacher):
        def mean(self, path: str, start_s: float, end_s: float) -> np.ndarray | None:
            asked.append(path)
            return super().mean(path, start_s, end_s)

    centre_of(Counting(), cache, FILES * 2_500)
    assert 1_500 < len(asked) <= 2_000


def test_a_teacher_of_other_data_is_refused(cache: AudioCache) -> None:
    with pytest.raises(DataError, match=r"embeddings of times are of none of the 2 training recordings.*again"):
        centre_of(TimesTeacher(unknown=FILES), cache, FILES)


def test_a_weight_without_a_teacher_is_refused_with_the_repair() -> None:
    check_distil(0.0, has_embeddings=False)
    check_distil(0.5, has_embeddings=True)
    with pytest.raises(
        ConfigError,
        match=r"distil\.weight=0\.5: .*run of python -m trainables\.probe by --teacher, or set distil\.weight=0",
    ):
        check_distil(0.5, has_embeddings=False)
